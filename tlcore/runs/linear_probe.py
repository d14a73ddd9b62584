"""Linear probe: the accuracy of a closed-form head on the features of a backbone.

Owns a ridge classifier, the choice of its strength by leave-one-out errors, and its
accuracy on images that it was not fitted to, held out or left out in turn. A trained
head far below this accuracy was trained badly. One close to it gains more from another
backbone, or from fine-tuning, than from more epochs. Features are computed and stored
by `caching.feeds`.
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
"""Candidates for the ridge strength, in units of the mean squared singular value."""

MAX_BYTES = 2 << 30
"""Size of the features up to which a probe is made: it holds all of them in memory."""


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

    Source: ridge regression on class indicators with the closed form of
    leave-one-out residuals; Hastie, Tibshirani and Friedman, The Elements of
    Statistical Learning, sections 4.2 and 7.10.

    Args:
        model: a model whose backbone is frozen.
        train: the images that the head is fitted to, without augmentation.
        validation: the images that it is evaluated on.
        options: where the features are stored.

    Returns:
        The accuracy with its interval; None if features cannot be cached, those of a
        folder are larger than `MAX_BYTES`, or an image has several classes.

    Example:
        >>> train = tl.image_folder("photos/train", image_size=32)
        >>> test = tl.image_folder("photos/test", image_size=32, shuffle=False)
        >>> model = tl.create_model("sample_net", 3, input_shape=(32, 32, 3))
        >>> _ = tl.freeze(model)
        >>> linear_probe_accuracy(model, train, test, CacheOptions("features")).n
        30
    """
    if train.labels.ndim != 1:
        return None  # an image of several classes has no one class to be found
    train, validation = train.unshuffled(), validation.unshuffled()
    features = []
    for folder in (train, validation):
        table = feature_table(model, folder, options)
        if table is None:
            return None
        features.append(table)
    head = _fit(features[0], train.labels, train.num_classes)
    correct = int(np.sum(head.classes(features[1]) == validation.labels))
    return proportion(correct, validation.num_images)


def feature_table(
    model: keras.Model, folder: ImageFolder, options: CacheOptions
) -> NDArray[np.float64] | None:
    """Return the features of all images, (n, features), sorted by class and path.

    Args:
        model: a model whose backbone is frozen.
        folder: the images.
        options: where the features are stored.

    Returns:
        The features; None if they cannot be cached or are larger than `MAX_BYTES`.

    Example:
        >>> images = tl.image_folder("photos/train", image_size=32)
        >>> model = tl.create_model("sample_net", 3, input_shape=(32, 32, 3))
        >>> _ = tl.freeze(model)
        >>> feature_table(model, images, CacheOptions("features")).shape
        (12, 128)
    """
    rows = evaluation_rows(model, folder.unshuffled(), options)
    if rows is None or rows.nbytes * folder.num_images > MAX_BYTES:
        return None
    return np.concatenate([_flat(batch) for batch in rows.batches()])


def cross_validated(
    features: NDArray[np.float64],
    labels: NDArray[np.int64],
    parts: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Return the class of each image by a head that was not fitted to its part.

    Args:
        features: (n, features).
        labels: (n,).
        parts: the number of each image's part, (n,); each is left out in turn.

    Example:
        >>> features = np.array([[0.0], [0.1], [1.0], [1.1]])
        >>> labels, parts = np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])
        >>> cross_validated(features, labels, parts).tolist()
        [0, 0, 1, 1]
    """
    found = np.empty_like(labels)
    for part in np.unique(parts):
        out = parts == part
        head = _fit(features[~out], labels[~out], int(labels.max()) + 1)
        found[out] = head.classes(features[out])
    return found


def _flat(tensors: list[NDArray[Any]]) -> NDArray[np.float64]:
    rows = [np.asarray(x, np.float64).reshape(len(x), -1) for x in tensors]
    return np.concatenate(rows, axis=1)


def _fit(
    features: NDArray[np.float64], labels: NDArray[np.int64], classes: int
) -> _Ridge:
    centre, scale = features.mean(axis=0), features.std(axis=0)
    scale[scale == 0] = 1  # a feature that is the same for all images
    x = (features - centre) / scale
    targets = np.eye(classes)[labels]
    bias = targets.mean(axis=0)
    # One decomposition serves every strength: only the factors of `squares` change.
    basis, back, squares = _decomposed(x)
    projected = basis.T @ (targets - bias)
    unit = np.mean(squares) or 1.0  # 0 where all images have the same features

    def factors(strength: float) -> NDArray[np.float64]:
        return 1 / (squares + strength * unit)

    def score(strength: float) -> tuple[int, float]:
        shrunk = factors(strength)
        fitted = basis @ (shrunk[:, None] * projected) + bias
        # The residual of an image left out of the fit is its residual in the fit over
        # 1 - leverage. 1 / n is the share of the bias. Where features outnumber
        # images the leverage rounds to 1.
        leverage = (basis**2 @ shrunk + 1 / len(labels)).clip(max=1 - 1e-9)
        left_out = targets - (targets - fitted) / (1 - leverage)[:, None]
        # With few images several strengths make the same number of errors.
        wrong = int(np.sum(left_out.argmax(axis=1) != labels))
        return wrong, float(np.sum((targets - left_out) ** 2))

    shrunk = factors(min(STRENGTHS, key=score))
    return _Ridge(centre, scale, back @ (shrunk[:, None] * projected), bias)


def _decomposed(
    x: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return U S, V and the squares of S, of a singular value decomposition of `x`.

    From the eigenvalues of the smaller one of x x' and x' x: for 302 images of 1,280
    features that takes a thirtieth of the time. It squares the condition number, which
    a ridge of 1e-4 of the mean square makes harmless.
    """
    if len(x) > x.shape[1]:
        squares, v = np.linalg.eigh(x.T @ x)
        return x @ v, v, squares.clip(min=0)
    squares, u = np.linalg.eigh(x @ x.T)
    squares = squares.clip(min=0)
    s = np.sqrt(squares)
    # Images that depend on others linearly have a value of 0 and no vector in V.
    return u * s, (x.T @ u) / np.where(s > 0, s, 1), squares
