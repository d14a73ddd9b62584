"""Fingerprint: what changes it, and what does not."""

import keras
import numpy as np
import pytest

from tlcore.freezing import unfreeze
from tlcore.splitting.graph import UnsplittableError, unroll
from tlcore.splitting.split import split

layers, ops = keras.layers, keras.ops

SHAPE = (8, 8, 3)


def conv(filters=4, **options):
    return layers.Conv2D(filters, 3, padding="same", trainable=False, **options)


def net(
    *,
    stride=1,
    activation="relu",
    crossed=False,
    units=2,
    last_trains=True,
    seed=1,
    initializer="zeros",
    regularizer=None,
    middle=None,
):
    """Return a network with a branch, all of its weights different."""
    options = {"kernel_initializer": initializer, "kernel_regularizer": regularizer}
    inputs = keras.Input(SHAPE)
    x = conv(3, strides=stride, activation=activation, **options)(inputs)
    x = layers.Dropout(0.5, seed=seed)(x)
    x = middle(x) if middle else x
    u = conv(3, **options)(x)
    v = layers.MaxPooling2D(1)(u)
    x = layers.Concatenate()([v, u] if crossed else [u, v])
    x = layers.Conv2D(3, 3, activation="relu")(x)
    x = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, layers.Dense(units)(x))
    rng = np.random.default_rng(5)
    for weight in model.weights:
        weight.assign(rng.uniform(-1, 1, weight.shape))
    model.layers[-3].trainable = last_trains
    return model


def fingerprint_of(**options):
    model = net(**options)
    # Cut before the last convolution, whether or not it trains.
    graph = unroll(model)
    cut = next(s for s in graph.steps if s.name.startswith("concatenate")).outputs
    divided = split(graph, training=False, policy="boundary")
    assert options.get("last_trains") is False or divided.cut[0].name in {
        s.name for s in graph.steps if s.outputs == cut
    }
    return divided.fingerprint


class Indescribable(keras.Layer):
    def __init__(self, thing):
        super().__init__()
        self.thing = thing

    def call(self, tensor):
        return ops.relu(tensor)


def shifting(*, further):
    """Return a layer of one of two classes that differ only in their code."""

    class Foreign(keras.Layer):
        if further:

            def call(self, tensor):
                return keras.ops.relu(tensor - 2.0)
        else:

            def call(self, tensor):
                return keras.ops.relu(tensor - 1.0)

    return Foreign()


class TestFingerprint:
    def test_is_the_same_under_other_names_and_before_another_head(self):
        assert fingerprint_of() == fingerprint_of()
        assert fingerprint_of(units=5) == fingerprint_of()

    @pytest.mark.parametrize(
        "options",
        [
            {"seed": 2},
            {"initializer": "ones"},
            {"regularizer": "l2"},
        ],
    )
    def test_ignores_options_that_change_no_output(self, options):
        assert fingerprint_of(**options) == fingerprint_of()

    def test_does_not_depend_on_what_trains_behind_it(self, efficientnet):
        graphs = []
        for last in (10, 7):
            unfreeze(efficientnet, last=last)
            graphs.append(split(efficientnet, policy="smallest"))
        assert graphs[0].name == graphs[1].name
        assert graphs[0].fingerprint == graphs[1].fingerprint

    def test_ignores_trainable_flags(self):
        model = net()
        before = split(model, training=False, policy="boundary").fingerprint
        model.layers[2].trainable = False  # the Dropout, which has no weights
        assert split(model, training=False, policy="boundary").fingerprint == before

    @pytest.mark.parametrize(
        "options",
        [
            {"stride": 2},
            {"activation": "linear"},
            {"crossed": True},
            {"middle": layers.ReLU(0.5)},
        ],
    )
    def test_changes_with_every_other_option(self, options):
        assert fingerprint_of(**options) != fingerprint_of()

    def test_changes_with_one_bit_of_any_weight_of_the_prefix(self):
        model = net()
        divided = split(model, training=False, policy="boundary")
        seen = {divided.fingerprint}
        for weight in divided.prefix.weights:
            value = np.array(weight)
            value.flat[-1] = np.nextafter(value.flat[-1], np.float32(9))
            weight.assign(value)
            seen.add(split(model, training=False, policy="boundary").fingerprint)
        assert len(seen) == 1 + len(divided.prefix.weights)

    def test_changes_with_the_code_of_a_foreign_layer(self):
        one, other, same = (
            fingerprint_of(middle=shifting(further=further))
            for further in (False, True, False)
        )
        assert one == same
        assert one != other

    def test_changes_with_the_code_of_a_function_that_a_layer_holds(self):
        def halved(tensor):
            return tensor / 2

        def doubled(tensor):
            return tensor * 2

        doubled.__name__ = halved.__name__
        with keras.saving.custom_object_scope({"halved": halved}):
            one, other, same = (
                fingerprint_of(middle=layers.Activation(function))
                for function in (halved, doubled, halved)
            )
        assert one == same
        assert one != other

    def test_refuses_a_lambda(self):
        with pytest.raises(UnsplittableError, match="is a Lambda.*write a Layer"):
            fingerprint_of(middle=layers.Lambda(keras.ops.relu, output_shape=SHAPE))

    def test_refuses_a_layer_that_cannot_be_described(self):
        with pytest.raises(UnsplittableError, match="give it a get_config"):
            fingerprint_of(middle=Indescribable(object()))
