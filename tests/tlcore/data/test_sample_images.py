"""What the sample images promise: the same bytes everywhere, whole or not at all."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tlcore.data import sample_images
from tlcore.data.drawing import SAMPLE_KINDS, draw_sample_image
from tlcore.data.sample_images import write_sample_images, write_sample_splits


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def digest(folder):
    whole = hashlib.sha256()
    for name, data in contents(folder).items():
        whole.update(name.encode() + b"\0" + data)
    return whole.hexdigest()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            {"classes": 3, "per_class": 2, "size": 16},
            "cfa58948f1f4391de748061bd3a3ad59447389e4cf6c415bbc95f06c5911bed5",
        ),
        (
            {"classes": 30, "per_class": 1, "size": 33},
            "f363c4bf847a674bd1529d866bf0d3a0f357395e2843825de645848348eff453",
        ),
        (
            {"classes": 2, "per_class": 2},
            "e97f6089e3bd12dd489fe3544ba1618c55e8f3eec187e02b6fffdc4801750ead",
        ),
        (
            {"classes": 2, "per_class": 1, "size": 160, "seed": -7},
            "63ee6cab94236278cc2a63bc9f2bcca105c409eb0e710e706b4232f016adb0bf",
        ),
    ],
    ids=["smallest", "every kind", "default size", "two stored blocks"],
)
def test_the_same_arguments_give_these_bytes_on_every_machine(
    tmp_path, options, expected
):
    write_sample_images(tmp_path / "images", **options)
    assert digest(tmp_path / "images") == expected


@pytest.mark.parametrize("size", [16, 33, 96, 160])
def test_a_reader_of_png_sees_the_pixels_that_were_drawn(tmp_path, size):
    paths = write_sample_images(tmp_path / "images", classes=2, per_class=2, size=size)
    for path in paths:
        with Image.open(path) as image:
            assert image.mode == "RGB"
            read = np.asarray(image)
        drawn = draw_sample_image(path.parent.name, int(path.stem), size=size)
        np.testing.assert_array_equal(read, drawn)


def test_paths_are_returned_class_by_class_in_the_order_of_the_kinds(tmp_path):
    paths = write_sample_images(tmp_path / "images", classes=3, per_class=2, size=16)
    assert paths == [
        tmp_path / "images" / kind / name
        for kind in SAMPLE_KINDS[:3]
        for name in ("000.png", "001.png")
    ]
    assert all(path.is_file() for path in paths)


def test_fewer_classes_or_images_are_a_part_of_more(tmp_path):
    write_sample_images(tmp_path / "many", classes=4, per_class=5, size=16)
    write_sample_images(tmp_path / "few", classes=2, per_class=3, size=16)
    many, few = contents(tmp_path / "many"), contents(tmp_path / "few")
    assert len(few) == 6
    assert few.items() <= many.items()


def test_another_seed_gives_other_images(tmp_path):
    write_sample_images(tmp_path / "a", classes=2, per_class=2, size=16)
    write_sample_images(tmp_path / "b", classes=2, per_class=2, size=16, seed=43)
    a, b = contents(tmp_path / "a"), contents(tmp_path / "b")
    assert a.keys() == b.keys()
    assert not set(a.values()) & set(b.values())


def test_splits_share_no_image(tmp_path):
    written = write_sample_splits(
        tmp_path / "data",
        classes=3,
        per_class=6,
        validation_per_class=4,
        test_per_class=5,
        size=16,
    )
    assert {split: len(paths) for split, paths in written.items()} == {
        "train": 18,
        "validation": 12,
        "test": 15,
    }
    files = contents(tmp_path / "data")
    assert len(files) == len(set(files.values())) == 45
    assert {tmp_path / "data" / name for name in files} == {
        path for paths in written.values() for path in paths
    }


def test_the_number_of_training_images_changes_no_other_split(tmp_path):
    for name, per_class in (("few", 2), ("many", 5)):
        write_sample_splits(
            tmp_path / name,
            classes=2,
            per_class=per_class,
            validation_per_class=2,
            test_per_class=3,
            size=16,
        )
    for split in ("validation", "test"):
        assert contents(tmp_path / "few" / split) == contents(tmp_path / "many" / split)


def test_the_train_split_is_the_plain_image_folder(tmp_path):
    write_sample_splits(tmp_path / "splits", classes=2, per_class=3, size=16)
    write_sample_images(tmp_path / "plain", classes=2, per_class=3, size=16)
    assert contents(tmp_path / "splits" / "train") == contents(tmp_path / "plain")


def test_zero_images_leave_a_split_out(tmp_path):
    written = write_sample_splits(
        tmp_path / "data",
        classes=2,
        per_class=1,
        validation_per_class=0,
        test_per_class=1,
        size=16,
    )
    assert list(written) == ["train", "test"]
    assert sorted(p.name for p in (tmp_path / "data").iterdir()) == ["test", "train"]


@pytest.mark.parametrize("write", [write_sample_images, write_sample_splits])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"classes": 1},
            "classes must be .* at least 2 and at most 30. Received: classes=1\\.",
        ),
        (
            {"classes": 31},
            "classes must be .* at least 2 and at most 30. Received: classes=31\\.",
        ),
        (
            {"per_class": 0},
            "per_class must be .* at least 1 and .* Received: per_class=0\\.",
        ),
        (
            {"per_class": 1_000_001},
            "per_class must be .* at most 1,000,000. Received: per_class=1000001\\.",
        ),
        ({"size": 15}, "size must be .* at least 16. Received: size=15\\."),
    ],
)
def test_a_number_out_of_its_range_is_refused(tmp_path, write, options, message):
    with pytest.raises(ValueError, match=message):
        write(tmp_path / "images", **options)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["validation_per_class", "test_per_class"])
def test_a_negative_split_is_refused(tmp_path, name):
    message = f"{name} must be .* at least 0 .* Received: {name}=-1"
    with pytest.raises(ValueError, match=message):
        write_sample_splits(tmp_path / "data", **{name: -1})


@pytest.mark.parametrize("write", [write_sample_images, write_sample_splits])
def test_a_folder_that_holds_something_is_refused(tmp_path, write):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(
        FileExistsError,
        match=r"this one holds files\. Received: directory=.*Name another folder",
    ):
        write(tmp_path, classes=2, per_class=1, size=16)
    assert contents(tmp_path) == {"notes.txt": b"mine"}


@pytest.mark.parametrize("write", [write_sample_images, write_sample_splits])
def test_a_file_where_the_folder_should_be_is_refused(tmp_path, write):
    (tmp_path / "images").write_text("mine")
    with pytest.raises(
        FileExistsError,
        match=r"this is a file\. Received: directory=.*Name another folder",
    ):
        write(tmp_path / "images", classes=2, per_class=1, size=16)
    assert (tmp_path / "images").read_text() == "mine"


def test_the_working_folder_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        ValueError, match=r"Received: directory='\.'\. Name a folder inside it"
    ):
        write_sample_images(".", classes=2, per_class=1, size=16)


def test_an_empty_folder_is_filled_and_parents_are_made(tmp_path):
    (tmp_path / "empty").mkdir()
    write_sample_images(str(tmp_path / "empty"), classes=2, per_class=1, size=16)
    write_sample_images(tmp_path / "a" / "b" / "c", classes=2, per_class=1, size=16)
    assert contents(tmp_path / "empty") == contents(tmp_path / "a" / "b" / "c")
    assert (tmp_path / "empty").stat().st_mode == (tmp_path / "a").stat().st_mode


def test_a_relative_folder_gives_relative_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    paths = write_sample_images("images", classes=2, per_class=1, size=16)
    assert paths[0] == Path("images/striped_triangle/000.png")


@pytest.mark.parametrize("existed", [False, True])
def test_an_interruption_leaves_nothing_half_written(tmp_path, monkeypatch, existed):
    folder = tmp_path / "images"
    if existed:
        folder.mkdir()
    before = sorted(tmp_path.rglob("*"))
    draw, drawn = draw_sample_image, []

    def interrupted(kind, index, **options):
        assert not folder.exists() or not any(folder.iterdir())
        if len(drawn) == 3:
            raise KeyboardInterrupt
        drawn.append(kind)
        return draw(kind, index, **options)

    monkeypatch.setattr(sample_images, "draw_sample_image", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_sample_images(folder, classes=2, per_class=2, size=16)
    assert len(drawn) == 3
    assert sorted(tmp_path.rglob("*")) == before
