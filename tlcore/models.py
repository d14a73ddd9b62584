"""Models: input contract, augmentation, backbone and head put together.

Owns `create_model`. Images enter every model as [0, 255] RGB; the backbone is frozen
and in inference mode. What to unfreeze is decided in `freezing`, what to optimise in
`training`.
"""

from pathlib import Path
from typing import Any

import keras

from tlcore.augmentation import create_augmentation
from tlcore.backbones import (
    Backbone,
    ImageShape,
    contract_layer,
    contract_of,
    load_backbone,
)
from tlcore.catalogue import CATALOGUE, did_you_mean, find_entry

HEADS = ("pool", "dense")
STYLES = ("functional", "sequential")
DENSE_UNITS = 256
"""Width of the hidden layer of the "dense" head, as in the VGG16 tutorial."""


def create_model(
    backbone: str | keras.Model,
    num_classes: int,
    *,
    weights: str | Path | None = "imagenet",
    input_shape: ImageShape = (224, 224, 3),
    augmentation: str | keras.Layer | None = None,
    head: str = "pool",
    dropout: float = 0.0,
    style: str = "functional",
) -> keras.Model:
    """Return a model with a frozen backbone in inference mode and a new head.

    Args:
        backbone: a name of the catalogue, or a network of your own whose output is
            (n, h, w, channels) or (n, features). A network that carries the name of a
            catalogue entry gets that input contract, any other sees [0, 255] RGB.
        num_classes: outputs; 1 is binary (one sigmoid), else softmax over them.
        weights: for a name: "imagenet", None or a file, as `load_backbone` takes it.
        input_shape: (height, width, 3) of the images; a network of your own brings
            its own where that is fixed.
        augmentation: None, "tutorial", "photometric", "generator" or a layer; active
            in training only.
        head: "pool" (global average pooling, Dense) or "dense" (Flatten, Dense(256),
            Dense).
        dropout: rate of the Dropout before the last Dense, in [0, 1); 0 leaves it out.
        style: "functional" or "sequential"; the same layers either way.

    Returns:
        The model: (n, height, width, 3) in [0, 255] in, float32 probabilities
        (n, num_classes) out, not compiled.

    Raises:
        ValueError: a name, number or shape that is none of the above.
        FileNotFoundError: there is no such weights file.
        ConnectionError: "imagenet" was asked for and could not be downloaded.
    """
    _check(num_classes, head, dropout, style)
    if isinstance(augmentation, str):
        augmentation = create_augmentation(augmentation)
    network = _resolve(backbone, weights, input_shape)
    shape = _image_shape(network, input_shape)

    contract = contract_of(network)
    layers = [
        augmentation,
        contract_layer(contract) if contract else None,
        _frozen(network),
        *_head(network, num_classes, head, dropout),
    ]
    stages = [layer for layer in layers if layer is not None]

    inputs = keras.Input(shape, name="image", dtype="float32")
    if style == "sequential":
        return keras.Sequential([inputs, *stages], name="transfer_model")
    outputs = inputs
    for stage in stages:
        outputs = stage(outputs)
    return keras.Model(inputs, outputs, name="transfer_model")


def _check(num_classes: int, head: str, dropout: float, style: str) -> None:
    if isinstance(num_classes, bool) or not isinstance(num_classes, int):
        raise ValueError(
            "num_classes must be a whole number, 1 for binary. "
            f"Received: num_classes={num_classes!r}."
        )
    if num_classes < 1:
        raise ValueError(
            "num_classes must be at least 1 (binary). "
            f"Received: num_classes={num_classes}."
        )
    for name, value, valid in (("head", head, HEADS), ("style", style, STYLES)):
        if value not in valid:
            raise ValueError(
                f"{name} must be one of: {', '.join(valid)}. "
                f"Received: {name}={value!r}.{did_you_mean(value, valid)}"
            )
    if not 0 <= dropout < 1:
        raise ValueError(
            f"dropout must be a rate in [0, 1). Received: dropout={dropout!r}."
        )


def _resolve(
    backbone: str | keras.Model, weights: str | Path | None, input_shape: ImageShape
) -> keras.Model:
    if isinstance(backbone, keras.Model):
        return backbone
    if not isinstance(backbone, str):
        raise ValueError(
            "backbone must be a name of the catalogue or a keras.Model. "
            f"Received: backbone={backbone!r}."
        )
    if backbone not in CATALOGUE and ("/" in backbone or Path(backbone).is_dir()):
        raise ValueError(
            "TF Hub models cannot be loaded in this version. "
            f"Received: backbone={backbone!r}. Use a backbone of the catalogue: "
            f"{', '.join(CATALOGUE)}."
        )
    entry = find_entry(backbone)
    return load_backbone(entry.name, weights=weights, input_shape=input_shape)


def _image_shape(network: keras.Model, input_shape: ImageShape) -> tuple[Any, ...]:
    """Return (height, width, channels); what the network fixes must agree."""
    own: tuple[Any, ...] = network.input_shape[1:]
    if len(own) != 3:
        raise ValueError(
            "A backbone must take images, (n, height, width, channels). Received: "
            f"backbone {network.name!r} with input shape {network.input_shape}."
        )
    fixed = tuple(n for n in own if n is not None)
    if len(fixed) == len(own) and tuple(input_shape) in {own, (224, 224, 3)}:
        return own
    if any(a is not None and a != b for a, b in zip(own, input_shape, strict=True)):
        raise ValueError(
            f"Images must have the shape that {network.name!r} takes, {own}. "
            f"Received: input_shape={tuple(input_shape)!r}."
        )
    return tuple(input_shape)


def _frozen(network: keras.Model) -> Backbone:
    network.trainable = False
    layer = Backbone(network)
    layer.trainable = False
    return layer


def _head(
    network: keras.Model, num_classes: int, head: str, dropout: float
) -> list[keras.Layer]:
    layers = keras.layers
    pooled = len(network.output_shape) == 2
    stages: list[keras.Layer] = []
    if head == "pool" and not pooled:
        stages.append(layers.GlobalAveragePooling2D(name="pool"))
    if head == "dense":
        stages.append(layers.Flatten(name="flatten"))
        stages.append(layers.Dense(DENSE_UNITS, activation="relu", name="hidden"))
    if dropout:
        stages.append(layers.Dropout(dropout, name="dropout"))
    activation = "sigmoid" if num_classes == 1 else "softmax"
    # Probabilities stay float32 under mixed precision, as Keras's guide asks for.
    stages.append(
        layers.Dense(
            num_classes, activation=activation, dtype="float32", name="classifier"
        )
    )
    return stages
