"""Compilation: a part of a model for batches of any size, traced once."""

import keras
import numpy as np
import pytest

from tlcore.splitting.part import compiled
from tlcore.splitting.split import split


class Traced(keras.layers.Layer):
    """Counts how often it is called with symbols or tensors."""

    calls = 0

    def call(self, inputs):
        Traced.calls += 1
        return inputs


def test_a_part_gives_what_the_model_gives_and_is_traced_once():
    inputs = keras.Input((8, 8, 3))
    features = Traced()(keras.layers.Conv2D(4, 3, trainable=False)(inputs))
    outputs = keras.layers.Dense(2)(keras.layers.Flatten()(features))
    halves = split(keras.Model(inputs, outputs), policy="boundary")
    run = compiled(halves.prefix, (8, 8, 3))
    images = np.random.default_rng(1).random((5, 8, 8, 3), np.float32)
    Traced.calls = 0
    expected = keras.Model(inputs, keras.layers.Flatten()(features)).predict(
        images, verbose=0
    )
    Traced.calls = 0
    for count in (5, 2, 3):
        (rows,) = run(images[:count])
        np.testing.assert_array_equal(rows, expected[:count])
    assert Traced.calls == 1


def test_another_backend_is_refused(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(ValueError, match="Received: backend='jax'. Set KERAS_BACKEND"):
        compiled(None, (8, 8, 3))
