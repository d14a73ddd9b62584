import itertools
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from tlcore.data import pipeline
from tlcore.data.image_folder import image_folder
from tlcore.data.splits import load_splits

SIZE = 4
QUICK = {"image_size": SIZE, "batch_size": 3}
UNHURRIED = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def write_folder(directory, counts):
    """Write images that can be told apart by their red value, class by class."""
    shade = itertools.count()
    for name, count in counts.items():
        (directory / name).mkdir(parents=True)
        for index in range(count):
            colour = (next(shade), 0, 255)
            image = Image.new("RGB", (SIZE, SIZE), colour)
            image.save(directory / name / f"{index:03}.png")
    return directory


def write_splits(directory, **counts):
    for split, per_class in counts.items():
        write_folder(directory / split, {"a": per_class, "b": per_class})
    return directory


def shades(images):
    """Return which images a batch holds."""
    return np.asarray(images)[:, 0, 0, 0].astype(int).tolist()


def relative(images):
    return [Path(p).relative_to(images.directory).as_posix() for p in images.paths]


def visited(dataset, count=None):
    """Return which images each batch holds, with their labels."""
    batches = itertools.islice(iter(dataset), count)
    return [
        list(zip(shades(images), np.asarray(labels).tolist(), strict=True))
        for images, labels in batches
    ]


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path / "photos", {"b": 3, "a": 4, "c": 1})


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    directory = tmp_path_factory.mktemp("large")
    return write_folder(directory, {"a": 40, "b": 17, "c": 1})


# What a folder is


def test_classes_are_the_sorted_folder_names_and_labels_their_indices(folder):
    images = image_folder(folder, **QUICK)
    assert images.class_names == ("a", "b", "c")
    assert images.labels.tolist() == [0, 0, 0, 0, 1, 1, 1, 2]
    assert images.labels.dtype == np.int64
    assert relative(images) == [
        *(f"a/00{i}.png" for i in range(4)),
        *(f"b/00{i}.png" for i in range(3)),
        "c/000.png",
    ]
    assert (images.num_images, images.num_classes, len(images)) == (8, 3, 3)


def test_labels_cannot_be_written_to(folder):
    with pytest.raises(ValueError, match="read-only"):
        image_folder(folder, **QUICK).labels[0] = 1


def test_images_lie_at_any_depth_and_other_files_are_ignored(folder):
    (folder / "a" / "deep" / "er").mkdir(parents=True)
    (folder / "a" / "000.png").rename(folder / "a" / "deep" / "er" / "X.PNG")
    (folder / ".cache").mkdir()
    for ignored in (".cache/a.png", "a/.a.png", "a/notes.txt", "readme.md"):
        (folder / ignored).write_text("no image")
    images = image_folder(folder, **QUICK)
    assert images.num_images == 8
    assert images.paths[3].endswith("X.PNG")


@pytest.mark.parametrize("size", [(4, 6), 4, [4, 4], (np.int64(4), 4)])
def test_image_size_is_a_pair_or_one_number(folder, size):
    images = image_folder(folder, image_size=size)
    expected = tuple(size) if not isinstance(size, int) else (size, size)
    assert images.image_size == expected
    assert all(type(n) is int for n in images.image_size)


def test_images_that_were_not_rgb_are_counted_by_kind(folder):
    path = folder / "a" / "000.png"
    Image.open(path).convert("L").save(path)
    images = image_folder(folder, **QUICK)
    assert images.converted == {"grey": 1}
    assert images.notes() == "8 images in 3 classes; 1 grey image converted to RGB"
    for name, mode in (("001", "L"), ("002", "RGBA"), ("003", "P")):
        path = folder / "a" / f"{name}.png"
        Image.open(path).convert(mode).save(path)
    images = image_folder(folder, **QUICK)
    assert images.converted == {"RGBA": 1, "grey": 2, "palette": 1}
    assert str(images) == (
        "8 images in 3 classes; 1 RGBA, 2 grey and 1 palette images converted to RGB"
    )


def test_notes_tell_of_a_subset_and_of_skipped_images(folder):
    assert image_folder(folder, **QUICK).notes() == "8 images in 3 classes"
    (folder / "b" / "000.png").write_bytes(b"")
    images = image_folder(folder, percent=50, skip_bad=True, seed=1, **QUICK)
    bad = len(images.skipped)
    notes = f"{images.num_images} images in 3 classes (50 % subset)"
    assert images.notes() == notes + ("; 1 bad image skipped" if bad else "")


# The fingerprint


