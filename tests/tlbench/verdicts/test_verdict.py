"""Verdicts as values: their order, their JSON, and which are findings."""

from dataclasses import replace

import pytest

from tlbench.verdicts import verdict

from .builders import CASE, figures, judge, left, said


def test_a_verdict_survives_json():
    case = judge(
        left(exact={"n": 1}, timings={"epoch": 1.3}),
        exact={CASE: {"n": 1}},
        figures=figures(epoch=1.0),
    )
    again = verdict.from_json(CASE, verdict.to_json(case), case.record)
    assert again.findings == case.findings
    assert again.comparison == case.comparison
    assert replace(case.judgements[0], suspect=False) == again.judgements[0]


def test_an_unknown_verdict_is_refused():
    data = {"findings": [["fine", "why"]], "judgements": [], "comparison": None}
    with pytest.raises(
        ValueError, match="one of regression, missing, .*Received: verdict='fine'"
    ):
        verdict.from_json(CASE, data, None)


@pytest.mark.parametrize(
    ("words", "worst"),
    [
        ([], "pass"),
        (["improvement"], "improvement"),
        (["improvement", "inconclusive"], "inconclusive"),
        (["missing", "regression"], "regression"),
    ],
)
def test_the_gravest_verdict_stands_for_a_case(words, worst):
    assert verdict.gravest(words) == worst


@pytest.mark.parametrize("word", verdict.VERDICTS)
def test_all_but_a_pass_and_an_improvement_are_findings(word):
    assert verdict.is_finding(word) is (word not in {"pass", "improvement"})


def test_a_baseline_without_a_case_is_missing():
    assert said(verdict.absent(CASE, "gone")) == ["missing: gone"]
