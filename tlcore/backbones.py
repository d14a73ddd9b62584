"""Backbones: the networks of the catalogue, and the layer that keeps them in check.

Owns building a backbone without its top, reading its weights from where the user has
them, the layer of its input contract, and `Backbone`, the layer that runs a network in
inference mode whatever happens around it. What to freeze is decided in `freezing`.
"""

import importlib
import math
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import keras

from tlcore.arguments import did_you_mean
from tlcore.catalogue import CATALOGUE, CatalogueEntry, find_entry
from tlcore.sample_net import SAMPLE_NET_WEIGHTS

_PACKAGE = "tlcore"
_IMAGENET_MEAN_RGB = (0.485, 0.456, 0.406)
_IMAGENET_STDDEV_RGB = (0.229, 0.224, 0.225)
_CAFFE_MEAN_BGR = (103.939, 116.779, 123.68)
"""Mean pixel of ImageNet, source: `keras.applications.imagenet_utils`."""

IMAGENET_CLASSES = 1000
"""Outputs of a network with its top."""

SCHEMES = ("raw", "signed", "unit", "caffe", "torch")
"""What an input contract can be; `InputContract` explains them."""

_KERAS_SCHEMES: Mapping[str, str] = {
    r"convnext_.*|efficientnet.*|MobileNetV3.*": "raw",
    r"inception_(resnet_v2|v3)|mobilenet(v2)?_[\d.]+_.*|nasnet_.*|xception": "signed",
    r"resnet(50|101|152)v2": "signed",
    r"resnet(50|101|152)|vgg1[69]": "caffe",
    r"densenet\d+": "torch",
}
"""What the networks of `keras.applications` expect, by how Keras names them.

Source: the `preprocess_input` of each one's module.
"""

ImageShape = tuple[int, int, int]
"""(height, width, channels) of one image."""


