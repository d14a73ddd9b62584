"""Feature pass: every image once through a prefix, the features into the cache.

Owns the steps from a source to its features (find the entry, else lock, compute in one
process or several, and read back) and the rows that training reads instead of images.
What features depend on and how they are computed is in `work`; it trains nothing.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlcore.backend import seam
from tlcore.caching.batch_sizes import InexactError
from tlcore.caching.entry import BLOCK_ROWS, Builder, DamagedEntryError, Features, Key
from tlcore.caching.store import FeatureCache
from tlcore.caching.work import PassOptions, Source, Work
from tlcore.caching.workers import compute_in_workers
from tlcore.splitting.part import Prefix
from tlcore.splitting.tensors import Tensor


class CachedRows:
    """The cut for each image of a folder, which training reads instead of the image.

    Args:
        count: the number of images.
        tensors: what a row consists of.
        views: the number of views of each image.
        sizes: by the size of a batch, the size at which its rows are computed.

    Attributes:
        tensors: what a row consists of.
        nbytes: the size of a row.
    """

    def __init__(
        self,
        count: int,
        tensors: Sequence[Tensor],
        *,
        sizes: Mapping[int, int],
        views: int = 1,
    ) -> None:
        self.tensors = tuple(tensors)
        self.nbytes = sum(tensor.nbytes for tensor in tensors)
        self._count = count
        # By view, and by the size at which they are computed.
        self._entries: dict[tuple[int, int], tuple[Features, NDArray[np.int64]]] = {}
        self._views, self._sizes = views, dict(sizes)

    def add(self, source: Source, features: Features) -> None:
        """Read some or all images of the folder from an entry from now on."""
        at = {digest: row for row, digest in enumerate(features.images)}
        # Row -1 is refused by `Features.take`: an image that the entry does not hold.
        rows = [at.get(digest, -1) for digest in source.folder.digests]
        self._entries[source.view, source.size] = features, np.array(rows, np.int64)

    def take(self, visits: NDArray[np.int64]) -> list[NDArray[Any]]:
        """Return the cut for the visits of one batch, all of the same epoch."""
        epoch = int(visits[0]) // self._count
        # The last batch of an epoch is filled up to the size of the others.
        full = self._sizes[max(self._sizes)]
        size = self._sizes.get(len(visits), full)
        features, rows = self._entries[epoch % self._views, size]
        return features.take(rows[visits % self._count])

    def whole(self, max_bytes: int) -> list[NDArray[Any]] | None:
        """Return the cut for all images, None where a view or a batch has its own.

        Args:
            max_bytes: the most that it may take.
        """
        if len(self._entries) > 1 or self._count * self.nbytes > max_bytes:
            return None
        ((features, rows),) = self._entries.values()
        return features.take(rows) if self._views == 1 else None

    def batches(self) -> Iterator[list[NDArray[Any]]]:
        """Yield the cut for all images, in order, in the blocks of an entry."""
        for first in range(0, self._count, BLOCK_ROWS):
            yield self.take(np.arange(first, min(first + BLOCK_ROWS, self._count)))


def cached_features(
    source: Source, images: NDArray[np.int64], options: PassOptions, prefix: Prefix
) -> tuple[Features, str]:
    """Return the features of images, from the cache or computed into it.

    Args:
        source: what the features are computed from.
        images: the indices of the images in the folder.
        options: where features are kept, and how many processes compute them.
        prefix: the source's prefix, compiled.

    Returns:
        The features, and what was done: "read", "computed" or "rebuilt".

    Raises:
        InexactError: features of an image depend on the others in its batch, or are
            random.
        OSError: the cache cannot be written to.
        ValueError: the features are larger than the limit of the cache.

    Example:
        >>> from tlcore.caching.store import FeatureCache
        >>> from tlcore.splitting.split import split
        >>> folder = tl.image_folder("photos/train", image_size=32)
        >>> model = tl.create_model("sample_net", 3, input_shape=(32, 32, 3))
        >>> source = Source(model, folder, split(model))
        >>> prefix = Prefix(source.split.prefix, (32, 32, 3))
        >>> options = PassOptions(FeatureCache("features"))
        >>> for _ in range(2):
        ...     features, done = cached_features(source, [0, 1], options, prefix)
        ...     print(len(features), done)
        2 computed
        2 read
    """
    digests = sorted({source.folder.digests[image] for image in images})
    key = Key(source.fingerprint, tuple(digests))
    cache = options.cache
    features, damaged = _find(cache, key)
    if features is not None:
        return features, "read"
    with cache.locked(key):
        # Again: another process may have built it while this one waited for the lock.
        features, again = _find(cache, key)
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
            # A process takes seconds to start; without a block of its own it is idle.
            if options.workers == 1 or len(blocks) < options.workers:
                work.compute(blocks, builder, prefix, options.progress)
            else:
                compute_in_workers(work, builder, options)
                _check_threads(work, builder, prefix)
        # Read back and checked: a disk that wrote something else is noticed now.
        features = cache.find(key)
    if features is None:  # `clear` or another process's limit came in between
        raise OSError(
            "A cache must keep an entry while it is being opened. Received: "
            f"{cache.folder}, where it was removed. Run again, or raise the limit."
        )
    return features, "rebuilt" if damaged or again else "computed"


def _check_threads(work: Work, builder: Builder, prefix: Prefix) -> None:
    """Compute a block of a worker's here, where kernels may round by their threads.

    Raises:
        InexactError: the bits differ.
    """
    # A worker has a part of the threads of this process, in which training runs.
    if "threads" not in seam.current().switches():
        return
    written = builder.checksums[0]
    work.compute(range(1), builder, prefix, None)
    if builder.checksums[0] != written:
        raise InexactError("a worker has fewer threads and rounds otherwise")


def _find(cache: FeatureCache, key: Key) -> tuple[Features | None, bool]:
    """Return the entry's features, and whether there is one that is damaged."""
    try:
        return cache.find(key), False
    except DamagedEntryError:
        return None, True
