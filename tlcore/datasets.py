"""Image folders: one folder per class, as `tf.data` batches in an order that is known.

Owns the layout of a data folder and its splits, nested stratified subsets, and the
order in which images are visited, a pure function of seed and epoch. Everything is
checked before training, all bad images at once. How one file is decoded is in `images`;
TensorFlow is imported only where a dataset is built.
"""

import atexit
import hashlib
import itertools
import json
import math
import numbers
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

import numpy as np
from numpy.typing import NDArray

from tlcore.images import (
    MAX_PIXELS,
    RGB,
    SUFFIXES,
    CheckedImage,
    check_images,
    find_images,
    is_image,
    read_image,
)
from tlcore.tensors import Tensor

if TYPE_CHECKING:
    import tensorflow as tf

LABEL_MODES = ("categorical", "int", "binary")
SPLITS = ("train", "validation", "test")

_MISNAMED_SPLITS = {
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "testing": "test",
}
_PREFETCHED_BATCHES = 4
"""Decoded batches that wait for training. Left to tf.data it may become hundreds."""
_END_POLLS, _END_POLL_SECONDS = 50, 0.1
"""How often, and how far apart, to look whether tf.data is done at the end."""
_MAX_BATCH_SIZE = 1_000_000
_LISTED_FILES = 20
"""Bad files that an error names."""


