"""The feature pass: every image once through a prefix, its activations into the cache.

Owns what an entry is addressed by, computing it in batches of a fixed size, in one
process or in several, the proof that an image's features do not depend on the others
in its batch, and the rows that training reads instead of images. It trains nothing.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from tlcore.datasets import ImageFolder
from tlcore.determinism import arithmetic
from tlcore.feature_cache import (
    BLOCK_ROWS,
    Builder,
    DamagedEntryError,
    FeatureCache,
    Features,
    Key,
)
from tlcore.splitting import Part, Split
from tlcore.tensors import Tensor
from tlcore.views import ViewBank

Progress = Callable[[int, int], None]
"""Told how many images are done, and of how many."""


class InexactError(ValueError):
    """Why features cannot stand for what the model computes."""


@dataclass(frozen=True)
class PassOptions:
    """How features are computed and kept.

    Attributes:
        cache: where.
        workers: processes that share one pass.
        progress: told how far a pass is.
    """

    cache: FeatureCache
    workers: int = 1
    progress: Progress | None = None


@dataclass(frozen=True, eq=False)
class Source:
    """What one entry holds the features of.

    Attributes:
        folder: the images.
        split: what computes them.
        bank: what makes views of the images first, if anything does.
        view: which view.
        alone: whether each image is computed in a batch of one. Kernels may round
            otherwise there than in larger batches, where they do not.
    """

    folder: ImageFolder
    split: Split
    bank: ViewBank | None = None
    view: int = 0
    alone: bool = False

    @cached_property
    def fingerprint(self) -> str:
        """Return the sha256 of all that the features depend on but the images."""
        view = None if self.bank is None else self.bank.fingerprint(self.view)
        facts = [
            self.split.fingerprint,
            self.folder.image_size,
            view,
            self.alone,
            arithmetic(),
        ]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    @property
    def batch(self) -> int:
        """Return how many images are computed at a time."""
        return 1 if self.alone else BLOCK_ROWS


class Prefix(keras.Model):
    """The prefix of a split, compiled for batches of images."""

    def __init__(self, part: Part) -> None:
        super().__init__(dtype="float32", autocast=False)
        self.part = part
        self.jit_compile = False
        self.built = True

    def call(self, images: Any, training: bool = False) -> list[Any]:  # noqa: FBT001, FBT002
        """Return the cut for a batch of images."""
        cut: list[Any] = self.part([images], training=training)
        return cut


class CachedRows:
    """The cut of the images of a folder, in the place of the images.

    Attributes:
        tensors: what a row consists of.
        nbytes: of a row.
    """

    def __init__(self, count: int, tensors: Sequence[Tensor]) -> None:
        self.tensors = tuple(tensors)
        self.nbytes = sum(tensor.nbytes for tensor in tensors)
        self._count = count
        self._shelves: dict[tuple[int, bool], tuple[Features, NDArray[np.int64]]] = {}
        self._views = 1

    def add(self, source: Source, features: Features) -> None:
        """Serve some or all images of the folder from an entry."""
        at = {digest: row for row, digest in enumerate(features.images)}
        rows = [at.get(digest, -1) for digest in source.folder.digests]
        self._shelves[source.view, source.alone] = features, np.array(rows, np.int64)
        self._views = max(self._views, source.view + 1)

    def take(self, visits: NDArray[np.int64]) -> list[NDArray[Any]]:
        """Return the cut for the visits of one batch, all of the same epoch."""
        epoch = int(visits[0]) // self._count
        shelf = epoch % self._views, len(visits) == 1
        features, rows = self._shelves[shelf]
        return features.take(rows[visits % self._count])


def cached_features(
    source: Source, images: NDArray[np.int64], options: PassOptions, prefix: Prefix
) -> tuple[Features, str]:
    """Return the features of images, from the cache or computed into it.

    Args:
        source: what computes them.
        images: which images of the folder.
        options: where they are kept.
        prefix: the source's split, compiled.

    Returns:
        The features, and what was done: "read", "computed" or "rebuilt".

    Raises:
        InexactError: features of an image depend on the others in its batch, or are
            random.
        OSError: the cache cannot be written to.
        ValueError: they are larger than the cache may be.
    """
    digests = sorted({source.folder.digests[image] for image in images})
    key = Key(source.fingerprint, tuple(digests))
    cache, done = options.cache, "computed"
    try:
        features = cache.find(key)
    except DamagedEntryError:
        features, done = None, "rebuilt"
    if features is not None:
        return features, "read"
    with cache.locked(key):
        try:
            features = cache.find(key)
        except DamagedEntryError:
            features, done = None, "rebuilt"
        if features is not None:
            return features, "read"
        about = {
            "cut": source.split.name,
            "images": len(digests),
            "image_bytes": source.split.nbytes,
            "view": None if source.bank is None else source.view,
        }
        with cache.building(key, source.split.cut, about) as builder:
            work = _Work(source, key, cache.related(key))
            _compute(work, builder, options, prefix)
        features = cache.find(key)
    if features is None:
        raise OSError(f"An entry of {cache.folder} vanished while it was read.")
    return features, done


@dataclass(frozen=True, eq=False)
class _Work:
    """The rows of an entry to be: which are there already, and which images to read."""

    source: Source
    key: Key
    related: Sequence[Features]

    @cached_property
    def known(self) -> dict[str, tuple[Features, int]]:
        """Return where the rows are that other entries hold."""
        wanted = set(self.key.images)
        known: dict[str, tuple[Features, int]] = {}
        for features in self.related:
            for row, digest in enumerate(features.images):
                if digest in wanted:
                    known.setdefault(digest, (features, row))
        return known

    def digests(self, block: int) -> tuple[str, ...]:
        """Return the images of a block."""
        return self.key.images[block * BLOCK_ROWS : (block + 1) * BLOCK_ROWS]

    def visits(self, blocks: Sequence[int]) -> NDArray[np.int64]:
        """Return the visits whose features no other entry holds."""
        folder = self.source.folder
        at = {digest: i for i, digest in reversed(list(enumerate(folder.digests)))}
        wanted = [d for block in blocks for d in self.digests(block)]
        missing = [at[d] for d in wanted if d not in self.known]
        return np.array(missing, np.int64) + self.source.view * folder.num_images


def _compute(
    work: _Work, builder: Builder, options: PassOptions, prefix: Prefix
) -> None:
    blocks = range(builder.layout.blocks)
    computed = _Computed(work, work.visits(blocks), prefix, options.progress)
    for block in blocks:
        builder.write(block, _block(work, block, computed))


def _block(work: _Work, block: int, computed: "_Computed") -> list[NDArray[Any]]:
    """Return the rows of a block, from other entries and as they are computed."""
    digests = work.digests(block)
    missing = [i for i, digest in enumerate(digests) if digest not in work.known]
    fresh = computed.take(len(missing))
    if len(missing) == len(digests):
        return fresh
    rows: list[list[NDArray[Any]]] = []
    waiting = iter(range(len(missing)))
    for digest in digests:
        if digest in work.known:
            features, row = work.known[digest]
            rows.append(features.take(np.array([row])))
        else:
            at = next(waiting)
            rows.append([array[at : at + 1] for array in fresh])
    return [np.concatenate(parts) for parts in zip(*rows, strict=True)]


class _Computed:
    """Features in the order of their visits, computed as they are asked for."""

    def __init__(
        self,
        work: _Work,
        visits: NDArray[np.int64],
        prefix: Prefix,
        progress: Progress | None,
    ) -> None:
        self._source, self._prefix, self._progress = work.source, prefix, progress
        self._visits = visits
        self._batches = self._run()
        self._held: list[NDArray[Any]] | None = None

    def take(self, count: int) -> list[NDArray[Any]]:
        """Return the next `count` rows of every tensor."""
        while count and (self._held is None or len(self._held[0]) < count):
            batch = next(self._batches)
            held = self._held
            self._held = (
                batch
                if held is None
                else [np.concatenate(p) for p in zip(held, batch, strict=True)]
            )
        if self._held is None:
            return []
        taken = [array[:count] for array in self._held]
        self._held = [array[count:] for array in self._held]
        return taken

    def _run(self) -> Iterator[list[NDArray[Any]]]:
        source, size, total = self._source, self._source.batch, len(self._visits)
        # A batch is never partial, which would be traced anew. What fills the last
        # one is known already: so its features are compared, in other company.
        filling = -total % size
        visits = np.concatenate([self._visits, np.resize(self._visits, filling)])
        first: list[NDArray[Any]] = []
        pictures = source.folder.pictures(visits, batch_size=size, bank=source.bank)
        for number, images in enumerate(pictures):
            cut = self._prefix.predict_on_batch(images)
            if not number:
                _check_foreign_layers(self._prefix, images, cut)
                first = cut
            count = min(size, total - number * size)
            if count < size:
                again = np.resize(np.arange(count if not number else size), filling)
                for array, known in zip(cut, first, strict=True):
                    _check_equal(array[count:], known[again])
            yield [array[:count] for array in cut]
            if self._progress is not None:
                self._progress(number * size + count, total)


def _check_equal(computed: NDArray[Any], known: NDArray[Any]) -> None:
    if computed.tobytes() != known.tobytes():
        raise InexactError("features of an image depend on the others in its batch")


def _check_foreign_layers(
    prefix: Prefix, images: Any, cut: Sequence[NDArray[Any]]
) -> None:
    """Try layers that are not Keras's own twice, the batch reversed, in training."""
    if not prefix.part.foreign_layers:
        return
    names = ", ".join(repr(layer.name) for layer in prefix.part.foreign_layers)
    before = [np.copy(variable) for variable in prefix.variables]
    backwards = keras.ops.flip(images, axis=0)
    for array, known in zip(prefix.predict_on_batch(backwards), cut, strict=True):
        if array[::-1].tobytes() != known.tobytes():
            raise InexactError(f"{names} may mix the images of a batch or be random")
    told = [prefix(images, training=training) for training in (False, True)]
    for pair in zip(*told, strict=True):
        evaluated, trained = (keras.ops.convert_to_numpy(array) for array in pair)
        if evaluated.tobytes() != trained.tobytes():
            raise InexactError(f"{names} may act otherwise in training")
    if prefix.losses:
        raise InexactError(f"{names} may add to the loss")
    after = [np.copy(variable) for variable in prefix.variables]
    if any(a.tobytes() != b.tobytes() for a, b in zip(before, after, strict=True)):
        raise InexactError(f"{names} may change a state when called")
