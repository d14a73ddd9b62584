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
MORE = {
    "densenet121": 64,
    "efficientnet_v2_s": 64,
    "inception_resnet_v2": 80,
    "nasnet_mobile": 64,
    "resnet101": 64,
    "resnet101_v2": 64,
}
"""One more network of each family, at fewer settings: a case takes up to a minute."""
LASTS = (0, 1, 5, 10, 20, 50)
OPTIMIZERS = ("sgd", "adam", "rmsprop")

# Its first three blocks have layers of every kind, and take half the time.
QUICK = [("mobilenet_v2_035", "block_2_add", 10, "adam")]
FULL = [
    *((name, last, opt) for name in SIZES for last in LASTS for opt in OPTIMIZERS),
    *((name, last, "adam") for name in MORE for last in (0, 10, 50)),
    # Its cut is of two tensors, one of them around a residual block.
    ("efficientnet_b0", 19, "adam"),
]


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    directory = tmp_path_factory.mktemp("exactness")
    write_sample_images(directory, classes=3, per_class=9, size=64)
    return directory


def size_of(name):
    return {**SIZES, **MORE, "convnext_tiny": 64}[name]


def scheme(name):
    return find_entry(name).contract.scheme


def backbone(name, until=None):
    """Return a backbone of random weights, or its layers up to one of them."""
    size = size_of(name)
    network = load_backbone(name, weights=None, input_shape=(size, size, 3))
    if until is None:
        return network
    return keras.Model(network.inputs, network.get_layer(until).output, name=name)


@functools.lru_cache(maxsize=1)
def calibrated_weights(name, until, directory):
    """Return random weights whose BatchNorm statistics are those of the images."""
    keras.utils.set_random_seed(1)
    size, network = size_of(name), backbone(name, until)
    folder = image_folder(directory, image_size=size, batch_size=27, shuffle=False)
    (batch, _), *_ = folder.dataset()
    contract = contract_layer(scheme(name))
    batch = batch if contract is None else contract(batch)
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.2
        if type(layer).__name__ == "LayerScale":
            # ConvNeXt's start at 1e-6, and its blocks would add next to nothing.
            layer.gamma.assign(keras.ops.ones_like(layer.gamma))
    for _ in range(6):
        network(batch, training=True)
    scale = keras.ops.convert_to_numpy(network(batch, training=False)).std()
    assert scale > 1e-2, scale
    return network.get_weights()


def trained(name, until, last, optimizer, directory, cache, percent=30):
    """Return the model, its history and the line about the cache."""
    weights = calibrated_weights(name, until, directory)
    # After it: PyTorch has one state for all random numbers.
    keras.utils.set_random_seed(3)
    size, said = size_of(name), []
    # PyTorch's kernels for EfficientNet round by the place in a batch, unless 16 divide
    # its size. The last batch of an epoch is of two images.
    folder = image_folder(directory, image_size=size, batch_size=16)
    train, held_out = folder.split_off(percent)
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


def check(*case, cache, percent=30):
    plain, end_to_end, _ = trained(*case, "off", percent)
    cached, history, line = trained(*case, cache, percent)
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


@pytest.mark.slow
@pytest.mark.usefixtures("deterministic_operations")
@pytest.mark.parametrize("last", [0, 10, 50])
def test_matrix_products_are_cached_where_batches_round_alike(last, tmp_path):
    # On TensorFlow, ConvNeXt's do in batches of even sizes: 24 images are 16 and 8.
    directory = tmp_path / "images"
    write_sample_images(directory, classes=3, per_class=10, size=64)
    case = ("convnext_tiny", None, last, "adam", directory)
    check(*case, cache=tmp_path / "cache", percent=20)


@pytest.mark.slow
@pytest.mark.tensorflow
def test_matrix_products_are_not_cached_where_batches_do_not(images, tmp_path):
    case = ("convnext_tiny", None, 0, "adam", images)
    line = trained(*case, tmp_path)[2]
    assert line.startswith("train: cached at pool")  # 18 images are 16 and 2
    assert "validation: end to end, its matrix products round by the place" in line
    assert line.endswith("a batch of 9")


@pytest.mark.slow
@pytest.mark.tensorflow
def test_what_tensorflow_may_round_otherwise_is_not_cached(images):
    keras.utils.set_random_seed(1)
    model = create_model("mobilenet_v3_small", 3, weights=None, input_shape=(64, 64, 3))
    said = []
    folder = image_folder(images, image_size=64, batch_size=16)
    fine_tune(model, folder, last=0, epochs=1, say=said.append, verbose=0)
    assert "which TensorFlow may reorder" in said[0]
