"""What the sample images promise: the same bytes everywhere, whole or not at all."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tlcore.data import sample_images
from tlcore.data.drawing import PRETRAINING_KINDS, SAMPLE_KINDS, draw_sample_image
from tlcore.data.png import encode_png
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


def parts(kinds, place):
    return {kind.split("_")[place] for kind in kinds}


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


@settings(max_examples=30, deadline=None)
@given(
    height=st.integers(1, 200), width=st.integers(1, 200), seed=st.integers(0, 2**32)
)
def test_any_image_survives_its_png(tmp_path_factory, height, width, seed):
    image = np.random.default_rng(seed).integers(
        0, 256, (height, width, 3), dtype=np.uint8
    )
    path = tmp_path_factory.mktemp("png") / "image.png"
    path.write_bytes(encode_png(image))
    with Image.open(path) as read:
        read.verify()
    with Image.open(path) as read:
        np.testing.assert_array_equal(np.asarray(read), image)


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


def test_no_sample_image_shows_a_kind_of_pretraining():
    assert not set(SAMPLE_KINDS) & set(PRETRAINING_KINDS)
    assert len(set(SAMPLE_KINDS)) == len(SAMPLE_KINDS) >= 24
    assert len(set(PRETRAINING_KINDS)) == len(PRETRAINING_KINDS) >= 24


def test_two_shapes_are_unseen_in_pretraining_and_all_else_is_shared():
    unseen = parts(SAMPLE_KINDS, 1) - parts(PRETRAINING_KINDS, 1)
    assert unseen == {"crescent", "elbow"}
    assert parts(PRETRAINING_KINDS, 1) < parts(SAMPLE_KINDS, 1)
    assert parts(PRETRAINING_KINDS, 0) == parts(SAMPLE_KINDS, 0)


def test_the_first_ten_kinds_need_both_shape_and_texture():
    first = SAMPLE_KINDS[:10]
    assert len(parts(first, 1)) >= 8
    assert parts(first, 0) == parts(SAMPLE_KINDS, 0)
    assert len(parts(first, 1)) < 10


@pytest.mark.parametrize("kind", SAMPLE_KINDS + PRETRAINING_KINDS)
def test_every_kind_can_be_drawn(kind):
    image = draw_sample_image(kind, 0, size=24)
    assert image.shape == (24, 24, 3)
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous
    assert image.std() > 5


def test_a_scene_is_the_same_at_every_size():
    for index, kind in enumerate(SAMPLE_KINDS[:10]):
        small = draw_sample_image(kind, index, size=96).astype(float)
        large = draw_sample_image(kind, index, size=192).astype(float)
        halved = large.reshape(96, 2, 96, 2, 3).mean(axis=(1, 3))
        other = draw_sample_image(kind, index + 1, size=96)
        assert np.abs(small - halved).mean() < 12
        assert np.abs(small - other).mean() > 25


def test_average_colour_says_nothing_of_the_class():
    def average_colours(first):
        return np.array(
            [
                [
                    draw_sample_image(kind, first + i, size=32).mean((0, 1))
                    for i in range(40)
                ]
                for kind in SAMPLE_KINDS[:10]
            ]
        )

    centres = average_colours(0).mean(axis=1)
    others = average_colours(40).reshape(-1, 3)
    nearest = np.argmin(((others[:, None] - centres) ** 2).sum(axis=2), axis=1)
    accuracy = (nearest == np.repeat(np.arange(10), 40)).mean()
    assert accuracy < 0.2  # chance is 0.1


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


def test_an_unknown_kind_is_refused_with_the_list_of_kinds():
    with pytest.raises(
        ValueError,
        match=r"kind must be one of: .*striped_triangle.* Received: kind='striped_cat'",
    ):
        draw_sample_image("striped_cat", 0)


def test_a_picture_too_small_is_refused():
    with pytest.raises(
        ValueError, match=r"size must be .* at least 16\. Received: size=8"
    ):
        draw_sample_image("plain_star", 0, size=8)


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
def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path, write):
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
