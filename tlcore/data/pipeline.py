"""Pipeline: images, or cached rows instead of them, as `tf.data` batches.

A visit is one image in one epoch, as a number: visit v is image `v % n` in epoch
`v // n`. This module owns how visits become batches: parallel decoding, augmented
views, the encoding of labels, and the end of the threads that do it. Which images are
visited in which order is decided in `image_folder`, how a file is decoded in `images`.
TensorFlow is imported only where a dataset is built.
"""

import atexit
import math
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tlcore.data.decoded import DecodedImages
from tlcore.data.images import read_checked_image
from tlcore.data.reading import DEFAULT, Reading

if TYPE_CHECKING:
    import tensorflow as tf

_PREFETCHED_BATCHES = 4
"""Decoded batches that wait for training. With tf.data.AUTOTUNE it may be hundreds."""
_END_POLLS, _END_POLL_SECONDS = 50, 0.1
"""How often, and how far apart, to look whether tf.data is done at the end."""


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


class Bank(Protocol):
    """Computes the augmented view of an image that belongs to a visit."""

    def seeds(self, visits: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the seeds of the view of each visit, visits along the first axis."""

    def views(self, images: Any, seeds: Any) -> Any:
        """Return the views of a batch of images, given their seeds."""


class _Calls:
    """Calls from the threads of tf.data, which must end before the interpreter does.

    One that wants Python while the interpreter shuts down gets no answer, and the
    iterator that waits for it keeps the process from ending: after Ctrl-C, for good.
    """

    def __init__(self) -> None:
        self.ending = False
        self._lock = threading.Lock()
        self._begun = self._running = 0

    def __enter__(self) -> None:
        with self._lock:
            self._begun += 1
            self._running += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._running -= 1

    def end(self) -> None:
        """Have reads return at once, and wait until all buffers are full of that."""
        self.ending = True
        begun = 0
        with suppress(KeyboardInterrupt):  # a second Ctrl-C: go at once
            for _ in range(_END_POLLS):
                if not self._running and self._begun == begun:
                    break
                begun = self._begun
                time.sleep(_END_POLL_SECONDS)


_calls = _Calls()
atexit.register(_calls.end)


@dataclass(frozen=True, eq=False)
class Pipeline:
    """Turns visits into batches. Visit v is image `v % len(paths)`.

    Attributes:
        paths: the image files.
        digests: sha256 of the bytes of each file, in hex. No others are read.
        labels: the class index of each file.
        image_size: (height, width) that images are resized to, in pixels.
        batch_size: images per batch.
        label_mode: "categorical", "int", "binary" or "multi".
        num_classes: the number of classes.
        reading: how files become pixels.
        decoded: the images that were read before.
    """

    paths: Sequence[str] = field(repr=False)
    digests: Sequence[str] = field(repr=False)
    labels: NDArray[np.int64] = field(repr=False)
    image_size: tuple[int, int]
    batch_size: int
    label_mode: str
    num_classes: int
    reading: Reading = DEFAULT
    decoded: DecodedImages = field(default_factory=DecodedImages, repr=False)

    def visited(
        self, visits: Callable[..., NDArray[np.int64]], *epoch: Any
    ) -> "tf.data.Dataset":
        """Return the visits of one epoch as a dataset of numbers.

        Called within `flat_map`, so that `visits` is called once for every epoch.

        Args:
            visits: returns the visits of the epoch in order.
            epoch: a tensor, the index of the epoch, which `visits` then takes.
        """
        import tensorflow as tf

        def ordered(*epoch: Any) -> NDArray[np.int64]:
            with _calls:
                return visits(*epoch)

        # Without an argument the function itself counts epochs. It is then stateful:
        # TensorFlow must neither merge two calls nor drop one.
        numbers = tf.numpy_function(ordered, epoch, tf.int64, stateful=not epoch)
        return tf.data.Dataset.from_tensor_slices(
            tf.ensure_shape(numbers, (len(self.paths),))
        )

    def images(
        self, visits: "tf.data.Dataset", batch_size: int, bank: Bank | None
    ) -> "tf.data.Dataset":
        """Return batches of images without labels, [0, 255] float32."""
        loaded = self._loaded(visits)
        batches = loaded.batch(batch_size).map(
            lambda images, visits: _as_views(images, visits, bank)
        )
        return batches.prefetch(_PREFETCHED_BATCHES)

    def batches(
        self,
        visits: "tf.data.Dataset",
        *,
        first_batch: int,
        rows: Rows | None,
        bank: Bank | None,
        weights: Sequence[float] | None = None,
    ) -> "tf.data.Dataset":
        """Return batches of (inputs, labels), or of (inputs, labels, weights).

        Args:
            visits: of the images, as numbers; an infinite dataset holds whole epochs.
            first_batch: the index within its epoch of the batch that comes first.
            rows: arrays that replace the images.
            bank: computes a view of each image.
            weights: one factor of the loss for each image.
        """
        import tensorflow as tf

        # Rows of columns, or numbers that are no indices, are passed on as they are.
        whole = self.labels.ndim == 1 and self.labels.dtype.kind in "iu"
        labels = tf.constant(self.labels, tf.int32 if whole else tf.float32)
        factors = None if weights is None else tf.constant(weights, tf.float32)

        def finish(*batch: Any) -> tuple[Any, ...]:
            visits = batch[-1]
            if rows is None:
                inputs = _as_views(batch[0], visits, bank)
            else:
                inputs = _rows_of(rows, visits)
            indices = visits % len(self.paths)
            finished = inputs, self._encoded(tf.gather(labels, indices))
            if factors is None:
                return finished
            return *finished, tf.gather(factors, indices)

        source = self._loaded(visits) if rows is None else visits
        batches = source.batch(self.batch_size)
        full, partial = divmod(len(self.paths), self.batch_size)
        if partial:
            # `batch` fills every batch, also across the end of an epoch. `rebatch`
            # cuts its stream again into the batch sizes of an epoch, in a cycle that
            # starts at the first batch, so that no batch holds images of two epochs.
            sizes = [self.batch_size] * full + [partial]
            batches = batches.rebatch(np.roll(sizes, -first_batch))
        return batches.map(finish).prefetch(_PREFETCHED_BATCHES)

    def _loaded(self, visits: "tf.data.Dataset") -> "tf.data.Dataset":
        """Return (decoded image, visit) for each visit."""
        import tensorflow as tf

        shape = (*self.image_size, 3)
        keeps = self.decoded.fits(len(self.paths), math.prod(shape))

        def decode(image: int) -> NDArray[np.uint8]:
            file = self.paths[image], self.digests[image]
            return read_checked_image(*file, self.image_size, self.reading)

        def read(visit: int) -> NDArray[np.uint8]:
            with _calls:
                if _calls.ending:
                    return np.zeros(shape, np.uint8)
                image = visit % len(self.paths)
                if not keeps:
                    return decode(image)
                # All that the pixels depend on.
                key = self.digests[image], self.image_size, self.reading
                return self.decoded.get(key, lambda: decode(image))

        def load(visit: Any) -> tuple[Any, Any]:
            # With enable_op_determinism, tf.data runs a map whose function is stateful
            # (the default) on one thread.
            image = tf.numpy_function(read, [visit], tf.uint8, stateful=False)
            return tf.ensure_shape(image, shape), visit

        parallel = tf.data.AUTOTUNE
        return visits.map(load, num_parallel_calls=parallel, deterministic=True)

    def _encoded(self, labels: Any) -> Any:
        """Return class indices as `label_mode` says, and rows as they are."""
        import tensorflow as tf

        if labels.dtype != tf.int32:
            return labels
        if self.label_mode == "categorical":
            return tf.one_hot(labels, self.num_classes, dtype=tf.float32)
        if self.label_mode == "binary":
            return tf.cast(labels[:, tf.newaxis], tf.float32)
        return labels


def _as_views(images: Any, visits: Any, bank: Bank | None) -> Any:
    """Return a batch of images as float32, or the views that a bank computes of it."""
    import tensorflow as tf

    images = tf.cast(images, tf.float32)
    if bank is None:
        return images

    def seeds(visits: NDArray[np.int64]) -> NDArray[np.int64]:
        with _calls:
            return bank.seeds(visits)

    drawn = tf.numpy_function(seeds, [visits], tf.int64, stateful=False)
    return bank.views(images, drawn)


def _rows_of(rows: Rows, visits: Any) -> tuple[Any, ...]:
    """Return the arrays that replace the images of some visits."""
    import tensorflow as tf

    types = [tf.as_dtype(tensor.dtype) for tensor in rows.tensors]

    def take(visits: NDArray[np.int64]) -> list[NDArray[Any]]:
        with _calls:
            return rows.take(visits)

    taken = tf.numpy_function(take, [visits], types, stateful=False)
    return tuple(
        tf.ensure_shape(array, (None, *tensor.shape))
        for array, tensor in zip(taken, rows.tensors, strict=True)
    )


def from_generator(
    batches: Callable[[], Any],
    signature: tuple[Any, ...],
    count: int | None,
) -> "tf.data.Dataset":
    """Return what a function yields as a dataset; each iteration calls it anew.

    Args:
        batches: returns an iterator of elements.
        signature: (shape, type) of each tensor, nested as in an element.
        count: the number of elements, None where it is not known.
    """
    import tensorflow as tf

    def spec(part: Any) -> Any:
        if isinstance(part[-1], str):
            return tf.TensorSpec(*part)
        return tuple(spec(inner) for inner in part)

    def calls() -> Any:
        elements = iter(batches())
        while True:
            with _calls:
                element = None if _calls.ending else next(elements, None)
            if element is None:
                return
            yield element

    specs = tuple(spec(part) for part in signature)
    dataset = tf.data.Dataset.from_generator(calls, output_signature=specs)
    if count is not None:
        dataset = dataset.apply(tf.data.experimental.assert_cardinality(count))
    return dataset.prefetch(_PREFETCHED_BATCHES)
