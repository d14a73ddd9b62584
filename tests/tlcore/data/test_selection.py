"""Whether images may select a model, or are those of a test."""

import shutil
from dataclasses import replace

import pytest

from tlcore.data.image_folder import image_folder
from tlcore.data.selection import why_test_data
from tlcore.data.splits import load_splits

LOADED = {"image_size": 4, "batch_size": 3, "label_mode": "int"}


def opened(directory):
    return image_folder(directory, image_size=4)


@pytest.fixture
def named(write_folder, tmp_path):
    """Return a function that writes folders of images that have no copies."""

    def write(*names):
        for total, name in enumerate(names, start=1):
            write_folder(tmp_path / name, {"a": 3 * total, "b": 3})
            for path in (tmp_path / name).glob("*/*.png"):
                path.write_bytes(path.read_bytes() + name.encode())
        return tmp_path

    return write


@pytest.mark.parametrize("name", ["test", "Test", "TESTING", "test_set", "test-images"])
def test_a_folder_named_like_a_test_is_one(named, name):
    assert why_test_data(opened(named(name) / name)) == ""


@pytest.mark.parametrize("name", ["Test/images", "seg_test"])
def test_what_a_test_holds_and_what_a_train_shows_to_be_one_are_too(named, name):
    assert why_test_data(opened(named(name) / name)) is None
    root = named("seg_train", "train")
    assert why_test_data(opened(root / name)) == ""


def test_some_names_are_a_test_only_beside_a_train(named):
    root = named("eval")
    assert why_test_data(opened(root / "eval")) is None
    named("Train")
    assert why_test_data(opened(root / "eval")) == ""


def test_a_link_to_a_test_is_one(named):
    root = named("test")
    (root / "validation").symlink_to(root / "test")
    assert why_test_data(opened(root / "validation")) == ""


@pytest.mark.parametrize("test", ["test", "Testing"])
def test_a_copy_of_an_image_of_a_test_next_to_it_is_found(named, test):
    root = named("validation", test, "train")
    folder = opened(root / "validation")
    assert why_test_data(folder) is None
    shutil.copy(folder.paths[-1], root / test / "a" / "deep.bin")
    assert why_test_data(folder) == (
        f", of which an image is in '{root / test / 'a' / 'deep.bin'}' as well "
        "(equal bytes)"
    )
    shutil.rmtree(root / test)
    shutil.copytree(root / "validation", root / test)
    assert why_test_data(folder).startswith(", of which an image is in ")


def test_among_splits_the_role_counts_and_not_the_name(named):
    root = named("test")
    splits = load_splits(root / "test", split="34/33/33", **LOADED)
    assert why_test_data(splits.validation) is None
    assert why_test_data(splits.test) == ""


def test_an_image_that_is_gone_is_no_copy(named):
    root = named("validation", "test")
    folder = opened(root / "validation")
    gone = replace(folder, paths=(*folder.paths[:-1], str(root / "gone.png")))
    assert why_test_data(gone) is None
