"""Which images are held out; what becomes of them is tested with image folders."""

import numpy as np
import pytest

from tlcore.data.holding_out import held_out


def test_the_choice_depends_on_names_and_not_on_their_order():
    names = [f"{i}.png" for i in range(20)]
    labels = np.arange(20) % 2
    options = {"percent": 30, "seed": 42}
    mask = held_out(names, labels, "ab", **options)
    again = held_out(names[::-1], labels[::-1], "ab", **options)
    assert mask.tolist() == again[::-1].tolist()
    assert np.bincount(labels[mask]).tolist() == [3, 3]


def test_a_class_of_one_image_is_named():
    with pytest.raises(ValueError, match="at least 2 images.*Received: dog with 1"):
        held_out(
            ["a", "b", "c"], np.array([0, 0, 1]), ["cat", "dog"], percent=9, seed=1
        )
