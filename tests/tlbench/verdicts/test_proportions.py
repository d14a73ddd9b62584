"""Proportions: by their seeds, and by the size of their test sets."""

import math

import pytest

from tlbench.verdicts import noise

from .builders import CASE, entries, figures, judge, left, said, seeds


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


@pytest.mark.parametrize(
    ("accepted", "sentence"),
    [
        ({}, "missing: no baseline for this machine"),
        (
            {"elsewhere": ("cpu A -> B",)},
            "not_comparable: the baseline is from another machine: cpu A -> B",
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


@pytest.mark.parametrize(("spread", "word"), [(0.01, "pass"), (0.05, "inconclusive")])
def test_a_proportion_that_varies_too_much_is_no_pass(spread, word):
    known = [(f"seed {i}", 0.8 + spread * (i % 3 - 1), 200) for i in range(6)]
    record = left(metrics={"accuracy": entries(0.8, count=1, n=200)})
    case = judge(record, figures=figures(metrics={"accuracy": known}))
    (judgement,) = case.judgements
    assert (judgement.detectable > noise.BLIND_POINTS) == (word == "inconclusive")
    assert case.verdict == word
    if word == "inconclusive":
        (finding,) = said(case)
        assert finding.startswith("inconclusive: accuracy: only a change of ")
        assert finding.endswith(
            "could be seen (bound 10.00 points): 6 accepted seeds vary by 4.47 points, "
            "1 seed of 200 samples"
        )
