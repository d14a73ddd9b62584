"""The augmentation stacks of the tutorials, as Keras layers.

Owns the named stacks. Each is a `keras.Sequential` that goes inside a model: images are
[0, 255] RGB on both sides, shapes stay static, and outside training every stack is the
identity.

The tutorials' `RandomHeight` and `RandomWidth`, which Keras 3 no longer has, resized a
whole batch and made its height and width unknown. Here they stretch each image about
its centre by the same factor and keep its shape, so that any head can follow.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import keras

from tlcore.arguments import require_one_of

_FLOAT32 = "float32"
"""Pixels keep full precision whatever the policy of the network behind them."""


@keras.saving.register_keras_serializable(package="tlcore")
class RandomShear(keras.layers.RandomShear):
    """Keras's shear by up to `x_factor` and `y_factor` either way, which can be saved.

    Keras writes each factor as [-factor, factor] and then refuses to read it, so that a
    saved model could not be loaded.
    """

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that the constructor takes."""
        factors = {"x_factor": self.x_factor[1], "y_factor": self.y_factor[1]}
        return {**super().get_config(), **factors}


@keras.saving.register_keras_serializable(package="tlcore")
class Augmentation(keras.Sequential):
    """A stack of layers through which pixels go in full precision.

    Under a policy of mixed precision a plain `Sequential` would round them first.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.dtype_policy = keras.DTypePolicy(_FLOAT32)


def create_augmentation(name: str) -> Augmentation:
    """Return a new stack of random layers; shape (n, height, width, 3) in and out.

    Args:
        name: one of `AUGMENTATIONS`: "tutorial" (horizontal flip, rotation 0.2 of a
            turn, zoom 0.2, height 0.2, width 0.2), "photometric" (both flips, rotation
            0.2, zoom 0.1, contrast 0.2, brightness 0.2) or "generator" (rotation 40
            degrees, shifts 0.2, shear 0.2, zoom 0.2 on each axis, horizontal flip,
            the nearest pixel as fill: what `ImageDataGenerator` was told).

    Raises:
        ValueError: the name is none of them.
    """
    also = "None, a keras layer or "
    require_one_of("augmentation", name, AUGMENTATIONS, also=also)
    return Augmentation(AUGMENTATIONS[name](), name="augmentation")


def _tutorial() -> list[keras.Layer]:
    layers = keras.layers
    return [
        layers.RandomFlip("horizontal", name="random_flip", dtype=_FLOAT32),
        layers.RandomRotation(0.2, name="random_rotation", dtype=_FLOAT32),
        layers.RandomZoom(0.2, name="random_zoom", dtype=_FLOAT32),
        layers.RandomZoom(
            height_factor=0.2, width_factor=0.0, name="random_height", dtype=_FLOAT32
        ),
        layers.RandomZoom(
            height_factor=0.0, width_factor=0.2, name="random_width", dtype=_FLOAT32
        ),
    ]


def _photometric() -> list[keras.Layer]:
    layers = keras.layers
    return [
        layers.RandomFlip(
            "horizontal_and_vertical", name="random_flip", dtype=_FLOAT32
        ),
        layers.RandomRotation(0.2, name="random_rotation", dtype=_FLOAT32),
        layers.RandomZoom(0.1, name="random_zoom", dtype=_FLOAT32),
        layers.RandomContrast(
            0.2, value_range=(0, 255), name="random_contrast", dtype=_FLOAT32
        ),
        layers.RandomBrightness(
            0.2, value_range=(0, 255), name="random_brightness", dtype=_FLOAT32
        ),
    ]


def _generator() -> list[keras.Layer]:
    layers = keras.layers
    fill = {"fill_mode": "nearest", "dtype": _FLOAT32}
    return [
        layers.RandomRotation(40 / 360, name="random_rotation", **fill),
        layers.RandomTranslation(0.2, 0.2, name="random_translation", **fill),
        RandomShear(x_factor=0.2, y_factor=0.0, name="random_shear", **fill),
        layers.RandomZoom(0.2, 0.2, name="random_zoom", **fill),
        layers.RandomFlip("horizontal", name="random_flip", dtype=_FLOAT32),
    ]


AUGMENTATIONS: Mapping[str, Callable[[], list[keras.Layer]]] = MappingProxyType(
    {"tutorial": _tutorial, "photometric": _photometric, "generator": _generator}
)
"""What builds the layers of each named stack."""
