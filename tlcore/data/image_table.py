"""Image table: images whose classes are in a table, not in the names of folders.

Owns what the rows of a table mean: where the files are, which class or classes each
image has, and which split it belongs to. How a table is read is in `tables`; the result
is an `ImageFolder`, so that all that takes a folder takes a table.
"""

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlcore.arguments import counted, few, listed
from tlcore.data.allotment import part_of_each
from tlcore.data.finding import is_image
from tlcore.data.image_folder import ImageFolder, open_folders
from tlcore.data.options import folder_options
from tlcore.data.reading import Reading
from tlcore.data.split_names import SPLITS, one_name_each, splits_among
from tlcore.data.tables import Columns, Table, choose_columns, read_table

_SPLIT_NAMES = ("split", "subset", "partition")
_LISTED = 20
"""The most files that an error lists."""


@dataclass(frozen=True, eq=False)
class ImageRows:
    """The images of a table or of one of its splits, unopened.

    Attributes:
        directory: the folder that all paths are relative to.
        class_names: the classes of the whole table.
        names: the paths within the folder, by class and then sorted.
        labels: the class of each image, (n,); or 0/1 rows, (n, classes) float32.
        left_out: nothing, as a table names every file.
    """

    directory: Path
    class_names: tuple[str, ...]
    names: tuple[str, ...]
    labels: NDArray[Any]
    left_out: Mapping[str, int] = field(default_factory=dict)

    def subset(self, percent: float, seed: int) -> tuple[list[str], NDArray[Any]]:
        """Return the paths and labels of a random part of each class."""
        indices = np.arange(len(self.names))
        if percent < 100:
            keys = [f"{seed}/{name}" for name in self.class_names]
            indices = part_of_each(self.labels, self.names, keys, percent)
        paths = [str(self.directory / self.names[i]) for i in indices]
        return paths, self.labels[indices]


def image_table(
    table: Any,
    *,
    root: str | Path | None = None,
    path_column: str | None = None,
    label_column: str | Sequence[str] | None = None,
    label_separator: str = "|",
    class_names: Sequence[str] | None = None,
    image_size: int | tuple[int, int] = (224, 224),
    batch_size: int = 32,
    label_mode: str = "categorical",
    percent: float = 100,
    shuffle: bool = True,
    seed: int = 42,
    skip_bad: bool = False,
    fit: str = "squash",
    background: str | Sequence[int] = "white",
    orientation: str = "apply",
) -> ImageFolder:
    r"""Open the images that a table lists with their labels, and check every image.

    A table with a column of splits is opened by `load_splits`.

    Args:
        table: the path of a CSV file (or with semicolons, tabs or bars) that begins
            with a header; a list of (path, label) pairs; a mapping of path to label; or
            a DataFrame.
        root: the folder that relative paths start from; by default that of the file,
            else the current one. All images must lie in it.
        path_column: the column of paths; None takes the one with a usual name ("path",
            "filename", "image"), or else the only one that holds paths of files.
        label_column: the column of labels; None takes the one with a usual name
            ("label", "class"), or else the only other one. With `label_mode="multi"`
            it may be several columns of 0 and 1.
        label_separator: between the labels of a cell with several of them.
        class_names: the classes in the order of their indices, where a table does not
            hold all of them; None takes the labels of the table, sorted (whole numbers
            by size).
        image_size: (height, width) to resize to, or one number for both, in pixels.
        batch_size: images per batch.
        label_mode: "categorical", "int" or "binary" (two classes); "multi" for several
            classes for an image: labels are rows of 0 and 1, (n, classes) float32.
        percent: how much of each class to take, at least one image.
        shuffle: whether each epoch has its own order.
        seed: of the subset and of the order.
        skip_bad: leave out images that cannot be read, instead of raising.
        fit: how `image_size` is reached: "squash", "crop" or "pad".
        background: the colour behind transparent pixels and of the border of "pad".
        orientation: "apply" turns images upright, "ignore" leaves them as stored.

    Returns:
        An image folder whose `directory` is `root`.

    Raises:
        ValueError: the table cannot be read, a column cannot be told, files are missing
            or stand in several rows, an option is out of range, or images cannot be
            read.

    Example:
        >>> rows = ["file,kind", "checked_ring/000.png,ring"]
        >>> rows += ["dotted_crescent/000.png,moon"]
        >>> Path("labels.csv").write_text("\n".join(rows))
        64
        >>> images = tl.image_table("labels.csv", root="photos/train", image_size=32)
        >>> images.class_names, images.labels.tolist()
        (('moon', 'ring'), [0, 1])
    """
    options = folder_options(
        image_size=image_size,
        batch_size=batch_size,
        label_mode=label_mode,
        percent=percent,
        shuffle=shuffle,
        seed=seed,
        reading=Reading.of(fit=fit, background=background, orientation=orientation),
    )
    columns = Columns(path_column, label_column, None, label_separator)
    rows, named = lay_out_table(
        table, root, columns, multi=label_mode == "multi", class_names=class_names
    )
    if named:
        raise ValueError(
            "image_table opens a table without splits. Received: a table with a column "
            f"of splits, {listed(named.values())}. Open all of them with "
            "load_splits(table, root=...), or pass the rows of one without the column."
        )
    return open_folders([(rows[""], options)], skip_bad=skip_bad)[0]


