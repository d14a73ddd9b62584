"""Sample images: folders of generated images, for demonstrations and tests.

Owns which images make up a folder and how it is written: as a whole or not at all. The
same arguments give the same bytes on every machine. How an image is drawn is in
`drawing`, how it is encoded in `png`.
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
from tlcore.data.split_names import SPLITS
from tlcore.files import put_folder_in_place


def write_sample_images(
    directory: str | Path,
    *,
    classes: int = 10,
    per_class: int = 20,
    size: int = 96,
    seed: int = 42,
) -> list[Path]:
    """Write an image folder of generated images: `directory/<class>/<nnn>.png`.

    An image depends only on its class, its number, `size` and `seed`. So 5 classes are
    the first 5 of 10, and 10 images of a class are the first 10 of 20.

    Args:
        directory: a folder that does not exist or is empty; its parents are created.
        classes: number of classes, the first of `SAMPLE_KINDS`.
        per_class: number of images of each class.
        size: height and width of the images, in pixels.
        seed: any integer; another seed gives other images.

    Returns:
        The paths written, class by class in the order of `SAMPLE_KINDS`.

    Raises:
        ValueError: a number is out of range, or `directory` is the working folder.
        FileExistsError: `directory` is a file, or a folder that is not empty.

    Example:
        >>> paths = tl.write_sample_images("shapes", classes=2, per_class=3, size=32)
        >>> print(len(paths), paths[0].as_posix())
        6 shapes/striped_triangle/000.png
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

    The images in `train` are those of `write_sample_images`. Their number changes
    neither `validation` nor `test`.

    Args:
        directory: a folder that does not exist or is empty; its parents are created.
        classes: number of classes, the first of `SAMPLE_KINDS`.
        per_class: number of training images of each class.
        validation_per_class: number of validation images of each class; with 0 there is
            no such split.
        test_per_class: number of test images of each class; with 0 there is no such
            split.
        size: height and width of the images, in pixels.
        seed: any integer; another seed gives other images.

    Returns:
        The paths written, by split, then class by class in the order of `SAMPLE_KINDS`.

    Raises:
        ValueError: a number is out of range, or `directory` is the working folder.
        FileExistsError: `directory` is a file, or a folder that is not empty.

    Example:
        >>> splits = tl.write_sample_splits("data", classes=2, per_class=4, size=32)
        >>> {split: len(paths) for split, paths in splits.items()}
        {'train': 8, 'validation': 20, 'test': 20}
    """
    require_whole("per_class", per_class, least=1, most=_SPLIT_STRIDE)
    require_whole(
        "validation_per_class", validation_per_class, least=0, most=_SPLIT_STRIDE
    )
    require_whole("test_per_class", test_per_class, least=0, most=_SPLIT_STRIDE)
    directory = Path(directory)
    _check_folder_options(directory, classes, size)
    counts = dict(
        zip(SPLITS, (per_class, validation_per_class, test_per_class), strict=True)
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


_SPLIT_STRIDE = 1_000_000
"""Distance between the numbers of the first images of two splits."""


def _check_folder_options(directory: Path, classes: int, size: int) -> None:
    require_whole("classes", classes, least=2, most=len(SAMPLE_KINDS))
    require_whole("size", size, least=SMALLEST_SIZE_PIXELS)
    if directory.resolve() == Path.cwd():
        raise ValueError(
            "directory must not be the working folder, since it is replaced. "
            f"Received: directory={str(directory)!r}. Name a folder inside it."
        )
    if directory.exists() and not directory.is_dir():
        raise FileExistsError(
            "directory must be new or an empty folder; this is a file. "
            f"Received: directory={str(directory)!r}. Name another folder."
        )
    if directory.exists() and any(directory.iterdir()):
        raise FileExistsError(
            "directory must be new or an empty folder; this one holds files. "
            f"Received: directory={str(directory)!r}. Name another folder."
        )


@contextmanager
def _replacing_folder(directory: Path) -> Iterator[Path]:
    """Give a new folder next to `directory` that replaces it when the block succeeds.

    `tlcore.files.replacing` does the same for a file.
    """
    # A sibling, because a rename is atomic only within one file system.
    target = directory.resolve()
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.with_name(f".{target.name}-{secrets.token_hex(4)}")
    aside.mkdir()
    try:
        yield aside
        if target.exists():
            target.rmdir()  # Windows does not rename to the name of an empty folder.
        put_folder_in_place(aside, target)
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
