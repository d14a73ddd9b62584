"""Which names of folders mean train, validation and test."""

import pytest

from tlcore.data.split_names import one_name_each, split_of, splits_among

TRAIN = [
    *("train", "Train", "TRAIN", "training", "Training", "train_set", "training_set"),
    *("trainset", "train-set", "TrainingSet", "train.data", "train_images", "trn"),
]
VALIDATION = [
    *("val", "Val", "valid", "Valid", "validation", "validation_set", "val-set"),
]
TEST = [
    *("test", "Test", "testing", "Testing", "test_set", "testset", "TEST_DATA"),
]
BESIDE = {
    "dev": "validation",
    "dev_set": "validation",
    "eval": "test",
    "evaluation": "test",
    "hold-out": "test",
}
NONE = [
    *("trainers", "trained", "contest", "invalid", "tested", "set", "data", "images"),
    *("cat", "1", "tests", "", "_"),
]


@pytest.mark.parametrize(
    ("names", "split"), [(TRAIN, "train"), (VALIDATION, "validation"), (TEST, "test")]
)
def test_every_spelling_means_its_split(names, split):
    assert {split_of(name) for name in names} == {split}


def test_other_names_mean_none():
    assert {split_of(name, beside_train=True) for name in NONE} == {None}


def test_some_names_mean_a_split_only_beside_a_train():
    assert {split_of(name) for name in BESIDE} == {None}
    assert splits_among([*BESIDE, "prod"]) == {}
    assert splits_among([*BESIDE, "Training"]) == {**BESIDE, "Training": "train"}


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        ("seg_train seg_test seg_pred", ["train", "test"]),
        ("train2017 val2017", ["train", "validation"]),
        ("imgTrain imgDev", ["train", "validation"]),
        ("dogs-training dogs-testing", ["train", "test"]),
        ("train station", ["train"]),
        ("train_station test_tube", []),
        ("bullet_train model_train", []),
        ("crash_test stress_test", []),
        ("red_val red_test", []),
    ],
)
def test_names_that_differ_only_in_a_split_mean_it(names, splits):
    assert list(splits_among(names.split()).values()) == splits


def test_a_split_has_one_name():
    found = splits_among(["val", "validation", "train"])
    message = (
        r"Each split must have one name\. Received: here, where 'val' and "
        r"'validation' each mean 'validation'\. Rename or remove all but one"
    )
    with pytest.raises(ValueError, match=message):
        one_name_each(found, "Received: here")
    assert list(one_name_each(splits_among(["dev", "train"]), "")) == [
        "train",
        "validation",
    ]