def lay_out_table(
    source: Any,
    root: str | Path | None,
    columns: Columns,
    *,
    multi: bool,
    class_names: Sequence[str] | None = None,
) -> tuple[dict[str, ImageRows], dict[str, str]]:
    """Return the images of a table by split, unopened.

    Args:
        source: as `read_table` takes it.
        root: the folder that relative paths start from; None for that of the file.
        columns: the names of the columns that are given. A column called "split" that
            holds nothing but splits is one without being named.
        multi: whether an image may have several classes.
        class_names: the classes; None for those of the table.

    Returns:
        The images of each split ("" if there is no column of splits), and how each
        split is named in the table.

    Raises:
        ValueError: as `image_table`.

    Example:
        >>> rows = [("checked_ring/000.png", "a"), ("checked_ring/001.png", "b")]
        >>> found, _ = lay_out_table(rows, "photos/train", Columns(), multi=False)
        >>> found[""].class_names
        ('a', 'b')
    """
    table = read_table(source)
    if columns.split is None:
        columns = replace(columns, split=_split_column(table))
    start = _root(source, root)

    def is_file(cell: str) -> bool:
        return bool(cell) and os.path.isfile(_within(start, cell))  # noqa: PTH113

    path, labels = choose_columns(table, columns, multi=multi, is_file=is_file)
    cells = [str(cell) for cell in table.column(path)]
    folder = start
    if root is None and all(map(os.path.isabs, cells)):
        folder = Path(os.path.commonpath([os.path.dirname(cell) for cell in cells]))  # noqa: PTH120
    names = _names(table, path, folder)
    given = _labels(table, labels, columns.separator, multi=multi)
    splits = {"": list(range(len(names)))}
    named: dict[str, str] = {}
    if columns.split is not None:
        splits, named = _splits(table, columns.split)
    known = tuple(class_names) if class_names is not None else _sorted(given)
    _check_classes(table, given, known, listed_by_hand=class_names is not None)
    merged = _merged(table, names, given, splits, multi=multi)
    place = {name: index for index, name in enumerate(known)}
    laid_out = {
        split: _rows(folder, known, place, images, multi=multi)
        for split, images in merged.items()
    }
    lacking = [
        f"{split} lacks {listed(missing)}"
        for split, images in merged.items()
        if (missing := sorted(set(known) - set().union(*images.values())))
    ]
    if named and lacking:
        raise ValueError(
            "All splits must hold the same classes. Received: "
            f"table={table.label}, where {'; '.join(lacking)}. Add rows, or correct "
            "their labels."
        )
    return laid_out, named


def _root(source: Any, root: str | Path | None) -> Path:
    if root is None:
        return Path(source).parent if isinstance(source, str | Path) else Path()
    if not Path(root).is_dir():
        raise ValueError(
            "root must be the folder that the paths of the table start from. "
            f"Received: root={str(root)!r}, which is no folder. Check the path."
        )
    return Path(root)


