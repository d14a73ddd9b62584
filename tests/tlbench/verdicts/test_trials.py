"""What the pair makes of suspects: by the code, by the environment, or not known."""

from dataclasses import replace

import pytest

from tlbench.verdicts.trials import Trial, representatives, tried
from tlbench.verdicts.verdict import (
    MACHINE,
    Case,
    Finding,
    Judgement,
    from_json,
    to_json,
)

from .builders import left

COMMIT = "0123456789ab"


def judgement(verdict, **flags):
    return Judgement(
        case="a", name="epoch", verdict=verdict, why=f"epoch {verdict}", **flags
    )


def case(verdict, *, name="a", suspect=True, findings=(), blind=False):
    one = judgement(verdict, suspect=suspect, blind=blind)
    own = () if verdict == "pass" else (Finding(one.verdict, one.why),)
    return Case(
        case=name,
        findings=(*findings, *own),
        judgements=(one,),
        record=left(name, timings={"epoch": 1.0}),
    )


def trial(outcome, why="cpu is 30.0% slower"):
    return Trial(commit=COMMIT, outcome=outcome, why=why)


def said(one):
    return "; ".join(map(str, one.findings))


def test_a_suspect_that_is_slower_in_the_pair_is_a_regression_by_the_code():
    (one,) = tried([case("regression")], {"a": trial("slower")}, {})
    assert said(one) == (
        "regression: by the code: cpu is 30.0% slower, measured in turn with the "
        f"accepted commit {COMMIT}"
    )
    assert one.findings[0].fails


def test_a_mere_suspect_that_is_slower_in_the_pair_is_convicted_too():
    (one,) = tried([case("pass")], {"a": trial("slower")}, {})
    assert one.verdict == "regression"
    assert one.judgements[0].verdict == "regression"


def test_a_suspect_that_equals_the_accepted_commit_was_moved_by_the_environment():
    environment = {"a": ["numpy 2.4.6 -> 2.4.7 since the accepted runs"]}
    equal = trial("equal", "equal to it within 1.2% in 5 pairs")
    (one,) = tried([case("regression")], {"a": equal}, environment)
    assert one.verdict == "machine_shift"
    assert "by the environment (numpy 2.4.6 -> 2.4.7" in said(one)
    assert "within 1.2% in 5 pairs" in said(one)
    assert not one.findings[0].fails


def test_a_mere_suspect_that_equals_the_accepted_commit_passes():
    (one,) = tried([case("pass")], {"a": trial("equal")}, {})
    assert one.findings == ()


@pytest.mark.parametrize(
    ("outcome", "verdict"), [("equal", "pass"), ("slower", "regression")]
)
def test_the_pair_sees_what_the_history_is_blind_for(outcome, verdict):
    blind = case("inconclusive", suspect=False, blind=True)
    (one,) = tried([blind], {"a": trial(outcome)}, {})
    assert (one.verdict, one.judgements[0].verdict) == (verdict, verdict)


def test_what_no_pair_can_tell_stays_inconclusive():
    proportion = case("inconclusive", suspect=False)
    assert tried([proportion], {"a": trial("equal")}, {}) == (proportion,)


@pytest.mark.parametrize("trials", [{}, {"a": trial("unknown")}])
def test_without_a_trial_the_history_stands(trials):
    before = case("regression")
    assert tried([before], trials, {}) == (before,)


def test_findings_that_are_no_suspicion_stay():
    structural = Finding("missing", "not recorded: val_loss")
    before = case("regression", findings=[structural])
    (one,) = tried([before], {"a": trial("equal")}, {})
    assert structural in one.findings


def shift(mode="slower"):
    found = Finding("machine_shift", f"all 9 timings together are 5.0% {mode}")
    return Case(case=MACHINE, findings=(found,))


@pytest.mark.parametrize(
    ("outcomes", "verdict", "fails"),
    [
        (["slower", "slower", "equal"], "regression", True),
        (["faster", "faster", "faster"], "improvement", False),
        (["equal", "equal", "slower"], "machine_shift", False),
        (["unknown", "unknown"], "machine_shift", True),
        ([], "machine_shift", True),
    ],
)
def test_a_shift_of_all_is_told_apart_by_the_pairs_of_some(outcomes, verdict, fails):
    trials = {f"c{n}": trial(outcome) for n, outcome in enumerate(outcomes)}
    (one,) = tried([shift()], trials, {})
    assert one.verdict == verdict
    assert one.findings[0].fails == fails


def test_representatives_are_few_and_only_for_a_shift():
    cases = [case("pass", name=f"c{n:02}", suspect=False) for n in range(23)]
    assert representatives(cases) == ()
    chosen = representatives([*cases, shift()])
    assert len(chosen) == 5
    assert chosen[0] == "c00"
    assert chosen[-1] > "c12"


def test_an_ignored_case_represents_nobody():
    cases = [case("pass", name=name, suspect=False) for name in "ab"]
    cases[0] = replace(cases[0], ignored=True)
    assert representatives([*cases, shift()]) == ("b",)


def test_an_acquittal_survives_its_file():
    one = Case(case="a", findings=(Finding("machine_shift", "why", acquitted=True),))
    assert from_json("a", to_json(one), None) == one
    plain = Case(case="a", findings=(Finding("machine_shift", "why"),))
    assert to_json(plain)["findings"] == [["machine_shift", "why"]]
