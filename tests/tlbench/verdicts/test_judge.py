"""Whole cases: what is judged at all, and by which runs."""

import pytest

from tlbench.verdicts.figures import Accepted
from tlbench.verdicts.judge import judge as judge_all
from tlbench.verdicts.judge import suspects, unseen

from .builders import CASE, figures, judge, left, runs, said


def test_time_is_judged_only_where_the_exact_values_hold():
    record = left(exact={"trainable": 2}, timings={"epoch": 0.5})
    case = judge(record, exact={CASE: {"trainable": 4}}, figures=figures(epoch=1.0))
    assert said(case) == ["regression: trainable: expected 4, received 2"]
    assert case.judgements == ()


def test_a_suspect_is_whoever_looks_worse_at_all():
    calm = judge(left(timings={"epoch": 1.0}), figures=figures(epoch=1.0))
    odd = judge(left(timings={"epoch": 1.02}), figures=figures(epoch=1.0))
    fast = judge(left(timings={"epoch": 0.8}), figures=figures(epoch=1.0))
    assert suspects([calm, odd, fast]) == (odd.case,)
    assert odd.verdict == "pass"


@pytest.mark.parametrize(
    ("fresh", "word"),
    [
        ([1.3, 1.3, 1.3], "regression"),
        ([1.0, 1.0, 1.0], "pass"),
        ([1.1] * 3, "regression"),
    ],
)
def test_a_suspect_is_judged_by_its_fresh_runs(fresh, word):
    again = {CASE: [left(timings={"epoch": x}) for x in fresh]}
    record = left(timings={"epoch": 1.3})
    case = judge(record, again, figures=figures(epoch=1.0))
    assert case.verdict == word
    if word == "regression":
        assert "mean of 3 fresh runs" in case.findings[0].why


@pytest.mark.parametrize("again", [{}, {CASE: []}, {CASE: [left(exact={"n": 1})]}])
def test_a_suspect_that_could_not_be_run_again_is_no_pass(again):
    record = left(timings={"epoch": 1.3})
    assert judge(record, again, figures=figures(epoch=1.0)).verdict == "regression"


def test_who_is_no_suspect_is_not_judged_by_fresh_runs():
    again = {CASE: [left(timings={"epoch": 2.0})]}
    case = judge(left(timings={"epoch": 1.0}), again, figures=figures(epoch=1.0))
    assert case.verdict == "pass"


def test_two_cases_alike_are_judged_each_for_itself():
    other = "bench_a.py::bench_c"
    records = {
        CASE: left(exact={"n": 1}, timings={"epoch": 1.3}),
        other: left(other, exact={"n": 1}, timings={"epoch": 1.0}),
    }
    accepted = Accepted(
        exact={CASE: {"n": 1}, other: {"n": 1}},
        figures=figures(epoch=1.0) | figures(other, epoch=1.0),
    )
    first, second = judge_all(records, accepted)
    assert (first.case, first.verdict) == (CASE, "regression")
    assert (second.case, second.verdict) == (other, "pass")
    assert first.comparison.equal == ("n",)
    assert first.record is records[CASE]


def test_cases_that_their_accepted_runs_cannot_tell_are_unseen():
    wild = runs(1.0, wiggle=[0.0, 1.0, -1.0, 0.5, -0.5])
    known = {"a": wild, "b": runs(1.0), "c": runs(1.0, count=3), "d": {}}
    accepted = {}
    for case, values in known.items():
        accepted |= figures(case, epoch=values)
    records = {case: left(case, timings={"epoch": 1.0}) for case in known}
    cases = judge_all(records, Accepted(figures=accepted))
    assert unseen(cases) == ("a", "c")
