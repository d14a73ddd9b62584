"""Loading: the networks of the catalogue, with weights from where the user has them.

Owns building a backbone without its top, or a classifier with it, ImageNet weights by
name or from a file, and the second rescaling that EfficientNet's ImageNet weights need.
"""

import importlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras

from tlcore.backbones.catalogue import CatalogueEntry, find_entry
from tlcore.backbones.input_contract import IMAGENET_STDDEV_RGB
from tlcore.backbones.sample_net import SAMPLE_NET_WEIGHTS
from tlcore.backbones.weights import existing_file, load_weights

ImageShape = tuple[int, int, int]
"""(height, width, channels) of one image."""


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


def _read(network: keras.Model, weights: str | Path) -> keras.Model:
    path = existing_file(weights)
    load_weights(network, path)
    if _wants_second_rescaling(network):
        network = _with_second_rescaling(network)
        load_weights(network, path)
    return network


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
        for a, b in zip(variance, IMAGENET_STDDEV_RGB, strict=True)
    )


def _with_second_rescaling(network: keras.Model) -> keras.Model:
    config = network.get_config()
    layers: list[dict[str, Any]] = config["layers"]
    at = next(i for i, x in enumerate(layers) if x["class_name"] == "Normalization")
    before, after = layers[at], layers[at + 1]
    scale = [1.0 / math.sqrt(stddev) for stddev in IMAGENET_STDDEV_RGB]
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
