"""Image folder: one folder of images per class, as batches in a known order.

Owns the value `ImageFolder` and the function `image_folder` that opens one: all images
are checked before training and all bad ones reported together; the order of an epoch is
a pure function of seed and epoch, and the folder lists its images in that of epoch 0,
so that `paths`, `labels` and `dataset()` agree. Which folders and subsets there are is
decided in `layout`, how a file is decoded in `images`, what a batch holds in
`pipeline`; several folders are opened together in `splits`.
"""

import itertools
import json
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from tlcore.arguments import require_path, require_whole
from tlcore.backend import seam
from tlcore.backend.transport import Bank, Plan, Rows
from tlcore.data.allotment import allot
from tlcore.data.decoded import DecodedImages
from tlcore.data.layout import Listing, lay_out, ranked_indices, text_digest
from tlcore.data.notes import notes
from tlcore.data.opening import check_folders
from tlcore.data.options import check_label_mode, check_percent, folder_options
from tlcore.data.orders import permutation
from tlcore.data.pipeline import Pipeline
from tlcore.data.pixels import COMPOSED, FIRST_FRAME, RGB, ROTATED
from tlcore.data.reading import DEFAULT, Reading

T = TypeVar("T")


def _no_place() -> NDArray[np.int64]:
    return np.zeros(0, np.int64)


