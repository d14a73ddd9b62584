"""Feeds: what `fit` and `evaluate` read, features or images, and why.

Owns the decision between features from the cache and images end to end, for training
and for evaluation, and the sentence that says which and why. Whatever makes features
inexact or impossible ends in images and a reason, never in other weights. Features are
computed in `feature_pass`; steps that take them are in `redirection`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from tlcore.arguments import counted, require_whole
from tlcore.backend import seam
from tlcore.caching.batch_features import BatchFeatures, keep_or_say
from tlcore.caching.batch_sizes import InexactError, computed_sizes
from tlcore.caching.entry import BLOCK_ROWS
from tlcore.caching.feature_pass import CachedRows, cached_features
from tlcore.caching.redirection import Side, apart, marked_as_cut
from tlcore.caching.store import FeatureCache, TooLargeError, default_cache
from tlcore.caching.work import PassOptions, Source
from tlcore.data.batches import Batches
from tlcore.data.image_folder import ImageFolder
from tlcore.files import readable
from tlcore.splitting.graph import Graph, UnsplittableError
from tlcore.splitting.part import kept_prefix
from tlcore.splitting.split import Split, split, split_augmentation
from tlcore.splitting.views import ViewBank
from tlcore.terminal.progress import PassProgress

AUTO, OFF = "auto", "off"
"""What `cache` can be instead of a folder."""


@dataclass(frozen=True)
class CacheOptions:
    """The options of `fit` that concern the cache.

    Attributes:
        cache: "auto", "off" or a folder.
        views: how many views of each image augmentation makes; None makes a new one
            every epoch.
        workers: the number of processes that share one pass.
        progress: called after every batch of a pass.
    """

    cache: str | Path = AUTO
    views: int | None = None
    workers: int = 1
    progress: PassProgress | None = None

    @property
    def by_name(self) -> bool:
        """Return whether the user named a cache, so that failing to use it is an error.

        The default cache is a convenience: where it fails, images are read instead.
        """
        return self.cache != AUTO

    def open(self) -> FeatureCache:
        """Return the cache."""
        return default_cache(self.cache if self.by_name else None)


@dataclass(frozen=True)
class Feed:
    """What `fit` reads for one kind of data.

    Attributes:
        data: batches of inputs and labels.
        side: what steps run on the inputs.
        sentence: how the data is read, and why, for people.
        batches: what the data is read from, None for images that are known by number.
        features: what gives the cuts of these batches, None if images are read.
        cached: whether it reads features of all images that were stored before.
    """

    data: Any
    side: Side
    sentence: str
    batches: Batches | None = None
    features: BatchFeatures | None = None
    cached: bool = False

    def raise_error(self) -> None:
        """Raise what ended a reading of the batches too early.

        Raises:
            ValueError: a batch could not be read or trained on.
        """
        if self.batches is not None:
            self.batches.raise_error()

    def finish(self, options: CacheOptions) -> str | None:
        """Keep the features of batches; return what there is to say, None if nothing.

        Raises:
            OSError: the cache that the user named cannot be used.
        """
        if self.features is None:
            return None
        if self.features.never_came_again:
            return "its images were new in every epoch, so all were computed again"
        return keep_or_say(self.features, by_name=options.by_name)


def training_feed(
    model: keras.Model,
    folder: ImageFolder,
    options: CacheOptions,
    steps: range,
    weights: Sequence[float] | None = None,
) -> Feed:
    """Return what training reads.

    Args:
        model: a model that is frozen and compiled as it will be trained.
        folder: the images.
        options: the cache, views and workers.
        steps: the steps of training, counted from the first step of epoch 0.
        weights: a factor of the loss for each image of the folder.

    Raises:
        ValueError: `views` is set and the model has no augmentation, or has steps of
            its own.
        OSError: the cache that the user named cannot be used.

    Example:
        >>> folder = tl.image_folder("photos/train", image_size=32)
        >>> model = tl.create_model("sample_net", 3, input_shape=(32, 32, 3))
        >>> options = CacheOptions(cache="features")
        >>> training_feed(model, folder, options, range(2)).sentence
        'cached at pool, 512 B/image'
    """
    stream = partial(folder.stream, steps.start, stop=steps.stop, weights=weights)
    full = _full(folder)
    whole = apart(model, training=True, fill=full)
    end_to_end = Feed(stream(), Side(whole=whole), "")
    bank, augmentation = None, None
    graph: keras.Model | Graph = model
    if options.views is not None:
        _check_steps(model)
        augmentation, graph = _split_views(model)
        bank = ViewBank(
            augmentation,
            count=options.views,
            seed=folder.seed,
            digests=folder.digests,
        )
        views = marked_as_cut(stream(bank=bank))
        count = f"{counted(options.views, 'view')}, "
        rest = apart(graph, training=True, fill=full) or augmentation.suffix
        end_to_end = Feed(views, Side(rest), count)
    visited = _Visited.between(folder, steps)
    try:
        rows, divided, how = _cached(
            model, graph, folder, options, visited, bank=bank, name="train"
        )
    except NotCached as reason:
        return Feed(
            end_to_end.data,
            end_to_end.side,
            f"{end_to_end.sentence}end to end, {reason}",
        )
    data = marked_as_cut(stream(rows=rows))
    # A callback may evaluate on images meanwhile.
    side = Side(divided.suffix, end_to_end.side.whole)
    return Feed(data, side, end_to_end.sentence + how, cached=True)


def evaluation_feed(
    model: keras.Model, folder: ImageFolder, options: CacheOptions, name: str
) -> Feed:
    """Return what evaluation reads: all images once, in the folder's order.

    Args:
        model: the model to evaluate.
        folder: the images.
        options: the cache and workers.
        name: what progress calls the data.

    Raises:
        OSError: the cache that the user named cannot be used.
    """
    folder = folder.unshuffled()
    visited = _Visited.between(folder, range(len(folder)))
    try:
        rows, divided, how = _cached(
            model, model, folder, options, visited, bank=None, name=name
        )
    except NotCached as reason:
        whole = apart(model, training=False, fill=_full(folder))
        return Feed(folder.dataset(), Side(whole=whole), f"end to end, {reason}")
    data = marked_as_cut(folder.dataset(rows=rows))
    return Feed(data, Side(divided.suffix), how, cached=True)


def evaluation_rows(
    model: keras.Model, folder: ImageFolder, options: CacheOptions
) -> CachedRows | None:
    """Return the cut of all images in the folder's order, None if it is not cached.

    Args:
        model: the model to evaluate.
        folder: the images; its batch size does not matter.
        options: the cache and workers.

    Returns:
        The rows, to be taken in batches of `BLOCK_ROWS`, the last one of the rest.

    Raises:
        OSError: the cache that the user named cannot be used.
    """
    # The batch size of the rows: it decides which image is alone in its batch.
    folder = replace(folder.unshuffled(), batch_size=BLOCK_ROWS)
    visited = _Visited.between(folder, range(len(folder)))
    # Where the last batch rounds otherwise, it is filled: no step has to agree with it.
    blocks = _Visited({BLOCK_ROWS: np.arange(folder.num_images)}, visited.epochs)
    for some in (visited, blocks):
        try:
            rows, _, _ = _cached(
                model, model, folder, options, some, bank=None, name="linear probe"
            )
        except NotCached:
            continue
        return rows
    return None


class NotCached(Exception):  # noqa: N818 - the sentence of a feed, not an error
    """Why images are read instead of features."""


def require_cacheable(model: keras.Model, options: CacheOptions) -> None:
    """Refuse to cache for a model whose steps cannot run a suffix, or without a cache.

    Raises:
        NotCached: the message says why.
    """
    if options.cache == OFF:
        raise NotCached("the cache is off")
    reason = _why_not(model)
    if reason is not None:
        raise NotCached(reason)


@dataclass(frozen=True)
class _Visited:
    """What some steps visit.

    Attributes:
        batches: by the size of a batch, the indices of the images that are in one;
            where sizes do not round alike, the last batch of an epoch is filled.
        epochs: the epochs that the steps touch.
    """

    batches: Mapping[int, NDArray[np.int64]]
    epochs: range

    @classmethod
    def between(cls, folder: ImageFolder, steps: range) -> "_Visited":
        """Return what the steps from the first of epoch 0 on visit."""
        epochs = range(steps.start // len(folder), -(-steps.stop // len(folder)))
        full, rest = _full(folder), folder.num_images % folder.batch_size
        batches = {full: np.arange(folder.num_images)}
        if rest not in {0, full} and seam.current().SIZES_ROUND_ALIKE:
            # The last batch of an epoch holds fewer, in each epoch other ones.
            last = {int(i) for e in epochs for i in folder.order(e)[-rest:]}
            batches[rest] = np.array(sorted(last), np.int64)
        return cls(batches, epochs)


def _full(folder: ImageFolder) -> int:
    """Return the size of the batches of an epoch, to which smaller ones are filled."""
    if seam.current().SIZES_ROUND_ALIKE:  # none is filled
        return min(folder.batch_size, folder.num_images)
    return folder.batch_size


def _cached(
    model: keras.Model,
    graph: keras.Model | Graph,
    folder: ImageFolder,
    options: CacheOptions,
    visited: _Visited,
    *,
    bank: ViewBank | None,
    name: str,
) -> tuple[CachedRows, Split, str]:
    """Return the rows of a folder, the split, and how they are cached, for people.

    Raises:
        NotCached: images must be read instead; the message says why.
        OSError: the cache that the user named cannot be used.
    """
    require_cacheable(model, options)
    try:
        divided = split(graph, training=name == "train")
        return _gathered(model, folder, divided, options, visited, bank=bank, name=name)
    except (UnsplittableError, InexactError) as reason:
        raise NotCached(str(reason)) from None
    except (OSError, TooLargeError) as error:
        if options.by_name:
            raise
        raise NotCached(f"the cache cannot be used: {error}") from None


def _gathered(
    model: keras.Model,
    folder: ImageFolder,
    divided: Split,
    options: CacheOptions,
    visited: _Visited,
    *,
    bank: ViewBank | None,
    name: str,
) -> tuple[CachedRows, Split, str]:
    """Compute or find the features of every view that is visited."""
    views = 1 if bank is None else bank.count
    progress = options.progress and partial(options.progress, name)
    cache = options.open()
    pass_options = PassOptions(cache, options.workers, progress)
    shape = (*folder.image_size, model.input_shape[-1])
    prefix = kept_prefix(model, divided.prefix, divided.fingerprint, shape)
    if options.workers > 1 and prefix.replicas > 1:
        raise ValueError(
            f"One process computes on all of {prefix.replicas} devices. Received: "
            f"workers={options.workers}. Leave workers out."
        )
    sizes = computed_sizes(
        visited.batches,
        prefix,
        Source(model, folder, divided).fingerprint,
        cache.folder,
        partial(_first_images, folder),
    )
    rows = CachedRows(folder.num_images, divided.cut, sizes=sizes, views=views)
    wanted: dict[int, NDArray[np.int64]] = {}
    for size, images in visited.batches.items():
        at = sizes[size]
        wanted[at] = np.union1d(wanted.get(at, images), images)
    done = []
    for view in sorted({epoch % views for epoch in visited.epochs}):
        for at, images in wanted.items():
            source = Source(model, folder, divided, bank, view, at)
            features, what = cached_features(source, images, pass_options, prefix)
            rows.add(source, features)
            done.append(what)
    how = f"cached at {divided.name}, {readable(divided.nbytes)}/image"
    if "rebuilt" in done:
        how += " (a damaged entry was computed again)"
    elif set(done) == {"read"}:
        how += " (found)"
    return rows, divided, how


def _first_images(folder: ImageFolder) -> NDArray[np.float32]:
    visits = np.arange(min(folder.num_images, BLOCK_ROWS))
    images = next(iter(folder.pictures(visits, batch_size=BLOCK_ROWS)))
    return np.asarray(images, np.float32)


def _split_views(model: keras.Model) -> tuple[Split, Graph]:
    try:
        return split_augmentation(model)
    except UnsplittableError as reason:
        raise ValueError(
            "views needs a model whose augmentation comes first. Received: "
            f"model={model.name!r}, but {reason}. Leave views out, or pass "
            "augmentation to create_model."
        ) from None


def _own_step(model: keras.Model) -> str | None:
    """Return the name of a training method that the model overrides, None if none."""
    # Such code sees `x` or calls `self` in ways that a cut instead of images may break.
    names = ("train_step", "test_step", "compute_loss", "compute_metrics")
    kind = type(model)
    own = (n for n in names if getattr(kind, n) is not getattr(keras.Model, n))
    return next(own, None)


def _check_steps(model: keras.Model) -> None:
    own = _own_step(model)
    if own is not None:
        raise ValueError(
            "views needs a model that is trained by Keras's own steps. Received: "
            f"model={model.name!r} with its own {own}. Leave views out."
        )


def _why_not(model: keras.Model) -> str | None:
    """Return why a model's steps cannot run a suffix, None if they can."""
    own = _own_step(model)
    if own is not None:
        return f"the model has its own {own}"
    if model.compiled and model.jit_compile and not seam.current().JIT:
        # XLA fuses operations by what surrounds them, and rounds as it fuses.
        return "the model is compiled with XLA, which may round differently"
    return None


def cache_options(
    cache: str | Path,
    views: int | None,
    workers: int,
    progress: PassProgress | None,
) -> CacheOptions:
    """Return the options of `fit` and `evaluate` that concern the cache, checked.

    Raises:
        ValueError: a value is not one that `fit` allows.

    Example:
        >>> cache_options("off", views=None, workers=0, progress=None)
        Traceback (most recent call last):
        ValueError: workers must be a whole number of at least 1. Received: workers=0.
    """
    if not isinstance(cache, str | Path) or not str(cache):
        raise ValueError(
            f'cache must be "auto", "off" or a folder. Received: cache={cache!r}. '
            'Write cache="off" to train on images.'
        )
    if cache not in {AUTO, OFF} and Path(cache).is_file():
        raise ValueError(
            f"cache must be a folder. Received: cache={str(cache)!r}, which is a file. "
            "Name another."
        )
    if views is not None:
        require_whole("views", views, least=1)
    require_whole("workers", workers, least=1)
    return CacheOptions(cache, views, workers, progress)
