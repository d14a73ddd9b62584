"""Models: input contract, augmentation, backbone and head put together.

Owns `create_model`. Images enter every model as [0, 255] RGB; the backbone is frozen
and in inference mode. What to unfreeze is decided in `freezing`, what to optimise in
`training`.
"""

from pathlib import Path
from typing import Any
from zipfile import BadZipFile, is_zipfile

import keras

from tlcore.arguments import require_one_of, require_whole
from tlcore.augmentation import create_augmentation
from tlcore.backbones.input_contract import contract_layer
from tlcore.backbones.loading import ImageShape
from tlcore.backbones.sources import (
    feature_shape,
    frozen_backbone,
    image_shape,
    input_scheme,
    resolve_backbone,
)
from tlcore.hub.layer import HubLayer

HEADS = ("pool", "dense")
STYLES = ("functional", "sequential")
DENSE_UNITS = 256
"""Width of the hidden layer of the "dense" head, as in the VGG16 tutorial."""


def create_model(
    backbone: str | Path | keras.Model | HubLayer,
    num_classes: int,
    *,
    weights: str | Path | None = "imagenet",
    input_shape: ImageShape = (224, 224, 3),
    augmentation: str | keras.Layer | None = None,
    head: str = "pool",
    dropout: float = 0.0,
    style: str = "functional",
    input_contract: str | None = None,
) -> keras.Model:
    """Return a model with a frozen backbone in inference mode and a new head.

    Args:
        backbone: a name of the catalogue; a handle of TF Hub or the folder of a
            SavedModel, as `HubLayer` takes it, or such a layer; or a network of your
            own whose output is (n, h, w, channels) or (n, features).
        num_classes: outputs; 1 is binary (one sigmoid), else softmax over them.
        weights: for a name: "imagenet", None or a file, as `load_backbone` takes it.
            A SavedModel brings its own.
        input_shape: (height, width, 3) of the images; a network of your own brings
            its own where that is fixed.
        augmentation: None, "tutorial", "photometric", "generator" or a layer; active
            in training only.
        head: "pool" (global average pooling, Dense) or "dense" (Flatten, Dense(256),
            Dense).
        dropout: rate of the Dropout before the last Dense, in [0, 1); 0 leaves it out.
        style: "functional" or "sequential"; the same layers either way.
        input_contract: what a network of your own expects: "raw", "signed", "unit",
            "caffe" or "torch", as `InputContract` explains them. None goes by its
            name, as this package and `keras.applications` give it; under any other
            name it sees [0, 255] RGB. A SavedModel sees [0, 1], as TF Hub's image
            models expect.

    Returns:
        The model, (n, height, width, 3) in [0, 255] in, float32 probabilities
        (n, num_classes) out, not compiled.

    Raises:
        ValueError: a name, number or shape that is none of the above.
        FileNotFoundError: there is no such weights file or SavedModel.
        ConnectionError: weights or a SavedModel could not be downloaded.
    """
    _check(num_classes, head, dropout, style)
    stack = _augmentation(augmentation)  # first, as in the model: seeds count on it
    network = resolve_backbone(backbone, weights, input_shape, input_contract)
    shape = image_shape(network, input_shape)

    layers = [
        stack,
        contract_layer(input_contract or input_scheme(network)),
        frozen_backbone(network),
        *_head(feature_shape(network, shape), num_classes, head, dropout),
    ]
    stages = [layer for layer in layers if layer is not None]

    inputs = keras.Input(shape, name="image", dtype="float32")
    if style == "sequential":
        return keras.Sequential([inputs, *stages], name="transfer_model")
    outputs = inputs
    for stage in stages:
        outputs = stage(outputs)
    return keras.Model(inputs, outputs, name="transfer_model")


def load_model(path: str | Path) -> keras.Model:
    """Return a model that was saved as a `.keras` file, compiled as it was.

    `keras.saving.load_model` alone does not know the layers of this package before
    they were imported.

    Args:
        path: what `model.save(path)` or a run wrote.

    Raises:
        ValueError: the file is none of Keras 3's, or is damaged.
        FileNotFoundError: there is no such file, or the SavedModel of its backbone is
            not where it was.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            "path must be a saved model, a .keras file. "
            f"Received: path={str(path)!r}, and there is no such file."
        )
    if not is_zipfile(path):
        raise ValueError(
            "path must be a whole .keras file. "
            f"Received: path={str(path)!r}, which is none, or damaged."
        )
    try:
        return keras.saving.load_model(path)
    except FileNotFoundError:
        raise  # of the SavedModel within: it says where it must be
    except (ValueError, TypeError, KeyError, OSError, BadZipFile) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(
            "path must be a whole .keras file of this version of Keras. "
            f"Received: path={str(path)!r}, which cannot be read: {reason}"
        ) from error


def _check(num_classes: int, head: str, dropout: float, style: str) -> None:
    require_whole("num_classes", num_classes, least=1, meaning=" (binary)")
    require_one_of("head", head, HEADS)
    require_one_of("style", style, STYLES)
    if not (isinstance(dropout, int | float) and 0 <= dropout < 1):
        raise ValueError(
            f"dropout must be a rate in [0, 1). Received: dropout={dropout!r}."
        )


def _augmentation(augmentation: str | keras.Layer | None) -> keras.Layer | None:
    if augmentation is None or isinstance(augmentation, keras.Layer):
        return augmentation
    return create_augmentation(augmentation)


def _head(
    features: tuple[Any, ...], num_classes: int, head: str, dropout: float
) -> list[keras.Layer]:
    layers = keras.layers
    pooled = len(features) == 2
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
