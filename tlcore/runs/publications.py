"""Publications: the note in a run folder that lists where the run was published.

Owns `publications.json`, the note, and the name of the file by which the folder of a
publication is recognized. It publishes nothing, and writes nothing into such a folder:
that is `publishing.publication`, which this wing does not import.
"""

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from tlcore.data import fields
from tlcore.files import write_text
from tlcore.runs.documents import MALFORMED, read_document

NOTE_FILE = "publications.json"
"""In the folder of a run: the list of its publications."""
PUBLICATION_FILE = "published.json"
"""In the folder of a publication: its id, name and runs."""

SCHEMA = 1
# History of the format of publications.json:
# 1  the first.

_NAMES = ("id", "name", "description", "folder", "updated")
_NOTE = fields.record(
    {
        "publications": fields.items(
            fields.record(dict.fromkeys(_NAMES, fields.text), required=_NAMES)
        )
    },
    required=("publications",),
)


def note_publication(path: str | Path, publication: Mapping[str, str]) -> None:
    """Note in a run folder that the run was published.

    An earlier entry of the same publication is replaced.

    Args:
        path: the folder of the run.
        publication: its "id", "name", "description", "folder" and "updated".

    Raises:
        ValueError: the existing note is damaged.
        OSError: the folder cannot be written to.

    Example:
        >>> run, page = Path("run"), Path("page")
        >>> run.mkdir(), page.mkdir()
        (None, None)
        >>> write_text(page / PUBLICATION_FILE, '{"id": "ab"}')
        >>> entry = {"id": "ab", "name": "Food", "description": "", "updated": "now"}
        >>> note_publication(run, {**entry, "folder": "page"})
        >>> [entry["name"] for entry in publications(run)]
        ['Food']
    """
    kept = [x for x in _entries(Path(path)) if x["id"] != publication["id"]]
    document = {"schema": SCHEMA, "publications": [*kept, dict(publication)]}
    write_text(Path(path) / NOTE_FILE, json.dumps(document, indent=2) + "\n")


def publications(path: str | Path) -> list[dict[str, str]]:
    """Return the publications of a run that still exist.

    Args:
        path: the folder of the run.

    Raises:
        ValueError: the note is damaged.
    """
    existing = []
    for entry in _entries(Path(path)):
        file = Path(entry["folder"]) / PUBLICATION_FILE
        # Users move and delete publications without asking us; whatever is at the old
        # place now is not this publication unless it has the same id.
        with suppress(*MALFORMED, OSError):
            if json.loads(file.read_text(encoding="utf-8"))["id"] == entry["id"]:
                existing.append(entry)
    return existing


def _entries(path: Path) -> list[dict[str, str]]:
    file = path / NOTE_FILE
    if not file.is_file():
        return []

    def parse(document: Any) -> list[dict[str, str]]:
        _NOTE(document, "")
        entries = document["publications"]
        return [{name: entry[name] for name in _NAMES} for entry in entries]

    remedy = "Remove it and publish again."
    return read_document(file, parse, newest=SCHEMA, remedy=remedy)
