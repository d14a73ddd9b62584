"""Views: augmentation as a finite bank, `view = f(seed, image, k)`.

Owns what decides a view and how one is made. The bank is the same whether its views
are made anew each epoch or their features are kept: random layers get their state from
the seed, the bytes of the image and k, one image at a time.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from tlcore.splitting.split import Split


class ViewBank:
    """K views of every image of a folder, cycled by epoch.

    Args:
        augmentation: the split of a model behind its random layers.
        count: how many views of each image there are; epoch e shows view e % count.
        seed: of the bank.
        digests: sha256, in hex, of each image's bytes.
    """

    def __init__(
        self, augmentation: Split, *, count: int, seed: int, digests: Sequence[str]
    ) -> None:
        self.count = count
        self._split = augmentation
        self._seed = seed
        self._digests = digests
        self._states = list(augmentation.prefix.non_trainable_variables)

    def view(self, visit: int) -> int:
        """Return which view a visit sees."""
        return int(visit) // len(self._digests) % self.count

    def seeds(self, visits: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the states of the random layers, (visits, layers, 2), below 2**31."""
        length = 8 * len(self._states)
        lots = [self._lots(int(visit), length) for visit in visits]
        numbers = np.frombuffer(b"".join(lots), dtype="<u4").astype(np.int64)
        return (numbers >> 1).reshape(len(visits), len(self._states), 2)

    def views(self, images: Any, seeds: Any) -> Any:
        """Return the views of images, (n, height, width, channels), by their states."""
        seeds = keras.ops.reshape(seeds, (-1, len(self._states), 2))
        return keras.ops.map(self._view, (images, seeds))

    def fingerprint(self, view: int) -> str:
        """Return the sha256 of what makes view number `view`."""
        text = f"{self._split.fingerprint}/{self._seed}/{view}"
        return hashlib.sha256(text.encode()).hexdigest()

    def _lots(self, visit: int, length: int) -> bytes:
        digest = self._digests[visit % len(self._digests)]
        key = f"{self._seed}/{digest}/{self.view(visit)}"
        return hashlib.shake_128(key.encode()).digest(length)

    def _view(self, pair: tuple[Any, Any]) -> Any:
        image, seeds = pair
        states = [
            keras.ops.cast(seeds[i], state.dtype)
            for i, state in enumerate(self._states)
        ]
        (view,), _ = self._split.prefix.stateless_call(
            [], states, [image[None]], training=True
        )
        return view[0]
