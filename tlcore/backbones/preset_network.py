"""Preset network: a backbone of KerasHub as a network from images to features.

Owns the one adapter for all families, `PresetNetwork`: a functional model with one
input and one output, whose layers are those of a backbone and share its weights. Owns
the rule by which a family's tokens or maps become one tensor. `presets` finds and loads
the backbones. KerasHub is imported late: it is an extra, and it takes seconds.

The rules are those of the family's image classifier in KerasHub where it has one, else
of its paper:

- ViT, DeiT: the class token (`pooling="token"`); ViT without one: the mean of tokens.
- Swin Transformer: the mean of tokens.
- CLIP, MetaCLIP 2: the class token of the vision encoder, as its vision pooler takes
  it; MetaCLIP's last normalization follows.
- DINOv2, DINOv3: the class token, after the last normalization, as in their papers'
  linear evaluation.
- SigLIP: its own attention pooling, which is in the vision encoder.
- HGNetV2: the maps of the last stage.
- All others: their maps (n, h, w, channels); the head averages them, as KerasHub's
  classifiers do.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from tlcore.backbones.tokens import TokenPooling

INSTALL = 'pip install "tlcore[keras-hub]"'

_FIRST, _MEAN = "first", "mean"
_TOKEN_RULES: Mapping[str, str] = {
    "ViTBackbone": _FIRST,
    "DeiTBackbone": _FIRST,
    "SwinTransformerBackbone": _MEAN,
    "CLIPVisionEncoder": _FIRST,
    "MetaCLIP2VisionEncoder": _FIRST,
    "DINOV2Backbone": _FIRST,
    "DINOV3Backbone": _FIRST,
}
"""What becomes of (n, tokens, features), by class; the sources are above."""

_MAP_FAMILIES = (
    "CSPNetBackbone",
    "DenseNetBackbone",
    "EfficientNetBackbone",
    "HGNetV2Backbone",
    "MiTBackbone",
    "MobileNetBackbone",
    "MobileNetV5Backbone",
    "ResNetBackbone",
    "VGGBackbone",
    "XceptionBackbone",
)
_TWO_TOWERS = ("CLIPBackbone", "MetaCLIP2Backbone", "SigLIPBackbone")
"""Of images and text; their vision encoder is the backbone."""

IMAGE_FAMILIES = (
    *(name for name in _TOKEN_RULES if name.endswith("Backbone")),
    *_TWO_TOWERS,
    *_MAP_FAMILIES,
)
"""Classes of `keras_hub.models` whose presets can be backbones."""


class UnfitError(ValueError):
    """A backbone that is whole, but that no network from images can be made of."""


def import_keras_hub() -> Any:
    """Return the package KerasHub.

    Raises:
        ValueError: it is not installed.
    """
    try:
        import keras_hub
    except ModuleNotFoundError as error:
        if error.name != "keras_hub":
            raise
        raise ValueError(
            "A preset needs the package KerasHub. Received: no keras-hub in this "
            f"Python. Run: {INSTALL}"
        ) from error
    return keras_hub


def is_keras_hub_backbone(network: object) -> bool:
    """Return whether a network is a `keras_hub.models.Backbone`; loads nothing.

    Example:
        >>> is_keras_hub_backbone(keras.Sequential())
        False
    """
    kinds = (f"{kind.__module__}.{kind.__name__}" for kind in type(network).__mro__)
    return "keras_hub.src.models.backbone.Backbone" in kinds


def adapted(
    backbone: Any,
    *,
    input_shape: tuple[int, int, int],
    converter: Any = None,
    name: str | None = None,
) -> "PresetNetwork":
    """Return a backbone of KerasHub as a network from images to features.

    Args:
        backbone: a `keras_hub.models.Backbone` of images, or of images and text.
        input_shape: (height, width, 3) of the images, where the backbone leaves its
            own open.
        converter: a `keras_hub.layers.ImageConverter`, whose scale and offset become
            the first layer; None leaves the images as they are.
        name: the network's name; by default the backbone's.

    Raises:
        ValueError: the backbone does not take images, or KerasHub's way from its
            output to a feature vector is not known here.
    """
    kind = type(backbone).__name__
    return PresetNetwork(
        tower_of(backbone),
        input_shape=input_shape,
        scale=_plain(getattr(converter, "scale", None)),
        offset=_plain(getattr(converter, "offset", None)),
        last=backbone.vision_post_layer_norm if kind == "MetaCLIP2Backbone" else None,
        name=name or backbone.name,
    )


def tower_of(backbone: Any) -> Any:
    """Return the part of a backbone that takes images, the whole one where it is that.

    Raises:
        UnfitError: it does not take images alone.
    """
    has_two = type(backbone).__name__ in _TWO_TOWERS
    tower = backbone.vision_encoder if has_two else backbone
    shape = tuple(tower.inputs[0].shape)[1:]
    if len(tower.inputs) != 1 or len(shape) != 3 or shape[-1] != 3:
        taken = ", ".join(f"{x.name} {tuple(x.shape)}" for x in tower.inputs)
        raise UnfitError(
            "A backbone must take RGB images alone, (n, height, width, 3). Received: "
            f"{type(tower).__name__}, which takes {taken}. "
            "`tlcore backbones --presets` lists those that do."
        )
    return tower


@keras.saving.register_keras_serializable(package="tlcore")
class PresetNetwork(keras.Model):
    """A backbone of KerasHub as a functional model with one input and one output.

    Its layers are those of the backbone, in its order, with the same weights. The
    blocks of an encoder are layers of their own, so that the last ones can be unfrozen;
    those of DeiT and the stages of Swin are not.

    Args:
        tower: the backbone, of images alone.
        input_shape: (height, width, 3) of the images, where the tower leaves its own
            open.
        scale: what images are multiplied by, one number or one per channel.
        offset: what is added then.
        last: a layer after the pooling.
        name: the network's name.
    """

    def __init__(
        self,
        tower: Any,
        *,
        input_shape: Sequence[int],
        scale: Any = None,
        offset: Any = None,
        last: keras.Layer | None = None,
        name: str | None = None,
    ) -> None:
        shape = _image_shape(tower, input_shape)
        images = keras.Input(shape, name=tower.inputs[0].name)
        called = _Calls(images, _converted(images, scale, offset))
        # The same layers, called once more: they share their weights.
        graph = keras.models.clone_model(
            tower,
            input_tensors=keras.tree.map_structure(lambda _: images, tower.input),
            clone_function=_same,
            call_function=called,
        )
        features = _pooled(tower, graph.output)
        features = features if last is None else last(features)
        super().__init__(inputs=images, outputs=features, name=name)
        if called.opened:
            _check_same(tower, graph, lambda image: _converted(image, scale, offset))
        # As text: Keras would track what a mapping holds.
        self._described = json.dumps(
            {
                "tower": keras.saving.serialize_keras_object(tower),
                "input_shape": list(shape),
                "scale": scale,
                "offset": offset,
                "last": last and keras.saving.serialize_keras_object(last),
            }
        )

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of `from_config`: not layers, but KerasHub's own words.

        Some layers of KerasHub cannot be made from their configurations; its backbones
        can.
        """
        return {
            **json.loads(self._described),
            "name": self.name,
            "flags": [layer.trainable for layer in _layers_of(self)],
        }

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: Any = None
    ) -> "PresetNetwork":
        """Return the network that `get_config` describes, with new weights."""
        import_keras_hub()  # it registers its classes
        config = dict(config)
        flags = config.pop("flags")
        for part in ("tower", "last"):
            config[part] = config[part] and keras.saving.deserialize_keras_object(
                config[part], custom_objects=custom_objects
            )
        network = cls(config.pop("tower"), **config)
        for layer, flag in zip(_layers_of(network), flags, strict=True):
            layer.trainable = flag
        return network


