"""Batch features: the cut of images that are known by their values alone.

Owns `BatchFeatures`: given the batches of a dataset, it returns the cut of each image,
from the cache, from an earlier batch, or computed now. An image is known by its tensor,
so that it does not matter in which order or how often images come. One that never comes
again costs what it costs end to end; one that does costs a hash. Sources that can be
asked for any image are read by `feature_pass`, before training.
"""

import os
import tempfile
import weakref
from collections.abc import Sequence
from typing import Any, BinaryIO

import numpy as np
import xxhash
from numpy.typing import NDArray

from tlcore.caching.entry import BLOCK_ROWS, Key
from tlcore.caching.header import dtype_of
from tlcore.caching.store import FeatureCache, TooLargeError
from tlcore.caching.work import check_batch_independence, source_fingerprint
from tlcore.data.arrays import tensor_digest
from tlcore.splitting.part import Prefix
from tlcore.splitting.split import Split
from tlcore.splitting.tensors import Tensor


class BatchFeatures:
    """The cut for the images of batches.

    Args:
        model: the model that was split.
        divided: the split whose prefix computes the cut.
        prefix: that prefix, compiled.
        image_size: (height, width) of the images.
        cache: where rows are looked up and kept.

    Raises:
        OSError: the cache cannot be written to.
    """

    def __init__(
        self,
        divided: Split,
        prefix: Prefix,
        image_size: tuple[int, int],
        cache: FeatureCache,
    ) -> None:
        self._split, self._prefix, self._cache = divided, prefix, cache
        self._fingerprint = source_fingerprint(divided, image_size)
        cache.folder.mkdir(parents=True, exist_ok=True)
        self._spool = _Spool(divided.cut, cache)
        # By a fast hash of the values, for look-ups; sha256 addresses what is kept.
        self._rows: dict[bytes, int] = {}
        self._digests: list[str] = []
        found = cache.related(Key(self._fingerprint, ()))
        self._known = {
            digest: (features, row)
            for features in reversed(found)
            for row, digest in enumerate(features.images)
        }
        self._whole = {features.images for features in found}
        self._readings = self._computed = self._seen = 0

    @property
    def never_came_again(self) -> bool:
        """Return whether nothing that the last reading needed was known before it."""
        return self._readings > 1 and self._computed == self._seen > 0

    def begin(self) -> None:
        """Begin to count another reading."""
        self._readings += 1
        self._computed = self._seen = 0

    def probe(self, images: NDArray[Any]) -> None:
        """Check on a batch that features of an image do not depend on the others.

        Raises:
            InexactError: they do, or are random.
        """
        pictures = _pictures(images)
        if len(pictures) > 1:
            cut = self._prefix(pictures)
            check_batch_independence(self._prefix, pictures, cut)

    def take(self, images: NDArray[Any]) -> list[NDArray[Any]]:
        """Return the cut of a batch: one array per tensor, images first."""
        if len(images) == 1:
            # Kernels may round differently for one image; at most one in an epoch.
            self._seen += 1
            return self._prefix(_pictures(images))
        return self.rows(self.numbers(images))

    def rows(self, numbers: Sequence[int]) -> list[NDArray[Any]]:
        """Return the cut of images by what `numbers` returned for them."""
        return self._spool.take(numbers)

    def numbers(self, images: NDArray[Any]) -> list[int]:
        """Return what identifies each image of a batch, after it is computed."""
        self._seen += len(images)
        keys = [xxhash.xxh3_128_digest(_bytes(image)) for image in images]
        # In the order of the images, each once.
        fresh = {key: i for i, key in enumerate(keys) if key not in self._rows}
        missing = self._recall(images, fresh)
        if missing:
            at = list(missing.values())
            self._computed += len(at)
            pictures = _pictures(images[at])
            # One image alone is doubled, because a batch of one rounds differently.
            cut = self._prefix(
                np.repeat(pictures, 2, axis=0) if len(at) == 1 else pictures
            )
            self._add(list(missing), images[at], [array[: len(at)] for array in cut])
        return [self._rows[key] for key in keys]

    def keep(self) -> None:
        """Write what was computed to the cache, as an entry of all these images.

        Raises:
            OSError: there is no room for it, or no permission.
            TooLargeError: it would be larger than the limit of the cache.
        """
        order = np.argsort(self._digests)
        key = Key(self._fingerprint, tuple(self._digests[i] for i in order))
        if not key.images or key.images in self._whole:
            return
        about = {
            "cut": self._split.name,
            "images": len(order),
            "image_bytes": self._split.nbytes,
            "view": None,
        }
        cache = self._cache
        with (
            cache.locked(key),
            cache.building(key, self._split.cut, about) as builder,
        ):
            for block in range(builder.layout.blocks):
                rows = order[block * BLOCK_ROWS : (block + 1) * BLOCK_ROWS]
                builder.write(block, self._spool.take(rows.tolist()))
        self._whole.add(key.images)

    def _recall(
        self, images: NDArray[Any], fresh: dict[bytes, int]
    ) -> dict[bytes, int]:
        """Take rows from the cache; return the images that it does not hold."""
        missing = {}
        for key, i in fresh.items():
            digest = tensor_digest(images[i]) if self._known else ""
            if digest in self._known:
                features, row = self._known[digest]
                self._add([key], images[i : i + 1], features.take(np.array([row])))
            else:
                missing[key] = i
        return missing

    def _add(
        self, keys: Sequence[bytes], images: NDArray[Any], rows: Sequence[NDArray[Any]]
    ) -> None:
        first = self._spool.append(rows)
        for i, key in enumerate(keys):
            self._rows[key] = first + i
            self._digests.append(tensor_digest(images[i]))


