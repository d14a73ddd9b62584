"""Tables: rows of cells from a CSV file, a list of pairs, a mapping or a DataFrame.

Owns how a table is read and which of its columns are the path, the label and the split.
A column is guessed only where one answer is possible. What the cells mean for images is
decided in `image_table`.
"""

import codecs
import csv
import io
import itertools
import reprlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from tlcore.arguments import did_you_mean, few
from tlcore.data.finding import is_image

SUFFIXES = (".csv", ".tsv", ".txt")
"""The endings of the names of tables on disk."""

_DELIMITERS = ",;\t|"
_SAMPLE_ROWS = 50
"""Rows from which the delimiter and the columns are guessed."""

_PATH_NAMES = {
    *("path", "file", "filename", "file_name", "filepath", "file_path"),
    *("image", "images", "image_path", "image_file", "image_name"),
    *("img", "img_path", "imagepath", "imagename"),
}
_LABEL_NAMES = {
    *("label", "labels", "class", "classes", "class_name", "classname"),
    *("category", "categories", "target", "tags"),
}


@dataclass(frozen=True)
class Columns:
    """Which columns of a table to read, by name; None guesses.

    Attributes:
        path: the column of paths.
        label: the column of labels, or several columns of 0 and 1.
        split: the column of splits; None reads none.
        separator: what separates the labels in a cell that holds several.
    """

    path: str | None = None
    label: str | Sequence[str] | None = None
    split: str | None = None
    separator: str = "|"


@dataclass(frozen=True)
class Table:
    """Rows of cells under a header.

    Attributes:
        label: what messages call the table.
        header: the names of the columns.
        rows: the cells of each row, as text without spaces around it.
        places: where each row stands, such as "line 3".
    """

    label: str
    header: tuple[str, ...]
    rows: Sequence[Sequence[Any]]
    places: Sequence[str]

    def column(self, name: str) -> list[Any]:
        """Return the cells of a column."""
        index = self.header.index(name)
        return [row[index] for row in self.rows]


def read_table(source: Any) -> Table:
    r"""Read a table.

    Args:
        source: the path of a file whose first line is a header, with commas,
            semicolons, tabs or bars between the cells; a list of (path, label) pairs; a
            mapping of path to label; or a DataFrame.

    Raises:
        ValueError: it is none of these, has no header or rows of other lengths, or
            cannot be read.

    Example:
        >>> table = read_table([("a.jpg", "cat"), ("b.jpg", "dog")])
        >>> table.header, table.column("label")
        (('path', 'label'), ['cat', 'dog'])
        >>> Path("labels.csv").write_text("name;kind\na.jpg;cat\n")
        20
        >>> read_table("labels.csv").header
        ('name', 'kind')
    """
    if isinstance(source, str | Path):
        table = _from_file(Path(source))
    elif hasattr(source, "columns") and hasattr(source, "to_dict"):
        header = [str(name) for name in source.columns]
        rows = source.to_dict("split")["data"]
        table = _in_memory("a DataFrame", header, rows)
    elif isinstance(source, Mapping):
        table = _in_memory("a mapping", ["path", "label"], list(source.items()))
    else:
        table = _in_memory("a list of pairs", ["path", "label"], _pairs(source))
    if not table.rows:
        raise ValueError(
            f"A table must have rows. Received: table={table.label}, without one. "
            "Write a line for each image below the header."
        )
    return table


def _pairs(source: Any) -> list[Any]:
    if isinstance(source, Sequence) and not isinstance(source, str | bytes):
        odd = [
            item
            for item in source
            if isinstance(item, str | bytes)
            or not isinstance(item, Sequence)
            or len(item) != 2
        ]
        if not odd:
            return list(source)
        received = f"an item {reprlib.repr(odd[0])}"
    else:
        received = reprlib.repr(source)
    raise ValueError(
        "A table must be the path of a CSV file, a list of (path, label) pairs, a "
        f"mapping of path to label, or a DataFrame. Received: {received}. Write "
        '[("a.jpg", "cat"), ("b.jpg", "dog")].'
    )


def _in_memory(label: str, header: Sequence[str], rows: Sequence[Any]) -> Table:
    cells = [[_cell(value) for value in row] for row in rows]
    places = [f"row {number}" for number in range(1, len(rows) + 1)]
    return Table(label, tuple(header), cells, places)


def _cell(value: Any) -> Any:
    """Return a value as text, "" for none; a list of labels stays one."""
    if hasattr(value, "tolist"):  # of NumPy
        value = value.tolist()
    if isinstance(value, list | tuple | set | frozenset):
        return [str(item).strip() for item in value]
    if value is None or _is_missing(value):
        return ""
    # pandas turns whole numbers into floats where a cell of the column is empty.
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip()


def _is_missing(value: Any) -> bool:
    """Return whether a value is NaN, or NaT or NA of pandas."""
    try:
        return bool(value != value)  # noqa: PLR0124 - nothing else differs from itself
    except TypeError:  # NA is neither true nor false
        return True


