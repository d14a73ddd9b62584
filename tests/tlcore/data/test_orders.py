"""The order of an epoch."""

import pytest

from tlcore.data.orders import permutation


@pytest.mark.parametrize(
    ("seed", "epoch", "order"),
    [
        (42, 0, [6, 0, 1, 2, 7, 5, 3, 4]),
        (42, 1, [4, 7, 6, 1, 2, 5, 0, 3]),
        (7, 0, [2, 0, 4, 5, 7, 3, 1, 6]),
    ],
)
def test_an_order_never_changes(seed, epoch, order):
    assert permutation(8, seed, epoch).tolist() == order


@pytest.mark.parametrize("count", [0, 1, 2, 1000])
def test_an_order_holds_each_number_once(count):
    assert sorted(permutation(count, 42, 3).tolist()) == list(range(count))
