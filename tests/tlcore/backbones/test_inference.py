"""Inference: a backbone stays in inference mode, also during `fit`."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tlcore.backbones.inference import Backbone
from tlcore.backbones.loading import load_backbone


class TestInferenceMode:
    """What Keras up to 3.15 ignores in `fit`."""

    @staticmethod
    def network():
        """The call asks for inference, and Keras's `Functional` overrules it."""
        inputs = keras.Input((64,))
        outputs = keras.layers.Dropout(0.5)(inputs, training=False)
        return keras.Model(inputs, outputs)

    def dropped(self, training):
        network = self.network()
        inputs = keras.Input((64,))
        model = keras.Model(inputs, Backbone(network)(inputs))
        ones = np.ones((32, 64), "float32")
        return float((np.asarray(model(ones, training=training)) == 0).mean())

    @pytest.mark.parametrize("training", [True, False, None])
    def test_dropout_within_a_backbone_zeroes_nothing(self, training):
        assert self.dropped(training) == 0.0

    def test_dropout_within_a_backbone_zeroes_nothing_in_fit(self):
        class Spy(keras.layers.Layer):
            def build(self, shape):
                variable = {"shape": (), "initializer": "ones", "trainable": False}
                self.least = self.add_weight(**variable)
                self.calls = self.add_weight(**{**variable, "initializer": "zeros"})

            def call(self, inputs):
                lowest = keras.ops.min(inputs)
                self.least.assign(keras.ops.minimum(self.least.value, lowest))
                self.calls.assign_add(1)
                return inputs

        network = self.network()
        inputs = keras.Input((64,))
        spy = Spy()
        outputs = keras.layers.Dense(1)(spy(Backbone(network)(inputs)))
        model = keras.Model(inputs, outputs)
        model.compile("sgd", "mse", jit_compile=False)
        ones = np.ones((32, 64), "float32")
        model.fit(ones, np.ones((32, 1), "float32"), epochs=2, batch_size=8, verbose=0)
        assert float(spy.calls.numpy()) >= 8
        assert float(spy.least.numpy()) == 1.0

    @pytest.mark.matrix
    def test_a_frozen_efficientnet_repeats_itself_in_training_mode(self, images):
        network = load_backbone(
            "efficientnet_b0", weights=None, input_shape=(32, 32, 3)
        )
        calibrate(network)
        layer = Backbone(network)
        outputs = [layer(images, training=True) for _ in range(2)]
        outputs.append(network(images, training=False))
        once, twice, inference = map(keras.ops.convert_to_numpy, outputs)
        assert np.std(once) > 0.01
        np.testing.assert_array_equal(once, twice)
        np.testing.assert_array_equal(once, inference)

    def test_a_backbone_survives_saving(self, tmp_path, images):
        network = load_backbone("sample_net", weights=None, input_shape=(32, 32, 3))
        inputs = keras.Input((32, 32, 3))
        model = keras.Model(inputs, Backbone(network)(inputs))
        model.save(tmp_path / "model.keras")
        again = keras.saving.load_model(tmp_path / "model.keras")
        outputs = [keras.ops.convert_to_numpy(x(images)) for x in (again, model)]
        np.testing.assert_array_equal(*outputs)
        assert again.layers[-1].network.name == "sample_net"


def calibrate(network):
    """Bring random features to scale 1: equality at 1e-6 would prove nothing."""
    rng = np.random.default_rng(1)
    batch = rng.integers(0, 256, (32, 32, 32, 3)).astype("float32")
    norms = [
        x for x in network.layers if isinstance(x, keras.layers.BatchNormalization)
    ]
    for layer in norms:
        layer.momentum = 0.2
    for _ in range(4):
        network(batch, training=True)


@given(
    st.integers(1, 3),
    st.integers(1, 9),
    st.integers(1, 9),
    st.integers(1, 8),
    st.integers(0, 2**32 - 1),
)
@settings(max_examples=50, deadline=None, derandomize=True)
def test_global_average_pooling_is_reduce_mean(n, height, width, channels, seed):
    values = np.random.default_rng(seed).normal(size=(n, height, width, channels))
    images = values.astype("float32")
    pooled = np.asarray(keras.layers.GlobalAveragePooling2D()(images))
    np.testing.assert_array_equal(
        pooled, np.asarray(keras.ops.mean(images, axis=[1, 2]))
    )
    np.testing.assert_allclose(pooled, values.mean(axis=(1, 2)), atol=1e-6)
