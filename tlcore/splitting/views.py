"""Views: augmentation as a finite bank of views per image, `view = f(seed, image, k)`.

Owns what determines a view and how it is computed. Random layers get their state from
the seed, the bytes of the image and k, and see one image at a time. So a view does not
depend on its batch, its epoch or its folder, and it is the same whether it is computed
in every epoch or its features are read from a cache.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from tlcore.splitting.split import Split


class ViewBank:
    """K views of every image of a folder, one after another by epoch.

    A visit is an image in an epoch: visit `e * len(digests) + i` is image i in epoch e.

    Args:
        augmentation: the split of a model after its random layers.
        count: the number of views of each image; epoch e shows view e % count.
        seed: of the bank.
        digests: sha256, in hex, of each image's bytes.

    Example:
        >>> from tlcore.splitting.split import split_augmentation
        >>> model = tl.create_model(
        ...     "sample_net", 3, input_shape=(32, 32, 3), augmentation="tutorial"
        ... )
        >>> augmentation, _ = split_augmentation(model)
        >>> bank = ViewBank(augmentation, count=2, seed=42, digests=["aa", "bb", "cc"])
        >>> [bank.view(visit) for visit in range(9)]
        [0, 0, 0, 1, 1, 1, 0, 0, 0]
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
        """Return the number of the view that a visit shows."""
        return int(visit) // len(self._digests) % self.count

    def seeds(self, visits: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the states of the random layers, (visits, layers, 2), below 2**31."""
        length = 8 * len(self._states)
        draws = [self._draws(int(visit), length) for visit in visits]
        numbers = np.frombuffer(b"".join(draws), dtype="<u4").astype(np.int64)
        # 31 bits fit every integer type in which a Keras backend keeps such a state.
        return (numbers >> 1).reshape(len(visits), len(self._states), 2)

    def views(self, images: Any, seeds: Any) -> Any:
        """Return the views of images, (n, height, width, channels).

        Args:
            images: of the same shape, in [0, 255].
            seeds: from `seeds`, for the visits of these images.
        """
        seeds = keras.ops.reshape(seeds, (-1, len(self._states), 2))
        # One at a time: in a batch, an image's view would depend on its position.
        return keras.ops.map(self._view, (images, seeds))

    def fingerprint(self, view: int) -> str:
        """Return the sha256 of all that determines view number `view`."""
        text = f"{self._split.fingerprint}/{self._seed}/{view}"
        return hashlib.sha256(text.encode()).hexdigest()

    def _draws(self, visit: int, length: int) -> bytes:
        """Return `length` pseudo-random bytes for a visit, the same on any machine."""
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
