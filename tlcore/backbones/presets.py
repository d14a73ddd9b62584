"""Presets: image backbones of KerasHub by name, address or folder.

Owns finding and loading a preset with its image converter, and the errors for what
cannot be found, downloaded or used. The converter's scale and offset become the first
layer of the network, so that it takes RGB images in [0, 255]; images have their size
already, so that it resizes nothing. What a backbone becomes is in `preset_network`.
"""

import re
from pathlib import Path
from typing import Any

from tlcore.arguments import did_you_mean
from tlcore.backbones.preset_names import PREFIX, preset_of
from tlcore.backbones.preset_network import (
    IMAGE_FAMILIES,
    PresetNetwork,
    UnfitError,
    adapted,
    import_keras_hub,
    tower_of,
)

_ANY_SIZE = ("DINOV2Backbone", "DINOV3Backbone")
"""Transformers whose position embeddings fit images of any size."""


def list_presets() -> tuple[dict[str, Any], ...]:
    """Return the presets of KerasHub that can be backbones: name, family, parameters.

    Raises:
        ValueError: KerasHub is not installed.
    """
    models = import_keras_hub().models
    families = {name: getattr(models, name, None) for name in IMAGE_FAMILIES}
    return tuple(
        {
            "name": f"{PREFIX}{preset}",
            "family": name.removesuffix("Backbone"),
            "params": about.get("metadata", {}).get("params"),
        }
        for name, family in families.items()
        if family is not None
        for preset, about in family.presets.items()
    )


def load_preset(
    backbone: str, *, pretrained: bool, input_shape: tuple[int, int, int]
) -> PresetNetwork:
    """Return a preset of KerasHub as a network from [0, 255] RGB to features.

    Args:
        backbone: `kerashub:` and a name, an address (`hf://`, `kaggle://`) or a
            folder; or a folder alone.
        pretrained: whether it has the preset's weights, or random ones.
        input_shape: (height, width, 3) of the images, where the family takes any.

    Raises:
        ValueError: KerasHub is not installed, there is no such preset, it is damaged,
            or it is not of images.
        ConnectionError: it could not be downloaded.
    """
    hub = import_keras_hub()
    preset = preset_of(backbone)
    _check_name(hub, preset)
    try:
        network = _loaded(hub, preset, pretrained=pretrained, input_shape=input_shape)
        tower_of(network)
        converter = _converter(hub, preset, network)
    except UnfitError:
        raise
    except ImportError as error:
        raise ValueError(f"{_unreadable(preset)}: {_reason(error)}") from error
    except OSError as error:
        if Path(preset).is_dir():
            raise ValueError(f"{_unreadable(preset)}: {_reason(error)}") from error
        raise ConnectionError(
            f"The preset {preset!r} must be downloaded once. Received: backbone="
            f"{backbone!r}, and the download failed: {_reason(error)}. Connect to a "
            "network; or save it elsewhere with save_to_preset('folder'), backbone and "
            f"image converter, and pass {PREFIX}folder."
        ) from error
    except Exception as error:
        # KerasHub builds what a file says, and raises whatever comes of it.
        raise ValueError(f"{_unreadable(preset)}: {_reason(error)}") from error
    name = re.sub(r"[^\w.-]", "_", Path(preset).name)
    return adapted(
        network,
        converter=converter,
        input_shape=input_shape,
        name=f"kerashub_{name}",
    )


def _unreadable(preset: str) -> str:
    return (
        "A preset must be one that KerasHub can load. Received: "
        f"preset={preset!r}, which it cannot"
    )


def _reason(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")


def _check_name(hub: Any, preset: str) -> None:
    """Refuse before any download what is neither a preset of images nor a place."""
    if "://" in preset or Path(preset).is_dir():
        return
    names = [row["name"].removeprefix(PREFIX) for row in list_presets()]
    if preset in names:
        return
    if preset in hub.models.Backbone.presets:
        raise ValueError(
            "A preset must be of an image backbone: "
            f"{', '.join(x.removesuffix('Backbone') for x in IMAGE_FAMILIES)}. "
            f"Received: preset={preset!r}, which is of another kind. "
            "`tlcore backbones --presets` lists them."
        )
    raise ValueError(
        "A preset must be a name that KerasHub knows, an address (hf://, kaggle://) or "
        f"a folder that it saved. Received: preset={preset!r}."
        f"{did_you_mean(preset, names)} `tlcore backbones --presets` lists the names."
    )


def _loaded(
    hub: Any, preset: str, *, pretrained: bool, input_shape: tuple[int, int, int]
) -> Any:
    kind = _class_of(hub, preset)
    options: dict[str, Any] = {}
    if kind in _ANY_SIZE:
        options["image_shape"] = tuple(input_shape)
    return hub.models.Backbone.from_preset(preset, load_weights=pretrained, **options)


def _class_of(hub: Any, preset: str) -> str:
    """Return the class of a preset's backbone, by its configuration."""
    for name in IMAGE_FAMILIES:
        family = getattr(hub.models, name, None)
        if family is not None and preset in family.presets:
            return name
    from keras_hub.src.utils.preset_utils import get_preset_loader

    return str(get_preset_loader(preset).check_backbone_class().__name__)


def _converter(hub: Any, preset: str, network: Any) -> Any:
    """Return the preset's image converter.

    Raises:
        UnfitError: it has none, or one that does more than scale.
    """
    base = hub.layers.ImageConverter
    try:
        converter = base.from_preset(preset)
    except FileNotFoundError as error:
        raise UnfitError(
            "A preset must hold an image converter, which says what range its weights "
            f"expect. Received: preset={preset!r}, with none. Save it there with "
            f"{type(network).__name__.removesuffix('Backbone')}ImageConverter(...)"
            ".save_to_preset, or load the backbone yourself with "
            "keras_hub.models.Backbone.from_preset and pass it with input_contract=..."
        ) from error
    if type(converter)._call_python is not base._call_python:  # noqa: SLF001 - its one step
        raise UnfitError(
            "An image converter must only resize, scale and shift. Received: "
            f"preset={preset!r} with {type(converter).__name__}, which does more. Pass "
            "the backbone itself, with input_contract=..."
        )
    return converter
