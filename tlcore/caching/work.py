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


class InexactError(ValueError):
    """Why features are not bit for bit what the model computes end to end."""


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
        alone: whether each image is computed in a batch of its own. Kernels may round
            differently for one image than for several.
    """

    model: keras.Model
    folder: ImageFolder
    split: Split
    bank: ViewBank | None = None
    view: int = 0
    alone: bool = False

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
            alone=self.alone,
        )

    @property
    def batch(self) -> int:
        """Return how many images are computed at a time."""
        # Not the batch size of training, so that one entry serves every batch size:
        # from two images on, kernels give an image the same bits in batches of any
        # size (`check_batch_independence` probes it). One image alone often runs
        # another kernel, a matrix-vector instead of a matrix product, which adds up in
        # another order. Images that are alone in their batch have their own entry.
        return 1 if self.alone else BLOCK_ROWS


def source_fingerprint(
    divided: Split,
    image_size: tuple[int, int],
    *,
    reading: Mapping[str, Any] | None = None,
    view: str | None = None,
    alone: bool = False,
) -> str:
    """Return the sha256 of all that features depend on except the images.

    Args:
        divided: the split whose prefix computes them.
        image_size: (height, width) of the images.
        reading: how files became pixels; None where digests are of pixels.
        view: the fingerprint of the view that is made of each image first.
        alone: whether each image is computed in a batch of its own.
    """
    facts = [divided.fingerprint, image_size, reading, view, alone, arithmetic()]
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
                # The last batch may hold one image. It is doubled, because a batch of
                # one rounds differently, and the second row is dropped below.
                single = count == 1 and not source.alone
                cut = self._prefix(keras.ops.repeat(images, 2, 0) if single else images)
                # Once per pass: whether it holds depends on the prefix alone.
                if not done and not source.alone:
                    check_batch_independence(self._prefix, images, cut)
                done += count
                if self._progress is not None:
                    self._progress(done, total)
                yield [array[:count] for array in cut]


def check_batch_independence(
    prefix: Prefix, images: Any, cut: Sequence[NDArray[Any]]
) -> None:
    """Recompute the first and last image as a batch of two; the bits must not change.

    Swapped, so that a row that depends on its position in the batch differs as well.
    This is a probe, not a proof. It finds BatchNorm in training mode, random layers and
    kernels that choose their algorithm by the size of the batch.

    Raises:
        InexactError: the bits change, or a layer of another package may be random.
    """
    pair = np.array([len(images) - 1, 0])
    again = prefix(keras.ops.take(images, pair, axis=0))
    for array, known in zip(again, cut, strict=True):
        if array.tobytes() != known[pair].tobytes():
            raise InexactError("features of an image depend on the others in its batch")
    if prefix.part.foreign_layers:
        _check_foreign_layers(prefix.part, images)


def _check_foreign_layers(part: Part, images: Any) -> None:
    """Run layers from other packages in inference and in training mode.

    Of Keras's own layers `split` knows which are random, move statistics or add to the
    loss. The code of others says nothing, so what they do is observed.
    """
    names = ", ".join(repr(layer.name) for layer in part.foreign_layers)
    before = [np.copy(variable) for variable in part.variables]
    outputs = [part([images], training=training) for training in (False, False, True)]
    for values in zip(*outputs, strict=True):
        first, second, trained = (keras.ops.convert_to_numpy(x) for x in values)
        if first.tobytes() != second.tobytes():
            raise InexactError(f"{names} may be random")
        if first.tobytes() != trained.tobytes():
            raise InexactError(f"{names} may compute something else in training")
    if part.losses:
        raise InexactError(f"{names} may add to the loss")
    after = [np.copy(variable) for variable in part.variables]
    if any(a.tobytes() != b.tobytes() for a, b in zip(before, after, strict=True)):
        raise InexactError(f"{names} may change a state when called")