class _Spool:
    """Rows in the order in which they came, in files that vanish with this object."""

    def __init__(self, tensors: Sequence[Tensor], cache: FeatureCache) -> None:
        self._tensors = tuple(tensors)
        # Without a name: nothing is left of them, however this process ends.
        self._files: list[BinaryIO] = [
            tempfile.TemporaryFile(dir=cache.folder)  # noqa: SIM115 - as long as this
            for _ in self._tensors
        ]
        self._count = 0
        # Nobody knows when training needs no more rows: when this is collected.
        weakref.finalize(self, _close, self._files)

    def append(self, rows: Sequence[NDArray[Any]]) -> int:
        """Add rows, one array per tensor; return the number of the first."""
        first = self._count
        for file, array in zip(self._files, rows, strict=True):
            file.seek(0, os.SEEK_END)
            file.write(np.ascontiguousarray(array).view(np.uint8).data)
            file.flush()
        self._count += len(rows[0])
        return first

    def take(self, rows: Sequence[int]) -> list[NDArray[Any]]:
        """Return some rows: one array per tensor."""
        taken = []
        for tensor, file in zip(self._tensors, self._files, strict=True):
            size = tensor.nbytes
            data = b"".join(os.pread(file.fileno(), size, row * size) for row in rows)
            shape = (len(rows), *(n or 1 for n in tensor.shape))
            taken.append(np.frombuffer(data, dtype_of(tensor.dtype)).reshape(shape))
        return taken


def _close(files: Sequence[BinaryIO]) -> None:
    for file in files:
        file.close()


def keep_or_say(features: BatchFeatures, *, by_name: bool) -> str | None:
    """Keep what was computed; return why it could not be kept, None if it was.

    Raises:
        OSError: the cache that the user named cannot be used.
    """
    try:
        features.keep()
    except (OSError, TooLargeError) as error:
        if by_name:
            raise
        return f"its features are not kept for the next run: {error}"
    return None


def _pictures(images: NDArray[Any]) -> NDArray[np.float32]:
    return np.ascontiguousarray(images, np.float32)


def _bytes(image: NDArray[Any]) -> Any:
    return np.ascontiguousarray(image).view(np.uint8).data
