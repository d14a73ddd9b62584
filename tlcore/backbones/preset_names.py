"""Preset names: which texts and folders stand for a preset of KerasHub.

Owns the prefix and the form of a preset's folder. What a preset becomes is in
`presets`. This module imports neither Keras nor KerasHub.
"""

import json
from pathlib import Path

PREFIX = "kerashub:"
"""Before the name, address or folder of a preset, such as
`kerashub:vit_base_patch16_224_imagenet`."""

_CONFIG_FILE = "config.json"


def is_preset(backbone: str) -> bool:
    """Return whether a backbone is a preset of KerasHub.

    It is one if it has the prefix, or is a folder that KerasHub saved.

    Example:
        >>> is_preset("kerashub:vit_base_patch16_224_imagenet"), is_preset("vgg16")
        (True, False)
    """
    return backbone.startswith(PREFIX) or _is_preset_folder(Path(backbone))


def preset_of(backbone: str) -> str:
    """Return what KerasHub calls a preset: its name, address or folder.

    Raises:
        ValueError: there is nothing behind the prefix.

    Example:
        >>> preset_of("kerashub:dinov2_small")
        'dinov2_small'
    """
    preset = backbone.removeprefix(PREFIX)
    if not preset:
        raise ValueError(
            f"A preset of KerasHub must be named. Received: backbone={backbone!r}. "
            f"Write {PREFIX}NAME, such as {PREFIX}vit_base_patch16_224_imagenet; "
            "`tlcore backbones --presets` lists the names."
        )
    return preset


def _is_preset_folder(folder: Path) -> bool:
    file = folder / _CONFIG_FILE
    try:
        # Any folder may hold a config.json; KerasHub's names a class of Keras.
        config = json.loads(file.read_text("utf-8")) if file.is_file() else None
    except (OSError, ValueError):
        return False
    return isinstance(config, dict) and "registered_name" in config
