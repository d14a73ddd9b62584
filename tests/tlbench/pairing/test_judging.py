"""Which clock a case is judged by, when it is decided, and what is said about it."""

import pytest

from tlbench.pairing.judging import Judge, clocks
from tlbench.verdicts.limits import DEFAULT, Limits, Policy

from .builders import CASE, ended, measured

WIGGLE = [0.0, 0.004, -0.004, 0.002, -0.002, 0.006, -0.006, 0.001]


def judged(pairs, policy=DEFAULT):
    judge = Judge(policy=policy)
    for one in pairs:
        judge.add(one)
    judge.look()
    (row,) = judge.rows()
    return row


def eight(change=0.0, **options):
    return [measured(change + wiggle, **options) for wiggle in WIGGLE]


def said(row):
    return "; ".join(map(str, row.findings))


def test_a_case_that_got_slower_is_a_regression_with_both_figures():
    row = judged(eight(0.1))
    assert row.verdict == "regression"
    assert "cpu is 10.5% slower: 10 ms -> 11.06 ms (8 of 8 pairs agree" in said(row)


def test_a_case_that_got_faster_is_an_improvement():
    row = judged(eight(-0.1))
    assert row.verdict == "improvement"
    assert not row.is_finding


def test_an_unchanged_case_passes_without_a_word():
    row = judged(eight())
    assert row.verdict == "pass"
    assert [one.name for one in row.changes] == ["cpu", "wall"]


@pytest.mark.parametrize(
    ("own", "everyone", "expected"),
    [
        (1.0, 1.0, ("cpu",)),
        (0.85, 0.9, ("cpu",)),
        (0.1, 1.5, ("cpu", "wall")),  # a pool of threads, or children, does the work
        (0.1, 0.1, ("wall",)),  # it sleeps
    ],
)
def test_a_case_is_judged_by_the_clock_that_its_work_is_on(own, everyone, expected):
    assert clocks(eight(own=own, all=everyone)) == expected


def test_a_case_with_a_device_is_judged_by_wall_time():
    on_device = ended(device=True)
    assert clocks(eight(base=on_device, head=on_device)) == ("wall",)


def test_a_slower_sleep_is_seen_although_no_processor_works():
    row = judged(eight(0.1, own=0.01, all=0.01, cpu=0.01))
    assert "wall is 10.5% slower" in said(row)


def test_an_exact_value_that_differs_is_a_regression_in_words():
    base = ended(exact={"trainable_params": 12_810})
    head = ended(exact={"trainable_params": 906_042})
    row = judged([measured(base=base, head=head)])
    assert said(row) == "regression: trainable_params: 12,810 -> 906,042"
    assert row.differing == ("trainable_params",)


def test_a_faster_case_that_trains_less_is_no_improvement():
    base, head = ended(exact={"trained": 4}), ended(exact={"trained": 2})
    row = judged(eight(-0.5, base=base, head=head))
    assert said(row) == "regression: trained: 4 -> 2"


@pytest.mark.parametrize(
    ("base", "head", "verdict", "why"),
    [
        ("failed", "passed", "not_comparable", "failed on the base only: boom"),
        ("passed", "failed", "regression", "failed on the head only: boom"),
        ("failed", "failed", "missing", "failed on both sides: boom"),
        ("passed", "skipped", "missing", "skipped on the head only: boom"),
        ("skipped", "skipped", "missing", "skipped on both sides: boom"),
    ],
)
def test_a_case_that_does_not_pass_is_a_finding(base, head, verdict, why):
    row = judged([measured(base=ended(base, "boom"), head=ended(head, "boom"))])
    assert row.verdict == verdict
    assert why in said(row)


def test_a_case_that_fails_in_one_pair_of_many_does_not_pass():
    flaky = measured(head=ended("failed", "boom"))
    assert judged([*eight(), flaky]).verdict == "regression"


def test_names_that_one_side_did_not_record_are_findings():
    base, head = ended(exact={"a": 1, "b": 2}), ended(exact={"a": 1, "c": 3})
    row = judged([measured(base=base, head=head)])
    assert "recorded on the base only: b" in said(row)
    assert "recorded on the head only: c" in said(row)


def test_memory_and_recorded_timings_are_judged_by_one_value_in_each_pair():
    base = ended(timings={"epoch": 2.0}, memory={"peak": 100})
    head = ended(timings={"epoch": 2.2}, memory={"peak": 100})
    row = judged([measured(turns=0, base=base, head=head)] * 8)
    assert said(row).startswith("regression: epoch is 10.0% slower: 2 s -> 2.2 s")
    assert {one.name for one in row.changes} == {"epoch", "peak"}


