"""Run data: the images of a run, and what each split is used for.

Owns which images train, which validate every epoch and which select the best one, what
is said of them before training, and what `run.json` records of them. How a data folder
is opened is in `data.splits`; training is in `runner`.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlcore.data.image_folder import ImageFolder
from tlcore.data.notes import record
from tlcore.data.splits import Splits, load_splits
from tlcore.files import write_text
from tlcore.runs.run import SPLIT_FILE, Run

if TYPE_CHECKING:
    from tlcore.runs.recipes import Recipe
    from tlcore.runs.runner import RunOptions

HELD_OUT_PERCENT = 10
"""Percent of `train` that selects the best epoch if there is no `validation`."""


@dataclass(frozen=True)
class RunData:
    """The images of a run.

    Attributes:
        splits: as loaded.
        train: the images to train on.
        validation: the images that every epoch is evaluated on.
        validated_on: the name of those images.
        selected_on: the name of the images that select the best epoch; None if the
            last epoch is the result.
        findings: what is wrong with the images, in sentences.
    """

    splits: Splits
    train: ImageFolder
    validation: ImageFolder
    validated_on: str
    selected_on: str | None
    findings: tuple[str, ...]

    @property
    def scored(self) -> dict[str, tuple[str, ImageFolder]]:
        """Return the prefix of final figures, each with the split's name and images."""
        found = {"val": (self.validated_on, self.validation)}
        if self.splits.test is not None:
            found["test"] = ("test", self.splits.test)
        return found

    @property
    def last(self) -> tuple[str, ImageFolder]:
        """Return the name and images of the split that a run's predictions are of."""
        return list(self.scored.values())[-1]

    def also_in(self, split: str) -> dict[str, Any]:
        """Return a mark for figures on a split whose images are in another as well."""
        overlaps = self.splits.overlaps.items()
        counts = {first: n for (first, second), n in overlaps if second == split}
        return {"also_in": counts} if counts else {}

    def write_split(self, run: Run) -> None:
        """Write which image went to which split, if they were divided."""
        if self.splits.allotment is not None:
            write_text(run.path / SPLIT_FILE, self.splits.allotment.as_csv())

    def as_dict(self, data: str | Path) -> dict[str, Any]:
        """Return what `run.json` records of the images.

        Args:
            data: the folder, archive or table that was given.
        """
        splits = self.splits
        return {
            "folder": str(data),
            "names": dict(splits.source.names),
            "reading": self.train.reading.as_dict(),
            "classes": list(self.train.class_names),
            "validated_on": self.validated_on,
            "selected_on": self.selected_on,
            "trained_on": self.train.num_images,
            "shared_with_train": dict(splits.shared_images),
            "shared": {
                f"{first} and {second}": count
                for (first, second), count in splits.overlaps.items()
            },
            "findings": list(self.findings),
            "splits": {name: record(x) for name, x in splits.folders.items()},
            **_describe_split(splits),
        }


def load_data(recipe: "Recipe", data: str | Path, options: "RunOptions") -> RunData:
    """Open the images of a run and say what they are.

    Raises:
        ValueError: as `load_splits`; or the best epoch would be selected on images
            that are test images as well.

    Example:
        >>> from tlcore.runs.runner import RunOptions
        >>> recipe = tl.RECIPES["model_0"].changed(image_size=32, percent=100.0)
        >>> data = load_data(recipe, "photos", RunOptions())
        train: 12 images in 3 classes
        validation: 30 images in 3 classes
        test: 30 images in 3 classes
        epochs are validated on: validation (30 images); no selection
    """
    splits = load_splits(
        data,
        image_size=(recipe.image_size, recipe.image_size),
        batch_size=recipe.batch_size,
        label_mode="categorical",
        percent=recipe.percent,
        seed=options.seed,
        skip_bad=options.skip_bad,
        split=options.split,
        root=options.root,
        fit=options.reading.fit,
        background=options.reading.background,
        orientation=options.reading.orientation,
        say=options.say,
    )
    if recipe.binary and splits.train.num_classes == 2:
        splits = splits.relabelled("binary")
    validated_on, validation = splits.epochs_on
    train, selected_on = splits.train, None
    if options.early_stopping is not None:
        # The figures of a split that selects the epoch are biased upwards. Without
        # `validation` a part of `train` selects, never `test`.
        selected_on = "validation"
        if splits.validation is None:
            train, validation = splits.train.split_off(HELD_OUT_PERCENT)
            validated_on = selected_on = "held out of train"
        _check_selection(options.early_stopping, selected_on, validation, splits)
    for line in splits.lines():
        options.say(line)
    findings = tuple(finding.text for finding in splits.findings())
    for text in findings:
        options.say(f"warning: {text}")
    options.say(
        f"epochs are validated on: {validated_on} ({validation.num_images} images); "
        + (f"the best is selected on: {selected_on}" if selected_on else "no selection")
    )
    return RunData(splits, train, validation, validated_on, selected_on, findings)


def _check_selection(
    early_stopping: int, name: str, validation: ImageFolder, splits: Splits
) -> None:
    """Refuse to select the best epoch on images that are test images as well."""
    known = set() if splits.test is None else set(splits.test.digests)
    shared = sum(digest in known for digest in validation.digests)
    if shared:
        raise ValueError(
            "Nothing may be selected on test data, or its accuracy means nothing. "
            f"Received: early_stopping={early_stopping} on the images {name!r}, of "
            f"which {shared} of {validation.num_images} are in test as well (equal "
            "bytes). Remove them from one of the two (tlcore check-data lists them), "
            "or leave early stopping out."
        )


def _describe_split(splits: Splits) -> dict[str, Any]:
    """Return how images were divided; who went where is in a file of its own."""
    allotment = splits.allotment
    if allotment is None:
        return {}
    about = {"rule": allotment.rule.text, "seed": allotment.seed}
    return {"split": {**about, "counts": allotment.counts, "file": SPLIT_FILE}}