@keras.saving.register_keras_serializable(package=_PACKAGE)
class Backbone(keras.layers.Layer):
    """A network as a layer that always runs in inference mode, also during `fit`.

    Keras 3 up to 3.15 overwrites the `training=False` of a call inside a functional
    model with what `fit` says, so that Dropout of a frozen network stays active and
    BatchNorm statistics of unfrozen layers move. Calling the network from within a
    layer's `call` is honoured by every version. Weights still train where they are
    unfrozen: inference mode is about behaviour, not about gradients.

    Args:
        network: the network to run, a model or one layer; images in, features out.
        name: the layer's name; by default the network's.
    """

    def __init__(
        self, network: keras.Layer, *, name: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(name=name or network.name, **kwargs)
        self.network = network

    def call(self, images: Any) -> Any:
        """Return the network's output for `images`, in inference mode."""
        return self.network(images, training=False)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the network's output shape for a batch of `input_shape`."""
        return self.network.compute_output_shape(input_shape)

    def get_config(self) -> dict[str, Any]:
        """Return what `from_config` needs; the network's own configuration is in it."""
        network = keras.saving.serialize_keras_object(self.network)
        return {**super().get_config(), "network": network}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Backbone":
        """Return the layer that `get_config` described, with fresh weights."""
        network = keras.saving.deserialize_keras_object(config.pop("network"))
        return cls(network, **config)


@keras.saving.register_keras_serializable(package=_PACKAGE)
class CaffePreprocessing(keras.layers.Layer):
    """[0, 255] RGB to what Caffe's networks saw: BGR with ImageNet's mean subtracted.

    Shape (n, height, width, 3) in and out. The numbers are those of
    `keras.applications.imagenet_utils.preprocess_input(mode="caffe")`.
    """

    def call(self, images: Any) -> Any:
        """Return the images with channels reversed and centred."""
        images = keras.ops.cast(images, self.compute_dtype)
        mean = keras.ops.convert_to_tensor(_CAFFE_MEAN_BGR, dtype=self.compute_dtype)
        return keras.ops.flip(images, axis=-1) - mean

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return `input_shape`."""
        return input_shape


def contract_layer(scheme: str) -> keras.Layer | None:
    """Return the layer from [0, 255] RGB to a contract's range, None where it is raw.

    Args:
        scheme: one of `SCHEMES`, as `InputContract` explains them.

    Raises:
        ValueError: the scheme is unknown.
    """
    name, dtype = "input_contract", "float32"
    match scheme:
        case "raw":
            return None
        case "signed":
            return keras.layers.Rescaling(1 / 127.5, -1.0, name=name, dtype=dtype)
        case "unit":
            return keras.layers.Rescaling(1 / 255.0, name=name, dtype=dtype)
        case "caffe":
            return CaffePreprocessing(name=name, dtype=dtype)
        case "torch":
            scale = [1 / (255 * stddev) for stddev in _IMAGENET_STDDEV_RGB]
            pairs = zip(_IMAGENET_MEAN_RGB, _IMAGENET_STDDEV_RGB, strict=True)
            offset = [-mean / stddev for mean, stddev in pairs]
            return keras.layers.Rescaling(scale, offset, name=name, dtype=dtype)
    raise ValueError(
        f"An input contract must be one of: {', '.join(SCHEMES)}. "
        f"Received: input_contract={scheme!r}.{did_you_mean(scheme, SCHEMES)}"
    )


def scheme_of(network: keras.Model) -> str | None:
    """Return the input contract's scheme of a network that is known by its name.

    Known are this package's names ("vgg16") and those that `keras.applications` gives
    its networks, of the catalogue or not ("mobilenetv2_0.50_224", "densenet121").
    """
    if network.name in CATALOGUE:
        return CATALOGUE[network.name].contract.scheme
    for pattern, scheme in _KERAS_SCHEMES.items():
        if re.fullmatch(pattern, network.name):
            return scheme
    return None


def load_backbone(
    name: str,
    *,
    weights: str | Path | None = "imagenet",
    input_shape: ImageShape = (224, 224, 3),
) -> keras.Model:
    """Return a backbone of the catalogue without its top, in Keras's own form.

    Args:
        name: one of `list_backbones()`.
        weights: "imagenet" (downloaded once by Keras; `sample_net` brings its own),
            None for random ones, or the path of a `.weights.h5` or Keras `.h5` file
            of this network without top.
        input_shape: (height, width, 3) of the images, in pixels.

    Returns:
        The network, (n, height, width, 3) in, (n, h, w, channels) out. Its input is
        what its input contract says, `CATALOGUE[name].contract`; `create_model` puts
        that contract into the model.

    Raises:
        ValueError: unknown name, an image shape it cannot take, or a file that does
            not hold the weights of this network.
        FileNotFoundError: there is no such weights file.
        ConnectionError: "imagenet" was asked for and could not be downloaded.
    """
    entry = find_entry(name)
    check_image_shape(input_shape, entry)
    if weights is None:
        return _build(entry, input_shape)
    if weights == "imagenet":
        return _build_pretrained(entry, input_shape)
    return _read(_build(entry, input_shape), weights)


def load_classifier(name: str, *, weights: str | Path = "imagenet") -> keras.Model:
    """Return a backbone of the catalogue as it is: with its top of 1,000 classes.

    Args:
        name: one of `list_backbones()` but `sample_net`, which has no top.
        weights: "imagenet" or the path of a weights file of this network with top.

    Returns:
        The network: (n, size, size, 3) under its input contract in, probabilities
        (n, 1000) out, at the contract's size.

    Raises:
        ValueError: the network has no top, or the file does not hold its weights.
        FileNotFoundError: there is no such weights file.
        ConnectionError: "imagenet" was asked for and could not be downloaded.
    """
    entry = find_entry(name)
    if not entry.constructor.startswith("keras.applications"):
        raise ValueError(
            f"A backbone must have a top to classify by itself. Received: "
            f"backbone={name!r}, which has none; train a head with `tlcore run`."
        )
    size = entry.contract.size
    shape = (size, size, 3)
    if weights == "imagenet":
        return _build_pretrained(entry, shape, include_top=True)
    return _read(_build(entry, shape, include_top=True), weights)


def check_image_shape(input_shape: ImageShape, entry: CatalogueEntry) -> None:
    """Raise ValueError unless the backbone can take images of this shape."""
    shape = tuple(input_shape) if isinstance(input_shape, Sequence) else ()
    if len(shape) != 3 or not all(isinstance(n, int) and n > 0 for n in shape):
        raise ValueError(
            "input_shape must be (height, width, 3), in pixels. "
            f"Received: input_shape={input_shape!r}."
        )
    height, width, channels = shape
    if channels != 3:
        raise ValueError(
            "Images must enter with 3 channels (RGB); image folders convert grey "
            f"images. Received: input_shape={shape!r}. "
            f"Use input_shape=({height}, {width}, 3)."
        )
    least = entry.contract.min_size
    if min(height, width) < least:
        raise ValueError(
            f"{entry.name} takes images of at least {least} x {least} pixels. "
            f"Received: input_shape={shape!r}. Its weights were trained at "
            f"{entry.contract.size} x {entry.contract.size}."
        )


def load_weights(network: keras.Model, path: Path) -> None:
    """Read the weights file of exactly this architecture into `network`.

    Keras checks the shapes it looks for, not that it looked at everything: a file of a
    larger network can load without a word. Here the count of numbers must agree too.

    Raises:
        ValueError: the file is damaged, of another form or of another architecture.
    """
    expected = network.count_params()
    found = _count_numbers(path)
    top = "with" if network.output_shape[-1] == IMAGENET_CLASSES else "without"
    remedy = (
        "Give the file that `save_weights` wrote for this very network, of the same "
        f"alpha and {top} top."
    )
    if found != expected:
        raise ValueError(
            f"The weights of {network.name} hold {expected:,} numbers. "
            f"Received: weights={str(path)!r}, which holds {found:,}. {remedy}"
        )
    try:
        with warnings.catch_warnings():
            # Keras only warns where it leaves a part of the network as it was.
            warnings.simplefilter("error", UserWarning)
            network.load_weights(path)
    except (ValueError, KeyError, OSError, UserWarning) as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(
            f"The weights must be those of {network.name}. "
            f"Received: weights={str(path)!r}, which does not fit: {reason} {remedy}"
        ) from error


def _read(network: keras.Model, weights: str | Path) -> keras.Model:
    path = _existing_file(weights)
    load_weights(network, path)
    if _wants_second_rescaling(network):
        network = _with_second_rescaling(network)
        load_weights(network, path)
    return network


def _count_numbers(path: Path) -> int:
    total = 0

    def add(name: str, item: object) -> None:
        nonlocal total
        not_weights = {"optimizer", "optimizer_weights", "seed_generator"}
        if isinstance(item, h5py.Dataset) and not_weights.isdisjoint(name.split("/")):
            total += math.prod(item.shape)

    if not path.name.endswith(".h5"):
        raise ValueError(
            "A weights file must end in `.weights.h5`, or in `.h5` for the files of "
            f"keras.applications. Received: weights={str(path)!r}."
        )
    try:
        with h5py.File(path, "r") as file:
            file.visititems(add)
    except OSError as error:
        raise ValueError(
            "A weights file must be a whole HDF5 file. "
            f"Received: weights={str(path)!r}, which cannot be read: {error}. "
            "Copy or download it again."
        ) from error
    return total


def _existing_file(weights: str | Path) -> Path:
    if isinstance(weights, str | Path) and Path(weights).is_file():
        return Path(weights)
    raise FileNotFoundError(
        'weights must be "imagenet", None or the path of an existing file. '
        f"Received: weights={weights!r}, and there is no such file."
    )


def _build(
    entry: CatalogueEntry, input_shape: ImageShape, **options: object
) -> keras.Model:
    module, function = entry.constructor.split(":")
    constructor = getattr(importlib.import_module(module), function)
    if module == "keras.applications":
        options = {"include_top": False, "weights": None, **options}
    network = constructor(input_shape=input_shape, **entry.arguments, **options)
    # Not by the argument: EfficientNetV2 looks its blocks up by it.
    network.name = entry.name
    return network


def _build_pretrained(
    entry: CatalogueEntry, input_shape: ImageShape, **options: object
) -> keras.Model:
    if entry.name == "sample_net":
        network = _build(entry, input_shape)
        load_weights(network, SAMPLE_NET_WEIGHTS)
        return network
    try:
        return _build(entry, input_shape, weights="imagenet", **options)
    except Exception as error:
        # keras.utils.get_file raises a bare Exception where a download fails.
        if "URL fetch failure" not in str(error):
            raise
        raise ConnectionError(
            f"The ImageNet weights of {entry.name} must be downloaded once, and the "
            f'download failed: {error}. Received: weights="imagenet". Connect to a '
            "network, or give the path of a weights file."
        ) from error


def _wants_second_rescaling(network: keras.Model) -> bool:
    """Tell whether these are EfficientNet's ImageNet weights.

    They were trained with inputs divided by the square root of the standard deviation
    once more, and `keras.applications` adds that layer for weights="imagenet" only
    (tensorflow/tensorflow#49930): from a file they would be silently wrong. They are
    known by the standard deviations that stand in their `Normalization`.
    """
    if not network.name.startswith("efficientnet_b"):
        return False
    layer = next(x for x in network.layers if isinstance(x, keras.layers.Normalization))
    variance = keras.ops.convert_to_numpy(layer.weights[1]).ravel()
    return all(
        math.isclose(a, b, abs_tol=1e-3)
        for a, b in zip(variance, _IMAGENET_STDDEV_RGB, strict=True)
    )


def _with_second_rescaling(network: keras.Model) -> keras.Model:
    config = network.get_config()
    layers: list[dict[str, Any]] = config["layers"]
    at = next(i for i, x in enumerate(layers) if x["class_name"] == "Normalization")
    before, after = layers[at], layers[at + 1]
    scale = [1.0 / math.sqrt(stddev) for stddev in _IMAGENET_STDDEV_RGB]
    layer = keras.layers.Rescaling(scale, name=f"{network.name}_rescaling_imagenet")
    entry = keras.saving.serialize_keras_object(layer)
    entry |= {"name": layer.name, "inbound_nodes": after["inbound_nodes"]}
    after["inbound_nodes"] = _renamed(
        after["inbound_nodes"], {before["config"]["name"]: layer.name}
    )
    layers.insert(at + 1, entry)
    return keras.Model.from_config(config)


def _renamed(node: Any, names: Mapping[str, str]) -> Any:
    """Copy nested lists and mappings with some strings replaced."""
    if isinstance(node, Mapping):
        return {key: _renamed(value, names) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return type(node)(_renamed(value, names) for value in node)
    return names.get(node, node) if isinstance(node, str) else node
