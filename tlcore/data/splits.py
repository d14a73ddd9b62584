"""Splits: the image folders of a data folder, opened together.

Owns which split is for what, and how many held-out images are in the training images
as well. How a folder is opened is in `image_folder`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from tlcore.data.image_folder import ImageFolder, folder_options, open_folders
from tlcore.data.layout import check_same_classes, find_splits, lay_out


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
    whole = folder_options(percent=100, shuffle=False, **shared)
    part = folder_options(percent=percent, shuffle=True, **shared)
    options = {"train": part, "validation": whole, "test": whole}
    layouts = {name: lay_out(path) for name, path in find_splits(directory).items()}
    check_same_classes(directory, layouts)
    wanted = [(layout, options[name]) for name, layout in layouts.items()]
    folders = dict(zip(layouts, open_folders(wanted, skip_bad=skip_bad), strict=True))
    return Splits(folders["train"], folders.get("validation"), folders.get("test"))
