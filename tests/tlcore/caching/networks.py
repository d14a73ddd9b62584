"""Small models, and what listens to their training, as the tests here want them."""

import keras
import numpy as np

from tlcore.models import create_model

SHAPE = (32, 32, 3)
SIZE = SHAPE[:2]


@keras.saving.register_keras_serializable(package="test_caching")
class Halving(keras.layers.Layer):
    """A layer that Keras did not write."""

    def call(self, inputs):
        return inputs / 2


def network(*, foreign=None):
    """Return the layers first, bn, drop, (the foreign one), second and third."""
    keras.utils.set_random_seed(7)
    layers = keras.layers
    stages = [
        layers.Rescaling(1 / 127.5, -1.0),
        layers.Conv2D(8, 3, strides=2, activation="relu", name="first"),
        layers.BatchNormalization(name="bn"),
        layers.Dropout(0.3, name="drop"),
        layers.Conv2D(8, 3, strides=2, activation="relu", name="second"),
        layers.Conv2D(8, 3, padding="same", activation="relu", name="third"),
    ]
    if foreign is not None:
        stages.insert(4, foreign)
    built = keras.Sequential([keras.Input(SHAPE), *stages], name="tiny")
    random = np.random.default_rng(1)
    bn = built.get_layer("bn")
    bn.set_weights([random.uniform(0.5, 1.5, w.shape) for w in bn.get_weights()])
    return built


def tiny(num_classes=3, *, dropout=0.2, foreign=None, **options):
    return create_model(
        network(foreign=foreign),
        num_classes,
        input_shape=SHAPE,
        dropout=dropout,
        **options,
    )


def compiled(model, **options):
    """Return a model that is compiled as `feature_extract` does."""
    model.compile(
        **{"optimizer": "adam", "loss": "categorical_crossentropy", **options}
    )
    return model


class Lines(list):
    """What `fit` says."""

    def __call__(self, line):
        self.append(line)


class Computed:
    """Counts the images that are computed."""

    def __init__(self):
        self.images = []

    def __call__(self, name, done, total):
        if done == total:
            self.images.append((name, total))
