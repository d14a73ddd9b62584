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

from tlcore.backend import seam
from tlcore.caching.batch_sizes import InexactError, computed, computed_sizes
from tlcore.caching.entry import BLOCK_ROWS, Features, Key
from tlcore.caching.header import dtype_of
from tlcore.caching.store import FeatureCache, TooLargeError
from tlcore.caching.work import (
    check_batch_independence,
    check_shapes,
    source_fingerprint,
)
from tlcore.data.arrays import tensor_digest
from tlcore.splitting.part import Prefix
from tlcore.splitting.split import Split
from tlcore.splitting.tensors import Tensor


class BatchFeatures:
    """The cut for the images of batches.

    Args:
        divided: the split whose prefix computes the cut.
        prefix: that prefix, compiled.
        image_size: (height, width) of the images.
        full: the size of a batch; the last one of an epoch may be smaller.
        cache: where rows are looked up and kept.

    Raises:
        OSError: the cache cannot be written to.
    """

    def __init__(
        self,
        divided: Split,
        prefix: Prefix,
        image_size: tuple[int, int],
        full: int,
        cache: FeatureCache,
    ) -> None:
        self._split, self._prefix, self._cache = divided, prefix, cache
        self._image_size, self._full = image_size, full
        cache.folder.mkdir(parents=True, exist_ok=True)
        self._spool = _Spool(divided.cut, cache)
        self._sizes: dict[int, int] = {}
        self._tables: dict[int, _Table] = {}
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
        if seam.current().SIZES_ROUND_ALIKE and self._prefix.part.multiplies_rows:
            raise InexactError(
                "its matrix products round by the size of a batch, and which sizes "
                "come is not known before"
            )
        if len(pictures) > 1:
            cut = self._prefix(pictures)
            check_shapes(self._split, cut)
            check_batch_independence(self._prefix, pictures, cut)

    def size(self, count: int, images: NDArray[Any]) -> int:
        """Return the batch size at which images of a batch of `count` are computed.

        Args:
            count: the number of images in the batch.
            images: some images, for a trial.
        """
        if not seam.current().SIZES_ROUND_ALIKE:
            count = max(count, self._full)  # it is filled
        if count not in self._sizes:
            self._sizes |= computed_sizes(
                [count],
                self._prefix,
                source_fingerprint(self._split, self._image_size),
                self._cache.folder,
                lambda: _pictures(images[:BLOCK_ROWS]),
            )
        return self._sizes[count]

    def take(self, images: NDArray[Any]) -> list[NDArray[Any]]:
        """Return the cut of a batch: one array per tensor, images first."""
        if self.size(len(images), images) == 1:
            # At most one in an epoch.
            self._seen += 1
            return self._prefix(_pictures(images))
        return self.rows(self.numbers(images))

    def rows(self, numbers: Sequence[int]) -> list[NDArray[Any]]:
        """Return the cut of images by what `numbers` returned for them."""
        return self._spool.take(numbers)

    def numbers(self, images: NDArray[Any]) -> list[int]:
        """Return what identifies each image of a batch, after it is computed."""
        self._seen += len(images)
        size = self.size(len(images), images)
        table = self._table(size)
        keys = [xxhash.xxh3_128_digest(_bytes(image)) for image in images]
        # In the order of the images, each once.
        fresh = {key: i for i, key in enumerate(keys) if key not in table.rows}
        missing = self._recall(table, images, fresh)
        if missing:
            at = list(missing.values())
            self._computed += len(at)
            cut = computed(self._prefix, _pictures(images[at]), size)
            self._add(table, list(missing), images[at], cut)
        return [table.rows[key] for key in keys]

    def keep(self) -> None:
        """Write what was computed to the cache, as an entry of all these images.

        Raises:
            OSError: there is no room for it, or no permission.
            TooLargeError: it would be larger than the limit of the cache.
        """
        for table in self._tables.values():
            self._keep(table)

    def _keep(self, table: "_Table") -> None:
        order = np.argsort(table.digests)
        key = Key(table.fingerprint, tuple(table.digests[i] for i in order))
        if not key.images or key.images in table.whole:
            return
        about = {
            "cut": self._split.name,
            "images": len(order),
            "image_bytes": self._split.nbytes,
            "view": None,
        }
        numbers = np.array(table.numbers)
        cache = self._cache
        with (
            cache.locked(key),
            cache.building(key, self._split.cut, about) as builder,
        ):
            for block in range(builder.layout.blocks):
                rows = order[block * BLOCK_ROWS : (block + 1) * BLOCK_ROWS]
                builder.write(block, self._spool.take(numbers[rows].tolist()))
        table.whole.add(key.images)

    def _table(self, size: int) -> "_Table":
        if size not in self._tables:
            fingerprint = source_fingerprint(self._split, self._image_size, size=size)
            found = self._cache.related(Key(fingerprint, ()))
            self._tables[size] = _Table(fingerprint, found)
        return self._tables[size]

    def _recall(
        self, table: "_Table", images: NDArray[Any], fresh: dict[bytes, int]
    ) -> dict[bytes, int]:
        """Take rows from the cache; return the images that it does not hold."""
        missing = {}
        for key, i in fresh.items():
            digest = tensor_digest(images[i]) if table.known else ""
            if digest in table.known:
                features, row = table.known[digest]
                rows = features.take(np.array([row]))
                self._add(table, [key], images[i : i + 1], rows)
            else:
                missing[key] = i
        return missing

    def _add(
        self,
        table: "_Table",
        keys: Sequence[bytes],
        images: NDArray[Any],
        rows: Sequence[NDArray[Any]],
    ) -> None:
        first = self._spool.append(rows)
        for i, key in enumerate(keys):
            table.rows[key] = first + i
            table.numbers.append(first + i)
            table.digests.append(tensor_digest(images[i]))


class _Table:
    """What is known of images whose features are computed at one size.

    Attributes:
        fingerprint: of all that the features depend on except the images.
        rows: by a fast hash of the values, the row of an image in the spool.
        numbers: the rows, in the order in which they came.
        digests: the sha256 of each image, by which it is kept; in the same order.
        known: by digest, the row of an image in an entry of the cache.
        whole: the images of each of these entries.
    """

    def __init__(self, fingerprint: str, found: Sequence[Features]) -> None:
        self.fingerprint = fingerprint
        self.rows: dict[bytes, int] = {}
        self.numbers: list[int] = []
        self.digests: list[str] = []
        self.known = {
            digest: (features, row)
            for features in reversed(found)
            for row, digest in enumerate(features.images)
        }
        self.whole = {features.images for features in found}


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
