"""Image grid: random images of a folder or dataset, a row for each class.

Owns which images are drawn and how labels and pixels of any form are read. How a figure
is made and saved is in `figures`.
"""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, runtime_checkable

import numpy as np

from tlcore.data.labels import class_indices
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
"""Rows of a grid of images; of more classes, this many are drawn at random."""
THUMBNAIL_PIXELS = 320
T = TypeVar("T")


@runtime_checkable
class ImagePaths(Protocol):
    """Images in files, such as an `ImageFolder`: one label, from 0, for each path."""

    @property
    def class_names(self) -> Sequence[str]:
        """The name of every class."""

    @property
    def paths(self) -> Sequence[str | Path]:
        """The files."""

    @property
    def labels(self) -> Values:
        """The class of every file."""


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

    The choice depends on `seed` and on the order of the images alone. A dataset is read
    once, to its end: `take` some batches of a large one.

    Args:
        images: an image folder, whose files are drawn as they are, undistorted; or a
            `tf.data.Dataset` or iterable of batches (images, labels), the images in
            [0, 255] of shape (batch, height, width, 1, 3 or 4), the labels one-hot,
            whole numbers or a binary column.
        class_names: the names of the classes; by default the `class_names` of `images`,
            or else the indices.
        per_class: images in a row, at most.
        seed: of the choice; of more than 20 classes it chooses those drawn too.
        path: where to save the figure; its folder must exist.

    Raises:
        ValueError: there is no image, an option is out of range, the batches are not of
            the form above, or the suffix of `path` is none matplotlib writes.
        OSError: an image cannot be read, or the figure cannot be written.
    """
    target = checked_path(path)
    if per_class < 1:
        raise ValueError(f"per_class must be at least 1. Received: {per_class=}.")
    if seed < 0:
        raise ValueError(f"seed must be at least 0. Received: {seed=}.")
    names = class_names
    if names is None:
        names = getattr(images, "class_names", None)
    chosen = _sample(_labelled(images), per_class, seed)
    if not chosen:
        raise ValueError(
            "images must hold at least one image. "
            f"Received: images={reprlib.repr(images)}. Check its folder or filter."
        )
    if names is not None and max(chosen) >= len(names):
        raise ValueError(
            "class_names must name every class. "
            f"Received: {len(names)} names, label {max(chosen)} (counted from 0)."
        )
    labels = _some_classes(sorted(chosen), seed)
    figure = _grid(
        [str(label if names is None else names[label]) for label in labels],
        [[_pixels(image) for image in chosen[label]] for label in labels],
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
    # Every size is known: a layout engine would make room for the width of a title.
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
            # A square cell, whatever the shape of the image in its upper left corner.
            side = max(image.shape[:2])
            place.set(xlim=(-0.5, side - 0.5), ylim=(side - 0.5, -0.5))
        axes[0].set_title(title, loc="left", fontsize=10, parse_math=False)
    some = f"{len(rows)} of {total}" if len(rows) < total else str(total)
    text = f"{some} {'class' if total == 1 else 'classes'}"
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
    """Choose images of each class uniformly, in one pass (Vitter's algorithm R)."""
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
    """Yield (class, path or pixels) of every image."""
    if isinstance(images, ImagePaths):
        labels = class_indices(images.labels).tolist()
        if len(labels) != len(images.paths):
            raise ValueError(
                "Every image must have one label. "
                f"Received: {len(images.paths)} images, {len(labels)} labels."
            )
        yield from zip(labels, images.paths, strict=True)
        return
    cardinality: Callable[[], Any] | None = getattr(images, "cardinality", None)
    if cardinality is not None and int(cardinality()) == -1:
        raise ValueError(
            "images must end. Received: an infinite dataset. "
            "Leave out its repeat(), or take(n) batches."
        )
    highest = 0.0
    for batch in images:
        pixels, labels = _unpacked(batch)
        if pixels.dtype.kind == "f":
            highest = np.maximum(highest, np.max(np.abs(pixels), initial=0))
        whole = np.rint(np.clip(np.nan_to_num(pixels), 0, 255)).astype(np.uint8)
        # Copies, because a view that is kept keeps its whole batch.
        yield from zip(labels, (image.copy() for image in whole), strict=True)
    if 0 < highest <= 1:
        raise ValueError(
            "images must be in [0, 255]. "
            f"Received: no value beyond {highest:g}. Multiply them by 255."
        )


def _unpacked(batch: Any) -> tuple[NDArray[Any], list[int]]:
    """Return the pixels, (batch, height, width) or with colours, and their classes."""
    if not isinstance(batch, (tuple, list)) or len(batch) not in {2, 3}:
        raise ValueError(
            "images must yield batches (images, labels). "
            f"Received: batch={reprlib.repr(batch)}."
        )
    pixels = np.asarray(batch[0])
    labels = class_indices(batch[1]).tolist()
    if pixels.ndim != 4 or pixels.shape[-1] not in {1, 3, 4}:
        raise ValueError(
            "A batch of images must have shape (batch, height, width, 1, 3 or 4). "
            f"Received: shape={pixels.shape}."
        )
    if len(labels) != len(pixels):
        raise ValueError(
            "Every image must have one label. "
            f"Received: {len(pixels)} images, {len(labels)} labels."
        )
    if pixels.dtype.kind not in "iu":
        pixels = pixels.astype(np.float32)
    if pixels.shape[-1] == 1:
        pixels = pixels[..., 0]
    return pixels, labels


def _pixels(image: NDArray[np.uint8] | str | Path) -> NDArray[np.uint8]:
    """Return an image no larger than a figure can show, its proportions kept."""
    if isinstance(image, np.ndarray):
        return image
    from PIL import Image

    try:
        with Image.open(image) as opened:
            opened.draft("RGB", (THUMBNAIL_PIXELS, THUMBNAIL_PIXELS))
            pixels = opened.convert("RGB")
    except (OSError, SyntaxError, ValueError) as error:
        raise OSError(
            "Every path must hold an image that Pillow reads. "
            f"Received: path={str(image)!r} ({error}). Remove or replace it."
        ) from error
    pixels.thumbnail((THUMBNAIL_PIXELS, THUMBNAIL_PIXELS))
    return np.asarray(pixels)