@dataclass(frozen=True, eq=False)
class ImageFolder:
    """Images by class, all of them checked; `len` is the number of batches per epoch.

    Attributes:
        directory: the folder that holds one folder per class, or the root of a table.
        class_names: the names of the class folders, sorted.
        paths: the files, in the order of epoch 0. That is class by class, sorted by
            their path within the class, if `shuffle` is false.
        labels: the class index of each file, read-only; of a table with several classes
            for an image a row of 0 and 1 for each, (n, classes) float32.
        digests: sha256 of the bytes of each file, in hex.
        kinds: what each image is on disk: "RGB", "grey", "palette", "RGBA" ...
        image_size: (height, width) that images are resized to, in pixels.
        batch_size: images per batch; the last batch of an epoch may hold fewer.
        label_mode: "categorical" (one-hot, (n, classes) float32), "int" ((n,) int32)
            or "binary" ((n, 1) float32).
        percent: the part of each class in the folder that was taken.
        shuffle: whether each epoch has its own order.
        seed: of the subset and of the order.
        reading: how files become pixels.
        skipped: the bad files that are left out, each with the reason.
        left_out: how many files in the class folders are no images, by suffix.
        treatments: what else is done to each image: "rotated", "composed", "first
            frame".
        place: the index of each image in the sorted order; empty if they are given in
            that order.
        split: "train", "validation" or "test" where the folder is one of the splits
            that were opened together; "" otherwise.
        levels: how far the values of each image are apart, and the largest of them, as
            in `levels_of`, (n, 2) uint8.
        decoded: the pixels of images that were read, where they are few enough.

    Example:
        >>> train = tl.image_folder("photos/train", image_size=32, batch_size=5)
        >>> train.num_images, len(train)
        (12, 3)
        >>> images, labels = next(iter(train.dataset()))
        >>> tuple(images.shape), tuple(labels.shape)
        ((5, 32, 32, 3), (5, 3))
    """

    directory: Path
    class_names: tuple[str, ...]
    paths: tuple[str, ...] = field(repr=False)
    labels: NDArray[Any] = field(repr=False)
    digests: tuple[str, ...] = field(repr=False)
    kinds: tuple[str, ...] = field(repr=False)
    image_size: tuple[int, int]
    batch_size: int
    label_mode: str
    percent: float
    shuffle: bool
    seed: int
    reading: Reading = DEFAULT
    skipped: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    left_out: Mapping[str, int] = field(default_factory=dict, repr=False)
    treatments: tuple[tuple[str, ...], ...] = field(default=(), repr=False)
    place: NDArray[np.int64] = field(default_factory=_no_place, repr=False)
    split: str = ""
    levels: NDArray[np.uint8] = field(
        default_factory=lambda: np.zeros((0, 2), np.uint8), repr=False
    )
    decoded: DecodedImages = field(default_factory=DecodedImages, repr=False)

    def __post_init__(self) -> None:
        """List the images in the order of epoch 0."""
        wanted = self._listed()
        listing = np.argsort(self.place)[wanted] if len(self.place) else wanted
        for name in ("paths", "digests", "kinds", "treatments"):
            values = getattr(self, name)
            object.__setattr__(self, name, tuple(values[i] for i in listing if values))
        for name in ("labels", "levels"):
            array = getattr(self, name)
            object.__setattr__(self, name, array[listing] if len(array) else array)
        object.__setattr__(self, "place", wanted)
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
    def rotated(self) -> int:
        """Return how many images are turned upright as their EXIF data say."""
        return self._treated(ROTATED)

    @cached_property
    def composed(self) -> int:
        """Return how many images have transparent pixels, put on the background."""
        return self._treated(COMPOSED)

    @cached_property
    def first_frames(self) -> int:
        """Return how many files hold several frames or pages, the first being read."""
        return self._treated(FIRST_FRAME)

    @cached_property
    def fingerprint(self) -> str:
        """Return sha256, in hex, of class names, relative paths, files and reading.

        It depends neither on where the folder is nor on the order of the images. Of the
        options, only those of the reading and, through the subset, `percent` and `seed`
        change it.
        """
        whole = self.unshuffled()
        names = whole.names
        files = list(zip(names, whole.digests, strict=True))
        content: list[Any] = [self.class_names, files, self.reading.as_dict()]
        # The path says the class, except in a table.
        index = {name: label for label, name in enumerate(self.class_names)}
        labels = whole.labels.tolist()
        if labels != [index.get(name.partition("/")[0]) for name in names]:
            content.append(labels)
        return text_digest(json.dumps(content)).hex()

    def notes(self) -> str:
        """Return one line: how many images, what is done to them, what is left out.

        Example:
            >>> tl.image_folder("photos/train", percent=50).notes()
            '6 images in 3 classes (50 % subset)'
        """
        return notes(self)

    def order(self, epoch: int) -> NDArray[np.int64]:
        """Return the order in which an epoch visits the images.

        Args:
            epoch: the index of the epoch, from 0.

        Returns:
            The indices of `paths`: 0, 1, 2 ... for epoch 0, and for every epoch if
            `shuffle` is false. The order depends only on the images, seed and epoch, on
            every machine.
        """
        return np.argsort(self.place)[self._permutation(epoch)]

    def _listed(self) -> NDArray[np.int64]:
        return self._permutation(0)

    def _permutation(self, epoch: int) -> NDArray[np.int64]:
        """Return the order of an epoch as indices of the sorted images."""
        if self.shuffle:
            return permutation(self.num_images, self.seed, epoch)
        return np.arange(self.num_images, dtype=np.int64)

    def dataset(
        self,
        *,
        rows: Rows | None = None,
        bank: Bank | None = None,
        reshuffle: bool = False,
    ) -> Any:
        """Return one epoch of (images, labels) batches, in the order of `paths`.

        Every iteration has the same order, so that predictions can be compared with
        `labels` and `paths`.

        Args:
            rows: arrays that replace the images.
            bank: computes an augmented view of each image.
            reshuffle: give the k-th iteration the order of epoch k, as `stream` does;
                for training with Keras's own `fit`. Only the first iteration is then in
                the order of `paths`.

        Returns:
            Batches of images, float32 in [0, 255] of shape (n, height, width, 3), or of
            a tuple of the arrays of `rows`; and of labels in the form of `label_mode`.
            They are a `tf.data.Dataset` with TensorFlow, else a
            `keras.utils.PyDataset` of NumPy arrays.

        Example:
            >>> test = tl.image_folder("photos/test", image_size=32, label_mode="int")
            >>> labels = np.concatenate([labels for _, labels in test.dataset()])
            >>> bool((labels == test.labels).all())
            True
        """
        content = self._pipeline.labelled(rows=rows, bank=bank)
        if self.shuffle and reshuffle:
            epochs = itertools.count()
            plan = replace(
                self._plan(self.order),
                count=len(self),
                begin=lambda: next(epochs) * len(self),
            )
        else:
            listed = np.arange(self.num_images, dtype=np.int64)
            plan = replace(self._plan(lambda _: listed), count=len(self))
        return seam.current().batches(plan, content)

    def stream(
        self,
        first_step: int = 0,
        *,
        stop: int | None = None,
        rows: Rows | None = None,
        bank: Bank | None = None,
        weights: Sequence[float] | None = None,
    ) -> Any:
        """Return the infinite stream of batches that training reads.

        Step s is batch `s % len(self)` of epoch `s // len(self)`, whichever step the
        stream starts at. Images before the first step are not decoded.

        Args:
            first_step: the step to start at.
            stop: the step after the last; what is read beyond it is of the last epoch.
            rows: arrays that replace the images.
            bank: computes an augmented view of each image.
            weights: one factor of the loss for each image; the batches then are
                (images, labels, weights).

        Returns:
            Batches as those of `dataset`, without end; none has images of two epochs.

        Raises:
            ValueError: `first_step` is negative.
        """
        require_whole("first_step", first_step, least=0)
        content = self._pipeline.labelled(rows=rows, bank=bank, weights=weights)
        plan = replace(self._plan(self.order, stop), first=first_step)
        return seam.current().batches(plan, content)

    def pictures(
        self,
        visits: NDArray[np.int64],
        *,
        batch_size: int,
        bank: Bank | None = None,
    ) -> Any:
        """Return the images of given visits, without labels.

        Args:
            visits: visit v is image `v % num_images` in epoch `v // num_images`.
            batch_size: images per batch.
            bank: computes an augmented view of each image.

        Returns:
            Batches of images, float32 in [0, 255] of shape (n, height, width, 3).
        """
        parts = [visits[i : i + batch_size] for i in range(0, len(visits), batch_size)]
        plan = Plan(parts.__getitem__, tuple(map(len, parts)), count=len(parts))
        return seam.current().batches(plan, self._pipeline.images(bank))

    def unshuffled(self) -> "ImageFolder":
        """Return the same folder sorted by class and path, for every epoch."""
        return replace(self, shuffle=False)

    def relabelled(self, label_mode: str) -> "ImageFolder":
        """Return the same folder with labels of another form.

        Args:
            label_mode: "categorical", "int" or "binary" (two classes).

        Raises:
            ValueError: the mode is unknown, or binary with other than two classes, or
                images have several classes.
        """
        check_label_mode(label_mode, self.class_names, rows=self.labels.ndim == 2)
        return replace(self, label_mode=label_mode)

    def split_off(
        self, percent: float = 10, *, seed: int | None = None
    ) -> tuple["ImageFolder", "ImageFolder"]:
        """Hold out a part of every class, to select models without touching test data.

        Copies of an image (equal bytes) stay on one side.

        Args:
            percent: how much of each class to hold out; of each class at least one
                image is held out and at least one remains.
            seed: of the choice; by default that of the folder.

        Returns:
            The rest, and the part held out, which is not shuffled.

        Raises:
            ValueError: `percent` is not between 0 and 100, or a class holds fewer than
                two different images.

        Example:
            >>> train, held_out = tl.image_folder("photos/train").split_off(percent=25)
            >>> train.num_images, held_out.num_images
            (9, 3)
        """
        check_percent(percent, all_allowed=False)
        key = f"{self.seed if seed is None else seed}/held out"
        ranks = ranked_indices(self.names, key)
        held_out = {"held out": percent}
        parts = allot(self.labels, self.digests, ranks, held_out, self.class_names)
        part = self.taken(parts["held out"]).unshuffled()
        return self.taken(parts["train"]), replace(part, skipped=(), left_out={})

    def taken(self, indices: NDArray[np.intp]) -> "ImageFolder":
        """Return a folder of some of the images, in an order of its own.

        Args:
            indices: of `paths`, each at most once, in any order.
        """
        chosen = np.asarray(indices)[np.argsort(self.place[indices])]

        def some(values: tuple[T, ...]) -> tuple[T, ...]:
            return tuple(values[i] for i in chosen if values)

        return replace(
            self,
            paths=some(self.paths),
            labels=self.labels[chosen],
            digests=some(self.digests),
            kinds=some(self.kinds),
            treatments=some(self.treatments),
            levels=self.levels[chosen] if len(self.levels) else self.levels,
            place=_no_place(),
        )

    def class_text(self, index: int) -> str:
        """Return the name of the class of an image; several with "|" between."""
        if self.labels.ndim == 1:
            return self.class_names[int(self.labels[index])]
        columns = np.flatnonzero(self.labels[index])
        return "|".join(self.class_names[column] for column in columns)

    @property
    def names(self) -> list[str]:
        """Return the paths relative to `directory`, with forward slashes."""
        return [Path(p).relative_to(self.directory).as_posix() for p in self.paths]

    def _treated(self, treatment: str) -> int:
        return sum(treatment in done for done in self.treatments)

    @property
    def _pipeline(self) -> Pipeline:
        return Pipeline(
            paths=self.paths,
            digests=self.digests,
            labels=self.labels,
            image_size=self.image_size,
            reading=self.reading,
            label_mode=self.label_mode,
            num_classes=self.num_classes,
            decoded=self.decoded,
        )

    def _plan(
        self, order: Callable[[int], NDArray[np.int64]], stop: int | None = None
    ) -> Plan:
        """Return the plan of epochs in an order: batch by batch, none over two."""
        size = self.batch_size
        full, rest = divmod(self.num_images, size)
        kept = lru_cache(maxsize=2)(order)  # of this epoch, and of the next

        def visits(step: int) -> NDArray[np.int64]:
            epoch, batch = divmod(step, len(self))
            epoch = epoch if stop is None else min(epoch, (stop - 1) // len(self))
            images = kept(epoch)[batch * size : (batch + 1) * size]
            return images + epoch * self.num_images

        return Plan(visits, (size,) * full + ((rest,) if rest else ()))


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
    fit: str = "squash",
    background: str | Sequence[int] = "white",
    orientation: str = "apply",
) -> ImageFolder:
    """Open a folder that holds one folder of images per class, and check every image.

    Images are JPEG, PNG, GIF, BMP, WebP, TIFF and PPM files at any depth, and AVIF and
    HEIC files where they can be read; the content decides, not the name. Other files
    are counted in `left_out`. Hidden files and folders are ignored. Classes are sorted
    by name.

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
        fit: how `image_size` is reached: "squash" changes the proportions, "crop" cuts
            a part out of the middle, "pad" adds a border.
        background: the colour behind transparent pixels and of the border: a name,
            "#rrggbb" or (red, green, blue).
        orientation: "apply" turns images upright as their EXIF data say, "ignore"
            leaves them as they are stored.

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
        reading=Reading.of(fit=fit, background=background, orientation=orientation),
    )
    layout = lay_out(require_path("directory", directory))
    return open_folders([(layout, options)], skip_bad=skip_bad)[0]


def open_folders(
    wanted: Sequence[tuple[Listing, dict[str, Any]]], *, skip_bad: bool
) -> list[ImageFolder]:
    """Check the images of all layouts together and return a folder for each.

    Args:
        wanted: each layout, or the rows of a table, with the result of `folder_options`
            for it.
        skip_bad: leave out images that cannot be read, instead of raising.

    Raises:
        ValueError: images cannot be read, or labels cannot have the form asked for.
    """
    checked = check_folders(wanted, skip_bad=skip_bad)
    return [ImageFolder(**fields) for fields in checked]
