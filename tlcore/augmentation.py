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

from tlcore.arguments import require_one_of

_FLOAT32 = "float32"
"""Pixels keep full precision, whatever the dtype policy of the network after them."""


@keras.saving.register_keras_serializable(package="tlcore")
class RandomShear(keras.layers.RandomShear):
    """Keras's RandomShear in a form that can be saved and loaded.

    Keras writes each factor to the config as [-factor, factor] but its constructor
    accepts no negative number, so that a saved model cannot be loaded.
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
        >>> stack = create_augmentation("generator")
        >>> [layer.name for layer in stack.layers][:3]
        ['random_rotation', 'random_translation', 'random_shear']
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
        # A zoom along one axis: the tutorials' RandomHeight and RandomWidth.
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
        # Keras counts in turns, ImageDataGenerator counted in degrees.
        layers.RandomRotation(40 / 360, name="random_rotation", **fill),
        layers.RandomTranslation(0.2, 0.2, name="random_translation", **fill),
        RandomShear(x_factor=0.2, y_factor=0.0, name="random_shear", **fill),
        layers.RandomZoom(0.2, 0.2, name="random_zoom", **fill),
        layers.RandomFlip("horizontal", name="random_flip", dtype=_FLOAT32),
    ]


AUGMENTATIONS: Mapping[str, Callable[[], list[keras.Layer]]] = MappingProxyType(
    {"tutorial": _tutorial, "photometric": _photometric, "generator": _generator}
)
"""The function that builds the layers of each named stack."""