def _from_file(path: Path) -> Table:
    label = repr(str(path))
    text = _text(path, label)
    reader = csv.reader(
        io.StringIO(text, newline=""),
        delimiter=_delimiter(text, label),
        skipinitialspace=True,
        strict=True,
    )
    rows, places = [], []
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                rows.append([cell.strip() for cell in row])
                places.append(f"line {reader.line_num}")
    except csv.Error as error:
        raise ValueError(
            "A table must be a CSV file with quotes in pairs. Received: "
            f"table={label}, line {reader.line_num}: {error}. Correct the line."
        ) from error
    header, *rows = rows
    if any(is_image(cell) for cell in header):
        raise ValueError(
            f"A table must begin with a header. Received: table={label}, which begins "
            f"with {', '.join(header)}. Write a first line such as path,label."
        )
    odd = [
        f"{place} with {len(row)}"
        for row, place in zip(rows, places[1:], strict=True)
        if len(row) != len(header)
    ]
    if odd:
        raise ValueError(
            f"Every row must have as many cells as the header, {len(header)}. "
            f"Received: table={label}, {few(odd)}. Correct these lines; a cell that "
            'contains the delimiter needs quotes, "a,b".'
        )
    return Table(label, tuple(header), rows, places[1:])


def _text(path: Path, label: str) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ValueError(
            f"A table must be a file that can be read. Received: table={label} "
            f"({error.strerror}). Check the path."
        ) from error
    utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return data.decode("utf-16" if utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"A table must be text in UTF-8. Received: table={label}, with the byte "
            f"{data[error.start]:#04x} at {error.start}. Save it as UTF-8 (in Excel: "
            "CSV UTF-8)."
        ) from error


def _delimiter(text: str, label: str) -> str:
    """Return the delimiter with which the first rows have the most equal columns."""
    # Not csv.Sniffer: of names that share letters it takes a letter for the delimiter.
    best, choice = (False, 1), None
    for delimiter in _DELIMITERS:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
        try:
            some = [row for row in itertools.islice(reader, _SAMPLE_ROWS) if row]
        except csv.Error:
            continue
        if not some or len(some[0]) < 2:
            continue
        found = len({len(row) for row in some}) == 1, len(some[0])
        if found > best:
            best, choice = found, delimiter
    if choice is None:
        raise ValueError(
            "A table must have a header with at least two columns, a path and a label, "
            f"with commas, semicolons, tabs or bars between them. Received: "
            f"table={label}, which begins with {text[:40]!r}. Write a first line such "
            "as path,label."
        )
    return choice


def choose_columns(
    table: Table, columns: Columns, *, multi: bool, is_file: Callable[[str], bool]
) -> tuple[str, list[str]]:
    """Return the names of the column of paths and of those of labels.

    Args:
        table: the table.
        columns: the names that are given.
        multi: whether several columns of 0 and 1 may be the labels.
        is_file: whether a cell is the path of a file.

    Raises:
        ValueError: a name is not in the header, or a column that is not named cannot be
            told from the others.

    Example:
        >>> table = read_table([("a.jpg", "cat")])
        >>> choose_columns(table, Columns(), multi=False, is_file=lambda cell: False)
        ('path', ['label'])
    """
    given = [columns.path, columns.split]
    given += [columns.label] if isinstance(columns.label, str) else columns.label or []
    for name in given:
        if name is not None and table.header.count(name) != 1:
            raise ValueError(
                "A column must be in the header, once. Received: "
                f"table={table.label} with the columns {', '.join(table.header)}, "
                f"column {name!r}.{did_you_mean(name, table.header)}"
            )
    free = [name for name in table.header if name and name not in given]
    path = columns.path
    if path is None:
        named = [name for name in free if _plain(name) in _PATH_NAMES]
        sampled = table.rows[:_SAMPLE_ROWS]
        at = table.header.index
        full = [n for n in free if all(is_file(str(row[at(n)])) for row in sampled)]
        path = _only(named) or _only(full)
    if path is None:
        _refuse_guess(table, "path", "path_column")
    free = [name for name in free if name != path]
    if columns.label is not None:
        labels = columns.label
        return path, [labels] if isinstance(labels, str) else list(labels)
    label = _only([n for n in free if _plain(n) in _LABEL_NAMES]) or _only(free)
    if label is not None:
        return path, [label]
    flags = [n for n in free if {*map(str, table.column(n))} <= {"0", "1"}]
    if not multi or len(flags) < 2:
        _refuse_guess(table, "label", "label_column")
    return path, flags


def _plain(name: str) -> str:
    return name.casefold().replace(" ", "_").replace("-", "_")


def _only(names: Sequence[str]) -> str | None:
    return names[0] if len(names) == 1 else None


def _refuse_guess(table: Table, kind: str, option: str) -> NoReturn:
    raise ValueError(
        f"The column of the {kind} must be named where it cannot be told from the "
        f"others. Received: table={table.label} with the columns "
        f"{', '.join(table.header)}. Give {option}=, or call the column {kind!r}."
    )
