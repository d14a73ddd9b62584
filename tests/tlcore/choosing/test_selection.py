"""Selection: the best of many candidates without what chance gave it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from tlcore.choosing.selection import corrected, mcnemar, worse_than_best


def test_the_best_of_fifty_coins_is_a_coin():
    found = []
    for seed in range(20):
        coins = np.random.default_rng(seed).random((120, 50)) < 0.7
        assert coins.mean(axis=0).max() > 0.74
        found.append(corrected(coins, seed=seed).value)
    assert np.mean(found) == pytest.approx(0.7, abs=0.015)


def test_one_that_is_better_by_far_keeps_what_it_has():
    rng = np.random.default_rng(1)
    right = np.concatenate([rng.random((200, 1)) < 0.95, rng.random((200, 9)) < 0.6], 1)
    found = corrected(right)
    assert found.value == pytest.approx(right[:, 0].mean(), abs=0.005)
    assert found.low < found.value < found.high
    assert found.n == 200


def test_one_candidate_has_nothing_to_be_corrected():
    right = np.arange(100)[:, None] % 10 > 0
    assert corrected(right).value == pytest.approx(0.9, abs=0.005)


def test_a_seed_repeats_it():
    right = np.random.default_rng(2).random((50, 5)) < 0.5
    assert corrected(right, seed=3) == corrected(right, seed=3)
    assert corrected(right, seed=3) != corrected(right, seed=4)


@pytest.mark.parametrize("shape", [(1, 3), (10, 0)])
def test_nothing_to_choose_from_is_refused(shape):
    with pytest.raises(ValueError, match=r"two images or more.*right of shape"):
        corrected(np.zeros(shape, np.bool_))


def test_the_limit_counts_the_comparisons():
    best, other = np.ones(60, np.bool_), np.arange(60) >= 7  # p = 0.0156
    assert mcnemar(best, other) == pytest.approx(0.015625)
    assert worse_than_best(best, [other]) == [True]
    assert worse_than_best(best, [other, best, best, best]) == [False] * 4
    assert worse_than_best(best, []) == []


@given(st.integers(0, 30), st.integers(0, 30))
def test_mcnemar_is_a_fair_coin(better, worse):
    first = np.array([True] * better + [False] * worse + [True, False])
    second = np.array([False] * better + [True] * worse + [True, False])
    expected = 1.0
    if better + worse:
        expected = binomtest(better, better + worse).pvalue
    assert mcnemar(first, second) == pytest.approx(expected)
