"""Loading: the networks of the catalogue, with downloaded, packaged or own weights.

Owns building a backbone without its top or a classifier with it, ImageNet weights by
name or from a file, and the second rescaling that EfficientNet's ImageNet weights need.
Reading a file into a network is in `weights`, what each network is in `catalogue`.
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
from tlcore.backbones.weight_files import weight_file, weights_kept_by_keras
from tlcore.backbones.weights import (
    HDF5_DAMAGE,
    damaged_weights,
    existing_file,
    load_weights,
)

ImageShape = tuple[int, int, int]
"""(height, width, channels) of one image."""


def load_backbone(
    name: str,
    *,
    weights: str | Path | None = "imagenet",
    input_shape: ImageShape = (224, 224, 3),
) -> keras.Model:
    """Return a backbone of the catalogue without its top, as Keras builds it.

    Args:
        name: one of `list_backbones()`.
        weights: "imagenet" (downloaded once by Keras; those of `sample_net` are part
            of this package), None for random ones, or the path of a `.weights.h5` or
            Keras `.h5` file of this network without top.
        input_shape: (height, width, 3) of the images, in pixels.

    Returns:
        The network, from (n, height, width, 3) to (n, h, w, channels). It expects
        images under its input contract, `CATALOGUE[name].contract`; `create_model`
        puts the layer for that in front of it.

    Raises:
        ValueError: the name is unknown, the network cannot take images of this shape,
            or the file, given or kept by Keras, does not hold the weights of this
            network.
        FileNotFoundError: there is no such weights file.
        ConnectionError: the ImageNet weights could not be downloaded.

    Example:
        >>> backbone = tl.load_backbone("sample_net", input_shape=(32, 32, 3))
        >>> backbone.output_shape, backbone.count_params()
        ((None, 2, 2, 128), 110128)
    """
    entry = find_entry(name)
    check_image_shape(input_shape, entry)
    if weights is None:
        return _build(entry, input_shape)
    if weights == "imagenet":
        return _build_pretrained(entry, input_shape)
    return _read(_build(entry, input_shape), weights)


def load_classifier(name: str, *, weights: str | Path = "imagenet") -> keras.Model:
    """Return a backbone of the catalogue with its top of 1,000 classes.

    Args:
        name: one of `list_backbones()` except `sample_net`, which has no top.
        weights: "imagenet" or the path of a weights file of this network with top.

    Returns:
        The network, from images (n, size, size, 3) under its input contract, of the
        contract's size, to probabilities (n, 1000).

    Raises:
        ValueError: the network has no top, or the file does not hold its weights.
        FileNotFoundError: there is no such weights file.
        ConnectionError: the ImageNet weights could not be downloaded.
    """
    entry = find_entry(name)
    if not entry.constructor.startswith("keras.applications"):
        raise ValueError(
            "A backbone must have a top to classify images by itself. Received: "
            f"backbone={name!r}, which has no top. Train a head with `tlcore run`."
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
            "input_shape must be (height, width, 3), whole numbers of pixels. "
            f"Received: input_shape={input_shape!r}. Write input_shape=(224, 224, 3)."
        )
    height, width, channels = shape
    if channels != 3:
        raise ValueError(
            "Images must have 3 channels (RGB); image folders convert grey images. "
            f"Received: input_shape={shape!r}. Use input_shape=({height}, {width}, 3)."
        )
    least = entry.contract.min_size
    if min(height, width) < least:
        raise ValueError(
            f"{entry.name} requires images of at least {least} x {least} pixels. "
            f"Received: input_shape={shape!r}. Use larger images; its weights were "
            f"trained at {entry.contract.size} x {entry.contract.size}."
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
    # Not by the argument `name`: EfficientNetV2 looks up the sizes of its blocks by it.
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
    except HDF5_DAMAGE as error:
        # Keras names no file where one that it keeps is damaged, and never downloads it
        # again.
        raise _unreadable(entry, error) from error
    except Exception as error:
        # keras.utils.get_file raises a plain Exception where a download fails.
        if "URL fetch failure" not in str(error):
            raise
        top = bool(options.get("include_top"))
        name = weight_file(entry.name, input_shape=input_shape, top=top).name
        kept = weights_kept_by_keras() / name
        raise ConnectionError(
            f"The ImageNet weights of {entry.name} must be downloaded once. Received: "
            f'weights="imagenet", and the download failed: {error}. Connect to a '
            f"network, or bring the file from elsewhere and save it as {str(kept)!r} "
            "(`tlcore backbones --files` lists addresses and checksums), or pass the "
            "path of a weights file."
        ) from error


def _unreadable(entry: CatalogueEntry, error: Exception) -> ValueError:
    folder = weights_kept_by_keras()
    damaged = [repr(str(file)) for file in damaged_weights(folder)]
    where = ", ".join(damaged) or f"the files of {entry.name} in {str(folder)!r}"
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    return ValueError(
        f"The ImageNet weights of {entry.name} must be whole files. Received: "
        f'weights="imagenet", and Keras cannot read what it keeps in {where}: '
        f"{reason}. Delete {'it' if len(damaged) == 1 else 'them'}; the weights are "
        "downloaded again."
    )


def _wants_second_rescaling(network: keras.Model) -> bool:
    """Return whether a network has EfficientNet's ImageNet weights.

    These weights were trained on inputs divided once more by the square root of the
    standard deviation. `keras.applications` adds the layer for that only where weights
    is "imagenet" (tensorflow/tensorflow#49930): read from a file, they would be
    silently wrong. They are recognized by ImageNet's standard deviations, which they
    hold as variances of their `Normalization`.
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
    """Return an EfficientNet with a second `Rescaling` after its `Normalization`."""
    # Keras cannot insert a layer into a functional model, but its configuration can
    # be edited.
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
