"""Documents: versioned JSON files, read whole or refused with one error.

Owns the error for a file that is damaged, has another structure or comes from a newer
version of tlcore. What a document holds, and which schema is the newest, is known to
the module that reads it.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from tlcore.data import fields

MALFORMED = (
    *(ValueError, LookupError, TypeError, AttributeError, OverflowError),
    RecursionError,
)
"""What code that reads a document raises if its structure is not the expected one.

RecursionError is among them: `json` raises it for deeply nested brackets.
"""

Parsed = TypeVar("Parsed")


def _refuse_constant(name: str) -> NoReturn:
    # Python reads NaN and Infinity, which JSON does not have.
    raise ValueError(f"{name} is no JSON")


def damaged(file: Path, error: Exception, remedy: str) -> ValueError:
    """Return the error that says why a document cannot be read, and the remedy."""
    return ValueError(
        f"A {file.name} must be whole. Received: {str(file)!r}, which cannot be read "
        f"({type(error).__name__}: {error}). {remedy}"
    )


@contextmanager
def reading(file: Path, remedy: str) -> Iterator[None]:
    """Turn errors in a block that reads a document into one that names the file.

    Args:
        file: where the document came from.
        remedy: what to do with a damaged one.

    Raises:
        ValueError: the block did not find in the document what it looked for.

    Example:
        >>> with reading(Path("run.json"), "Run it again."):
        ...     {"schema": 1}["status"]
        Traceback (most recent call last):
        ValueError: A run.json must be whole. Received: 'run.json', which cannot be ...
    """
    try:
        yield
    except MALFORMED as error:
        raise damaged(file, error, remedy) from error


def read_document(
    file: Path, parse: Callable[[Any], Parsed], *, newest: int, remedy: str
) -> Parsed:
    """Return the document in a file, parsed.

    Args:
        file: a JSON file in UTF-8 with an entry "schema".
        parse: returns the parsed form of the document.
        newest: the newest schema that this version reads.
        remedy: what to do with a damaged file.

    Raises:
        ValueError: the file is damaged, or its schema is newer than `newest`.
        OSError: the file cannot be read.

    Example:
        >>> file = Path("colour.json")
        >>> _ = file.write_text('{"schema": 1, "name": "blue"}')
        >>> read_document(file, lambda d: d["name"], newest=1, remedy="Write it again.")
        'blue'
    """
    with reading(file, remedy):
        document = json.loads(
            file.read_text(encoding="utf-8"), parse_constant=_refuse_constant
        )
        schema = document["schema"]
        fields.whole(1)(schema, "schema")
        # A newer document may hold anything.
        parsed = parse(document) if schema <= newest else None
    # Not in the block above, which would report this ValueError as damage.
    if parsed is None:
        raise ValueError(
            f"This version reads {file.name} up to schema {newest}. "
            f"Received: schema={schema} in {str(file)!r}. Install a newer tlcore."
        )
    return parsed
