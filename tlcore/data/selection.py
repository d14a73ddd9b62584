"""Selection: whether images may select a model, or are those of a test.

Owns the guard's view of an image folder: its name under any spelling, its role among
splits that were opened together, and copies of its images in a test folder next to it.
It refuses nothing itself.
"""

import hashlib
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from tlcore.data.image_folder import ImageFolder
from tlcore.data.split_names import is_filler, splits_among


def why_test_data(folder: ImageFolder) -> str | None:
    """Return why the images of a folder are test data, None if they are not.

    They are if the folder is the test of splits that were opened together, or is named
    like one, or if a folder next to it that is named like one holds a copy of an image.

    Returns:
        What follows the folder in a sentence; "" if its name says it.

    Example:
        >>> why_test_data(tl.image_folder("photos/test"))
        ''
        >>> why_test_data(tl.image_folder("photos/validation")) is None
        True
    """
    directory = folder.directory.absolute()
    # A link named "validation" may lead to the test.
    places = dict.fromkeys(map(_named, (directory, directory.resolve())))
    named = not folder.split and any(_split_of(place) == "test" for place in places)
    if named or folder.split == "test":
        return ""
    for place in places:
        for test in _tests_next_to(place):
            if copy := _copy_in(test, folder):
                return f", of which an image is in {str(copy)!r} as well (equal bytes)"
    return None


def _named(directory: Path) -> Path:
    """Return the folder whose name tells: `test/images` is a test beside a train."""
    parent = directory.parent
    beside = _splits_in(parent.parent).values()
    return parent if is_filler(directory.name) and "train" in beside else directory


def _split_of(directory: Path) -> str | None:
    return _splits_in(directory.parent, directory.name).get(directory.name)


def _splits_in(parent: Path, *names: str) -> dict[str, str]:
    with suppress(OSError):  # it may not be readable: then its own name counts alone
        names += tuple(entry.name for entry in os.scandir(parent) if entry.is_dir())
    return splits_among(names)


def _tests_next_to(directory: Path) -> Iterator[Path]:
    for name, split in sorted(_splits_in(directory.parent).items()):
        if split == "test" and name != directory.name:
            yield directory.parent / name


def _copy_in(test: Path, folder: ImageFolder) -> Path | None:
    """Return the first file of a folder that has the bytes of one of the images."""
    sizes = {size for path in folder.paths if (size := _size(path)) is not None}
    digests = set(folder.digests)
    for root, _, files in os.walk(test):
        for name in sorted(files):
            path = Path(root) / name
            # Most files have another size, and are not read.
            if _size(path) in sizes and _digest(path) in digests:
                return path
    return None


def _size(path: str | Path) -> int | None:
    with suppress(OSError):
        return os.stat(path).st_size  # noqa: PTH116 - 50,000 of them
    return None


def _digest(path: Path) -> str | None:
    with suppress(OSError), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
    return None
