"""Sample net: small, quick, and its weights are better than random ones."""

import re

import keras
import numpy as np
import pytest

from tlcore.backbones.sample_net import SAMPLE_NET_WEIGHTS, build_sample_net
from tlcore.data.drawing import PRETRAINING_KINDS, SAMPLE_KINDS, draw_sample_image
from tlcore.evaluation import evaluate
from tlcore.models import create_model
from tlcore.training import feature_extract


def tf():
    """Return TensorFlow, for the tests that are marked with its name."""
    return pytest.importorskip("tensorflow")


KINDS = SAMPLE_KINDS[:10]
TRAIN_PER_CLASS, TEST_PER_CLASS = 10, 20
SEEDS = range(3)
LABELS = np.repeat(np.arange(len(KINDS)), TEST_PER_CLASS)


def with_weights(**options):
    net = build_sample_net(**options)
    net.load_weights(SAMPLE_NET_WEIGHTS)
    return net


def draw(first, per_class, seed, kinds=KINDS):
    """Return drawings under the input contract, class by class."""
    images = [
        draw_sample_image(kind, first + number, seed=seed)
        for kind in kinds
        for number in range(per_class)
    ]
    return np.stack(images).astype(np.float32) / 127.5 - 1.0


def pooled(net, images):
    features = net(images, training=False)
    return keras.ops.convert_to_numpy(features).mean(axis=(1, 2))


def accuracy_of_head(train, test):
    """Return the accuracy of a linear head, by ridge regression on scaled features."""
    mean, spread = train.mean(axis=0), train.std(axis=0) + 1e-6
    x, y = (train - mean) / spread, np.repeat(np.eye(len(KINDS)), TRAIN_PER_CLASS, 0)
    kernel = x @ x.T + 10.0 * np.eye(len(x))
    scores = (test - mean) / spread @ x.T @ np.linalg.solve(kernel, y - y.mean(axis=0))
    return float((scores.argmax(axis=1) == LABELS).mean())


def random_net(images, seed):
    """Build a net with random weights and the BatchNorm statistics of `images`."""
    keras.utils.set_random_seed(seed)
    net = build_sample_net()
    for layer in net.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0  # so that it takes over the statistics of one batch
    net(images, training=True)
    return net


@pytest.mark.matrix
def test_pretrained_features_beat_random_ones_by_twenty_points():
    pretrained = with_weights()
    rows = []
    for seed in SEEDS:
        train = draw(0, TRAIN_PER_CLASS, seed)
        test = draw(TRAIN_PER_CLASS, TEST_PER_CLASS, seed)
        rows.append(
            [
                accuracy_of_head(pooled(net, train), pooled(net, test))
                for net in (pretrained, random_net(train, seed))
            ]
        )
    pretrained_accuracy, random_accuracy = np.array(rows).T
    difference = pretrained_accuracy - random_accuracy
    report = "; ".join(
        f"{name} {values.mean():.3f} (spread over seeds {values.std(ddof=1):.3f})"
        for name, values in (
            ("packaged weights", pretrained_accuracy),
            ("random weights", random_accuracy),
            ("difference", difference),
        )
    )
    print(report)  # noqa: T201 - shown by `pytest -s`
    assert difference.mean() >= 0.20, report
    assert difference.min() >= 0.20
    assert 0.80 <= pretrained_accuracy.mean() <= 0.99


@pytest.mark.matrix
def test_they_do_through_feature_extraction_too():
    images = draw(0, TRAIN_PER_CLASS, seed=0), draw(TRAIN_PER_CLASS, 10, seed=0)
    train, test = (
        tf()
        .data.Dataset.from_tensor_slices(
            ((x + 1) * 127.5, np.arange(len(x)) // (len(x) // len(KINDS)))
        )
        .batch(50)
        for x in images
    )
    accuracies = []
    for weights in ("imagenet", None):
        keras.utils.set_random_seed(0)
        model = create_model(
            "sample_net", len(KINDS), weights=weights, input_shape=(96, 96, 3)
        )
        if weights is None:
            calibrated = random_net(images[0], seed=0).get_weights()
            model.get_layer("sample_net").network.set_weights(calibrated)
        feature_extract(model, train, epochs=10, learning_rate=0.04, verbose=0)
        accuracies.append(evaluate(model, test)["accuracy"].value)
    pretrained, random = accuracies
    assert pretrained >= random + 0.20, accuracies


def test_net_and_file_are_small():
    assert build_sample_net().count_params() <= 150_000
    assert SAMPLE_NET_WEIGHTS.stat().st_size <= 600_000


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [(32, 32, (2, 2)), (96, 96, (6, 6)), (100, 33, (7, 3)), (224, 224, (14, 14))],
)
def test_the_weights_load_at_every_input_size(height, width, expected):
    net = with_weights(input_shape=(height, width, 3))
    assert net.output_shape == (None, *expected, 128)
    images = np.linspace(-1, 1, height * width * 3, dtype=np.float32)
    features = net.predict(images.reshape(1, height, width, 3), verbose=0)
    assert features.shape == (1, *expected, 128)
    assert np.isfinite(features).all()
    assert features.std() > 0


def test_the_packaged_batchnorm_statistics_fit_inference():
    net = with_weights()
    images = draw(0, 8, seed=0, kinds=PRETRAINING_KINDS)
    inference, training = (
        keras.ops.convert_to_numpy(net(images, training=mode)) for mode in (False, True)
    )
    assert np.corrcoef(inference.ravel(), training.ravel())[0, 1] > 0.97


def test_layers_are_those_of_a_residual_network_and_have_names_of_their_own():
    net = build_sample_net()
    assert {type(layer).__name__ for layer in net.layers} == {
        "InputLayer",
        "Conv2D",
        "SeparableConv2D",
        "BatchNormalization",
        "ReLU",
        "Add",
    }
    names = [layer.name for layer in net.layers]
    assert names == [layer.name for layer in build_sample_net().layers]
    assert all(
        re.fullmatch(r"(sample_net|stem|block\d)_[a-z_]+", name) for name in names
    )


def test_the_name_of_the_net_can_be_chosen():
    assert build_sample_net().name == "sample_net"
    assert build_sample_net(name="mine").name == "mine"


@pytest.mark.parametrize("shape", [(31, 96, 3), (96, 16, 3)])
def test_images_too_small_are_refused(shape):
    message = f"at least 32 pixels high and wide. Received: input_shape={shape}."
    with pytest.raises(ValueError, match=re.escape(message)):
        build_sample_net(shape)
