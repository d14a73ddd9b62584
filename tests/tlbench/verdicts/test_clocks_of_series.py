"""The clock that a timing is judged by, where both were recorded."""

from dataclasses import replace

import pytest

from tlbench.verdicts.figures import CPU, Accepted
from tlbench.verdicts.judge import judge as judge_all
from tlbench.verdicts.limits import Limits, Policy

from .builders import CASE, WIGGLE, figures, judge, left, runs, said

BOTH = ("cpu", "wall")


def timed(wall, cpu, clocks, case=CASE):
    """Return a record of one timing by both clocks."""
    record = left(case, timings={"epoch": wall})
    timing = replace(record.timings["epoch"], cpu=cpu, clocks=clocks)
    return replace(record, timings={"epoch": timing})


def accepted(case=CASE, wiggle=WIGGLE):
    """Figures of a second by both clocks."""
    by_clock = {"epoch": runs(1.0, wiggle=wiggle), "epoch" + CPU: runs(1.0)}
    (found,) = figures(case, **by_clock).values()
    units = dict.fromkeys(by_clock, "s")
    return {case: replace(found, units=units)}


@pytest.mark.parametrize(
    ("clocks", "wall", "cpu", "found"),
    [
        (("cpu",), 2.0, 1.0, []),  # a busy machine
        (("cpu",), 1.0, 2.0, ["epoch (cpu) 2 s"]),
        (("wall",), 2.0, 1.0, ["epoch 2 s"]),  # it waits
        (("wall",), 1.0, 2.0, []),
        (BOTH, 2.0, 1.0, ["epoch 2 s"]),
        (BOTH, 1.0, 2.0, ["epoch (cpu) 2 s"]),
        (BOTH, 1.0, 1.0, []),
        ((), 2.0, 1.0, ["epoch 2 s"]),  # recorded before clocks were
    ],
)
def test_a_timing_is_judged_by_its_clock(clocks, wall, cpu, found):
    case = judge(timed(wall, cpu, clocks), figures=accepted())
    assert [one.split(" is ")[0] for one in said(case)] == [
        f"regression: {one}" for one in found
    ]


def test_a_clock_without_accepted_figures_is_not_missed():
    known = figures(epoch=1.0)
    assert said(judge(timed(1.0, 1.0, ("cpu",)), figures=known)) == []
    (slow,) = said(judge(timed(2.0, 2.0, ("cpu",)), figures=known))
    assert slow.startswith("regression: epoch 2 s is")


def test_a_timing_that_is_there_has_lost_no_processor_time():
    assert said(judge(left(timings={"epoch": 1.0}), figures=accepted())) == []


def test_other_iterations_are_not_compared_by_either_clock():
    record = timed(2.0, 2.0, BOTH)
    timing = replace(record.timings["epoch"], iterations=300)
    known = {
        case: replace(x, iterations={"epoch": 1}) for case, x in accepted().items()
    }
    case = judge(replace(record, timings={"epoch": timing}), figures=known)
    assert [one.split(" timed ")[0] for one in said(case)] == [
        "not_comparable: epoch was",
        "not_comparable: epoch (cpu) was",
    ]


def test_timings_by_one_clock_move_together():
    records, known = {}, {}
    for i in range(12):
        case = f"bench_a.py::bench[{i}]"
        clocks = ("cpu",) if i % 2 else ("wall",)
        # A busy machine: what waits takes half as long again.
        records[case] = timed(1.5, 1.0, clocks, case)
        known |= accepted(case)
    (shift,) = (
        one for one in judge_all(records, Accepted(figures=known)) if one.findings
    )
    assert shift.findings[0].why.startswith("all 6 timings together are 50.0% slower")
    slow = {case: timed(1.0, 1.5, ("cpu",), case) for case in records}
    (shift,) = (one for one in judge_all(slow, Accepted(figures=known)) if one.findings)
    assert (
        "all 12 timings by processor time together are 50.0%" in shift.findings[0].why
    )


@pytest.mark.parametrize(
    ("clock", "wall", "cpu", "slower"),
    [
        ("wall", 2.0, 1.0, True),
        ("wall", 1.0, 2.0, False),
        ("cpu", 2.0, 1.0, False),
        ("cpu", 1.0, 2.0, True),
    ],
)
def test_a_project_may_choose_the_clock(clock, wall, cpu, slower):
    policy = Policy(Limits(clock=clock))
    found = judge(timed(wall, cpu, BOTH), figures=accepted(), policy=policy)
    assert bool(said(found)) is slower


def test_a_timing_without_the_chosen_clock_is_judged_by_the_other():
    policy = Policy(Limits(clock="cpu"))
    record = left(CASE, timings={"epoch": 2.0})
    assert said(judge(record, figures=accepted(), policy=policy))
