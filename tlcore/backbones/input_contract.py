"""Input contract: from images in [0, 255] RGB to what a backbone expects.

Owns the schemes, the layer of each scheme, and the scheme of each network of
`keras.applications`, found by its name.
"""

import re
from collections.abc import Mapping
from typing import Any

import keras

from tlcore.arguments import require_one_of
from tlcore.backbones.catalogue import CATALOGUE

_IMAGENET_MEAN_RGB = (0.485, 0.456, 0.406)
IMAGENET_STDDEV_RGB = (0.229, 0.224, 0.225)
_CAFFE_MEAN_BGR = (103.939, 116.779, 123.68)
"""Mean pixel of ImageNet, source: `keras.applications.imagenet_utils`."""

SCHEMES = ("raw", "signed", "unit", "caffe", "torch")
"""The schemes of an input contract; `InputContract` explains them."""

_KERAS_SCHEMES: Mapping[str, str] = {
    r"convnext_.*|efficientnet.*|MobileNetV3.*": "raw",
    r"inception_(resnet_v2|v3)|mobilenet(v2)?_[\d.]+_.*|nasnet_.*|xception": "signed",
    r"resnet(50|101|152)v2": "signed",
    r"resnet(50|101|152)|vgg1[69]": "caffe",
    r"densenet\d+": "torch",
}
"""The schemes of the networks of `keras.applications`, by patterns of their names.

Source: `preprocess_input` in the module of each network.
"""


@keras.saving.register_keras_serializable(package="tlcore")
class CaffePreprocessing(keras.layers.Layer):
    """From [0, 255] RGB to the input of Caffe's networks: BGR minus ImageNet's mean.

    Takes and returns shape (n, height, width, 3). The numbers are those of
    `keras.applications.imagenet_utils.preprocess_input(mode="caffe")`.
    """

    def call(self, images: Any) -> Any:
        """Return the images with channels reversed and the mean subtracted."""
        images = keras.ops.cast(images, self.compute_dtype)
        mean = keras.ops.convert_to_tensor(_CAFFE_MEAN_BGR, dtype=self.compute_dtype)
        return keras.ops.flip(images, axis=-1) - mean

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return `input_shape`."""
        return input_shape


def contract_layer(scheme: str) -> keras.Layer | None:
    """Return the layer from [0, 255] RGB to a scheme's range, None where it is raw.

    Args:
        scheme: one of `SCHEMES`.

    Raises:
        ValueError: the scheme is unknown.

    Example:
        >>> import numpy as np
        >>> np.asarray(contract_layer("signed")(np.array([0.0, 255.0]))).tolist()
        [-1.0, 1.0]
    """
    require_one_of("input_contract", scheme, SCHEMES, subject="An input contract")
    # float32 also under mixed precision: float16 rounds pixels above 128 to eighths.
    name, dtype = "input_contract", "float32"
    match scheme:
        case "signed":
            return keras.layers.Rescaling(1 / 127.5, -1.0, name=name, dtype=dtype)
        case "unit":
            return keras.layers.Rescaling(1 / 255.0, name=name, dtype=dtype)
        case "caffe":
            return CaffePreprocessing(name=name, dtype=dtype)
        case "torch":
            scale = [1 / (255 * stddev) for stddev in IMAGENET_STDDEV_RGB]
            pairs = zip(_IMAGENET_MEAN_RGB, IMAGENET_STDDEV_RGB, strict=True)
            offset = [-mean / stddev for mean, stddev in pairs]
            return keras.layers.Rescaling(scale, offset, name=name, dtype=dtype)
    return None  # raw


def scheme_of(network: keras.Model) -> str | None:
    """Return the scheme of a network whose name is known, None for any other.

    Known are the names of the catalogue ("vgg16") and the names that
    `keras.applications` gives its networks ("mobilenetv2_0.50_224", "densenet121").

    Example:
        >>> import keras
        >>> images = keras.Input((224, 224, 3))
        >>> outputs = keras.layers.ReLU()(images)
        >>> scheme_of(keras.Model(images, outputs, name="densenet121"))
        'torch'
    """
    if network.name in CATALOGUE:
        return CATALOGUE[network.name].contract.scheme
    for pattern, scheme in _KERAS_SCHEMES.items():
        if re.fullmatch(pattern, network.name):
            return scheme
    return None
