"""Splits: the image folders train, validation and test, opened together.

Owns the use of each split, and the count of held-out images that are also training
images. Where the folders are is in `layout`, how one is opened in `image_folder`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from tlcore.data.image_folder import ImageFolder, open_folders
from tlcore.data.layout import check_same_classes, find_splits, lay_out
from tlcore.data.options import folder_options
from tlcore.data.reading import Reading


@dataclass(frozen=True, eq=False)
class Splits:
    """The image folders of a data folder, all with the same classes.

    Attributes:
        train: the images to train on.
        validation: the images to validate each epoch on, all and in order; or None.
        test: the images for the final evaluation, all and in order; or None.
    """

    train: ImageFolder
    validation: ImageFolder | None
    test: ImageFolder | None

    @cached_property
    def shared_images(self) -> Mapping[str, int]:
        """Return, by split, how many held-out images are also training images.

        Files with the same bytes count, whatever their names and classes. Accuracy on
        them measures memory, not generalization. Splits without any are left out.
        """
        known = set(self.train.digests)
        shared = {
            name: sum(digest in known for digest in folder.digests)
            for name, folder in self._held_out
        }
        return {name: count for name, count in shared.items() if count}

    @property
    def epochs_on(self) -> tuple[str, ImageFolder]:
        """Return name and folder of the split to validate on, test if need be.

        Example:
            >>> options = {"image_size": 32, "batch_size": 8, "label_mode": "int"}
            >>> name, folder = tl.load_splits("photos", **options).epochs_on
            >>> name, folder.num_images
            ('validation', 30)
        """
        return self._held_out[0]

    def relabelled(self, label_mode: str) -> "Splits":
        """Return the same folders with labels of another form.

        Args:
            label_mode: "categorical", "int" or "binary" (two classes).

        Raises:
            ValueError: the mode is unknown, or binary with other than two classes.
        """
        held_out: dict[str, Any] = {
            name: folder.relabelled(label_mode) for name, folder in self._held_out
        }
        return replace(self, train=self.train.relabelled(label_mode), **held_out)

    @property
    def _held_out(self) -> list[tuple[str, ImageFolder]]:
        named = (("validation", self.validation), ("test", self.test))
        return [(name, folder) for name, folder in named if folder is not None]


def load_splits(
    directory: str | Path,
    *,
    image_size: int | tuple[int, int],
    batch_size: int,
    label_mode: str,
    percent: float = 100,
    seed: int = 42,
    skip_bad: bool = False,
    fit: str = "squash",
    background: str | Sequence[int] = "white",
    orientation: str = "apply",
) -> Splits:
    """Open the folders `train`, and `validation` or `test` or both, of a data folder.

    Args:
        directory: the data folder.
        image_size: (height, width) to resize to, or one number for both, in pixels.
        batch_size: images per batch.
        label_mode: "categorical", "int" or "binary" (two classes).
        percent: how much of each class of `train` to take; validation and test are
            always whole.
        seed: of the subset and of the order of `train`; the others are not shuffled.
        skip_bad: leave out images that cannot be read, instead of raising.
        fit: how `image_size` is reached: "squash", "crop" or "pad".
        background: the colour behind transparent pixels and of the border of "pad".
        orientation: "apply" turns images upright, "ignore" leaves them as stored.

    Raises:
        ValueError: a split is missing, the splits differ in their classes, an option is
            out of range, or images cannot be read; one message lists those of all
            splits.

    Example:
        >>> splits = tl.load_splits(
        ...     "photos", image_size=32, batch_size=8, label_mode="int", percent=50
        ... )
        >>> splits.train.num_images, splits.test.num_images
        (6, 30)
        >>> splits.shared_images
        {}
    """
    shared: dict[str, Any] = {
        "image_size": image_size,
        "batch_size": batch_size,
        "label_mode": label_mode,
        "seed": seed,
        "reading": Reading.of(fit=fit, background=background, orientation=orientation),
    }
    # Held-out images are never a subset: runs on 1 % and on 100 % of train could not be
    # compared if they were evaluated on different images.
    whole = folder_options(percent=100, shuffle=False, **shared)
    part = folder_options(percent=percent, shuffle=True, **shared)
    options = {"train": part, "validation": whole, "test": whole}
    layouts = {name: lay_out(path) for name, path in find_splits(directory).items()}
    check_same_classes(directory, layouts)
    wanted = [(layout, options[name]) for name, layout in layouts.items()]
    folders = dict(zip(layouts, open_folders(wanted, skip_bad=skip_bad), strict=True))
    return Splits(folders["train"], folders.get("validation"), folders.get("test"))
