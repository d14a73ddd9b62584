"""Sources: what may be given as data, and which splits and images are in it.

Owns the choice between a folder with splits, a folder of classes, an archive of either
and a table. Everything is listed, nothing is opened: `splits` opens it for training,
`inspection` to look for what is wrong.
"""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tlcore.arguments import require_path
from tlcore.data.archive_cache import is_archive, unpacked
from tlcore.data.image_table import lay_out_table
from tlcore.data.layout import (
    SPLIT_REMEDY,
    Listing,
    find_classes,
    find_splits,
    holds_images_only,
    split_folders,
    without_wrapping,
)
from tlcore.data.split_names import SPLITS
from tlcore.data.tables import SUFFIXES as TABLE_SUFFIXES
from tlcore.data.tables import Columns
from tlcore.terminal.characters import visible

WHOLE = ""
"""The name of images that are not divided into splits."""


@dataclass(frozen=True)
class Source:
    """The images of a data folder, archive or table, by split.

    Attributes:
        directory: the folder that holds all of them.
        listings: the images of each split; all under "" if there are no splits.
        names: how each split is named there, such as "Training".
        others: the folders next to the splits that are none, and are not read.
    """

    directory: Path
    listings: Mapping[str, Listing]
    names: Mapping[str, str]
    others: tuple[str, ...] = ()

    def naming(self) -> str | None:
        """Return one line on the names of the splits, None if they are the usual ones.

        Example:
            >>> names = {"train": "Training", "test": "Testing"}
            >>> Source(Path("photos"), {}, names, ("notes",)).naming()
            'splits: train: Training, test: Testing; not read: notes'
        """
        if all(split == name for split, name in self.names.items()) and not self.others:
            return None
        named = ", ".join(f"{split}: {name}" for split, name in self.names.items())
        rest = f"; not read: {', '.join(self.others)}" if self.others else ""
        return f"splits: {named}{rest}"


def say_to_stderr(line: str) -> None:
    """Print a line to standard error, where nobody has another place for it."""
    sys.stderr.write(f"{visible(line)}\n")


def find_source(
    data: Any,
    *,
    root: str | Path | None = None,
    columns: Columns | None = None,
    multi: bool = False,
    say: Callable[[str], None] = say_to_stderr,
) -> Source:
    """List the images of a data folder, an archive of one, or a table.

    Args:
        data: a folder, a zip, tar or tar.gz file, or a table as `image_table` takes it.
        root: the folder that the paths of a table start from.
        columns: of a table.
        multi: whether an image of a table may have several classes.
        say: called with a line if an archive is unpacked.

    Raises:
        ValueError: it is none of these, or is laid out otherwise.

    Example:
        >>> source = find_source("photos")
        >>> list(source.listings), source.naming()
        (['train', 'validation', 'test'], None)
        >>> list(find_source("photos/train").listings)
        ['']
    """
    if isinstance(data, str | Path):
        path = require_path("data", data)
        if path.is_file() and is_archive(path):
            path = unpacked(path, say)
        table = path.name.lower().endswith(TABLE_SUFFIXES)
        if path.is_dir() or not (table or path.is_file()):
            return _folder(path, root)
        if not table:
            raise ValueError(
                "Data must be a folder, an archive (.zip, .tar, .tar.gz, .tgz) or a "
                f"table ({', '.join(TABLE_SUFFIXES)}). Received: data={str(data)!r}, a "
                "file of another kind. Unpack it, or save a table as CSV."
            )
        data = path
    return _table(data, root, columns or Columns(), multi=multi)


def _folder(directory: Path, root: str | Path | None) -> Source:
    if root is not None:
        raise ValueError(
            "root is the folder that the paths of a table start from. Received: "
            f"root={str(root)!r} with the folder {str(directory)!r}. Leave root out."
        )
    found = split_folders(directory)
    if not found.names:
        return Source(directory, {WHOLE: find_classes(directory)}, {})
    if "train" not in found.names:
        find_splits(directory)  # raises: it says what is there instead
    for split, name in found.names.items():
        if split != "train" and holds_images_only(directory / name):
            raise ValueError(
                "The images of a split must lie in one folder per class. Received: "
                f"directory={str(directory)!r}, where those of {name!r} have no class. "
                "Move them elsewhere (tlcore predict takes them), and hold a part of "
                f"{found.names['train']!r} out: {SPLIT_REMEDY}."
            )
    listings = {
        split: find_classes(without_wrapping(directory / name))
        for split, name in found.names.items()
    }
    return Source(directory, listings, found.names, found.others)


def _table(
    data: Any, root: str | Path | None, columns: Columns, *, multi: bool
) -> Source:
    listings, names = lay_out_table(data, root, columns, multi=multi)
    ordered = {
        split: listings[split] for split in (WHOLE, *SPLITS) if split in listings
    }
    directory = next(iter(ordered.values())).directory
    return Source(directory, ordered, names)
