"""The lines of two histories of one machine: each once, none lost."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tlbench.recorder import Recorder
from tlbench.storage import history, union
from tlbench.storage.history import Entry

UNHURRIED = settings(deadline=None, derandomize=True)


def line(run, when, case="a"):
    return history.line(
        Entry(
            run=run, when=when, record=Recorder(case).snapshot("passed"), verdict="pass"
        )
    )


A, B, C = (line(f"r{n}", f"2026-01-0{n}T00:00:00+00:00") for n in (1, 2, 3))


def test_lines_of_both_stand_once_in_the_order_of_their_times():
    assert union.merged(A + C, A + B) == A + B + C
    assert union.merged(A + B, A + C) == A + B + C
    assert union.merged(b"", A) == union.merged(A, b"") == A


def test_the_order_of_a_side_stays_although_its_clock_went_backwards():
    assert union.merged(B, C + A) == B + C + A
    assert union.merged(C + A, B) == B + C + A


def test_a_line_without_a_zone_or_a_time_is_kept():
    bare, none = line("r4", "2026-01-02T12:00:00"), line("r5", "")
    assert union.merged(bare, A + C) == A + bare + C
    assert sorted(union.lines(union.merged(none, A))) == sorted([A[:-1], none[:-1]])


@pytest.mark.parametrize("damaged", [b'{"run": "r9"', b"<<<<<<< x", b"\xff", b"[1]"])
def test_a_damaged_line_is_kept_for_somebody_to_see(damaged):
    assert damaged in union.lines(union.merged(A + damaged + b"\n" + B, C))


def test_only_the_beginning_of_a_last_line_goes():
    assert union.merged(A + B[:20], C) == A + C
    assert union.merged(A + B[:-1], C) == A + B + C  # only the newline is missing


@UNHURRIED
@given(
    st.lists(st.integers(0, 9), unique=True), st.lists(st.integers(0, 9), unique=True)
)
def test_no_line_is_lost_and_a_second_time_changes_nothing(ours, theirs):
    left, right = (
        b"".join(line(f"r{n}", f"2026-01-01T00:00:0{n}+00:00") for n in numbers)
        for numbers in (ours, theirs)
    )
    both = union.merged(left, right)
    assert set(union.lines(both)) == {*union.lines(left), *union.lines(right)}
    assert union.merged(left, both) == union.merged(both, both) == both
    own = [x for x in union.lines(both) if x in union.lines(right)]
    assert own == union.lines(right)


def test_what_is_appended_meanwhile_stays(tmp_path):
    path = tmp_path / "machine" / "history.jsonl"
    union.merge_into(path, A)
    for data in (A, B, A + C):
        union.merge_into(path, data)
    assert path.read_bytes() == A + B + C
    assert [x.run for x in history.read(path).entries] == ["r1", "r2", "r3"]


def test_every_order_of_merging_ends_with_the_same_lines():
    found = {
        b"".join(sorted(union.lines(union.merged(x, union.merged(y, z)))))
        for x, y, z in itertools.permutations([A, B, C])
    }
    assert len(found) == 1
