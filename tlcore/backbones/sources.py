"""Sources: a name, handle, layer or model as one frozen `Backbone`.

Owns which of these a user passed, the shape of its images and of its features, and the
input contract it expects. `loading` builds what has a name in the catalogue; `models`
adds augmentation and head.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

from tlcore.backbones.catalogue import find_entry, is_hub_handle, is_preset_handle
from tlcore.backbones.inference import Backbone
from tlcore.backbones.input_contract import scheme_of
from tlcore.backbones.loading import ImageShape, load_backbone
from tlcore.backbones.preset_names import PREFIX
from tlcore.backbones.preset_network import adapted, is_keras_hub_backbone
from tlcore.backbones.presets import load_preset
from tlcore.hub.handles import FORMS
from tlcore.hub.layer import HubLayer
from tlcore.hub.saved_models import TEXT, Form


def resolve_backbone(
    backbone: str | Path | keras.Model | HubLayer,
    weights: str | Path | None,
    input_shape: ImageShape,
    input_contract: str | None,
) -> keras.Model | HubLayer:
    """Return the network that `create_model` received, built where it is a name.

    Args:
        backbone: as `create_model` takes it, like all arguments.
        weights: of a name of the catalogue.
        input_shape: of a name of the catalogue.
        input_contract: of a model of the user's own, or a backbone object of KerasHub.

    Raises:
        ValueError: it is not one that `create_model` takes, or weights or a contract
            are given for a backbone that brings its own.
        FileNotFoundError: there is no such weights file or SavedModel.
        ConnectionError: weights, a SavedModel or a preset could not be downloaded.

    Example:
        >>> resolve_backbone("sample_net", None, (32, 32, 3), None).name
        'sample_net'
    """
    if isinstance(backbone, HubLayer):
        return backbone
    if is_keras_hub_backbone(backbone):
        return _adapted_object(backbone, input_shape, input_contract)
    if isinstance(backbone, keras.Model):
        if not backbone.built or not hasattr(backbone, "output_shape"):
            raise ValueError(
                "A backbone of your own must be a functional or sequential model that "
                f"is built. Received: backbone={backbone.name!r}, which is not. Make "
                "keras.Input((height, width, 3)) its first layer."
            )
        return backbone
    if not isinstance(backbone, str | Path):
        raise ValueError(
            f"backbone must be a name of the catalogue, {FORMS}, a preset of KerasHub "
            f"({PREFIX}NAME), a HubLayer or a keras.Model. Received: "
            f"backbone={backbone!r}. `list_backbones` returns the names."
        )
    backbone = str(backbone)
    if is_hub_handle(backbone):
        if weights != "imagenet":
            raise ValueError(
                "A SavedModel brings its own weights. Received: "
                f"weights={weights!r} for backbone={backbone!r}. Leave weights out."
            )
        return HubLayer(backbone)
    if is_preset_handle(backbone):
        return _preset(backbone, weights, input_shape, input_contract)
    entry = find_entry(backbone)
    if input_contract is not None:
        raise ValueError(
            "A backbone of the catalogue brings its own input contract. Received: "
            f"input_contract={input_contract!r} for backbone={backbone!r}. Leave it "
            "out, or pass a keras.Model."
        )
    return load_backbone(entry.name, weights=weights, input_shape=input_shape)


def _preset(
    backbone: str,
    weights: str | Path | None,
    input_shape: ImageShape,
    input_contract: str | None,
) -> keras.Model:
    """Return a preset of KerasHub as a network from [0, 255] RGB to features."""
    if weights not in {"imagenet", None}:
        raise ValueError(
            "A preset brings its own weights. Received: "
            f"weights={str(weights)!r} for backbone={backbone!r}. Leave weights out, "
            "or give None for random ones."
        )
    if input_contract is not None:
        raise ValueError(
            "A preset brings its own image converter. Received: "
            f"input_contract={input_contract!r} for backbone={backbone!r}. Leave it "
            "out."
        )
    pretrained = weights is not None
    return load_preset(backbone, pretrained=pretrained, input_shape=input_shape)


def _adapted_object(
    backbone: Any, input_shape: ImageShape, input_contract: str | None
) -> keras.Model:
    """Return a backbone of KerasHub as a network; its images are the caller's word."""
    if input_contract is None:
        raise ValueError(
            "The range of a KerasHub backbone's images must be given, because only its "
            f"preset's image converter knows it. Received: backbone={backbone.name!r} "
            f"({type(backbone).__name__}) without input_contract. Write input_contract="
            '"signed" for [-1, 1], for example, or pass the preset: '
            f'"{PREFIX}NAME".'
        )
    return adapted(backbone, input_shape=input_shape)


def input_scheme(network: keras.Model | HubLayer) -> str:
    """Return the input contract's scheme of a network, "raw" where it is not known."""
    if isinstance(network, HubLayer):
        return "unit"  # the convention of TF Hub for images
    return scheme_of(network) or "raw"


def _own_shape(network: keras.Model | HubLayer) -> tuple[Any, ...]:
    """Return the (height, width, channels) a network takes, None where any will do."""
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
            f"backbone={network.name!r} with input shape ({described})."
        )
    return tuple(given[1:])


def feature_shape(
    network: keras.Model | HubLayer, shape: tuple[Any, ...]
) -> tuple[Any, ...]:
    """Return the shape of a backbone's output for images of `shape`.

    Raises:
        ValueError: it has several outputs, or one of another rank than 2 or 4, or of an
            unknown number of channels.
    """
    if not isinstance(network, HubLayer):
        return tuple(network.output_shape)
    features = network.compute_output_shape((None, *shape))
    several = isinstance(features, dict) or isinstance(features[0], tuple | list)
    if several:
        raise ValueError(
            "A backbone must have one output. Received: "
            f"backbone={network.name!r} with outputs {', '.join(map(str, features))}. "
            "If they have names, choose one: HubLayer(handle, output_key=...)."
        )
    if len(features) not in {2, 4} or features[-1] is None:
        raise ValueError(
            "A backbone must return (n, features) or (n, h, w, channels). Received: "
            f"backbone={network.name!r} with output shape {features}."
        )
    return tuple(features)


def image_shape(
    network: keras.Model | HubLayer, input_shape: ImageShape
) -> tuple[Any, ...]:
    """Return the (height, width, channels) of a model's images.

    Raises:
        ValueError: `input_shape` contradicts a size that the network fixes.
    """
    own = _own_shape(network)
    given = tuple(input_shape) if isinstance(input_shape, Sequence) else input_shape
    # 224 x 224 is the default of `create_model`: a network of a fixed size replaces it.
    if None not in own and given in {own, (224, 224, 3)}:
        return tuple(own)
    fits = isinstance(given, tuple) and len(given) == len(own)
    if not fits or any(
        a is not None and a != b for a, b in zip(own, given, strict=True)
    ):
        raise ValueError(
            f"Images must have the shape that {network.name!r} takes, {own}. "
            f"Received: input_shape={given!r}. Leave input_shape out to use its own."
        )
    return given


def frozen_backbone(network: keras.Model | HubLayer) -> Backbone:
    """Return a network as a frozen layer that runs in inference mode."""
    network.trainable = False
    layer = Backbone(network)
    layer.trainable = False
    return layer
