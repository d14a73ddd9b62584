"""Augmentation: the tutorials' stacks of random layers.

Owns the named stacks. Each is a `keras.Sequential` that becomes part of a model: images
are [0, 255] RGB before and after it, shapes stay static, and outside training every
stack is the identity.

The tutorials' `RandomHeight` and `RandomWidth`, which Keras 3 no longer has, resized a
whole batch and made its height and width unknown. Here each image is stretched about
its center by the same random factor and keeps its shape, so that any head can follow.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import keras
from keras import ops

from tlcore.arguments import require_one_of
from tlcore.warp import RandomWarp

_FLOAT32 = "float32"
"""Pixels keep full precision, whatever the dtype policy of the network after them."""


@keras.saving.register_keras_serializable(package="tlcore")
class RandomShear(keras.layers.RandomShear):
    """Keras's RandomShear in a form that can be saved and loaded.

    Keras writes each factor to the config as [-factor, factor] but its constructor
    accepts no negative number, so that a saved model cannot be loaded. Models that were
    saved when a stack was a chain of Keras's layers hold this layer.
    """

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        factors = {"x_factor": self.x_factor[1], "y_factor": self.y_factor[1]}
        return {**super().get_config(), **factors}


@keras.saving.register_keras_serializable(package="tlcore")
class Augmentation(keras.Sequential):
    """A stack of layers that acts in training only and keeps pixels in full precision.

    Keras's random layers act unless they are told not to: a bare `model(images)`, an
    exported model or a model around this one would augment what it predicts. Under a
    mixed-precision policy a plain `Sequential` casts its inputs to 16 bits before the
    first layer sees them.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Sequential takes no dtype argument, so the policy is replaced afterwards.
        self.dtype_policy = keras.DTypePolicy(_FLOAT32)

    def call(
        self,
        inputs: Any,
        training: bool | None = None,  # noqa: FBT001 - the signature of Keras
        mask: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Return the images, changed only where `training` is True."""
        # Layers that are left to themselves take their own default, which is True.
        training = False if training is None else training
        return super().call(inputs, training=training, mask=mask, **kwargs)


@keras.saving.register_keras_serializable(package="tlcore")
class RandomTone(keras.layers.Layer):
    """Random contrast, then random brightness, of images in [0, 255].

    What `keras.layers.RandomContrast` and `RandomBrightness` do, one after the other,
    in half of their passes over all pixels. Outside training the identity.

    Args:
        contrast: from 0 to 1; the distance of each pixel from the mean of its channel
            is multiplied by a number from 1 - contrast to 1 + contrast.
        brightness: from 0 to 1; of 255, the most that is added or subtracted.
        seed: of the random numbers; None takes one from `keras.utils.set_random_seed`.
        kwargs: the arguments of `keras.layers.Layer`.

    Example:
        >>> import numpy as np
        >>> tone = RandomTone(0.2, 0.2, seed=1)
        >>> tuple(tone(np.ones((2, 8, 8, 3), "float32"), training=True).shape)
        (2, 8, 8, 3)
    """

    def __init__(
        self,
        contrast: float,
        brightness: float,
        *,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.contrast, self.brightness, self.seed = contrast, brightness, seed
        self.generator = keras.random.SeedGenerator(seed)
        self.built = True

    def call(self, images: Any, training: bool | None = None) -> Any:  # noqa: FBT001
        """Return each image in its own tone; outside training, the images."""
        if not training:
            return images
        shape = (2, ops.shape(images)[0], 1, 1, 1)
        draws = keras.random.uniform(shape, -1, 1, images.dtype, self.generator)
        factor, shift = 1 + self.contrast * draws[0], 255 * self.brightness * draws[1]
        # One axis after the other: the second mean is of few numbers.
        mean = ops.mean(ops.mean(images, axis=1, keepdims=True), axis=2, keepdims=True)
        toned = images * factor + (mean * (1 - factor) + shift)
        # Both layers clip. What the first one clips is at `shift` or 255 + shift here.
        low, high = ops.clip(shift, 0, 255), ops.clip(shift + 255, 0, 255)
        return ops.minimum(ops.maximum(toned, low), high)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the shape of the input."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        own = {"contrast": self.contrast, "brightness": self.brightness}
        return {**super().get_config(), **own, "seed": self.seed}


def create_augmentation(name: str) -> Augmentation:
    """Return a new stack of random layers; shape (n, height, width, 3) in and out.

    Args:
        name: one of `AUGMENTATIONS`: "tutorial" (horizontal flip, rotation by 0.2 of a
            turn, zoom 0.2, height 0.2, width 0.2), "photometric" (both flips, rotation
            0.2, zoom 0.1, contrast 0.2, brightness 0.2) or "generator" (rotation by 40
            degrees, shifts 0.2, shear 0.2, zoom 0.2 on each axis, horizontal flip,
            gaps filled with the nearest pixel: the tutorials' `ImageDataGenerator`).

    Raises:
        ValueError: the name is not one of them.

    Example:
        >>> stack = create_augmentation("photometric")
        >>> [layer.name for layer in stack.layers]
        ['random_warp', 'random_tone']
    """
    also = "None, a keras layer or "
    require_one_of("augmentation", name, AUGMENTATIONS, also=also)
    return Augmentation(AUGMENTATIONS[name](), name="augmentation")


def _tutorial() -> list[keras.Layer]:
    # A zoom along one axis: the tutorials' RandomHeight and RandomWidth.
    return [
        _warp(
            ("flip", "horizontal"),
            ("rotation", 0.2),
            ("zoom", 0.2),
            ("zoom", 0.2, 0.0),
            ("zoom", 0.0, 0.2),
        )
    ]


def _photometric() -> list[keras.Layer]:
    return [
        _warp(("flip", "horizontal_and_vertical"), ("rotation", 0.2), ("zoom", 0.1)),
        RandomTone(0.2, 0.2, name="random_tone", dtype=_FLOAT32),
    ]


def _generator() -> list[keras.Layer]:
    return [
        _warp(
            # In turns; ImageDataGenerator counted in degrees.
            ("rotation", 40 / 360),
            ("translation", 0.2, 0.2),
            ("shear", 0.2, 0.0),
            ("zoom", 0.2, 0.2),
            ("flip", "horizontal"),
            fill_mode="nearest",
        )
    ]


def _warp(*steps: tuple[Any, ...], fill_mode: str = "reflect") -> RandomWarp:
    return RandomWarp(steps, fill_mode=fill_mode, name="random_warp", dtype=_FLOAT32)


AUGMENTATIONS: Mapping[str, Callable[[], list[keras.Layer]]] = MappingProxyType(
    {"tutorial": _tutorial, "photometric": _photometric, "generator": _generator}
)
"""The function that builds the layers of each named stack."""
