"""Drift: small steps since the anchor."""

import math

import pytest

from tlbench.verdicts import noise
from tlbench.verdicts.judge import suspects
from tlbench.verdicts.series import DRIFT_SIZE

from .builders import CASE, WIGGLE, figures, judge, left, limit_of, runs, said


def test_small_steps_are_found_by_the_anchor():
    known = figures(epoch=runs(1.04), anchor={"epoch": runs(1.0)})
    case = judge(left(timings={"epoch": 1.04}), figures=known)
    assert case.verdict == "regression"
    assert "has drifted: it is 4.0% slower than its anchor" in case.findings[0].why


def test_a_drift_is_run_again_too():
    known = figures(epoch=runs(1.04), anchor={"epoch": runs(1.0)})
    record = left(timings={"epoch": 1.04})
    assert suspects([judge(record, figures=known)]) == (CASE,)
    again = {CASE: [left(timings={"epoch": 1.0})] * 3}
    assert judge(record, again, figures=known).verdict == "pass"


@pytest.mark.parametrize(
    "anchor",
    [{}, {"epoch": runs(1.0, 4)}, {"epoch": runs(1.035)}, {"another": runs(0.5)}],
)
def test_without_an_anchor_or_a_change_of_size_there_is_no_drift(anchor):
    known = figures(epoch=runs(1.04), anchor=anchor)
    assert judge(left(timings={"epoch": 1.04}), figures=known).verdict == "pass"


def test_three_tenths_of_a_percent_a_run_are_found_by_four_percent():
    """Every run is accepted, as nobody should: the anchor shows the drift."""
    import random

    chance = random.Random(1)
    found = []
    for _ in range(20):
        values = [math.exp(chance.gauss(0, 0.0055)) for _ in range(20)]
        anchor = {f"r{i}": x for i, x in enumerate(values)}
        level = 1.0
        while level < 1.1:
            level *= 1.003
            newest = level * math.exp(chance.gauss(0, 0.0055))
            recent = {f"r{i}": x for i, x in enumerate(values[-20:])}
            known = figures(epoch=recent, anchor={"epoch": anchor})
            if judge(left(timings={"epoch": newest}), figures=known).verdict != "pass":
                break
            values.append(newest)
        found.append(level)
    assert max(found) <= 1.04, found


def drifted(
    value, again=None, *, better="lower", level=1.04, anchor=1.0, spread=WIGGLE
):
    known = figures(x=runs(level), anchor={"x": runs(anchor, wiggle=spread)})
    record = left(metrics={"x": [{"value": value, "better": better}]})
    fresh = again and {
        CASE: [left(metrics={"x": [{"value": v, "better": better}]}) for v in again]
    }
    return judge(record, fresh, figures=known)


def test_the_sentence_on_drift():
    case = drifted(1.05)
    _, limit = limit_of("x", runs(1.0))
    assert said(case) == [
        "regression: x 1.05 has drifted: it is 5.0% more than its anchor, the oldest "
        f"accepted runs (limit {math.expm1(max(limit, DRIFT_SIZE)):.1%})"
    ]
    (judgement,) = case.judgements
    expected, _ = limit_of("x", runs(1.0))
    seen = expected.detectable(noise.FALSE_ALARMS, smallest=DRIFT_SIZE)
    assert judgement.detectable == pytest.approx(math.expm1(seen))
    assert judgement.change == pytest.approx(0.05, abs=1e-3)
    assert (judgement.case, judgement.name, judgement.suspect) == (CASE, "x", True)


def test_drift_for_the_better_is_none():
    assert drifted(0.95, level=0.96).verdict == "pass"
    assert drifted(1.05, better="higher").verdict == "pass"
    assert drifted(0.95, level=0.96, better="higher").verdict == "regression"


def test_drift_is_judged_by_the_mean_of_fresh_runs():
    assert drifted(1.05, [1.05, 1.04, 1.06]).verdict == "regression"
    assert drifted(1.05, [1.0, 1.0, 1.0]).verdict == "improvement"
    assert drifted(1.05, [1.019] * 3, level=1.03).verdict == "pass"
    case = drifted(1.05, [1.06, 1.04])
    (judgement,) = case.judgements
    assert judgement.change == pytest.approx(math.sqrt(1.06 * 1.04) - 1, abs=1e-3)
    _, limit = limit_of("x", runs(1.0), fresh=2)
    size = math.expm1(max(limit, DRIFT_SIZE))
    assert f"(limit {size:.1%})" in case.findings[0].why


def test_a_drift_within_its_noise_is_a_suspect_and_no_finding():
    wide = [x * 2.5 for x in WIGGLE]
    case = drifted(1.045, spread=wide)
    (judgement,) = case.judgements
    assert (case.verdict, judgement.verdict, judgement.suspect) == (
        "pass",
        "pass",
        True,
    )
    assert suspects([case]) == (CASE,)
    assert drifted(1.045, [1.045], spread=wide).verdict == "pass"
