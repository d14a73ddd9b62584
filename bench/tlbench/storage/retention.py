"""Retention: runs that are older than somebody wants to keep become summaries.

Owns which lines are folded: those that are old enough, and neither accepted, nor an
anchor, nor the newest good run of their case, which tells when it last ran. A history
is replaced whole or not at all, so that a process that is killed loses nothing.
"""

import statistics
from collections.abc import Iterator, Mapping, Sequence, Set
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tlbench.storage import documents, history, lines, locks, summaries, union
from tlbench.storage.baselines import MachineBaseline
from tlbench.storage.history import Entry
from tlbench.storage.summaries import Fold, Summary
from tlbench.verdicts.figures import mean, proportions_of, series_of

_NORMAL = 1.4826
"""The standard deviation of normal noise, in median absolute deviations."""

_MOST_FOLDED = 128
"""How many runs a line can name; a month with more gets several."""


def check_days(days: int) -> None:
    """Refuse a number of days that would fold the runs of today.

    Raises:
        ValueError: it is below 1.
    """
    if days < 1:
        raise ValueError(
            "--keep-days must be 1 or more. "
            f"Received: keep_days={days}. Pass for instance --keep-days 365."
        )


def pinned(
    figures: Mapping[str, MachineBaseline], aliases: Mapping[str, str]
) -> dict[str, Set[str]]:
    """Return, by case, the runs that are accepted or an anchor.

    Cases that were renamed are there by their old names too, as lines keep theirs.
    """
    found: dict[str, Set[str]] = {
        case: {
            run
            for series in (*x.figures.series.values(), *x.figures.anchor.values())
            for run in series
        }
        | {run for values in x.figures.metrics.values() for run, _, _ in values}
        for case, x in figures.items()
    }
    old = {case: history.current(case, aliases) for case in aliases}
    return found | {case: found.get(new, set()) for case, new in old.items()}


def folded(
    data: bytes, kept: Mapping[str, Set[str]], *, days: int, now: datetime
) -> bytes:
    """Return a history whose old runs are summaries.

    Args:
        data: the content of the history.
        kept: by case, the runs that stay in any event.
        days: runs that ended more days ago are old.
        now: the present time, with its time zone.
    """
    before = now - timedelta(days=days)
    found = union.lines(data)
    entries = {line: entry for line in found if (entry := _entry(line)) is not None}
    newest = {x.case: x.run for x in entries.values() if x.is_good}
    groups: dict[tuple[str, str], list[bytes]] = {}
    for line, entry in entries.items():
        when = union.moment(entry.when)
        stays = entry.run in kept.get(entry.case, ()) or newest.get(entry.case) == (
            entry.run
        )
        if when is not None and when < before and not stays:
            month = f"{when.astimezone(UTC):%Y-%m}"
            groups.setdefault((entry.case, month), []).append(line)
    # In place of the last line of each part, where its time belongs.
    instead: dict[bytes, bytes] = {}
    for group in groups.values():
        for start in range(0, len(group), _MOST_FOLDED):
            part = group[start : start + _MOST_FOLDED]
            summary = _summary(part, [entries[line] for line in part])
            text = summaries.line(summary)
            if len(text) > lines.LINE_BYTES:
                continue  # too many series for a line: they stay as they are
            instead |= dict.fromkeys(part[:-1], b"") | {part[-1]: text}
    if not instead:
        return data
    return b"".join(instead.get(line, line + b"\n") for line in found)


def fold(path: Path, kept: Mapping[str, Set[str]], *, days: int, now: datetime) -> int:
    """Fold the old runs in a file, whole or not at all; return how many lines went.

    Raises:
        OSError: the file cannot be read or written.
    """
    with locks.alone(path):
        data = path.read_bytes()
        left = folded(data, kept, days=days, now=now)
        if left != data:
            documents.write_bytes(path, left)
    return data.count(b"\n") - left.count(b"\n")


def _entry(line: bytes) -> Entry | None:
    """Return the run of a line; None for a summary, a damaged or a newer line."""
    try:
        found = history.parse(line, Path("history.jsonl"))
    except documents.DAMAGE:
        return None
    return found if isinstance(found, Entry) else None


def _summary(part: Sequence[bytes], entries: Sequence[Entry]) -> Summary:
    values: dict[tuple[str, str], list[float]] = {}
    for entry in entries:
        for name, unit, value in values_of(entry) if entry.is_good else ():
            values.setdefault((name, unit), []).append(value)
    words = [entry.verdict for entry in entries]
    ends = sorted(entry.when for entry in entries)
    return Summary(
        case=entries[0].case,
        since=ends[0],
        when=ends[-1],
        runs=len(entries),
        verdicts={word: words.count(word) for word in set(words)},
        series={name: _fold(numbers, unit) for (name, unit), numbers in values.items()},
        folded=frozenset(str(lines.decoded(line)["crc"]) for line in part),
    )


def values_of(entry: Entry) -> Iterator[tuple[str, str, float]]:
    """Yield the name, the unit and the value of each series and metric of a run."""
    for name, one in series_of(entry.record).items():
        yield name, one.unit, one.value
    for name, seeds in proportions_of(entry.record).items():
        yield name, "", mean(seeds)


def _fold(values: Sequence[float], unit: str) -> Fold:
    median = statistics.median(values)
    distances = [abs(value - median) for value in values]
    return Fold(
        median=history.rounded_number(median),
        spread=history.rounded_number(_NORMAL * statistics.median(distances)),
        runs=len(values),
        unit=unit,
    )
