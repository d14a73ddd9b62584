"""Work: the rows that an entry will hold, and how they are computed.

Owns what features depend on (`Source`), which rows other entries already hold, the size
of the batches that compute the rest, and the checks that an image's features depend on
nothing else in its batch. Files are in `entry` and `store`, processes in `workers`.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from tlcore.backend import seam
from tlcore.caching.batch_sizes import ANY, InexactError, filled
from tlcore.caching.entry import BLOCK_ROWS, Builder, Features, Key
from tlcore.caching.store import FeatureCache
from tlcore.data.arrays import ImageArrays
from tlcore.data.failures import as_raised
from tlcore.data.image_folder import ImageFolder
from tlcore.determinism import arithmetic
from tlcore.splitting.part import Part, Prefix
from tlcore.splitting.split import Split
from tlcore.splitting.views import ViewBank

Progress = Callable[[int, int], None]
"""Called with the number of images that are done, and of all."""


@dataclass(frozen=True)
class PassOptions:
    """How features are computed and where they are kept.

    Attributes:
        cache: where they are kept.
        workers: the number of processes that share one pass.
        progress: called after every batch.
    """

    cache: FeatureCache
    workers: int = 1
    progress: Progress | None = None


@dataclass(frozen=True, eq=False)
class Source:
    """What the features of one entry are computed from.

    Attributes:
        model: the model that was split.
        folder: the images.
        split: the split whose prefix computes the features.
        bank: what turns images into views first; None leaves them as they are.
        view: which view of the bank.
        size: the batch size at which they are computed, from `batch_sizes`; `ANY` for
            one that does not matter.
    """

    model: keras.Model
    folder: ImageFolder
    split: Split
    bank: ViewBank | None = None
    view: int = 0
    size: int = ANY

    @cached_property
    def fingerprint(self) -> str:
        """Return the sha256 of all that the features depend on except the images."""
        view = None if self.bank is None else self.bank.fingerprint(self.view)
        # The digest of an image in memory is of its pixels, that of a file is not.
        in_memory = isinstance(self.folder, ImageArrays)
        return source_fingerprint(
            self.split,
            self.folder.image_size,
            reading=None if in_memory else self.folder.reading.bits(),
            view=view,
            size=self.size,
        )

    @property
    def batch(self) -> int:
        """Return how many images are computed at a time."""
        # Not the batch size of training, so that one entry serves all sizes that round
        # alike.
        return self.size or BLOCK_ROWS


def source_fingerprint(
    divided: Split,
    image_size: tuple[int, int],
    *,
    reading: Mapping[str, Any] | None = None,
    view: str | None = None,
    size: int = ANY,
) -> str:
    """Return the sha256 of all that features depend on except the images.

    Args:
        divided: the split whose prefix computes them.
        image_size: (height, width) of the images.
        reading: how files became pixels; None where digests are of pixels.
        view: the fingerprint of the view that is made of each image first.
        size: the batch size at which they are computed.
    """
    facts = [divided.fingerprint, image_size, reading, view, size, arithmetic()]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, eq=False)
class Work:
    """The rows that an entry will hold: which exist already, and which to compute.

    Attributes:
        source: what the rows are computed from.
        key: what the entry is addressed by.
        related: entries that may hold some of the rows.
    """

    source: Source
    key: Key
    related: Sequence[Features]

    @cached_property
    def known(self) -> dict[str, tuple[Features, int]]:
        """Return where other entries hold the row of an image, by its sha256."""
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
        # Files with the same bytes share a row; any of them can be read for it.
        at = {digest: i for i, digest in reversed(list(enumerate(folder.digests)))}
        wanted = [d for block in blocks for d in self.digests(block)]
        missing = [at[d] for d in wanted if d not in self.known]
        return np.array(missing, np.int64) + self.source.view * folder.num_images

    def compute(
        self,
        blocks: Sequence[int],
        builder: Builder,
        prefix: Prefix,
        progress: Progress | None,
    ) -> None:
        """Compute and write some blocks of the entry.

        Args:
            blocks: their numbers, ascending.
            builder: the file to write to.
            prefix: the source's prefix, compiled.
            progress: called after every batch with the counts of these blocks alone.

        Raises:
            InexactError: features of an image depend on the others in its batch.
        """
        computed = _Computed(self.source, self.visits(blocks), prefix, progress)
        for block in blocks:
            builder.write(block, self._rows(block, computed))

    def _rows(self, block: int, computed: "_Computed") -> list[NDArray[Any]]:
        """Return the rows of a block, those of other entries and computed ones."""
        digests = self.digests(block)
        missing = [i for i, digest in enumerate(digests) if digest not in self.known]
        fresh = computed.take(len(missing))
        if len(missing) == len(digests):
            return fresh
        rows = []
        waiting = iter(range(len(missing)))
        for digest in digests:
            if digest in self.known:
                features, row = self.known[digest]
                rows.append(features.take(np.array([row])))
            else:
                at = next(waiting)
                rows.append([array[at : at + 1] for array in fresh])
        return [np.concatenate(parts) for parts in zip(*rows, strict=True)]


class _Computed:
    """Features in the order of their visits, computed on demand.

    A block needs fewer rows than a batch gives where other entries hold some. Batches
    are full all the same: the rows that are left over wait for the next block.
    """

    def __init__(
        self,
        source: Source,
        visits: NDArray[np.int64],
        prefix: Prefix,
        progress: Progress | None,
    ) -> None:
        self._source, self._prefix, self._progress = source, prefix, progress
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
        done = 0
        pictures = source.folder.pictures(
            self._visits, batch_size=size, bank=source.bank
        )
        with as_raised():
            for images in pictures:
                count = len(images)
                batch = filled(images, source.size, self._prefix.replicas)
                cut = self._prefix(batch)
                # Once per pass: whether it holds depends on the prefix alone.
                if not done:
                    check_shapes(source.split, cut)
                if not done and len(batch) > 1:
                    check_batch_independence(self._prefix, batch, cut)
                done += count
                if self._progress is not None:
                    self._progress(done, total)
                yield [array[:count] for array in cut]


def check_shapes(divided: Split, cut: Sequence[NDArray[Any]]) -> None:
    """Compare the cut with the shapes that its layers announced.

    Raises:
        InexactError: a layer of another package announces a shape and returns another.
    """
    for tensor, array in zip(divided.cut, cut, strict=True):
        if array.shape[1:] != tuple(tensor.shape):
            raise InexactError(
                f"{tensor.name!r} returns {array.shape[1:]} of an image and announces "
                f"{tuple(tensor.shape)}"
            )


def check_batch_independence(
    prefix: Prefix, images: Any, cut: Sequence[NDArray[Any]]
) -> None:
    """Recompute some images in other company; the bits must not change.

    In reverse, so that a row that depends on its position in the batch differs as well:
    the last and the first image as a batch of two where any size will do, else the
    whole batch. This is a trial, not a proof. It finds BatchNorm in training mode and
    random layers, and kernels whose choice by batch size is not expected.

    Raises:
        InexactError: the bits change, or a layer of another package may be random.
    """
    order = np.arange(len(images))[::-1]
    alike = seam.current().SIZES_ROUND_ALIKE and not prefix.part.multiplies_rows
    if alike and prefix.replicas == 1:
        order = order[[0, -1]]
    again = prefix(np.asarray(images)[order])
    for array, known in zip(again, cut, strict=True):
        if array.tobytes() != known[order].tobytes():
            raise InexactError("features of an image depend on the others in its batch")
    if prefix.part.foreign_layers:
        _check_foreign_layers(prefix.part, images)


def _check_foreign_layers(part: Part, images: Any) -> None:
    """Run layers from other packages in inference and in training mode.

    Of Keras's own layers `split` knows which are random, move statistics or add to the
    loss. The code of others says nothing, so what they do is observed.
    """
    names = ", ".join(repr(layer.name) for layer in part.foreign_layers)
    before = _values(part)
    outputs = [part([images], training=training) for training in (False, False, True)]
    for values in zip(*outputs, strict=True):
        first, second, trained = (keras.ops.convert_to_numpy(x) for x in values)
        if first.tobytes() != second.tobytes():
            raise InexactError(f"{names} may be random")
        if first.tobytes() != trained.tobytes():
            raise InexactError(f"{names} may compute something else in training")
    if part.losses:
        raise InexactError(f"{names} may add to the loss")
    after = _values(part)
    if any(a.tobytes() != b.tobytes() for a, b in zip(before, after, strict=True)):
        raise InexactError(f"{names} may change a state when called")


def _values(part: Part) -> list[NDArray[Any]]:
    return [np.copy(keras.ops.convert_to_numpy(x)) for x in part.variables]