def _layers_of(network: keras.Model) -> list[keras.Layer]:
    """Return the network and all layers in it, parents first."""
    return list(network._flatten_layers())  # noqa: SLF001 - Keras has no public name


def _same(layer: keras.Layer) -> keras.Layer:
    return layer


def _image_shape(tower: Any, input_shape: Sequence[int]) -> tuple[int, ...]:
    own = tuple(tower.inputs[0].shape)[1:]
    return tuple(
        a if a is not None else b for a, b in zip(own, input_shape, strict=True)
    )


def _converted(images: Any, scale: Any, offset: Any) -> Any:
    if scale is None and offset is None:
        return images
    # float32 also under mixed precision: float16 rounds pixels above 128 to eighths.
    layer = keras.layers.Rescaling(
        1.0 if scale is None else scale,
        0.0 if offset is None else offset,
        name="image_converter",
        dtype="float32",
    )
    return layer(images)


def _plain(number: Any) -> Any:
    """Return a number, or a list of one per channel, as configurations hold it."""
    return None if number is None else np.asarray(number, "float64").tolist()


def _pooled(tower: Any, output: Any) -> Any:
    kind = type(tower).__name__
    if isinstance(output, Mapping):
        if kind != "HGNetV2Backbone":
            raise _no_rule(kind, ", ".join(map(str, output)))
        output = output[max(output, key=lambda name: (len(name), name))]
    if len(output.shape) == 3:
        rule = _TOKEN_RULES.get(kind)
        if rule is None:
            raise _no_rule(kind, tuple(output.shape))
        if not getattr(tower, "use_class_token", True):
            rule = _MEAN
        return TokenPooling(rule)(output)
    if len(output.shape) not in {2, 4}:
        raise _no_rule(kind, tuple(output.shape))
    return output


