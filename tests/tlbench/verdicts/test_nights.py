"""Replayed nights in which nothing changed, with the noise of real machines.

A night is judged by the history, as the gate judges it, and its suspects by pairs.
"""

import math
import sys

import numpy as np
import pytest

from tlbench.verdicts import noise
from tlbench.verdicts.ratios import LOOKS, estimates
from tlbench.verdicts.trials import REPRESENTATIVES

SERIES, SPREAD, BEFORE = 24, 0.01, 40
PAIRS = 0.012
"""Between pairs of processes, as measured on shared machines."""


def gauss(draw, nights):
    return draw.normal(0, SPREAD, (nights, SERIES))


def autocorrelated(draw, nights):
    values = draw.normal(size=(nights, SERIES))
    for night in range(1, nights):
        values[night] = 0.6 * values[night - 1] + 0.8 * values[night]
    return SPREAD * values


def t3(draw, nights):
    return SPREAD / math.sqrt(3) * draw.standard_t(3, (nights, SERIES))


def outliers(draw, nights):
    bad = draw.random((nights, SERIES)) < 0.08
    return gauss(draw, nights) + bad * draw.uniform(0.05, 0.3, (nights, SERIES))


def spells(draw, nights):
    """Cases that are slow for four nights on average."""
    values = gauss(draw, nights)
    for series in range(SERIES):
        left, size = 0, 0.0
        for night in range(nights):
            if not left and draw.random() < 0.03:
                left, size = draw.geometric(0.25), draw.uniform(0.05, 0.3)
            values[night, series] += size * bool(left)
            left -= bool(left)
    return values


def spells_of_the_machine(draw, nights):
    """Nights on which all cases are slow, each by as much as it likes."""
    values, left, size = gauss(draw, nights), 0, 0.0
    for night in range(nights):
        if not left and draw.random() < 0.05:
            left, size = draw.geometric(0.3), draw.uniform(0.05, 0.3)
        values[night] += size * bool(left) * draw.uniform(0.5, 1.5, SERIES)
        left -= bool(left)
    return values


def two_modes(draw, nights):
    return gauss(draw, nights) + 0.11 * (draw.random((nights, SERIES)) < 0.5)


def a_rare_mode(draw, nights):
    return gauss(draw, nights) + 0.11 * (draw.random((nights, SERIES)) < 0.2)


KINDS = {
    f.__name__: f
    for f in (
        *(gauss, autocorrelated, t3, outliers, spells, spells_of_the_machine),
        *(two_modes, a_rare_mode),
    )
}


def judged(values):
    """Return, of the last night: alarms, whether the machine shifted, and suspects."""
    *accepted, tonight = values
    runs = {
        case: {str(night): float(x[case]) for night, x in enumerate(accepted)}
        for case in range(SERIES)
    }
    alpha = noise.FALSE_ALARMS / SERIES
    found = noise.compare_run(runs, dict(enumerate(map(float, tonight))), alpha=alpha)
    alarms, suspects = set(), set()
    for case, shift in found.shifts.items():
        expected = found.expectations[case]
        limit = max(expected.limit(alpha) * found.reach, noise.PRACTICAL_SIZE)
        alarms |= {case} if shift > limit else set()
        screen = expected.limit(2 * noise.SCREENING)
        suspects |= {case} if shift > screen else set()
    shift = abs(found.common_shift) > max(found.common_limit, noise.PRACTICAL_SIZE)
    return alarms, shift, suspects


LASTING = (autocorrelated, spells, spells_of_the_machine)


def convicted(draw, kind, cases):
    """Return how many of some cases the pairs of one night convict."""
    if not cases:
        return 0
    # What lasts for nights is on both sides of a pair; what comes and goes with a
    # process is on one.
    kind = gauss if kind in LASTING else kind
    scale = PAIRS / SPREAD
    drawn = scale * (kind(draw, LOOKS[-1]) - kind(draw, LOOKS[-1]))[:, :cases]
    decided = {}
    for look in LOOKS:
        left = [case for case in range(cases) if case not in decided]
        for case, one in estimates({c: drawn[:look, c] for c in range(cases)}).items():
            if case in left and one.decision != "undecided":
                decided[case] = one.decision
    return list(decided.values()).count("slower")


def replay(kind, accepted, *, nights, slow=0.0):
    """Return the shares of nights with a false alarm, before and after conviction."""
    draw = np.random.default_rng(1)
    alarmed = wrong = suspected = 0
    for _ in range(nights):
        # What was before lets spells begin before the first accepted night.
        values = kind(draw, BEFORE + accepted + 1)[BEFORE:]
        values[-1, 0] += math.log1p(slow)
        alarms, shift, suspects = judged(values)
        suspected += 0 in suspects
        alarmed += bool(alarms - {0} if slow else alarms) or shift
        tried = len(suspects) + REPRESENTATIVES * shift
        wrong += not slow and bool(convicted(draw, kind, tried))
    return alarmed / nights, wrong / nights, suspected / nights


@pytest.mark.parametrize("kind", ["gauss", "outliers", "a_rare_mode"])
def test_a_night_without_a_change_is_rarely_alarmed(kind):
    before, after, _ = replay(KINDS[kind], 20, nights=60)
    assert before <= 0.1
    assert after <= 0.02


@pytest.mark.slow
@pytest.mark.parametrize("accepted", [5, 20])
@pytest.mark.parametrize("kind", KINDS)
def test_nights_without_a_change(kind, accepted):
    before, after, _ = replay(KINDS[kind], accepted, nights=400)
    _, _, seen = replay(KINDS[kind], accepted, nights=400, slow=0.3)
    sys.stdout.write(
        f"{kind}, {accepted} runs: alarm {before:.1%}, after conviction {after:.1%}, "
        f"+30 % a suspect {seen:.1%}\n"
    )
    assert before <= 0.1
    assert after <= 0.01
    assert seen >= 0.9
