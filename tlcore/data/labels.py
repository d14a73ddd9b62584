"""Labels: class indices from labels of any form.

Owns how one-hot rows, class indices and binary columns are read, and the weights that
balance their classes. How labels are encoded for training is in `pipeline`.
"""

import reprlib
from typing import Any

import numpy as np
from numpy.typing import NDArray


def class_indices(labels: Any) -> NDArray[np.int64]:
    """Return the class of each label.

    Args:
        labels: one-hot, (n, classes); whole numbers from 0, (n,); or a binary column,
            (n, 1).

    Returns:
        Indices from 0, (n,).

    Raises:
        ValueError: the labels have another form.

    Example:
        >>> class_indices([[0.0, 1.0], [1.0, 0.0]]).tolist()
        [1, 0]
        >>> class_indices([[0.0], [1.0]]).tolist()
        [0, 1]
    """
    array = np.asarray(labels)
    # An array without elements has dtype float64 or object, whatever it was to hold.
    numeric = array.dtype.kind in "biuf" or not array.size
    if numeric and array.ndim == 2 and array.shape[1] > 1:
        return np.asarray(array.argmax(axis=1), np.int64)
    flat = array.reshape(-1) if array.ndim == 2 else array
    if not numeric or flat.ndim != 1 or not _are_indices(flat):
        raise ValueError(
            "Labels must be one-hot, whole numbers from 0 or a binary column. "
            f"Received: labels={reprlib.repr(array.tolist())}. "
            "Encode the classes as 0, 1, 2 and so on."
        )
    return flat.astype(np.int64)


def balanced_weights(labels: Any, classes: int) -> dict[int, float]:
    """Return a factor for each class, so that all weigh the same: n / (classes * n_c).

    Args:
        labels: of all images, in a form of `class_indices`; None where it is not known
            before they are read.
        classes: the number of classes, at least; 0 where that is not known.

    Raises:
        ValueError: there are no labels with one class for each image, or a class has
            no image.

    Example:
        >>> balanced_weights([0, 0, 0, 1], classes=2)
        {0: 0.6666666666666666, 1: 2.0}
    """
    remedy = "Write class_weight={0: ..., 1: ...}, one factor for each class."
    array = None if labels is None else np.asarray(labels)
    rows = array is not None and array.ndim == 2 and array.shape[1] > 1
    if array is None or (rows and not _are_one_hot(array)):
        found = "a dataset"
        if array is not None:
            found = "labels of several classes or shares"
            remedy = "Give a weight for each image, (images, labels, weights)."
        raise ValueError(
            'class_weight="balanced" needs one class for each image of a folder or of '
            f"arrays. Received: train, with {found}. {remedy}"
        )
    counts = np.bincount(class_indices(array), minlength=max(classes, 2))
    if not counts.all():
        raise ValueError(
            'class_weight="balanced" needs an image of every class. Received: train, '
            f"without one of class {int(counts.argmin())}. {remedy}"
        )
    factors = counts.sum() / (len(counts) * counts)
    return {i: float(factor) for i, factor in enumerate(factors)}


def _are_one_hot(rows: NDArray[Any]) -> bool:
    return bool(np.isin(rows, (0, 1)).all() and (rows.sum(axis=1) == 1).all())


def _are_indices(labels: NDArray[Any]) -> bool:
    return all(label >= 0 and float(label).is_integer() for label in labels.tolist())