def _within(folder: Path, cell: str) -> str:
    """Return the path of a cell; tables from Windows have backslashes."""
    path = os.path.join(folder, cell)  # noqa: PTH118 - 50,000 rows: a Path is slow
    if "\\" in cell and not os.path.exists(path):  # noqa: PTH110
        path = os.path.join(folder, cell.replace("\\", "/"))  # noqa: PTH118
    return os.path.normpath(path)


def _names(table: Table, column: str, folder: Path) -> list[str]:
    """Return the path of each row within the folder, with forward slashes."""
    top = os.path.normpath(folder)
    names, missing, outside = [], [], []
    for cell, place in zip(table.column(column), table.places, strict=True):
        text = str(cell)
        path = _within(folder, text)
        name = os.path.relpath(path, top)
        names.append(Path(name).as_posix())
        if not text or not os.path.isfile(path):  # noqa: PTH113
            missing.append(f"  {place}: {text or 'no path'}{_near(path)}")
        elif name.startswith(os.pardir):
            outside.append(f"{place}: {text}")
    if missing:
        more = len(missing) - _LISTED
        lines = missing[:_LISTED] + ([f"  and {more} more"] if more > 0 else [])
        files = "\n".join(lines)
        raise ValueError(
            f"Every path must be a file. Received: table={table.label}, "
            f"root={str(folder)!r}, with {len(missing)} of {len(names)} that are "
            f"not:\n{files}\nCorrect the table, or give root=, the folder that its "
            "paths start from (on the command line --root)."
        )
    if outside:
        raise ValueError(
            "Every image must lie in root. Received: "
            f"root={str(folder)!r}, {few(outside)}. Give root=, a folder that holds "
            "all of them (on the command line --root)."
        )
    return names


def _near(path: str) -> str:
    """Return a hint if the path lacks only the ending of an image."""
    for suffix in (".jpg", ".png", ".jpeg"):
        if not is_image(path) and os.path.isfile(path + suffix):  # noqa: PTH113
            return f" (there is a file with {suffix!r} at the end)"
    return ""


def _labels(
    table: Table, columns: Sequence[str], separator: str, *, multi: bool
) -> list[tuple[str, ...]]:
    """Return the labels of each row."""
    if len(columns) > 1:
        if not multi:
            raise ValueError(
                "Several columns of labels need label_mode='multi'. Received: "
                f"label_column={list(columns)}. Give it, or name one column."
            )
        return _flags(table, columns)
    cells = table.column(columns[0])
    labels = []
    for cell, place in zip(cells, table.places, strict=True):
        if multi:
            parts = cell if isinstance(cell, list) else str(cell).split(separator)
            labels.append(tuple(part.strip() for part in parts if part.strip()))
        elif isinstance(cell, list) or not cell:
            raise ValueError(
                "Every row must have one label. Received: "
                f"table={table.label}, {place} with {cell or 'no label'}. Add it or "
                "remove the row; for several labels use label_mode='multi'."
            )
        else:
            labels.append((str(cell),))
    return labels


def _flags(table: Table, columns: Sequence[str]) -> list[tuple[str, ...]]:
    cells = [table.column(name) for name in columns]
    odd = [
        f"{place}, {name}: {cell or 'empty'}"
        for name, column in zip(columns, cells, strict=True)
        for cell, place in zip(column, table.places, strict=True)
        if cell not in {"0", "1"}
    ]
    if odd:
        raise ValueError(
            "Columns of labels must hold 0 and 1. Received: "
            f"table={table.label}, {few(odd)}. Correct these cells, or name one "
            "column with label_column=."
        )
    return [
        tuple(name for name, cell in zip(columns, row, strict=True) if cell == "1")
        for row in zip(*cells, strict=True)
    ]


def _split_column(table: Table) -> str | None:
    """Return the column called "split" if it holds splits, else None."""
    names = [name for name in table.header if name.casefold() in _SPLIT_NAMES]
    if len(names) != 1:
        return None
    cells = dict.fromkeys(map(str, table.column(names[0])))
    return names[0] if len(splits_among(cells)) == len(cells) else None


