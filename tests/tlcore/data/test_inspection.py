"""What is wrong with images, by what their check has seen."""

import numpy as np
import pytest

from tlcore.data.inspection import SplitImages, inspect

GOOD = (255, 255)


def split(name="train", images=(), **more):
    """Return a split of images, each (path, class, digest, levels)."""
    columns = list(zip(*images, strict=True)) or [(), (), (), ()]
    levels = np.array(columns[3], np.uint8).reshape(-1, 2)
    return SplitImages(name, *columns[:3], levels, **more)


def some(count, class_name="x", levels=GOOD, start=0, name="train"):
    return [
        (f"{name}/{class_name}/{i}", class_name, f"{class_name}{i}", levels)
        for i in range(start, start + count)
    ]


def texts(*splits):
    return [finding.text for finding in inspect(splits)]


def test_of_good_images_nothing_is_found():
    assert inspect([split(images=some(9) + some(1, "y")), split("test")]) == []


def test_files_that_cannot_be_read_are_listed_with_their_reasons():
    (finding,) = inspect([split(bad=[("a.jpg", "empty file"), ("b.jpg", "damaged")])])
    assert finding.text == "train: 2 files cannot be read as an image"
    assert finding.groups == (("a.jpg",), ("b.jpg",))
    assert finding.reasons == ("empty file", "damaged")
    assert finding.as_dict()["reasons"] == ["empty file", "damaged"]


def test_every_two_splits_are_compared():
    train, validation, test = (
        split(name, some(count, start=start, name=name))
        for name, start, count in (
            ("train", 0, 4),
            ("validation", 3, 3),
            ("test", 5, 4),
        )
    )
    found = inspect([train, validation, test])
    assert [(f.kind, f.splits) for f in found] == [
        ("shared images", ("train", "validation")),
        ("shared images", ("validation", "test")),
    ]
    assert found[0].text == (
        "1 of 3 images of validation is in train as well (equal bytes), and figures on "
        "them measure memory"
    )
    assert found[0].groups == (("train/x/3", "validation/x/3"),)
    assert found[1].text == (
        "1 of 4 images of test is in validation as well (equal bytes), and what is "
        "selected on them is selected on test"
    )


def test_copies_within_a_split_are_grouped():
    images = [("a", "x", "1", GOOD), ("b", "x", "1", GOOD), ("c", "x", "1", GOOD)]
    (finding,) = inspect([split("", [*images, ("d", "y", "2", GOOD)])])
    assert finding.text == "images: 2 images are copies of others (equal bytes)"
    assert finding.groups == (("a", "b", "c"),)


@pytest.mark.parametrize("other", ["train", "test"])
def test_contradicting_labels_are_found_within_and_between_splits(other):
    a, b = ("a", "cat", "1", GOOD), ("b", "dog", "1", GOOD)
    splits = (
        [split(images=[a, b])]
        if other == "train"
        else [split(images=[a]), split("test", [b])]
    )
    kinds = {finding.kind: finding for finding in inspect(splits)}
    finding = kinds["contradicting labels"]
    assert finding.text == (
        "1 image stands in more than one class (equal bytes under cat and dog)"
    )
    assert finding.groups == (("a", "b"),)


def test_flat_images_are_found():
    images = [*some(9), *some(1, levels=(8, 108), start=9), *some(9, "y", (9, 200))]
    assert texts(split(images=images)) == [
        "train: 1 image is flat (all its values within 8 of 255)"
    ]


def test_a_dark_set_is_one_finding():
    zero_to_one = texts(split(images=some(10, levels=(1, 1))))
    assert zero_to_one == [
        "train: 10 of 10 images are dark, with no value above 1 of 255: values in "
        "[0, 1] were saved as whole numbers"
    ]
    dark = texts(split(images=[*some(9, levels=(60, 63)), *some(1, start=9)]))
    assert dark == [
        "train: 9 of 10 images are dark, with no value above 63 of 255; are their "
        "values scaled to [0, 255]?"
    ]
    night = [*some(8, levels=(50, 60)), *some(2, start=8)]
    assert texts(split(images=night)) == []


def test_a_dark_class_is_found_where_the_others_are_not():
    images = [*some(9), *some(9, "y"), *some(9, "z", (15, 15))]
    (text,) = texts(split(images=images))
    assert text.startswith("train, class z: 9 of 9 images are dark")


def test_classes_out_of_balance_are_found():
    assert texts(split(images=some(9) + some(1, "y"))) == []
    assert texts(split(images=some(25) + some(2, "y"))) == [
        "train: the class x has 12.5 times the images of the smallest, y (25 and 2)"
    ]


def test_of_several_classes_each_is_counted():
    several = [*some(20, "x|y"), *some(1, "x"), *some(1, "y"), *some(1, "")]
    assert texts(split(images=several)) == []
    (text,) = texts(split(images=[*several, *some(2, "z")]))
    assert text.endswith("10.5 times the images of the smallest, z (21 and 2)")


def test_photographs_that_are_left_out_are_found_and_notes_are_not():
    left_out = {".HEIC": 3, ".txt": 9, ".dng": 1}
    assert texts(split(left_out=left_out)) == ["train: 3 .HEIC and 1 .dng are left out"]
    assert texts(split(left_out={".txt": 9})) == []
