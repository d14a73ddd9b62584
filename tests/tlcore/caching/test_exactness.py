"""Exactness: real backbones from the cache and end to end, to the bit.

BatchNorm is calibrated first: with random weights as they are, the features of an
EfficientNet are of scale 1e-6, and anything would seem equal.
"""

import functools

import keras
import numpy as np
import pytest

from tlcore.backbones.catalogue import find_entry
from tlcore.backbones.input_contract import contract_layer
from tlcore.backbones.loading import load_backbone
from tlcore.data.image_folder import image_folder
from tlcore.data.sample_images import write_sample_images
from tlcore.models import create_model
from tlcore.training import fine_tune

SIZES = {
    "efficientnet_b0": 64,
    "efficientnet_v2_b0": 64,
    "mobilenet_v2_035": 64,
    "resnet50": 64,
    "resnet50_v2": 64,
    "xception": 80,
}
LASTS = (0, 1, 5, 10, 20, 50)
OPTIMIZERS = ("sgd", "adam", "rmsprop")

# Its first three blocks have layers of every kind, and take half the time.
QUICK = [("mobilenet_v2_035", "block_2_add", 10, "adam")]
FULL = [
    *((name, last, opt) for name in SIZES for last in LASTS for opt in OPTIMIZERS),
    # Its cut is of two tensors, one of them around a residual block.
    ("efficientnet_b0", 19, "adam"),
]


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    directory = tmp_path_factory.mktemp("exactness")
    write_sample_images(directory, classes=3, per_class=9, size=64)
    return directory


def scheme(name):
    return find_entry(name).contract.scheme


def backbone(name, until=None):
    """Return a backbone of random weights, or its layers up to one of them."""
    size = SIZES[name]
    network = load_backbone(name, weights=None, input_shape=(size, size, 3))
    if until is None:
        return network
    return keras.Model(network.inputs, network.get_layer(until).output, name=name)


@functools.lru_cache(maxsize=1)
def calibrated_weights(name, until, directory):
    """Return random weights whose BatchNorm statistics are those of the images."""
    keras.utils.set_random_seed(1)
    size, network = SIZES[name], backbone(name, until)
    folder = image_folder(directory, image_size=size, batch_size=27, shuffle=False)
    (batch, _), *_ = folder.dataset()
    contract = contract_layer(scheme(name))
    batch = batch if contract is None else contract(batch)
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.2
    for _ in range(6):
        network(batch, training=True)
    scale = keras.ops.convert_to_numpy(network(batch, training=False)).std()
    assert scale > 1e-2, scale
    return network.get_weights()


def trained(name, until, last, optimizer, directory, cache):
    """Return the model, its history and the line about the cache."""
    weights = calibrated_weights(name, until, directory)
    # After it: PyTorch has one state for all random numbers.
    keras.utils.set_random_seed(3)
    size, said = SIZES[name], []
    # PyTorch's kernels for EfficientNet round by the place in a batch, unless 16 divide
    # its size. The last batch of an epoch is of two images.
    folder = image_folder(directory, image_size=size, batch_size=16)
    train, held_out = folder.split_off(30)
    options = {"weights": None} if until is None else {"input_contract": scheme(name)}
    model = create_model(
        name if until is None else backbone(name, until),
        3,
        input_shape=(size, size, 3),
        dropout=0.2,
        **options,
    )
    model.get_layer(name).network.set_weights(weights)
    history = fine_tune(
        model,
        train,
        held_out,
        last=last,
        epochs=2,
        optimizer=optimizer,
        learning_rate=1e-3,
        cache=cache,
        say=said.append,
        verbose=0,
    )
    return model, history, said[0]


def check(*case, cache):
    plain, end_to_end, _ = trained(*case, "off")
    cached, history, line = trained(*case, cache)
    assert line.count("cached at") == 2, line
    weights = zip(plain.variables, cached.variables, strict=True)
    slots = zip(plain.optimizer.variables, cached.optimizer.variables, strict=True)
    differences = [np.abs(np.subtract(a, b)).max() for a, b in [*weights, *slots]]
    assert max(differences) == 0.0
    assert history.history == end_to_end.history
    keras.backend.clear_session()


@pytest.mark.usefixtures("deterministic_operations")
@pytest.mark.parametrize(("name", "until", "last", "optimizer"), QUICK)
@pytest.mark.matrix
def test_cached_training_equals_end_to_end(
    name, until, last, optimizer, images, tmp_path
):
    check(name, until, last, optimizer, images, cache=tmp_path)


@pytest.mark.slow
@pytest.mark.usefixtures("deterministic_operations")
@pytest.mark.parametrize(("name", "last", "optimizer"), FULL)
def test_cached_training_equals_end_to_end_for_all(
    name, last, optimizer, images, tmp_path_factory
):
    cache = tmp_path_factory.getbasetemp() / "exactness_cache"
    check(name, None, last, optimizer, images, cache=cache)
