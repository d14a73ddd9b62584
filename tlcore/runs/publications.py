"""Notes: in which publications a run is.

Owns `publications.json` in a run folder. What a publication is, and the file by which
its folder is known, comes from `publication`.
"""

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from tlcore.files import write_text
from tlcore.runs.documents import MALFORMED, read_document

NOTE_FILE = "publications.json"
"""In the folder of a run: where it was published."""
PUBLICATION_FILE = "published.json"
"""In the folder of a publication: what it is."""

SCHEMA = 1
# History of the format of publications.json:
# 1  the first.


def note_publication(path: str | Path, publication: Mapping[str, str]) -> None:
    """Write beside a run that it was published; an earlier note of this is replaced.

    Args:
        path: the folder of the run.
        publication: its "id", "name", "description", "folder" and "updated".

    Raises:
        ValueError: the note that is there is damaged.
        OSError: the folder cannot be written to.
    """
    kept = [x for x in _notes(Path(path)) if x["id"] != publication["id"]]
    document = {"schema": SCHEMA, "publications": [*kept, dict(publication)]}
    write_text(Path(path) / NOTE_FILE, json.dumps(document, indent=2) + "\n")


def publications(path: str | Path) -> list[dict[str, str]]:
    """Return the publications of a run that are still where they were written.

    Raises:
        ValueError: the note of them is damaged.
    """
    there = []
    for note in _notes(Path(path)):
        file = Path(note["folder"]) / PUBLICATION_FILE
        with suppress(*MALFORMED, OSError):  # another file, or none, is there now
            if json.loads(file.read_text(encoding="utf-8"))["id"] == note["id"]:
                there.append(note)
    return there


def _notes(path: Path) -> list[dict[str, str]]:
    file = path / NOTE_FILE
    if not file.is_file():
        return []
    names = ("id", "name", "description", "folder", "updated")

    def parse(document: Any) -> list[dict[str, str]]:
        return [{n: str(note[n]) for n in names} for note in document["publications"]]

    remedy = "Remove it and publish again."
    return read_document(file, parse, newest=SCHEMA, remedy=remedy)
