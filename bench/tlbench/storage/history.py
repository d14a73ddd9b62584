"""The history of a machine: one line for every case of every saved run.

Owns the lines of `history.jsonl` and appending them whole although many processes
append at once and any of them may be killed. Reading names every damaged line and
returns the others. The order of the lines is the order of the runs, as a clock may go
backwards. Nothing is judged here, and no line is ever rewritten; `retention` folds old
ones into summaries.
"""

import json
import math
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tlbench.record import (
    SCHEMA,
    CaseRecord,
    record_from_json,
    record_to_json,
)
from tlbench.storage import documents, lines, locks, summaries
from tlbench.storage.lines import LINE_BYTES
from tlbench.storage.summaries import Summary

_OPTIONAL = {"structure", "commit", "branch", "context", "metrics", "timings", "memory"}
"""What a line leaves out if it is empty."""

_DIGITS = 6
"""Significant digits of a duration: more than any measurement is worth."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What one case left in one saved run; its exact values and costs as a digest.

    Attributes:
        run: the name of the run.
        when: its end, UTC, in ISO 8601.
        record: outcome, version, metrics, timings and memory of the case.
        verdict: the verdict on the case when it was saved.
        structure: a digest of its exact values and costs.
        commit: the commit of the repository it ran in, "" without one.
        branch: its branch, "" without one or if that is not known.
        context: facts about the machine that explain a figure and are never compared.
    """

    run: str
    when: str
    record: CaseRecord
    verdict: str
    structure: str = ""
    commit: str = ""
    branch: str = ""
    context: Mapping[str, Any] = field(default_factory=dict)

    @property
    def case(self) -> str:
        """The name of the case."""
        return self.record.case

    @property
    def is_imported(self) -> bool:
        """Whether another program saved it, which knows no version of the case."""
        return not self.structure

    @property
    def is_good(self) -> bool:
        """Whether the case passed, whatever the verdict on its figures."""
        return self.record.outcome == "passed"


@dataclass(frozen=True, kw_only=True)
class History:
    """What could be read of a history.

    Attributes:
        entries: all whole lines, in their order.
        damage: a sentence for every damaged line.
        interrupted: whether the last line is only the beginning of one, left by a
            process that was killed; the next append removes it.
        summaries: what is left of runs that are no longer kept.
    """

    entries: tuple[Entry, ...] = ()
    damage: tuple[str, ...] = ()
    interrupted: bool = False
    summaries: tuple[Summary, ...] = ()

    @property
    def timeline(self) -> Iterator[Entry | Summary]:
        """The entries in their order, and each summary before what came after it."""
        waiting = sorted(self.summaries, key=lambda one: one.when, reverse=True)
        for entry in self.entries:
            while waiting and waiting[-1].when <= entry.when:
                yield waiting.pop()
            yield entry
        yield from reversed(waiting)

    def renamed(self, aliases: Mapping[str, str]) -> "History":
        """Return the history with every case under its present name."""
        return replace(
            self,
            entries=tuple(
                replace(x, record=replace(x.record, case=current(x.case, aliases)))
                for x in self.entries
            ),
            summaries=tuple(
                replace(x, case=current(x.case, aliases)) for x in self.summaries
            ),
        )


def history_path(results: Path, machine: str) -> Path:
    """Return the path of a machine's history."""
    return results / machine / "history.jsonl"


def current(case: str, aliases: Mapping[str, str]) -> str:
    """Return the present name of a case that may have been renamed."""
    # At most as many steps as there are renames, so that a circle ends.
    for _ in range(len(aliases)):
        case = aliases.get(case, case)
    return case


def structure_of(record: CaseRecord) -> str:
    """Return a digest of the exact values and costs of a record."""
    values = json.dumps([record.exact, record.costs], sort_keys=True)
    return f"{zlib.crc32(values.encode()):08x}"


def append(path: Path, entries: Iterable[Entry]) -> None:
    """Append lines to a history: all of them or, if it fails, none.

    Raises:
        ValueError: an entry does not fit into a line.
        OSError: the file cannot be written.
    """
    data = b"".join(line(entry) for entry in entries)
    # POSIX guarantees that an append does not overwrite another one, but not that a
    # long one is written in one piece.
    with locks.alone(path), path.open("ab+") as file:
        _merge_by_union(path)
        end = _mend(file.fileno())
        try:
            _write(file.fileno(), data)
            os.fsync(file.fileno())
            if not end:  # a new file: its name must reach the disk, too
                documents.flush_folder(path.parent)
        except OSError:
            # A full disk: what was written of the lines goes, what was there stays.
            os.ftruncate(file.fileno(), end)
            raise


def _merge_by_union(path: Path) -> None:
    """Have git keep the lines of both sides: two branches that append do conflict."""
    attributes = path.parent / ".gitattributes"
    # One that is there already is the user's.
    with suppress(FileExistsError), attributes.open("x", encoding="utf-8") as file:
        file.write(f"# Written by tlbench\n{path.name} merge=union\n")


