"""The sample net: a small convolutional backbone that comes with trained weights.

Owns its architecture and the path of its packaged weights, so that all that requires a
pretrained backbone runs without a download. It does not know the images it was trained
on; `bench/scripts/pretrain_sample_net.py` trains and writes the weights.
"""

from pathlib import Path

import keras
from keras import layers

SAMPLE_NET_WEIGHTS: Path = Path(__file__).parent / "sample_net.weights.h5"
"""Weights trained on `tlcore.data.drawing.PRETRAINING_KINDS`, for any input size."""

_SMALLEST_SIDE_PIXELS = 32
_MOMENTUM = 0.9
"""Of BatchNorm statistics. Keras's 0.99 needs hundreds of steps to forget the start."""


def build_sample_net(
    input_shape: tuple[int, int, int] = (96, 96, 3), name: str = "sample_net"
) -> keras.Model:
    """Build the sample net without top and with random weights.

    Args:
        input_shape: (height, width, channels) of the images, at least 32 by 32 pixels.
        name: the model's name.

    Returns:
        A functional model from values in [-1, 1] of shape (n, height, width, channels)
        to features of shape (n, height / 16, width / 16, 128), sizes rounded up.

    Raises:
        ValueError: the images are too small.

    Example:
        >>> build_sample_net((100, 33, 3)).output_shape
        (None, 7, 3, 128)
    """
    if min(input_shape[:2]) < _SMALLEST_SIDE_PIXELS:
        raise ValueError(
            f"input_shape must be at least {_SMALLEST_SIDE_PIXELS} pixels high and "
            f"wide. Received: input_shape={input_shape}. Give larger images."
        )
    images = keras.Input(input_shape, name=f"{name}_images")
    x = _convolution(images, 16, "stem", kernel=5, strides=2)
    x = _residual(x, 32, "block1", separable=False)
    x = _residual(x, 64, "block2", separable=False)
    x = _residual(x, 128, "block3", separable=True)
    return keras.Model(images, x, name=name)


def _convolution(
    x: keras.KerasTensor,
    filters: int,
    name: str,
    *,
    kernel: int = 3,
    strides: int = 1,
    separable: bool = False,
    relu: bool = True,
) -> keras.KerasTensor:
    layer = layers.SeparableConv2D if separable else layers.Conv2D
    x = layer(
        filters,
        kernel,
        strides=strides,
        padding="same",
        use_bias=False,
        name=f"{name}_conv",
    )(x)
    x = layers.BatchNormalization(momentum=_MOMENTUM, name=f"{name}_bn")(x)
    return layers.ReLU(name=f"{name}_relu")(x) if relu else x


def _residual(
    x: keras.KerasTensor, filters: int, name: str, *, separable: bool
) -> keras.KerasTensor:
    """Halve height and width by two convolutions and a shortcut around them."""
    shortcut = _convolution(
        x, filters, f"{name}_shortcut", kernel=1, strides=2, relu=False
    )
    x = _convolution(x, filters, f"{name}_a", strides=2, separable=separable)
    x = _convolution(x, filters, f"{name}_b", separable=separable, relu=False)
    x = layers.Add(name=f"{name}_add")([x, shortcut])
    return layers.ReLU(name=f"{name}_relu")(x)
