"""Which folders are splits and classes, and which images a percentage takes."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tlcore.data import formats
from tlcore.data.layout import find_splits, lay_out, split_folders


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

CLASSES = ("a/1.png", "b/1.png")


def write_splits(directory, *names, classes=CLASSES):
    write_empty(directory, [f"{name}/{image}" for name in names for image in classes])


@pytest.mark.parametrize(
    ("folders", "found"),
    [
        (["train", "validation", "test"], "train validation test"),
        (["train", "val"], "train val"),
        (["train", "valid", "test"], "train valid test"),
        (["Training", "Testing"], "Training Testing"),
        (["training_set", "test_set"], "training_set test_set"),
        (["TRAIN", "dev", "eval"], "TRAIN dev eval"),
        (["train", "test", "notes"], "train test"),
    ],
)
def test_splits_are_found_under_any_spelling(tmp_path, folders, found):
    write_splits(tmp_path, *folders)
    splits = find_splits(tmp_path)
    assert [path.name for path in splits.values()] == found.split()
    assert set(splits) <= {"train", "validation", "test"}
    assert split_folders(tmp_path).others == tuple(set(folders) - set(found.split()))
    with pytest.raises(ValueError, match="which holds splits: .*load_splits"):
        lay_out(tmp_path)


@pytest.mark.parametrize(
    "names",
    [
        ("train", "bus", "car"),
        ("test", "train", "car"),
        ("valid", "invalid"),
        ("dev", "prod"),
    ],
)
def test_a_class_may_be_called_like_a_split(tmp_path, names):
    write_empty(tmp_path, [f"{name}/1.png" for name in names])
    assert set(lay_out(tmp_path).names) == set(names)
    assert split_folders(tmp_path).names == {}


def test_a_class_called_like_a_split_may_hold_folders(tmp_path):
    write_empty(tmp_path, ["train/steam/1.png", "bus/red/1.png", "car/2.png"])
    assert set(lay_out(tmp_path).names) == {"bus", "car", "train"}


@pytest.mark.parametrize("name", ["train", "Train", "val"])
def test_a_lone_split_is_no_image_folder(tmp_path, name):
    write_splits(tmp_path, name)
    with pytest.raises(ValueError, match=f"which holds splits: {name}. Open one of "):
        lay_out(tmp_path)


def test_a_lone_folder_of_folders_is_opened_instead(tmp_path):
    write_splits(tmp_path, "photos")
    with pytest.raises(
        ValueError, match=r"only folder 'photos'\. Open '.*/photos', or"
    ):
        lay_out(tmp_path)
    with pytest.raises(ValueError, match=r"which holds: photos\. Open '.*/photos'\."):
        find_splits(tmp_path)


OPTION = r'split="80/10/10" \(on the command line --split 80/10/10\)\.'


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([], "which holds: no folder. Use these names"),
        (["a/x.txt", "b/x.txt"], "which holds: a, b. Use these names"),
        (CLASSES, "which holds 2 class folders: a, b. Make splits of them: " + OPTION),
        (["train/a/1.png"], "which holds 'train' only. Hold a part of it out: "),
        (["TRAIN/a/1.png"], "holds 'TRAIN' only. Hold a part of it out: " + OPTION),
        (
            ["test/a/1.png", "val/a/1.png"],
            "which holds: test, val. Give the training images a folder named train",
        ),
        (
            ["train/a/1.png", "val/a/1.png", "validation/a/1.png"],
            r"one name\. Received: directory='.*', where 'val' and 'validation' each",
        ),
        (["Train/a/1.png", "train/a/1.png"], "'Train' and 'train' each mean 'train'"),
    ],
)
def test_a_data_folder_without_its_splits_is_refused(tmp_path, files, message):
    write_empty(tmp_path, files)
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
