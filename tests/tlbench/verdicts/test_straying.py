"""Runs that stray: what centre and spread leave out, and what no limit forgets."""

import math
import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlbench.verdicts import noise
from tlbench.verdicts.straying import FEWEST_RUNS, MOST_STRAYS, reach, sound

FLOOR = 0.001


def named(values):
    return {str(run): x for run, x in enumerate(values)}


def kept(values, **others):
    series = {"judged": named(values)} | {k: named(x) for k, x in others.items()}
    return sound(series, floor=FLOOR)["judged"]


CALM = [0.0, 0.01, -0.01, 0.02, -0.02, 0.005, -0.005]


@pytest.mark.parametrize("far", [0.2, -0.2, 5.0])
def test_a_run_that_is_far_off_is_left_out(far):
    assert kept([*CALM, far]) == CALM


def test_ordinary_runs_all_count():
    draw = random.Random(1)
    values = [draw.gauss(0, 0.01) for _ in range(20)]
    assert kept(values) == values


def test_a_spread_of_gauss_hardly_ever_loses_a_run():
    draw = random.Random(1)
    lost = 0
    for _ in range(200):
        series = {n: named(draw.gauss(0, 0.01) for _ in range(20)) for n in range(24)}
        lost += any(len(x) < 20 for x in sound(series, floor=FLOOR).values())
    assert lost <= 2


def test_five_runs_that_agree_by_luck_take_the_width_of_the_others():
    lucky = [0.0, 0.0001, -0.0001, 0.0, 0.012]
    assert kept(lucky) == lucky[:4]
    others = {f"s{n}": [0.01, -0.01, 0.004, -0.006, 0.002] for n in range(6)}
    assert kept(lucky, **others) == lucky


def test_of_few_runs_none_can_be_told_to_stray():
    assert kept([0.0, 0.0, 0.0, 9.0]) == [0.0, 0.0, 0.0, 9.0]


def test_a_second_mode_is_no_stray():
    half = [0.0, 0.001, -0.001, 0.0, 0.001] * 2 + [0.3] * 9
    assert kept(half) == half
    fewer = [0.0, 0.001, -0.001, 0.0, 0.001] * 2 + [0.3] * 3
    assert kept(fewer) == fewer[:10]


def test_runs_that_are_equal_have_the_floor_for_a_width():
    assert kept([1.0] * 8 + [1.004]) == [1.0] * 8 + [1.004]
    assert kept([1.0] * 8 + [1.006]) == [1.0] * 8


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=30))
def test_most_runs_stay(values):
    assert len(kept(values)) >= (1 - MOST_STRAYS) * len(values)
    if len(values) < FEWEST_RUNS:
        assert kept(values) == values


def test_limits_grow_to_the_farthest_run_and_a_little_more():
    assert reach({}, runs=1) == 1.0
    assert reach({"a": 0.4, "b": 1.25}, runs=20) == 1.0
    assert reach({"a": 0.4, "b": 1.26}, runs=20) == pytest.approx(1.26 * 1.1)
    assert reach({"a": 0.4, "b": 3.0}, runs=20) == pytest.approx(3.3)
    assert reach({"a": 3.0}, runs=5) == pytest.approx(4.2)


# In a comparison


def compared(accepted, value, alpha=0.01 / 24):
    quiet = {f"q{n}": named(CALM[n:] + CALM[:n]) for n in range(6)}
    values = dict.fromkeys(quiet, 0.0)
    return noise.compare_run(
        {**quiet, "judged": named(accepted)}, {**values, "judged": value}, alpha=alpha
    )


def test_what_strayed_moves_no_centre_and_widens_no_spread():
    calm, rough = compared(CALM, 0.0), compared([*CALM[:6], 0.4], 0.0)
    assert rough.expectations["judged"].centre == pytest.approx(0.0, abs=0.004)
    spreads = [x.expectations["judged"].spread for x in (calm, rough)]
    assert max(spreads) / min(spreads) < 1.3
    assert rough.expectations["judged"].runs == 6


def test_what_strayed_once_may_stray_again():
    assert compared(CALM, 0.0).reach == 1.0
    rough = compared([*CALM[:6], 0.4], 0.3)
    limit = rough.expectations["judged"].limit(0.01 / 24)
    assert rough.shifts["judged"] > limit
    assert rough.shifts["judged"] < limit * rough.reach
    # Judged by the other six, and as far beyond as seven runs leave open.
    centre = statistics.fmean(CALM[:6])
    expected = (0.4 - centre) * 7 / 6 / limit * (1 + 2 / 7)
    assert rough.reach == pytest.approx(expected, rel=0.02)


def test_without_a_level_nothing_reaches():
    assert compared([*CALM[:6], 0.4], 0.3, alpha=None).reach == 1.0


def test_the_shift_of_the_machine_is_from_its_usual_mode():
    # Skewed: by the means of the series, every ordinary run is below 0.
    skewed = {
        str(n): named([0.2 if (n + run) % 4 == 0 else 0.0 for run in range(8)])
        for n in range(24)
    }
    ordinary = noise.compare_run(skewed, dict.fromkeys(skewed, 0.0))
    assert ordinary.common_shift == pytest.approx(0.0, abs=1e-9)
    slower = noise.compare_run(skewed, dict.fromkeys(skewed, 0.05))
    assert slower.common_shift == pytest.approx(0.05)


def test_a_spell_of_the_machine_widens_its_own_limit():
    draw = random.Random(1)

    def suite(offset):
        return {
            str(n): named(draw.gauss(0, 0.01) + offset(run) for run in range(20))
            for n in range(24)
        }

    quiet = noise.compare_run(suite(lambda _: 0.0), {str(n): 0.1 for n in range(24)})
    spell = noise.compare_run(
        suite(lambda run: 0.2 * (7 <= run < 10)), {str(n): 0.1 for n in range(24)}
    )
    assert quiet.common_limit < quiet.common_shift
    assert spell.common_limit > spell.common_shift > 0.05
    assert math.isfinite(spell.common_limit)
