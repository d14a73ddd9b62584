"""Augmentation: the tutorials' stacks."""

import keras
import numpy as np
import pytest

from tlcore.augmentation import AUGMENTATIONS, create_augmentation

IMAGES = np.random.default_rng(0).integers(0, 256, (8, 24, 32, 3)).astype("float32")


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        (
            "tutorial",
            ["flip", "rotation", "zoom", "height", "width"],
        ),
        ("photometric", ["flip", "rotation", "zoom", "contrast", "brightness"]),
        ("generator", ["rotation", "translation", "shear", "zoom", "flip"]),
    ],
)
def test_a_stack_is_made_of_these_layers(name, layers):
    stack = create_augmentation(name)
    assert [x.name for x in stack.layers] == [f"random_{layer}" for layer in layers]


@pytest.mark.parametrize("name", AUGMENTATIONS)
class TestEveryStack:
    def test_it_is_the_identity_at_inference(self, name):
        stack = create_augmentation(name)
        np.testing.assert_array_equal(stack(IMAGES, training=False), IMAGES)

    def test_pixels_keep_full_precision_whatever_the_policy(self, name):
        pixels = IMAGES + np.float32(0.3)
        policy = keras.config.dtype_policy()
        keras.config.set_dtype_policy("mixed_bfloat16")
        try:
            stack = create_augmentation(name)
            copy = keras.saving.deserialize_keras_object(
                keras.saving.serialize_keras_object(stack)
            )
            for layer in (stack, copy):
                out = layer(pixels, training=False)
                np.testing.assert_array_equal(np.asarray(out), pixels)
        finally:
            keras.config.set_dtype_policy(policy)

    def test_it_changes_images_and_keeps_shape_range_and_type_in_training(self, name):
        out = np.asarray(create_augmentation(name)(IMAGES, training=True))
        assert out.shape == IMAGES.shape
        assert out.dtype == np.float32
        assert out.min() >= -1e-3
        assert out.max() <= 255 + 1e-3
        assert np.abs(out - IMAGES).mean() > 1

    def test_each_image_is_changed_in_its_own_way(self, name):
        same = np.repeat(IMAGES[:1], 8, axis=0)
        out = np.asarray(create_augmentation(name)(same, training=True))
        assert len({image.tobytes() for image in out}) > 4

    def test_its_shape_stays_static(self, name):
        inputs = keras.Input((24, 32, 3))
        assert create_augmentation(name)(inputs).shape == (None, 24, 32, 3)


def test_height_and_width_are_stretched_on_their_own():
    stack = create_augmentation("tutorial")
    rows = np.broadcast_to(np.arange(24.0)[:, None, None] * 10, (24, 32, 3))
    images = np.repeat(rows[None], 8, axis=0).astype("float32")
    wide = np.asarray(stack.get_layer("random_width")(images, training=True))
    np.testing.assert_allclose(wide, images, atol=1e-2)
    tall = np.asarray(stack.get_layer("random_height")(images, training=True))
    assert np.abs(tall - images).max() > 1


@pytest.mark.parametrize("name", ["tutorail", 5])
def test_an_unknown_stack_is_refused(name):
    with pytest.raises(
        ValueError, match=rf"tutorial, photometric, generator. Received: .*={name!r}"
    ):
        create_augmentation(name)