def test_the_fingerprint_tells_of_the_content_and_not_of_the_place(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "copy")
    first = image_folder(folder, **QUICK)
    copy = image_folder(
        tmp_path / "copy", image_size=9, batch_size=1, label_mode="int", seed=3
    )
    assert re.fullmatch("[0-9a-f]{64}", first.fingerprint)
    assert copy.fingerprint == first.fingerprint


def change_a_byte(folder):
    Image.new("RGB", (SIZE, SIZE), "red").save(folder / "a" / "000.png")


def rename_an_image(folder):
    (folder / "a" / "000.png").rename(folder / "a" / "0000.png")


def rename_a_class(folder):
    (folder / "a").rename(folder / "aa")


def remove_an_image(folder):
    (folder / "a" / "003.png").unlink()


@pytest.mark.parametrize(
    "change", [change_a_byte, rename_an_image, rename_a_class, remove_an_image]
)
def test_any_change_of_the_content_changes_the_fingerprint(folder, change):
    before = image_folder(folder, **QUICK).fingerprint
    change(folder)
    assert image_folder(folder, **QUICK).fingerprint != before


# Subsets


@UNHURRIED
@given(
    small=st.floats(0.01, 100), large_one=st.floats(0.01, 100), seed=st.integers(0, 9)
)
def test_a_smaller_subset_lies_within_a_larger_one(large, small, large_one, seed):
    small, large_one = sorted((small, large_one))
    within = image_folder(large, percent=small, seed=seed, **QUICK)
    around = image_folder(large, percent=large_one, seed=seed, **QUICK)
    assert set(within.paths) <= set(around.paths)
    assert list(within.paths) == sorted(within.paths)
    expected = [max(1, round(n * small / 100)) for n in (40, 17, 1)]
    assert np.bincount(within.labels).tolist() == expected


def test_all_percent_is_every_image(large):
    assert image_folder(large, percent=100, **QUICK).num_images == 58


def test_another_seed_takes_another_subset(large):
    subsets = {image_folder(large, percent=20, seed=s, **QUICK).paths for s in range(9)}
    assert len(subsets) == 9


def test_a_subset_is_the_same_on_every_machine(large):
    images = image_folder(large, percent=10, seed=42, **QUICK)
    assert relative(images) == [
        "a/002.png",
        "a/024.png",
        "a/028.png",
        "a/036.png",
        "b/006.png",
        "b/011.png",
        "c/000.png",
    ]


# The order of an epoch


def test_the_order_of_an_epoch_is_the_same_on_every_machine(folder):
    assert image_folder(folder, seed=42, **QUICK).order(0).tolist() == [
        6,
        0,
        1,
        2,
        7,
        5,
        3,
        4,
    ]


@UNHURRIED
@given(seed=st.integers(-(2**70), 2**70), epoch=st.integers(0, 2**62))
def test_an_order_is_a_permutation_that_depends_on_seed_and_epoch(large, seed, epoch):
    images = image_folder(large, percent=50, seed=seed, **QUICK)
    order = images.order(epoch)
    assert order.dtype == np.int64
    assert sorted(order.tolist()) == list(range(images.num_images))
    assert order.tolist() == images.order(np.int64(epoch)).tolist()
    assert order.tolist() != images.order(epoch + 1).tolist()
    assert images.unshuffled().order(epoch).tolist() == list(range(images.num_images))


# Batches


@pytest.mark.parametrize(
    ("label_mode", "counts", "dtype", "labels"),
    [
        ("categorical", (1, 1, 1), "float32", [[1, 0, 0], [0, 1, 0], [0, 0, 1]]),
        ("int", (1, 1, 1), "int32", [0, 1, 2]),
        ("binary", (2, 1), "float32", [[0], [0], [1]]),
    ],
)
def test_labels_have_the_form_asked_for(tmp_path, label_mode, counts, dtype, labels):
    names = dict(zip("abc", counts, strict=False))
    directory = write_folder(tmp_path / "photos", names)
    images = image_folder(directory, label_mode=label_mode, shuffle=False, **QUICK)
    dataset = images.dataset()
    ((pixels, found),) = list(dataset)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, labels)
    np.testing.assert_array_equal(pixels[2], np.full((4, 4, 3), (2, 0, 255)))
    shape = np.shape(labels)[1:]
    for spec in (dataset.element_spec, images.stream().element_spec):
        assert spec[0].shape.as_list() == [None, SIZE, SIZE, 3]
        assert spec[0].dtype == "float32"
        assert spec[1].shape.as_list() == [None, *shape]


