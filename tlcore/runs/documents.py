"""Documents: JSON files of this package, read whole or refused in a sentence.

Owns what is said of one that is damaged, of another form or of a newer version. What
stands in a document, and which version is the newest, is its reader's.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

MALFORMED = (
    *(ValueError, LookupError, TypeError, AttributeError, OverflowError),
    RecursionError,
)
"""What reading a document of another form raises."""

Parsed = TypeVar("Parsed")


def damaged(file: Path, error: Exception, remedy: str) -> ValueError:
    """Return the error that says why a document cannot be read, and what to do."""
    return ValueError(
        f"A {file.name} must be whole. Received: {str(file)!r}, which cannot be read "
        f"({type(error).__name__}: {error}). {remedy}"
    )


@contextmanager
def reading(file: Path, remedy: str) -> Iterator[None]:
    """Have what a document of another form raises be a sentence.

    Raises:
        ValueError: the block did not find in the document what it looked for.
    """
    try:
        yield
    except MALFORMED as error:
        raise damaged(file, error, remedy) from error


def read_document(
    file: Path, parse: Callable[[Any], Parsed], *, newest: int, remedy: str
) -> Parsed:
    """Return what `parse` makes of the document in a file.

    Args:
        file: UTF-8, with a "schema".
        parse: takes the document.
        newest: the schema that is known.
        remedy: what to do with a damaged one.

    Raises:
        ValueError: it is damaged, or of a newer version.
        OSError: it cannot be read.
    """
    with reading(file, remedy):
        document = json.loads(file.read_text(encoding="utf-8"))
        schema = int(document["schema"])
        parsed = parse(document)
    if schema > newest:
        raise ValueError(
            f"This version reads {file.name} up to schema {newest}. "
            f"Received: schema={schema} in {str(file)!r}. Install a newer tlcore."
        )
    return parsed
