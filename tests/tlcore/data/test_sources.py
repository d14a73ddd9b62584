"""What may be given as data."""

import shutil

import pytest

from tlcore.data.sources import find_source


@pytest.fixture
def splits(tmp_path, write_folder):
    for name in ("Train", "test", "notes"):
        write_folder(tmp_path / "data" / name, {"a": 1, "b": 1})
    shutil.rmtree(tmp_path / "data" / "notes" / "a")
    return tmp_path / "data"


def test_a_folder_has_splits_with_their_names_and_what_is_not_read(splits):
    source = find_source(splits)
    assert list(source.listings) == ["train", "test"]
    assert source.names == {"train": "Train", "test": "test"}
    assert source.naming() == "splits: train: Train, test: test; not read: notes"


def test_class_folders_have_none(splits):
    source = find_source(splits / "Train")
    assert list(source.listings) == [""]
    assert source.naming() is None


def test_a_folder_may_be_called_like_a_table_or_an_archive(splits):
    for name in ("photos.csv", "photos.zip"):
        shutil.copytree(splits, splits.parent / name)
        assert list(find_source(splits.parent / name).listings) == ["train", "test"]


def test_images_of_a_test_without_classes_are_answered_with_a_split(splits):
    for path in list((splits / "test").glob("*/*.png")):
        path.rename(splits / "test" / f"{path.parent.name}.png")
    for name in "ab":
        (splits / "test" / name).rmdir()
    message = (
        r"where those of 'test' have no class\. Move them elsewhere \(tlcore predict "
        r"takes them\), and hold a part of 'Train' out: split=\"80/10/10\""
    )
    with pytest.raises(ValueError, match=message):
        find_source(splits)


def test_a_split_in_a_folder_of_its_name_is_found(tmp_path, write_folder):
    for name in ("seg_train", "seg_test"):
        write_folder(tmp_path / name / name, {"a": 1, "b": 1})
    (tmp_path / "seg_pred").mkdir()
    source = find_source(tmp_path)
    assert source.listings["test"].class_names == ("a", "b")
    assert source.naming() == (
        "splits: train: seg_train, test: seg_test; not read: seg_pred"
    )


@pytest.mark.parametrize("name", ["photos.rar", "labels.xlsx", "a.jpg"])
def test_a_file_of_another_kind_is_refused(tmp_path, name):
    (tmp_path / name).write_bytes(b"PK\3\4")
    with pytest.raises(ValueError, match=rf"or a table .*{name}', a file of another"):
        find_source(tmp_path / name)


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(ValueError, match="must be a folder that exists"):
        find_source(tmp_path / "none")
    with pytest.raises(ValueError, match="must be a file that can be read"):
        find_source(tmp_path / "none.csv")
    with pytest.raises(ValueError, match="must be a folder that exists"):
        find_source(tmp_path / "none.zip")


def test_only_a_test_is_answered_with_what_is_missing(tmp_path, write_folder):
    write_folder(tmp_path / "data" / "test", {"a": 1, "b": 1})
    with pytest.raises(
        ValueError, match="which holds: test. Give the training images a"
    ):
        find_source(tmp_path / "data")
