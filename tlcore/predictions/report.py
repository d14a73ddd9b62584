"""Report: all figures of predictions, for a JSON file.

Owns which figures a run and `tlcore predict --json` record, and their names.
"""

from typing import Any

from tlcore.predictions.calibration import calibration
from tlcore.predictions.class_report import class_report, confusion_matrix
from tlcore.predictions.values import Predictions


def report(predictions: Predictions) -> dict[str, Any]:
    """Return the figures of predictions.

    Returns:
        "n", "classes" and "problems"; where the truth is known also "accuracy",
        "per_class", "mistakes" (how many), and for images with one class each
        "confusion" (rows are the truth) and "calibration".

    Example:
        >>> import numpy as np
        >>> rows = np.array([[0.9, 0.1], [0.4, 0.6], [0.3, 0.7]])
        >>> found = Predictions(("cat", "dog"), rows, np.array([0, 0, 1]))
        >>> report(found)["confusion"]
        [[1, 1], [0, 1]]
    """
    found: dict[str, Any] = {
        "n": len(predictions),
        "classes": list(predictions.class_names),
        "problems": dict(predictions.problems),
    }
    if predictions.truth is None:
        return found
    found["accuracy"] = predictions.accuracy.as_dict()
    found["per_class"] = [each.as_dict() for each in class_report(predictions)]
    found["mistakes"] = len(predictions.mistakes())
    if not predictions.several:
        found["confusion"] = confusion_matrix(predictions).tolist()
        found["calibration"] = calibration(predictions).as_dict()
    return found
