"""Verdicts: tables of what was recorded, what was accepted, and what is said."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlbench import noise, verdict
from tlbench.record import Recorder
from tlbench.verdict import Accepted, Figures

CASE, VERSIONS = "bench_a.py::bench_b", "keras 3.15.1"
WIGGLE = [0.0, 0.01, -0.01, 0.005, -0.005, 0.002, -0.002, 0.008, -0.008, 0.0]
"""How accepted runs differ, as logarithms."""


def left(case=CASE, *, outcome="passed", version="1", **kinds):
    recorder = Recorder(case, version)
    for name, value in kinds.get("exact", {}).items():
        recorder.exact(name, value)
    for name, value in kinds.get("costs", {}).items():
        recorder.cost(name, value)
    for name, seconds in kinds.get("timings", {}).items():
        recorder.timing(name, [seconds], warmup=0)
    for name, nbytes in kinds.get("memory", {}).items():
        recorder.memory(name, nbytes)
    for name, entries in kinds.get("metrics", {}).items():
        for entry in entries:
            recorder.metric(name, **entry)
    return recorder.snapshot(outcome)


def runs(centre, count=10, wiggle=WIGGLE):
    return {f"r{i}": centre * math.exp(wiggle[i % len(wiggle)]) for i in range(count)}


def figures(case=CASE, *, version="1", anchor=None, metrics=None, **series):
    values = {name: x if isinstance(x, dict) else runs(x) for name, x in series.items()}
    return {
        case: Figures(
            version=version,
            series=values,
            metrics=metrics or {},
            anchor=values if anchor is None else anchor,
        )
    }


def judge(record, again=None, **accepted):
    (case,) = verdict.judge(
        {record.case: record}, Accepted(versions=VERSIONS, **accepted), again
    )
    return case


def said(case):
    return [str(finding) for finding in case.findings]


# Exact values and costs


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


# Figures without enough to compare with


@pytest.mark.parametrize(
    ("accepted", "sentence"),
    [
        ({}, "missing: no baseline for this machine"),
        (
            {"elsewhere": ("cpu A -> B", "cpus 2 -> 4")},
            "not_comparable: the baseline is of another machine: "
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
@given(value=st.floats(1e-6, 1e6))
def test_no_value_passes_with_too_few_runs(count, value):
    record = left(timings={"epoch": value})
    case = judge(record, figures=figures(epoch=runs(1.0, count)))
    assert case.verdict in {"inconclusive", "missing"}


def test_nothing_measured_is_missing():
    case = judge(left(timings={"epoch": 0.0}), figures=figures(epoch=1.0))
    assert said(case) == ["missing: epoch is 0 s: there was nothing to measure"]


def test_a_figure_that_is_recorded_no_more_is_missing():
    known = figures(epoch=1.0, metrics={"accuracy": [("seed 1", 0.9, 100)]})
    case = judge(left(exact={"n": 1}), exact={CASE: {"n": 1}}, figures=known)
    assert said(case) == ["missing: not recorded: epoch, accuracy"]


# Series


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
    night = noise.night({"x": {k: math.log(v) for k, v in runs(1.0).items()}}, {})
    limit = math.expm1(night.expectations["x"].limit(noise.FALSE_ALARMS))
    assert f"(limit {limit:.1%})" in wide.findings[0].why
    still = figures(epoch=runs(1.0, wiggle=[0.0]))
    assert judge(left(timings={"epoch": 1.014}), figures=still).verdict == "pass"
    small = judge(left(timings={"epoch": 1.016}), figures=still)
    assert "(limit 1.5%)" in small.findings[0].why


def test_many_series_share_the_false_alarms_of_a_night():
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


def test_time_is_judged_only_where_the_exact_values_hold():
    record = left(exact={"trainable": 2}, timings={"epoch": 0.5})
    case = judge(record, exact={CASE: {"trainable": 4}}, figures=figures(epoch=1.0))
    assert said(case) == ["regression: trainable: expected 4, received 2"]
    assert case.judgements == ()


# Suspects and fresh runs


def test_a_suspect_is_whoever_looks_worse_at_all():
    calm = judge(left(timings={"epoch": 1.0}), figures=figures(epoch=1.0))
    odd = judge(left(timings={"epoch": 1.02}), figures=figures(epoch=1.0))
    fast = judge(left(timings={"epoch": 0.8}), figures=figures(epoch=1.0))
    assert verdict.suspects([calm, odd, fast]) == (odd.case,)
    assert odd.verdict == "pass"


@pytest.mark.parametrize(
    ("fresh", "word"),
    [
        ([1.3, 1.3, 1.3], "regression"),
        ([1.0, 1.0, 1.0], "pass"),
        ([1.1] * 3, "regression"),
    ],
)
def test_a_suspect_is_judged_by_its_fresh_runs(fresh, word):
    again = {CASE: [left(timings={"epoch": x}) for x in fresh]}
    record = left(timings={"epoch": 1.3})
    case = judge(record, again, figures=figures(epoch=1.0))
    assert case.verdict == word
    if word == "regression":
        assert "mean of 3 fresh runs" in case.findings[0].why


@pytest.mark.parametrize("again", [{}, {CASE: []}, {CASE: [left(exact={"n": 1})]}])
def test_a_suspect_that_could_not_be_run_again_is_no_pass(again):
    record = left(timings={"epoch": 1.3})
    assert judge(record, again, figures=figures(epoch=1.0)).verdict == "regression"


def test_who_is_no_suspect_is_not_judged_by_fresh_runs():
    again = {CASE: [left(timings={"epoch": 2.0})]}
    case = judge(left(timings={"epoch": 1.0}), again, figures=figures(epoch=1.0))
    assert case.verdict == "pass"


# The machine


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
    cases = verdict.judge(*suite(**{f"t{i}": 1.05 for i in range(10)}))
    assert [x.case for x in cases if x.findings] == [verdict.MACHINE]
    (finding,) = cases[-1].findings
    assert finding.verdict == "machine_shift"
    assert finding.why.startswith("10 timings are 5.0% slower alike (limit ")
    assert verdict.is_finding(finding.verdict)


def test_a_faster_machine_is_told_too():
    cases = verdict.judge(*suite(**{f"t{i}": 0.9 for i in range(10)}))
    assert "faster alike" in cases[-1].findings[0].why


def test_a_case_that_is_slower_than_its_slower_machine_is_found():
    cases = verdict.judge(
        *suite(**{f"t{i}": 1.05 * (1.2 if i == 3 else 1) for i in range(10)})
    )
    assert [x.case for x in cases if x.verdict == "regression"] == [
        "bench_a.py::bench[3]"
    ]
    assert cases[-1].case == verdict.MACHINE


def test_fresh_runs_have_the_common_mode_of_the_night_taken_out():
    records, accepted = suite(
        **{f"t{i}": 1.05 * (1.2 if i == 3 else 1) for i in range(10)}
    )
    case = "bench_a.py::bench[3]"
    again = {case: [left(case, timings={"epoch": 1.05})] * 3}
    cases = verdict.judge(records, accepted, again)
    assert [x.verdict for x in cases if x.case == case] == ["pass"]


def test_memory_and_values_do_not_shift_with_the_machine():
    names = [f"m{i}" for i in range(10)]
    case = judge(
        left(memory=dict.fromkeys(names, 12 * 10**8)),
        figures=figures(**dict.fromkeys(names, 1e9)),
    )
    assert len(case.findings) == 10
    assert {x.verdict for x in case.findings} == {"regression"}


# Drift


def test_small_steps_are_found_by_the_anchor():
    known = figures(epoch=runs(1.04), anchor={"epoch": runs(1.0)})
    case = judge(left(timings={"epoch": 1.04}), figures=known)
    assert case.verdict == "regression"
    assert "has drifted: it is 4.0% slower than its anchor" in case.findings[0].why


def test_a_drift_is_run_again_too():
    known = figures(epoch=runs(1.04), anchor={"epoch": runs(1.0)})
    record = left(timings={"epoch": 1.04})
    assert verdict.suspects([judge(record, figures=known)]) == (CASE,)
    again = {CASE: [left(timings={"epoch": 1.0})] * 3}
    assert judge(record, again, figures=known).verdict == "pass"


@pytest.mark.parametrize(
    "anchor",
    [{}, {"epoch": runs(1.0, 4)}, {"epoch": runs(1.035)}, {"another": runs(0.5)}],
)
def test_without_an_anchor_or_a_change_of_size_there_is_no_drift(anchor):
    known = figures(epoch=runs(1.04), anchor=anchor)
    assert judge(left(timings={"epoch": 1.04}), figures=known).verdict == "pass"


def test_three_tenths_of_a_percent_a_night_are_found_by_four_percent():
    """Every run is accepted as it comes, as nobody should: the anchor tells."""
    import random

    chance = random.Random(1)
    found = []
    for _ in range(20):
        values = [math.exp(chance.gauss(0, 0.0055)) for _ in range(20)]
        anchor = {f"r{i}": x for i, x in enumerate(values)}
        level = 1.0
        while level < 1.1:
            level *= 1.003
            tonight = level * math.exp(chance.gauss(0, 0.0055))
            recent = {f"r{i}": x for i, x in enumerate(values[-20:])}
            known = figures(epoch=recent, anchor={"epoch": anchor})
            if judge(left(timings={"epoch": tonight}), figures=known).verdict != "pass":
                break
            values.append(tonight)
        found.append(level)
    assert max(found) <= 1.04, found


# Proportions


def seeds(count, value, n=2500, first=0):
    return [
        (f"seed {first + i}", value + 0.004 * WIGGLE[i % 10] / 0.01, n)
        for i in range(count)
    ]


def entries(value, count=3, n=2500):
    return [{"correct": round(value * n), "n": n, "seed": i} for i in range(count)]


@pytest.mark.parametrize(
    ("value", "word"), [(0.85, "pass"), (0.83, "regression"), (0.87, "improvement")]
)
def test_a_proportion_is_judged_by_its_seeds(value, word):
    known = {"accuracy": seeds(20, 0.85)}
    record = left(metrics={"accuracy": entries(value)})
    case = judge(record, figures=figures(metrics=known))
    assert case.verdict == word
    (judgement,) = case.judgements
    assert judgement.change == pytest.approx(value - 0.85, abs=1e-3)
    assert 0.002 < judgement.detectable < 0.02
    if word != "pass":
        assert "of 3 seeds is 2.00 points" in case.findings[0].why


@pytest.mark.parametrize(
    ("accepted", "word"),
    [
        ([], "missing"),
        (seeds(4, 0.85), "inconclusive"),
        (seeds(1, 0.85) * 10, "inconclusive"),
        (seeds(5, 0.85), "pass"),
    ],
)
def test_a_proportion_needs_five_seeds(accepted, word):
    record = left(metrics={"accuracy": entries(0.85)})
    case = judge(record, figures=figures(metrics={"accuracy": accepted}))
    assert case.verdict == word


def test_another_test_set_widens_the_limit():
    known = figures(metrics={"accuracy": seeds(20, 0.85)})
    same = judge(left(metrics={"accuracy": entries(0.84)}), figures=known)
    other = judge(left(metrics={"accuracy": entries(0.84, n=500)}), figures=known)
    assert same.verdict == "regression"
    assert other.verdict == "pass"
    assert other.judgements[0].detectable > 3 * same.judgements[0].detectable


def test_many_proportions_share_their_false_alarms():
    names = [f"a{i}" for i in range(8)]
    one = judge(
        left(metrics={"a0": entries(0.85)}),
        figures=figures(metrics={"a0": seeds(20, 0.85)}),
    )
    eight = judge(
        left(metrics={name: entries(0.85) for name in names}),
        figures=figures(metrics={name: seeds(20, 0.85) for name in names}),
    )
    assert one.judgements[0].detectable < eight.judgements[0].detectable


# Forms


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
    with pytest.raises(ValueError, match="'fine' is no verdict"):
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


# Every word and figure of the sentences


def limit_of(name, known, *, fresh=1, series=1):
    """The limit and the error of a series whose runs are compared alone."""
    scaled = {run: math.log(value) for run, value in known.items()}
    expected = noise.night({name: scaled}, {}).expectations[name]
    alpha = noise.FALSE_ALARMS / series
    return expected, expected.limit(alpha, fresh=fresh)


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
    alpha, size = noise.FALSE_ALARMS, noise.PRACTICAL_SIZE
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
    [(2.5, "2.5 s"), (0.25, "250 ms"), (2.5e-4, "250 us"), (2.5e-8, "0.025 us")],
)
def test_a_duration_is_told_in_its_unit(seconds, words):
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
    ).detectable(noise.FALSE_ALARMS, smallest=noise.PRACTICAL_SIZE)
    assert judgement.detectable == pytest.approx(math.expm1(min(expected, 50)))
    change = math.exp(math.log(1.1) - sum(values) / count) - 1
    assert judgement.change == pytest.approx(change)
    assert (judgement.case, judgement.name) == (CASE, "epoch")
    (judgement,) = judge(
        left(timings={"epoch": 1.1}), figures=figures(epoch=runs(1.0, 4, [0.0]))
    ).judgements
    assert judgement.detectable > noise.PRACTICAL_SIZE


def drifted(
    value, again=None, *, better="lower", level=1.04, anchor=1.0, spread=WIGGLE
):
    known = figures(x=runs(level), anchor={"x": runs(anchor, wiggle=spread)})
    record = left(metrics={"x": [{"value": value, "better": better}]})
    fresh = again and {
        CASE: [left(metrics={"x": [{"value": v, "better": better}]}) for v in again]
    }
    return judge(record, fresh, figures=known)


def test_the_sentence_on_drift():
    case = drifted(1.05)
    _, limit = limit_of("x", runs(1.0))
    assert said(case) == [
        "regression: x 1.05 has drifted: it is 5.0% more than its anchor, the oldest "
        f"accepted runs (limit {math.expm1(max(limit, verdict.DRIFT_SIZE)):.1%})"
    ]
    (judgement,) = case.judgements
    expected, _ = limit_of("x", runs(1.0))
    seen = expected.detectable(noise.FALSE_ALARMS, smallest=verdict.DRIFT_SIZE)
    assert judgement.detectable == pytest.approx(math.expm1(seen))
    assert judgement.change == pytest.approx(0.05, abs=1e-3)
    assert (judgement.case, judgement.name, judgement.suspect) == (CASE, "x", True)


def test_drift_for_the_better_is_none():
    assert drifted(0.95, level=0.96).verdict == "pass"
    assert drifted(1.05, better="higher").verdict == "pass"
    assert drifted(0.95, level=0.96, better="higher").verdict == "regression"


def test_drift_is_judged_by_the_mean_of_fresh_runs():
    assert drifted(1.05, [1.05, 1.04, 1.06]).verdict == "regression"
    assert drifted(1.05, [1.0, 1.0, 1.0]).verdict == "improvement"
    assert drifted(1.05, [1.019] * 3, level=1.03).verdict == "pass"
    case = drifted(1.05, [1.06, 1.04])
    (judgement,) = case.judgements
    assert judgement.change == pytest.approx(math.sqrt(1.06 * 1.04) - 1, abs=1e-3)
    _, limit = limit_of("x", runs(1.0), fresh=2)
    told = math.expm1(max(limit, verdict.DRIFT_SIZE))
    assert f"(limit {told:.1%})" in case.findings[0].why


def test_a_drift_within_its_noise_is_a_suspect_and_no_finding():
    wide = [x * 2.5 for x in WIGGLE]
    case = drifted(1.045, spread=wide)
    (judgement,) = case.judgements
    assert (case.verdict, judgement.verdict, judgement.suspect) == (
        "pass",
        "pass",
        True,
    )
    assert verdict.suspects([case]) == (CASE,)
    assert drifted(1.045, [1.045], spread=wide).verdict == "pass"


@pytest.mark.parametrize(
    ("accepted", "sentence"),
    [
        ({}, "missing: no baseline for this machine"),
        (
            {"elsewhere": ("cpu A -> B",)},
            "not_comparable: the baseline is of another machine: cpu A -> B",
        ),
        (
            {"figures": figures(version="0", metrics={"accuracy": seeds(9, 0.85)})},
            "not_comparable: the case changed since its figures were accepted",
        ),
        ({"figures": figures()}, "missing: no baseline for accuracy on this machine"),
        (
            {"figures": figures(metrics={"accuracy": seeds(3, 0.85)})},
            "inconclusive: accuracy: 3 of 5 accepted seeds",
        ),
    ],
)
def test_a_proportion_that_cannot_be_compared_is_said(accepted, sentence):
    case = judge(left(metrics={"accuracy": entries(0.85)}), **accepted)
    assert said(case) == [sentence]
    (judgement,) = case.judgements
    assert (judgement.case, judgement.name) == (CASE, "accuracy")
    known = "seeds" in sentence
    assert judgement.change == (pytest.approx(0, abs=5e-3) if known else None)


@pytest.mark.parametrize(
    ("value", "count", "words"),
    [
        (0.80, 3, "accuracy 80.00% of 3 seeds is 5.00 points below the 20 accepted"),
        (0.90, 3, "accuracy 90.00% of 3 seeds is 5.00 points above the 20 accepted"),
        (0.80, 1, "accuracy 80.00% of 1 seed is 5.00 points below the 20 accepted"),
    ],
)
def test_the_sentence_on_a_proportion(value, count, words):
    known = [
        (f"seed {i}", 0.85 + (0.004 if i % 2 else -0.004), 2500) for i in range(20)
    ]
    record = left(metrics={"accuracy": entries(value, count)})
    case = judge(record, figures=figures(metrics={"accuracy": known}))
    expected, _ = noise.seeds(known, [(value, 2500)] * count)
    error = expected.error(count)
    limit = noise.quantile(1 - noise.FALSE_ALARMS / 2, 19) * error
    assert case.findings[0].why == f"{words} seeds (limit {100 * limit:.2f} points)"
    (judgement,) = case.judgements
    seen = limit + noise.quantile(noise.POWER, math.inf) * error
    assert judgement.detectable == pytest.approx(seen)
    assert (judgement.case, judgement.name) == (CASE, "accuracy")


def test_two_cases_alike_are_judged_each_for_itself():
    other = "bench_a.py::bench_c"
    records = {
        CASE: left(exact={"n": 1}, timings={"epoch": 1.3}),
        other: left(other, exact={"n": 1}, timings={"epoch": 1.0}),
    }
    accepted = Accepted(
        exact={CASE: {"n": 1}, other: {"n": 1}},
        figures=figures(epoch=1.0) | figures(other, epoch=1.0),
    )
    first, second = verdict.judge(records, accepted)
    assert (first.case, first.verdict) == (CASE, "regression")
    assert (second.case, second.verdict) == (other, "pass")
    assert first.comparison.equal == ("n",)
    assert first.record is records[CASE]


def test_costs_are_counted_with_the_exact_values():
    case = judge(
        left(exact={"n": 1, "new": 1}, costs={"f": 2, "g": 1}),
        exact={CASE: {"n": 1, "lost": 1}},
        costs={CASE: {VERSIONS: {"f": 1, "g": 1}}},
    )
    names = case.comparison
    assert (set(names.equal), names.differing) == ({"n", "g"}, ("f",))
    assert (names.new, names.lost) == (("new",), ("lost",))


def test_cases_that_are_not_judged_tonight_lend_their_spread():
    """A part of the suite is judged as the whole would judge it."""
    records, accepted = suite(10)
    units = {
        case: replace(x, units={"epoch": "s"}) for case, x in accepted.figures.items()
    }
    whole = verdict.judge(records, replace(accepted, figures=units))
    name = "bench_a.py::bench[3]"
    (part,) = verdict.judge({name: records[name]}, replace(accepted, figures=units))
    (alone,) = verdict.judge(
        {name: records[name]}, replace(accepted, figures={name: accepted.figures[name]})
    )
    seen = {x.case: x.judgements[0].detectable for x in whole}
    # Alone it has all the false alarms of a night to itself.
    assert part.judgements[0].detectable < seen[name]
    assert part.judgements[0].detectable < alone.judgements[0].detectable
