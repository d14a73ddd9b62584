"""Portable figures: what other machines say about a run, and what a new level keeps."""

from dataclasses import replace

import pytest

from tlbench.verdicts import noise
from tlbench.verdicts.figures import Accepted, Figures, Portable
from tlbench.verdicts.portable import joined, portable_of, together, with_portable

from .builders import CASE, figures, judge, left, limited, runs, said, seeds

RATIOS = [8.0, 9.0, 7.5, 8.5, 10.0, 7.0]
SHARES = [0.95, 0.96, 0.955, 0.945, 0.95, 0.96]
"""On six machines."""


def record(ratio=8.0, share=0.95, *, count=4, n=200, **options):
    scores = [
        {"correct": round(share * n), "n": n, "seed": seed, "portable": True}
        for seed in range(count)
    ]
    speedup = {"value": ratio, "better": "higher", "portable": True}
    return left(metrics={"accuracy": scores, "speedup": [speedup]}, **options)


def accepted(machines=6, **options):
    found = None
    for number in range(machines):
        one = record(RATIOS[number], SHARES[number], **options)
        found = joined(found, portable_of(one, f"m{number}"))
    return found


def judged(one, known=None, **options):
    options.setdefault("policy", limited(largest_detectable=5))
    return judge(one, portable={CASE: known or accepted()}, **options)


def by_name(case):
    return {one.name: one for one in case.judgements}


def test_a_machine_without_figures_is_judged_by_those_of_others():
    found = by_name(judged(record()))
    assert {one.verdict for one in found.values()} == {"pass"}
    assert "than the 6 accepted machines (limit" in found["speedup"].why
    assert "the 6 accepted machines (limit" in found["accuracy"].why


@pytest.mark.parametrize(
    ("one", "words"),
    [
        (record(ratio=1.1), "speedup 1.1 is 86.7% less than the 6 accepted machines"),
        (record(share=0.1), "accuracy 10.00% of 4 seeds is 85.33 points below the 6"),
        (record(share=0.9), "points below the 6 accepted machines"),
    ],
)
def test_a_fault_is_a_regression_on_any_machine(one, words):
    case = judged(one)
    assert case.verdict == "regression"
    assert words in said(case)[0]


def test_the_spread_is_the_one_between_machines_not_between_seeds():
    """Seeds that differ by 20 points, alike on all machines."""
    wide, known = record(), None
    for number in range(6):
        scores = tuple(
            replace(one, value=0.7 + 0.1 * place, correct=140 + 20 * place)
            for place, one in enumerate(wide.metrics["accuracy"][:3])
        )
        one = replace(wide, metrics={"accuracy": scores})
        known = joined(known, portable_of(one, f"m{number}"))
    down = tuple(replace(x, value=x.value - 0.05) for x in scores)
    case = judged(replace(wide, metrics={"accuracy": down}), known)
    assert "accuracy 75.00% of 3 seeds is 5.00 points below" in said(case)[0]


def test_fewer_seeds_are_compared_with_the_same_seeds():
    assert judged(record(count=2)).verdict == "pass"
    known = accepted(count=2)
    case = judged(record(count=4), known)
    assert said(case) == ["missing: no baseline for accuracy with these seeds"]


def test_another_test_set_has_its_own_variance():
    small, same = judged(record(n=40)), judged(record())
    limits = [by_name(case)["accuracy"].detectable for case in (small, same)]
    assert limits[0] > 2 * limits[1]


def test_few_machines_are_inconclusive():
    case = judged(record(), accepted(4))
    assert [text.partition(";")[0] for text in said(case)] == [
        "inconclusive: speedup: 4 of 5 accepted machines",
        "inconclusive: accuracy: 4 of 5 accepted machines",
    ]


def test_machines_that_differ_too_much_say_nothing():
    case = judged(record(), policy=limited())
    (sentence,) = said(case)
    assert sentence.startswith("inconclusive: speedup: only a change of ")
    assert "the 6 accepted machines vary by" in sentence


def test_figures_of_this_machine_come_first_where_there_are_enough():
    metrics = {"accuracy": seeds(5, 0.8, n=200)}
    own = figures(speedup=runs(2.0), metrics=metrics)
    assert judged(record(ratio=2.0, share=0.8), figures=own).verdict == "pass"
    metrics = {"accuracy": seeds(2, 0.8, n=200)}
    few = figures(speedup=runs(2.0, 4), metrics=metrics)
    assert judged(record(), figures=few).verdict == "pass"


def test_what_is_not_declared_is_not_borrowed():
    plain = left(metrics={"speedup": [{"value": 8.0}]}, timings={"epoch": 1.0})
    found = said(judged(plain))
    assert found == [
        "missing: not recorded: accuracy",
        "missing: no baseline for this machine",
    ]


