"""Finding: the image files below a folder, and what is left out.

Owns the search: names decide first, and only a file whose name says nothing is opened,
for its first bytes. It decodes nothing; that is in `images`.
"""

import os
import stat
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from tlcore.data.formats import (
    HEAD_BYTES,
    OPTIONAL,
    RAW_SUFFIXES,
    SUFFIXES,
    format_of,
    missing_decoder,
)

_KNOWN = frozenset(SUFFIXES)
_JUNK = frozenset({"desktop.ini", "ehthumbs.db", "icon\r", "thumbs.db"})
"""Files that systems leave in folders of images, in lower case."""
_LEFT_OUT_AS = {"AVIF": ".avif", "HEIF": ".heic"}


@dataclass(frozen=True)
class Found:
    """What a search found.

    Attributes:
        images: paths relative to the folder, with forward slashes, sorted.
        left_out: how many other files there are, by suffix in lower case; "" counts
            those without one. An image that nothing here can read counts as ".heic" or
            ".avif".
    """

    images: list[str]
    left_out: Mapping[str, int]


def is_image(name: str) -> bool:
    """Return whether a file of this name counts as an image without being opened.

    Example:
        >>> is_image("cat.JPG"), is_image(".cat.jpg"), is_image("notes.txt")
        (True, False, False)
    """
    return not name.startswith(".") and _suffix(name) in _KNOWN


def find_images(folder: Path) -> Found:
    """Return the images at any depth of a folder, except in hidden folders.

    Hidden files and those that systems leave (`Thumbs.db`) are not counted as left out.

    Raises:
        OSError: a folder cannot be read.

    Example:
        >>> found = find_images(Path("photos/train"))
        >>> found.images[:2], found.left_out
        (['checked_ring/000.png', 'checked_ring/001.png'], {})
    """
    images: list[str] = []
    left_out: Counter[str] = Counter()
    walk = os.walk(folder, onerror=_raise, followlinks=True)
    for root, folders, files in walk:
        here = Path(root).resolve()
        # os.walk does not notice that a link leads to a folder above it, and would
        # follow it in circles.
        folders[:] = [
            name
            for name in folders
            if not name.startswith(".")
            and not here.is_relative_to((here / name).resolve())
        ]
        relative = Path(root).relative_to(folder).as_posix()
        prefix = "" if relative == "." else f"{relative}/"
        for name in files:
            if name.startswith(".") or name.lower() in _JUNK:
                continue
            missing = _left_out_as(root, name)
            if missing is None:
                images.append(prefix + name)
            else:
                left_out[missing] += 1
    return Found(sorted(images), dict(sorted(left_out.items())))


def _left_out_as(root: str, name: str) -> str | None:
    """Return what a file that is left out counts as, None for an image."""
    suffix = _suffix(name)
    if suffix in OPTIONAL:
        found: str | None = OPTIONAL[suffix]
    elif suffix in _KNOWN:
        return None
    else:
        found = None if suffix in RAW_SUFFIXES else _format_of_file(root, name)
    if found is None:
        return suffix
    return _LEFT_OUT_AS[found] if missing_decoder(found) else None


def _format_of_file(root: str, name: str) -> str | None:
    path = os.path.join(root, name)  # noqa: PTH118 - a Path costs more than the rest
    try:
        # Opening a named pipe would block until someone writes to it.
        if not stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116 - the same
            return None
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - the same
            return format_of(file.read(HEAD_BYTES))
    except OSError:
        return None


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()  # noqa: PTH122 - the same


def _raise(error: OSError) -> NoReturn:
    raise error
