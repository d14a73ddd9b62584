"""Image grid: random images of a folder or dataset, one row per class.

Owns which images are drawn, how pixels in files and batches are read, and where images
and names are in the figure. The forms of labels are read in `tlcore.data.labels`; how a
figure is created and saved is in `figures`.
"""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, runtime_checkable

import numpy as np

from tlcore.arguments import counted, require_whole
from tlcore.data.image_folder import ImageFolder
from tlcore.data.images import read_picture
from tlcore.data.labels import class_indices
from tlcore.data.reading import DEFAULT, Reading
from tlcore.plotting.figures import (
    GAP_INCHES,
    TITLE_ROW_INCHES,
    WIDTH_INCHES,
    Values,
    checked_path,
    new_figure,
    save_figure,
    wrapped,
)

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.figure import Figure
    from numpy.typing import NDArray

MAX_CLASSES = 20
"""The most rows; of more classes, this many are chosen at random."""
THUMBNAIL_PIXELS = 320
"""Images in files are shrunk to this: a cell has at most 160 pixels on a side."""
T = TypeVar("T")


@runtime_checkable
class ImagePaths(Protocol):
    """Images in files, such as an `ImageFolder`."""

    @property
    def class_names(self) -> Sequence[str]:
        """The name of every class."""

    @property
    def paths(self) -> Sequence[str | Path]:
        """The files."""

    @property
    def labels(self) -> Values:
        """The class index of every file, from 0."""


Images = ImagePaths | Iterable[Any]
"""An `ImageFolder`, a `tf.data.Dataset` or any iterable of (images, labels) batches."""


def plot_images(
    images: Images,
    *,
    class_names: Sequence[str] | None = None,
    per_class: int = 4,
    seed: int = 42,
    path: str | Path | None = None,
) -> Figure:
    """Draw a grid of random images, one row per class, and return the figure.

    The choice depends only on `seed` and on the order of the images. A dataset is read
    once, to its end; pass a few batches of a large one: `dataset.take(10)`.

    Args:
        images: an image folder, whose files are drawn in their own proportions; or a
            `tf.data.Dataset` or other iterable of batches (images, labels). Images are
            in [0, 255], of shape (batch, height, width, 1, 3 or 4); labels are one-hot,
            whole numbers or a binary column.
        class_names: the names of the classes; by default the `class_names` of `images`,
            or the indices if it has none.
        per_class: the most images in a row.
        seed: of the choice of images, and of classes if there are more than 20.
        path: where to save the figure; its folder must exist.

    Raises:
        ValueError: there is no image, an option is out of range, the batches have
            another form, or matplotlib cannot write files with the suffix of `path`.
        OSError: an image cannot be read, or the figure cannot be written.

    Example:
        >>> figure = tl.plot_images(tl.image_folder("photos/train"), per_class=2)
        >>> figure.get_suptitle()
        '3 classes'
    """
    target = checked_path(path)
    require_whole("per_class", per_class, least=1)
    require_whole("seed", seed, least=0)
    names = class_names
    if names is None:
        names = getattr(images, "class_names", None)
    chosen = _sample(_labelled(images), per_class, seed)
    if not chosen:
        raise ValueError(
            "images must hold at least one image. "
            f"Received: images={reprlib.repr(images)}. Check the folder or filter."
        )
    if names is not None and max(chosen) >= len(names):
        raise ValueError(
            "class_names must name every class. "
            f"Received: {counted(len(names), 'name')}, label {max(chosen)} (counted "
            "from 0). Add the missing names."
        )
    labels = _some_classes(sorted(chosen), seed)
    reading = images.reading if isinstance(images, ImageFolder) else DEFAULT
    figure = _grid(
        [str(label if names is None else names[label]) for label in labels],
        [[_pixels(image, reading) for image in chosen[label]] for label in labels],
        total=len(chosen if names is None else names),
    )
    save_figure(figure, target)
    return figure


def _grid(
    names: Sequence[str], rows: Sequence[Sequence[NDArray[np.uint8]]], *, total: int
) -> Figure:
    """Draw rows of images under the names of their classes."""
    columns = max(map(len, rows))
    cell = max(0.6, min(1.6, WIDTH_INCHES / columns - GAP_INCHES))
    wide = max(4.0, columns * (cell + GAP_INCHES) + GAP_INCHES)
    titles = [wrapped(name, int(wide * 10)) for name in names]
    room = 0.16 + TITLE_ROW_INCHES * max(title.count("\n") + 1 for title in titles)
    high = 0.25 + len(rows) * (cell + room) + GAP_INCHES
    # All sizes are known. The constrained layout would shrink the images to make room
    # for a title that is wider than they are.
    figure = new_figure(high, width=wide, layout=None)
    grid = figure.subplots(
        len(rows),
        columns,
        squeeze=False,
        gridspec_kw={
            "left": GAP_INCHES / wide,
            "right": (columns * (cell + GAP_INCHES)) / wide,
            "top": (high - 0.25 - room) / high,
            "bottom": GAP_INCHES / high,
            "wspace": GAP_INCHES / cell,
            "hspace": room / cell,
        },
    )
    for axes, title, images in zip(grid, titles, rows, strict=True):
        for place in axes:
            place.set_axis_off()
        for place, image in zip(axes, images, strict=False):
            place.imshow(image, cmap="gray", vmin=0, vmax=255)
            # The axes of every cell are square, with the image in the upper left
            # corner; otherwise wide and high images would not line up under the name.
            side = max(image.shape[:2])
            place.set(xlim=(-0.5, side - 0.5), ylim=(side - 0.5, -0.5))
        # To find the place, matplotlib would make all ticks, which takes half the time.
        axes[0].set_title(title, loc="left", fontsize=10, y=1.0, parse_math=False)
    some = f"{len(rows)} of " if len(rows) < total else ""
    text = some + counted(total, "class", "classes")
    figure.suptitle(text, y=1 - GAP_INCHES / high, fontsize=12)
    return figure