def test_a_timing_of_the_same_case_has_no_baseline_on_a_new_machine():
    one = replace(record(), timings=left(timings={"epoch": 1.0}).timings)
    assert said(judged(one)) == ["missing: no baseline for this machine"]
    case = judged(one, elsewhere=("cpu A -> B",))
    assert said(case) == [
        "not_comparable: the baseline is from another machine: cpu A -> B"
    ]


def test_a_portable_figure_that_is_no_longer_recorded_is_missed():
    case = judged(left(exact={"n": 1}), exact={CASE: {"n": 1}})
    assert said(case) == ["missing: not recorded: speedup, accuracy"]


def test_another_version_of_the_case_is_not_comparable():
    case = judged(record(version="2"))
    why = "not_comparable: the case changed since its figures were accepted"
    assert said(case) == [why]


def test_one_more_machine_joins_and_a_known_one_is_replaced():
    known = accepted(2)
    more = joined(known, portable_of(record(5.0), "m9"))
    assert more.machines("speedup") == more.machines("accuracy") == {"m0", "m1", "m9"}
    again = joined(more, portable_of(record(6.0), "m9"))
    assert again.values["speedup"] == {"m0": 8.0, "m1": 9.0, "m9": 6.0}
    assert joined(again, portable_of(record(6.0), "m9")) == again


def test_a_new_version_or_test_set_starts_anew():
    other = portable_of(record(version="2"), "m9")
    assert joined(accepted(), other) == other
    larger = joined(accepted(), portable_of(record(n=400), "m9"))
    assert larger.machines("accuracy") == {"m9"}
    assert len(larger.machines("speedup")) == 7


def test_a_new_level_keeps_the_spread_so_that_one_machine_is_enough():
    fresh = portable_of(record(16.0, 0.8), "m0")
    known = joined(accepted(), fresh, {"speedup", "accuracy"})
    assert known.machines("speedup") == known.machines("accuracy") == {"m0"}
    assert known.spreads["speedup"][1] == known.spreads["accuracy"][1] == 5.0
    assert judged(record(17.0, 0.8), known).verdict == "pass"
    assert judged(record(2.0, 0.8), known).verdict == "regression"
    assert judged(record(17.0, 0.7), known).verdict == "regression"


def test_the_spread_of_before_goes_once_there_are_enough_machines():
    known = joined(accepted(), portable_of(record(16.0), "m0"), {"speedup"})
    for number in range(1, 5):
        assert "speedup" in known.spreads
        known = joined(known, portable_of(record(16.0 + number), f"m{number}"))
    assert known.spreads == {}


def test_few_machines_lend_no_spread():
    fresh = portable_of(record(16.0), "m0")
    assert joined(accepted(4), fresh, {"speedup"}).spreads == {}


def test_spreads_weigh_as_much_as_they_are_known():
    assert together((1.0, 4.0), (3.0, 0.0)) == (1.0, 4.0)
    assert together((1.0, 2.0), (2.0, 2.0)) == (pytest.approx(2.5**0.5), 4.0)
    assert together((1.0, 0.0), (2.0, 0.0)) == (2.0, 0.0)


def test_a_metric_without_seeds_is_one_value():
    entry = {"correct": 90, "n": 100, "portable": True}
    one = portable_of(left(metrics={"accuracy": [entry]}), "m0")
    assert one.shares == {"accuracy": {"m0": {"": 0.9}}}


def test_nothing_is_borrowed_where_nothing_is_known():
    own = {CASE: Figures(version="1")}
    before = Accepted(figures=own, portable={"other": Portable(version="1")})
    assert with_portable(before, {CASE: record()}) == before


def test_figures_for_another_version_lend_nothing_to_few_of_this_machine():
    few = figures(speedup=runs(8.0, 4), metrics={"accuracy": seeds(2, 0.95, n=200)})
    case = judged(record(), accepted(version="0"), figures=few)
    assert [text.partition(";")[0] for text in said(case)] == [
        "inconclusive: speedup: 4 of 5 accepted runs",
        "inconclusive: accuracy: 2 of 5 accepted seeds",
    ]


def test_the_limit_is_that_of_one_more_machine():
    found = by_name(judged(record(share=0.95)))["accuracy"]
    on_each = [(f"m{number}", share, 200) for number, share in enumerate(SHARES)]
    expected, _ = noise.seeds(on_each, [(0.95, 200)])
    one = expected.limit(noise.FALSE_ALARMS)
    assert f"(limit {100 * one:.2f} points)" in found.why
