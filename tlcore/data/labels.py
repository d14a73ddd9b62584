"""Labels: the class of an image, whatever form its label has.

Owns reading one-hot rows, class indices and binary columns as class indices. How labels
are encoded for training is in `pipeline`.
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
        ValueError: they have another form.

    Example:
        >>> class_indices([[0.0, 1.0], [1.0, 0.0]]).tolist()
        [1, 0]
    """
    array = np.asarray(labels)
    if array.ndim == 2 and array.shape[1] > 1 and array.dtype.kind in "biuf":
        return np.asarray(array.argmax(axis=1), np.int64)
    flat = array.reshape(-1) if array.ndim == 2 else array
    if (
        flat.ndim != 1
        or (flat.size and flat.dtype.kind not in "biuf")
        or any(label < 0 or label != int(label) for label in flat)
    ):
        raise ValueError(
            "Labels must be one-hot, whole numbers from 0 or a binary column. "
            f"Received: labels={reprlib.repr(array.tolist())}."
        )
    return flat.astype(np.int64)