def read(path: Path) -> History:
    """Return a history; without a file it is empty.

    Raises:
        ValueError: a line is of a newer schema.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return History()
    whole = data.split(b"\n")
    tail = whole.pop()
    found: list[Entry | Summary] = []
    damage = []
    for number, text in enumerate(whole, 1):
        if documents.is_marker(text):
            damage.append(
                f"{path} line {number} is a conflict marker of a merge. Remove the "
                "markers and keep the lines of both sides: each is one run of one case."
            )
            continue
        try:
            found.append(parse(text, path))
        except documents.NewerError:
            raise
        except documents.DAMAGE as error:
            damage.append(
                f"{path} line {number} is damaged ({documents.reason(error)}). "
                "Restore it, for instance from version control, or remove the line."
            )
    # Only the newline may be missing, from a kill between two writes or from an editor.
    interrupted = bool(tail)
    if tail and _is_whole(tail, path):
        found.append(parse(tail, path))
        interrupted = False
    return History(
        entries=tuple(x for x in found if isinstance(x, Entry)),
        damage=tuple(damage),
        interrupted=interrupted,
        summaries=tuple(x for x in found if isinstance(x, Summary)),
    )


def line(entry: Entry) -> bytes:
    """Return an entry as a line, without its samples if it would be too long.

    Raises:
        ValueError: it is still too long.
    """
    # What goes first is what no verdict needs: the samples around a median, then the
    # context.
    for shorter in (entry, _without_samples(entry), _bare(entry)):
        data = _encoded(shorter)
        if len(data) <= LINE_BYTES:
            return data
    raise ValueError(
        f"A case must fit into a line of {LINE_BYTES} bytes. "
        f"Received: {len(data)} bytes of {entry.case[:60]}. Shorten its name, "
        "or record less in one case."
    )


def _encoded(entry: Entry) -> bytes:
    record = record_to_json(entry.record)
    document = {
        "schema": SCHEMA,
        "run": entry.run,
        "when": entry.when,
        "case": entry.case,
        "verdict": entry.verdict,
        "structure": entry.structure,
        "commit": entry.commit,
        "branch": entry.branch,
        "context": dict(entry.context),
        **{
            key: record[key]
            for key in ("outcome", "version", "metrics", "timings", "memory")
        },
    }
    document = {k: v for k, v in document.items() if v or k not in _OPTIONAL}
    return lines.encoded(document)


def parse(data: bytes, path: Path) -> Entry | Summary:
    """Return what a line of the file `path` holds.

    Raises:
        ValueError: it is of a newer schema.
        ValueError, KeyError, TypeError and their like (`documents.DAMAGE`): it is
            damaged.
    """
    document = lines.decoded(data)
    summary, schema = summaries.is_summary(document), document["schema"]
    if isinstance(schema, int):
        # Before the checksum, which a newer version may calculate differently.
        known = summaries.SCHEMA if summary else SCHEMA
        documents.check_schema(schema, path, known)
    lines.check(document)
    return summaries.summary_of(document) if summary else _entry(document)


def _entry(document: Mapping[str, Any]) -> Entry:
    text = documents.text
    return Entry(
        run=text(document["run"]),
        when=text(document["when"]),
        record=record_from_json(
            text(document["case"]),
            # A line has no exact values, and leaves out what is empty.
            {"exact": {}, "metrics": {}, "timings": {}, **document},
        ),
        verdict=text(document["verdict"]),
        structure=text(document.get("structure", "")),
        commit=text(document.get("commit", "")),
        branch=text(document.get("branch", "")),
        context=documents.mapping(document.get("context", {})),
    )


def _is_whole(data: bytes, path: Path) -> bool:
    try:
        parse(data, path)
    except documents.NewerError:
        return True
    except documents.DAMAGE:
        return False
    return True


def _mend(file: int) -> int:
    """Complete the last line, or remove it if it is only a beginning; return the end.

    A process that was killed while it wrote leaves a part of its lines. Whole lines are
    valid; of the last one nothing can be used, and the next line must not be joined to
    it.
    """
    # No line of ours is longer than LINE_BYTES, so that a large history costs no more
    # to append to than a small one.
    end = os.lseek(file, 0, os.SEEK_END)
    start = max(0, end - LINE_BYTES)
    last = os.pread(file, end - start, start)
    if not last or last.endswith(b"\n"):
        return end
    tail = last.rpartition(b"\n")[2]
    if len(tail) == LINE_BYTES:
        return end + _write(file, b"\n")  # no line of ours: it is not ours to remove
    if _is_whole(tail, Path("history.jsonl")):
        return end + _write(file, b"\n")
    os.ftruncate(file, end - len(tail))
    return end - len(tail)


def _write(file: int, data: bytes) -> int:
    # `os.write` may write only a part, on a full disk or after a signal.
    left = memoryview(data)
    while left:
        left = left[os.write(file, left) :]
    return len(data)


def _without_samples(entry: Entry) -> Entry:
    timings = {
        name: replace(timing, seconds=timing.seconds[:1], warmup=())
        for name, timing in entry.record.timings.items()
    }
    return replace(entry, record=replace(entry.record, timings=timings))


def _bare(entry: Entry) -> Entry:
    return replace(_without_samples(entry), context={})


def rounded(record: CaseRecord) -> CaseRecord:
    """Return a record with its durations in the precision of a line."""
    timings = {
        name: replace(
            timing,
            seconds=_rounded(timing.seconds),
            median=rounded_number(timing.median),
            warmup=_rounded(timing.warmup),
            cpu=None if timing.cpu is None else rounded_number(timing.cpu),
        )
        for name, timing in record.timings.items()
    }
    return replace(record, timings=timings)


def _rounded(values: Sequence[float]) -> tuple[float, ...]:
    return tuple(map(rounded_number, values))


def rounded_number(value: float) -> float:
    """Return a figure in the precision of a line."""
    if value == 0:
        return value
    return round(value, _DIGITS - 1 - math.floor(math.log10(abs(value))))
