"""Image folders: one folder per class, as `tf.data` batches in a known order.

Owns which images of a folder are used (nested stratified subsets), the order in which
they are visited, a pure function of seed and epoch, and the check of all of them before
training: every bad image is reported at once. How the folders must lie is in `layout`,
how a file is decoded in `images`, how visits become batches in `pipeline`.
"""

import hashlib
import itertools
import json
import math
import numbers
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tlcore.arguments import counted, is_whole, listed, require_one_of, require_whole
from tlcore.data.images import MAX_PIXELS, RGB, CheckedImage, check_images
from tlcore.data.layout import Layout, lay_out, ranked_indices, share_of, text_digest
from tlcore.data.pipeline import Bank, Pipeline, Rows

if TYPE_CHECKING:
    import tensorflow as tf

LABEL_MODES = ("categorical", "int", "binary")
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
        return text_digest(json.dumps([self.class_names, files])).hex()

    def notes(self) -> str:
        """Return one line: how many images, and what was done to some of them."""
        subset = "" if self.percent == 100 else f" ({self.percent:g} % subset)"
        notes = [
            f"{counted(self.num_images, 'image')} in "
            f"{counted(self.num_classes, 'class', 'classes')}{subset}"
        ]
        if self.converted:
            counts = [f"{count} {kind}" for kind, count in self.converted.items()]
            plural = "" if sum(self.converted.values()) == 1 else "s"
            notes.append(f"{listed(counts)} image{plural} converted to RGB")
        if self.skipped:
            notes.append(f"{counted(len(self.skipped), 'bad image')} skipped")
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

        pipeline = self._pipeline
        visits = tf.data.Dataset.range(self.num_images)
        if self.shuffle:
            epochs = itertools.count()
            visits = tf.data.Dataset.range(1).flat_map(
                lambda _: pipeline.visited(lambda: self._visits(next(epochs)))
            )
        batches = pipeline.batches(visits, first_batch=0, rows=rows, bank=bank)
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

        require_whole("first_step", first_step, least=0)
        pipeline = self._pipeline
        first_epoch, first_batch = divmod(first_step, len(self))
        visits = (
            tf.data.Dataset.counter(first_epoch)
            .flat_map(lambda epoch: pipeline.visited(self._visits, epoch))
            .skip(first_batch * self.batch_size)
        )
        endless = tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY)
        return pipeline.batches(
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

        return self._pipeline.images(
            tf.data.Dataset.from_tensor_slices(visits), batch_size, bank
        )

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
                f"out. Received: {listed(small)} with 1. Add images, or take more of "
                "the folder with percent."
            )
        key = f"{self.seed if seed is None else seed}/held out"
        names = np.array(self._names, dtype=object)
        held_out = np.zeros(self.num_images, dtype=bool)
        for label, size in enumerate(sizes.tolist()):
            own = np.flatnonzero(self.labels == label)
            count = min(size - 1, share_of(size, percent))
            held_out[own[ranked_indices(names[own], key)[:count]]] = True
        rest = self._take(np.flatnonzero(~held_out))
        part = self._take(np.flatnonzero(held_out)).unshuffled()
        return rest, replace(part, skipped=())

    @property
    def _names(self) -> list[str]:
        """Return the paths from `directory` on, with forward slashes."""
        return [Path(p).relative_to(self.directory).as_posix() for p in self.paths]

    @property
    def _pipeline(self) -> Pipeline:
        return Pipeline(
            paths=self.paths,
            labels=self.labels,
            image_size=self.image_size,
            batch_size=self.batch_size,
            label_mode=self.label_mode,
            num_classes=self.num_classes,
        )

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
    options = folder_options(
        image_size=image_size,
        batch_size=batch_size,
        label_mode=label_mode,
        percent=percent,
        shuffle=shuffle,
        seed=seed,
    )
    return open_folders([(lay_out(Path(directory)), options)], skip_bad=skip_bad)[0]


def open_folders(
    wanted: Sequence[tuple[Layout, dict[str, Any]]], *, skip_bad: bool
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
    layout: Layout,
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
            f"{listed(class_names[i] for i in sorted(empty))} are bad. Replace them."
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


def folder_options(
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
    whole = len(size) == 2 and all(is_whole(n, least=1) for n in size)
    if not whole or size[0] * size[1] > MAX_PIXELS:
        raise ValueError(
            "image_size must be a height and a width of at least 1 pixel, or one "
            f"number for both, and at most {MAX_PIXELS:,} pixels in all. "
            f"Received: image_size={image_size!r}."
        )
    require_whole("batch_size", batch_size, least=1, most=_MAX_BATCH_SIZE)
    require_whole("seed", seed)
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
    require_one_of("label_mode", label_mode, LABEL_MODES)
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
