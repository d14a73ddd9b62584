"""Presets of KerasHub on the command line: listed, trained on, ranked, refused."""

import json
import sys

import keras
import pytest

from tlcore.backbones.presets import list_presets

keras_hub = pytest.importorskip("keras_hub")


@pytest.fixture(scope="module")
def preset(tmp_path_factory):
    """Return the folder of a small preset."""
    folder = tmp_path_factory.mktemp("presets") / "my vit"
    keras.utils.set_random_seed(5)
    backbone = keras_hub.models.ViTBackbone(
        image_shape=(32, 32, 3),
        patch_size=8,
        num_layers=1,
        num_heads=2,
        hidden_dim=16,
        mlp_dim=32,
    )
    backbone.save_to_preset(str(folder))
    converter = keras_hub.layers.ViTImageConverter(scale=1 / 127.5, offset=-1.0)
    converter.save_to_preset(str(folder))
    return folder


def test_presets_are_listed(tlcore):
    code, out, _ = tlcore("backbones", "--presets", "--json")
    assert code == 0
    assert len(json.loads(out)) == len(list_presets())


def test_files_and_presets_are_two_lists(tlcore):
    code, _, err = tlcore("backbones", "--presets", "--files")
    assert code == 2
    assert "not both" in err


def test_without_keras_hub_it_is_said_how_to_install_it(tlcore, monkeypatch):
    monkeypatch.setitem(sys.modules, "keras_hub", None)
    code, _, err = tlcore("backbones", "--presets")
    assert code == 2
    assert 'pip install "tlcore[keras-hub]"' in err


@pytest.mark.matrix
def test_a_run_trains_on_a_preset_and_predicts(tlcore, preset, data, tmp_path):
    folder, out = preset, tmp_path / "runs"
    options = ("--image-size=32", "--percent=100", "--epochs=1")
    code, _, err = tlcore(
        "run", "model_0", "--data", data, "--backbone", folder, *options, "--out",
        out,
    )  # fmt: skip
    assert code == 0, err
    (run,) = (out / "model_0").iterdir()
    document = json.loads((run / "run.json").read_text())
    assert document["recipe"]["weights"] == "own"
    assert "preset" in json.dumps(document)
    image = next((data / "test").rglob("*.png"))
    code, printed, err = tlcore("predict", image, "--run", run, "--json")
    assert code == 0, err
    assert len(json.loads(printed)[str(image)]) == 3


@pytest.mark.matrix
def test_presets_are_ranked(tlcore, preset, data):
    names = f"kerashub:{preset},sample_net"
    code, out, err = tlcore(
        "rank", "--data", data, "--backbones", names, "--image-size=32",
        "--folds=2", "--json",
    )  # fmt: skip
    assert code == 0, err
    rows = {row["backbone"]: row for row in json.loads(out)}
    assert rows[f"kerashub:{preset}"]["features"] == 16


def test_wrong_words_are_refused(tlcore, data):
    for words, message in (
        (["--backbone=kerashub:vit_bas"], "a name that KerasHub knows"),
        (["--backbone=kerashub:"], "must be named"),
        (["--backbone=kerashub:dinov2_small", "--weights=x"], "brings its own"),
    ):
        code, _, err = tlcore("run", "model_0", "--data", data, *words)
        assert code == 2
        assert message in err
        assert "Traceback" not in err
