"""Values: the predictions of a model for many images, as one value.

Owns `Predictions`: per image the probabilities, the truth where it is known, and where
the image is; and what follows from them alone: the predicted class, the accuracy, the
worst mistakes, and the table that is written as CSV. Figures per class are in
`class_report`, calibration in `calibration`.
"""

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlcore.evaluation import Estimate, mean, proportion
from tlcore.files import write_bytes


@dataclass(frozen=True, eq=False)
class Predictions:
    """What a model says of each image.

    Attributes:
        class_names: the names of the classes, in the order of the columns.
        probabilities: (n, classes); those of one sigmoid have two columns.
        truth: the index of each image's class, (n,); of images with several classes
            whether each has each, (n, classes); None where it is not known.
        paths: where each image is, None for images in memory.
        threshold: the probability above which an image has the second class, or each
            of several; None if the most probable class is the predicted one.
        several: whether an image can have several classes.
        problems: why images could not be read, by their paths; they have no row.
        left_out: how many files of the folder are no images, by suffix.
    """

    class_names: tuple[str, ...]
    probabilities: NDArray[np.float64]
    truth: NDArray[Any] | None = None
    paths: tuple[str, ...] | None = None
    threshold: float | None = None
    several: bool = False
    problems: Mapping[str, str] = field(default_factory=dict)
    left_out: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        """Return the number of images that were predicted."""
        return len(self.probabilities)

    @property
    def predicted(self) -> NDArray[Any]:
        """Return the predicted class of each image, (n,), or classes, (n, classes)."""
        if self.several:
            return np.asarray(self.probabilities > self._threshold)
        if self.threshold is not None:
            return np.asarray(self.probabilities[:, 1] > self.threshold, np.int64)
        return np.asarray(self.probabilities.argmax(axis=1), np.int64)

    @property
    def confidence(self) -> NDArray[np.float64]:
        """Return the probability of each predicted class, (n,).

        Of an image with several classes it is that of its least certain answer.
        """
        if self.several:
            answers = np.where(
                self.predicted, self.probabilities, 1 - self.probabilities
            )
            return np.asarray(answers.min(axis=1))
        return np.asarray(self.probabilities[np.arange(len(self)), self.predicted])

    @property
    def right(self) -> NDArray[np.bool_]:
        """Return whether each image was predicted right, or each of its classes.

        Raises:
            ValueError: the truth is not known.
        """
        return np.asarray(self.predicted == self.require_truth())

    @property
    def accuracy(self) -> Estimate:
        """Return the share of right predictions, as `evaluate` reports it.

        Raises:
            ValueError: the truth is not known.
        """
        right = self.right
        if self.several:
            return mean(right.mean(axis=1))
        return proportion(int(right.sum()), len(right))

    def mistakes(self, count: int | None = None) -> NDArray[np.int64]:
        """Return the images that are wrong, the most confident mistake first.

        Args:
            count: the most to return; None is all.

        Raises:
            ValueError: the truth is not known.

        Example:
            >>> rows = np.array([[0.9, 0.1], [0.4, 0.6], [0.3, 0.7]])
            >>> found = Predictions(("cat", "dog"), rows, np.array([1, 0, 1]))
            >>> found.mistakes().tolist()
            [0, 1]
        """
        right = self.right
        wrong = np.flatnonzero(~(right.all(axis=1) if self.several else right))
        order = np.argsort(-self.confidence[wrong], kind="stable")
        return np.asarray(wrong[order][:count], np.int64)

    def name_of(self, index: int) -> str:
        """Return the path of an image, or its number where it has none."""
        return str(index) if self.paths is None else self.paths[index]

    def said_of(self, classes: Any) -> str:
        """Return the name of a class, or the names of several."""
        if not self.several:
            return self.class_names[int(classes)]
        named = zip(self.class_names, classes, strict=True)
        return "+".join(name for name, has in named if has)

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield for each image what a table of the predictions has.

        Images that could not be read come last, with their problem.
        """
        predicted, confidence = self.predicted, self.confidence
        for i, row in enumerate(self.probabilities):
            found: dict[str, Any] = {"image": self.name_of(i)}
            if self.truth is not None:
                found["truth"] = self.said_of(self.truth[i])
            found |= {
                "predicted": self.said_of(predicted[i]),
                "probability": float(confidence[i]),
            }
            if self.truth is not None:
                found["right"] = bool(np.all(predicted[i] == self.truth[i]))
            yield found | {
                f"probability of {name}": float(p)
                for name, p in zip(self.class_names, row, strict=True)
            }
        for path, problem in self.problems.items():
            yield {"image": path, "problem": problem}

    def as_csv(self) -> str:
        """Return the predictions as CSV, with a head line; every image has its line."""
        names = ["image"]
        if self.truth is not None:
            names.append("truth")
        names += ["predicted", "probability"]
        if self.truth is not None:
            names.append("right")
        names += [f"probability of {name}" for name in self.class_names]
        if self.problems:
            names.append("problem")
        text = io.StringIO()
        table = csv.DictWriter(text, names, restval="", lineterminator="\n")
        table.writeheader()
        table.writerows(self.rows())
        return text.getvalue()

    def write_csv(self, path: str | Path) -> None:
        """Write the predictions to a CSV file, completely or not at all.

        Raises:
            OSError: the file cannot be written.
        """
        # A name of a file need not be UTF-8; its bytes are written as they are.
        write_bytes(path, self.as_csv().encode("utf-8", "surrogateescape"))

    def require_truth(self) -> NDArray[Any]:
        """Return the truth.

        Raises:
            ValueError: it is not known.
        """
        if self.truth is None:
            raise ValueError(
                "Only where the truth is known can a prediction be right or wrong. "
                "Received: predictions of images without labels. Put the images into "
                "one folder per class."
            )
        return self.truth

    @property
    def _threshold(self) -> float:
        return 0.5 if self.threshold is None else self.threshold
