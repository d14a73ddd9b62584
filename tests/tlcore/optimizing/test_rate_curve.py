"""Rate curve: what is suggested of curves whose form is known, and where nothing is."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlcore.optimizing.rate_curve import growing_rates, has_diverged, read_curve

RATES = np.array(growing_rates(1e-7, 10.0, 100))


def read(losses, *, diverged=False, steps=100):
    losses = np.asarray(losses, float)
    rates = RATES[: len(losses)]
    at = float(rates[-1]) if diverged else None
    return read_curve(rates, losses, steps=steps, diverged_at=at)


def valley(steepest, noise=0.0, rates=RATES):
    """Return losses that fall at a rate and explode thirty times above it."""
    rng = np.random.default_rng(0)
    curve = 0.2 + 1 / (1 + rates / steepest) + (rates / steepest / 100) ** 2
    return curve + noise * rng.standard_normal(len(rates))


class TestSuggests:
    @pytest.mark.parametrize("steepest", [1e-4, 1e-3, 1e-2])
    @pytest.mark.parametrize("noise", [0, 0.1])
    def test_a_tenth_of_the_least_and_the_steepest_place(self, steepest, noise):
        losses = valley(steepest, noise)
        found = read(losses)
        least = RATES[valley(steepest).argmin()]
        assert found.suggestion == pytest.approx(least / 10, rel=0.9)
        assert steepest / 4 < found.steepest < steepest * 4
        assert found.losses == tuple(losses)
        assert found.sentence.startswith(f"suggested: {found.suggestion:.2g}, a tenth")

    def test_an_explosion_does_not_move_what_is_before_it(self):
        calm = valley(1e-3)[:75]
        wild = [*calm, 1e4, 1e8, 1e30]
        assert read(wild, diverged=True).suggestion == pytest.approx(
            read(calm, diverged=True).suggestion, rel=0.5
        )

    def test_figures_are_those_of_json(self):
        found = read(valley(1e-3))
        again = json.loads(json.dumps(found.as_dict()))
        assert again["suggestion"] == found.suggestion
        assert again["rates"] == list(found.rates)


class TestSuggestsNothing:
    def test_of_a_flat_curve(self):
        found = read(np.ones(100))
        assert (found.suggestion, found.steepest) == (None, None)
        assert "not fall beyond its own noise at any" in found.sentence

    def test_of_noise(self):
        rng = np.random.default_rng(0)
        found = [read(1 + 0.3 * rng.standard_normal(100)) for _ in range(200)]
        assert sum(x.suggestion is not None for x in found) <= 8

    def test_of_a_curve_that_rises_from_the_start(self):
        found = read(np.geomspace(1, 1e6, 40), diverged=True)
        assert found.suggestion is None
        assert "before it diverged. Begin with a lower rate" in found.sentence

    @pytest.mark.parametrize("losses", [[1.0], [1.0, 5.0], [1.0, 0.9, 0.1, 7.0]])
    def test_of_a_few_steps(self, losses):
        assert "before it diverged" in read(losses, diverged=True).sentence

    def test_of_a_curve_that_still_falls(self):
        found = read(np.linspace(2, 1, 100))
        assert found.suggestion is None
        assert "still falls at the highest rate. Search beyond it" in found.sentence

    @given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=100), st.booleans())
    def test_but_always_a_sentence(self, losses, diverged):
        found = read(losses, diverged=diverged)
        assert (found.suggestion is None) == found.sentence.startswith("no suggestion:")
        assert np.isfinite(found.smoothed).all()


class TestDiverged:
    @pytest.mark.parametrize("loss", [float("nan"), float("inf"), -float("inf")])
    def test_a_loss_that_is_no_number(self, loss):
        assert has_diverged([1.0, loss], 100)

    def test_four_times_the_best(self):
        assert has_diverged([1.0] * 20 + [0.3] * 40 + [2.0] * 20, 100)
        assert not has_diverged([1.0] * 20 + [0.3] * 40 + [1.1] * 20, 100)

    def test_not_within_the_noise_of_the_first_steps(self):
        assert not has_diverged([0.01, 0.5, 0.01] * 4 + [0.01] * 40 + [0.4] * 5, 100)

    def test_not_before_there_is_anything_to_compare_with(self):
        assert not has_diverged([1.0, 100.0], 100)
        assert not has_diverged([], 100)
