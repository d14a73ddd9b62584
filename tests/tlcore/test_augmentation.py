"""Augmentation: the tutorials' stacks."""

import keras
import numpy as np
import pytest

from tlcore.augmentation import (
    AUGMENTATIONS,
    Augmentation,
    RandomTone,
    create_augmentation,
)

from .chains import CHAINS

IMAGES = np.random.default_rng(0).integers(0, 256, (8, 24, 32, 3)).astype("float32")


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("tutorial", ["warp"]),
        ("photometric", ["warp", "tone"]),
        ("generator", ["warp"]),
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


@pytest.mark.parametrize("name", CHAINS)
def test_a_model_of_the_time_when_a_stack_was_a_chain_of_layers_is_read(name, tmp_path):
    inputs = keras.Input((24, 32, 3))
    chain = Augmentation(CHAINS[name](), name="augmentation")
    keras.Model(inputs, chain(inputs)).save(tmp_path / "model.keras")
    model = keras.saving.load_model(tmp_path / "model.keras")
    names = [layer.name for layer in model.get_layer("augmentation").layers]
    assert names == [layer.name for layer in chain.layers]
    np.testing.assert_array_equal(model.predict(IMAGES, verbose=0), IMAGES)
    assert np.abs(np.asarray(model(IMAGES, training=True)) - IMAGES).mean() > 1


@pytest.mark.parametrize("name", ["tutorail", 5])
def test_an_unknown_stack_is_refused(name):
    with pytest.raises(
        ValueError, match=rf"tutorial, photometric, generator. Received: .*={name!r}"
    ):
        create_augmentation(name)


class TestTone:
    @pytest.mark.parametrize("draws", [(0.9, 0.8), (-0.9, -0.7), (0.5, -1.0), (0, 0)])
    def test_it_is_contrast_then_brightness_of_keras(self, monkeypatch, draws):
        def uniform(shape, *_):
            drawn = np.float32(draws).reshape(2, 1, 1, 1, 1)
            return keras.ops.convert_to_tensor(np.broadcast_to(drawn, shape).copy())

        monkeypatch.setattr(keras.random, "uniform", uniform)
        found = RandomTone(0.5, 0.6)(IMAGES, training=True)
        contrast = keras.layers.RandomContrast(0.5, value_range=(0, 255))
        brightness = keras.layers.RandomBrightness(0.6, value_range=(0, 255))
        expected = contrast.transform_images(
            keras.ops.convert_to_tensor(IMAGES),
            {"contrast_factor": np.float32(1 + 0.5 * draws[0])},
        )
        expected = brightness.transform_images(
            expected, {"rgb_delta": np.float32(255 * 0.6 * draws[1])}
        )
        np.testing.assert_allclose(found, expected, atol=1e-3)

    def test_factors_and_shifts_are_drawn_over_their_range(self):
        keras.utils.set_random_seed(1)
        two = np.zeros((2000, 1, 2, 1), "float32")
        two[:, :, 0], two[:, :, 1] = 100, 150
        out = np.asarray(RandomTone(0.2, 0.3)(two, training=True))[:, 0, :, 0]
        factors = (out[:, 1] - out[:, 0]) / 50
        shifts = out.mean(axis=1) - 125
        for values, low, high in ((factors, 0.8, 1.2), (shifts, -76.5, 76.5)):
            inside = np.histogram(values, bins=10, range=(low, high))[0]
            assert inside.sum() >= 1995  # the rest rounds to just beyond
            assert inside.min() > 150
        assert abs(np.corrcoef(factors, shifts)[0, 1]) < 0.1

    def test_it_is_saved_with_a_model_and_loaded(self, tmp_path):
        inputs = keras.Input((24, 32, 3))
        tone = RandomTone(0.1, 0.3, seed=5)
        keras.Model(inputs, tone(inputs)).save(tmp_path / "model.keras")
        again = keras.saving.load_model(tmp_path / "model.keras")
        assert again.layers[1].get_config() == tone.get_config()
        expected = RandomTone(0.1, 0.3, seed=5)(IMAGES, training=True)
        np.testing.assert_array_equal(again(IMAGES, training=True), expected)
