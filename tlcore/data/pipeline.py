"""Pipeline: what is read of an image in an epoch, in NumPy.

A visit is one image in one epoch, as a number: visit v is image `v % n` in epoch
`v // n`. This module owns what the batches of a folder hold: decoded images, cached
rows instead of them, the encoding of labels, weights. Which images are visited in which
order is decided in `image_folder`, how a file is decoded in `images`; how batches reach
Keras is of the backend (`tlcore.backend`).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlcore.backend.transport import Bank, Content, Rows
from tlcore.data.decoded import DecodedImages
from tlcore.data.images import read_checked_image
from tlcore.data.reading import DEFAULT, Reading


@dataclass(frozen=True, eq=False)
class Pipeline:
    """What is read of visits. Visit v is image `v % len(paths)`.

    Attributes:
        paths: the image files.
        digests: sha256 of the bytes of each file, in hex. No others are read.
        labels: the class index of each file.
        image_size: (height, width) that images are resized to, in pixels.
        label_mode: "categorical", "int", "binary" or "multi".
        num_classes: the number of classes.
        reading: how files become pixels.
        decoded: the images that were read before.
    """

    paths: Sequence[str] = field(repr=False)
    digests: Sequence[str] = field(repr=False)
    labels: NDArray[np.int64] = field(repr=False)
    image_size: tuple[int, int]
    label_mode: str
    num_classes: int
    reading: Reading = DEFAULT
    decoded: DecodedImages = field(default_factory=DecodedImages, repr=False)

    def images(self, bank: Bank | None) -> Content:
        """Return batches of images without labels."""
        return Content(self.read, self.shape, self.dtype, bank=bank)

    def labelled(
        self,
        *,
        rows: Rows | None,
        bank: Bank | None,
        weights: Sequence[float] | None = None,
    ) -> Content:
        """Return batches of (inputs, labels), or of (inputs, labels, weights).

        Args:
            rows: arrays that replace the images.
            bank: computes a view of each image.
            weights: one factor of the loss for each image.
        """
        factors = None if weights is None else np.asarray(weights, np.float32)

        def targets(visits: NDArray[np.int64]) -> tuple[NDArray[Any], ...]:
            indices = visits % len(self.paths)
            labels = self.encoded(indices)
            return (labels,) if factors is None else (labels, factors[indices])

        label = self.encoded(np.zeros(1, np.int64))
        columns = [(label.shape[1:], label.dtype.name)]
        if factors is not None:
            columns.append(((), "float32"))
        return Content(
            self.read, self.shape, self.dtype, rows, bank, targets, tuple(columns)
        )

    @property
    def shape(self) -> tuple[int, ...]:
        """Return (height, width, channels) of an image."""
        return *self.image_size, 3

    @property
    def dtype(self) -> str:
        """Return the type of an image as it is read."""
        return "uint8"

    def read(self, visit: int) -> NDArray[Any]:
        """Return the image of a visit, (height, width, 3) in [0, 255].

        Raises:
            ValueError: the file has changed since it was checked, or is gone.
        """
        image = visit % len(self.paths)
        if not self._keeps:
            return self._decode(image)
        # All that the pixels depend on.
        key = self.digests[image], self.image_size, self.reading
        return self.decoded.get(key, lambda: self._decode(image))

    def encoded(self, indices: NDArray[np.int64]) -> NDArray[Any]:
        """Return the labels of images as `label_mode` says, and rows as they are."""
        labels = self.labels[indices]
        # Rows of columns, or numbers that are no indices, are passed on as they are.
        if labels.ndim != 1 or labels.dtype.kind not in "iu":
            return labels.astype(np.float32, copy=False)
        if self.label_mode == "categorical":
            one_hot = np.zeros((len(labels), self.num_classes), np.float32)
            one_hot[np.arange(len(labels)), labels] = 1
            return one_hot
        if self.label_mode == "binary":
            return labels[:, None].astype(np.float32)
        return labels.astype(np.int32)

    @cached_property
    def _keeps(self) -> bool:
        return self.decoded.fits(len(self.paths), math.prod(self.shape))

    def _decode(self, image: int) -> NDArray[np.uint8]:
        file = self.paths[image], self.digests[image]
        return read_checked_image(*file, self.image_size, self.reading)
