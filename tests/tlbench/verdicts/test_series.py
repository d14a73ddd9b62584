"""Timings, memory and values: their limits, and every word and figure of a sentence."""

import math
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tlbench.verdicts import noise

from .builders import CASE, figures, judge, left, limit_of, runs, said

UNHURRIED = settings(
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
"""No example fails for a busy machine, nor by the luck of the draw."""


@pytest.mark.parametrize(
    ("accepted", "sentence"),
    [
        ({}, "missing: no baseline for this machine"),
        (
            {"elsewhere": ("cpu A -> B", "cpus 2 -> 4")},
            "not_comparable: the baseline is from another machine: "
            "cpu A -> B; cpus 2 -> 4",
        ),
        (
            {"figures": figures(epoch=1.0, version="0")},
            "not_comparable: the case changed since its figures were accepted",
        ),
        (
            {"figures": figures("another", epoch=1.0), "elsewhere": ("cpu A -> B",)},
            "missing: no baseline for this machine",
        ),
        (
            {"figures": figures(epoch={})},
            "missing: no baseline for epoch on this machine",
        ),
        (
            {"figures": figures(epoch=runs(1.0, 1))},
            "inconclusive: epoch: 1 of 5 accepted runs",
        ),
    ],
)
@pytest.mark.parametrize("kind", ["timings", "memory"])
def test_what_cannot_be_compared_is_said_and_is_no_pass(accepted, sentence, kind):
    record = left(**{kind: {"epoch": 1}})
    assert said(judge(record, **accepted)) == [sentence]


def test_with_few_runs_the_change_that_could_be_seen_is_said():
    case = judge(left(timings={"epoch": 1.0}), figures=figures(epoch=runs(1.0, 4)))
    (finding,) = case.findings
    assert finding.verdict == "inconclusive"
    assert finding.why.startswith("epoch: 4 of 5 accepted runs; a change of ")
    (judgement,) = case.judgements
    assert 0.02 < judgement.detectable < 1
    assert judgement.change == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize("count", range(noise.FEWEST_RUNS))
@UNHURRIED
@given(value=st.floats(1e-6, 1e6))
def test_no_value_passes_with_too_few_runs(count, value):
    record = left(timings={"epoch": value})
    case = judge(record, figures=figures(epoch=runs(1.0, count)))
    assert case.verdict in {"inconclusive", "missing"}


def test_nothing_measured_is_missing():
    case = judge(left(timings={"epoch": 0.0}), figures=figures(epoch=1.0))
    assert said(case) == ["missing: epoch is 0 s: there was nothing to measure"]


@pytest.mark.parametrize(
    ("seconds", "word", "why"),
    [
        (1.0, "pass", ""),
        (1.02, "pass", ""),
        (1.10, "regression", "epoch 1.1 s is 10.0% slower than the 10 accepted runs"),
        (0.90, "improvement", "epoch 900 ms is 10.0% faster than the 10 accepted runs"),
        (math.inf, None, None),
    ],
)
def test_a_timing_is_judged_by_its_accepted_runs(seconds, word, why):
    if word is None:
        with pytest.raises(ValueError, match="finite seconds"):
            left(timings={"epoch": seconds})
        return
    case = judge(left(timings={"epoch": seconds}), figures=figures(epoch=1.0))
    assert case.verdict == word
    assert all(why in finding.why for finding in case.findings)
    assert bool(case.findings) is (word != "pass")
    (judgement,) = case.judgements
    assert judgement.change == pytest.approx(seconds - 1, abs=1e-6)
    assert 0.02 < judgement.detectable < 0.1


def test_the_limit_is_the_students_and_at_least_the_practical_size():
    wide = judge(left(timings={"epoch": 1.3}), figures=figures(epoch=1.0))
    compared = noise.compare_run(
        {"x": {k: math.log(v) for k, v in runs(1.0).items()}}, {}
    )
    limit = math.expm1(compared.expectations["x"].limit(noise.FALSE_ALARMS))
    assert f"(limit {limit:.1%})" in wide.findings[0].why
    still = figures(epoch=runs(1.0, wiggle=[0.0]))
    assert judge(left(timings={"epoch": 1.014}), figures=still).verdict == "pass"
    small = judge(left(timings={"epoch": 1.016}), figures=still)
    assert "(limit 1.5%)" in small.findings[0].why


def test_many_series_share_the_false_alarms_of_a_run():
    names = [f"t{i}" for i in range(4)]
    one = judge(left(timings={"t0": 1.05}), figures=figures(t0=1.0))
    four = judge(
        left(timings=dict.fromkeys(names, 1.05)),
        figures=figures(**dict.fromkeys(names, 1.0)),
    )
    assert one.judgements[0].detectable < four.judgements[0].detectable


@pytest.mark.parametrize(
    ("nbytes", "word"),
    [(10**9, "pass"), (12 * 10**8, "regression"), (8 * 10**8, "improvement")],
)
def test_memory_is_judged_alike(nbytes, word):
    case = judge(left(memory={"peak": nbytes}), figures=figures(peak=1e9))
    assert case.verdict == word


@pytest.mark.parametrize(
    ("better", "value", "word"),
    [
        ("higher", 5.0, "pass"),
        ("higher", 4.0, "regression"),
        ("higher", 6.0, "improvement"),
        ("lower", 4.0, "improvement"),
        ("lower", 6.0, "regression"),
        (None, 4.0, "regression"),
        (None, 6.0, "regression"),
        ("higher", 0.0, "regression"),
        ("higher", -5.0, "regression"),
    ],
)
def test_a_value_is_judged_by_which_way_is_better(better, value, word):
    record = left(metrics={"speedup": [{"value": value, "better": better}]})
    case = judge(record, figures=figures(speedup=5.0))
    assert case.verdict == word


def test_values_that_may_be_zero_are_judged_by_their_difference():
    known = {f"r{i}": x for i, x in enumerate([-0.1, 0.1, 0.0, 0.05, -0.05])}
    record = left(metrics={"bias": [{"value": 0.05}]})
    assert judge(record, figures=figures(bias=known)).verdict == "pass"
    record = left(metrics={"bias": [{"value": 2.0}]})
    case = judge(record, figures=figures(bias=known))
    assert "bias 2 is 2 more than the 5 accepted runs" in case.findings[0].why


@pytest.mark.parametrize(
    ("fresh", "words"), [([1.3], "mean of 1 fresh run)"), ([1.3, 1.2], "2 fresh runs)")]
)
def test_the_sentence_on_fresh_runs(fresh, words):
    again = {CASE: [left(timings={"epoch": x}) for x in fresh]}
    (finding,) = judge(
        left(timings={"epoch": 1.5}), again, figures=figures(epoch=1.0)
    ).findings
    _, limit = limit_of("epoch", runs(1.0), fresh=len(fresh))
    change = math.prod(fresh) ** (1 / len(fresh)) - 1
    assert finding.why.startswith(f"epoch 1.5 s is {change:.1%} slower than the 10")
    assert f"(limit {math.expm1(limit):.1%}, " in finding.why
    assert finding.why.endswith(words)


def test_what_could_be_seen_narrows_with_fresh_runs():
    again = {CASE: [left(timings={"epoch": 1.3})] * 3}
    record, known = left(timings={"epoch": 1.3}), figures(epoch=1.0)
    (alone,) = judge(record, figures=known).judgements
    (confirmed,) = judge(record, again, figures=known).judgements
    expected, _ = limit_of("epoch", runs(1.0))
    alpha, size = noise.FALSE_ALARMS, math.log1p(noise.PRACTICAL_SIZE)
    for judgement, fresh in ((alone, 1), (confirmed, 3)):
        seen = expected.detectable(alpha, smallest=size, fresh=fresh)
        assert judgement.detectable == pytest.approx(math.expm1(seen))
        assert (judgement.case, judgement.name) == (CASE, "epoch")
    still = figures(epoch=runs(1.0, wiggle=[0.0]))
    (judgement,) = judge(left(timings={"epoch": 1.0}), figures=still).judgements
    assert judgement.detectable > noise.PRACTICAL_SIZE


@pytest.mark.parametrize("suspect", [False, True])
def test_the_screen_is_the_one_sided_tenth(suspect):
    known = runs(1.0)
    expected, _ = limit_of("epoch", known)
    screen = expected.limit(0.2)
    factor = math.exp(screen * (1.02 if suspect else 0.98))
    record = left(timings={"epoch": math.exp(expected.centre) * factor})
    (judgement,) = judge(record, figures=figures(epoch=known)).judgements
    assert judgement.suspect is suspect


@pytest.mark.parametrize("away", [0.99, 1.01])
@pytest.mark.parametrize("better", ["lower", "higher"])
def test_the_limit_is_where_a_pass_ends(better, away):
    known = runs(2.0)
    expected, limit = limit_of("x", known)
    sign = 1 if better == "lower" else -1
    for way, word in ((sign, "regression"), (-sign, "improvement")):
        value = math.exp(expected.centre + way * limit * away)
        record = left(metrics={"x": [{"value": value, "better": better}]})
        found = judge(record, figures=figures(x=known)).verdict
        assert found == (word if away > 1 else "pass")


def test_the_sentence_on_a_value():
    record = left(metrics={"x": [{"value": 1.0, "better": "higher"}]})
    (finding,) = judge(record, figures=figures(x=2.0)).findings
    assert finding.why.startswith("x 1 is 50.0% less than the 10 accepted runs (limit ")
    record = left(metrics={"x": [{"value": 3.0, "better": "higher"}]})
    (finding,) = judge(record, figures=figures(x=2.0)).findings
    assert finding.why.startswith("x 3 is 50.0% more than the 10 accepted runs (limit ")
    (finding,) = judge(left(memory={"m": 2 * 10**9}), figures=figures(m=1e9)).findings
    assert finding.why.startswith("m 2000 MB is 100.0% more than the 10 accepted runs")
    (finding,) = judge(left(timings={"t": 50.0}), figures=figures(t=1.0)).findings
    assert finding.why.startswith("t 50 s is 4900% slower than the 10 accepted runs")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(2.5, "2.5 s"), (0.25, "250 ms"), (2.5e-4, "250 us"), (2.5e-8, "25 ns")],
)
def test_a_duration_is_written_in_its_unit(seconds, words):
    (finding,) = judge(
        left(timings={"t": seconds}), figures=figures(t=seconds / 2)
    ).findings
    assert finding.why.startswith(f"t {words} is 100.0% slower than the 10 ")


