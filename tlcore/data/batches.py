"""Batches: data that others made, read batch by batch as NumPy arrays.

Owns `Batches`, one reading of which is one epoch: of a `tf.data.Dataset`, a
`keras.utils.PyDataset`, or anything that has a length and can be iterated, such as a
PyTorch `DataLoader`. Owns what such data must look like before it is read, and the
sentence for each that does not. Every batch is checked as it comes, by `contents`.

A dataset may have another order each time it is read, so that no reading may be wasted:
the first look takes the first batch of the first epoch, which is held until it is read.
"""

import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlcore.data.contents import Batch, Expected, check_batch

INFINITE = -1
"""What `tf.data` reports as the cardinality of a dataset that repeats forever."""

_FORM = "batches (images, labels)"


class Batches:
    """Data in batches, read one epoch after the other.

    Args:
        data: the dataset or iterable.
        name: what it is passed as, such as "train".

    Attributes:
        data: the dataset or iterable.
        name: what it is passed as.
        count: the number of batches of an epoch, None where it is not known.
        unbounded: whether an epoch never ends.
        first_epoch: the index of the epoch that is read first, for messages.
        expected: what each batch is checked against, None before that is known.
        error: what ended a reading too early, None if nothing did.

    Raises:
        ValueError: it is none of these, or its elements are no batches.

    Example:
        >>> import numpy as np
        >>> batch = np.zeros((4, 32, 32, 3)), np.array([0, 1, 2, 0])
        >>> batches = Batches([batch, batch], "train")
        >>> batches.count, batches.image_shape, batches.label_shape
        (2, (32, 32, 3), ())
        >>> [len(images) for images, labels, weights in batches.epoch()]
        [4, 4]
    """

    def __init__(self, data: Any, name: str) -> None:
        self.data, self.name = data, name
        self.first_epoch = 0
        self.expected: Expected | None = None
        self.error: Exception | None = None
        self._begun = 0  # readings
        self._skip = 0  # batches of the next one
        self._held: tuple[Batch, Iterator[Batch]] | None = None
        self._spec = getattr(data, "element_spec", None)
        self.count, self.unbounded = _length(data, name)
        if self._spec is not None:
            _check_spec(self._spec, name)

    @property
    def is_tf_data(self) -> bool:
        """Return whether it is a `tf.data.Dataset`."""
        return self._spec is not None

    @property
    def is_indexed(self) -> bool:
        """Return whether it is a PyDataset, whose batches are asked for by number."""
        return self._spec is None and hasattr(self.data, "num_batches")

    @property
    def image_shape(self) -> tuple[int | None, ...]:
        """Return the shape of an image, as declared or else as that of the first."""
        return self._shapes[0]

    @property
    def label_shape(self) -> tuple[int | None, ...]:
        """Return the shape of a label, as declared or else as that of the first."""
        return self._shapes[1]

    @property
    def _shapes(self) -> tuple[tuple[int | None, ...], tuple[int | None, ...]]:
        if self._spec is not None:
            images, labels = (tuple(part.shape)[1:] for part in self._spec[:2])
            return images, labels
        batch = self.first()
        return batch.images.shape[1:], batch.labels.shape[1:]

    def first(self) -> Batch:
        """Return the first batch of the epoch that is read next.

        Raises:
            ValueError: there is none, or it is no batch of images and labels.
        """
        if self._held is None:
            number = self.first_epoch + self._begun
            # A PyDataset can be asked for one batch and need not begin an epoch.
            look = self._read(number, [self.data[0]] if self.is_indexed else None)
            batch = next(look, None)
            if batch is None:
                raise ValueError(
                    f"There must be data. Received: {self.name}, a dataset without a "
                    "batch."
                )
            self._held = batch, look
        return self._held[0]

    def epoch(self, *, shuffled: bool = False) -> Iterator[Batch]:
        """Yield the batches of the next epoch, each checked.

        Args:
            shuffled: whether a PyDataset gives its batches in an order of its own, as
                in Keras's `fit`; that order is a function of the epoch.

        Raises:
            ValueError: a batch cannot be read or trained on, or the epoch ends early.
        """
        held, self._held = self._held, None
        number = self.first_epoch + self._begun
        self._begun += 1
        seen, self._skip = self._skip, 0
        if self.is_indexed:
            order = self._indexed(number, shuffled=shuffled, first=seen)
            batches = self._read(number, order, first=seen)
        else:
            if held is None:
                batches = self._read(number)
            else:
                batches = itertools.chain([held[0]], held[1])
            batches = itertools.islice(batches, seen, None)
        for batch in batches:
            if self.expected is not None:
                check_batch(batch, self._where(seen, number), self.expected)
            seen += 1
            # Before the last one is given: nobody asks for more after it.
            if seen == self.count:
                self._end_as_keras_does()
            yield batch
        if self.count is None and self._begun > 1:
            self._end_as_keras_does()
        if self.count is not None and seen < self.count:
            raise ValueError(
                f"An epoch must hold as many batches as its length says, {self.count}. "
                f"Received: {self.name}, epoch {number + 1}, which ended after {seen}. "
                "Make it give all of them each time it is iterated."
            )

    @property
    def stride(self) -> int:
        """Return how many readings of a dataset of known length an epoch begins."""
        return 2

    def pass_over(self) -> None:
        """Count the next epoch as read, without reading it."""
        held, self._held = self._held, None
        self._begun += 1
        if held is None and not self.is_indexed:
            iter(self.data)
        if self.count is not None or self._begun > 1:
            self._end_as_keras_does()

    def go_to(self, epoch: int, batch: int = 0) -> None:
        """Move on to a batch of an epoch that has not been read.

        Args:
            epoch: the index of the epoch.
            batch: the index of the batch in it.
        """
        while self.first_epoch + self._begun < epoch:
            self.pass_over()
        self._skip = batch

    @property
    def is_begun(self) -> bool:
        """Return whether an epoch has been read or passed over."""
        return self._begun > 0

    @property
    def is_within(self) -> bool:
        """Return whether the next epoch is not read from its first batch on."""
        return self._skip > 0

    def guarded(self, batches: Callable[[], Iterator[Any]]) -> Iterator[Any]:
        """Yield what `batches()` yields until it fails, and keep the error.

        TensorFlow turns an error inside a pipeline into a traceback of its own. So the
        pipeline merely ends, and whoever trains on it looks at `error`.
        """
        try:
            yield from batches()
        except Exception as error:  # noqa: BLE001 - it is raised by whoever trains
            self.error = error

    def raise_error(self) -> None:
        """Raise what ended a reading too early.

        Raises:
            ValueError: a batch could not be read or trained on.
        """
        if self.error is not None:
            raise self.error

    def _where(self, batch: int, epoch: int) -> str:
        # Counted from 1, as Keras prints them.
        return f"{self.name}, epoch {epoch + 1}, step {batch + 1}"

    def _end_as_keras_does(self) -> None:
        """Begin a reading and drop it, as Keras's `fit` does at the end of an epoch.

        A dataset that shuffles draws the order of a reading when that begins. Keras
        begins one at the end of each epoch whose length it knows, and another one for
        the next epoch. The images are to come in the order in which Keras reads them.
        """
        if self.is_tf_data:
            iter(self.data)

    def _read(
        self, epoch: int, elements: Iterable[Any] | None = None, *, first: int = 0
    ) -> Iterator[Batch]:
        if elements is None:
            elements = self.data.as_numpy_iterator() if self.is_tf_data else self.data
        raw = iter(elements)
        number = first
        while self.count is None or number < self.count:
            where = self._where(number, epoch)
            try:
                element = next(raw)
            except StopIteration:
                return
            except Exception as error:
                reason = (str(error).strip() or type(error).__name__).splitlines()[0]
                raise ValueError(
                    f"Every batch must be readable. Received: {where}, which could not "
                    f"be made: {type(error).__name__}: {reason}. Repair or leave out "
                    "what it is made from."
                ) from error
            yield _batch(element, type(self.data).__name__, where)
            number += 1

    def _indexed(self, epoch: int, *, shuffled: bool, first: int) -> Iterator[Any]:
        """Yield the batches of a PyDataset, made ahead by as many threads as it says.

        Its processes, if it asks for some, are threads here: they see one dataset.
        """
        data, count = self.data, self.count or 0
        order = (_order(epoch, count).tolist() if shuffled else range(count))[first:]
        data.on_epoch_begin()
        made = (data[n] for n in order) if data.workers <= 1 else _ahead(data, order)
        for at, batch in enumerate(made, start=first):
            # Before the last one is given: nobody asks for more after it.
            if at == count - 1:
                data.on_epoch_end()
            yield batch