def test_a_relabelled_folder_is_the_same_but_for_the_labels(tmp_path):
    directory = write_folder(tmp_path / "photos", {"a": 2, "b": 1})
    images = image_folder(directory, shuffle=False, **QUICK)
    relabelled = images.relabelled("binary")
    assert visited(images.dataset()) == [[(0, [1, 0]), (1, [1, 0]), (2, [0, 1])]]
    assert visited(relabelled.dataset()) == [[(0, [0]), (1, [0]), (2, [1])]]
    assert relabelled.fingerprint == images.fingerprint


def test_images_are_resized_to_height_and_width(folder):
    images = image_folder(folder, image_size=(5, 7), batch_size=8)
    ((pixels, _),) = list(images.dataset())
    assert pixels.shape == (8, 5, 7, 3)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 7, 8, 9, 100])
@pytest.mark.parametrize("shuffle", [True, False])
def test_the_stream_is_the_epochs_of_the_dataset(folder, batch_size, shuffle):
    images = image_folder(
        folder,
        image_size=SIZE,
        batch_size=batch_size,
        label_mode="int",
        shuffle=shuffle,
    )
    dataset = images.dataset()
    assert len(dataset) == len(images)
    epochs = [visited(dataset) for _ in range(3)]
    flat = [[image for batch in epoch for image, _ in batch] for epoch in epochs]
    rank = images.labels  # shades count up in the order of writing: b, a, c
    shade = [3, 4, 5, 6, 0, 1, 2, 7]
    for epoch, found in enumerate(flat):
        assert found == [shade[i] for i in images.order(epoch)]
    batches = list(itertools.chain(*epochs))
    for batch in batches:
        assert all(label == rank[shade.index(image)] for image, label in batch)
    assert visited(images.stream(), 3 * len(images)) == batches
    assert len({tuple(epoch) for epoch in flat}) == (3 if shuffle else 1)


@pytest.mark.parametrize("first_step", [1, 2, 3, 4, 5, 7, 300])
@pytest.mark.parametrize("batch_size", [3, 4])
def test_a_stream_from_a_step_on_is_the_stream_without_what_is_before(
    folder, first_step, batch_size
):
    images = image_folder(folder, image_size=SIZE, batch_size=batch_size)
    skipped = images.stream().skip(first_step)
    assert visited(images.stream(first_step), 7) == visited(skipped, 7)


def test_what_lies_before_the_first_step_is_not_decoded(folder):
    images = image_folder(folder, image_size=SIZE, batch_size=2)
    for index in images.order(0)[:6]:
        Path(images.paths[index]).unlink()
    assert len(visited(images.stream(3), 1)[0]) == 2


def test_a_stream_has_no_end_and_says_so(folder):
    cardinality = image_folder(folder, **QUICK).stream().cardinality()
    assert int(cardinality) == -1


def test_decoded_images_are_not_held(tmp_path, monkeypatch):
    directory = write_folder(tmp_path / "photos", {"a": 1, "b": 1})
    for name, index in itertools.product("ab", range(1, 300)):
        original = directory / name / "000.png"
        shutil.copy(original, directory / name / f"{index:03}.png")
    images = image_folder(directory, image_size=SIZE, batch_size=1)
    read, decoded = pipeline.read_image, []

    def count(path, image_size):
        decoded.append(path)
        return read(path, image_size)

    monkeypatch.setattr(pipeline, "read_image", count)
    iterator = iter(images.stream())
    next(iterator)
    before = 0
    while len(decoded) > before:
        before = len(decoded)
        time.sleep(0.3)
    # How many are read ahead for each core is tuned by what else the machine does.
    ahead = 16 + 8 * (os.cpu_count() or 1)
    assert len(decoded) <= ahead < images.num_images


def test_an_image_that_is_gone_since_the_check_is_named(folder):
    images = image_folder(folder, shuffle=False, **QUICK)
    Path(images.paths[1]).unlink()
    with pytest.raises(Exception, match=r"whole JPEG.*001\.png' \(cannot be read"):
        list(images.dataset())


# Bad images


def test_all_bad_images_are_listed_at_once(folder):
    (folder / "a" / "001.png").write_bytes(b"")
    (folder / "b" / "002.jpg").write_text("not found")
    with pytest.raises(ValueError, match="2 that cannot be used") as raised:
        image_folder(folder, **QUICK)
    lines = str(raised.value).splitlines()
    assert lines[0].startswith("Every image must be readable. Received: 2")
    assert lines[1] == f"  {folder / 'a' / '001.png'}: empty file"
    assert lines[2] == (
        f"  {folder / 'b' / '002.jpg'}: not a JPEG, PNG, GIF, BMP or WebP image"
    )
    assert "skip_bad=True" in lines[3]
    assert "--skip-bad" in lines[3]


