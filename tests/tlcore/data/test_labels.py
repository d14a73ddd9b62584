"""Labels of every form become class indices."""

import numpy as np
import pytest

from tlcore.data.labels import class_indices


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (np.eye(3)[[0, 2, 1]], [0, 2, 1]),
        (np.eye(3, dtype=np.uint8)[[0, 2, 1]], [0, 2, 1]),
        ([[0.1, 0.7, 0.2], [0.5, 0.3, 0.2]], [1, 0]),
        ([0, 2, 1], [0, 2, 1]),
        (np.array([0, 2, 1], np.uint8), [0, 2, 1]),
        (np.array([0.0, 200.0], np.float32), [0, 200]),
        ([[0.0], [1.0]], [0, 1]),
        (np.array([[True], [False]]), [1, 0]),
        ([], []),
        (np.zeros((0, 3)), []),
        (np.zeros((0, 1)), []),
    ],
    ids=[
        "one-hot",
        "one-hot bytes",
        "smoothed",
        "integers",
        "bytes",
        "floats",
        "binary column",
        "booleans",
        "none",
        "no one-hot rows",
        "empty column",
    ],
)
def test_labels_of_every_form_become_indices(labels, expected):
    found = class_indices(labels)
    assert found.dtype == np.int64
    assert found.tolist() == expected


@pytest.mark.parametrize(
    ("labels", "received"),
    [
        ([-1, 0], r"labels=\[-1, 0\]"),
        ([0.5, 1.0], r"labels=\[0\.5, 1\.0\]"),
        ([[0.5], [1.0]], r"labels=\[\[0\.5\], \[1\.0\]\]"),
        ([float("nan")], r"labels=\[nan\]"),
        ([float("inf")], r"labels=\[inf\]"),
        (["cat", "dog"], r"labels=\['cat', 'dog'\]"),
        ([["cat", "dog"]], r"labels=\[\['cat', 'dog'\]\]"),
        ([None], r"labels=\[None\]"),
        (3, "labels=3"),
        (np.zeros((2, 1, 2)), "labels=.*"),
    ],
)
def test_labels_of_another_form_are_refused(labels, received):
    message = rf"one-hot, whole numbers from 0 or .*Received: {received}\. Encode"
    with pytest.raises(ValueError, match=message):
        class_indices(labels)
