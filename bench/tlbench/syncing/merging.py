"""Merging: the results of two sides become one, entry by entry.

Owns which entry of an accepted file stays where both sides have one: the only one that
changed since the last sync, else the newest acceptance; and the refusal where both
sides changed the same. Histories are unions of their lines (`storage.union`). Pure
functions on the content of files: no git, no disk.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from tlbench.storage import documents, union
from tlbench.storage.baselines import parse_accepted, parse_figures
from tlbench.storage.machines import parse_machine
from tlbench.storage.published import parse_published

Files: TypeAlias = Mapping[str, bytes]
"""Files of results by their path, such as "any/accepted.json"."""

Key: TypeAlias = tuple[str, str]
"""An entry of a file: its section and its name."""

Digests: TypeAlias = Mapping[str, Mapping[str, str]]
"""By file, what the entries were at the last sync: digests by section and name."""

Take: TypeAlias = Literal["local", "remote"]

HISTORY = "history.jsonl"

_SHOWN = 80
"""How many characters of an entry without an acceptance stand in a refusal."""


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What two sides are merged by.

    Attributes:
        branch: the name of the other side, for readers.
        base: what both had at the last sync; None if there was none.
        take: the side that wins where both changed the same; None to refuse.
    """

    branch: str = "the branch"
    base: Digests | None = None
    take: Take | None = None


def is_known(path: str) -> bool:
    """Tell whether a path is one of the files that are synced.

    >>> is_known("any/accepted.json"), is_known("README.md"), is_known("any/x.json")
    (True, False, False)
    """
    folder, _, name = path.partition("/")
    kinds = _PARSERS["any" if folder == "any" else ""]
    return name in kinds or (name == HISTORY and folder != "any")


def merge(local: Files, remote: Files, terms: Terms) -> dict[str, bytes]:
    """Return the files of both sides.

    A file that one side lacks says nothing: the other side's is taken.

    Raises:
        ValueError: a file is damaged or of a newer schema, or both sides changed the
            same entry.
    """
    conflicts: list[str] = []
    found = {}
    for path in sorted({*local, *remote}):
        ours, theirs = local.get(path), remote.get(path)
        for data, where in ((ours, Path(path)), (theirs, Path(terms.branch, path))):
            if data is not None:
                _check(data, path, where)
        if ours is None or theirs is None or ours == theirs:
            one = theirs if ours is None else ours
            found[path] = one or b""
        elif path.endswith(f"/{HISTORY}"):
            found[path] = union.merged(ours, theirs)
        elif path.endswith("/machine.json"):
            found[path] = theirs  # the same identity, or it would have another name
        else:
            found[path] = _merged(path, ours, theirs, terms, conflicts)
    if conflicts:
        first, *others = conflicts
        more = f", and {len(others)} more such entries" if others else ""
        raise ValueError(
            "An entry must have been changed on one side only since the last sync. "
            f"Received: {first}{more}. Pass --take remote to keep what is on the "
            "branch, or --take local to replace it."
        )
    return found


def digests(files: Files) -> dict[str, dict[str, str]]:
    """Return digests of the entries of files, by which the next sync sees changes."""
    return {
        path: {_joined(key): _digest(x) for key, x in _entries(_document(data)).items()}
        for path, data in files.items()
        if not path.endswith(f"/{HISTORY}")
    }


def _check(data: bytes, path: str, where: Path) -> None:
    folder, _, name = path.partition("/")
    parse = _PARSERS["any" if folder == "any" else ""].get(name)
    if parse is not None:
        parse(data, where)


def _merged(
    path: str, ours: bytes, theirs: bytes, terms: Terms, conflicts: list[str]
) -> bytes:
    left, right = _document(ours), _document(theirs)
    mine, other = _entries(left), _entries(right)
    base = None if terms.base is None else terms.base.get(path, {})
    kept: dict[Key, Any] = {}
    for key in {**other, **mine}:
        before = None if base is None else base.get(_joined(key), "")
        pair = mine.get(key), other.get(key)
        chosen = _chosen(*pair, before, terms.take)
        if chosen == "both":
            conflicts.append(
                f"{key[1]!r} in {path}, {_how(pair[0])} here and {_how(pair[1])} on "
                f"{terms.branch}"
            )
        elif chosen != "none":
            kept[key] = pair[chosen == "remote"]
    # One side as it is, if nothing of the other is new: its bytes do not change.
    if kept == other:
        return theirs
    if kept == mine:
        return ours
    schema = max(left["schema"], right["schema"])
    return documents.encode(_rebuilt({**right, **left}, kept, schema)).encode()


def _chosen(
    mine: Any, other: Any, before: str | None, take: Take | None
) -> Literal["local", "remote", "none", "both"]:
    """Return whose entry stays.

    Args:
        mine: the entry here; None if there is none.
        other: that of the other side.
        before: its digest at the last sync, "" if it was not there; None if there was
            no sync.
        take: the side that wins where both changed it.
    """
    if mine is None or other is None:
        only = other if mine is None else mine
        # As it was: the other side removed it since.
        if _digest(only) == before:
            return "none"
        return "remote" if mine is None else "local"
    if mine == other or _digest(mine) == before:
        return "remote"
    if _digest(other) == before:
        return "local"
    if take is None and before is None and _when(mine) != _when(other):
        # Never synced from here: nobody has decided against the other one.
        return "local" if _when(mine) > _when(other) else "remote"
    return take or "both"


def _entries(document: Mapping[str, Any]) -> dict[Key, Any]:
    """Return the entries of a document, whatever sections it has."""
    found: dict[Key, Any] = {}
    for section, value in document.items():
        if isinstance(value, dict):
            found |= {(section, name): x for name, x in value.items()}
        elif isinstance(value, list):
            found |= {(section, _title(x)): x for x in value}
    return found


def _rebuilt(
    like: Mapping[str, Any], kept: Mapping[Key, Any], schema: int
) -> dict[str, Any]:
    document: dict[str, Any] = {}
    for section, value in like.items():
        ours = {name: x for (part, name), x in kept.items() if part == section}
        if isinstance(value, dict):
            document[section] = ours
        elif isinstance(value, list):
            document[section] = list(ours.values())
        else:
            document[section] = value
    return {**document, "schema": schema}


def _title(entry: Any) -> str:
    """Return what names an entry of a list: a published figure, by what it is about."""
    names = ("work", "figure", "case", "name")
    return ", ".join(str(entry[name]) for name in names if name in entry)


def _how(entry: Any) -> str:
    accepted = _accepted(entry)
    if not accepted:
        return json.dumps(entry, ensure_ascii=False)[:_SHOWN]
    return f"accepted {accepted['when']} by {accepted['by']} ({accepted['reason']})"


def _when(entry: Any) -> str:
    return str(_accepted(entry).get("when", ""))


def _accepted(entry: Any) -> Mapping[str, str]:
    found: Mapping[str, str] = {}
    if isinstance(entry, dict):
        found = entry.get("accepted", found)
    return found


def _joined(key: Key) -> str:
    return "\n".join(key)


def _document(data: bytes) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(data)
    return found


def _digest(entry: Any) -> str:
    content = json.dumps(entry, sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


_PARSERS: Mapping[str, Mapping[str, Callable[[bytes, Path], object]]] = {
    "any": {"accepted.json": parse_accepted, "published.json": parse_published},
    "": {"accepted.json": parse_figures, "machine.json": parse_machine},
}
"""How the files of a folder are checked: those for all machines, and of one."""
