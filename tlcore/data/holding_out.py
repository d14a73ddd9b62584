"""Holding out: which images of each class are kept from training, to select by."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tlcore.arguments import listed
from tlcore.data.layout import ranked_indices, share_of
from tlcore.data.options import check_percent


def held_out(
    names: Sequence[str],
    labels: NDArray[np.int64],
    class_names: Sequence[str],
    *,
    percent: float,
    seed: int,
) -> NDArray[np.bool_]:
    """Return which images are held out, a part of every class.

    Args:
        names: of the images; the choice depends on nothing else of them.
        labels: the class index of each.
        class_names: for the error.
        percent: how much of each class; at least one image, and at least one remains.
        seed: of the choice.

    Raises:
        ValueError: `percent` is not between 0 and 100, or a class holds fewer than two
            images.

    Example:
        >>> labels = np.array([0, 0, 1, 1])
        >>> held_out(["a", "b", "c", "d"], labels, "xy", percent=50, seed=42).tolist()
        [True, False, False, True]
    """
    check_percent(percent, all_allowed=False)
    sizes = np.bincount(labels, minlength=len(class_names))
    if sizes.min() < 2:
        small = [class_names[i] for i in np.flatnonzero(sizes < 2).tolist()]
        raise ValueError(
            "Every class must hold at least 2 images for one to be held out. "
            f"Received: {listed(small)} with 1. Add images, or open the folder "
            "with a higher percent."
        )
    mask = np.zeros(len(names), dtype=bool)
    everyone = np.array(names, dtype=object)
    for label, size in enumerate(sizes.tolist()):
        own = np.flatnonzero(labels == label)
        count = min(size - 1, share_of(size, percent))
        mask[own[ranked_indices(everyone[own], f"{seed}/held out")[:count]]] = True
    return mask
