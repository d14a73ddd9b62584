"""Seam: what every backend module has, asked of the one that is loaded."""

import keras
import numpy as np
import pytest

from tlcore.backend import seam
from tlcore.backend.seam import BACKENDS, Backend, current
from tlcore.backend.shares import check_shares

IMAGES = np.random.default_rng(0).random((4, 8, 8, 3), np.float32)


def model():
    layers = [keras.layers.Conv2D(2, 3), keras.layers.GlobalAveragePooling2D()]
    return keras.Sequential([keras.Input((8, 8, 3)), *layers, keras.layers.Dense(3)])


def test_a_backend_has_all_that_is_listed():
    listed = {name for name in vars(Backend) if not name.startswith("_")}
    listed |= set(Backend.__annotations__)
    assert not {name for name in listed if not hasattr(current(), name)}


def test_another_backend_of_keras_is_refused_by_name(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "openvino")
    with pytest.raises(ValueError, match=r"one of: tensorflow, jax, torch.*openvino"):
        current()


def test_it_is_the_one_that_keras_has():
    assert current().__name__.endswith(keras.backend.backend())
    assert keras.backend.backend() in BACKENDS


def test_a_forward_pass_follows_the_weights():
    net = model()
    run = current().forward(net)
    for _ in range(2):
        outputs = run(keras.ops.convert_to_tensor(IMAGES))
        found = keras.ops.convert_to_numpy(outputs)
        np.testing.assert_allclose(found, net.predict(IMAGES, verbose=0), atol=1e-6)
        net.layers[-1].bias.assign([1.0, 2.0, 3.0])


def test_a_part_keeps_a_cut_as_it_is():
    cut = [keras.ops.convert_to_tensor(IMAGES)]
    for found in (current().materialised(cut[0], cut), current().spread(cut)):
        np.testing.assert_array_equal(np.asarray(found[0]), IMAGES)


def test_one_device_has_all_of_a_batch():
    net = model()
    assert current().replicas(net) == 1
    with current().dividing(), current().scope(net):
        check_shares("train", net, images=33, batch_size=32)


def test_devices_are_listed_and_waited_for():
    assert current().devices()
    current().synchronize()
    current().forget_peak_memory()
    peak = current().peak_memory()
    assert peak is None or peak >= 0


def test_threads_are_numbers_in_the_environment():
    assert set(current().threads(3).values()) == {"3"}


def test_switches_are_plain_values():
    import json

    json.dumps(current().switches())
    assert isinstance(seam.current().is_deterministic(), bool)
