"""Conviction: which commit a suspect is compared with, and what cannot be done."""

import pytest

from tlbench.conviction import accepted_commits, convict
from tlbench.pairing.comparison import Comparison
from tlbench.pairing.judging import Row
from tlbench.recorder import Recorder
from tlbench.settings import Settings
from tlbench.storage.history import Entry
from tlbench.verdicts.figures import Figures
from tlbench.verdicts.limits import Limits, Policy
from tlbench.verdicts.verdict import Finding


def entry(run, commit, case="a"):
    return Entry(
        run=run,
        when="2026-01-01T00:00:00+00:00",
        record=Recorder(case).snapshot("passed"),
        verdict="pass",
        commit=commit,
    )


def figures(runs, anchor=()):
    return {
        "a": Figures(
            version="1",
            series={"epoch": dict.fromkeys(runs, 1.0)},
            anchor={"epoch": dict.fromkeys(anchor, 1.0)},
        )
    }


ENTRIES = [entry("r0", "c0"), entry("r1", "c1"), entry("r2", "c2"), entry("r3", "c3")]


def test_the_commit_is_that_of_the_newest_accepted_run():
    assert accepted_commits(figures(["r1", "r2"]), ENTRIES) == {"a": "c2"}


def test_a_case_that_drifted_is_compared_with_the_oldest_run_of_its_anchor():
    known = figures(["r2", "r3"], anchor=["r0", "r1"])
    assert accepted_commits(known, ENTRIES, drifted=["a"]) == {"a": "c0"}


@pytest.mark.parametrize("commit", ["", "c9+"])
def test_a_commit_with_changes_or_none_cannot_be_built(commit):
    found = accepted_commits(figures(["r9"]), [entry("r9", commit)])
    assert not found.get("a")


POLICY = Policy(Limits(practical_size=0.1))


def convicted(compare, suspects=("a", "b"), commits=None):
    said = []
    done = convict(
        suspects,
        commits or {"a": "c1", "b": "c1"},
        root="root",
        settings=Settings(install="make install", budget=7, policy=POLICY),
        options=("--size=2",),
        say=said.append,
        compare=compare,
    )
    return done, said


def comparison(*rows):
    return Comparison(base="b", head="h", rows=rows, pairs=8, seconds=1.0)


def test_suspects_of_one_commit_are_compared_together_with_the_sessions_options():
    asked = []

    def compare(request, options, **more):
        asked.append((request, options, more))
        slower = Finding("regression", "cpu is 30.0% slower")
        return comparison(Row(case="a", findings=(slower,)), Row(case="b", pairs=5))

    done, said = convicted(compare)
    ((request, options, more),) = asked
    assert (request.base, request.paths) == ("c1", ("a", "b"))
    assert request.install == "make install"
    assert options == ("--size=2",)
    assert (more["budget"], more["only"], more["whole"]) == (7, ["a", "b"], True)
    assert (done.trials["a"].outcome, done.trials["b"].outcome) == ("slower", "equal")
    assert more["policy"] is POLICY
    assert "in 5 pairs" in done.trials["b"].why
    assert said == ["2 suspects: in turn with the accepted commit c1"]


@pytest.mark.parametrize("verdict", ["inconclusive", "missing", "not_comparable"])
def test_what_the_pair_cannot_tell_is_unknown(verdict):
    row = Row(case="a", findings=(Finding(verdict, "why"),))
    done, _ = convicted(lambda *_, **__: comparison(row), suspects=("a",))
    assert done.trials["a"].outcome == "unknown"


@pytest.mark.parametrize("error", [ValueError("no such commit"), OSError("disk full")])
def test_a_commit_that_cannot_be_built_is_a_note_and_no_verdict(error):
    def compare(*_, **__):
        raise error

    done, _ = convicted(compare)
    assert done.trials == {}
    assert done.notes == (
        f"2 suspects could not be compared with the accepted commit c1: {error}",
    )


def test_a_pair_without_the_devices_of_the_session_clears_nothing():
    def compare(*_, **__):
        return comparison(Row(case="a", device=True), Row(case="b"))

    done = convict(
        ("a", "b"),
        {"a": "c1", "b": "c1"},
        root="root",
        settings=Settings(),
        options=(),
        say=lambda _: None,
        devices=True,
        compare=compare,
    )
    assert list(done.trials) == ["a"]
    assert "1 suspect could not be compared" in done.notes[0]
    assert "the pair had no device" in done.notes[0]


def test_suspects_without_a_known_commit_are_named():
    done, _ = convicted(lambda *_, **__: comparison(), commits={"b": ""})
    assert done.trials == {}
    assert "their accepted runs name none" in done.notes[0]