def _ahead(data: Any, order: Sequence[int]) -> Iterator[Any]:
    with ThreadPoolExecutor(data.workers) as pool:
        waiting: list[Future[Any]] = []
        for number in order:
            waiting.append(pool.submit(data.__getitem__, number))
            if len(waiting) > data.max_queue_size:
                yield waiting.pop(0).result()
        for future in waiting:
            yield future.result()


def _order(epoch: int, count: int) -> NDArray[np.int64]:
    """Return a permutation of the batches that depends on the epoch alone."""
    key = hashlib.shake_128(f"batches/{epoch}".encode())
    return np.argsort(np.frombuffer(key.digest(8 * count), dtype="<u8"), kind="stable")


def _length(data: Any, name: str) -> tuple[int | None, bool]:
    """Return the number of batches, None if unknown, and whether there is no end."""
    if hasattr(data, "cardinality"):
        count = int(data.cardinality())
        return (None if count < 0 else count), count == INFINITE
    if hasattr(data, "num_batches"):  # a PyDataset
        count = data.num_batches
        if count is None:
            raise ValueError(
                f"Data must have a length. Received: {name}, a "
                f"{type(data).__name__} without one. Give it a __len__, the number of "
                "batches."
            )
        return count, False
    if isinstance(data, str | bytes | dict) or not hasattr(data, "__iter__"):
        raise _no_data(data, name)
    if not hasattr(data, "__len__"):
        raise ValueError(
            "Data must be readable again in each epoch, and have a length. Received: "
            f"{name}, a {type(data).__name__}, which has none. Use a "
            "keras.utils.PyDataset, or list(...) of the batches if they fit in memory."
        )
    return len(data), False


