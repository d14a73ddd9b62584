"""The stacks as chains of Keras's layers: what a warp must be like; old files."""

import keras

from tlcore.augmentation import RandomShear

layers = keras.layers


def tutorial():
    return [
        layers.RandomFlip("horizontal", name="random_flip"),
        layers.RandomRotation(0.2, name="random_rotation"),
        layers.RandomZoom(0.2, name="random_zoom"),
        layers.RandomZoom(height_factor=0.2, width_factor=0.0, name="random_height"),
        layers.RandomZoom(height_factor=0.0, width_factor=0.2, name="random_width"),
    ]


def photometric():
    return [
        layers.RandomFlip("horizontal_and_vertical", name="random_flip"),
        layers.RandomRotation(0.2, name="random_rotation"),
        layers.RandomZoom(0.1, name="random_zoom"),
    ]


def generator():
    fill = {"fill_mode": "nearest"}
    return [
        layers.RandomRotation(40 / 360, name="random_rotation", **fill),
        layers.RandomTranslation(0.2, 0.2, name="random_translation", **fill),
        RandomShear(x_factor=0.2, y_factor=0.0, name="random_shear", **fill),
        layers.RandomZoom(0.2, 0.2, name="random_zoom", **fill),
        layers.RandomFlip("horizontal", name="random_flip"),
    ]


CHAINS = {"tutorial": tutorial, "photometric": photometric, "generator": generator}
