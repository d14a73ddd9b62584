"""Exact values and costs: equal, differing, new or lost, and how that reads."""

import pytest

from .builders import CASE, VERSIONS, figures, judge, left, said


@pytest.mark.parametrize(
    ("exact", "accepted", "sentences"),
    [
        ({"n": 1}, {"n": 1}, []),
        ({"n": 2}, {"n": 1}, ["regression: n: expected 1, received 2"]),
        ({"n": True}, {"n": 1}, ["regression: n: expected 1, received True"]),
        ({"n": 1.0}, {"n": 1}, ["regression: n: expected 1, received 1.0"]),
        (
            {"n": (1, 2)},
            {"n": (1, 3)},
            ["regression: n: expected (1, 3), received (1, 2)"],
        ),
        ({"n": 1}, None, ["missing: no baseline for this case"]),
        ({"n": 1, "m": 2}, {"n": 1}, ["missing: no baseline for m"]),
        ({"n": 1}, {"n": 1, "m": 2}, ["missing: not recorded: m"]),
        ({}, {"n": 1}, ["missing: not recorded: n"]),
        ({}, None, ["missing: nothing was recorded"]),
    ],
)
def test_exact_values_are_judged_by_equality(exact, accepted, sentences):
    known = {} if accepted is None else {CASE: accepted}
    assert said(judge(left(exact=exact), exact=known)) == sentences


@pytest.mark.parametrize(
    ("costs", "accepted", "sentences"),
    [
        ({"f": 1}, {VERSIONS: {"f": 1}}, []),
        ({"f": 2}, {VERSIONS: {"f": 1}}, ["regression: f: expected 1, received 2"]),
        ({"f": 1, "g": 1}, {VERSIONS: {"f": 1}}, ["missing: no baseline for g"]),
        ({}, {VERSIONS: {"f": 1}}, ["missing: not recorded: f"]),
        ({}, {"keras 3.12.0": {"f": 1}}, ["missing: not recorded: f"]),
        ({"f": 1}, {}, ["missing: no baseline for f"]),
        (
            {"f": 2},
            {"keras 3.12.0": {"f": 1}},
            [
                "not_comparable: costs were accepted for keras 3.12.0, "
                "not keras 3.15.1 (f 1 -> 2)"
            ],
        ),
        (
            {"f": 1},
            {"keras 3.12.0": {"f": 1}},
            [
                "not_comparable: costs were accepted for keras 3.12.0, "
                "not keras 3.15.1 (the costs are the same)"
            ],
        ),
        ({"f": 2}, {"keras 3.12.0": {"f": 1}, VERSIONS: {"f": 2}}, []),
    ],
)
def test_costs_are_judged_by_the_versions_they_were_accepted_for(
    costs, accepted, sentences
):
    case = judge(
        left(exact={"n": 1}, costs=costs),
        exact={CASE: {"n": 1}},
        costs={CASE: accepted},
    )
    assert said(case) == sentences


def test_costs_alone_need_a_baseline_too():
    assert said(judge(left(costs={"f": 1}))) == ["missing: no baseline for this case"]
    known = {"exact": {CASE: {}}, "costs": {CASE: {VERSIONS: {"f": 1}}}}
    assert said(judge(left(costs={"f": 1}), **known)) == []


@pytest.mark.parametrize(
    ("outcome", "why"),
    [
        ("failed", "the case failed"),
        ("skipped", "the case was skipped"),
        ("xfailed", "the case failed, as its xfail mark expects"),
    ],
)
def test_a_case_that_did_not_pass_is_never_a_pass(outcome, why):
    record = left(outcome=outcome, exact={"n": 1}, timings={"epoch": 1.0})
    case = judge(record, exact={CASE: {"n": 1}}, figures=figures(epoch=1.0))
    assert said(case) == [f"missing: {why}"]


def test_a_figure_that_is_recorded_no_more_is_missing():
    known = figures(epoch=1.0, metrics={"accuracy": [("seed 1", 0.9, 100)]})
    case = judge(left(exact={"n": 1}), exact={CASE: {"n": 1}}, figures=known)
    assert said(case) == ["missing: not recorded: epoch, accuracy"]


def test_costs_are_counted_with_the_exact_values():
    case = judge(
        left(exact={"n": 1, "new": 1}, costs={"f": 2, "g": 1}),
        exact={CASE: {"n": 1, "lost": 1}},
        costs={CASE: {VERSIONS: {"f": 1, "g": 1}}},
    )
    names = case.comparison
    assert (set(names.equal), names.differing) == ({"n", "g"}, ("f",))
    assert (names.new, names.lost) == (("new",), ("lost",))
