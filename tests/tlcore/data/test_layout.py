"""Which folders are splits and classes, and which images a percentage takes."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tlcore.data import formats
from tlcore.data.layout import find_splits, lay_out


def write_empty(directory, files):
    for name in files:
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).touch()


@pytest.fixture(scope="session")
def layout(large):
    """Return three classes: a of 40 images, b of 17 and c of 1."""
    return lay_out(large)


# What a folder is


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            [],
            r"must be a folder that exists\. Received: directory='.*photos', which "
            r"does not exist\. Check the path",
        ),
        (["photos"], r"which is a file\. If it is an archive, unpack it"),
        (["photos/notes.txt"], "holds no folder"),
        (["photos/.a/a.png"], "holds no folder"),
        (["photos/a.png"], "one folder per class.*Received: .*1 image directly in it"),
        (["photos/a/a.png", "photos/b.JPG"], r"such as 'b\.JPG'.*Move them"),
        (["photos/a/a.png"], "at least two classes.*only folder 'a'"),
        (
            ["photos/a/a.png", "photos/b/x.txt", "photos/c/x.txt"],
            "must hold images.*with none in: b, c",
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
def test_a_folder_with_another_layout_is_refused(tmp_path, files, message):
    write_empty(tmp_path, files)
    with pytest.raises(ValueError, match=message):
        lay_out(tmp_path / "photos")


@pytest.mark.parametrize("name", ["photos", "a"])
def test_a_folder_that_may_not_be_read_is_refused(tmp_path, monkeypatch, name):
    write_empty(tmp_path, ["photos/a/a.png", "photos/b/b.png"])
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
        lay_out(tmp_path / "photos")


# Subsets


@settings(deadline=None)
@given(small=st.floats(0.01, 100), big=st.floats(0.01, 100), seed=st.integers(0, 9))
def test_a_smaller_subset_lies_within_a_larger_one(layout, small, big, seed):
    small, big = sorted((small, big))
    within, labels = layout.subset(small, seed)
    around, _ = layout.subset(big, seed)
    assert set(within) <= set(around)
    assert within == sorted(within)
    expected = [max(1, round(n * small / 100)) for n in (40, 17, 1)]
    assert np.bincount(labels).tolist() == expected


def test_all_percent_is_every_image(layout):
    assert len(layout.subset(100, 42)[0]) == 58


def test_another_seed_takes_another_subset(layout):
    subsets = {tuple(layout.subset(20, seed)[0]) for seed in range(9)}
    assert len(subsets) == 9


def test_a_subset_is_the_same_on_every_machine(layout):
    paths, labels = layout.subset(10, 42)
    assert [Path(p).relative_to(layout.directory).as_posix() for p in paths] == [
        "a/002.png",
        "a/024.png",
        "a/028.png",
        "a/036.png",
        "b/006.png",
        "b/011.png",
        "c/000.png",
    ]
    assert labels == [0, 0, 0, 0, 1, 1, 2]


# Splits


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
    for name in folders:
        (tmp_path / name).mkdir()
    with pytest.raises(ValueError, match=message):
        find_splits(tmp_path)


def test_a_data_folder_that_is_missing_is_refused(tmp_path):
    with pytest.raises(ValueError, match="must be a folder that exists"):
        find_splits(tmp_path / "nowhere")


# What is left out


def test_what_is_left_out_of_all_classes_is_counted(tmp_path):
    names = ["a/1.png", "a/1.txt", "b/1.png", "b/2.TXT", "b/deep/3.csv", "readme.md"]
    write_empty(tmp_path, names)
    assert lay_out(tmp_path).left_out == {".csv": 1, ".txt": 2}


def test_a_class_of_images_that_cannot_be_read_here_says_what_to_install(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(formats, "_reads_heif", lambda: False)
    write_empty(tmp_path, ["a/1.png", "b/1.HEIC", "b/2.heic"])
    message = r"none in: b; left out: 2 \.heic \(pip install pillow-heif to read"
    with pytest.raises(ValueError, match=message):
        lay_out(tmp_path)
