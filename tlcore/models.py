"""Models: input contract, augmentation, backbone and head put together.

Owns `create_model`. Images enter every model as [0, 255] RGB; the backbone is frozen
and in inference mode. What to unfreeze is decided in `freezing`, what to optimise in
`training`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, is_zipfile

import keras

from tlcore.arguments import did_you_mean
from tlcore.augmentation import create_augmentation
from tlcore.backbones import (
    Backbone,
    ImageShape,
    contract_layer,
    load_backbone,
    scheme_of,
)
from tlcore.catalogue import find_entry, is_hub_handle
from tlcore.hub.handles import FORMS
from tlcore.hub.layer import HubLayer
from tlcore.hub.saved_models import TEXT, Form

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
    network = _resolve(backbone, weights, input_shape, input_contract)
    shape = _image_shape(network, input_shape)

    layers = [
        stack,
        contract_layer(input_contract or _scheme(network)),
        _frozen(network),
        *_head(_features(network, shape), num_classes, head, dropout),
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
    if not (isinstance(dropout, int | float) and 0 <= dropout < 1):
        raise ValueError(
            f"dropout must be a rate in [0, 1). Received: dropout={dropout!r}."
        )


def _augmentation(augmentation: str | keras.Layer | None) -> keras.Layer | None:
    if augmentation is None or isinstance(augmentation, keras.Layer):
        return augmentation
    return create_augmentation(augmentation)


def _resolve(
    backbone: str | Path | keras.Model | HubLayer,
    weights: str | Path | None,
    input_shape: ImageShape,
    input_contract: str | None,
) -> keras.Model | HubLayer:
    if isinstance(backbone, HubLayer):
        return backbone
    if isinstance(backbone, keras.Model):
        if not backbone.built or not hasattr(backbone, "output_shape"):
            raise ValueError(
                "A backbone of your own must be a functional or sequential model that "
                f"is built. Received: backbone={backbone.name!r}, which is not. Begin "
                "it with keras.Input((height, width, 3))."
            )
        return backbone
    if not isinstance(backbone, str | Path):
        raise ValueError(
            f"backbone must be a name of the catalogue, {FORMS}, a HubLayer or a "
            f"keras.Model. Received: backbone={backbone!r}."
        )
    backbone = str(backbone)
    if is_hub_handle(backbone):
        if weights != "imagenet":
            raise ValueError(
                "A SavedModel brings its own weights. Received: "
                f"weights={weights!r} for backbone={backbone!r}. Leave weights out."
            )
        return HubLayer(backbone)
    entry = find_entry(backbone)
    if input_contract is not None:
        raise ValueError(
            "A backbone of the catalogue brings its own input contract. Received: "
            f"input_contract={input_contract!r} for backbone={backbone!r}. Leave it "
            "out, or pass a keras.Model."
        )
    return load_backbone(entry.name, weights=weights, input_shape=input_shape)


def _scheme(network: keras.Model | HubLayer) -> str:
    if isinstance(network, HubLayer):
        return "unit"
    return scheme_of(network) or "raw"


def _own_shape(network: keras.Model | HubLayer) -> tuple[Any, ...]:
    """Return the (height, width, channels) that a network says, None where free."""
    if isinstance(network, HubLayer):
        forms = [x for x in network.input_forms if isinstance(x, Form)]
        given = next((x.shape for x in forms if x.dtype != TEXT), ())
        if not network.input_forms or given is None:
            return (None, None, 3)
    else:
        given = network.input_shape if len(network.inputs) == 1 else ()
    if len(given) != 4:
        takes = getattr(network, "input_forms", None) or network.input_shape
        described = ", ".join(map(str, takes))
        raise ValueError(
            "A backbone must take images, (n, height, width, channels). Received: "
            f"backbone {network.name!r} with input shape ({described})."
        )
    return tuple(given[1:])


def _features(
    network: keras.Model | HubLayer, shape: tuple[Any, ...]
) -> tuple[Any, ...]:
    """Return the shape of a backbone's output; it must be one, of known channels."""
    if not isinstance(network, HubLayer):
        return tuple(network.output_shape)
    features = network.compute_output_shape((None, *shape))
    several = isinstance(features, dict) or isinstance(features[0], tuple | list)
    if several:
        raise ValueError(
            "A backbone must have one output. Received: backbone "
            f"{network.name!r} with outputs {', '.join(map(str, features))}. If they "
            "have names, choose one: HubLayer(handle, output_key=...)."
        )
    if len(features) not in {2, 4} or features[-1] is None:
        raise ValueError(
            "A backbone must give (n, features) or (n, h, w, channels). Received: "
            f"backbone {network.name!r} with output shape {features}."
        )
    return tuple(features)


def _image_shape(
    network: keras.Model | HubLayer, input_shape: ImageShape
) -> tuple[Any, ...]:
    """Return (height, width, channels); what the network fixes must agree."""
    own = _own_shape(network)
    given = tuple(input_shape) if isinstance(input_shape, Sequence) else input_shape
    if None not in own and given in {own, (224, 224, 3)}:
        return tuple(own)
    fits = isinstance(given, tuple) and len(given) == len(own)
    if not fits or any(
        a is not None and a != b for a, b in zip(own, given, strict=True)
    ):
        raise ValueError(
            f"Images must have the shape that {network.name!r} takes, {own}. "
            f"Received: input_shape={given!r}."
        )
    return given


def _frozen(network: keras.Model | HubLayer) -> Backbone:
    network.trainable = False
    layer = Backbone(network)
    layer.trainable = False
    return layer


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
