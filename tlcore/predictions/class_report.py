"""Class report: what the predictions of each class are worth.

Owns precision, recall and F1 of each class with their intervals, and the confusion
matrix. scikit-learn counts; the intervals are Wilson's.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlcore.evaluation import Estimate, proportion
from tlcore.predictions.values import Predictions


@dataclass(frozen=True)
class ClassFigures:
    """The figures of one class.

    Attributes:
        name: of the class.
        images: how many images have it.
        predicted: how many images were said to have it.
        precision: the share of these that do have it; None where there are none.
        recall: the share of the images of the class that were found; None where the
            class has no image.
        f1: the harmonic mean of both; None where both are.
    """

    name: str
    images: int
    predicted: int
    precision: Estimate | None
    recall: Estimate | None
    f1: Estimate | None

    def as_dict(self) -> dict[str, Any]:
        """Return the fields by name, for a JSON file."""
        figures = {"precision": self.precision, "recall": self.recall, "f1": self.f1}
        return {
            "name": self.name,
            "images": self.images,
            "predicted": self.predicted,
            **{k: v and v.as_dict() for k, v in figures.items()},
        }


def class_report(predictions: Predictions) -> tuple[ClassFigures, ...]:
    """Return precision, recall and F1 of each class, each with its 95 % interval.

    Precision and recall are proportions and have Wilson's interval. F1 is a monotone
    function of one, of the right images among those that have the class or were said
    to: F1 = 2 J / (1 + J) (Hand, Christen & Kirielle, "F*: an interpretable
    transformation of the F-measure", 2021). Its interval is that of J, transformed.

    Raises:
        ValueError: the truth is not known.

    Example:
        >>> rows = np.array([[0.9, 0.1], [0.4, 0.6], [0.3, 0.7]])
        >>> cat, dog = class_report(
        ...     Predictions(("cat", "dog"), rows, np.array([0, 0, 1]))
        ... )
        >>> print(cat.recall)
        0.5000 (n=2, 95 % 0.0945 to 0.9055)
        >>> cat.precision.value, round(dog.f1.value, 3)
        (1.0, 0.667)
    """
    from sklearn.metrics import multilabel_confusion_matrix

    truth = predictions.require_truth()
    # Of images with several classes each column is a class; else all classes are named,
    # or those without an image would be left out.
    labels = None if predictions.several else range(len(predictions.class_names))
    counts = multilabel_confusion_matrix(truth, predictions.predicted, labels=labels)
    return tuple(
        _figures(name, *(int(n) for n in (tp, fp, fn)))
        for name, ((_, fp), (fn, tp)) in zip(
            predictions.class_names, counts, strict=True
        )
    )


def confusion_matrix(predictions: Predictions) -> NDArray[np.int64]:
    """Return how many images of each class (rows) were said to be of each (columns).

    Raises:
        ValueError: the truth is not known, or an image can have several classes.

    Example:
        >>> rows = np.array([[0.9, 0.1], [0.4, 0.6], [0.3, 0.7]])
        >>> found = Predictions(("cat", "dog"), rows, np.array([0, 0, 1]))
        >>> confusion_matrix(found).tolist()
        [[1, 1], [0, 1]]
    """
    from sklearn.metrics import confusion_matrix as counted

    if predictions.several:
        raise ValueError(
            "A confusion matrix needs one class for each image. Received: predictions "
            "of images with several. class_report has figures of each class."
        )
    labels = range(len(predictions.class_names))
    truth = predictions.require_truth()
    matrix = counted(truth, predictions.predicted, labels=list(labels))
    return np.asarray(matrix, np.int64)


def _figures(name: str, tp: int, fp: int, fn: int) -> ClassFigures:
    return ClassFigures(
        name,
        images=tp + fn,
        predicted=tp + fp,
        precision=_share(tp, tp + fp),
        recall=_share(tp, tp + fn),
        f1=_f1(_share(tp, tp + fp + fn)),
    )


def _share(part: int, whole: int) -> Estimate | None:
    return proportion(part, whole) if whole else None


def _f1(jaccard: Estimate | None) -> Estimate | None:
    if jaccard is None:
        return None
    value, low, high = (
        2 * x / (1 + x) for x in (jaccard.value, jaccard.low, jaccard.high)
    )
    return Estimate(value, jaccard.n, low, high)
