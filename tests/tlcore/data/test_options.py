"""What `image_folder` and `load_splits` accept."""

import numpy as np
import pytest

from tlcore.data.options import check_label_mode, check_percent, folder_options

VALID = {
    "image_size": 4,
    "batch_size": 3,
    "label_mode": "int",
    "percent": 100,
    "shuffle": True,
    "seed": 42,
}


@pytest.mark.parametrize("size", [(4, 6), 4, [4, 4], (np.int64(4), 4)])
def test_image_size_is_a_pair_or_one_number(size):
    found = folder_options(**{**VALID, "image_size": size})["image_size"]
    assert found == (tuple(size) if not isinstance(size, int) else (size, size))
    assert all(type(n) is int for n in found)


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
        ({"image_size": "224"}, "Received: image_size='224'.*Write image_size="),
        ({"image_size": None}, "Received: image_size=None"),
    ],
)
def test_an_option_out_of_range_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        folder_options(**{**VALID, **options})


@pytest.mark.parametrize(
    ("label_mode", "message"),
    [
        ("onehot", "one of: categorical, int, binary.*Received: label_mode='onehot'"),
        ("binary", "exactly two classes.* with 3: a, b, c.*Use 'categorical'"),
    ],
)
def test_labels_that_classes_cannot_have_are_refused(label_mode, message):
    with pytest.raises(ValueError, match=message):
        check_label_mode(label_mode, ["a", "b", "c"])


def test_all_images_may_be_taken_but_not_all_held_out():
    check_percent(100)
    with pytest.raises(ValueError, match=r"below 100\. Received: percent=100"):
        check_percent(100, all_allowed=False)
