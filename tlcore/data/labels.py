"""Labels: class indices from labels of any form.

Owns how one-hot rows, class indices and binary columns are read. How labels are encoded
for training is in `pipeline`.
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


def _are_indices(labels: NDArray[Any]) -> bool:
    return all(label >= 0 and float(label).is_integer() for label in labels.tolist())
