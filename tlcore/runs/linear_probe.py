"""The ceiling: what a head in closed form reaches on the features of a frozen backbone.

Owns a ridge classifier, its strength chosen by leaving one image out, and its accuracy
on data it has not seen. A trained head that stays far below it was trained badly; one
that is near it gains more from another backbone, or from fine-tuning, than from epochs.
"""

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from tlcore.caching.feeds import CacheOptions, evaluation_rows
from tlcore.data.image_folder import ImageFolder
from tlcore.evaluation import Estimate, proportion

STRENGTHS = tuple(10.0**power for power in range(-4, 5))
"""Candidates of the ridge, in units of the mean squared singular value."""

MAX_BYTES = 2 << 30
"""Features of the training images beyond this are not worth a sanity check."""


@dataclass(frozen=True)
class _Ridge:
    """A linear classifier: scores of standardized features."""

    centre: NDArray[np.float64]
    scale: NDArray[np.float64]
    weights: NDArray[np.float64]
    bias: NDArray[np.float64]

    def classes(self, features: NDArray[np.float64]) -> NDArray[np.intp]:
        """Return the class with the highest score for each row."""
        scores = (features - self.centre) / self.scale @ self.weights + self.bias
        return np.asarray(scores.argmax(axis=1))


def linear_probe_accuracy(
    model: keras.Model,
    train: ImageFolder,
    validation: ImageFolder,
    options: CacheOptions,
) -> Estimate | None:
    """Return the accuracy on `validation` of a ridge head on the model's features.

    Args:
        model: a model whose backbone is frozen.
        train: what the head is fitted to, without augmentation.
        validation: what it is judged on.
        options: where the features are kept.

    Returns:
        The accuracy with its interval; None where features cannot be cached, or those
        of `train` are larger than `MAX_BYTES`.

    Source: ridge regression on class indicators with the closed form of
    leave-one-out residuals; Hastie, Tibshirani and Friedman, The Elements of
    Statistical Learning, sections 4.2 and 7.10.
    """
    tables = []
    for folder in (train, validation):
        rows = evaluation_rows(model, folder, options)
        if rows is None or rows.nbytes * folder.num_images > MAX_BYTES:
            return None
        parts = [
            rows.take(np.arange(at, min(at + 32, folder.num_images)))
            for at in range(0, folder.num_images, 32)
        ]
        tables.append(np.concatenate([_flat(part) for part in parts]))
    head = _fit(tables[0], train.labels, train.num_classes)
    correct = int(np.sum(head.classes(tables[1]) == validation.labels))
    return proportion(correct, validation.num_images)


def _flat(tensors: list[NDArray[Any]]) -> NDArray[np.float64]:
    rows = [np.asarray(x, np.float64).reshape(len(x), -1) for x in tensors]
    return np.concatenate(rows, axis=1)


def _fit(
    features: NDArray[np.float64], labels: NDArray[np.int64], classes: int
) -> _Ridge:
    centre, scale = features.mean(axis=0), features.std(axis=0)
    scale[scale == 0] = 1
    u, s, vt = np.linalg.svd((features - centre) / scale, full_matrices=False)
    targets = np.eye(classes)[labels]
    bias = targets.mean(axis=0)
    projected = u.T @ (targets - bias)

    def score(strength: float) -> tuple[int, float]:
        shrunk = s**2 / (s**2 + strength * np.mean(s**2))
        fitted = u @ (shrunk[:, None] * projected) + bias
        leverage = (u**2 @ shrunk + 1 / len(labels)).clip(max=1 - 1e-9)
        left_out = targets - (targets - fitted) / (1 - leverage)[:, None]
        wrong = int(np.sum(left_out.argmax(axis=1) != labels))
        return wrong, float(np.sum((targets - left_out) ** 2))

    strength = min(STRENGTHS, key=score) * np.mean(s**2)
    weights = vt.T @ ((s / (s**2 + strength))[:, None] * projected)
    return _Ridge(centre, scale, weights, bias)
