"""Label files: names for the classes of a model, from a file that a person wrote.

Owns the three forms of such a file (lines, CSV, JSON) and the rule by which a name goes
to a class: by the folder that the file names, or by its place in a plain list where
only one order can be meant. Class folders are sorted as text, "10" before "2", which is
not the order in which people write a list.
"""

import csv
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tlcore.arguments import few

_ARROW = " = "


def read_labels(path: Path, folders: Sequence[str]) -> tuple[str, ...]:
    r"""Return the label of each class, in the order of the model's outputs.

    Args:
        path: a text file, UTF-8, with a label or `folder = label` in each line; a .csv
            file of folder and label; or a .json file of a list or a mapping.
        folders: the names of the class folders in the order of the outputs; for a
            backbone as it is the numbers of its outputs.

    Raises:
        ValueError: the file cannot be read or has not one label for each class, it
            names other folders, or a plain list could be in one of two orders.

    Example:
        >>> _ = Path("labels.txt").write_text("10 = truck\n2 = bird\n")
        >>> read_labels(Path("labels.txt"), ["10", "2"])
        ('truck', 'bird')
    """
    found = _parsed(path, folders)
    if isinstance(found, dict):
        return _by_folder(found, folders, path)
    # A file with a label too many or too few, or with the folders themselves.
    if len(found) != len(folders):
        raise ValueError(
            f"There must be one label per class, {len(folders)}. "
            f"Received: {len(found)} labels from {str(path)!r}."
        )
    if set(found) == set(folders):
        return tuple(folders)
    natural = sorted(folders, key=_natural)
    if natural != list(folders):
        raise ValueError(
            "A list of labels must have one order that it can be in. Received: "
            f"{str(path)!r} for class folders that sort as {few(list(folders))} as "
            f"text, and as {few(natural)} as numbers. Name the folders, a line for "
            f"each: {folders[0]}{_ARROW}{found[natural.index(folders[0])]}"
        )
    return tuple(found)


def _parsed(path: Path, folders: Sequence[str]) -> list[str] | dict[str, str]:
    try:
        # Editors on Windows put a byte order mark first: "utf-8-sig" drops it.
        text = path.read_bytes().decode("utf-8-sig")
        if path.suffix.lower() == ".json":
            return _from_json(json.loads(text, object_pairs_hook=_mapping))
        if path.suffix.lower() == ".csv":
            return _from_rows(csv.reader(_lines(text), strict=True), folders)
    except (OSError, ValueError, csv.Error, RecursionError) as error:
        raise ValueError(
            "Labels must be a text file, UTF-8, with one label per line, or "
            "`folder = label`; or a CSV or JSON file of the same. "
            f"Received: labels={str(path)!r}, which cannot be read: {error}."
        ) from error
    lines = [line.strip() for line in _lines(text) if line.strip()]
    pairs = [[x.strip() for x in line.split(_ARROW, 1)] for line in lines]
    if lines and all(len(pair) == 2 for pair in pairs):
        return _mapping(pairs)
    return lines


def _lines(text: str) -> list[str]:
    # Not `splitlines`, which also splits at characters that are part of a name, such as
    # the line separator U+2028.
    return [line.removesuffix("\r") for line in text.split("\n")]


def _from_json(document: Any) -> list[str] | dict[str, str]:
    if isinstance(document, dict) and all(
        isinstance(x, str) for x in document.values()
    ):
        return dict(document)
    if isinstance(document, list) and all(isinstance(x, str) for x in document):
        return document
    raise ValueError('it holds neither ["label", ...] nor {"folder": "label", ...}')


def _from_rows(
    rows: Iterable[list[str]], folders: Sequence[str]
) -> list[str] | dict[str, str]:
    table = [[cell.strip() for cell in row] for row in rows if any(row)]
    if (
        any(len(row) != len(table[0]) for row in table)
        or len(table[:1] and table[0]) > 2
    ):
        raise ValueError("its rows are not all a label, or a folder and a label")
    if not table or len(table[0]) == 1:
        return [row[0] for row in table]
    if len(table) == len(folders) + 1 and table[0][0] not in folders:
        table = table[1:]  # a header
    return _mapping(table)


def _mapping(pairs: Sequence[Sequence[str]]) -> dict[str, str]:
    named = {pair[0]: pair[1] for pair in pairs}
    if len(named) < len(pairs):
        folders = [folder for folder, _ in pairs]
        twice = next(x for x in folders if folders.count(x) > 1)
        raise ValueError(
            "Labels must name each folder once. "
            f"Received: {twice!r} several times. Leave one line for it."
        )
    return named


def _by_folder(
    found: dict[str, str], folders: Sequence[str], path: Path
) -> tuple[str, ...]:
    missing = [x for x in folders if x not in found]
    extra = [x for x in found if x not in folders]
    if missing or extra:
        parts = [f"without {few(missing)}"] * bool(missing)
        parts += [f"with {few(extra)}, which is no class"] * bool(extra)
        raise ValueError(
            "Labels must name the folder of each class, "
            f"{few(list(folders))}. Received: {str(path)!r} {' and '.join(parts)}. "
            f"Write a line for each: {folders[0]}{_ARROW}label"
        )
    return tuple(found[x] for x in folders)


def _natural(name: str) -> list[tuple[int, str]]:
    """Return a key that sorts "2" before "10", and all else as text."""
    parts = re.split(r"(\d+)", name)
    return [(int(x) if x.isdecimal() else 0, x) for x in parts]
