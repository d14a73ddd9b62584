"""Warp: the geometry of Keras's layers, in one resampling."""

import keras
import numpy as np
import pytest
from scipy.stats import ks_2samp

from tlcore.augmentation import AUGMENTATIONS, create_augmentation
from tlcore.warp import RandomWarp, transforms

from .chains import CHAINS

layers = keras.layers
HEIGHT, WIDTH = 40, 56
SHAPE = (HEIGHT, WIDTH, 3)


def noise(count=4, shape=SHAPE):
    return np.random.default_rng(0).uniform(0, 255, (count, *shape)).astype("float32")


def warp_of(name):
    return create_augmentation(name).layers[0]


def warped(images, steps, draws, fill_mode="reflect"):
    """Return images warped by steps with the same draws for all of them."""
    same = np.tile(np.float32(draws), (len(images), 1))
    rows = transforms(steps, same, images.shape[1:3])
    return np.asarray(
        keras.ops.image.affine_transform(images, rows, fill_mode=fill_mode)
    )


def drawn(factor, draw):
    """Return the range of a Keras layer that draws what a warp makes of a draw."""
    value = factor * draw
    return (value, value)


def keras_step(step, draws, fill_mode):
    """Return the layer of Keras that does what a step does with some draws."""
    kind, *factors = step
    if kind == "flip":
        return Flip(factors[0], draws[0] <= 0)
    ranges = [drawn(f, u) for f, u in zip(factors, draws, strict=True)]
    fill = {"fill_mode": fill_mode}
    if kind == "rotation":
        return layers.RandomRotation(*ranges, **fill)
    if kind == "translation":
        return layers.RandomTranslation(*ranges, **fill)
    if kind == "zoom":
        return layers.RandomZoom(*ranges, **fill)
    return Shear(*(low for low, _ in ranges), fill_mode)


class Shear:
    """Keras's shear by given factors: its layer draws a sign of its own."""

    def __init__(self, x, y, fill_mode):
        self.layer = layers.RandomShear(fill_mode=fill_mode)
        self.factors = x, y

    def __call__(self, images, training):
        factors = np.tile(np.float32(self.factors), (len(images), 1))
        return self.layer.transform_images(images, {"shear_factor": factors})


class Flip:
    """Keras's flip, or not."""

    def __init__(self, mode, flips):
        self.layer = layers.RandomFlip(mode)
        self.flips = flips

    def __call__(self, images, training):
        flips = np.full((len(images), 1, 1, 1), self.flips)
        return self.layer.transform_images(images, {"flips": flips})


@pytest.mark.parametrize("fill_mode", ["reflect", "nearest", "constant", "wrap"])
@pytest.mark.parametrize(
    ("step", "draws"),
    [
        (("flip", "horizontal"), [-0.2]),
        (("flip", "horizontal"), [0.7]),
        (("flip", "vertical"), [0.0]),
        (("flip", "horizontal_and_vertical"), [-0.1]),
        (("rotation", 0.2), [1.0]),
        (("rotation", 1.0), [-0.8]),
        (("translation", 0.2, 0.4), [-1.0, 0.8]),
        (("shear", 0.2, 0.5), [1.0, -0.4]),
        (("zoom", 0.2), [-1.0]),
        (("zoom", 0.2, 0.5), [0.8, -0.6]),
        (("zoom", 0.0, 0.2), [0.8, -0.6]),
    ],
)
def test_a_step_is_the_layer_of_keras(step, draws, fill_mode):
    images = noise(2)
    expected = np.asarray(keras_step(step, draws, fill_mode)(images, training=True))
    found = warped(images, [step], draws, fill_mode)
    # Beyond an edge a rounding error of 1e-5 pixels decides between two pixels.
    different = np.abs(found - expected) > 0.1
    assert different.mean() < 2e-3


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_a_warp_is_the_chain_of_keras_within_interpolation(name, seed):
    """On a smooth image, where the chain has not met an edge."""
    warp = warp_of(name)
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype("float32")
    waves = [np.sin(x / 9), np.cos(y / 7), np.sin((x + y) / 11)]
    smooth = (127.5 + 127.5 * np.stack(waves, axis=-1))[None]
    count = sum(len(factors) for _, *factors in warp.steps)
    draws = np.random.default_rng(seed).uniform(-1, 1, size=count)
    chained, inside = smooth, np.ones_like(smooth)
    at = 0
    for step in warp.steps:
        mine = draws[at : at + len(step) - 1]
        at += len(mine)
        chained = keras_step(step, mine, "constant")(chained, training=True)
        inside = keras_step(step, mine, "constant")(inside, training=True)
    clear = np.asarray(inside) > 0.9999
    assert clear.mean() > 0.3
    found = warped(smooth, warp.steps, draws, warp.fill_mode)
    assert np.abs(found - np.asarray(chained))[clear].max() < 3


