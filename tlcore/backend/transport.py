"""Transport: what a backend must know to bring batches to Keras, and nothing of how.

Owns two values. A `Plan` says which images each batch holds, a `Content` what is read
of them. So order, pixels and labels are the same on every backend; how batches are
loaded ahead is of `on_tensorflow` and of `look_ahead`.

A visit is one image in one epoch, as a number: visit v is image `v % n` in epoch
`v // n`. A step is one batch, as a number that counts from the first one of epoch 0.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

AHEAD = 4
"""Batches that are loaded before they are needed; each may be many megabytes."""


class Column(Protocol):
    """The shape and dtype of one array of `Rows`, without the batch dimension."""

    @property
    def shape(self) -> tuple[int | None, ...]:
        """Return the shape for one image."""

    @property
    def dtype(self) -> str:
        """Return the name of the type, such as "float32"."""


class Rows(Protocol):
    """Arrays that replace images: the cached outputs of frozen layers."""

    @property
    def tensors(self) -> Sequence[Column]:
        """Return the shape and dtype of each array."""

    def take(self, visits: NDArray[np.int64]) -> list[NDArray[Any]]:
        """Return one array per tensor, with a row for each visit."""

    def whole(self, max_bytes: int) -> list[NDArray[Any]] | None:
        """Return one array per tensor, with a row for each image.

        None where rows of an epoch or of a batch differ, or need more bytes.
        """


class Bank(Protocol):
    """Computes the augmented view of an image that belongs to a visit."""

    def seeds(self, visits: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the seeds of the view of each visit, visits along the first axis."""

    def views(self, images: Any, seeds: Any) -> Any:
        """Return the views of a batch of images, given their seeds."""


@dataclass(frozen=True)
class Plan:
    """Which images the batches hold.

    Attributes:
        visits: returns the visits of a step.
        sizes: the number of images of each batch of an epoch, from step 0 on.
        first: the step that comes first.
        count: the number of steps of an iteration; None for no end.
        begin: returns what is added to the steps of an iteration that begins, None for
            the same steps in each.

    Example:
        >>> plan = Plan(lambda step: np.arange(3) + 3 * step, sizes=(3, 3), count=2)
        >>> [plan.visits(step).tolist() for step in range(2)]
        [[0, 1, 2], [3, 4, 5]]
    """

    visits: Callable[[int], NDArray[np.int64]]
    sizes: tuple[int, ...]
    first: int = 0
    count: int | None = None
    begin: Callable[[], int] | None = None


@dataclass(frozen=True)
class Content:
    """What is read of the images of a batch.

    Attributes:
        read: returns the image of a visit.
        shape: (height, width, channels) of an image.
        dtype: "uint8" or "float32"; a batch is float32 in any case.
        rows: arrays that replace the images; nothing is then read.
        bank: computes a view of each image.
        targets: returns labels, and weights if any, of the visits of a batch; None for
            batches of images alone.
        columns: (shape, dtype) of what `targets` returns, without the batch dimension.
    """

    read: Callable[[int], NDArray[Any]]
    shape: tuple[int, ...]
    dtype: str = "uint8"
    rows: Rows | None = None
    bank: Bank | None = None
    targets: Callable[[NDArray[np.int64]], tuple[NDArray[Any], ...]] | None = None
    columns: tuple[tuple[tuple[int, ...], str], ...] = ()
