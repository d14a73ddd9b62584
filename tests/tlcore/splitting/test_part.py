"""Parts: a prefix for batches of any size, compiled once."""

import gc
import weakref

import keras
import numpy as np
import pytest

from tlcore.splitting.part import Prefix, kept_prefix
from tlcore.splitting.split import split


class Traced(keras.layers.Layer):
    """Counts how often it is called with symbols or tensors."""

    calls = 0

    def call(self, inputs):
        Traced.calls += 1
        return inputs


@pytest.mark.tensorflow
def test_a_part_gives_what_the_model_gives_and_is_traced_once():
    inputs = keras.Input((8, 8, 3))
    features = Traced()(keras.layers.Conv2D(4, 3, trainable=False)(inputs))
    outputs = keras.layers.Dense(2)(keras.layers.Flatten()(features))
    halves = split(keras.Model(inputs, outputs), policy="boundary")
    run = Prefix(halves.prefix, (8, 8, 3))
    Traced.calls = 0
    expected = keras.Model(inputs, keras.layers.Flatten()(features)).predict(
        images(), verbose=0
    )
    Traced.calls = 0
    for count in (5, 2, 3):
        (rows,) = run(images()[:count])
        np.testing.assert_array_equal(rows, expected[:count])
    assert Traced.calls == 1


class TestKeptPrefix:
    def test_one_of_the_same_fingerprint_is_compiled_once_and_follows_the_weights(self):
        model = small()
        first = kept(model)
        (before,) = first(images())
        kernel = model.get_layer("conv").kernel
        kernel.assign(kernel * 2)
        assert kept(model) is not first  # the weights are part of the fingerprint
        kernel.assign(kernel / 2)
        Traced.calls = 0
        (again,) = kept(model)(images())
        assert kept(model) is first
        if keras.backend.backend() != "torch":  # which traces nothing
            assert Traced.calls == 0
        np.testing.assert_array_equal(again, before)

    def test_another_model_and_other_sizes_have_their_own(self):
        one, other = small(), small()
        other.set_weights(one.get_weights())
        assert kept(one) is not kept(other)
        assert kept(one, (16, 16, 3)) is not kept(one)

    def test_the_oldest_ones_are_dropped(self):
        model = small()
        part = split(model, policy="boundary").prefix
        found = [kept_prefix(model, part, str(i), (8, 8, 3)) for i in range(5)]
        assert kept_prefix(model, part, "1", (8, 8, 3)) is found[1]
        assert kept_prefix(model, part, "0", (8, 8, 3)) is not found[0]

    def test_a_model_is_not_kept_alive(self):
        model = small()
        kept(model)(images())
        gone = weakref.ref(model)
        del model
        gc.collect()
        assert gone() is None


def small():
    inputs = keras.Input((8, 8, 3))
    conv = keras.layers.Conv2D(4, 3, trainable=False, name="conv")
    outputs = keras.layers.Dense(2)(keras.layers.Flatten()(Traced()(conv(inputs))))
    return keras.Model(inputs, outputs)


def images():
    return np.random.default_rng(1).random((5, 8, 8, 3), np.float32)


def kept(model, shape=(8, 8, 3)):
    halves = split(model, policy="boundary")
    return kept_prefix(model, halves.prefix, halves.fingerprint, shape)
