"""Preset names: prefix and folder, without KerasHub."""

import json
import sys

import pytest

from tlcore.backbones.catalogue import is_hub_handle, is_preset_handle
from tlcore.backbones.preset_names import is_preset, preset_of
from tlcore.models import create_model


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (json.dumps({"registered_name": "keras_hub>ViTBackbone"}), True),
        (json.dumps({"model_type": "other"}), False),
        ("[]", False),
        ("{", False),
        (None, False),
    ],
)
def test_a_folder_is_known_by_its_configuration(tmp_path, content, found):
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    assert is_preset(str(tmp_path)) is is_preset_handle(str(tmp_path)) is found
    assert is_hub_handle(str(tmp_path)) is not found


@pytest.mark.parametrize("name", ["vgg16", "a\0b", "x" * 5000, "", "kerashub"])
def test_other_texts_are_no_presets(name):
    assert not is_preset(name)


def test_the_prefix_alone_names_nothing():
    assert preset_of("kerashub:hf://a/b") == "hf://a/b"
    with pytest.raises(ValueError, match=r"Received: backbone='kerashub:'. Write ker"):
        preset_of("kerashub:")


def test_without_keras_hub_the_sentence_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "keras_hub", None)
    with pytest.raises(
        ValueError, match=r'no keras-hub.*Run: pip install "tlcore\[keras-hub\]"'
    ):
        create_model("kerashub:vit_base_patch16_224_imagenet", 3)
