"""Union: the lines of two histories of one machine, each once.

Owns their order: that of the other history, with the lines it lacks where their time
puts them. Lines are not judged: a damaged one, or one of a newer version, is kept as it
is. Only the beginning of a line, left by a process that was killed, goes, and a line
that a summary stands for.
"""

import heapq
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tlbench.storage import documents, locks, summaries

_NEVER = datetime.min.replace(tzinfo=UTC)


def merged(ours: bytes, theirs: bytes) -> bytes:
    """Return the lines of two histories, each once, in the order of their times.

    Lines that both have stay in the order of `theirs`; no side's own order changes,
    as a clock may go backwards.
    """
    known = dict.fromkeys(lines(theirs))
    fresh = [line for line in lines(ours) if line not in known]
    # It takes the lines of each side in their order, also where a time goes backwards;
    # of two equal times, theirs come first.
    found = list(heapq.merge(known, fresh, key=_when))
    gone = _folded(found)
    return b"".join(line + b"\n" for line in found if line not in gone)


def merge_into(path: Path, theirs: bytes) -> None:
    """Add the lines of another history to one in a file, whole or not at all.

    Raises:
        OSError: the file cannot be read or written.
    """
    # Under the lock of those that append: what a session saves meanwhile stays.
    with locks.alone(path):
        ours = path.read_bytes() if path.exists() else b""
        data = merged(ours, theirs)
        if data != ours:
            documents.write_bytes(path, data)


def lines(data: bytes) -> list[bytes]:
    """Return the lines of a history, each once, without the beginning of a last one."""
    found = data.split(b"\n")
    tail = found.pop()
    if _document(tail) is not None:
        found.append(tail)
    return list(dict.fromkeys(line for line in found if line))


def _folded(found: Sequence[bytes]) -> set[bytes]:
    """Return the lines that a summary among them stands for."""
    summed: dict[str, dict[bytes, frozenset[str]]] = {}
    for line in found:
        document = _document(line)
        if document is not None and summaries.is_summary(document):
            with suppress(*documents.DAMAGE):
                parts = summed.setdefault(document["case"], {})
                parts[line] = summaries.checksums(document)
    return {line for line in found if summed and _is_folded(line, summed)}


def _is_folded(
    line: bytes, summed: Mapping[str, Mapping[bytes, frozenset[str]]]
) -> bool:
    document = _document(line) or {}
    parts = summed.get(str(document.get("case")), {})
    own = parts.get(line)
    if own is None:
        return any(str(document.get("crc")) in part for part in parts.values())
    # A summary of fewer runs goes too; of two of the same runs one stays.
    return any(
        own < part or (own == part and line > other) for other, part in parts.items()
    )


def _when(line: bytes) -> datetime:
    return moment((_document(line) or {}).get("when")) or _NEVER


def moment(when: object) -> datetime | None:
    """Return the time in a line, in UTC if it names no zone; None if it is none."""
    try:
        found = datetime.fromisoformat(str(when))
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _document(line: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
