"""Figures without any baseline on their machine, and what stands in for them."""

import pytest

from tlbench.verdicts.figures import Accepted, Figures
from tlbench.verdicts.judge import judge
from tlbench.verdicts.unknown import Instead, excused, unjudged
from tlbench.verdicts.verdict import Finding, from_json, to_json

from .builders import left

WARN = Instead(words="it fails nothing")


def cases(accepted):
    records = {
        "a": left("a", timings={"epoch": 1.0}),
        "b": left("b", exact={"n": 2}),
    }
    return judge(records, accepted)


@pytest.fixture
def judged():
    return cases(Accepted(exact={"b": {"n": 1}}))


def test_only_cases_with_figures_are_unjudged(judged):
    assert unjudged(judged, Accepted()) == ("a",)


def test_a_missing_baseline_that_is_excused_is_said_and_fails_nothing(judged):
    a, b = excused(judged, Accepted(), {"a": WARN})
    (finding,) = a.findings
    assert str(finding) == "missing: no baseline for this machine; it fails nothing"
    assert (a.verdict, finding.fails) == ("missing", False)
    assert b.findings[0].fails  # an exact value that differs is no matter of machines


def test_it_is_said_in_json_too(judged):
    case = excused(judged, Accepted(), {"a": WARN})[0]
    assert to_json(case)["findings"][0][2] == "acquitted"
    assert from_json("a", to_json(case), case.record) == case


def test_what_is_found_instead_stands_beside(judged):
    slower = Finding("regression", "cpu is slower")
    case = excused(judged, Accepted(), {"a": Instead(words="x", findings=(slower,))})[0]
    assert case.findings[1] == slower
    assert case.verdict == "regression"


def test_figures_of_another_machine_are_excused_likewise():
    accepted = Accepted(elsewhere=("cpus 4 -> 8",))
    found = excused(cases(accepted), accepted, {"a": WARN})[0]
    assert (found.verdict, found.findings[0].fails) == ("not_comparable", False)


def test_nothing_but_the_missing_baseline_is_excused():
    records = {"a": left("a", timings={"epoch": 0.0})}  # there was nothing to measure
    (case,) = excused(judge(records, Accepted()), Accepted(), {"a": WARN})
    assert [x.fails for x in case.findings] == [True]


def test_a_case_that_is_judged_is_left_alone():
    accepted = Accepted(figures={"a": Figures(version="1")})
    assert not unjudged(cases(accepted), accepted)
