"""Limits: which apply to a case, and that every judgement of the history keeps them."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlbench.verdicts import noise
from tlbench.verdicts.figures import Accepted
from tlbench.verdicts.judge import judge as judge_all
from tlbench.verdicts.limits import DEFAULT, Limits, Policy, Rule, unmatched_notes
from tlbench.verdicts.verdict import MACHINE, from_json, to_json

from .builders import CASE, WIGGLE, figures, judge, left, limited, runs, said

SLOWER = left(timings={"epoch": 1.08})
KNOWN = figures(epoch=runs(1.0))


def policy(*rules, **default):
    return Policy(
        Limits(**default), tuple(Rule(pattern=p, changes=c) for p, c in rules)
    )


def test_without_settings_there_are_the_constants():
    assert DEFAULT.of(CASE) == Limits(
        practical_size=noise.PRACTICAL_SIZE,
        largest_detectable=noise.BLIND_FROM,
        clock="auto",
        ignore=False,
    )


def test_a_rule_sets_what_it_names_and_the_later_one_wins():
    found = policy(
        ("a.py::*", {"practical_size": 0.1, "clock": "wall"}),
        ("*::slow", {"practical_size": 0.2}),
        largest_detectable=0.8,
    )
    limits = found.of("a.py::slow")
    assert limits.practical_size == 0.2
    assert (limits.clock, limits.largest_detectable) == ("wall", 0.8)
    assert found.of("a.py::other").practical_size == 0.1
    assert found.of("b.py::other") == Limits(largest_detectable=0.8)


@pytest.mark.parametrize(
    ("pattern", "case", "expected"),
    [
        ("a.py::b", "a.py::b", True),
        ("a.py::b", "a.py::bb", False),
        ("a.py::b*", "a.py::b[x]", True),
        ("*::b[x]", "a.py::b[x]", True),  # as the reports print it
        ("*::b[*]", "a.py::b[x-1]", True),
        ("*::b[[]*]", "a.py::b[x]", True),
        ("*::b[0-9]", "a.py::b3", True),
        ("*::b?", "a.py::b12", False),
        ("A.py::*", "a.py::b", False),
        ("b", "a.py::b", False),
    ],
)
def test_what_a_pattern_matches(pattern, case, expected):
    assert Rule(pattern=pattern, changes={}).matches(case) is expected


@given(st.text("ab[]*?-!x:.1", min_size=1))
def test_the_name_of_a_case_is_a_pattern_of_that_case(case):
    assert Rule(pattern=case, changes={}).matches(case)


def test_patterns_that_match_nothing_are_said():
    found = policy(("a*", {}), ("b*", {}), ("c*", {}), ("b*", {}))
    assert found.unmatched(["a.py::x", "c"]) == ("b*",)
    assert unmatched_notes(found, ["a", "c"], "that is known") == [
        "[tool.tlbench] in pyproject.toml: no case that is known matches 'b*'"
    ]
    assert unmatched_notes(found, ["a", "b", "c"], "that is known") == []


def test_a_change_below_the_practical_size_is_no_finding():
    assert judge(SLOWER, figures=KNOWN).verdict == "regression"
    (judgement,) = judge(
        SLOWER, figures=KNOWN, policy=limited(practical_size=0.1)
    ).judgements
    assert (judgement.verdict, judgement.suspect) == ("pass", True)
    assert "(limit 10.0%)" in judgement.why
    assert judgement.detectable > 0.1


def test_a_smaller_practical_size_finds_more():
    calm = figures(epoch=runs(1.0, 20, [x / 50 for x in WIGGLE]))
    record = left(timings={"epoch": 1.01})
    assert judge(record, figures=calm).verdict == "pass"
    fine = limited(practical_size=0.002)
    assert judge(record, figures=calm, policy=fine).verdict == "regression"


def test_memory_has_the_practical_size_too():
    known, record = figures(peak=runs(1000.0)), left(memory={"peak": 1080})
    assert judge(record, figures=known).verdict == "regression"
    wide = limited(practical_size=0.1)
    assert judge(record, figures=known, policy=wide).verdict == "pass"


def test_a_drift_below_the_practical_size_is_no_finding():
    known = figures(epoch=runs(1.05), anchor={"epoch": runs(1.0)})
    record = left(timings={"epoch": 1.05})
    assert "has drifted" in said(judge(record, figures=known))[0]
    wide = limited(practical_size=0.1)
    assert judge(record, figures=known, policy=wide).verdict == "pass"


def test_too_few_runs_say_what_could_be_seen_by_the_practical_size():
    few = figures(epoch=runs(1.0, 4, [0.0, 1e-6]))
    record = left(timings={"epoch": 1.0})
    (plain,) = judge(record, figures=few).judgements
    (wide,) = judge(record, figures=few, policy=limited(practical_size=0.2)).judgements
    assert plain.detectable < 0.1 < 0.2 < wide.detectable


def many(factor, seconds=1.0):
    """Six cases on a machine that is slower by a factor."""
    known, records = {}, {}
    for number in range(6):
        case = f"a.py::b[{number}]"
        known |= figures(case, epoch=runs(seconds))
        records[case] = left(case, timings={"epoch": seconds * factor})
    return records, known


@pytest.mark.parametrize(("size", "shifts"), [(0.015, True), (0.3, False)])
def test_the_machine_shifts_by_the_practical_size_of_the_project(size, shifts):
    records, known = many(1.2)
    cases = judge_all(
        records, Accepted(figures=known), policy=limited(practical_size=size)
    )
    assert (MACHINE in {x.case for x in cases}) is shifts


def test_a_pass_that_sees_less_than_the_project_wants_is_inconclusive():
    record = left(timings={"epoch": 1.0})
    only = policy((CASE, {"largest_detectable": 0.02}))
    (sentence,) = said(judge(record, figures=KNOWN, policy=only))
    assert "could be seen (bound 2.0%)" in sentence
    wild = figures(epoch=runs(1.0, 5, [0.0, 0.5, -0.4, 0.3, -0.2]))
    assert judge(record, figures=wild).verdict == "inconclusive"
    large = limited(largest_detectable=10.0)
    assert judge(record, figures=wild, policy=large).verdict == "pass"


def test_of_an_ignored_case_only_the_timings_are_not_judged():
    record = left(timings={"epoch": 9.0}, memory={"peak": 3000}, exact={"n": 2})
    known = figures(epoch=runs(1.0), peak=runs(1000.0))
    options = {"figures": known, "policy": policy(("*", {"ignore": True}))}
    case = judge(record, exact={CASE: {"n": 2}}, **options)
    assert [x.name for x in case.judgements] == ["peak"]
    assert case.verdict == "regression"
    assert case.ignored
    wrong = judge(record, exact={CASE: {"n": 3}}, **options)
    assert "n: expected 3, received 2" in said(wrong)[0]
    assert from_json(CASE, to_json(case), record).ignored


def test_an_ignored_case_without_timings_leaves_nothing_out():
    always = policy(("*", {"ignore": True}))
    case = judge(left(exact={"n": 2}), exact={CASE: {"n": 2}}, policy=always)
    assert not case.ignored
    assert "ignored" not in to_json(case)


def test_an_ignored_case_says_nothing_about_the_machine():
    """Three wild cases would move the median of six."""
    records, known = many(1.0)
    wild = [f"a.py::b[{number}]" for number in range(4)]
    records |= {case: left(case, timings={"epoch": 2.0}) for case in wild}
    accepted = Accepted(figures=known)
    assert MACHINE in {x.case for x in judge_all(records, accepted)}
    left_out = policy(*((case, {"ignore": True}) for case in wild))
    cases = judge_all(records, accepted, policy=left_out)
    assert {x.verdict for x in cases} == {"pass"}
    assert math.isclose(
        next(x for x in cases if x.case == "a.py::b[5]").judgements[0].change,
        0.0,
        abs_tol=0.01,
    )


def test_the_runs_of_an_ignored_case_lend_no_spread():
    """Accepted runs of timings that nothing else of the session has."""
    records, known = many(1.0)
    known = {
        case: one
        for number, case in enumerate(known)
        for one in figures(
            case, epoch=runs(1.0, wiggle=WIGGLE[number:] + WIGGLE[:number])
        ).values()
    }
    timed = {
        case: replace(one, units={"epoch": "s"})
        for number in range(3)
        for case, one in figures(
            f"wild.py::t[{number}]", epoch=runs(1.0, wiggle=[0.0, 0.9, -0.7])
        ).items()
    }
    ignored = policy(("wild.py::*", {"ignore": True}))

    def seen(figures, policy=DEFAULT):
        cases = judge_all(records, Accepted(figures=figures), policy=policy)
        return [x.detectable for case in cases for x in case.judgements]

    assert seen({**known, **timed}) != seen(known)
    assert seen({**known, **timed}, ignored) == seen(known)
