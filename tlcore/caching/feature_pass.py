"""The feature pass: every image once through a prefix, its activations into the cache.

Owns what an entry is addressed by, computing it in batches of a fixed size, in one
process or in several, the proof that an image's features do not depend on the others
in its batch, and the rows that training reads instead of images. It trains nothing.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlcore.caching.entry import DamagedEntryError, Features, Key
from tlcore.caching.work import PassOptions, Source, Work
from tlcore.caching.workers import compute_in_workers
from tlcore.splitting.part import Prefix
from tlcore.splitting.tensors import Tensor


class CachedRows:
    """The cut of the images of a folder, in the place of the images.

    Attributes:
        tensors: what a row consists of.
        nbytes: of a row.
    """

    def __init__(
        self, count: int, tensors: Sequence[Tensor], *, views: int = 1
    ) -> None:
        self.tensors = tuple(tensors)
        self.nbytes = sum(tensor.nbytes for tensor in tensors)
        self._count = count
        self._shelves: dict[tuple[int, bool], tuple[Features, NDArray[np.int64]]] = {}
        self._views = views

    def add(self, source: Source, features: Features) -> None:
        """Serve some or all images of the folder from an entry."""
        at = {digest: row for row, digest in enumerate(features.images)}
        rows = [at.get(digest, -1) for digest in source.folder.digests]
        self._shelves[source.view, source.alone] = features, np.array(rows, np.int64)

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
            work = Work(source, key, cache.related(key))
            blocks = range(builder.layout.blocks)
            if options.workers == 1 or len(blocks) < options.workers:
                work.compute(blocks, builder, prefix, options.progress)
            else:
                compute_in_workers(work, builder, options)
        features = cache.find(key)
    if features is None:
        raise OSError(f"An entry of {cache.folder} vanished while it was read.")
    return features, done
