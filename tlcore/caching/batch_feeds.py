"""Batch feeds: what `fit` and `evaluate` read of data that is no folder, and why.

Owns the decision between features and images for `Batches`, and the datasets that Keras
trains on: each reading is one epoch, checked batch by batch. Both have the same images
in the same order, so that weights are the same. For folders and arrays, which can be
asked for any image, the decision is in `feeds`.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from tlcore.backend import seam
from tlcore.caching.batch_features import BatchFeatures
from tlcore.caching.batch_sizes import InexactError
from tlcore.caching.feeds import CacheOptions, Feed, NotCached, require_cacheable
from tlcore.caching.redirection import Side, apart, marked_as_cut
from tlcore.caching.replay import Replay
from tlcore.caching.store import TooLargeError
from tlcore.data.batches import Batches
from tlcore.data.contents import Batch
from tlcore.data.dataset_orders import order_of
from tlcore.data.random_maps import random_operation
from tlcore.files import readable
from tlcore.splitting.graph import UnsplittableError
from tlcore.splitting.part import kept_prefix
from tlcore.splitting.split import Split, split


def batches_feed(
    model: keras.Model,
    source: Batches,
    options: CacheOptions,
    *,
    training: bool,
    steps: int | None = None,
) -> Feed:
    """Return what training or evaluation reads of batches.

    Args:
        model: a model that is frozen and compiled as it will be trained.
        source: the batches; nothing but the first may have been read.
        options: the cache.
        training: whether they train the model.
        steps: how many batches are read in all, once; None reads an epoch each time.

    Raises:
        OSError: the cache that the user named cannot be used.

    Example:
        >>> import numpy as np
        >>> batch = np.full((4, 32, 32, 3), 128, "uint8"), np.array([0, 1, 2, 0])
        >>> model = tl.create_model("sample_net", 3, input_shape=(32, 32, 3))
        >>> options = CacheOptions("features")
        >>> source = Batches([batch, batch], "train")
        >>> batches_feed(model, source, options, training=True).sentence
        'cached at pool, 512 B/image, by the values of each image'
    """
    first = source.first()

    def batches() -> Iterator[Batch]:
        read = 0
        for batch in source.epoch(shuffled=training):
            read += 1
            yield batch
        if steps is not None and read < steps:
            raise ValueError(
                f"Data must hold the {steps} batches that all epochs take. Received: "
                f"{source.name}, which ended after {read}. Repeat it, data.repeat(), "
                "or leave steps_per_epoch out."
            )

    count = source.count if steps is None else None
    images = _spec((None, *model.input_shape[1:]), _fed(first.images))
    try:
        features, divided = _features(
            model, source, options, training=training, once=steps is not None
        )
    except NotCached as reason:
        data = _dataset(source, partial(_images, batches), images, count=count)
        whole = apart(model, training=training, fill=len(first.images))
        side = Side(whole=whole)
        return Feed(data, side, f"end to end, {reason}", source)
    rows = tuple(((None, *t.shape), t.dtype) for t in divided.cut)
    # Two whole readings are needed to know the later ones.
    replay = None if source.is_within else _replay(source, features, first)
    elements = partial(_cuts, batches, features, replay)
    data = _dataset(source, elements, rows, count=count)
    how = f"cached at {divided.name}, {readable(divided.nbytes)}/image"
    return Feed(
        marked_as_cut(data),
        Side(divided.suffix),
        f"{how}, by the values of each image",
        source,
        features,
    )


def _features(
    model: keras.Model,
    source: Batches,
    options: CacheOptions,
    *,
    training: bool,
    once: bool,
) -> tuple[BatchFeatures, Split]:
    """Return what gives the cut of the images, and the split.

    Raises:
        NotCached: images must be read instead; the message says why.
        OSError: the cache that the user named cannot be used.
    """
    require_cacheable(model, options)
    if source.unbounded:
        raise NotCached("its data never ends, and may never repeat an image")
    if once:
        raise NotCached("with steps_per_epoch each of its batches is read once")
    random = random_operation(source.data) if training else None
    if random is not None:
        raise NotCached(f"its pipeline is random ({random}), so no image comes again")
    images = source.first().images
    if len(images) == 1 and source.count != 1:
        raise NotCached("its batches hold one image each")
    try:
        divided = split(model, training=training)
        shape = tuple(model.input_shape[1:])
        prefix = kept_prefix(model, divided.prefix, divided.fingerprint, shape)
        size = images.shape[1:3]
        features = BatchFeatures(divided, prefix, size, len(images), options.open())
        features.probe(images)
    except (UnsplittableError, InexactError) as reason:
        raise NotCached(str(reason)) from None
    except (OSError, TooLargeError) as error:
        if options.by_name:
            raise
        raise NotCached(f"the cache cannot be used: {error}") from None
    return features, divided


def _replay(source: Batches, features: BatchFeatures, first: Batch) -> Replay | None:
    """Return what gives later readings of a pipeline, None if it must be read."""
    order = order_of(source.data) if source.count is not None else None
    if order is None:
        return None
    count = len(first.images)
    rest = order.count % count
    # An image has one row here, whichever batch it comes in.
    sizes = {features.size(n, first.images) for n in (count, rest) if n}
    if len(sizes) > 1 or 1 in sizes:
        return None
    return Replay(source, order)


def _images(batches: Callable[[], Iterator[Batch]]) -> Iterator[Any]:
    for batch in batches():
        yield _fed(batch.images), *_rest(batch)


def _cuts(
    batches: Callable[[], Iterator[Batch]],
    features: BatchFeatures,
    replay: Replay | None,
) -> Iterator[Any]:
    features.begin()
    if replay is None:
        for batch in batches():
            yield tuple(features.take(batch.images)), *_rest(batch)
        return
    if replay.is_ready:
        for numbers, *rest in replay.reading():
            yield tuple(features.rows(numbers.tolist())), *rest
        return
    replay.begin()
    for batch in batches():
        known = features.numbers(batch.images)
        rest = _rest(batch)
        # Before it is given: nobody asks for more after the last batch.
        replay.record(known, rest)
        yield tuple(features.rows(known)), *rest


def _dataset(
    source: Batches,
    elements: Callable[[], Iterator[Any]],
    inputs: tuple[Any, ...],
    *,
    count: int | None,
) -> Any:
    """Return the batches as a dataset, each iteration of which is one reading."""
    rest = _rest(source.first())
    signature = (inputs, *(_spec((None, *x.shape[1:]), x) for x in rest))
    guarded = partial(source.guarded, elements)
    return seam.current().generated(guarded, signature, count)


def _rest(batch: Batch) -> list[NDArray[Any]]:
    return [_fed(x) for x in batch[1:] if x is not None]


def _spec(shape: tuple[int | None, ...], array: NDArray[Any]) -> tuple[Any, Any]:
    return shape, array.dtype.name


def _fed(array: NDArray[Any]) -> NDArray[Any]:
    """Return an array in a type that every step takes: bytes, indices or float32."""
    if array.dtype == np.uint8 and array.ndim == 4:
        return array
    whole = array.dtype.kind in "iu" and array.ndim == 1
    return array.astype(np.int32 if whole else np.float32, copy=False)
