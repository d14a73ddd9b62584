"""JSON documents: read with a check of their schema, written whole or not at all.

Owns the refusal of damaged documents, of newer ones and of entries that were edited by
hand, and the one way that a file under `results/` is written. What a document holds is
up to the modules that own the files.
"""

import hashlib
import json
import os
import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from tlbench.record import LARGEST_FIGURE, SCHEMA

_Value = TypeVar("_Value")

DAMAGE = (
    *(ValueError, KeyError, TypeError, AttributeError, RecursionError),
    *(OverflowError, IndexError),
)
"""What is raised by building a value from a document that has another form.

The builders check what could be wrong silently, and otherwise just index and convert:
turning these into one sentence here is shorter than a schema, and names what is wrong.
"""


_MARKERS = (b"<<<<<<< ", b">>>>>>> ", b"||||||| ")
"""What git begins the lines with that it puts around the two sides of a conflict."""


class NewerError(ValueError):
    """A document that a newer version wrote."""


def reason(error: BaseException) -> str:
    """Return in words what one of the errors in `DAMAGE` found."""
    return f"no {error}" if isinstance(error, KeyError) else str(error)


def check_schema(schema: int, path: Path, known: int = SCHEMA) -> None:
    """Raise NewerError if a document is of a newer schema than this version knows."""
    if schema > known:
        raise NewerError(
            f"{path} must have schema {known} or older. Received: schema={schema}. "
            "Install a newer tlbench to read it."
        )


def is_marker(line: bytes) -> bool:
    """Tell whether a line is a conflict marker that git left in a file."""
    # The one in the middle has nothing after it; JSON has no such line.
    return line.rstrip() == b"=======" or line.startswith(_MARKERS)


def read(path: Path, build: Callable[[Mapping[str, Any]], _Value]) -> _Value | None:
    """Build a value from the JSON document in a file; None if there is no file.

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
    """Build a value from a JSON document, the content of the file `path`.

    Raises:
        ValueError: the document is damaged or of a newer schema.
    """
    if any(map(is_marker, data.splitlines())):
        raise ValueError(
            f"{path} must be a whole tlbench file. Received: one with the conflict "
            "markers of a merge. Take the file of one side, for instance with "
            "`git checkout --ours`, and accept again what the other side accepted."
        )
    try:
        document = json.loads(data, object_pairs_hook=_distinct)
        check_schema(_schema(document), path)
        return build(document)
    except NewerError:
        raise
    except DAMAGE as error:
        raise ValueError(
            f"{path} must be a whole tlbench file. Received: a damaged one "
            f"({reason(error)}). Restore it, for instance from version control."
        ) from error


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # A merge can leave one case twice, of which JSON readers silently take the last.
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{twice!r} is there twice")
    return found


def _schema(document: Mapping[str, Any]) -> int:
    schema = document["schema"]
    if isinstance(schema, bool) or not isinstance(schema, int) or schema < 1:
        raise ValueError(f"schema={schema!r}")
    return schema


def text(value: object) -> str:
    """Return a value that must be a string; TypeError if it is not."""
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not a string")
    return value


def number(value: object) -> float:
    """Return a value that must be a finite number; TypeError or ValueError if not."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{value!r} is not a number")
    if not -LARGEST_FIGURE < value < LARGEST_FIGURE:
        raise ValueError(f"{value!r} is not finite, or beyond all figures")
    return float(value)


def mapping(value: object) -> dict[str, Any]:
    """Return a value that must be an object of JSON; TypeError if it is not."""
    if not isinstance(value, Mapping):
        raise TypeError(f"{value!r} is not an object")
    return dict(value)


def texts(value: object) -> tuple[str, ...]:
    """Return a value that must be a list of strings; TypeError if it is not."""
    if not isinstance(value, list):
        raise TypeError(f"{value!r} is not a list")
    return tuple(map(text, value))


def encode(document: Mapping[str, Any], *, sort: bool = True) -> str:
    """Return a document as the text of a file, by default with sorted keys."""
    return json.dumps(document, indent=2, sort_keys=sort, allow_nan=False) + "\n"


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all, and its folder if there is none."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file whole or not at all, and its folder if there is none.

    By hand: renaming a finished file over the old one is all there is to it, and the
    library for it (atomicwrites) is no longer maintained. Readers see the old file or
    the new one, also when the process is killed, the disk is full or the power is cut
    in between.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # In the same folder, as a rename is atomic only within one file system; under a
    # name of its own, so that two writers do not share it.
    aside = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
    try:
        # "x" creates a file with the permissions that the umask grants; `tempfile`
        # would make it readable by its owner only.
        with aside.open("xb") as file:
            file.write(data)
            file.flush()
            # A rename may reach the disk before the content does.
            os.fsync(file.fileno())
        aside.replace(path)
        flush_folder(path.parent)
    finally:
        aside.unlink(missing_ok=True)


def flush_folder(folder: Path) -> None:
    """Flush the names in a folder to the disk, where the system knows how."""
    if os.name == "posix":  # Windows opens no folder
        file = os.open(folder, os.O_RDONLY)
        try:
            with suppress(OSError):  # some network file systems flush no folder
                os.fsync(file)
        finally:
            os.close(file)


def with_digests(cases: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the entries, each with a digest of its content.

    No secret and no proof: it catches an edit by hand or by a merge, which nobody
    accepted with a reason.
    """
    return {
        case: {**entry, "digest": _digest(case, entry)} for case, entry in cases.items()
    }


def check_digests(document: Mapping[str, Any]) -> None:
    """Refuse an entry that was edited by hand; before schema 2 there were no digests.

    Raises:
        ValueError: a digest does not match.
    """
    for case, entry in document["cases"].items():
        content = {key: value for key, value in entry.items() if key != "digest"}
        if document["schema"] > 1 and entry["digest"] != _digest(case, content):
            raise ValueError(f"{case!r} was changed by hand")


def _digest(case: str, entry: Mapping[str, Any]) -> str:
    content = json.dumps([case, entry], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:16]
