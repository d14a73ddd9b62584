"""Staleness: which cases have had no good run for too long.

A pure function of a machine's history and a time, so that a scheduled job that died is
noticed from the files alone, on any machine. It reads no clock.
"""

import itertools
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from tlbench.storage.history import Entry

SHORTEST = timedelta(hours=24)
"""The shortest interval that a job is assumed to run at.

Five runs in a row, as a first acceptance needs them, are no job of every five minutes.
"""

MISSED = 1.75
"""How many intervals without a good run are too many.

Below 2, so that a case is stale soon after its second run was missed; well above 1, as
a run takes its time, and a machine may be late.
"""

_RECENT = 20
"""How many runs, the newest, the interval of a job is estimated from."""


@dataclass(frozen=True, kw_only=True)
class Stale:
    """A case that has had no good run for too long, and since when."""

    case: str
    why: str


def stale(
    cases: Iterable[str],
    entries: Sequence[Entry],
    now: datetime,
    *,
    every: timedelta | None = None,
) -> tuple[Stale, ...]:
    """Return the cases that have had no good run for too long.

    Args:
        cases: those that should run.
        entries: the history of one machine, the oldest first.
        now: the present time, with its time zone.
        every: how often the job should run; by default the median interval of the
            history, but at least a day.
    """
    moments = [(entry, _moment(entry.when)) for entry in entries]
    rhythm = every or _rhythm(moments)
    found = []
    future = [entry for entry, when in moments if when is not None and when > now]
    # The newest by date, not by place: the clock of a machine may have gone backwards.
    good: dict[str, datetime] = {}
    for entry, when in moments:
        if entry.is_good and when is not None and when <= now:
            good[entry.case] = max(when, good.get(entry.case, when))
    for case in sorted(set(cases)):
        last = good.get(case)
        if last is None:
            found.append(Stale(case=case, why=f"no good run of {case} at all"))
        elif now - last >= MISSED * rhythm:
            why = f"no good run of {case} since {last:%Y-%m-%d %H:%M} UTC"
            found.append(Stale(case=case, why=why))
    if future:
        newest = future[-1]
        why = (
            f"run {newest.run} is dated {newest.when}, which is in the future: "
            "a clock went backwards"
        )
        found.append(Stale(case=newest.case, why=why))
    return tuple(found)


def _moment(when: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(when)
    except ValueError:
        return None
    # Written in UTC; what an import brought may lack the zone.
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _rhythm(moments: Sequence[tuple[Entry, datetime | None]]) -> timedelta:
    # One time for each run, however many cases it has; the median gap, as jobs pause.
    runs = {entry.run: when for entry, when in moments if when is not None}
    times = sorted(runs.values())[-_RECENT:]
    gaps = [(b - a).total_seconds() for a, b in itertools.pairwise(times)]
    return (
        max(SHORTEST, timedelta(seconds=statistics.median(gaps))) if gaps else SHORTEST
    )