def _no_rule(kind: str, output: object) -> UnfitError:
    return UnfitError(
        "A backbone of KerasHub must be of a family whose pooling is known: "
        f"{', '.join(IMAGE_FAMILIES)}. Received: {kind} with output {output}. Pool it "
        "yourself: keras.Model(backbone.inputs, features) is a backbone of your own."
    )


class _Calls:
    """How layers are called again in the new graph: encoders block by block.

    Args:
        images: the input of the new graph.
        converted: what layers get in its place.

    Attributes:
        opened: whether an encoder was replaced by its blocks.
    """

    def __init__(self, images: Any, converted: Any) -> None:
        self.opened = False
        self._images, self._converted = images, converted

    def __call__(self, layer: keras.Layer, *args: Any, **kwargs: Any) -> Any:
        args, kwargs = keras.tree.map_structure(self._in_place, (args, kwargs))
        opener = _OPENERS.get(type(layer).__name__)
        if opener is None:
            return layer(*args, **kwargs)
        self.opened = True
        return opener(layer, *args, **kwargs)

    def _in_place(self, value: Any) -> Any:
        return self._converted if value is self._images else value


def _open_vit(encoder: Any, tokens: Any, **_: Any) -> Any:
    for block in (encoder.dropout, *encoder.encoder_layers, encoder.layer_norm):
        tokens = block(tokens)
    return tokens


def _open_dino(encoder: Any, tokens: Any, **kwargs: Any) -> Any:
    given = {name: value for name, value in kwargs.items() if name != "training"}
    stages = {}
    for number, block in enumerate(encoder.layers, start=1):
        tokens = block(tokens, **given)
        stages[f"stage{number}"] = tokens
    return tokens, stages


_OPENERS: Mapping[str, Callable[..., Any]] = {
    "ViTEncoder": _open_vit,
    "DINOV2Encoder": _open_dino,
    "DINOV3Encoder": _open_dino,
}
"""Encoders that are one layer in KerasHub, and how their blocks are called in turn.

Not DeiT's: its blocks also return None, which no functional model can hold.
"""


def _check_same(
    tower: Any, graph: keras.Model, converted: Callable[[Any], Any]
) -> None:
    """Refuse an encoder that another version of KerasHub calls in another way."""
    shape = (1, *graph.inputs[0].shape[1:])
    image = np.random.default_rng(0).uniform(0, 255, shape).astype("float32")
    given = converted(image)
    theirs = tower(keras.tree.map_structure(lambda _: given, tower.input))
    ours = graph(keras.tree.map_structure(lambda _: image, graph.input))
    pairs = zip(keras.tree.flatten(theirs), keras.tree.flatten(ours), strict=True)
    arrays = ([keras.ops.convert_to_numpy(x) for x in pair] for pair in pairs)
    if not all(np.allclose(a, b, rtol=1e-3, atol=1e-3) for a, b in arrays):
        import keras_hub

        raise UnfitError(
            f"The blocks of {type(tower).__name__} must give what KerasHub's own call "
            f"gives. Received: keras-hub {keras_hub.__version__}, where they do not. "
            "Install another version of keras-hub, and report this one."
        )
