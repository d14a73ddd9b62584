"""The common mode: a machine that shifts, and cases that shift within it."""

from dataclasses import replace

import pytest

from tlbench.verdicts import noise, verdict
from tlbench.verdicts.figures import Accepted
from tlbench.verdicts.judge import judge as judge_all

from .builders import WIGGLE, figures, judge, left, runs


def suite(count=10, **changes):
    """Cases of one timing each, at 1 s and at what is given."""
    records, known = {}, {}
    for i in range(count):
        case = f"bench_a.py::bench[{i}]"
        records[case] = left(case, timings={"epoch": changes.get(f"t{i}", 1.0)})
        wiggle = WIGGLE[i:] + WIGGLE[:i]
        known |= figures(case, epoch=runs(1.0, wiggle=wiggle))
    return records, Accepted(figures=known)


def test_a_slower_machine_is_one_finding_and_no_case():
    cases = judge_all(*suite(**{f"t{i}": 1.05 for i in range(10)}))
    assert [x.case for x in cases if x.findings] == [verdict.MACHINE]
    (finding,) = cases[-1].findings
    assert finding.verdict == "machine_shift"
    assert finding.why.startswith("all 10 timings together are 5.0% slower (limit ")
    assert verdict.is_finding(finding.verdict)


def test_a_shift_is_explained_by_the_load_if_that_is_high():
    records, accepted = suite(**{f"t{i}": 1.3 for i in range(10)})
    calm = {k: replace(x, context={"load": 0.5}) for k, x in accepted.figures.items()}
    cases = judge_all(records, replace(accepted, figures=calm), now={"load": 12.0})
    assert cases[-1].findings[0].why.endswith("others; load 12 now, 0.5 then")


def test_a_faster_machine_is_reported_too():
    cases = judge_all(*suite(**{f"t{i}": 0.9 for i in range(10)}))
    assert "% faster (limit " in cases[-1].findings[0].why


def test_a_case_that_is_slower_than_its_slower_machine_is_found():
    cases = judge_all(
        *suite(**{f"t{i}": 1.05 * (1.2 if i == 3 else 1) for i in range(10)})
    )
    assert [x.case for x in cases if x.verdict == "regression"] == [
        "bench_a.py::bench[3]"
    ]
    assert cases[-1].case == verdict.MACHINE


def test_fresh_runs_have_the_common_mode_of_the_run_removed():
    records, accepted = suite(
        **{f"t{i}": 1.05 * (1.2 if i == 3 else 1) for i in range(10)}
    )
    case = "bench_a.py::bench[3]"
    again = {case: [left(case, timings={"epoch": 1.05})] * 3}
    cases = judge_all(records, accepted, again)
    assert [x.verdict for x in cases if x.case == case] == ["pass"]


def test_memory_and_values_do_not_shift_with_the_machine():
    names = [f"m{i}" for i in range(10)]
    case = judge(
        left(memory=dict.fromkeys(names, 12 * 10**8)),
        figures=figures(**dict.fromkeys(names, 1e9)),
    )
    assert len(case.findings) == 10
    assert {x.verdict for x in case.findings} == {"regression"}


def test_cases_that_are_not_judged_lend_their_spread():
    """A part of the suite is judged as the whole would judge it."""
    records, accepted = suite(10)
    units = {
        case: replace(x, units={"epoch": "s"}) for case, x in accepted.figures.items()
    }
    whole = judge_all(records, replace(accepted, figures=units))
    name = "bench_a.py::bench[3]"
    (part,) = judge_all({name: records[name]}, replace(accepted, figures=units))
    (alone,) = judge_all(
        {name: records[name]}, replace(accepted, figures={name: accepted.figures[name]})
    )
    seen = {x.case: x.judgements[0].detectable for x in whole}
    # Alone it has all the false alarms of a run to itself.
    assert part.judgements[0].detectable < seen[name]
    assert part.judgements[0].detectable < alone.judgements[0].detectable


@pytest.mark.parametrize(("again", "found"), [(1.0, []), (1.05, [verdict.MACHINE])])
def test_fresh_runs_tell_a_bad_moment_from_a_slower_machine(again, found):
    records, accepted = suite(**{f"t{i}": 1.05 for i in range(10)})
    some = list(records)[: noise.FEWEST_SERIES]
    fresh = {case: [left(case, timings={"epoch": again})] * 3 for case in some}
    cases = judge_all(records, accepted, fresh)
    assert [x.case for x in cases if x.findings] == found


def test_a_few_fresh_runs_say_nothing_of_the_machine():
    records, accepted = suite(**{f"t{i}": 1.05 for i in range(10)})
    some = list(records)[: noise.FEWEST_SERIES - 1]
    fresh = {case: [left(case, timings={"epoch": 1.0})] * 3 for case in some}
    assert judge_all(records, accepted, fresh)[-1].case == verdict.MACHINE
