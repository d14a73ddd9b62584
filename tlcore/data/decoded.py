"""Decoded: the pixels of a small folder, kept in memory as long as the folder.

Owns how many bytes are kept. Augmented training reads every image in every epoch, and a
run reads it again for the linear probe and after layers were unfrozen; decoding a
photograph takes half as long as a small backbone does. Pixels are kept under the digest
of the file and whatever else they depend on, so that nothing but the time changes.
"""

import threading
from collections.abc import Callable, Hashable

import numpy as np
from numpy.typing import NDArray

MAX_BYTES = 128 << 20
"""The largest folder of which the pixels are kept: 891 images of 224 pixels."""


class DecodedImages:
    """The decoded images of one folder, and of its subsets, by key.

    Args:
        max_bytes: the size up to which they are kept.

    Example:
        >>> images = DecodedImages(max_bytes=100)
        >>> images.fits(5, 20), images.fits(6, 20)
        (True, False)
        >>> images.get("a", lambda: np.zeros(20, np.uint8)).nbytes
        20
        >>> images.get("a", lambda: 1 / 0).nbytes
        20
    """

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._nbytes = 0
        self._images: dict[Hashable, NDArray[np.uint8]] = {}
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[type, tuple[int]]:
        # A worker process gets a folder without its pixels.
        return type(self), (self._max_bytes,)

    def fits(self, count: int, nbytes: int) -> bool:
        """Return whether `count` images of `nbytes` each can be kept."""
        return count * nbytes <= self._max_bytes

    def get(
        self, key: Hashable, read: Callable[[], NDArray[np.uint8]]
    ) -> NDArray[np.uint8]:
        """Return the image that is kept under a key, or read it, and keep it."""
        image = self._images.get(key)
        if image is not None:
            return image
        image = read()
        with self._lock:
            # Another size of the same images may have taken the room.
            if (
                key not in self._images
                and self._nbytes + image.nbytes <= self._max_bytes
            ):
                self._images[key] = image
                self._nbytes += image.nbytes
        return image