def test_a_value_of_several_seeds_is_their_mean():
    entries = [{"value": v, "seed": i} for i, v in enumerate((1.0, 2.0, 6.0))]
    (judgement,) = judge(
        left(metrics={"x": entries}), figures=figures(x=3.0)
    ).judgements
    assert judgement.change == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize("count", [2, 3, 4])
def test_the_sentence_on_too_few_runs(count):
    known = runs(1.0, count)
    (judgement,) = judge(
        left(timings={"epoch": 1.1}), figures=figures(epoch=known)
    ).judgements
    values = [math.log(x) for x in known.values()]
    spread, freedom = noise.moderated({"x": values})["x"]
    expected = noise.Expectation(
        centre=0.0, spread=spread, freedom=freedom, runs=count
    ).detectable(noise.FALSE_ALARMS, smallest=math.log1p(noise.PRACTICAL_SIZE))
    assert judgement.detectable == pytest.approx(math.expm1(min(expected, 50)))
    change = math.exp(math.log(1.1) - sum(values) / count) - 1
    assert judgement.change == pytest.approx(change)
    assert (judgement.case, judgement.name) == (CASE, "epoch")
    (judgement,) = judge(
        left(timings={"epoch": 1.1}), figures=figures(epoch=runs(1.0, 4, [0.0]))
    ).judgements
    assert judgement.detectable > noise.PRACTICAL_SIZE


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ({"timer": "process_time"}, "by process_time, accepted with perf_counter"),
        ({"iterations": 1}, "with 1 iteration a round, accepted with 300"),
        ({"iterations": 301}, "with 301 iterations a round, accepted with 300"),
        ({"iterations": 300, "timer": "perf_counter"}, ""),
        ({}, ""),
    ],
)
def test_what_was_timed_otherwise_is_not_comparable(how, why):
    known = figures(epoch=1.0)[CASE]
    known = replace(known, iterations={"epoch": 300}, timers={"epoch": "perf_counter"})
    record = left(timings={"epoch": 1.0})
    timing = replace(record.timings["epoch"], **how)
    case = judge(replace(record, timings={"epoch": timing}), figures={CASE: known})
    assert said(case) == ([f"not_comparable: epoch was timed {why}"] if why else [])