def test_the_timings_of_a_case_in_blocks_are_those_blocks():
    base, head = ended(timings={"epoch": 2.0}), ended(timings={"epoch": 2.2})
    row = judged(eight(base=base, head=head))
    assert [one.name for one in row.changes] == ["cpu", "wall"]


def test_a_quality_that_should_be_high_and_fell_is_a_regression():
    base = ended(metrics={"speedup": [{"value": 8.0, "better": "higher"}]})
    head = ended(metrics={"speedup": [{"value": 6.0, "better": "higher"}]})
    row = judged([measured(turns=0, base=base, head=head)] * 8)
    assert "speedup is 25.0% less: 8 -> 6" in said(row)
    assert row.verdict == "regression"


def test_accuracies_are_compared_over_their_seeds():
    def over_seeds(right):
        entries = [
            {"correct": right + seed % 3, "n": 1000, "seed": seed} for seed in range(8)
        ]
        return ended(metrics={"accuracy": entries})

    same = judged([measured(turns=0, base=over_seeds(900), head=over_seeds(900))])
    assert same.verdict == "pass"
    worse = judged([measured(turns=0, base=over_seeds(900), head=over_seeds(850))])
    assert worse.verdict == "regression"
    assert "points below the 8 base seeds" in said(worse)


def test_few_pairs_are_inconclusive_unless_they_exclude_a_change():
    (few,) = [judged([measured(0.3), measured(-0.3)])]
    assert few.verdict == "inconclusive"
    assert "2 of 8 pairs were measured" in said(few)


def test_a_case_that_varies_too_much_to_see_anything_is_inconclusive():
    row = judged([measured(x) for x in (1, -1, 0.8, -0.9, 1.2, -1.1, 0.7, -0.6)])
    assert row.verdict == "inconclusive"
    assert "could be seen" in said(row)


def test_a_decided_case_stays_decided_and_needs_no_more_pairs():
    judge = Judge()
    for one in eight(0.1):
        judge.add(one)
    judge.look()
    assert judge.open_cases([CASE, "other"]) == ["other"]
    for one in [measured(-0.5)] * 8:
        judge.add(one)
    judge.look()
    (row,) = judge.rows()
    assert row.verdict == "regression"


def test_a_case_that_only_has_exact_values_is_decided_at_once():
    judge = Judge()
    judge.add(measured(turns=0, base=ended(exact={"a": 1}), head=ended(exact={"a": 1})))
    judge.look()
    assert judge.open_cases([CASE]) == []


def limited(**limits):
    return Policy(Limits(**limits))


def test_a_change_below_the_practical_size_of_the_project_convicts_nobody():
    assert judged(eight(0.08)).verdict == "regression"
    row = judged(eight(0.08), limited(practical_size=0.15))
    assert row.verdict == "pass"
    assert row.changes[0].estimate.decision == "unchanged"  # no more pairs are needed


def test_a_pass_that_sees_less_than_the_project_wants_is_inconclusive():
    wide = [measured(x) for x in (0.1, -0.1, 0.08, -0.09, 0.12, -0.11, 0.07, -0.06)]
    assert judged(wide).verdict == "pass"
    row = judged(wide, limited(largest_detectable=0.05))
    assert "could be seen" in said(row)


@pytest.mark.parametrize(("clock", "own"), [("cpu", 0.1), ("wall", 1.0)])
def test_a_project_may_choose_the_clock_of_a_case(clock, own):
    assert clocks(eight(own=own), clock) == (clock,)
    row = judged(eight(own=own), limited(clock=clock))
    assert [one.name for one in row.changes if one.judged] == [clock]


def test_timings_of_an_ignored_case_are_shown_and_not_judged():
    base, head = ended(memory={"peak": 100}), ended(memory={"peak": 200})
    pairs = [measured(0.5, base=base, head=head) for _ in range(8)]
    row = judged(pairs, limited(ignore=True))
    assert said(row).startswith("regression: peak is 100.0% more")
    assert [one.name for one in row.changes if one.judged] == ["peak"]
    assert row.ignored


def test_an_ignored_case_is_decided_after_one_pair():
    judge = Judge(policy=limited(ignore=True))
    judge.add(measured(0.5, base=ended(exact={"n": 1}), head=ended(exact={"n": 2})))
    assert judge.open_cases([CASE]) == []
    (row,) = judge.rows()
    assert said(row) == "regression: n: 1 -> 2"
    assert [one.name for one in row.changes] == ["cpu", "wall"]
    assert row.ignored


def test_timings_that_an_ignored_case_recorded_itself_are_not_judged():
    base, head = ended(timings={"epoch": 1.0}), ended(timings={"epoch": 2.0})
    pairs = [measured(turns=0, base=base, head=head) for _ in range(8)]
    assert judged(pairs).verdict == "regression"
    row = judged(pairs, limited(ignore=True))
    assert (row.verdict, row.ignored) == ("pass", True)