@dataclass(frozen=True, eq=False)
class ImageFolder:
    """Images of some classes, all of them checked.

    Attributes:
        directory: the folder that holds the folders of the classes.
        class_names: the names of those, sorted.
        paths: the files, class by class, sorted by their path within the class.
        labels: the index of the class of each file, read-only.
        digests: sha256 of the bytes of each file, in hex.
        kinds: what each image is on disk: "RGB", "grey", "palette", "RGBA" ...
        image_size: (height, width) that images are resized to, in pixels.
        batch_size: images per batch; the last of an epoch may hold fewer.
        label_mode: "categorical" (one-hot, (n, classes) float32), "int" ((n,) int32)
            or "binary" ((n, 1) float32).
        percent: how much of each class this is of the folder.
        shuffle: whether each epoch has an order of its own.
        seed: of the subset and of the order.
        skipped: the bad files left out, each with the reason.
    """

    directory: Path
    class_names: tuple[str, ...]
    paths: tuple[str, ...] = field(repr=False)
    labels: NDArray[np.int64] = field(repr=False)
    digests: tuple[str, ...] = field(repr=False)
    kinds: tuple[str, ...] = field(repr=False)
    image_size: tuple[int, int]
    batch_size: int
    label_mode: str
    percent: float
    shuffle: bool
    seed: int
    skipped: tuple[tuple[str, str], ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        self.labels.setflags(write=False)

    def __len__(self) -> int:
        """Return the number of batches per epoch."""
        return math.ceil(self.num_images / self.batch_size)

    def __str__(self) -> str:
        return self.notes()

    @property
    def num_images(self) -> int:
        """Return how many images there are."""
        return len(self.paths)

    @property
    def num_classes(self) -> int:
        """Return how many classes there are."""
        return len(self.class_names)

    @cached_property
    def converted(self) -> Mapping[str, int]:
        """Return how many images are converted to RGB, by what they were."""
        counts = Counter(kind for kind in self.kinds if kind != RGB)
        return MappingProxyType(dict(sorted(counts.items())))

    @cached_property
    def fingerprint(self) -> str:
        """Return sha256, in hex, of class names, relative paths and files, in order.

        It neither depends on where the folder lies nor on how it is read.
        """
        files = list(zip(self._names, self.digests, strict=True))
        return _sha256(json.dumps([self.class_names, files])).hex()

    def notes(self) -> str:
        """Return one line: how many images, and what was done to some of them."""
        subset = "" if self.percent == 100 else f" ({self.percent:g} % subset)"
        notes = [
            f"{_count(self.num_images, 'image')} in "
            f"{_count(self.num_classes, 'class', 'classes')}{subset}"
        ]
        if self.converted:
            counts = [f"{count} {kind}" for kind, count in self.converted.items()]
            plural = "" if sum(self.converted.values()) == 1 else "s"
            notes.append(f"{_listed(counts)} image{plural} converted to RGB")
        if self.skipped:
            notes.append(f"{_count(len(self.skipped), 'bad image')} skipped")
        return "; ".join(notes)

    def order(self, epoch: int) -> NDArray[np.int64]:
        """Return the images in the order in which an epoch visits them.

        Args:
            epoch: its index, from 0.

        Returns:
            A permutation of the indices of `paths`; with `shuffle`, by keys from
            SHAKE-128 of seed and epoch, the same ones everywhere, else as they are.
        """
        if not self.shuffle:
            return np.arange(self.num_images, dtype=np.int64)
        key = hashlib.shake_128(f"{self.seed}/{int(epoch)}".encode())
        keys = np.frombuffer(key.digest(8 * self.num_images), dtype="<u8")
        return np.argsort(keys, kind="stable").astype(np.int64, copy=False)

    def dataset(
        self, *, rows: "Rows | None" = None, bank: "Bank | None" = None
    ) -> "tf.data.Dataset":
        """Return all images once, as batches of images and labels.

        Iterating again starts over; with `shuffle` the k-th iteration has the order of
        epoch k, so that the first equals the first epoch of `stream`.

        Args:
            rows: arrays to give instead of the images.
            bank: what makes a view of each image.

        Returns:
            Batches of images, [0, 255] float32 of (n, height, width, 3), or of a tuple
            of what `rows` holds, and of labels as `label_mode` says.
        """
        import tensorflow as tf

        visits = tf.data.Dataset.range(self.num_images)
        if self.shuffle:
            epochs = itertools.count()
            visits = tf.data.Dataset.range(1).flat_map(
                lambda _: self._visited(lambda: self._visits(next(epochs)))
            )
        batches = self._batches(visits, first_batch=0, rows=rows, bank=bank)
        return batches.apply(tf.data.experimental.assert_cardinality(len(self)))

    def stream(
        self,
        first_step: int = 0,
        *,
        rows: "Rows | None" = None,
        bank: "Bank | None" = None,
        weights: Sequence[float] | None = None,
    ) -> "tf.data.Dataset":
        """Return the endless stream of batches that training reads.

        Step s is batch `s % len(self)` of epoch `s // len(self)`, whatever step the
        stream starts at; nothing before that one is decoded.

        Args:
            first_step: the step to start at.
            rows: arrays to give instead of the images.
            bank: what makes a view of each image.
            weights: a factor of the loss for each image, which comes with its batch.

        Returns:
            Batches as of `dataset`, without end; none holds images of two epochs.

        Raises:
            ValueError: `first_step` is negative.
        """
        import tensorflow as tf

        _require_whole("first_step", first_step, least=0)
        first_epoch, first_batch = divmod(first_step, len(self))
        visits = (
            tf.data.Dataset.counter(first_epoch)
            .flat_map(lambda epoch: self._visited(self._visits, epoch))
            .skip(first_batch * self.batch_size)
        )
        endless = tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY)
        return self._batches(
            visits, first_batch=first_batch, rows=rows, bank=bank, weights=weights
        ).apply(endless)

    def pictures(
        self,
        visits: NDArray[np.int64],
        *,
        batch_size: int,
        bank: "Bank | None" = None,
    ) -> "tf.data.Dataset":
        """Return some images in a given order, without labels.

        Args:
            visits: which; visit v is image `v % num_images` in epoch
                `v // num_images`.
            batch_size: images per batch.
            bank: what makes a view of each image.

        Returns:
            Batches of [0, 255] float32, (n, height, width, 3).
        """
        import tensorflow as tf

        loaded = self._loaded(tf.data.Dataset.from_tensor_slices(visits))
        batches = loaded.batch(batch_size).map(
            lambda images, visits: _finished(images, visits, bank)
        )
        return batches.prefetch(_PREFETCHED_BATCHES)

    def unshuffled(self) -> "ImageFolder":
        """Return the same folder in the order of `paths`."""
        return replace(self, shuffle=False)

    def relabelled(self, label_mode: str) -> "ImageFolder":
        """Return the same folder with labels of another form.

        Raises:
            ValueError: the mode is unknown, or binary with more than two classes.
        """
        _check_label_mode(label_mode, self.class_names)
        return replace(self, label_mode=label_mode)

    def split_off(
        self, percent: float = 10, *, seed: int | None = None
    ) -> tuple["ImageFolder", "ImageFolder"]:
        """Hold a part of every class out, to select models without touching test data.

        Args:
            percent: how much of each class to hold out; at least one image of each is,
                and at least one is not.
            seed: of the choice; by default that of the folder.

        Returns:
            The rest and the part held out, which is not shuffled.

        Raises:
            ValueError: `percent` is not between 0 and 100, or a class holds fewer than
                two images.
        """
        _check_percent(percent, below=100)
        sizes = np.bincount(self.labels, minlength=self.num_classes)
        if sizes.min() < 2:
            small = [self.class_names[i] for i in np.flatnonzero(sizes < 2)]
            raise ValueError(
                "Every class must hold 2 images or more for one of them to be held "
                f"out. Received: {_listed(small)} with 1. Add images, or take more of "
                "the folder with percent."
            )
        key = f"{self.seed if seed is None else seed}/held out"
        names = np.array(self._names, dtype=object)
        held_out = np.zeros(self.num_images, dtype=bool)
        for label, size in enumerate(sizes.tolist()):
            own = np.flatnonzero(self.labels == label)
            count = min(size - 1, _share(size, percent))
            held_out[own[_ranked(names[own], key)[:count]]] = True
        rest = self._take(np.flatnonzero(~held_out))
        part = self._take(np.flatnonzero(held_out)).unshuffled()
        return rest, replace(part, skipped=())

    @property
    def _names(self) -> list[str]:
        """Return the paths from `directory` on, with forward slashes."""
        return [Path(p).relative_to(self.directory).as_posix() for p in self.paths]

    def _take(self, indices: NDArray[np.intp]) -> "ImageFolder":
        return replace(
            self,
            paths=tuple(self.paths[i] for i in indices),
            labels=self.labels[indices],
            digests=tuple(self.digests[i] for i in indices),
            kinds=tuple(self.kinds[i] for i in indices),
        )

    def _visits(self, epoch: int) -> NDArray[np.int64]:
        return self.order(epoch) + int(epoch) * self.num_images

    def _visited(
        self, visits: Callable[..., NDArray[np.int64]], *epoch: Any
    ) -> "tf.data.Dataset":
        import tensorflow as tf

        def visited(*epoch: Any) -> NDArray[np.int64]:
            with _calls:
                return visits(*epoch)

        # A count of its own makes it one that must not run twice.
        numbers = tf.numpy_function(visited, epoch, tf.int64, stateful=not epoch)
        return tf.data.Dataset.from_tensor_slices(
            tf.ensure_shape(numbers, (self.num_images,))
        )

    def _loaded(self, visits: "tf.data.Dataset") -> "tf.data.Dataset":
        """Return the image of each visit, decoded, with the visit."""
        import tensorflow as tf

        shape = (*self.image_size, 3)

        def read(visit: int) -> NDArray[np.uint8]:
            with _calls:
                if _calls.ending:
                    return np.zeros(shape, np.uint8)
                path = self.paths[visit % self.num_images]
                return read_image(path, self.image_size)

        def load(visit: Any) -> tuple[Any, Any]:
            # Said to be stateful, op determinism would have it run one at a time.
            image = tf.numpy_function(read, [visit], tf.uint8, stateful=False)
            return tf.ensure_shape(image, shape), visit

        parallel = tf.data.AUTOTUNE
        return visits.map(load, num_parallel_calls=parallel, deterministic=True)

    def _batches(
        self,
        visits: "tf.data.Dataset",
        *,
        first_batch: int,
        rows: "Rows | None",
        bank: "Bank | None",
        weights: Sequence[float] | None = None,
    ) -> "tf.data.Dataset":
        """Return batches of what belongs to each visit, with its label."""
        import tensorflow as tf

        labels = tf.constant(self.labels, tf.int32)
        factors = None if weights is None else tf.constant(weights, tf.float32)

        def finish(*batch: Any) -> tuple[Any, ...]:
            visits = batch[-1]
            if rows is None:
                inputs = _finished(batch[0], visits, bank)
            else:
                inputs = _taken(rows, visits)
            indices = visits % self.num_images
            finished = inputs, self._encoded(tf.gather(labels, indices))
            if factors is None:
                return finished
            return *finished, tf.gather(factors, indices)

        batches = (self._loaded(visits) if rows is None else visits).batch(
            self.batch_size
        )
        full, partial = divmod(self.num_images, self.batch_size)
        if partial:
            sizes = [self.batch_size] * full + [partial]
            batches = batches.rebatch(np.roll(sizes, -first_batch))
        return batches.map(finish).prefetch(_PREFETCHED_BATCHES)

    def _encoded(self, labels: Any) -> Any:
        import tensorflow as tf

        if self.label_mode == "categorical":
            return tf.one_hot(labels, self.num_classes, dtype=tf.float32)
        if self.label_mode == "binary":
            return tf.cast(labels[:, tf.newaxis], tf.float32)
        return labels