def affine(transform, count, size=27, reach=2):
    """Return the six entries of each image's matrix, (count, 6), as they are drawn.

    The pixels of the images are their own coordinates, which linear interpolation
    keeps; where three of the result come from gives the matrix.
    """
    y, x = np.mgrid[:size, :size].astype("float32")
    images = np.repeat(np.stack([x, y, x], axis=-1)[None], count, axis=0)
    out = np.asarray(transform(images, training=True))[..., :2]
    middle = size // 2
    right = (out[:, middle, middle + reach] - out[:, middle, middle]) / reach
    down = (out[:, middle + reach, middle] - out[:, middle, middle]) / reach
    entries = np.concatenate([right, down, out[:, middle, middle]], axis=1)
    return entries.round(3)  # without rounding errors around values that are fixed


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_the_geometry_has_the_distribution_of_the_chain(name):
    keras.utils.set_random_seed(1)
    ours = affine(warp_of(name), 1000)
    theirs = affine(keras.Sequential(CHAINS[name]()), 1000)
    for i in range(6):
        assert ks_2samp(ours[:, i], theirs[:, i]).pvalue > 1e-3
    # And together: entries depend on each other as those of a rotation do.
    for i in range(6):
        for j in range(i):
            products = (x[:, i] * x[:, j] for x in (ours, theirs))
            assert ks_2samp(*products).pvalue > 1e-3


class TestOneResampling:
    @pytest.mark.tensorflow  # the operation that resamples is
    @pytest.mark.parametrize("name", AUGMENTATIONS)
    def test_there_is_one_in_the_graph_of_every_stack(self, name):
        import tensorflow as tf

        stack = create_augmentation(name)
        call = tf.function(lambda images: stack(images, training=True))
        graph = call.get_concrete_function(tf.TensorSpec((None, 24, 32, 3))).graph
        kinds = [operation.type for operation in graph.get_operations()]
        assert kinds.count("ImageProjectiveTransformV3") == 1

    def test_a_flip_moves_pixels_and_changes_none(self):
        images = noise(1)
        flipped = warped(images, [("flip", "horizontal")], [-1.0])
        np.testing.assert_array_equal(flipped, images[:, :, ::-1])

    def test_nothing_drawn_is_nothing_changed(self):
        steps = warp_of("generator").steps
        zeros = [0.0] * sum(len(step) - 1 for step in steps[:-1])
        np.testing.assert_allclose(
            warped(noise(1), steps, [*zeros, 1.0]), noise(1), atol=1e-2
        )

    def test_height_and_width_are_stretched_on_their_own(self):
        rows = np.broadcast_to(np.arange(24.0)[:, None, None] * 10, (24, 32, 3))
        images = np.repeat(rows[None], 8, axis=0).astype("float32")
        wide = RandomWarp([("zoom", 0.0, 0.2)])(images, training=True)
        np.testing.assert_allclose(wide, images, atol=1e-2)
        tall = RandomWarp([("zoom", 0.2, 0.0)])(images, training=True)
        assert np.abs(np.asarray(tall) - images).max() > 1


