"""Sample images: generated pictures as an image folder, for demonstrations and tests.

Owns how a set of them is laid out on disk, written as a whole or not at all. The same
arguments give the same bytes on every machine. How a kind is drawn is in `drawing`. It
neither reads images nor trains on them.
"""

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tlcore.arguments import require_whole
from tlcore.data.drawing import (
    SAMPLE_KINDS,
    SMALLEST_SIZE_PIXELS,
    draw_sample_image,
)
from tlcore.data.png import encode_png


def write_sample_images(
    directory: str | Path,
    *,
    classes: int = 10,
    per_class: int = 20,
    size: int = 96,
    seed: int = 42,
) -> list[Path]:
    """Write an image folder of generated pictures: `directory/<class>/<nnn>.png`.

    An image depends on its class, its number, `size` and `seed` alone: 5 classes are
    the first 5 of 10, and 10 images of a class the first 10 of 20.

    Args:
        directory: a folder that is absent or empty; its parents are made.
        classes: number of classes, the first of `SAMPLE_KINDS`.
        per_class: number of images of each class.
        size: height and width of the images, in pixels.
        seed: any integer; another seed gives other images.

    Returns:
        The paths written, class by class in the order of `SAMPLE_KINDS`.

    Raises:
        ValueError: a number is out of its range, or `directory` is the working folder.
        FileExistsError: `directory` holds something or is a file.
    """
    require_whole("per_class", per_class, least=1, most=_SPLIT_STRIDE)
    directory = Path(directory)
    _check_folder_options(directory, classes, size)
    with _replacing_folder(directory) as aside:
        _write_split(aside, 0, per_class, classes=classes, size=size, seed=seed)
    return _paths(directory, classes, per_class)


def write_sample_splits(
    directory: str | Path,
    *,
    classes: int = 10,
    per_class: int = 20,
    validation_per_class: int = 10,
    test_per_class: int = 10,
    size: int = 96,
    seed: int = 42,
) -> dict[str, list[Path]]:
    """Write image folders `train`, `validation` and `test` that share no image.

    The images in `train` are those of `write_sample_images`; how many there are changes
    neither `validation` nor `test`.

    Args:
        directory: a folder that is absent or empty; its parents are made.
        classes: number of classes, the first of `SAMPLE_KINDS`.
        per_class: number of training images of each class.
        validation_per_class: the same for validation; 0 leaves the split out.
        test_per_class: the same for test; 0 leaves the split out.
        size: height and width of the images, in pixels.
        seed: any integer; another seed gives other images.

    Returns:
        The paths written, by split, then class by class in the order of `SAMPLE_KINDS`.

    Raises:
        ValueError: a number is out of its range, or `directory` is the working folder.
        FileExistsError: `directory` holds something or is a file.
    """
    require_whole("per_class", per_class, least=1, most=_SPLIT_STRIDE)
    require_whole(
        "validation_per_class", validation_per_class, least=0, most=_SPLIT_STRIDE
    )
    require_whole("test_per_class", test_per_class, least=0, most=_SPLIT_STRIDE)
    directory = Path(directory)
    _check_folder_options(directory, classes, size)
    counts = dict(
        zip(_SPLITS, (per_class, validation_per_class, test_per_class), strict=True)
    )
    with _replacing_folder(directory) as aside:
        for number, (split, count) in enumerate(counts.items()):
            first = number * _SPLIT_STRIDE
            _write_split(
                aside / split, first, count, classes=classes, size=size, seed=seed
            )
    return {
        split: _paths(directory / split, classes, count)
        for split, count in counts.items()
        if count
    }


_SPLITS = ("train", "validation", "test")
_SPLIT_STRIDE = 1_000_000
"""Numbers of images between the first of one split and the first of the next."""


def _check_folder_options(directory: Path, classes: int, size: int) -> None:
    require_whole("classes", classes, least=2, most=len(SAMPLE_KINDS))
    require_whole("size", size, least=SMALLEST_SIZE_PIXELS)
    if directory.resolve() == Path.cwd():
        raise ValueError(
            "directory must not be the working folder, which is replaced as a whole. "
            f"Received: directory={str(directory)!r}. Name a folder inside it."
        )
    if directory.exists() and not directory.is_dir():
        raise FileExistsError(
            "directory must be absent or an empty folder; this is a file. "
            f"Received: directory={str(directory)!r}. Name another folder."
        )
    if directory.exists() and any(directory.iterdir()):
        raise FileExistsError(
            "directory must be absent or an empty folder; this one holds files. "
            f"Received: directory={str(directory)!r}. Name another folder."
        )


@contextmanager
def _replacing_folder(directory: Path) -> Iterator[Path]:
    """Give a new sibling of `directory` that takes its place when the block ends well.

    `tlcore.files.replacing` does this for a file.
    """
    target = directory.resolve()
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.with_name(f".{target.name}-{secrets.token_hex(4)}")
    aside.mkdir()
    try:
        yield aside
        if target.exists():
            target.rmdir()  # Windows renames onto no folder, not even an empty one.
        aside.rename(target)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _paths(folder: Path, classes: int, count: int) -> list[Path]:
    return [
        folder / kind / f"{number:03d}.png"
        for kind in SAMPLE_KINDS[:classes]
        for number in range(count)
    ]


def _write_split(
    folder: Path, first: int, count: int, *, classes: int, size: int, seed: int
) -> None:
    """Write the images numbered from `first` on into `folder`."""
    for number, path in enumerate(_paths(folder, classes, count)):
        path.parent.mkdir(parents=True, exist_ok=True)
        index = first + number % count
        image = draw_sample_image(path.parent.name, index, size=size, seed=seed)
        path.write_bytes(encode_png(image))
