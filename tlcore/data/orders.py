"""Orders: the order of an epoch, as a pure function of a seed and its index."""

import hashlib

import numpy as np
from numpy.typing import NDArray


def permutation(count: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """Return the numbers below `count` in the order of an epoch.

    The same on every machine and in every version, since runs are resumed later.

    Example:
        >>> permutation(5, seed=42, epoch=0).tolist()
        [0, 1, 2, 3, 4]
    """
    # Sorted by the words of a hash: NumPy does not promise that a generator gives the
    # same permutation in every version (NEP 19).
    key = hashlib.shake_128(f"{seed}/{int(epoch)}".encode())
    keys = np.frombuffer(key.digest(8 * count), dtype="<u8")
    return np.argsort(keys, kind="stable").astype(np.int64, copy=False)
