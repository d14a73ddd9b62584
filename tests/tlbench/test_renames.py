"""What is said about a case that its file no longer has."""

from dataclasses import replace

import pytest

from tlbench.record import CaseRecord
from tlbench.renames import hint
from tlbench.verdicts.figures import Accepted, Figures

PRUNE = "if it was removed: accept --prune"


def records(*cases, version="v", **exact):
    found = (CaseRecord(case=x, outcome="passed", version=version) for x in cases)
    return {one.case: replace(one, exact=exact) for one in found}


def timed(*cases, version="v"):
    return Accepted(figures={case: Figures(version=version) for case in cases})


def alias(old, new):
    return f"if it was renamed: accept --alias {old} {new}; {PRUNE}"


@pytest.mark.parametrize(
    ("gone", "left", "accepted", "said"),
    [
        # By exact values.
        ("old", records("new", n=1), Accepted(exact={"old": {"n": 1}}), ("old", "new")),
        ("old", records("new", n=2), Accepted(exact={"old": {"n": 1}}), None),
        # By the version of its code, where there are only figures.
        ("old", records("new"), timed("old"), ("old", "new")),
        ("old", records("new", version="w"), timed("old"), None),
        ("old", records("new", version=""), timed("old", version=""), None),
        # A case that has a baseline is no new one; of two candidates none is named.
        ("old", records("new"), timed("old", "new"), None),
        ("old", records("one", "two"), timed("old"), None),
        # Parameters tell the cases of one function apart.
        (
            "old[1]",
            records("new[1]", "new[2]"),
            timed("old[1]"),
            ("'old[1]'", "'new[1]'"),
        ),
        ("old[3]", records("new[1]", "new[2]"), timed("old[3]"), None),
    ],
)
def test_a_renamed_case_is_recognised(gone, left, accepted, said):
    assert hint(gone, left, accepted, "accept") == (alias(*said) if said else PRUNE)
