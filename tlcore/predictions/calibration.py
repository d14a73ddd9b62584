"""Calibration: whether a probability of 0.9 is right nine times in ten.

Owns the bins of confidence with the accuracy in each, and the one figure that sums them
up. Nothing is recalibrated here.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from tlcore.arguments import require_whole
from tlcore.evaluation import Estimate, proportion
from tlcore.predictions.values import Predictions


@dataclass(frozen=True)
class Bin:
    """The images whose predicted class has a probability in a range.

    Attributes:
        low: the lower end of the range, not in it but for 0.
        high: the upper end, in it.
        confidence: the mean probability of the predicted classes.
        accuracy: the share of them that is right.
    """

    low: float
    high: float
    confidence: float
    accuracy: Estimate


@dataclass(frozen=True)
class Calibration:
    """How far probabilities are from what they promise.

    Attributes:
        bins: those that hold an image.
        error: the expected calibration error: the mean distance of confidence and
            accuracy, each bin by its number of images (Guo et al., "On Calibration of
            Modern Neural Networks", 2017).
        n: the number of images.
    """

    bins: tuple[Bin, ...]
    error: float
    n: int

    def as_dict(self) -> dict[str, Any]:
        """Return the fields by name, for a JSON file."""
        return {
            "expected_calibration_error": self.error,
            "n": self.n,
            "bins": [
                {
                    "low": each.low,
                    "high": each.high,
                    "confidence": each.confidence,
                    "accuracy": each.accuracy.as_dict(),
                }
                for each in self.bins
            ],
        }


def calibration(predictions: Predictions, *, bins: int = 10) -> Calibration:
    """Return the accuracy of predictions by their confidence.

    Args:
        predictions: of images whose truth is known, one class for each.
        bins: how many ranges of equal width [0, 1] is divided into.

    Raises:
        ValueError: the truth is not known, an image can have several classes, or there
            is no image.

    Example:
        >>> rows = np.array([[0.9, 0.1], [0.1, 0.9], [0.3, 0.7]])
        >>> found = Predictions(("cat", "dog"), rows, np.array([0, 0, 1]))
        >>> [(each.low, each.accuracy.value) for each in calibration(found).bins]
        [(0.6, 1.0), (0.8, 0.5)]
    """
    require_whole("bins", bins, least=1)
    if predictions.several or not len(predictions):
        what = "with several classes" if predictions.several else "of no image"
        raise ValueError(
            "Calibration needs images with one class each. Received: predictions "
            f"{what}. class_report has figures of each class."
        )
    confidence, right = predictions.confidence, predictions.right
    edges = np.arange(bins + 1) / bins
    place = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, bins - 1)
    found = tuple(
        Bin(
            float(edges[number]),
            float(edges[number + 1]),
            float(confidence[place == number].mean()),
            proportion(int(right[place == number].sum()), int((place == number).sum())),
        )
        for number in np.unique(place)
    )
    gaps = [abs(x.confidence - x.accuracy.value) * x.accuracy.n for x in found]
    n = len(predictions)
    return Calibration(found, sum(gaps) / n, n)