def _no_data(data: Any, name: str) -> ValueError:
    return ValueError(
        "Data must be an image folder, arrays (images, labels), or a tf.data.Dataset, "
        f"PyDataset or other iterable with a length of {_FORM}. "
        f"Received: {type(data).__name__} as {name}."
    )


def _check_spec(spec: Any, name: str) -> None:
    """Refuse a `tf.data.Dataset` whose elements are not batches of known rank."""
    if isinstance(spec, dict):
        keys = list(spec)
        image, label = _likely(keys, "image", 0), _likely(keys, "label", -1)
        raise ValueError(
            f"A dataset must give {_FORM}. Received: {name}, with elements of the keys "
            f"{', '.join(map(repr, keys))}. Write "
            f"map(lambda e: (e[{image!r}], e[{label!r}]))."
        )
    if not isinstance(spec, tuple) or len(spec) not in {2, 3}:
        found = f"{len(spec)} parts" if isinstance(spec, tuple) else "one part"
        raise ValueError(
            f"A dataset must give {_FORM}. Received: {name}, with elements of {found}. "
            "Write map(lambda ...: (images, labels))."
        )
    if not all(hasattr(part, "shape") for part in spec):
        raise ValueError(
            f"A dataset must give {_FORM}. Received: {name}, with tensors in a mapping "
            "or list. Write map(lambda x, y: (x['image'], y)), with the key or index "
            "of the images."
        )
    images, labels = (part.shape for part in spec[:2])
    if images.rank is None or labels.rank is None:
        which, call = "images", "(tf.ensure_shape(x, (None, 224, 224, 3)), y)"
        if images.rank is not None:
            which, call = "labels", "(x, tf.ensure_shape(y, (None,)))"
        raise ValueError(
            f"The shapes of a dataset must be known. Received: {name}, with {which} of "
            "unknown rank, as numpy_function, py_function and from_generator give "
            f"them. Write map(lambda x, y: {call}), with your shape."
        )
    _check_batched(len(images), tuple(images), name)


def _check_batched(rank: int, shape: Any, name: str) -> None:
    if rank == 3:
        raise ValueError(
            f"Data must come in {_FORM}. Received: {name}, with single images of "
            f"{tuple(shape)}. Batch it: .batch(32)."
        )
    if rank != 4:
        raise ValueError(
            "Images must be (n, height, width, channels). "
            f"Received: {name}, with images of shape {tuple(shape)}. Give batches of "
            "images, decoded and of one size."
        )


def _likely(keys: Sequence[Any], word: str, default: int) -> Any:
    return next((key for key in keys if word in str(key).lower()), keys[default])


def _batch(element: Any, source: str, where: str) -> Batch:
    """Return an element as a batch of arrays."""
    if isinstance(element, dict):
        keys = list(element)
        image, label = _likely(keys, "image", 0), _likely(keys, "label", -1)
        raise ValueError(
            f"Data must give {_FORM}. Received: {where}, a dict of "
            f"{', '.join(map(repr, keys))}. Give (batch[{image!r}], batch[{label!r}])."
        )
    if not isinstance(element, tuple | list) or len(element) not in {2, 3}:
        kind = type(element).__name__
        raise ValueError(
            f"Data must be an image folder, arrays (images, labels), or {_FORM}. "
            f"Received: {source} as {where}, of type {kind}. Give a tuple: (images, "
            "labels)."
        )
    parts = [None if part is None else _array(part, where) for part in element]
    images, labels = parts[:2]
    if images is None or labels is None:
        raise ValueError(
            f"Data must give {_FORM}. Received: {where}, with None. Give both."
        )
    _check_batched(images.ndim, images.shape, where)
    return Batch(images, labels, parts[2] if len(parts) == 3 else None)


def _array(part: Any, where: str) -> NDArray[Any]:
    if isinstance(part, dict):
        raise ValueError(
            f"Data must give {_FORM}, each one array. Received: {where}, a dict of "
            f"{', '.join(map(repr, part))}. Give the array of the images."
        )
    try:
        # A tensor of PyTorch on a GPU says itself that it must be copied first.
        return np.asarray(part)
    except (ValueError, TypeError, RuntimeError) as error:
        raise ValueError(
            f"Images and labels must be arrays. Received: {where}, with "
            f"{type(part).__name__}, of which NumPy makes none: {error}. Give "
            "arrays, for tensors of PyTorch tensor.cpu().numpy()."
        ) from error