def _splits(table: Table, column: str) -> tuple[dict[str, list[int]], dict[str, str]]:
    """Return the rows of each split, and how each is named."""
    cells = [str(cell) for cell in table.column(column)]
    found = splits_among(dict.fromkeys(cells))
    unknown = [
        f"{place}: {cell or 'empty'}"
        for cell, place in zip(cells, table.places, strict=True)
        if cell not in found
    ]
    if unknown:
        raise ValueError(
            f"A column of splits must hold {listed(SPLITS)}. Received: "
            f"table={table.label}, column {column!r}, {few(unknown)}. Correct these "
            "cells."
        )
    named = one_name_each(found, f"Received: table={table.label}, column {column!r}")
    if "train" not in named or len(named) < 2:
        raise ValueError(
            "A column of splits must hold train, and validation or test or both. "
            f"Received: table={table.label}, column {column!r}, with "
            f"{few(sorted(found))}. Add them, or leave the column out and give "
            'split="80/10/10".'
        )
    rows: dict[str, list[int]] = {split: [] for split in named}
    for index, cell in enumerate(cells):
        rows[found[cell]].append(index)
    return rows, named


def _sorted(labels: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    names = {name for row in labels for name in row}
    # "10" stands before "2" in the order of texts.
    whole = all(name.isascii() and name.isdigit() for name in names)
    return tuple(sorted(names, key=(lambda name: (int(name), name)) if whole else None))


def _check_classes(
    table: Table,
    labels: Sequence[tuple[str, ...]],
    known: Sequence[str],
    *,
    listed_by_hand: bool,
) -> None:
    unknown = sorted({name for row in labels for name in row} - set(known))
    if unknown or len(set(known)) != len(known):
        raise ValueError(
            "class_names must hold every label of the table, once. Received: "
            f"class_names={list(known)!r}, labels {few(unknown) or 'all known'}. "
            "Correct the names, or leave class_names out."
        )
    if len(known) < 2 and not listed_by_hand:
        raise ValueError(
            "There must be at least two classes. Received: "
            f"table={table.label}, with {few(list(known)) or 'no label'} only. Check "
            "the column of labels: label_column=."
        )


def _merged(
    table: Table,
    names: Sequence[str],
    labels: Sequence[tuple[str, ...]],
    splits: Mapping[str, Sequence[int]],
    *,
    multi: bool,
) -> dict[str, dict[str, set[str]]]:
    """Return the labels of each image, by split.

    With several classes for an image, a table may have a row for each of them.
    """
    rows: dict[str, list[int]] = defaultdict(list)
    for index, name in enumerate(names):
        rows[name].append(index)
    split_by_row = {index: split for split, some in splits.items() for index in some}
    odd = [
        f"{name} in {listed(table.places[i] for i in some)}"
        for name, some in rows.items()
        if len(some) > 1
        and (not multi or len({split_by_row[index] for index in some}) > 1)
    ]
    if odd:
        raise ValueError(
            "Every image must stand in one row. Received: "
            f"table={table.label}, with {counted(len(odd), 'image')} in several: "
            f"{few(odd)}. Remove the rows that are too many; for several classes of an "
            "image use label_mode='multi'."
        )
    merged: dict[str, dict[str, set[str]]] = {split: {} for split in splits}
    for split, some in splits.items():
        for index in some:
            merged[split].setdefault(names[index], set()).update(labels[index])
    return merged


def _rows(
    folder: Path,
    known: tuple[str, ...],
    place: Mapping[str, int],
    images: Mapping[str, set[str]],
    *,
    multi: bool,
) -> ImageRows:
    if multi:
        names = sorted(images)
        labels = np.zeros((len(names), len(known)), np.float32)
        for row, name in enumerate(names):
            labels[row, [place[label] for label in images[name]]] = 1
        return ImageRows(folder, known, tuple(names), labels)
    ordered = sorted((place[label], name) for name, (label,) in images.items())
    indices = np.array([index for index, _ in ordered], np.int64)
    return ImageRows(folder, known, tuple(name for _, name in ordered), indices)
