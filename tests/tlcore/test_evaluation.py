"""Estimates: intervals that hold."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlcore.evaluation import mean, proportion


@pytest.mark.parametrize(
    ("correct", "n", "low", "high"),
    [
        # scipy.stats.binomtest(correct, n).proportion_ci(method="wilson")
        (141, 150, 0.88991023, 0.96811596),
        (0, 10, 0.00000000, 0.27753280),
        (10, 10, 0.72246720, 1.00000000),
        (1, 2, 0.09453121, 0.90546879),
    ],
)
def test_the_interval_of_a_proportion_is_wilsons(correct, n, low, high):
    estimate = proportion(correct, n)
    assert estimate.value == correct / n
    assert estimate.n == n
    assert estimate.low == pytest.approx(low, abs=1e-8)
    assert estimate.high == pytest.approx(high, abs=1e-8)


@given(
    st.integers(1, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
)
def test_a_proportion_lies_within_its_interval(case):
    estimate = proportion(*case)
    assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1


def test_the_interval_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    for p in (0.5, 0.85, 0.95):
        drawn = [proportion(int(c), 150) for c in rng.binomial(150, p, 4000)]
        covered = np.mean([e.low <= p <= e.high for e in drawn])
        assert 0.93 <= covered <= 0.97


@pytest.mark.parametrize(("correct", "n"), [(0, 0), (3, 2), (-1, 2)])
def test_an_impossible_proportion_is_refused(correct, n):
    with pytest.raises(ValueError, match=f"Received: correct={correct}, n={n}"):
        proportion(correct, n)


def test_a_mean_has_its_normal_interval():
    estimate = mean([1.0, 2.0, 3.0])
    assert estimate.value == 2.0
    assert estimate.high - 2.0 == pytest.approx(1.959964 / math.sqrt(3))
    assert str(estimate).startswith("2.0000 (n=3, 95 % ")
    assert estimate.as_dict()["n"] == 3


def test_the_mean_of_nothing_is_refused():
    with pytest.raises(ValueError, match="at least one value"):
        mean([])
