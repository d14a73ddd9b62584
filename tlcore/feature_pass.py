"""The feature pass: every image once through a prefix, its activations into the cache.

Owns what an entry is addressed by, computing it in batches of a fixed size, in one
process or in several, the proof that an image's features do not depend on the others
in its batch, and the rows that training reads instead of images. It trains nothing.
"""

import hashlib
import json
import os
import pickle
import queue
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TextIO

import keras
import numpy as np
from numpy.typing import NDArray

from tlcore.data.image_folder import ImageFolder
from tlcore.determinism import arithmetic, is_deterministic
from tlcore.feature_cache import (
    BLOCK_ROWS,
    Builder,
    DamagedEntryError,
    FeatureCache,
    Features,
    Key,
)
from tlcore.splitting.part import Part, Prefix
from tlcore.splitting.split import Split
from tlcore.splitting.tensors import Tensor
from tlcore.splitting.views import ViewBank

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
        model: the model that was split.
        folder: the images.
        split: what computes them.
        bank: what makes views of the images first, if anything does.
        view: which view.
        alone: whether each image is computed in a batch of one. Kernels may round
            otherwise there than in larger batches, where they do not.
    """

    model: keras.Model
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
                _compute_in_workers(work, builder, options)
        features = cache.find(key)
    if features is None:
        raise OSError(f"An entry of {cache.folder} vanished while it was read.")
    return features, done


@dataclass(frozen=True, eq=False)
class Work:
    """The rows of an entry to be: which are there already, and which images to read.

    Attributes:
        source: what computes them.
        key: what they are addressed by.
        related: entries that may hold some of them.
    """

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

    def compute(
        self,
        blocks: Sequence[int],
        builder: Builder,
        prefix: Prefix,
        progress: Progress | None,
    ) -> None:
        """Write some blocks of the entry.

        Raises:
            InexactError: features of an image depend on the others in its batch.
        """
        computed = _Computed(self.source, self.visits(blocks), prefix, progress)
        for block in blocks:
            builder.write(block, self._rows(block, computed))

    def _rows(self, block: int, computed: "_Computed") -> list[NDArray[Any]]:
        """Return the rows of a block, from other entries and as they are computed."""
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
    """Features in the order of their visits, computed as they are asked for."""

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
        for images in pictures:
            count = len(images)
            lonely = count == 1 and not source.alone
            cut = self._prefix(keras.ops.repeat(images, 2, 0) if lonely else images)
            if not done and not source.alone:
                _check_company(self._prefix, images, cut)
            done += count
            if self._progress is not None:
                self._progress(done, total)
            yield [array[:count] for array in cut]


def _check_company(prefix: Prefix, images: Any, cut: Sequence[NDArray[Any]]) -> None:
    """Try the last and the first image again, with nobody else in their batch."""
    pair = np.array([len(images) - 1, 0])
    again = prefix(keras.ops.take(images, pair, axis=0))
    for array, known in zip(again, cut, strict=True):
        if array.tobytes() != known[pair].tobytes():
            raise InexactError("features of an image depend on the others in its batch")
    if prefix.part.foreign_layers:
        _check_foreign_layers(prefix.part, images)


def _check_foreign_layers(part: Part, images: Any) -> None:
    """Try layers that are not Keras's own, in evaluation and in training."""
    names = ", ".join(repr(layer.name) for layer in part.foreign_layers)
    before = [np.copy(variable) for variable in part.variables]
    told = [part([images], training=training) for training in (False, False, True)]
    for values in zip(*told, strict=True):
        first, second, trained = (keras.ops.convert_to_numpy(x) for x in values)
        if first.tobytes() != second.tobytes():
            raise InexactError(f"{names} may be random")
        if first.tobytes() != trained.tobytes():
            raise InexactError(f"{names} may act otherwise in training")
    if part.losses:
        raise InexactError(f"{names} may add to the loss")
    after = [np.copy(variable) for variable in part.variables]
    if any(a.tobytes() != b.tobytes() for a, b in zip(before, after, strict=True)):
        raise InexactError(f"{names} may change a state when called")


def _compute_in_workers(work: Work, builder: Builder, options: PassOptions) -> None:
    """Have processes of their own write a share of the blocks each."""
    total = len(work.visits(range(builder.layout.blocks)))
    shares = np.array_split(np.arange(builder.layout.blocks), options.workers)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        job = _describe_job(work, builder, options, Path(folder))
        lines: queue.Queue[tuple[int, str | None]] = queue.Queue()
        for number, share in enumerate(shares):
            command = [sys.executable, "-m", "tlcore.pass_worker", str(job)]
            command += [str(share[0]), str(share[-1] + 1)]
            errors = stack.enter_context(Path(folder, f"{number}.log").open("w"))
            process = _worker(command, number, options.workers, errors)
            stack.enter_context(process)
            stack.callback(process.terminate)
            reader = threading.Thread(target=_read, args=(process, number, lines))
            reader.start()
            stack.callback(reader.join)
            stack.callback(process.terminate)
        done = [0] * len(shares)
        running = len(shares)
        while running:
            number, line = lines.get()
            if line is None:
                running -= 1
                continue
            message = json.loads(line)
            if "error" in message:
                raise InexactError(f"a worker could not compute it: {message['error']}")
            for block, checksums in message.get("checksums", {}).items():
                builder.checksums[int(block)] = checksums
            done[number] = message.get("done", done[number])
            if options.progress is not None and "done" in message:
                options.progress(sum(done), total)
        if len(builder.checksums) < builder.layout.blocks:
            logs = "".join(path.read_text() for path in Path(folder).glob("*.log"))
            last = (logs.strip().splitlines() or ["it said nothing"])[-1]
            raise InexactError(f"a worker ended before its time: {last}")


def _describe_job(
    work: Work, builder: Builder, options: PassOptions, folder: Path
) -> Path:
    """Write all that a worker needs to a file; the model beside it."""
    source, prefix = work.source, work.source.split.prefix
    source.model.save(folder / "model.keras")
    job = {
        "model": folder / "model.keras",
        "deterministic": is_deterministic(),
        "folder": replace(source.folder),
        "steps": [step.outputs for step in prefix.steps],
        "takes": prefix.takes,
        "gives": prefix.gives,
        "cut": source.split.cut,
        "views": None if source.bank is None else source.bank.count,
        "view": source.view,
        "alone": source.alone,
        "fingerprint": source.split.fingerprint,
        "key": work.key,
        "cache": options.cache.folder,
        "path": builder.path,
    }
    path = folder / "job.pickle"
    path.write_bytes(pickle.dumps(job))
    return path


def _worker(
    command: list[str], number: int, workers: int, errors: TextIO
) -> subprocess.Popen[str]:
    threads = str(max(1, (os.cpu_count() or 1) // workers))
    environment = {**os.environ, "TF_NUM_INTRAOP_THREADS": threads}
    gpus = len(keras.distribution.list_devices("gpu"))
    if gpus:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        names = visible.split(",") if visible else [str(i) for i in range(gpus)]
        environment["CUDA_VISIBLE_DEVICES"] = names[number % len(names)]
    return subprocess.Popen(  # noqa: S603 - this interpreter, on our own module
        command,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=errors,
        text=True,
    )


def _read(
    process: subprocess.Popen[str],
    number: int,
    lines: "queue.Queue[tuple[int, str | None]]",
) -> None:
    for line in process.stdout or ():
        lines.put((number, line))
    lines.put((number, None))
