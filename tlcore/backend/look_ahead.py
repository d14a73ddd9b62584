"""Look-ahead: batches for JAX and PyTorch, loaded by threads before they are needed.

Owns two datasets in the form of a `keras.utils.PyDataset`. `LookAhead` can be asked for
any batch and begins the next ones meanwhile; `InOrder` gives what a function yields.
Keras's own threads (`workers=`) are not used: it starts a new pool for each epoch and
waits a tenth of a second at its end, which is more than a cached epoch takes.
"""

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache, partial
from itertools import count as count_from
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from tlcore.backend.transport import AHEAD, Content, Plan

Waiting = Callable[[], Any]
"""Waits for a batch that is being loaded, and returns it."""


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="tlcore-read")


class LookAhead(keras.utils.PyDataset):
    """Batches by number, the next ones begun before they are asked for.

    Args:
        begin: begins to load a batch and returns what waits for it.
        count: the number of batches, None for no end.
        finish: what is made of each batch, in this order.
        started: called when an iteration begins.

    Example:
        >>> data = LookAhead(lambda i: lambda: (np.full(2, i), i), 3)
        >>> [label for inputs, label in data]
        [0, 1, 2]
        >>> [label for inputs, label in data.map(lambda x, y: (x, -y))]
        [0, -1, -2]
    """

    def __init__(
        self,
        begin: Callable[[int], Waiting],
        count: int | None,
        finish: tuple[Callable[..., Any], ...] = (),
        started: Callable[[], object] | None = None,
    ) -> None:
        super().__init__()
        self._begin, self._count = begin, count
        self._finish, self._started = finish, started
        self._begun: dict[int, Waiting] = {}
        self._lock = threading.Lock()

    @property
    def num_batches(self) -> int | None:
        """Return the number of batches of an epoch, None for no end."""
        return self._count

    def __len__(self) -> int:
        """Return the number of batches."""
        if self._count is None:
            raise TypeError("batches without an end have no length")
        return self._count

    def cardinality(self) -> int:
        """Return the number of batches, -1 for no end, as `tf.data` says it."""
        return -1 if self._count is None else self._count

    def __getitem__(self, index: int) -> Any:
        """Return a batch, and begin those after it."""
        with self._lock:
            if index == 0 and self._started is not None:
                self._begun.clear()
                self._started()
            batch = self._begun.pop(index, None) or self._begin(index)
            last = index + AHEAD
            if self._count is not None:
                last = min(last, self._count - 1)
            # What an iteration that was left had begun is no longer wanted.
            self._begun = {
                i: self._begun.get(i) or self._begin(i)
                for i in range(index + 1, last + 1)
            }
        found = batch()
        for function in self._finish:
            found = function(*found) if isinstance(found, tuple) else function(found)
        return found

    def __iter__(self) -> Iterator[Any]:
        """Yield the batches of one iteration."""
        numbers = count_from() if self._count is None else range(self._count)
        for number in numbers:
            yield self[number]

    def take(self, count: int) -> "LookAhead":
        """Return the first batches."""
        most = count if self._count is None else min(count, self._count)
        return LookAhead(self._begin, most, self._finish, self._started)

    def map(self, function: Callable[..., Any]) -> "LookAhead":
        """Return the same batches with a function applied to each."""
        finish = (*self._finish, function)
        return LookAhead(self._begin, self._count, finish, self._started)


class InOrder(keras.utils.PyDataset):
    """What a function yields, as a dataset; each iteration calls it anew.

    Args:
        batches: returns an iterator of batches.
        count: the number of batches.
        finish: what is made of each batch.
    """

    def __init__(
        self,
        batches: Callable[[], Iterator[Any]],
        count: int | None,
        finish: tuple[Callable[..., Any], ...] = (),
    ) -> None:
        super().__init__()
        self._batches, self._count, self._finish = batches, count, finish
        self._elements: Iterator[Any] = iter(())

    @property
    def num_batches(self) -> int | None:
        """Return the number of batches."""
        return self._count

    def __len__(self) -> int:
        """Return the number of batches."""
        if self._count is None:
            raise TypeError("batches of an unknown number have no length")
        return self._count

    def __getitem__(self, index: int) -> Any:
        """Return the next batch; the first one begins a new reading."""
        if index == 0:
            self._elements = iter(self._batches())
        batch = next(self._elements, None)
        if batch is None:
            # Keras asks for as many as there should be. Why there are fewer is known by
            # whoever reads them.
            raise IndexError(f"the data ended before batch {index + 1}")
        return self._finished(batch)

    def __iter__(self) -> Iterator[Any]:
        """Yield the batches of a new reading."""
        return map(self._finished, self._batches())

    def map(self, function: Callable[..., Any]) -> "InOrder":
        """Return the same batches with a function applied to each."""
        return InOrder(self._batches, self._count, (*self._finish, function))

    def _finished(self, batch: Any) -> Any:
        for function in self._finish:
            batch = function(*batch)
        return batch


def planned(
    plan: Plan, content: Content, views: Callable[..., Any] | None
) -> LookAhead:
    """Return the batches of a plan.

    Args:
        plan: which images they hold.
        content: what is read of these.
        views: computes the views of images, given their seeds, as arrays; None where
            the content has no bank.
    """
    offset = [plan.first]

    def started() -> None:
        if plan.begin is not None:
            offset[0] = plan.first + plan.begin()

    def begin(index: int) -> Waiting:
        visits = plan.visits(offset[0] + index)
        inputs = _begun(content, visits, views)

        def wait() -> Any:
            if content.targets is None:
                return inputs()
            return inputs(), *content.targets(visits)

        return wait

    return LookAhead(begin, plan.count, started=started if plan.begin else None)


def _begun(
    content: Content,
    visits: NDArray[np.int64],
    views: Callable[..., Any] | None,
) -> Waiting:
    """Begin to load the inputs of a batch."""
    rows, bank = content.rows, content.bank
    if rows is not None:
        taken = _pool().submit(rows.take, visits)
        return lambda: tuple(taken.result())
    images = np.empty((len(visits), *content.shape), np.float32)

    def read(row: int, visit: int) -> None:
        images[row] = content.read(visit)

    reading: list[Future[None]] = [
        _pool().submit(read, row, visit) for row, visit in enumerate(visits.tolist())
    ]

    def wait() -> Any:
        for future in reading:
            future.result()
        if bank is None or views is None:
            return images
        return np.asarray(views(images, bank.seeds(visits)))

    return wait


def bank_views(
    content: Content, compile_it: Callable[[Callable[..., Any]], Callable[..., Any]]
) -> Callable[..., Any] | None:
    """Return what computes the views of a content, compiled; None without a bank."""
    return None if content.bank is None else compile_it(partial(content.bank.views))