def test_of_many_bad_images_twenty_are_named(folder):
    for index in range(25):
        (folder / "a" / f"bad{index:02}.jpg").touch()
    with pytest.raises(
        ValueError, match=r"bad19\.jpg: empty file\n  and 5 more\n"
    ) as e:
        image_folder(folder, **QUICK)
    assert "bad20" not in str(e.value)


def test_bad_images_can_be_skipped_and_are_remembered(folder):
    bad = folder / "a" / "001.png"
    bad.write_bytes(b"")
    images = image_folder(folder, skip_bad=True, **QUICK)
    assert images.skipped == ((str(bad), "empty file"),)
    assert images.num_images == 7
    assert images.labels.tolist() == [0, 0, 0, 1, 1, 1, 2]
    assert str(bad) not in images.paths
    assert images.notes() == "7 images in 3 classes; 1 bad image skipped"
    assert sum(map(len, visited(images.dataset()))) == 7


def test_a_class_must_keep_an_image(folder):
    (folder / "c" / "000.png").write_bytes(b"")
    with pytest.raises(ValueError, match="all images of c are bad"):
        image_folder(folder, skip_bad=True, **QUICK)


def test_bad_images_outside_the_subset_are_not_looked_at(folder):
    kept = set(image_folder(folder, percent=1, **QUICK).paths)
    for path in set(image_folder(folder, **QUICK).paths) - kept:
        Path(path).write_bytes(b"")
    assert set(image_folder(folder, percent=1, **QUICK).paths) == kept


# What is refused


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"percent": 0}, r"above 0 and at most 100\. Received: percent=0\."),
        ({"percent": -1}, "Received: percent=-1"),
        ({"percent": 100.1}, "Received: percent=100.1"),
        ({"percent": float("nan")}, "Received: percent=nan"),
        ({"percent": "10"}, "Received: percent='10'"),
        ({"batch_size": 0}, "at least 1 and at most .* Received: batch_size=0"),
        ({"batch_size": 2.5}, "Received: batch_size=2.5"),
        ({"batch_size": 2**40}, "Received: batch_size=1099511627776"),
        ({"image_size": 10_000}, "at most 89,478,485 pixels.* image_size=10000"),
        ({"seed": None}, r"seed must be a whole number\. Received: seed=None"),
        ({"image_size": 0}, r"at least 1 pixel.* Received: image_size=0"),
        ({"image_size": (4,)}, r"Received: image_size=\(4,\)"),
        ({"image_size": (4, -4)}, r"Received: image_size=\(4, -4\)"),
        ({"image_size": (4, 4, 3)}, r"Received: image_size=\(4, 4, 3\)"),
        ({"image_size": "224"}, "Received: image_size='224'"),
        ({"image_size": None}, "Received: image_size=None"),
        (
            {"label_mode": "onehot"},
            "one of: categorical, int, binary. Received: label_mode='onehot'",
        ),
        ({"label_mode": "binary"}, "exactly two classes.* with 3: a, b, c"),
    ],
)
def test_an_option_out_of_range_is_refused(folder, options, message):
    with pytest.raises(ValueError, match=message):
        image_folder(folder, **options)


@pytest.mark.parametrize(
    ("label_mode", "message"),
    [("binray", "categorical, int, binary"), ("binary", "exactly two classes")],
)
def test_a_folder_is_not_relabelled_in_a_form_it_cannot_have(
    folder, label_mode, message
):
    with pytest.raises(ValueError, match=message):
        image_folder(folder, **QUICK).relabelled(label_mode)


