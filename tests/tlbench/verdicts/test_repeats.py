"""Fresh runs that do other work than the run they repeat."""

from dataclasses import replace

import pytest

from tlbench.record import CaseRecord

from .builders import CASE, entries, figures, judge, left, said

SLOW = {"timings": {"epoch": 1.3}}
SAID = "the fresh runs did not repeat what the session measured: "


@pytest.mark.parametrize(
    ("fresh", "why"),
    [
        (left(exact={"n": 8}, **SLOW), "n 4, then 8"),
        (left(exact={"n": 4.0}, **SLOW), "n 4, then 4.0"),
        (left(**SLOW), "n was not recorded again"),
        (left(exact={"n": 4, "m": 1}, **SLOW), "m was not recorded before"),
        (left(exact={"n": 4}, costs={"f": 1}, **SLOW), "f was not recorded before"),
        (left(exact={"n": 4}, version="2", **SLOW), "version '1', then '2'"),
        (
            left(exact={"n": 4}, timings={"step": 1.3}),
            "epoch was not recorded again; step was not recorded before",
        ),
        (
            left(exact={"n": 4}, memory={"peak": 1}, **SLOW),
            "peak was not recorded before",
        ),
        (
            left(exact={"n": 4}, metrics={"acc": entries(0.5)}, **SLOW),
            "acc was not recorded before",
        ),
        (CaseRecord(case=CASE, outcome="failed"), "1 of 1 did not pass"),
        (left(exact={"n": 4}, outcome="skipped", **SLOW), "1 of 1 did not pass"),
        # Its exact value differs from the accepted one: pytest fails it.
        (left(exact={"n": 8}, outcome="regression", **SLOW), "n 4, then 8"),
    ],
)
@pytest.mark.parametrize("seconds", [1.02, 1.3])
def test_fresh_runs_that_do_not_repeat_the_run_are_a_finding(fresh, why, seconds):
    record = left(exact={"n": 4}, timings={"epoch": seconds})
    case = judge(
        record, {CASE: [fresh]}, exact={CASE: {"n": 4}}, figures=figures(epoch=1.0)
    )
    assert f"inconclusive: {SAID}{why}" in said(case)
    # They neither clear the run nor convict it: it is judged by itself.
    assert case.verdict == ("regression" if seconds == 1.3 else "inconclusive")
    assert not any("fresh run)" in finding.why for finding in case.findings)


@pytest.mark.parametrize(
    ("ours", "theirs", "why"),
    [
        (
            {"iterations": 300},
            {"iterations": 1},
            "with 300 iterations a round, then with 1",
        ),
        ({"timer": "a"}, {"timer": "b"}, "by a, then with b"),
    ],
)
def test_fresh_runs_that_were_timed_otherwise_do_not_repeat(ours, theirs, why):
    def record(how):
        one = left(timings={"epoch": 1.3})
        return replace(one, timings={"epoch": replace(one.timings["epoch"], **how)})

    case = judge(record(ours), {CASE: [record(theirs)]}, figures=figures(epoch=1.0))
    assert f"inconclusive: {SAID}epoch timed {why}" in said(case)


def test_one_that_differs_among_several_is_enough():
    like, other = left(timings={"epoch": 1.0}), left(version="2", timings={"epoch": 1})
    failed = replace(like, outcome="failed")
    case = judge(
        left(**SLOW), {CASE: [like, other, other, failed]}, figures=figures(epoch=1.0)
    )
    assert said(case)[0] == (
        f"inconclusive: {SAID}version '1', then '2'; 1 of 4 did not pass"
    )
    assert case.verdict == "regression"


def test_other_values_of_what_is_measured_are_no_difference():
    record = left(exact={"n": 4}, metrics={"loss": [{"value": 0.5}]}, **SLOW)
    fresh = left(
        exact={"n": 4}, metrics={"loss": [{"value": 0.6}]}, timings={"epoch": 1.0}
    )
    known = figures(epoch=1.0, loss=0.5)
    case = judge(record, {CASE: [fresh] * 3}, exact={CASE: {"n": 4}}, figures=known)
    assert not any("did not repeat" in finding for finding in said(case))
