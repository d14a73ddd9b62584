"""Determinism: seeds, and runs that leave the same bits."""

import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from tlcore import determinism
from tlcore.backbones.weights import fingerprint
from tlcore.data.sample_images import write_sample_splits
from tlcore.determinism import is_deterministic, make_deterministic, set_seed, versions
from tlcore.models import create_model, load_model
from tlcore.runs.recipes import find_recipe
from tlcore.runs.runner import RunOptions, run_recipe
from tlcore.training import feature_extract

RECIPE = find_recipe("model_2").changed(
    backbone="sample_net", image_size=32, percent=100.0, epochs=1, batch_size=8
)
IN_ANOTHER_PROCESS = """
import sys
from test_determinism import is_deterministic, run_bits
print(run_bits(sys.argv[1], sys.argv[2]), is_deterministic())
"""


def run_bits(data, out):
    """Return the fingerprint of all weights after a deterministic run."""
    options = RunOptions(Path(out), seed=5, deterministic=True, say=lambda _: None)
    run = run_recipe(RECIPE, str(data), options)
    return fingerprint(load_model(run.path / "model.keras").weights)


@pytest.fixture
def data(tmp_path):
    """Return a folder of splits, 8 + 2 images of two classes."""
    counts = {"per_class": 8, "validation_per_class": 2, "test_per_class": 0}
    write_sample_splits(tmp_path / "data", classes=2, size=32, **counts)
    return tmp_path / "data"


@pytest.mark.usefixtures("deterministic_operations")
def test_one_seed_leaves_the_same_bits(tiny_network, train):
    # What is drawn: initial weights, the order of images, augmentation, Dropout.
    network, bits, losses = tiny_network(), [], []
    for seed in (5, 5, 6):
        set_seed(seed)
        options = {"augmentation": "photometric", "dropout": 0.5}
        model = create_model(network, 3, input_shape=(32, 32, 3), **options)
        history = feature_extract(model, train, epochs=2, cache="off", verbose=0)
        bits.append(fingerprint(model.weights))
        losses.append(history.history["loss"])
    assert bits[0] == bits[1] != bits[2]
    assert losses[0] == losses[1] != losses[2]


@pytest.mark.matrix
@pytest.mark.usefixtures("deterministic_operations")
def test_deterministic_runs_leave_the_same_bits_in_every_process(data, tmp_path):
    other = subprocess.Popen(
        [sys.executable, "-c", IN_ANOTHER_PROCESS, str(data), str(tmp_path / "other")],
        cwd=Path(__file__).parent,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    bits = run_bits(data, tmp_path / "one")
    assert other.communicate(timeout=300)[0].split() == [bits, "True"]
    histories = [
        json.loads(next((tmp_path / name).glob("*/*/run.json")).read_text())["history"]
        for name in ("one", "other")
    ]
    assert histories[0]["loss"] == histories[1]["loss"]


def test_a_deterministic_run_sets_the_switch_and_then_the_seed(
    data, tmp_path, monkeypatch
):
    calls = []

    def stop(seed):
        calls.append(seed)
        raise InterruptedError

    monkeypatch.setattr(determinism, "make_deterministic", lambda: calls.append("on"))
    monkeypatch.setattr(determinism, "set_seed", stop)
    with pytest.raises(InterruptedError):
        run_bits(data, tmp_path)
    assert calls == ["on", 5]


@pytest.mark.tensorflow
@pytest.mark.usefixtures("deterministic_operations")  # which switches it off again
def test_without_a_seed_nothing_is_drawn():
    import tensorflow as tf

    make_deterministic()
    assert is_deterministic()
    tf.random.set_seed(None)
    with pytest.raises(RuntimeError, match="determinism"):
        tf.random.uniform((1,))


def to_list(tensor):
    return keras.ops.convert_to_numpy(tensor).tolist()


def test_a_seed_decides_what_is_drawn():
    draws = []
    for seed in (1, 1, 2):
        set_seed(seed)
        weights = keras.initializers.GlorotUniform()((3, 3))
        kept = keras.layers.Dropout(0.5)(np.ones((1, 64)), training=True)
        draws.append([to_list(weights), to_list(kept)])
    assert draws[0] == draws[1] != draws[2]


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_that_does_not_fit_is_refused(seed):
    with pytest.raises(ValueError, match=f"to 4294967295. Received: seed={seed}"):
        set_seed(seed)


def test_versions_are_those_of_the_modules_whatever_they_are_installed_as(monkeypatch):
    import importlib.metadata

    installed = {
        name: importlib.metadata.version(name)
        for name in ("tlcore", "keras", keras.backend.backend(), "numpy", "pillow")
    }
    # tlcore alone has no number in its code.
    asked = {"tlcore": installed["tlcore"]}
    monkeypatch.setattr(importlib.metadata, "version", asked.__getitem__)
    # PyTorch alone adds for which GPUs it is built: 2.14.1+cu130.
    assert {k: v.partition("+")[0] for k, v in versions().items()} == installed
