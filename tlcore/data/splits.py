"""Splits: the image folders train, validation and test, opened together.

Owns the use of each split, making splits of images that have none, and the count of
images that are in two splits. What is given is listed in `sources`, who goes where is
decided in `allotment`, how a folder is opened in `image_folder`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any

from tlcore.arguments import listed
from tlcore.data.allotment import Allotment, Split, SplitRule, allot, part_of_each
from tlcore.data.image_folder import ImageFolder, open_folders
from tlcore.data.inspection import BAD_IMAGES, Finding, SplitImages, inspect
from tlcore.data.layout import (
    SPLIT_REMEDY,
    Layout,
    check_classes,
    check_same_classes,
    find_splits,
    ranked_indices,
)
from tlcore.data.options import folder_options
from tlcore.data.reading import Reading
from tlcore.data.sources import WHOLE, Source, find_source, say_to_stderr
from tlcore.data.split_names import SPLITS
from tlcore.data.tables import Columns


@dataclass(frozen=True, eq=False)
class Splits:
    """The image folders of a data folder, all with the same classes.

    Attributes:
        train: the images to train on.
        validation: the images to validate each epoch on, all and in order; or None.
        test: the images for the final evaluation, all and in order; or None.
        source: where they were found, and under which names.
        allotment: how images were allotted to splits, if they were.
    """

    train: ImageFolder
    validation: ImageFolder | None
    test: ImageFolder | None
    source: Source = field(repr=False)
    allotment: Allotment | None = field(default=None, repr=False)

    @cached_property
    def shared_images(self) -> Mapping[str, int]:
        """Return, by split, how many held-out images are also training images.

        Files with the same bytes count, whatever their names and classes. Accuracy on
        them measures memory, not generalization. Splits without any are left out.
        """
        return {b: n for (a, b), n in self.overlaps.items() if a == "train"}

    @cached_property
    def overlaps(self) -> Mapping[tuple[str, str], int]:
        """Return, for every two splits, how many images of the second are in the first.

        As `shared_images`, also between validation and test: a model that is selected
        on images of the test is selected on test. Pairs without any are left out.

        Example:
            >>> options = {"image_size": 32, "batch_size": 8, "label_mode": "int"}
            >>> tl.load_splits("photos", **options).overlaps
            {}
        """
        counts = {}
        for (a, first), (b, second) in combinations(self.folders.items(), 2):
            known = set(first.digests)
            counts[a, b] = sum(digest in known for digest in second.digests)
        return {pair: count for pair, count in counts.items() if count}

    @property
    def folders(self) -> dict[str, ImageFolder]:
        """Return the splits that there are, by name."""
        named = {name: getattr(self, name) for name in SPLITS}
        return {name: folder for name, folder in named.items() if folder is not None}

    @property
    def epochs_on(self) -> tuple[str, ImageFolder]:
        """Return name and folder of the split to validate on, test if need be.

        Example:
            >>> options = {"image_size": 32, "batch_size": 8, "label_mode": "int"}
            >>> name, folder = tl.load_splits("photos", **options).epochs_on
            >>> name, folder.num_images
            ('validation', 30)
        """
        return list(self.folders.items())[1]

    def findings(self) -> list[Finding]:
        """Return what is wrong with the images, other than those skipped.

        Example:
            >>> options = {"image_size": 32, "batch_size": 8, "label_mode": "int"}
            >>> tl.load_splits("photos", **options).findings()
            []
        """
        images = [SplitImages.of(folder) for folder in self.folders.values()]
        return [finding for finding in inspect(images) if finding.kind != BAD_IMAGES]

    def lines(self) -> list[str]:
        """Return what a run says first: names, division and content of the splits.

        Example:
            >>> options = {"image_size": 32, "batch_size": 8, "label_mode": "int"}
            >>> tl.load_splits("photos", **options).lines()[0]
            'train: 12 images in 3 classes'
        """
        naming = self.source.naming()
        lines = [] if naming is None else [naming]
        if self.allotment is not None:
            rule = self.allotment.rule.text
            lines.append(f"split {rule} by content, seed {self.allotment.seed}")
        contents = [f"{name}: {x.notes()}" for name, x in self.folders.items()]
        return lines + contents

    def relabelled(self, label_mode: str) -> "Splits":
        """Return the same folders with labels of another form.

        Args:
            label_mode: "categorical", "int" or "binary" (two classes).

        Raises:
            ValueError: the mode is unknown, or binary with other than two classes.
        """
        relabelled: dict[str, Any] = {
            name: folder.relabelled(label_mode) for name, folder in self.folders.items()
        }
        return replace(self, **relabelled)


def load_splits(
    data: Any,
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
    split: Split | None = None,
    root: str | Path | None = None,
    path_column: str | None = None,
    label_column: str | Sequence[str] | None = None,
    split_column: str | None = None,
    label_separator: str = "|",
    say: Callable[[str], None] = say_to_stderr,
) -> Splits:
    """Open train, and validation or test or both, of a data folder, archive or table.

    A data folder holds `train`, and `validation` or `test` or both, each with one
    folder of images per class. Case and usual other names do not matter: `Training`,
    `train_set`, `val`, `valid`, `Testing` and so on, and beside a train `dev`
    (validation), `eval` and `holdout` (test).

    Images without splits are divided by `split`: stratified by class, by a hash of
    seed and bytes, so that copies of an image are on one side and a new image moves few
    others. Of each class every split gets at least one image.

    Args:
        data: the data folder; an archive of one (zip, tar, tar.gz), which is unpacked
            once to a cache; or a table as `image_table` takes it.
        image_size: (height, width) to resize to, or one number for both, in pixels.
        batch_size: images per batch.
        label_mode: "categorical", "int", "binary" (two classes) or, for a table,
            "multi".
        percent: how much of each class of `train` to take; validation and test are
            always whole.
        seed: of the subset and of the order of `train`; the others are not shuffled.
            Also of the division by `split`.
        skip_bad: leave out images that cannot be read, instead of raising.
        fit: how `image_size` is reached: "squash", "crop" or "pad".
        background: the colour behind transparent pixels and of the border of "pad".
        orientation: "apply" turns images upright, "ignore" leaves them as stored.
        split: "80/10/10" divides class folders, a lone `train` or a table into train,
            validation and test; "80/20" into train and test; "validation=10" holds
            validation out of train, also where a test is there already. Numbers,
            (80, 10, 10), or a mapping, {"validation": 10}, mean the same.
        root: the folder that the paths of a table start from.
        path_column: of a table; None guesses where one answer is possible.
        label_column: the same for the labels.
        split_column: the column of splits; None takes one called "split" if it holds
            nothing but splits.
        label_separator: between the labels of a cell with several of them.
        say: called with a line if an archive is unpacked.

    Raises:
        ValueError: a split is missing or there twice, the splits differ in their
            classes, an option is out of range, or images cannot be read; one message
            lists those of all splits.

    Example:
        >>> splits = tl.load_splits(
        ...     "photos", image_size=32, batch_size=8, label_mode="int", percent=50
        ... )
        >>> splits.train.num_images, splits.test.num_images
        (6, 30)
        >>> splits.shared_images
        {}
        >>> divided = tl.load_splits(
        ...     "photos/train", image_size=32, batch_size=8, label_mode="int",
        ...     split="50/25/25",
        ... )
        >>> [folder.num_images for folder in divided.folders.values()]
        [6, 3, 3]
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
    rule = None if split is None else SplitRule.of(split)
    source = find_source(
        data,
        root=root,
        columns=Columns(path_column, label_column, split_column, label_separator),
        multi=label_mode == "multi",
        say=say,
    )
    divided = _divided(source, rule)
    for listing in source.listings.values():
        if isinstance(listing, Layout):
            check_classes(listing)
    if "train" in source.listings:
        check_same_classes(source.directory, source.listings)
    # All images of a split that is divided are opened: copies are known by their bytes.
    options = {"train": part, WHOLE: whole, divided: whole}
    wanted = [(x, options.get(name, whole)) for name, x in source.listings.items()]
    opened = open_folders(wanted, skip_bad=skip_bad)
    folders = dict(zip(source.listings, opened, strict=True))
    allotment = None
    if rule is not None and divided is not None:
        parts, allotment = _divide(folders.pop(divided), rule, percent)
        folders |= parts
    named = {name: replace(folders[name], split=name) for name in folders}
    held_out = named.get("validation"), named.get("test")
    return Splits(named["train"], *held_out, source, allotment)


