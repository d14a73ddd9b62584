"""The history of a machine: one line for every case of every saved run.

Owns the lines of `history.jsonl`, their checksums, appending them whole although many
processes do so at once and any of them may be killed, and reading them back with what
is damaged named. The order of the lines is the order of the runs; a clock may go
backwards. Nothing is judged here, and no line is ever rewritten.
"""

import json
import math
import os
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from filelock import FileLock

from tlbench.record import (
    SCHEMA,
    CaseRecord,
    Timing,
    record_from_json,
    record_to_json,
)

LINE_BYTES = 2048
"""The most that a line holds, its end included."""

_OPTIONAL = {"structure", "commit", "context", "metrics", "timings", "memory"}
"""What a line leaves out where it is empty."""

_DIGITS = 6
"""Significant digits of a duration: more than any clock means."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What one case left in one saved run; its exact values and costs as a digest.

    Attributes:
        run: the name of the run.
        when: its end, UTC, in ISO 8601.
        record: outcome, version, metrics, timings and memory of the case.
        verdict: on the case, when it was saved.
        structure: a digest of its exact values and costs.
        commit: of the repository it ran in, if there was one.
        context: of the machine; explains, and is never compared.
    """

    run: str
    when: str
    record: CaseRecord
    verdict: str
    structure: str = ""
    commit: str = ""
    context: Mapping[str, Any] = field(default_factory=dict)

    @property
    def case(self) -> str:
        """The case."""
        return self.record.case

    @property
    def is_good(self) -> bool:
        """Whether the case passed, whatever was found about its figures."""
        return self.record.outcome == "passed"


@dataclass(frozen=True, kw_only=True)
class History:
    """What could be read of a history.

    Attributes:
        entries: of all whole lines, in their order.
        damage: a sentence for every line that is not whole.
        interrupted: whether the last line is the beginning of one, as a process that
            was killed leaves it; the next append takes it away.
    """

    entries: tuple[Entry, ...] = ()
    damage: tuple[str, ...] = ()
    interrupted: bool = False

    def renamed(self, aliases: Mapping[str, str]) -> "History":
        """Return the history with the cases under the names they have now."""
        return replace(
            self,
            entries=tuple(
                replace(
                    entry,
                    record=replace(
                        entry.record, case=current(entry.record.case, aliases)
                    ),
                )
                for entry in self.entries
            ),
        )


def history_path(results: Path, machine: str) -> Path:
    """Give the file of a machine's history."""
    return results / machine / "history.jsonl"


def current(case: str, aliases: Mapping[str, str]) -> str:
    """Return the name that a case has now."""
    for _ in range(len(aliases)):
        case = aliases.get(case, case)
    return case


def structure_of(record: CaseRecord) -> str:
    """Return a digest of the exact values and costs of a record."""
    values = json.dumps([record.exact, record.costs], sort_keys=True)
    return f"{zlib.crc32(values.encode()):08x}"


def append(path: Path, entries: Iterable[Entry]) -> None:
    """Append lines to a history, all of them or, if it fails, none.

    Raises:
        ValueError: an entry does not fit into a line.
        OSError: the file cannot be written.
    """
    data = b"".join(line(entry) for entry in entries)
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(f".{path.name}.lock")), path.open("ab+") as file:
        end = _mend(file.fileno())
        try:
            _write(file.fileno(), data)
            os.fsync(file.fileno())
        except OSError:
            os.ftruncate(file.fileno(), end)
            raise


def read(path: Path) -> History:
    """Read a history; a missing file is an empty one.

    Raises:
        ValueError: a line is of a newer schema.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return History()
    lines = data.split(b"\n")
    tail = lines.pop()
    entries, damage = [], []
    for number, text in enumerate(lines, 1):
        try:
            entries.append(_entry(text, path))
        except _NewerError:
            raise
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as e:
            why = f"no {e}" if isinstance(e, KeyError) else str(e)
            damage.append(
                f"{path} line {number} is damaged ({why}). "
                "Restore it, for instance from version control, or remove the line."
            )
    interrupted = bool(tail)
    if tail and _is_whole(tail, path):
        entries.append(_entry(tail, path))
        interrupted = False
    return History(
        entries=tuple(entries), damage=tuple(damage), interrupted=interrupted
    )


def line(entry: Entry) -> bytes:
    """Return an entry as a line; of one that is too long the samples are left out.

    Raises:
        ValueError: it is still too long.
    """
    for shorter in (entry, _without_samples(entry), _bare(entry)):
        data = _encoded(shorter)
        if len(data) <= LINE_BYTES:
            return data
    raise ValueError(
        f"A case must fit into a line of {LINE_BYTES} bytes. "
        f"Received: {len(data)} bytes of {entry.case}. Record less in one case."
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
        "context": dict(entry.context),
        **{
            key: record[key]
            for key in ("outcome", "version", "metrics", "timings", "memory")
        },
    }
    document = {k: v for k, v in document.items() if v or k not in _OPTIONAL}
    text = _text(document)
    return f'{text[:-1]},"crc":"{_checksum(text)}"}}\n'.encode()


def _entry(data: bytes, path: Path) -> Entry:
    text = data.decode("utf-8")
    document = json.loads(text)
    schema = document["schema"]
    if isinstance(schema, int) and schema > SCHEMA:
        raise _NewerError(
            f"{path} must have schema {SCHEMA} or older. Received: schema={schema}. "
            "Install a newer tlbench to read it."
        )
    checksum = document.pop("crc")
    if checksum != _checksum(_text(document)):
        raise ValueError("its checksum does not match")
    return Entry(
        run=document["run"],
        when=document["when"],
        record=record_from_json(
            document["case"],
            {"exact": {}, "metrics": {}, "timings": {}, **document},
        ),
        verdict=document["verdict"],
        structure=document.get("structure", ""),
        commit=document.get("commit", ""),
        context=document.get("context", {}),
    )


class _NewerError(ValueError):
    """A line that a newer version wrote."""


def _text(document: Mapping[str, Any]) -> str:
    return json.dumps(
        document, ensure_ascii=False, allow_nan=False, separators=(",", ":")
    )


def _checksum(text: str) -> str:
    return f"{zlib.crc32(text.encode()):08x}"


def _is_whole(data: bytes, path: Path) -> bool:
    try:
        _entry(data, path)
    except _NewerError:
        return True
    except (ValueError, KeyError, TypeError, AttributeError):
        return False
    return True


def _mend(file: int) -> int:
    """End the last line, or take it away if it is but a beginning; return the end."""
    end = os.lseek(file, 0, os.SEEK_END)
    start = max(0, end - LINE_BYTES)
    last = os.pread(file, end - start, start)
    if not last or last.endswith(b"\n"):
        return end
    tail = last.rpartition(b"\n")[2]
    if len(tail) == LINE_BYTES:
        return end + _write(file, b"\n")  # too long for one of ours
    if _is_whole(tail, Path("history.jsonl")):
        return end + _write(file, b"\n")
    os.ftruncate(file, end - len(tail))
    return end - len(tail)


def _write(file: int, data: bytes) -> int:
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
    """Return a record with its durations in as many digits as a line holds."""
    timings = {
        name: Timing(
            seconds=_rounded(timing.seconds),
            median=_round(timing.median),
            count=timing.count,
            warmup=_rounded(timing.warmup),
        )
        for name, timing in record.timings.items()
    }
    return replace(record, timings=timings)


def _rounded(values: Sequence[float]) -> tuple[float, ...]:
    return tuple(map(_round, values))


def _round(value: float) -> float:
    if value == 0:
        return value
    return round(value, _DIGITS - 1 - math.floor(math.log10(abs(value))))