class TestLayer:
    def test_a_seed_gives_the_same_warps_and_each_call_others(self):
        outputs = []
        for _ in range(2):
            keras.utils.set_random_seed(3)
            warp = warp_of("tutorial")
            outputs.append([np.asarray(warp(noise(), training=True)) for _ in "ab"])
        np.testing.assert_array_equal(*outputs)
        assert not np.array_equal(*outputs[0])

    def test_it_is_the_identity_outside_training_whatever_is_left_out(self):
        for options in ({}, {"training": None}, {"training": False}):
            out = warp_of("tutorial")(noise(), **options)
            np.testing.assert_array_equal(out, noise())

    def test_it_is_saved_with_a_model_and_loaded(self, tmp_path):
        inputs = keras.Input(SHAPE)
        warp = RandomWarp([("flip", "vertical"), ("zoom", 0.1, 0.2)], seed=5)
        keras.Model(inputs, warp(inputs)).save(tmp_path / "model.keras")
        again = keras.saving.load_model(tmp_path / "model.keras")
        loaded = again.layers[1]
        assert loaded.get_config() == warp.get_config()
        assert loaded.steps == (("flip", "vertical"), ("zoom", 0.1, 0.2))
        expected = RandomWarp(warp.steps, seed=5)(noise(), training=True)
        np.testing.assert_array_equal(again(noise(), training=True), expected)

    def test_the_size_of_images_may_be_unknown(self):
        inputs = keras.Input((None, None, 3))
        outputs = RandomWarp([("rotation", 0.2), ("translation", 0.1, 0.1)])(inputs)
        assert outputs.shape == (None, None, None, 3)
        model = keras.Model(inputs, outputs)
        for shape in ((20, 30, 3), (30, 20, 3)):
            assert model.predict(noise(2, shape), verbose=0).shape == (2, *shape)
            assert model(noise(2, shape), training=True).shape == (2, *shape)

    @pytest.mark.tensorflow
    def test_nor_need_a_graph_know_it(self):
        import tensorflow as tf

        warp = RandomWarp([("rotation", 0.2), ("translation", 0.1, 0.1)])
        call = tf.function(lambda images: warp(images, training=True))
        call = call.get_concrete_function(tf.TensorSpec((None, None, None, 3)))
        for shape in ((20, 30, 3), (30, 20, 3)):
            assert call(tf.constant(noise(2, shape))).shape == (2, *shape)

    def test_a_warp_without_steps_changes_nothing(self):
        np.testing.assert_array_equal(RandomWarp([])(noise(), training=True), noise())

    def test_a_single_image_is_refused(self):
        with pytest.raises(ValueError, match="expected ndim=4, found ndim=3"):
            RandomWarp([("flip", "vertical")])(noise()[0], training=True)

    def test_pixels_in_16_bits_are_warped_in_their_own_type(self):
        warp = RandomWarp([("rotation", 0.2)], dtype="float16")
        out = warp(noise(), training=True)
        assert keras.backend.standardize_dtype(out.dtype) == "float16"


class TestWrongInput:
    @pytest.mark.parametrize(
        ("step", "message"),
        [
            (
                ("turn", 0.2),
                "A step of a warp must be one of: flip, rotation, .*'turn'",
            ),
            (("rotatoin", 0.2), "Did you mean 'rotation'"),
            ("flip", "flip must be one of: horizontal, .* Received: flip=\\[\\]"),
            ((), "Received: step=\\(\\)"),
            (("flip", "both"), "horizontal_and_vertical. Received: flip='both'"),
            (("flip", "vertical", 1), "Received: flip=\\['vertical', 1\\]"),
            (("rotation",), 'as many as in \\("rotation", 0.2\\). Received: step='),
            (("rotation", -0.1), "factors of a rotation must be at least 0 and at mo"),
            (("rotation", "0.1"), "Received: step=\\('rotation', '0.1'\\)"),
            (("rotation", float("nan")), "Received: step=\\('rotation', nan\\)"),
            (("translation", 0.2), 'as in \\("translation", 0.2, 0.2\\)'),
            (("shear", 0.2, 1.5), 'as in \\("shear", 0.2, 0.0\\)'),
            (("zoom", 1), "factors of a zoom must be at least 0 and below 1"),
            (("zoom", 0.1, 0.1, 0.1), 'as in \\("zoom", 0.2\\) or \\("zoom", 0.2, 0.0'),
        ],
    )
    def test_a_step_without_a_matrix_is_refused(self, step, message):
        with pytest.raises(ValueError, match=message):
            RandomWarp([step])

    def test_a_fill_mode_that_keras_does_not_have_is_refused(self):
        with pytest.raises(ValueError, match="constant, nearest, reflect, wrap. Recei"):
            RandomWarp([("flip", "vertical")], fill_mode="mirror")