@pytest.mark.parametrize("first_step", [-1, 0.5])
def test_a_stream_starts_at_a_step(folder, first_step):
    with pytest.raises(ValueError, match=f"first_step={first_step}"):
        image_folder(folder, **QUICK).stream(first_step)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            [],
            r"must be a folder that exists\. Received: directory='.*photos', which is",
        ),
        (["photos"], "which is a file; unpack it if it is an archive"),
        (["photos/notes.txt"], "holds no folder"),
        (["photos/.a/a.png"], "holds no folder"),
        (["photos/a.png"], r"Images must lie in one folder per class.*1 image itself"),
        (["photos/a/a.png", "photos/b.JPG"], r"such as 'b\.JPG'.*Move them"),
        (["photos/a/a.png"], "at least two classes.*only folder 'a'"),
        (
            ["photos/a/a.png", "photos/b/x.txt", "photos/c/x.txt"],
            "must hold images.*none are in: b, c",
        ),
        (
            ["photos/train/a/a.png", "photos/test/a/a.png"],
            "holds splits: test and train. Open one of them, such as .*load_splits",
        ),
        (
            ["photos/train/a/a.png", "photos/val/a/a.png", "photos/a.png"],
            "holds splits: train and val",
        ),
    ],
)
def test_a_folder_laid_out_otherwise_is_refused(tmp_path, files, message):
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    with pytest.raises(ValueError, match=message):
        image_folder(tmp_path / "photos")


@pytest.mark.parametrize("name", ["photos", "a"])
def test_a_folder_that_may_not_be_read_is_refused(folder, monkeypatch, name):
    scandir, listdir = os.scandir, os.listdir

    def guarded(real):
        def guard(path="."):
            if Path(path).name == name:
                raise PermissionError(13, "Permission denied", str(path))
            return real(path)

        return guard

    monkeypatch.setattr(os, "scandir", guarded(scandir))
    monkeypatch.setattr(os, "listdir", guarded(listdir))
    message = rf"must be readable\. Received: '.*{name}' \(Permission denied\)"
    with pytest.raises(ValueError, match=message):
        image_folder(folder)


# Holding a part out


@UNHURRIED
@given(percent=st.floats(0.01, 99.99), seed=st.none() | st.integers(0, 9))
def test_a_part_held_out_is_stratified_and_nothing_is_lost(large, percent, seed):
    images = image_folder(large, skip_bad=True, **QUICK)
    images = images._take(np.flatnonzero(images.labels < 2))
    images = replace(images, class_names=("a", "b"))
    rest, part = images.split_off(percent, seed=seed)
    assert sorted(rest.paths + part.paths) == sorted(images.paths)
    assert list(rest.paths) == sorted(rest.paths)
    counts = np.bincount(part.labels, minlength=2).tolist()
    expected = [min(n - 1, max(1, round(n * percent / 100))) for n in (40, 17)]
    assert counts == expected
    for folder in (rest, part):
        assert [name.split("/")[0] for name in relative(folder)] == [
            folder.class_names[label] for label in folder.labels
        ]
    assert (rest.shuffle, part.shuffle) == (True, False)


def test_the_same_part_is_held_out_each_time_and_another_with_another_seed(large):
    images = image_folder(large, **QUICK)
    images = replace(
        images._take(np.flatnonzero(images.labels < 2)), class_names=("a", "b")
    )
    parts = [images.split_off(10, seed=seed)[1].paths for seed in (42, None, 1)]
    assert parts[0] == parts[1] != parts[2]


def test_what_was_skipped_is_told_by_the_rest_alone(folder):
    shutil.rmtree(folder / "c")
    (folder / "a" / "000.png").write_bytes(b"")
    rest, part = image_folder(folder, skip_bad=True, **QUICK).split_off(50)
    assert (len(rest.skipped), len(part.skipped)) == (1, 0)


def test_no_image_is_held_out_of_a_class_with_one(folder):
    with pytest.raises(ValueError, match="2 images or more.* Received: c with 1"):
        image_folder(folder, **QUICK).split_off()


@pytest.mark.parametrize("percent", [0, 100, float("nan")])
def test_less_than_all_is_held_out(folder, percent):
    message = rf"above 0 and below 100\. Received: percent={percent}"
    with pytest.raises(ValueError, match=message):
        image_folder(folder, **QUICK).split_off(percent)


# Splits

LOADED = {"image_size": SIZE, "batch_size": 3, "label_mode": "int"}


@pytest.mark.parametrize(
    ("present", "epochs_on"),
    [
        (("validation",), "validation"),
        (("test",), "test"),
        (("validation", "test"), "validation"),
    ],
)
def test_splits_say_what_epochs_are_validated_on(tmp_path, present, epochs_on):
    write_splits(tmp_path, train=10, **dict.fromkeys(present, 4))
    splits = load_splits(tmp_path, percent=20, **LOADED)
    assert splits.train.num_images == 4
    assert splits.train.shuffle
    assert splits.epochs_on == (epochs_on, getattr(splits, epochs_on))
    for name in ("validation", "test"):
        folder = getattr(splits, name)
        assert (folder is not None) is (name in present)
        if folder is not None:
            assert folder.num_images == 8
            assert folder.percent == 100
            assert not folder.shuffle


