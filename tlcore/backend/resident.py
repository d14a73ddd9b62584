"""Resident: cached rows that lie in the memory of a GPU, where steps use them.

Owns when they do: where one row stands for an image in every epoch and every batch, and
all of them fit in a part of the memory that is free. A batch of rows takes longer from
the host to a GPU than many a suffix takes to compute.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlcore.backend.transport import Column, Content, Rows

SHARE = 0.25
"""The part of the free memory that rows may take."""


class ResidentRows:
    """Rows that are taken from arrays on a device.

    Args:
        tensors: what a row consists of.
        arrays: a row for each image.
        put: brings an array to the device.
        pick: returns some rows of an array on the device, given their indices.

    Example:
        >>> rows = ResidentRows((), [np.arange(3) * 10], np.asarray, np.take)
        >>> rows.take(np.array([2, 3]))  # of image 2, and of image 0 an epoch later
        [array([20,  0])]
    """

    def __init__(
        self,
        tensors: Sequence[Column],
        arrays: Sequence[NDArray[Any]],
        put: Callable[[NDArray[Any]], Any],
        pick: Callable[[Any, NDArray[np.int32]], Any],
    ) -> None:
        self.tensors = tensors
        self._count = len(arrays[0])
        self._arrays, self._pick = [put(array) for array in arrays], pick

    def take(self, visits: NDArray[np.int64]) -> list[Any]:
        """Return one array on the device per tensor, with a row for each visit."""
        rows = (visits % self._count).astype(np.int32)
        return [self._pick(array, rows) for array in self._arrays]

    def whole(self, max_bytes: int) -> None:
        """Return None: they are where they should be."""


def brought(
    content: Content,
    free_bytes: int,
    put: Callable[[NDArray[Any]], Any],
    pick: Callable[[Any, NDArray[np.int32]], Any],
) -> Content:
    """Return a content whose rows lie on a device, where they may and fit.

    Args:
        content: what is read of batches.
        free_bytes: what is free on the device; 0 where there is none.
        put: brings an array to the device.
        pick: returns some rows of an array on the device.
    """
    rows: Rows | None = content.rows
    if rows is None or not free_bytes:
        return content
    arrays = rows.whole(int(SHARE * free_bytes))
    if arrays is None:
        return content
    return replace(content, rows=ResidentRows(rows.tensors, arrays, put, pick))
