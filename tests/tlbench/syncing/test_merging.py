"""Two folders of results: which entry stays, and what is refused."""

import json

import pytest

from tlbench.storage.baselines import (
    Acceptance,
    Baseline,
    Baselines,
    accepted_json,
    parse_accepted,
)
from tlbench.syncing.merging import Terms, digests, is_known, merge

ANY = "any/accepted.json"


def accepted(**cases):
    """Return a file of exact values; a case is a value and the day of acceptance."""
    found = {
        case: Baseline(
            exact={"n": value},
            accepted=Acceptance(
                by=f"u{day}", when=f"2026-01-0{day}", reason=f"w{day}", evidence=""
            ),
        )
        for case, (value, day) in cases.items()
    }
    return {ANY: accepted_json(Baselines(cases=found)).encode()}


def values(files):
    cases = parse_accepted(files[ANY], ANY).cases
    return {case: x.exact["n"] for case, x in cases.items()}


ONE = accepted(a=(1, 1), b=(1, 1))
BASE = Terms(branch="results of origin", base=digests(ONE))


def test_cases_of_both_sides_are_kept():
    assert values(merge(accepted(a=(1, 1)), accepted(b=(2, 2)), Terms())) == {
        "a": 1,
        "b": 2,
    }


def test_without_a_sync_before_the_newest_acceptance_stays():
    old, new = accepted(a=(1, 1)), accepted(a=(2, 2))
    assert values(merge(old, new, Terms())) == values(merge(new, old, Terms()))
    assert values(merge(old, new, Terms())) == {"a": 2}


@pytest.mark.parametrize("swap", [False, True])
def test_the_only_side_that_changed_stays_although_it_is_older(swap):
    sides = [accepted(a=(9, 1), b=(1, 1)), accepted(a=(1, 1), b=(8, 1))]
    assert values(merge(*(sides[::-1] if swap else sides), BASE)) == {"a": 9, "b": 8}


@pytest.mark.parametrize("swap", [False, True])
def test_what_one_side_removed_is_removed_unless_the_other_changed_it(swap):
    sides = [accepted(a=(1, 1)), ONE]
    assert values(merge(*(sides[::-1] if swap else sides), BASE)) == {"a": 1}
    sides = [accepted(a=(1, 1)), accepted(a=(1, 1), b=(2, 2))]
    assert values(merge(*(sides[::-1] if swap else sides), BASE)) == {"a": 1, "b": 2}


def test_a_file_that_is_gone_says_nothing():
    assert merge({}, ONE, BASE) == ONE
    assert merge(ONE, {}, BASE) == ONE


def test_the_same_entry_changed_on_both_sides_is_refused_and_both_are_named():
    ours, theirs = accepted(a=(2, 2), b=(2, 2)), accepted(a=(3, 3), b=(3, 3))
    with pytest.raises(
        ValueError,
        match=r"'a' in any/accepted.json, accepted 2026-01-02 by u2 \(w2\) here and "
        r"accepted 2026-01-03 by u3 \(w3\) on results of origin, and 1 more such .*"
        r"--take remote",
    ):
        merge(ours, theirs, BASE)
    for take, value in (("local", 2), ("remote", 3)):
        terms = Terms(base=digests(ONE), take=take)
        assert values(merge(ours, theirs, terms)) == {"a": value, "b": value}


def test_both_sides_added_the_same_case_since_the_last_sync():
    ours, theirs = accepted(c=(2, 2)), accepted(c=(3, 3))
    with pytest.raises(ValueError, match=r"^An entry must have been changed on one"):
        merge(ours, theirs, Terms(base=digests(ONE)))
    assert merge(ours, ours, Terms(base=digests(ONE))) == ours


def test_acceptances_of_the_same_moment_are_refused():
    with pytest.raises(ValueError, match="changed on one side"):
        merge(accepted(a=(1, 1)), accepted(a=(2, 1)), Terms())


def published(**values):
    figures = [
        {"work": work, "figure": "accuracy", "value": value, "source": "x"}
        for work, value in values.items()
    ]
    text = json.dumps({"schema": 2, "figures": figures})
    return {"any/published.json": text.encode()}


def test_published_figures_are_merged_by_what_they_are_about():
    found = merge(published(x="1"), published(y="2"), Terms())
    figures = json.loads(found["any/published.json"])["figures"]
    assert [(one["work"], one["value"]) for one in figures] == [("y", "2"), ("x", "1")]
    with pytest.raises(
        ValueError, match=r"'x, accuracy' in any/published.json, \{.*\}"
    ):
        merge(published(x="1"), published(x="2"), Terms())


def test_a_side_without_news_keeps_its_bytes():
    theirs = {k: v.replace(b"\n", b"\r\n") for k, v in published(x="1", y="2").items()}
    assert merge(published(x="1"), theirs, Terms()) == theirs


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"{", r"origin/any/accepted.json must be a whole tlbench file"),
        (b"<<<<<<< a\n", "conflict markers"),
        (b'{"schema": 99, "cases": {}}', "Install a newer tlbench"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused(data, match):
    with pytest.raises(ValueError, match=match):
        merge(ONE, {ANY: data}, Terms(branch="origin"))


def test_only_files_of_results_are_synced():
    known = ("any/accepted.json", "any/published.json", "m/machine.json")
    assert all(map(is_known, (*known, "m/accepted.json", "m/history.jsonl")))
    others = ("README.md", "any/history.jsonl", "m/published.json", "last-run.json")
    assert not any(map(is_known, (*others, "a/b/accepted.json", "m/.gitignore")))