def _divided(source: Source, rule: SplitRule | None) -> str | None:
    """Return the name of the images that are divided, None if none are.

    Raises:
        ValueError: images without splits are not to be divided, or those with splits
            are.
    """
    if rule is None:
        if len(source.listings) < 2:
            _refuse_undivided(source)
        return None
    if len(source.listings) == 1:
        return next(iter(source.listings))
    there = [name for name in source.names if name != "train"]
    if rule.named and not set(rule.held_out) & set(there):
        return "train"
    free = [name for name in SPLITS[1:] if name not in there]
    remedy = "Leave split out"
    if free:
        remedy += (
            f", or hold {free[0]} out of train by its name: "
            f'split="{free[0]}=10" (on the command line --split {free[0]}=10)'
        )
    raise ValueError(
        "split divides images that have no splits. Received: "
        f"split={rule.text!r} for {str(source.directory)!r}, which has "
        f"{listed(source.names.values())}. {remedy}."
    )


def _refuse_undivided(source: Source) -> None:
    if isinstance(next(iter(source.listings.values())), Layout):
        find_splits(source.directory)  # raises: it says what is there instead
    raise ValueError(
        "A table must have a column of splits, or be divided. Received: a table of "
        f"images in {str(source.directory)!r} without one. Give {SPLIT_REMEDY}, or "
        "name the column with split_column=."
    )


def _divide(
    folder: ImageFolder, rule: SplitRule, percent: float
) -> tuple[dict[str, ImageFolder], Allotment]:
    """Return the folders that an image folder is divided into, and who went where."""
    # By the bytes: an image that is renamed stays where it is.
    ranks = ranked_indices(folder.digests, f"{folder.seed}/split")
    names = folder.names
    parts = allot(
        folder.labels, folder.digests, ranks, rule.held_out, folder.class_names
    )
    rows = [
        (names[i], folder.class_text(i), split)
        for split, indices in parts.items()
        for i in indices
    ]
    allotment = Allotment(rule, folder.seed, tuple(sorted(rows)))
    folders = {split: folder.taken(indices) for split, indices in parts.items()}
    train = folders["train"]
    if percent < 100:
        # As of a folder `train`: a smaller subset lies within a larger one.
        keys = [f"{folder.seed}/{name}" for name in folder.class_names]
        within = [name.partition("/")[2] or name for name in train.names]
        train = train.taken(part_of_each(train.labels, within, keys, percent))
    folders = {
        name: replace(part, skipped=(), left_out={}) for name, part in folders.items()
    }
    # What was skipped or left out is reported once, by train.
    folders["train"] = replace(
        train,
        shuffle=True,
        percent=percent,
        skipped=folder.skipped,
        left_out=folder.left_out,
    )
    return folders, allotment
