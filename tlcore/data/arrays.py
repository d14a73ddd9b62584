"""Arrays: images in memory, read as those of a folder are.

Owns `ImageArrays`, the value, and `image_arrays`, which makes one and refuses arrays
that are not images with labels. Order, batches, views and cached rows are those of an
image folder; only where an image comes from and what identifies it differ. Whether
values and labels fit a model is checked in `contents`.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlcore.arguments import require_whole
from tlcore.backend.transport import Bank, Content, Rows
from tlcore.data.image_folder import ImageFolder
from tlcore.data.pipeline import Pipeline
from tlcore.data.pixels import RGB

BATCH_SIZE = 32
"""Images per batch of a bare tuple (images, labels), as in Keras's `fit`."""


@dataclass(frozen=True, eq=False)
class ImageArrays(ImageFolder):
    """Images in memory as an image folder: `len` is the number of batches per epoch.

    They are listed as they are given, so that labels, weights and predictions are in
    the order of the arrays; training has an order of its own in each epoch.

    Attributes:
        images: (n, height, width, channels), in [0, 255].
        weights: a factor of the loss for each image, None for 1.
    """

    images: NDArray[Any] = field(repr=False, kw_only=True)
    weights: NDArray[np.float32] | None = field(default=None, repr=False, kw_only=True)

    def notes(self) -> str:
        """Return one line: the number of images and their form."""
        size = " x ".join(str(n) for n in self.images.shape[1:])
        return f"{self.num_images} images of {size} in memory ({self.images.dtype})"

    def split_off(
        self, percent: float = 10, *, seed: int | None = None
    ) -> tuple["ImageFolder", "ImageFolder"]:
        """Hold out a part of every class, as of a folder.

        Raises:
            ValueError: an image has no one class, or as for a folder.
        """
        if self.labels.ndim != 1 or self.labels.dtype.kind == "f":
            raise ValueError(
                "split_off needs one class for each image. Received: labels of shape "
                f"{self.labels.shape}, {self.labels.dtype}. Split the arrays: "
                "images[:n], labels[:n]."
            )
        names = self.class_names or tuple(map(str, range(int(self.labels.max()) + 1)))
        named = replace(self, class_names=names)
        parts = ImageFolder.split_off(named, percent, seed=seed)
        rest, part = (replace(x, class_names=self.class_names) for x in parts)
        return rest, part

    @property
    def names(self) -> list[str]:
        """Return what stands for the paths of files."""
        return list(self.paths)

    @property
    def _pipeline(self) -> Pipeline:
        return _ArrayPipeline(
            paths=self.paths,
            digests=self.digests,
            labels=self.labels,
            image_size=self.image_size,
            label_mode=self.label_mode,
            num_classes=self.num_classes,
            arrays=self.images,
            weights=self.weights,
        )

    def _listed(self) -> NDArray[np.int64]:
        return np.arange(self.num_images, dtype=np.int64)

    def taken(self, indices: NDArray[np.intp]) -> "ImageFolder":
        """Return some of the images, in the order of the arrays."""
        chosen = np.sort(indices)
        weights = None if self.weights is None else self.weights[chosen]
        part = super().taken(chosen)
        assert isinstance(part, ImageArrays)  # noqa: S101 - for mypy
        return replace(part, images=self.images[chosen], weights=weights)


@dataclass(frozen=True, eq=False)
class _ArrayPipeline(Pipeline):
    """A pipeline that takes images from an array."""

    arrays: NDArray[Any] = field(kw_only=True, repr=False)
    weights: NDArray[np.float32] | None = field(kw_only=True, repr=False)

    def labelled(
        self,
        *,
        rows: Rows | None,
        bank: Bank | None,
        weights: Sequence[float] | None = None,
    ) -> Content:
        """Return batches as those of a folder, with the weights of the arrays."""
        if weights is None and self.weights is not None:
            weights = self.weights.tolist()
        return super().labelled(rows=rows, bank=bank, weights=weights)

    @property
    def shape(self) -> tuple[int, ...]:
        """Return (height, width, channels) of an image."""
        return self.arrays.shape[1:]

    @property
    def dtype(self) -> str:
        """Return the type of an image as it is read."""
        return "uint8" if self.arrays.dtype == np.uint8 else "float32"

    def read(self, visit: int) -> NDArray[Any]:
        """Return the image of a visit."""
        return np.asarray(self.arrays[visit % len(self.arrays)], self.dtype)


