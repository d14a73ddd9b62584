"""Quantizing: the shift that rounded weights cause is calculated, and taken off."""

from types import SimpleNamespace

import keras
import numpy as np
import pytest

from tlcore.exporting.quantizing import correct_biases, mean_output

pytestmark = pytest.mark.tensorflow

PADDINGS = {"same": 0, "valid": 1}


def options(stride, dilation, padding):
    return SimpleNamespace(
        strideH=stride,
        strideW=stride,
        dilationHFactor=dilation,
        dilationWFactor=dilation,
        padding=PADDINGS[padding],
    )


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize(
    ("size", "kernel", "stride", "dilation"),
    [
        (8, 3, 1, 1),
        (8, 3, 2, 1),
        (9, 3, 2, 1),
        (9, 4, 3, 1),
        (11, 3, 1, 2),
        (7, 1, 2, 1),
    ],
)
def test_the_mean_output_is_that_of_the_layer(size, kernel, stride, dilation, padding):
    rng = np.random.default_rng(0)
    images = rng.normal(size=(5, size, size, 4)).astype("float32")
    mean, given = images.mean(axis=0, keepdims=True), options(stride, dilation, padding)
    settings = {"strides": stride, "padding": padding, "dilation_rate": dilation}

    weights = rng.normal(size=(kernel, kernel, 4, 6)).astype("float32")
    expected = keras.ops.conv(images, weights, **settings)
    found = mean_output("CONV_2D", given, weights.transpose(3, 0, 1, 2), mean)
    np.testing.assert_allclose(found, np.mean(expected, (0, 1, 2)), atol=1e-5)

    # In two groups: the first three outputs see the first two inputs alone.
    halves = [
        keras.ops.conv(images[..., i : i + 2], weights[:, :, :2, j : j + 3], **settings)
        for i, j in ((0, 0), (2, 3))
    ]
    found = mean_output("CONV_2D", given, weights[:, :, :2].transpose(3, 0, 1, 2), mean)
    expected = np.concatenate([np.mean(x, (0, 1, 2)) for x in halves])
    np.testing.assert_allclose(found, expected, atol=1e-5)

    if stride == 1 or dilation == 1:
        weights = rng.normal(size=(kernel, kernel, 4, 2)).astype("float32")
        expected = keras.ops.depthwise_conv(images, weights, **settings)
        ours = weights.reshape(1, kernel, kernel, 8)
        found = mean_output("DEPTHWISE_CONV_2D", given, ours, mean)
        np.testing.assert_allclose(found, np.mean(expected, (0, 1, 2)), atol=1e-5)


def test_the_mean_output_of_a_dense_layer_is_its_mean():
    rng = np.random.default_rng(0)
    rows, weights = rng.normal(size=(7, 5)), rng.normal(size=(3, 5))
    found = mean_output("FULLY_CONNECTED", None, weights, rows.mean(0, keepdims=True))
    np.testing.assert_allclose(found, (rows @ weights.T).mean(0))


def rounded_to_nothing():
    """Return a network whose small weights all become 0 in 8 bits."""
    weights = np.full((3, 3, 4, 1), 0.45 / 127, "float32")
    weights[1, 1] = 1.0
    point = np.full((1, 1, 4, 4), 0.45 / 127, "float32")
    point[0, 0] += np.eye(4, dtype="float32")
    image = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 1, use_bias=False, kernel_initializer="ones")(image)
    depthwise = keras.layers.DepthwiseConv2D(3, padding="same", use_bias=False)
    x = depthwise(x)
    pointwise = keras.layers.Conv2D(4, 1)
    x = pointwise(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    dense = keras.layers.Dense(4, use_bias=False)
    # LiteRT has no sine in 8 bits.
    model = keras.Model(image, keras.ops.sin(dense(x)))
    depthwise.set_weights([weights])
    pointwise.set_weights([point, np.zeros(4)])
    dense.set_weights([point[0, 0] / 10])
    return model


def outputs(content, images):
    from ai_edge_litert.interpreter import Interpreter

    model = Interpreter(model_content=content)
    model.allocate_tensors()
    (taken,), (given,) = model.get_input_details(), model.get_output_details()
    rows = []
    for image in images:
        model.set_tensor(taken["index"], image[None])
        model.invoke()
        rows.append(np.array(model.get_tensor(given["index"])[0]))
    return np.array(rows)


def converted(folder, images):
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder))
    if images is not None:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([row[None]] for row in images)
    return converter.convert()


def test_the_shift_of_rounded_weights_is_taken_off(tmp_path):
    pytest.importorskip("ai_edge_litert")
    model = rounded_to_nothing()
    model.export(tmp_path / "model", verbose=False)
    rng = np.random.default_rng(0)
    images = rng.uniform(0.5, 1.0, (24, 8, 8, 3)).astype("float32")
    calibration, others = images[:16], images[16:]
    floats, plain = (converted(tmp_path / "model", x) for x in (None, calibration))
    found = correct_biases(floats, plain, calibration)
    expected = model.predict_on_batch(others)
    before = np.abs((outputs(plain, others) - expected).mean())
    after = np.abs((outputs(found.content, others) - expected).mean())
    assert after < before / 4
    assert (found.corrected, found.uncorrected) == (4, ())
    (sine,) = found.in_float
    assert sine.startswith("SIN ")
    assert len(found.content) < len(plain) + 1024

    # A layer that is not found in the model in floats is named.
    other = floats.replace(b"depthwise_conv2d", b"depthwise_conv2x")
    found = correct_biases(other, plain, calibration)
    (name,) = found.uncorrected
    assert found.corrected == 3
    assert name.startswith("DEPTHWISE_CONV_2D ")
