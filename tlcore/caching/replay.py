"""Replay: what a pipeline would give once more, from what it gave before.

Owns `Replay`: it records two readings of a pipeline, finds them among the readings that
its order describes, and gives the later ones without a single image being read. Where
the two are not found, the pipeline is read in every epoch.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlcore.data.batches import Batches
from tlcore.data.dataset_orders import Order

_EARLIER_READINGS = 64
"""How often a pipeline may have been read before, to show its images for example."""


class Replay:
    """The readings of a pipeline after the second.

    Args:
        source: the pipeline.
        order: its order.
    """

    def __init__(self, source: Batches, order: Order) -> None:
        self._source, self._order = source, order
        self._readings: list[list[tuple[NDArray[Any], ...]]] = []
        # By the number of an element: its row, label and weight.
        self._elements: tuple[NDArray[Any], ...] | None = None
        self._first = 0
        self._given = 0
        self._failed = False

    @property
    def is_ready(self) -> bool:
        """Return whether the next reading is known."""
        return self._elements is not None

    def begin(self) -> None:
        """Begin to record a reading."""
        if not self._failed:
            self._readings.append([])

    def record(self, rows: Sequence[int], rest: Sequence[NDArray[Any]]) -> None:
        """Record a batch that was read.

        Args:
            rows: what identifies its images.
            rest: its labels, and weights if any.
        """
        if self._failed:
            return
        self._readings[-1].append((np.asarray(rows), *rest))
        done = [len(reading) == self._source.count for reading in self._readings]
        if done == [True, True]:
            self._find()

    def reading(self) -> Iterator[tuple[NDArray[Any], ...]]:
        """Yield rows, labels and weights of the batches of the next reading."""
        assert self._elements is not None  # noqa: S101 - `is_ready` says so
        elements = self._elements
        self._source.pass_over()
        self._given += 1
        number = self._first + self._given * self._source.stride
        for batch in self._order.reading(number):
            yield tuple(column[batch] for column in elements)
        self._order.forget(number)

    def _find(self) -> None:
        """Find the two readings among those of the order."""
        self._failed = True  # nothing more to record
        first, second = (_columns(reading) for reading in self._readings)
        sizes = [len(batch[0]) for batch in self._readings[0]]
        stride = self._source.stride
        for number in range(_EARLIER_READINGS):
            batches = self._order.reading(number)
            if [len(batch) for batch in batches] != sizes:
                break
            taken = np.concatenate(batches)
            elements = tuple(_scattered(x, taken, self._order.count) for x in first)
            later = np.concatenate(self._order.reading(number + stride))
            if all(
                _same(x[later], y) for x, y in zip(elements, second, strict=True)
            ) and set(later) <= set(taken):
                self._elements = elements
                self._first = number + stride
                break
        self._readings.clear()


def _columns(reading: Sequence[tuple[NDArray[Any], ...]]) -> list[NDArray[Any]]:
    return [np.concatenate(parts) for parts in zip(*reading, strict=True)]


def _scattered(
    values: NDArray[Any], places: NDArray[np.int64], count: int
) -> NDArray[Any]:
    array = np.zeros((count, *values.shape[1:]), values.dtype)
    array[places] = values
    return array


def _same(a: NDArray[Any], b: NDArray[Any]) -> bool:
    return a.shape == b.shape and a.tobytes() == b.tobytes()