def image_arrays(
    images: Any,
    labels: Any,
    weights: Any = None,
    *,
    batch_size: int = BATCH_SIZE,
    class_names: Sequence[str] | None = None,
    shuffle: bool = True,
    seed: int = 42,
) -> ImageArrays:
    """Return images and labels in memory as data for `fit` and `evaluate`.

    A bare tuple, (images, labels) or (images, labels, weights), is read like this with
    the default options. The order of an epoch is a pure function of seed and epoch.

    Args:
        images: (n, height, width, 3) in [0, 255], of any type of number.
        labels: class indices, (n,), or one column per output, (n, columns).
        weights: a factor of the loss for each image; None for 1.
        batch_size: images per batch; the last batch of an epoch may hold fewer.
        class_names: the names of the classes, for figures of each.
        shuffle: whether each epoch has its own order.
        seed: of the order.

    Raises:
        ValueError: the arrays do not have these shapes, or an option is out of range.

    Example:
        >>> import numpy as np
        >>> images = np.full((6, 32, 32, 3), 128, "uint8")
        >>> train = tl.image_arrays(images, [0, 1, 2, 0, 1, 2], batch_size=4)
        >>> train.num_images, len(train)
        (6, 2)
    """
    require_whole("batch_size", batch_size, least=1)
    require_whole("seed", seed)
    pixels = _pixels(images)
    encoded = _labels(labels, len(pixels))
    names = () if class_names is None else tuple(str(name) for name in class_names)
    return ImageArrays(
        directory=Path("arrays"),
        class_names=names,
        paths=tuple(f"image {i}" for i in range(len(pixels))),
        labels=encoded,
        digests=tuple(tensor_digest(image) for image in pixels),
        kinds=(RGB,) * len(pixels),
        image_size=(pixels.shape[1], pixels.shape[2]),
        batch_size=batch_size,
        # Indices are encoded as they are; so are rows, whatever they stand for.
        label_mode="int" if encoded.ndim == 1 else "multi",
        percent=100,
        shuffle=shuffle,
        seed=seed,
        images=pixels,
        weights=None if weights is None else _weights(weights, len(pixels)),
    )


def tensor_digest(image: NDArray[Any]) -> str:
    """Return the sha256, in hex, of the type, shape and values of an image.

    Example:
        >>> import numpy as np
        >>> black = np.zeros((2, 2, 3), "uint8")
        >>> tensor_digest(black) == tensor_digest(black.astype("float32"))
        False
    """
    digest = hashlib.sha256(f"{image.dtype.str}{image.shape}".encode())
    digest.update(np.ascontiguousarray(image).data)
    return digest.hexdigest()


def are_arrays(data: Any) -> bool:
    """Return whether data is a tuple of arrays and not a sequence of batches.

    Example:
        >>> import numpy as np
        >>> images, labels = np.zeros((4, 8, 8, 3)), [0, 1, 0, 1]
        >>> are_arrays((images, labels)), are_arrays([(images, labels)])
        (True, False)
    """
    return (
        isinstance(data, tuple)
        and len(data) in {2, 3}
        and all(hasattr(x, "shape") or isinstance(x, list) for x in data)
    )


def _pixels(images: Any) -> NDArray[Any]:
    try:
        pixels = np.asarray(images)
    except (ValueError, TypeError) as error:  # images of several sizes
        raise ValueError(
            "Images must be one array, (n, height, width, 3). Received: images of "
            f"{type(images).__name__}, of which NumPy makes none: {error}. Resize them "
            "to one size."
        ) from error
    if pixels.ndim != 4 or pixels.dtype.kind not in "uif" or not len(pixels):
        raise ValueError(
            "Images must be one array of numbers, (n, height, width, 3), with at least "
            f"one image. Received: images of shape {pixels.shape}, {pixels.dtype}. "
            "Stack images of one size with np.stack(images)."
        )
    return pixels


def _labels(labels: Any, count: int) -> NDArray[Any]:
    array = np.asarray(labels)
    if array.dtype.kind not in "uifb":
        shown = next(iter(array.reshape(-1)[:1].tolist()), None)
        raise ValueError(
            "Labels must be numbers, the index of a class or one column per output. "
            f"Received: labels of {array.dtype}, such as {shown!r}. Write "
            "names, labels = np.unique(labels, return_inverse=True)."
        )
    if array.ndim not in {1, 2} or len(array) != count:
        raise ValueError(
            "There must be a label for each image, (n,) or (n, columns). Received: "
            f"labels of shape {array.shape} for {count} images. Give as many labels "
            "as images."
        )
    whole = array.ndim == 1 and bool(np.equal(array, np.round(array)).all())
    return array.astype(np.int64 if whole else np.float32)


def _weights(weights: Any, count: int) -> NDArray[np.float32]:
    factors = np.asarray(weights, np.float32)
    if factors.shape != (count,) or not (np.isfinite(factors) & (factors >= 0)).all():
        raise ValueError(
            "Weights must be a finite factor of at least 0 for each image. Received: "
            f"weights of shape {factors.shape} for {count} images. Give one for each."
        )
    return factors
