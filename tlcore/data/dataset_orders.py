"""Dataset orders: in which order a `tf.data` pipeline gives its elements.

Owns `Order`, the same shuffles and batches over numbers, without the elements. A
pipeline that only slices, maps, shuffles by a seed, and batches gives the same elements
in each reading, in an order that depends on the seed and the reading alone. Its numbers
cost nothing, where its elements may be files to decode. Whoever uses an order checks it
on real readings: how often a pipeline was read before is not known, nor is what its
code does elsewhere.
"""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tlcore.data.random_maps import operations, random_operation

if TYPE_CHECKING:
    import tensorflow as tf

_SOURCES = {"_TensorSliceDataset", "_TensorDataset", "_RangeDataset", "_ZipDataset"}
_ONE_TO_ONE = {
    "_MapDataset",
    "_ParallelMapDataset",
    "_PrefetchDataset",
    "_OptionsDataset",
}
"""Classes of datasets that give one element for each, in the same order."""

_HIDDEN = re.compile(r".*PyFunc.*|.*Variable.*|.*Table.*|Iterator.*|.*Queue.*")
"""Operations that may give something else for the same element."""


class Order:
    """The batches of a pipeline as numbers of its elements, reading after reading.

    Args:
        numbers: what gives the numbers, batched as the pipeline is.
        count: how many elements there are.

    Attributes:
        count: how many elements there are.

    Example:
        >>> import tensorflow as tf
        >>> data = tf.data.Dataset.range(5).map(lambda x: x * 10)
        >>> order = order_of(data.shuffle(5, seed=1).batch(2))
        >>> [len(batch) for batch in order.reading(0)]
        [2, 2, 1]
    """

    def __init__(self, numbers: "tf.data.Dataset", count: int) -> None:
        self.count = count
        self._numbers = numbers
        self._readings: dict[int, list[NDArray[np.int64]]] = {}
        self._next = 0

    def reading(self, number: int) -> list[NDArray[np.int64]]:
        """Return the batches of a reading; those before it are gone through first."""
        while self._next <= number:
            self._readings[self._next] = list(self._numbers.as_numpy_iterator())
            self._next += 1
        return self._readings[number]

    def forget(self, before: int) -> None:
        """Forget the readings before one."""
        for number in [n for n in self._readings if n < before]:
            del self._readings[number]


def order_of(dataset: Any) -> Order | None:
    """Return the order of a `tf.data.Dataset`, None where it cannot be followed."""
    if not hasattr(dataset, "element_spec") or random_operation(dataset) is not None:
        return None
    if any(_HIDDEN.fullmatch(op) for op in operations(dataset)):
        return None
    try:
        numbers, count = _numbers(dataset)
    except (AttributeError, _UnknownOrderError):  # a version with other private names
        return None
    return Order(numbers, count)


class _UnknownOrderError(Exception):
    """A step of a pipeline that cannot be followed."""


def _numbers(dataset: Any) -> tuple["tf.data.Dataset", int]:
    """Return the dataset of numbers, and how many elements there are."""
    import tensorflow as tf

    kind = type(dataset).__name__
    if kind in _ONE_TO_ONE:
        return _numbers(dataset._input_dataset)  # noqa: SLF001 - no public names
    if kind == "_BatchDataset":
        numbers, count = _numbers(dataset._input_dataset)  # noqa: SLF001
        rest = bool(tf.get_static_value(dataset._drop_remainder))  # noqa: SLF001
        return numbers.batch(dataset._batch_size, rest), count  # noqa: SLF001
    if kind == "_ShuffleDataset":
        numbers, count = _numbers(dataset._input_dataset)  # noqa: SLF001
        return _shuffled(numbers, dataset), count
    if all(type(part).__name__ in _SOURCES | _ONE_TO_ONE for part in _parts(dataset)):
        count = int(dataset.cardinality())
        if count > 0:
            return tf.data.Dataset.range(count), count
    raise _UnknownOrderError


def _parts(dataset: Any) -> Iterator[Any]:
    yield dataset
    for parent in dataset._inputs():  # noqa: SLF001
        yield from _parts(parent)


def _shuffled(numbers: "tf.data.Dataset", shuffle: Any) -> "tf.data.Dataset":
    """Return numbers shuffled with the buffer and seeds of a dataset."""
    import tensorflow as tf

    seeds = shuffle._seed, shuffle._seed2  # noqa: SLF001
    if not any(int(seed) for seed in seeds):  # each reading draws seeds of its own
        raise _UnknownOrderError
    spec = numbers.element_spec
    again = shuffle._reshuffle_each_iteration  # noqa: SLF001
    variant = tf.raw_ops.ShuffleDatasetV3(
        input_dataset=tf.data.experimental.to_variant(numbers),
        buffer_size=shuffle._buffer_size,  # noqa: SLF001
        seed=seeds[0],
        seed2=seeds[1],
        seed_generator=tf.raw_ops.DummySeedGenerator(),
        output_types=[spec.dtype],
        output_shapes=[spec.shape],
        reshuffle_each_iteration=True if again is None else again,
    )
    return tf.data.experimental.from_variant(variant, spec)
