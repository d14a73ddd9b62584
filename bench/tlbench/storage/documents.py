"""JSON documents: read with a schema and a reason, written whole or not at all.

Owns the refusal of damaged documents, of newer ones and of entries that were edited by
hand, and the one way a file under `results/` is written. What a document holds is in
the modules that own the files.
"""

import hashlib
import json
import math
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from tlbench.record import SCHEMA

_Value = TypeVar("_Value")


def read(path: Path, build: Callable[[Mapping[str, Any]], _Value]) -> _Value | None:
    """Build a value from the JSON document in a file; None where there is no file.

    Raises:
        ValueError: the file is damaged or of a newer schema.
        OSError: the file cannot be read.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    return parse(data, path, build)


def parse(
    data: bytes, path: Path, build: Callable[[Mapping[str, Any]], _Value]
) -> _Value:
    """Build a value from the JSON document `data`, the content of the file `path`."""
    try:
        document = json.loads(data, object_pairs_hook=_distinct)
        schema = _schema(document)
        if schema <= SCHEMA:
            return build(document)
    except (
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        RecursionError,
    ) as error:
        why = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise ValueError(
            f"{path} must be a whole tlbench file. Received: a damaged one ({why}). "
            "Restore it, for instance from version control."
        ) from error
    raise ValueError(
        f"{path} must have schema {SCHEMA} or older. Received: schema={schema}. "
        "Install a newer tlbench to read it."
    )


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # A merge can leave one case twice; JSON readers would take the last silently.
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{twice!r} stands twice")
    return found


def _schema(document: Mapping[str, Any]) -> int:
    schema = document["schema"]
    if isinstance(schema, bool) or not isinstance(schema, int) or schema < 1:
        raise ValueError(f"schema={schema!r}")
    return schema


def text(value: object) -> str:
    """Return a value that must be a text; TypeError if it is not."""
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def number(value: object) -> float:
    """Return a value that must be a finite number; TypeError or ValueError if not."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{value!r} is no number")
    if not math.isfinite(value):
        raise ValueError(f"{value!r} is not finite")
    return float(value)


def encode(document: Mapping[str, Any], *, sort: bool = True) -> str:
    """Return a document as the text of a file, by default with sorted keys."""
    return json.dumps(document, indent=2, sort_keys=sort, allow_nan=False) + "\n"


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all, its folder too where there is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
    try:
        # "x" makes a new file with the permissions that the umask grants.
        with aside.open("x", encoding="utf-8", newline="\n") as file:
            file.write(text)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def with_digests(cases: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Give every case a digest of what was accepted of it."""
    return {
        case: {**entry, "digest": _digest(case, entry)} for case, entry in cases.items()
    }


def check_digests(document: Mapping[str, Any]) -> None:
    """Refuse a case that was edited by hand; before schema 2 there were no digests."""
    for case, entry in document["cases"].items():
        content = {key: value for key, value in entry.items() if key != "digest"}
        if document["schema"] > 1 and entry["digest"] != _digest(case, content):
            raise ValueError(f"{case!r} was changed by hand")


def _digest(case: str, entry: Mapping[str, Any]) -> str:
    content = json.dumps([case, entry], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:16]
