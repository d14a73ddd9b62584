"""Image folder: one folder of images per class, as `tf.data` batches in a known order.

Owns the value `ImageFolder` and the function `image_folder` that opens one: all images
are checked before training and all bad ones reported together; the order of an epoch is
a pure function of seed and epoch. Which folders and subsets there are is decided in
`layout`, how a file is decoded in `images`, how visits become batches in `pipeline`;
several folders are opened together in `splits`.
"""

import hashlib
import itertools
import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tlcore.arguments import counted, listed, require_whole
from tlcore.data.decoded import DecodedImages
from tlcore.data.images import RGB, CheckedImage, check_images
from tlcore.data.layout import Layout, lay_out, ranked_indices, share_of, text_digest
from tlcore.data.options import check_label_mode, check_percent, folder_options
from tlcore.data.pipeline import Bank, Pipeline, Rows

if TYPE_CHECKING:
    import tensorflow as tf

_LISTED_FILES = 20
"""The most bad files that an error lists."""


@dataclass(frozen=True, eq=False)
class ImageFolder:
    """Images by class, all of them checked; `len` is the number of batches per epoch.

    Attributes:
        directory: the folder that holds one folder per class.
        class_names: the names of the class folders, sorted.
        paths: the files, class by class, sorted by their path within the class.
        labels: the class index of each file, read-only.
        digests: sha256 of the bytes of each file, in hex.
        kinds: what each image is on disk: "RGB", "grey", "palette", "RGBA" ...
        image_size: (height, width) that images are resized to, in pixels.
        batch_size: images per batch; the last batch of an epoch may hold fewer.
        label_mode: "categorical" (one-hot, (n, classes) float32), "int" ((n,) int32)
            or "binary" ((n, 1) float32).
        percent: the part of each class in the folder that was taken.
        shuffle: whether each epoch has its own order.
        seed: of the subset and of the order.
        skipped: the bad files that are left out, each with the reason.
        decoded: the pixels of images that were read, where they are few enough.

    Example:
        >>> train = tl.image_folder("photos/train", image_size=32, batch_size=5)
        >>> train.num_images, len(train)
        (12, 3)
        >>> images, labels = next(iter(train.dataset()))
        >>> images.shape, labels.shape
        (TensorShape([5, 32, 32, 3]), TensorShape([5, 3]))
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
    decoded: DecodedImages = field(default_factory=DecodedImages, repr=False)

    def __post_init__(self) -> None:
        self.labels.setflags(write=False)

    def __len__(self) -> int:
        """Return the number of batches per epoch."""
        return math.ceil(self.num_images / self.batch_size)

    def __str__(self) -> str:
        return self.notes()

    @property
    def num_images(self) -> int:
        """Return the number of images."""
        return len(self.paths)

    @property
    def num_classes(self) -> int:
        """Return the number of classes."""
        return len(self.class_names)

    @cached_property
    def converted(self) -> Mapping[str, int]:
        """Return how many images are converted to RGB, by what they are on disk."""
        counts = Counter(kind for kind in self.kinds if kind != RGB)
        return MappingProxyType(dict(sorted(counts.items())))

    @cached_property
    def fingerprint(self) -> str:
        """Return sha256, in hex, of class names, relative paths and files, in order.

        It depends neither on where the folder is nor on the options it is opened with,
        except through the subset that `percent` and `seed` choose.
        """
        files = list(zip(self._names, self.digests, strict=True))
        return text_digest(json.dumps([self.class_names, files])).hex()

    def notes(self) -> str:
        """Return one line: the number of images, and which were converted or skipped.

        Example:
            >>> tl.image_folder("photos/train", percent=50).notes()
            '6 images in 3 classes (50 % subset)'
        """
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
        """Return the order in which an epoch visits the images.

        Args:
            epoch: the index of the epoch, from 0.

        Returns:
            The indices of `paths`, permuted if `shuffle` is true. The permutation
            depends only on seed and epoch, on every machine.
        """
        if not self.shuffle:
            return np.arange(self.num_images, dtype=np.int64)
        # Sorted by the words of a hash: NumPy does not promise that a generator gives
        # the same permutation in every version (NEP 19), and runs are resumed later.
        key = hashlib.shake_128(f"{self.seed}/{int(epoch)}".encode())
        keys = np.frombuffer(key.digest(8 * self.num_images), dtype="<u8")
        return np.argsort(keys, kind="stable").astype(np.int64, copy=False)

    def dataset(
        self, *, rows: "Rows | None" = None, bank: "Bank | None" = None
    ) -> "tf.data.Dataset":
        """Return one epoch of (images, labels) batches.

        With `shuffle` the k-th iteration over the dataset has the order of epoch k, so
        that the first iteration equals the first epoch of `stream`.

        Args:
            rows: arrays that replace the images.
            bank: computes an augmented view of each image.

        Returns:
            Batches of images, float32 in [0, 255] of shape (n, height, width, 3), or of
            a tuple of the arrays of `rows`; and of labels in the form of `label_mode`.
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
        """Return the infinite stream of batches that training reads.

        Step s is batch `s % len(self)` of epoch `s // len(self)`, whichever step the
        stream starts at. Images before the first step are not decoded.

        Args:
            first_step: the step to start at.
            rows: arrays that replace the images.
            bank: computes an augmented view of each image.
            weights: one factor of the loss for each image; the batches then are
                (images, labels, weights).

        Returns:
            Batches as those of `dataset`, without end. No batch holds images of two
            epochs.

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
        # `flat_map` loses the cardinality, by which readers know that a dataset never
        # ends (`plot_images` refuses it instead of reading for ever).
        infinite = tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY)
        return pipeline.batches(
            visits, first_batch=first_batch, rows=rows, bank=bank, weights=weights
        ).apply(infinite)

    def pictures(
        self,
        visits: NDArray[np.int64],
        *,
        batch_size: int,
        bank: "Bank | None" = None,
    ) -> "tf.data.Dataset":
        """Return the images of given visits, without labels.

        Args:
            visits: visit v is image `v % num_images` in epoch `v // num_images`.
            batch_size: images per batch.
            bank: computes an augmented view of each image.

        Returns:
            Batches of images, float32 in [0, 255] of shape (n, height, width, 3).
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

        Args:
            label_mode: "categorical", "int" or "binary" (two classes).

        Raises:
            ValueError: the mode is unknown, or binary with other than two classes.
        """
        check_label_mode(label_mode, self.class_names)
        return replace(self, label_mode=label_mode)

    def split_off(
        self, percent: float = 10, *, seed: int | None = None
    ) -> tuple["ImageFolder", "ImageFolder"]:
        """Hold out a part of every class, to select models without touching test data.

        Args:
            percent: how much of each class to hold out; of each class at least one
                image is held out and at least one remains.
            seed: of the choice; by default that of the folder.

        Returns:
            The rest, and the part held out, which is not shuffled.

        Raises:
            ValueError: `percent` is not between 0 and 100, or a class holds fewer than
                two images.

        Example:
            >>> train, held_out = tl.image_folder("photos/train").split_off(percent=25)
            >>> train.num_images, held_out.num_images
            (9, 3)
        """
        check_percent(percent, all_allowed=False)
        sizes = np.bincount(self.labels, minlength=self.num_classes)
        if sizes.min() < 2:
            small = [self.class_names[i] for i in np.flatnonzero(sizes < 2)]
            raise ValueError(
                "Every class must hold at least 2 images for one to be held out. "
                f"Received: {listed(small)} with 1. Add images, or open the folder "
                "with a higher percent."
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
        """Return the paths relative to `directory`, with forward slashes."""
        return [Path(p).relative_to(self.directory).as_posix() for p in self.paths]

    @property
    def _pipeline(self) -> Pipeline:
        return Pipeline(
            paths=self.paths,
            digests=self.digests,
            labels=self.labels,
            image_size=self.image_size,
            batch_size=self.batch_size,
            label_mode=self.label_mode,
            num_classes=self.num_classes,
            decoded=self.decoded,
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
        """Return the visits of an epoch: `order` with the epoch in each number."""
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

    Images are JPEG, PNG, GIF, BMP or WebP files, at any depth. Other files, and hidden
    files and folders, are ignored. Classes are sorted by name.

    Args:
        directory: the folder.
        image_size: (height, width) to resize to, or one number for both, in pixels.
        batch_size: images per batch.
        label_mode: "categorical", "int" or "binary" (two classes).
        percent: how much of each class to take, at least one image. With the same seed
            a smaller subset lies within a larger one.
        shuffle: whether each epoch has its own order.
        seed: of the subset and of the order.
        skip_bad: leave out images that cannot be read, instead of raising.

    Raises:
        ValueError: an option is out of range, the folder has another layout, or images
            cannot be read; the message lists these images.

    Example:
        >>> train = tl.image_folder("photos/train", image_size=32)
        >>> train.class_names
        ('checked_ring', 'dotted_crescent', 'striped_triangle')
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
    """Check the images of all layouts together and return a folder for each.

    Args:
        wanted: each layout with the result of `folder_options` for it.
        skip_bad: leave out images that cannot be read, instead of raising.

    Raises:
        ValueError: images cannot be read, or labels cannot have the form asked for.
    """
    for layout, options in wanted:
        check_label_mode(options["label_mode"], tuple(layout.names))
    subsets = [layout.subset(o["percent"], o["seed"]) for layout, o in wanted]
    paths = [path for paths, _ in subsets for path in paths]
    found = check_images(paths, wanted[0][1]["image_size"])
    bad = [image for image in found if image.reason is not None]
    if bad and not skip_bad:
        raise ValueError(_bad_images_message(bad))
    images = iter(found)
    return [
        _without_bad(layout, options, [(next(images), label) for label in labels])
        for (layout, options), (_, labels) in zip(wanted, subsets, strict=True)
    ]


def _without_bad(
    layout: Layout,
    options: dict[str, Any],
    found: Iterable[tuple[CheckedImage, int]],
) -> ImageFolder:
    """Return the folder of the good images among those found, given with labels."""
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
            "Every class must hold a good image. Received: "
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


def _bad_images_message(bad: Sequence[CheckedImage]) -> str:
    lines = [f"  {image.path}: {image.reason}" for image in bad[:_LISTED_FILES]]
    if len(bad) > _LISTED_FILES:
        lines.append(f"  and {len(bad) - _LISTED_FILES} more")
    files = "\n".join(lines)
    return (
        f"Every image must be readable. Received: {len(bad)} that cannot be used:\n"
        f"{files}\nRemove them, or leave them out with skip_bad=True (on the command "
        "line --skip-bad)."
    )
