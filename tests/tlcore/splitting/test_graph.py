"""Graph: which models are opened, and what their steps receive."""

import keras
import numpy as np
import pytest

from tlcore.backbones.inference import Backbone
from tlcore.splitting.graph import UnsplittableError, calls_keep_their_training, unroll
from tlcore.splitting.split import split

layers = keras.layers

SHAPE = (8, 8, 3)


def conv(filters=4, **options):
    return layers.Conv2D(filters, 3, padding="same", trainable=False, **options)


def names(steps):
    return [step.name for step in steps]


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(2, trainable=False)

    def call(self, tensor):
        return self.dense(tensor)


@pytest.mark.parametrize("model", [Subclassed, lambda: keras.Sequential([conv()])])
def test_a_model_without_a_graph_is_refused(model):
    with pytest.raises(UnsplittableError, match="neither functional.*or not built"):
        unroll(model())


@pytest.mark.parametrize("wrap", [lambda model: model, Backbone])
def test_a_shared_model_is_opened_once_per_call(wrap):
    inner = keras.Sequential(
        [keras.Input(SHAPE), conv(3, name="conv"), layers.ReLU(name="relu")],
        name="inner",
    )
    inputs, layer = keras.Input(SHAPE), wrap(inner)
    graph = unroll(keras.Model(inputs, layer(layer(inputs))))
    assert names(graph.steps) == ["conv", "relu"] * 2
    first, _, second, _ = graph.steps
    assert first.operation is second.operation
    assert {scope.name for scope in first.scopes} >= {"inner"}
    assert not set(first.scopes) & set(second.scopes)


class TestCallsWithTraining:
    """`base(x, training=False)` in a plain functional model, which `fit` may ignore."""

    def model(self):
        inputs = keras.Input(SHAPE)
        x = layers.Dropout(0.5, name="drop")(conv(name="first")(inputs))
        base = keras.Model(inputs, conv(name="second")(x))
        images = keras.Input(SHAPE)
        x = layers.GlobalAveragePooling2D()(base(images, training=False))
        return keras.Model(images, layers.Dense(2)(x))

    def test_a_dropout_that_acts_in_fit_is_behind_the_cut(self, images, assert_same):
        model = self.model()
        outputs = [model(images, training=True) for _ in range(2)]
        passes = [keras.ops.convert_to_numpy(x) for x in outputs]
        acts = not np.array_equal(*passes)
        assert acts != calls_keep_their_training()
        divided = split(model, training=True, policy="boundary")
        assert ("drop" in names(divided.prefix.steps)) != acts
        assert_same(model, divided, training=True)

    def test_in_evaluation_it_is_before_the_cut(self):
        divided = split(self.model(), training=False, policy="boundary")
        assert {"first", "drop", "second"} <= set(names(divided.prefix.steps))
