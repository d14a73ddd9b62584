"""Folders: truth from the names of folders, given the classes of a model."""

import pytest

from tlcore.predictions.folders import list_images

CLASSES = ("dog", "cat", "bird")


@pytest.fixture
def write(tmp_path):
    def write(*names):
        for name in names:
            path = tmp_path / "photos" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"")
        return tmp_path / "photos"

    return write


def test_folders_are_classes_in_the_order_of_the_model(write):
    found = list_images(write("cat/a.png", "cat/deep/b.jpg", "dog/c.png"), CLASSES)
    assert [path.split("photos/")[1] for path in found.paths] == [
        "cat/a.png",
        "cat/deep/b.jpg",
        "dog/c.png",
    ]
    assert found.truth == (1, 1, 0)


def test_one_class_is_enough(write):
    assert list_images(write("bird/a.png"), CLASSES).truth == (2,)


@pytest.mark.parametrize(
    "names",
    [["a.png", "b.png"], ["monday/a.png", "tuesday/b.png"], ["x/a.png", "b.png"]],
)
def test_folders_of_other_names_give_no_truth(write, names):
    found = list_images(write(*names), CLASSES)
    assert len(found.paths) == 2
    assert found.truth is None


def test_files_that_are_no_images_are_counted(write):
    found = list_images(write("cat/a.png", "cat/notes.txt", "cat/.hidden"), CLASSES)
    assert dict(found.left_out) == {".txt": 1}


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["cat/a.png", "dgo/b.png"], r"'dgo', which is none of .*mean 'dog'\?"),
        (["cat/a.png", "x/b.png", "y/b.png"], r"'x', 'y', which are none of dog"),
        (["Cat/a.png"], r"'Cat', which is none of .*mean 'cat'\?"),
        (["cat/a.png", "b.png"], r"with 1 image next to the folders cat"),
        (["train/cat/a.png", "test/cat/b.png"], r"one split.*test, train. Name one"),
        (["cat/notes.txt"], r"must hold images.*it has 1 \.txt"),
    ],
)
def test_what_could_be_meant_otherwise_is_refused(write, names, message):
    with pytest.raises(ValueError, match=message):
        list_images(write(*names), CLASSES)


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"folder that exists.*nowhere"):
        list_images(tmp_path / "nowhere", CLASSES)