def test_images_of_train_among_the_others_are_counted(tmp_path):
    write_splits(tmp_path, train=3, validation=2, test=2)
    assert load_splits(tmp_path, **LOADED).shared_images == {
        "validation": 4,
        "test": 4,
    }
    for name in "ab":
        for index in range(2):
            path = tmp_path / "test" / name / f"{index:03}.png"
            Image.new("RGB", (SIZE, SIZE), (7, 7, index)).save(path)
    assert load_splits(tmp_path, **LOADED).shared_images == {"validation": 4}


def test_splits_are_relabelled_together(tmp_path):
    write_splits(tmp_path, train=2, test=2)
    splits = load_splits(tmp_path, **LOADED).relabelled("binary")
    assert splits.train.label_mode == splits.test.label_mode == "binary"
    assert splits.validation is None


def test_bad_images_of_all_splits_are_listed_in_one_error(tmp_path):
    write_splits(tmp_path, train=2, validation=2, test=2)
    for split in ("train", "validation", "test"):
        (tmp_path / split / "a" / "bad.jpg").touch()
    with pytest.raises(ValueError, match="3 that cannot be used") as raised:
        load_splits(tmp_path, **LOADED)
    for split in ("train", "validation", "test"):
        assert str(tmp_path / split / "a" / "bad.jpg") in str(raised.value)
    splits = load_splits(tmp_path, skip_bad=True, **LOADED)
    assert [len(f.skipped) for f in vars(splits).values()] == [1, 1, 1]


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        (["train"], "train, and validation or test or both.*which holds: train"),
        (["test", "validation"], "which holds: test, validation"),
        ([], "which holds: no folder"),
        (["a", "b"], "which holds: a, b"),
        (["train", "val"], r"with 'val'\. Rename it to 'validation'"),
        (["train", "valid", "test"], r"with 'valid'\. Rename it to 'validation'"),
        (["training", "test"], r"with 'training'\. Rename it to 'train'"),
        (["Train", "test"], r"with 'Train'\. Rename it to 'train'"),
        (["train", "testing"], r"with 'testing'\. Rename it to 'test'"),
    ],
)
def test_a_data_folder_without_its_splits_is_refused(tmp_path, folders, message):
    write_splits(tmp_path, **dict.fromkeys(folders, 1))
    with pytest.raises(ValueError, match=message):
        load_splits(tmp_path, **LOADED)


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ({"test": "ab"}, "where test lacks c. Add, rename or remove folders"),
        ({"test": "abcd"}, "where train lacks d of test"),
        (
            {"validation": "acx", "test": "bc"},
            "validation lacks b; train lacks x of validation; test lacks a",
        ),
    ],
)
def test_splits_of_other_classes_are_refused(tmp_path, classes, message):
    for split, names in {"train": "abc", **classes}.items():
        write_folder(tmp_path / split, dict.fromkeys(names, 1))
    with pytest.raises(ValueError, match=message):
        load_splits(tmp_path, **LOADED)


def test_a_data_folder_that_is_missing_is_refused(tmp_path):
    with pytest.raises(ValueError, match="must be a folder that exists"):
        load_splits(tmp_path / "nowhere", **LOADED)


# Processes of their own: op determinism and the end of the interpreter are for good

SCRIPT = """
import sys, threading, time
import tensorflow as tf
from tlcore.data import image_folder, pipeline

tf.random.set_seed(0)
tf.config.experimental.enable_op_determinism()
images = image_folder.image_folder(sys.argv[1], image_size=4, batch_size=2)
read, lock, running, most = pipeline.read_image, threading.Lock(), 0, 0

def slowly(*args):
    global running, most
    with lock:
        running += 1
        most = max(most, running)
    time.sleep(0.05)
    with lock:
        running -= 1
    return read(*args)

pipeline.read_image = slowly
iterator = iter(images.stream())
for _ in range(8):
    next(iterator)
print(most)
"""


@pytest.fixture(scope="module")
def abandoned(large):
    """A process that ends while an iterator of its is still reading ahead."""
    return subprocess.run(
        [sys.executable, "-c", SCRIPT, str(large)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_a_process_ends_although_its_stream_is_still_read(abandoned):
    assert abandoned.returncode == 0, abandoned.stderr


@pytest.mark.skipif(os.cpu_count() == 1, reason="needs two cores")
def test_images_are_decoded_in_parallel_under_op_determinism(abandoned):
    assert int(abandoned.stdout) > 1
