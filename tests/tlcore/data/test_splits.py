"""The splits of a data folder, opened together."""

import pytest
from PIL import Image

from tlcore.data.reading import Reading
from tlcore.data.splits import load_splits

SIZE = 4
LOADED = {"image_size": SIZE, "batch_size": 3, "label_mode": "int"}


@pytest.fixture
def write_splits(write_folder, tmp_path):
    """Return what writes splits of two classes, given the images per class."""

    def write(**counts):
        for split, per_class in counts.items():
            write_folder(tmp_path / split, {"a": per_class, "b": per_class})
        return tmp_path

    return write


@pytest.mark.parametrize(
    ("present", "epochs_on"),
    [
        (("validation",), "validation"),
        (("test",), "test"),
        (("validation", "test"), "validation"),
    ],
)
def test_splits_say_what_epochs_are_validated_on(write_splits, present, epochs_on):
    directory = write_splits(train=10, **dict.fromkeys(present, 4))
    splits = load_splits(directory, percent=20, **LOADED)
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


def test_images_of_train_among_the_others_are_counted(write_splits):
    directory = write_splits(train=3, validation=2, test=2)
    assert load_splits(directory, **LOADED).shared_images == {
        "validation": 4,
        "test": 4,
    }
    for name in "ab":
        for index in range(2):
            path = directory / "test" / name / f"{index:03}.png"
            Image.new("RGB", (SIZE, SIZE), (7, 7, index)).save(path)
    assert load_splits(directory, **LOADED).shared_images == {"validation": 4}


def test_splits_are_relabelled_together(write_splits):
    directory = write_splits(train=2, test=2)
    splits = load_splits(directory, **LOADED).relabelled("binary")
    assert splits.train.label_mode == splits.test.label_mode == "binary"
    assert splits.validation is None


def test_bad_images_of_all_splits_are_listed_in_one_error(write_splits):
    directory = write_splits(train=2, validation=2, test=2)
    for split in ("train", "validation", "test"):
        (directory / split / "a" / "bad.jpg").touch()
    with pytest.raises(ValueError, match="3 that cannot be used") as raised:
        load_splits(directory, **LOADED)
    for split in ("train", "validation", "test"):
        assert str(directory / split / "a" / "bad.jpg") in str(raised.value)
    splits = load_splits(directory, skip_bad=True, **LOADED)
    assert [len(f.skipped) for f in vars(splits).values()] == [1, 1, 1]


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
def test_splits_of_other_classes_are_refused(tmp_path, write_folder, classes, message):
    for split, names in {"train": "abc", **classes}.items():
        write_folder(tmp_path / split, dict.fromkeys(names, 1))
    with pytest.raises(ValueError, match=message):
        load_splits(tmp_path, **LOADED)


def test_a_data_folder_with_other_names_is_refused(write_splits):
    with pytest.raises(ValueError, match="with 'val'"):
        load_splits(write_splits(train=1, val=1), **LOADED)


def test_all_splits_are_read_in_one_way(write_splits):
    directory = write_splits(train=2, test=2)
    options = {"fit": "pad", "background": "black", "orientation": "ignore"}
    splits = load_splits(directory, **options, **LOADED)
    expected = Reading.of(**options)
    assert splits.train.reading == splits.test.reading == expected
    with pytest.raises(ValueError, match="orientation must be one of: apply, ignore"):
        load_splits(directory, orientation="no", **LOADED)
