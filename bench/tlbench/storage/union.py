"""Union: the lines of two histories of one machine, each once.

Owns their order: that of the other history, with the lines it lacks where their time
puts them. Lines are not judged: a damaged one, or one of a newer version, is kept as it
is. Only the beginning of a line, left by a process that was killed, goes.
"""

import heapq
import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tlbench.storage import documents, locks

_NEVER = datetime.min.replace(tzinfo=UTC)


def merged(ours: bytes, theirs: bytes) -> bytes:
    """Return the lines of two histories, each once, in the order of their times.

    Lines that both have stay in the order of `theirs`; no side's own order changes,
    as a clock may go backwards.
    """
    known = dict.fromkeys(lines(theirs))
    dated = ((_dated(list(known))), _dated([x for x in lines(ours) if x not in known]))
    # `merge` is stable: of two equal times, theirs come first.
    found = [line for _, line in heapq.merge(*dated, key=lambda one: one[0])]
    return b"".join(line + b"\n" for line in found)


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


def _dated(found: Sequence[bytes]) -> Iterator[tuple[datetime, bytes]]:
    """Yield lines with times that never go backwards, so that none moves."""
    latest = _NEVER
    for line in found:
        latest = max(latest, _when(line))
        yield latest, line


def _when(line: bytes) -> datetime:
    document = _document(line)
    try:
        when = datetime.fromisoformat((document or {})["when"])
    except (KeyError, TypeError, ValueError):
        return _NEVER
    return when if when.tzinfo else when.replace(tzinfo=UTC)


def _document(line: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
