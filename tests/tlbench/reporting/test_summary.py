"""The summary: one reason that many cases share is one line."""

from tlbench.reporting import summary
from tlbench.verdicts.figures import NO_BASELINE
from tlbench.verdicts.verdict import Case, Finding

NEW = Finding("missing", NO_BASELINE)
SLOWER = Finding("regression", "epoch 2 s is 100.0% slower")


def lines(*cases):
    return [text for text, _ in summary.findings(cases)]


def test_cases_that_a_new_machine_cannot_judge_are_one_line():
    cases = [Case(case=name, findings=(NEW,)) for name in "abc"]
    cases[1] = Case(case="b", findings=(NEW, SLOWER))
    assert lines(*cases) == [
        "b: regression: epoch 2 s is 100.0% slower",
        "3 cases: missing: no baseline for this machine, which their figures depend "
        "on: save some runs with --tl-save, then accept them",
    ]


def test_a_single_one_is_named():
    case = Case(case="a", findings=(NEW,))
    assert lines(case) == ["a: missing: no baseline for this machine"]


def test_other_reasons_are_said_for_each_case():
    cases = [Case(case=name, findings=(SLOWER,)) for name in "ab"]
    assert len(lines(*cases)) == 2


def test_what_is_ignored_is_counted():
    cases = [Case(case=name, findings=(), ignored=name < "c") for name in "abc"]
    assert summary.count(cases) == "3 cases: 3 pass; timings of 2 ignored"