class Rows(Protocol):
    """Arrays that stand for images: what frozen layers make of them."""

    tensors: tuple[Tensor, ...]

    def take(self, visits: NDArray[np.int64]) -> list[NDArray[Any]]:
        """Return one array per tensor, a row for each visit."""


class Bank(Protocol):
    """Makes the view of an image that belongs to a visit."""

    def seeds(self, visits: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return what decides the view of each visit, visits first."""

    def views(self, images: Any, seeds: Any) -> Any:
        """Return the views of images, by their seeds."""


@dataclass(frozen=True, eq=False)
class Splits:
    """The image folders of a data folder, all of the same classes.

    Attributes:
        train: what is trained on.
        validation: what epochs are validated on, whole and in order; or None.
        test: what the final figures are of, whole and in order; or None.
    """

    train: ImageFolder
    validation: ImageFolder | None
    test: ImageFolder | None

    @cached_property
    def shared_images(self) -> Mapping[str, int]:
        """Return, by split, how many held-out images are in train as well, if any.

        Their bytes are the same, whatever name or class they have: figures on them
        measure memory.
        """
        known = set(self.train.digests)
        shared = {
            name: sum(digest in known for digest in folder.digests)
            for name, folder in self._held_out
        }
        return {name: count for name, count in shared.items() if count}

    @property
    def epochs_on(self) -> tuple[str, ImageFolder]:
        """Return name and folder of what epochs are validated on, test if need be."""
        return self._held_out[0]

    def relabelled(self, label_mode: str) -> "Splits":
        """Return the same folders with labels of another form.

        Raises:
            ValueError: the mode is unknown, or binary with more than two classes.
        """
        held_out: dict[str, Any] = {
            name: folder.relabelled(label_mode) for name, folder in self._held_out
        }
        return replace(self, train=self.train.relabelled(label_mode), **held_out)

    @property
    def _held_out(self) -> list[tuple[str, ImageFolder]]:
        named = (("validation", self.validation), ("test", self.test))
        return [(name, folder) for name, folder in named if folder is not None]


def image_folder(
    directory: str | Path,
    *,
    image_size: int | tuple[int, int] = (224, 224),
    batch_size: int = 32,
    label_mode: str = "categorical",
    percent: float = 100,
    shuffle: bool = True,
    seed: int = 42,
    skip_bad: bool = False,
) -> ImageFolder:
    """Open a folder that holds one folder of images per class, and check every image.

    Images are JPEG, PNG, GIF, BMP or WebP files, at any depth; hidden files and
    folders and other files are ignored. Classes are sorted by name.

    Args:
        directory: the folder.
        image_size: (height, width) to resize to, or one number for both, in pixels.
        batch_size: images per batch.
        label_mode: "categorical", "int" or "binary" (two classes).
        percent: how much of each class to take, at least one image. With the same
            seed a smaller percentage lies within a larger one.
        shuffle: give each epoch an order of its own.
        seed: of the subset and of the order.
        skip_bad: go on without images that cannot be read.

    Raises:
        ValueError: an option is out of range, the folder is not laid out so, or images
            cannot be read; the message lists these.
    """
    options = _options(
        image_size=image_size,
        batch_size=batch_size,
        label_mode=label_mode,
        percent=percent,
        shuffle=shuffle,
        seed=seed,
    )
    return _open([(_lay_out(Path(directory)), options)], skip_bad=skip_bad)[0]


def load_splits(
    directory: str | Path,
    *,
    image_size: int | tuple[int, int],
    batch_size: int,
    label_mode: str,
    percent: float = 100,
    seed: int = 42,
    skip_bad: bool = False,
) -> Splits:
    """Open the image folders `train` and `validation` and/or `test` of a data folder.

    Args:
        directory: the data folder.
        image_size: (height, width) to resize to, or one number for both, in pixels.
        batch_size: images per batch.
        label_mode: "categorical", "int" or "binary" (two classes).
        percent: how much of `train` to take; validation and test are always whole.
        seed: of the subset and of the order of `train`; the others are not shuffled.
        skip_bad: go on without images that cannot be read.

    Raises:
        ValueError: as in `image_folder`, bad images of all splits in one message; or
            a split is missing, or the splits differ in their classes.
    """
    shared: dict[str, Any] = {
        "image_size": image_size,
        "batch_size": batch_size,
        "label_mode": label_mode,
        "seed": seed,
    }
    whole = _options(percent=100, shuffle=False, **shared)
    part = _options(percent=percent, shuffle=True, **shared)
    options = {"train": part, "validation": whole, "test": whole}
    layouts = {name: _lay_out(path) for name, path in _find_splits(directory).items()}
    _check_same_classes(directory, layouts)
    wanted = [(layout, options[name]) for name, layout in layouts.items()]
    folders = dict(zip(layouts, _open(wanted, skip_bad=skip_bad), strict=True))
    return Splits(folders["train"], folders.get("validation"), folders.get("test"))


class _Calls:
    """Calls from the threads of tf.data, which must end before the interpreter does.

    One that wants Python while the interpreter shuts down gets no answer, and the
    iterator that waits for it keeps the process from ending: after Ctrl-C, for good.
    """

    def __init__(self) -> None:
        self.ending = False
        self._lock = threading.Lock()
        self._begun = self._running = 0

    def __enter__(self) -> None:
        with self._lock:
            self._begun += 1
            self._running += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._running -= 1

    def end(self) -> None:
        """Have reads return at once, and wait until all buffers are full of that."""
        self.ending = True
        begun = 0
        with suppress(KeyboardInterrupt):  # a second Ctrl-C: go at once
            for _ in range(_END_POLLS):
                if not self._running and self._begun == begun:
                    break
                begun = self._begun
                time.sleep(_END_POLL_SECONDS)


_calls = _Calls()
atexit.register(_calls.end)


@dataclass(frozen=True)
class _Layout:
    """The images of each class, by their path within its folder, sorted."""

    directory: Path
    names: dict[str, list[str]]

    def subset(self, percent: float, seed: int) -> tuple[list[str], list[int]]:
        """Return paths and labels of the share of each class that ranks first."""
        paths, labels = [], []
        for label, (class_name, names) in enumerate(self.names.items()):
            ranked = _ranked(names, f"{seed}/{class_name}")
            for index in sorted(ranked[: _share(len(names), percent)]):
                paths.append(str(self.directory / class_name / names[index]))
                labels.append(label)
        return paths, labels


def _open(
    wanted: Sequence[tuple[_Layout, dict[str, Any]]], *, skip_bad: bool
) -> list[ImageFolder]:
    """Check the images of all layouts together and return a folder for each."""
    for layout, options in wanted:
        _check_label_mode(options["label_mode"], tuple(layout.names))
    subsets = [layout.subset(o["percent"], o["seed"]) for layout, o in wanted]
    paths = [path for paths, _ in subsets for path in paths]
    found = check_images(paths, wanted[0][1]["image_size"])
    bad = [image for image in found if image.reason is not None]
    if bad and not skip_bad:
        raise ValueError(_complaint(bad))
    images = iter(found)
    return [
        _keep_good(layout, options, [(next(images), label) for label in labels])
        for (layout, options), (_, labels) in zip(wanted, subsets, strict=True)
    ]


def _keep_good(
    layout: _Layout,
    options: dict[str, Any],
    found: Iterable[tuple[CheckedImage, int]],
) -> ImageFolder:
    good, skipped = [], []
    for image, label in found:
        if image.reason is None:
            good.append((image, label))
        else:
            skipped.append((image.path, image.reason))
    class_names = tuple(layout.names)
    empty = set(range(len(class_names))) - {label for _, label in good}
    if empty:
        raise ValueError(
            "Every class must keep an image. Received: "
            f"directory={str(layout.directory)!r}, where all images of "
            f"{_listed(class_names[i] for i in sorted(empty))} are bad. Replace them."
        )
    return ImageFolder(
        directory=layout.directory,
        class_names=class_names,
        paths=tuple(image.path for image, _ in good),
        labels=np.array([label for _, label in good], dtype=np.int64),
        digests=tuple(image.digest for image, _ in good),
        kinds=tuple(image.kind for image, _ in good),
        skipped=tuple(skipped),
        **options,
    )


def _complaint(bad: Sequence[CheckedImage]) -> str:
    lines = [f"  {image.path}: {image.reason}" for image in bad[:_LISTED_FILES]]
    if len(bad) > _LISTED_FILES:
        lines.append(f"  and {len(bad) - _LISTED_FILES} more")
    listed = "\n".join(lines)
    return (
        f"Every image must be readable. Received: {len(bad)} that cannot be used:\n"
        f"{listed}\nRemove them, or go on without them: skip_bad=True (on the command "
        "line --skip-bad)."
    )


def _lay_out(directory: Path) -> _Layout:
    """Return the images of an image folder, unread, or say how it is laid out wrong."""
    folders, files = _entries(directory)
    received = f"Received: directory={str(directory)!r}"
    splits = [f for f in folders if f in SPLITS or f in _MISNAMED_SPLITS]
    if "train" in splits and len(splits) > 1:
        raise ValueError(
            "An image folder must hold one folder of images per class. "
            f"{received}, which holds splits: {_listed(splits)}. Open one of them, "
            f"such as {str(directory / 'train')!r}, or all of them with load_splits."
        )
    loose = [name for name in files if is_image(name)]
    if loose:
        raise ValueError(
            "Images must lie in one folder per class, <class>/<image>. "
            f"{received}, which holds {_count(len(loose), 'image')} itself, such as "
            f"{loose[0]!r}. Move them into folders named after their class."
        )
    if not folders:
        raise ValueError(
            "An image folder must hold one folder of images per class. "
            f"{received}, which holds no folder. Check the path."
        )
    names = {name: _images_in(directory / name) for name in folders}
    empty = [name for name in folders if not names[name]]
    if empty:
        raise ValueError(
            f"Every class folder must hold images ({', '.join(SUFFIXES)}). "
            f"{received}, where none are in: {', '.join(empty)}. Add images or remove "
            "these folders."
        )
    if len(folders) < 2:
        raise ValueError(
            f"There must be at least two classes. {received} with the only folder "
            f"{folders[0]!r}. Give each class a folder of its own."
        )
    return _Layout(directory, names)


def _entries(directory: Path) -> tuple[list[str], list[str]]:
    """Return the names of the folders and of the files in a folder, none hidden."""
    if not directory.is_dir():
        what = "a file; unpack it if it is an archive" if directory.exists() else "none"
        raise ValueError(
            "directory must be a folder that exists. "
            f"Received: directory={str(directory)!r}, which is {what}."
        )
    try:
        entries = [e for e in directory.iterdir() if not e.name.startswith(".")]
    except OSError as error:
        _refuse_unreadable(error)
    folders = sorted(entry.name for entry in entries if entry.is_dir())
    return folders, sorted({entry.name for entry in entries} - set(folders))


def _images_in(folder: Path) -> list[str]:
    try:
        return find_images(folder)
    except OSError as error:
        _refuse_unreadable(error)


def _refuse_unreadable(error: OSError) -> NoReturn:
    raise ValueError(
        "Every folder of images must be readable. "
        f"Received: {error.filename!r} ({error.strerror}). Change its permissions."
    ) from error


def _find_splits(directory: str | Path) -> dict[str, Path]:
    directory = Path(directory)
    folders, _ = _entries(directory)
    received = f"Received: directory={str(directory)!r}"
    for name in folders:
        needed = _MISNAMED_SPLITS.get(name.lower(), name.lower())
        if needed in SPLITS and name != needed:
            raise ValueError(
                f"Splits must be named {_listed(SPLITS)}. {received} with {name!r}. "
                f"Rename it to {needed!r}."
            )
    found = [name for name in SPLITS if name in folders]
    if "train" not in found or len(found) < 2:
        raise ValueError(
            "A data folder must hold a folder train, and validation or test or both. "
            f"{received}, which holds: {', '.join(folders) or 'no folder'}. "
            "Name them so, each with one folder of images per class."
        )
    return {name: directory / name for name in found}


def _check_same_classes(directory: str | Path, layouts: Mapping[str, _Layout]) -> None:
    train = set(layouts["train"].names)
    differences = []
    for name, layout in layouts.items():
        own = set(layout.names)
        if train - own:
            differences.append(f"{name} lacks {_listed(sorted(train - own))}")
        if own - train:
            differences.append(f"train lacks {_listed(sorted(own - train))} of {name}")
    if differences:
        raise ValueError(
            f"All splits must hold the same classes. Received: "
            f"directory={str(directory)!r}, where {'; '.join(differences)}. "
            "Add, rename or remove folders."
        )


def _finished(images: Any, visits: Any, bank: Bank | None) -> Any:
    import tensorflow as tf

    images = tf.cast(images, tf.float32)
    if bank is None:
        return images

    def seeds(visits: NDArray[np.int64]) -> NDArray[np.int64]:
        with _calls:
            return bank.seeds(visits)

    decided = tf.numpy_function(seeds, [visits], tf.int64, stateful=False)
    return bank.views(images, decided)


def _taken(rows: Rows, visits: Any) -> tuple[Any, ...]:
    import tensorflow as tf

    types = [tf.as_dtype(tensor.dtype) for tensor in rows.tensors]

    def take(visits: NDArray[np.int64]) -> list[NDArray[Any]]:
        with _calls:
            return rows.take(visits)

    taken = tf.numpy_function(take, [visits], types, stateful=False)
    return tuple(
        tf.ensure_shape(array, (None, *tensor.shape))
        for array, tensor in zip(taken, rows.tensors, strict=True)
    )


def _options(
    *,
    image_size: int | tuple[int, int],
    batch_size: int,
    label_mode: str,
    percent: float,
    shuffle: bool,
    seed: int,
) -> dict[str, Any]:
    """Return the options that an `ImageFolder` keeps, checked."""
    size = image_size if isinstance(image_size, Sequence) else (image_size, image_size)
    whole = len(size) == 2 and all(_is_whole(n, least=1) for n in size)
    if not whole or size[0] * size[1] > MAX_PIXELS:
        raise ValueError(
            "image_size must be a height and a width of at least 1 pixel, or one "
            f"number for both, and at most {MAX_PIXELS:,} pixels in all. "
            f"Received: image_size={image_size!r}."
        )
    _require_whole("batch_size", batch_size, least=1, most=_MAX_BATCH_SIZE)
    _require_whole("seed", seed)
    _check_percent(percent)
    return {
        "image_size": (int(size[0]), int(size[1])),
        "batch_size": int(batch_size),
        "label_mode": label_mode,
        "percent": percent,
        "shuffle": shuffle,
        "seed": int(seed),
    }


def _check_label_mode(label_mode: str, class_names: Sequence[str]) -> None:
    if label_mode not in LABEL_MODES:
        raise ValueError(
            f"label_mode must be one of: {', '.join(LABEL_MODES)}. "
            f"Received: label_mode={label_mode!r}."
        )
    if label_mode == "binary" and len(class_names) != 2:
        raise ValueError(
            "Binary labels need exactly two classes. Received: label_mode='binary' "
            f"with {len(class_names)}: {', '.join(class_names)}. Use 'categorical'."
        )


def _check_percent(percent: float, *, below: float = math.inf) -> None:
    number = isinstance(percent, numbers.Real)
    if not (number and 0 < percent <= 100 and percent < below):
        most = "at most" if below > 100 else "below"
        raise ValueError(
            f"percent must be above 0 and {most} 100. Received: percent={percent!r}."
        )


def _require_whole(
    name: str, value: int, *, least: int | None = None, most: float = math.inf
) -> None:
    if not _is_whole(value, least=least) or value > most:
        limit = "" if least is None else f" of at least {least}"
        limit += "" if most == math.inf else f" and at most {most:,}"
        raise ValueError(
            f"{name} must be a whole number{limit}. Received: {name}={value!r}."
        )


def _is_whole(value: object, *, least: int | None) -> bool:
    return isinstance(value, (int, np.integer)) and (
        least is None or int(value) >= least
    )


def _share(count: int, percent: float) -> int:
    return max(1, round(count * percent / 100))


def _ranked(names: Iterable[str], key: str) -> list[int]:
    """Return the indices of `names` in an order by lot that depends on each alone."""
    lots = [_sha256(f"{key}/{name}") for name in names]
    return sorted(range(len(lots)), key=lots.__getitem__)


def _sha256(text: str) -> bytes:
    # File names that are no UTF-8 hold surrogates.
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"


def _listed(names: Iterable[str]) -> str:
    *some, last = names
    return f"{', '.join(some)} and {last}" if some else last
