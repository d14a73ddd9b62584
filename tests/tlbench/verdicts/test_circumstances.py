"""A pass that could not have seen, and what explains a figure that moved."""

from dataclasses import replace

import pytest

from tlbench.verdicts import circumstances, noise

from .builders import CASE, figures, judge, left, limited, runs, said

WILD = [0.0, 0.5, -0.4, 0.3, -0.2]
"""Accepted runs that differ by half."""


def known(context=None, **series):
    found = figures(**series)
    return {CASE: replace(found[CASE], context=context or {})}


def test_a_pass_that_could_not_have_seen_is_inconclusive():
    case = judge(left(timings={"epoch": 1.0}), figures=known(epoch=runs(1.0, 5, WILD)))
    (judgement,) = case.judgements
    assert judgement.detectable > noise.BLIND_FROM
    (finding,) = said(case)
    assert finding.startswith("inconclusive: epoch: only a change of ")
    assert "could be seen (bound 50.0%): the 5 accepted runs vary by 44.0%" in finding
    assert "load" not in finding
    assert "20 accepted runs" not in finding  # these would be too few as well


def test_the_bound_is_a_setting():
    record, few = left(timings={"epoch": 1.0}), known(epoch=1.0)
    assert judge(record, figures=few).verdict == "pass"
    assert (
        judge(record, figures=few, policy=limited(largest_detectable=0.01)).verdict
        == "inconclusive"
    )


@pytest.mark.parametrize(
    ("seconds", "word"), [(9.0, "regression"), (0.1, "improvement")]
)
def test_what_is_seen_all_the_same_keeps_its_verdict(seconds, word):
    wild = known(epoch=runs(1.0, 10, [0.0, 0.2, -0.2]))
    case = judge(left(timings={"epoch": seconds}), figures=wild)
    assert case.judgements[0].detectable > noise.BLIND_FROM
    assert case.verdict == word


def test_where_more_runs_would_help_it_is_said():
    five = known(epoch=runs(1.0, 5, [0.0, 0.1, -0.1, 0.05, -0.05]))
    (finding,) = said(judge(left(timings={"epoch": 1.0}), figures=five))
    assert ", 20 accepted runs could see " in finding


def test_the_load_then_and_now_is_said_if_both_are_known():
    wild = known({"load": 0.5}, epoch=runs(1.0, 5, WILD))
    record = left(timings={"epoch": 1.0})
    (finding,) = said(judge(record, figures=wild, now={"load": 18.25}))
    assert finding.endswith(", load 18.2 now, 0.5 then")
    (finding,) = said(judge(record, figures=wild, now={}))
    assert "load" not in finding


def test_plain_values_that_are_not_all_positive_have_no_bound():
    values = {f"r{i}": x for i, x in enumerate([0.0, 5.0, -4.0, 3.0, -2.0])}
    record = left(metrics={"x": [{"value": 0.0}]})
    assert judge(record, figures=known(x=values)).verdict == "pass"


def test_a_suspect_stays_one_although_it_could_not_be_seen():
    wild = known(epoch=runs(1.0, 5, WILD))
    (judgement,) = judge(left(timings={"epoch": 2.2}), figures=wild).judgements
    assert (judgement.verdict, judgement.suspect) == ("inconclusive", True)


@pytest.mark.parametrize(
    ("then", "now", "words"),
    [
        ({"load": 0.5}, {"load": 16.0}, "; load 16 now, 0.5 then"),
        ({"load": 0.5}, {"load": 0.9}, ""),
        ({"load": 8.0}, {"load": 12.0}, ""),
        ({}, {"load": 16.0}, "; load 16 now"),
        (
            {"pressure": 1.0},
            {"pressure": 40.5},
            "; something waited for a processor 40.5% of the time now, 1% then",
        ),
        ({"pressure": 30.0}, {"pressure": 40.0}, ""),
        (
            {"libraries": {"numpy": "2.4.6", "scipy": "1"}},
            {"libraries": {"numpy": "2.4.7", "scipy": "1"}},
            "; numpy 2.4.6 -> 2.4.7 since the accepted runs",
        ),
        ({"libraries": {"numpy": "2.4.6"}}, {"libraries": {}}, ""),
        ({}, {}, ""),
    ],
)
def test_a_figure_that_moved_is_explained(then, now, words):
    slow = judge(left(timings={"epoch": 1.3}), figures=known(then, epoch=1.0), now=now)
    assert said(slow)[0].rpartition(")")[2] == words
    same = judge(left(timings={"epoch": 1.0}), figures=known(then, epoch=1.0), now=now)
    assert said(same) == []


def test_accepted_runs_keep_the_median_of_their_load():
    contexts = [{}, {"load": 1.0, "pressure": 2.0}, {"load": 9.0}, {"load": 2.0}]
    assert circumstances.of_runs(contexts) == {"load": 2.0, "pressure": 2.0}
    assert circumstances.of_runs([]) == {}