def _some_classes(labels: Sequence[int], seed: int) -> list[int]:
    if len(labels) <= MAX_CLASSES:
        return list(labels)
    generator = np.random.default_rng(seed)
    return sorted(generator.choice(labels, MAX_CLASSES, replace=False).tolist())


def _sample(
    images: Iterable[tuple[int, T]], per_class: int, seed: int
) -> dict[int, list[T]]:
    """Choose images of each class uniformly, in one pass.

    Algorithm R: Vitter, "Random Sampling with a Reservoir" (1985). Each class has its
    own generator, so that its sample does not depend on the images of other classes.
    """
    kept: dict[int, list[T]] = {}
    seen: dict[int, int] = {}
    generators: dict[int, np.random.Generator] = {}
    for label, image in images:
        mine = kept.setdefault(label, [])
        seen[label] = seen.get(label, 0) + 1
        if len(mine) < per_class:
            mine.append(image)
            continue
        if label not in generators:
            generators[label] = np.random.default_rng((seed, label))
        place = int(generators[label].integers(seen[label]))
        if place < per_class:
            mine[place] = image
    return kept


def _labelled(images: Images) -> Iterator[tuple[int, Any]]:
    """Yield (class index, path or pixels) of every image."""
    if isinstance(images, ImageFolder):
        # In the sorted order, so that the choice does not depend on its seed.
        images = images.unshuffled()
    if isinstance(images, ImagePaths):
        labels = class_indices(images.labels).tolist()
        if len(labels) != len(images.paths):
            raise ValueError(
                "Every image must have one label. "
                f"Received: {counted(len(images.paths), 'image')}, "
                f"{counted(len(labels), 'label')}. Pass as many labels as paths."
            )
        pixels = getattr(images, "images", None)  # of arrays, which have no files
        drawn = images.paths if pixels is None else map(_whole, pixels)
        yield from zip(labels, drawn, strict=True)
        return
    cardinality: Callable[[], Any] | None = getattr(images, "cardinality", None)
    if cardinality is not None and int(cardinality()) == -1:
        raise ValueError(
            "images must end. Received: an infinite dataset. "
            "Leave out repeat(), or pass take(n) of it."
        )
    if not isinstance(images, Iterable):
        raise ValueError(
            "images must be an image folder, paths, or batches (images, labels). "
            f"Received: images={reprlib.repr(images)}. Pass tl.image_folder(directory)."
        )
    highest = 0.0
    for batch in images:
        pixels, labels = _unpacked(batch)
        if pixels.dtype.kind == "f":
            highest = np.maximum(highest, np.max(np.abs(pixels), initial=0))
        whole = _whole(pixels)
        # Copies: a view would keep the memory of its whole batch.
        yield from zip(labels, (image.copy() for image in whole), strict=True)
    # Known only at the end, since a batch may be nearly black. Images in [0, 1] would
    # all be drawn black.
    if 0 < highest <= 1:
        raise ValueError(
            "images must be in [0, 255]. "
            f"Received: no value beyond {highest:g}. Multiply them by 255."
        )


def _whole(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    whole: NDArray[np.uint8] = np.rint(np.clip(np.nan_to_num(pixels), 0, 255)).astype(
        np.uint8
    )
    return whole


def _unpacked(batch: Any) -> tuple[NDArray[Any], list[int]]:
    """Return pixels, (batch, height, width) or with channels, and class indices."""
    if not isinstance(batch, (tuple, list)) or len(batch) not in {2, 3}:
        raise ValueError(
            "images must yield batches (images, labels). "
            f"Received: batch={reprlib.repr(batch)}. Zip the images with their labels."
        )
    pixels = np.asarray(batch[0])
    labels = class_indices(batch[1]).tolist()
    if pixels.ndim != 4 or pixels.shape[-1] not in {1, 3, 4}:
        raise ValueError(
            "A batch of images must have shape (batch, height, width, 1, 3 or 4). "
            f"Received: shape={pixels.shape}. Batch the dataset, channels last."
        )
    if len(labels) != len(pixels):
        raise ValueError(
            "Every image must have one label. "
            f"Received: {counted(len(pixels), 'image')}, "
            f"{counted(len(labels), 'label')}. "
            "Zip the images with their labels before batching."
        )
    if pixels.dtype.kind not in "iu":
        pixels = pixels.astype(np.float32)
    if pixels.shape[-1] == 1:
        pixels = pixels[..., 0]
    return pixels, labels


def _pixels(
    image: NDArray[np.uint8] | str | Path, reading: Reading
) -> NDArray[np.uint8]:
    """Return an image, shrunk in proportion if it is read from a file."""
    if isinstance(image, np.ndarray):
        return image
    try:
        pixels = read_picture(image, reading, about=THUMBNAIL_PIXELS)
    except ValueError as error:
        raise OSError(str(error)) from error
    pixels.thumbnail((THUMBNAIL_PIXELS, THUMBNAIL_PIXELS))
    return np.asarray(pixels)
