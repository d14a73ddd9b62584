"""Data feeds: what training, validation and predicting read, whatever the data is.

Images that can be told apart are read by `feeds`, batches by `batch_feeds`.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras

from tlcore.caching.batch_feeds import batches_feed
from tlcore.caching.feeds import CacheOptions, Feed, evaluation_feed, training_feed
from tlcore.data.spec import DataSpec


def fit_feeds(
    model: keras.Model,
    train: DataSpec,
    validation: DataSpec | None,
    options: CacheOptions,
    steps: range,
    *,
    weights: Sequence[float] | None,
) -> dict[str, Feed]:
    """Return what training and validation read, by name.

    Args:
        model: a model that is frozen and compiled as it will be trained.
        train: the data of training.
        validation: the data of validation, None for none.
        options: the cache, views and workers.
        steps: the steps of training, counted from the first step of epoch 0; none
            where the data says how many there are.
        weights: a factor of the loss for each image of a folder.

    Raises:
        ValueError: `views` is set, and the images cannot be told apart or the model
            has no augmentation.
        OSError: the cache that the user named cannot be used.
    """
    folder, source = train.folder, train.source
    if folder is not None:
        feeds = {"train": training_feed(model, folder, options, steps, weights)}
    elif options.views is not None:
        raise ValueError(
            "views needs images that can be identified one by one. Received: train of "
            f"type {type(train.data).__name__}. Load them with image_folder."
        )
    else:
        feeds = {"train": _batches(model, source, options, steps)}
    if validation is None:
        return feeds
    return feeds | {"validation": whole_feed(model, validation, options)}


def whole_feed(model: keras.Model, data: DataSpec, options: CacheOptions) -> Feed:
    """Return what reads all of some data once; a folder in its own order.

    Args:
        model: the model to evaluate or predict with.
        data: the data; progress calls it by its name.
        options: the cache and workers.

    Raises:
        OSError: the cache that the user named cannot be used.
    """
    if data.folder is not None:
        return evaluation_feed(model, data.folder, options, data.name)
    return _batches(model, data.source, options, None)


@contextmanager
def read_whole(
    model: keras.Model, data: DataSpec, options: CacheOptions
) -> Iterator[Feed]:
    """Read all of some data once, and keep the features that it leaves.

    Args:
        model: the model to evaluate or predict with.
        data: the data.
        options: the cache and workers.

    Raises:
        ValueError: a batch could not be read.
        OSError: the cache that the user named cannot be used.
    """
    feed = whole_feed(model, data, options)
    try:
        yield feed
    finally:
        feed.raise_error()  # data that ended early gives an error of TensorFlow's
    feed.finish(options)


def _batches(
    model: keras.Model, source: Any, options: CacheOptions, steps: range | None
) -> Feed:
    count = len(steps) if steps else None
    return batches_feed(model, source, options, training=steps is not None, steps=count)
