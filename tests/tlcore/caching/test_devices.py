"""Several devices: two logical ones of the processor share each batch.

Each case is a program of its own, because devices are set before a framework starts.
"""

import json
import os
import subprocess
import sys

import keras
import pytest

BACKEND = keras.backend.backend()
pytestmark = pytest.mark.skipif(
    BACKEND == "torch", reason="Keras trains on one device with PyTorch"
)

PROGRAM = """
import contextlib, json, sys

def strategy():
    import tensorflow as tf
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])

backend, folder, per_class, action = sys.argv[1:]
if backend == "tensorflow":
    import tensorflow as tf
    cpu = tf.config.list_physical_devices("CPU")[0]
    two = [tf.config.LogicalDeviceConfiguration()] * 2
    tf.config.set_logical_device_configuration(cpu, two)

import keras
import numpy as np
import tlcore as tl
from tlcore.backend import seam

counts = {"per_class": int(per_class), "validation_per_class": 6, "test_per_class": 0}
tl.write_sample_splits(folder, classes=3, size=32, **counts)

def trained(cache, within, **options):
    keras.utils.set_random_seed(1)
    how = {"image_size": 32, "batch_size": 8, "label_mode": "categorical"}
    splits = tl.load_splits(folder, **how)
    data = splits.train, splits.validation
    quiet = {"cache": cache, "verbose": 0, "say": said.append, **options}
    with within:
        model = tl.create_model("sample_net", 3, input_shape=(32, 32, 3))
        first = tl.feature_extract(model, *data, epochs=2, **quiet)
        tl.fine_tune(model, *data, history=first, last=3, epochs=2, **quiet)
    return model

def difference(one, other):
    pairs = zip(one.get_weights(), other.get_weights(), strict=True)
    return max(float(np.abs(a - b).max()) for a, b in pairs)

said = []
alone = trained("off", contextlib.nullcontext()) if action == "train" else None
within = contextlib.nullcontext()
if backend == "jax":
    keras.distribution.set_distribution(keras.distribution.DataParallel())
else:
    within = strategy().scope()
if action == "refuse":
    try:
        trained(folder + "-cache", within, workers=2)
    except ValueError as error:
        print(json.dumps({"error": str(error)}))
    sys.exit()
shared = trained("off", strategy().scope() if backend == "tensorflow" else within)
cached = trained(folder + "-cache", within)
print(json.dumps({
    "replicas": seam.current().replicas(cached),
    "two_and_one": difference(shared, alone),
    "cached": difference(cached, shared),
    "said": said[-1],
}))
"""


def on_two_devices(folder, per_class, action="train"):
    """Run the program; return what it prints."""
    flag = "--xla_force_host_platform_device_count=2"
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, BACKEND, str(folder), str(per_class), action],
        env={**os.environ, "XLA_FLAGS": flag, "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip(), done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.matrix
# The last batch of 36 images is divided evenly, that of 30 in shares of three; with
# 33 it is of one image, which JAX computes on both devices.
@pytest.mark.parametrize("per_class", [12, 10, *([11] if BACKEND == "jax" else [])])
def test_two_train_as_one_and_cached_is_end_to_end(tmp_path, per_class):
    found = on_two_devices(tmp_path / "images", per_class)
    assert found["replicas"] == 2
    assert 0 <= found["two_and_one"] <= 1e-6
    assert found["cached"] == 0.0
    assert found["said"].startswith("train: cached at block3")


@pytest.mark.matrix
def test_a_pass_that_devices_share_is_not_divided_among_processes(tmp_path):
    error = on_two_devices(tmp_path / "images", 12, "refuse")["error"]
    assert error.startswith("One process computes on all of 2 devices")


@pytest.mark.tensorflow
@pytest.mark.matrix
def test_a_batch_of_fewer_images_than_devices_is_refused_before_training(tmp_path):
    error = on_two_devices(tmp_path / "images", 11, "refuse")["error"]
    assert "Each of 2 devices must get an image" in error
    assert "Received: train with a batch of 1 image. Choose a batch_size" in error
