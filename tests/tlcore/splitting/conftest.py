"""What the tests of splitting share: images, weights, and the check of equal bits."""

import keras
import numpy as np
import pytest

from tlcore.models import create_model
from tlcore.splitting.part import Prefix


def tf():
    """Return TensorFlow, for the tests that are marked with its name."""
    return pytest.importorskip("tensorflow")


SHAPE = (8, 8, 3)
BATCH, BLOCK = 4, 32
"""Images of a training step, and of a batch of the feature pass.

Their elements fill whole vectors of 16 of the processor: a kernel such as that of
sigmoid may round the elements left over in another way.
"""


@pytest.fixture(scope="session")
def images():
    """Return a batch of the feature pass."""
    rng = np.random.default_rng(0)
    return rng.uniform(0, 1, (BLOCK, *SHAPE)).astype("float32")


def settle_weights(model):
    """Give the weights that start as zeros and ones other numbers."""
    rng = np.random.default_rng(1)
    for weight in model.weights:
        if len(weight.shape) == 1:
            weight.assign(rng.uniform(0.3, 1.2, weight.shape))


@pytest.fixture(scope="session")
def settle():
    """Return the function that moves weights away from zeros and ones."""
    return settle_weights


@pytest.fixture(scope="session")
def efficientnet():
    """Return a model whose tests unfreeze what they need."""
    return create_model("efficientnet_b0", 3, weights=None, input_shape=(64, 64, 3))


def outcome(run, model, tensors, *, training):
    """Return the bits of what a forward pass and a training step leave behind.

    As in `fit`: in a graph, for batches of any size, every state as it was before.
    """
    variables = model.trainable_variables
    before = [np.copy(variable) for variable in model.variables]

    def forward(inputs):
        return keras.tree.flatten(run(inputs, training=training))

    def step(inputs):
        with tf().GradientTape() as tape:
            outputs = forward(inputs)
            squares = [keras.ops.square(keras.ops.cast(x, "float32")) for x in outputs]
            loss = sum(keras.ops.mean(x) for x in squares)
        moved = zip(variables, tape.gradient(loss, variables), strict=True)
        return outputs, [x for _, x in moved if x is not None]

    signature = [tf().TensorSpec((None, *x.shape[1:]), x.dtype) for x in tensors]
    bits = []
    for function in (forward, step) if variables else (forward,):
        graph = tf().function(function, input_signature=[signature], autograph=False)
        results = tf().nest.flatten(graph(list(tensors)))
        state = [np.array(variable) for variable in model.variables]
        bits.append([np.array(x).tobytes() for x in (*results, *state)])
        for variable, value in zip(model.variables, before, strict=True):
            variable.assign(value)
    return bits


@pytest.fixture(scope="session")
def assert_same(images):
    """Return the check that prefix then suffix has the bits of the model."""

    def check(model, divided, *, training):
        cut = Prefix(divided.prefix, SHAPE)(images)
        batch = [x[:BATCH] for x in cut]
        parts = outcome(divided.suffix, model, batch, training=training)
        whole = outcome(
            lambda inputs, training: model(inputs[0], training=training),
            model,
            [images[:BATCH]],
            training=training,
        )
        assert parts == whole

    return check
