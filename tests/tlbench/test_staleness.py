"""Staleness, from scripted histories and moments."""

from datetime import UTC, datetime, timedelta

import pytest

from tlbench.record import CaseRecord
from tlbench.staleness import stale
from tlbench.storage.history import Entry

CASE = "bench_a.py::bench_b"
START = datetime(2026, 3, 1, 2, tzinfo=UTC)


def entry(when, case=CASE, outcome="passed"):
    record = CaseRecord(case=case, outcome=outcome)
    moment = when if isinstance(when, str) else when.isoformat()
    return Entry(run=f"run {moment}", when=moment, record=record, verdict="pass")


def daily(count, **options):
    return [entry(START + timedelta(days=i), **options) for i in range(count)]


def said(entries, now, **options):
    return [one.why for one in stale([CASE], entries, now, **options)]


LAST = START + timedelta(days=9)


@pytest.mark.parametrize(
    ("later", "late"),
    [
        (timedelta(hours=1), False),
        (timedelta(hours=25), False),  # today's is still running
        (timedelta(hours=36), False),
        (timedelta(hours=48), True),  # the second was missed
        (timedelta(days=300), True),
    ],
)
def test_a_case_is_stale_by_the_second_missed_run(later, late):
    found = said(daily(10), LAST + later)
    assert found == (
        [f"no good run of {CASE} since 2026-03-10 02:00 UTC"] if late else []
    )


@pytest.mark.parametrize("outcome", ["failed", "skipped", "regression", "xfailed"])
def test_a_run_that_did_not_pass_is_no_good_run(outcome):
    later = [entry(LAST + timedelta(days=i), outcome=outcome) for i in (1, 2)]
    found = said([*daily(10), *later], LAST + timedelta(days=2, hours=1))
    assert found == [f"no good run of {CASE} since 2026-03-10 02:00 UTC"]


def test_a_case_that_never_ran_is_stale():
    found = said(daily(3, case="another"), START + timedelta(days=3))
    assert found == [f"no good run of {CASE} at all"]


def test_a_weekly_job_is_given_its_weeks():
    weekly = [entry(START + timedelta(weeks=i)) for i in range(5)]
    last = START + timedelta(weeks=4)
    assert said(weekly, last + timedelta(days=8)) == []
    assert said(weekly, last + timedelta(days=14)) != []


def test_five_runs_in_a_row_make_no_rhythm_of_minutes():
    burst = [entry(START + timedelta(minutes=i)) for i in range(5)]
    assert said(burst, START + timedelta(hours=20)) == []


def test_the_rhythm_can_be_given():
    hourly = timedelta(hours=1)
    assert said(daily(1), START + timedelta(hours=2), every=hourly) != []
    assert said(daily(1), START + timedelta(hours=1), every=hourly) == []


def test_a_clock_that_went_backwards_is_reported_and_makes_nothing_fresh():
    ahead = entry(START + timedelta(days=4000))
    found = said([*daily(10), ahead], LAST + timedelta(days=3))
    assert found[0] == f"no good run of {CASE} since 2026-03-10 02:00 UTC"
    assert "a clock went backwards" in found[1]


def test_a_moment_that_is_none_counts_for_nothing():
    assert said([entry("yesterday")], START) == [f"no good run of {CASE} at all"]
    assert said([entry("2026-03-01T02:00:00")], START) == []  # taken for UTC
