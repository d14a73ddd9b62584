"""Heads: each of many that are trained together ends as it would alone."""

import keras
import numpy as np
import pytest

import tlcore as tl
from tlcore.caching.feeds import CacheOptions, training_feed
from tlcore.choosing.heads import LAST, Beginning, HeadOptions, train_heads
from tlcore.data.spec import DataSpec
from tlcore.determinism import set_seed
from tlcore.optimizing.compiling import compile_phase, new_optimizer, smoothed_loss
from tlcore.optimizing.schedules import new_schedule

EPOCHS = 3
# PyTorch's layers draw from numbers that other things draw from too.
DROPS = keras.backend.backend() != "torch"
HEADS = [
    HeadOptions(0.01),
    HeadOptions(0.1, 0.0, 0.5),
    *([HeadOptions(0.01, 0.3), HeadOptions(0.1, 0.5, 0.5)] if DROPS else []),
]


def model_of(tiny, head, classes):
    set_seed(5)
    return tiny(classes, dropout=head.dropout)


def together(tiny, train, heads, *, name="adam", classes=3, schedule=None, **options):
    """Return the weights of heads, (kernels, biases)."""
    beginnings = {}
    for head in heads:
        model = model_of(tiny, head, classes)
        beginnings[head.dropout > 0] = Beginning.of(model)
    tl.freeze(model)
    optimizer = new_optimizer(name, schedule and schedule(1.0), default=1.0)
    compile_phase(model, DataSpec.of(train, "train"), optimizer, None, ())
    steps = len(train)
    feed = training_feed(model, train, CacheOptions(), range(EPOCHS * steps))
    assert feed.cached
    found = train_heads(
        heads, beginnings, feed.data, optimizer, epochs=EPOCHS, steps=steps, **options
    )
    return [keras.ops.convert_to_numpy(x) for x in (found.kernel, found.bias)]


def alone(tiny, train, head, *, name="adam", classes=3, schedule=None, **options):
    """Return the weights of one head that `feature_extract` trained."""
    model = model_of(tiny, head, classes)
    rate = schedule(head.learning_rate) if schedule else head.learning_rate
    optimizer = new_optimizer(
        name, rate, default=1.0, weight_decay=head.weight_decay or 0.0
    )
    tl.feature_extract(
        model, train, epochs=EPOCHS, optimizer=optimizer, verbose=0, **options
    )
    return model.get_layer(LAST).get_weights()


def check(tiny, train, heads, *, given=None, **same):
    kernels, biases = together(tiny, train, heads, **same, **(given or {}))
    for i, head in enumerate(heads):
        options = dict(given or {})
        smoothing = options.pop("smoothing", 0)
        if smoothing:
            binary = same.get("classes") == 1
            options["loss"] = smoothed_loss(smoothing, binary=binary)
        kernel, bias = alone(tiny, train, head, **same, **options)
        np.testing.assert_allclose(kernels[i], kernel, atol=1e-6)
        np.testing.assert_allclose(biases[i], bias, atol=1e-6)
    assert np.abs(kernels[0] - kernels[1]).max() > 1e-3


def test_each_ends_as_alone(tiny, train):
    check(tiny, train, HEADS)


@pytest.mark.matrix
@pytest.mark.parametrize("name", ["adamw", "rmsprop", "sgd"])
def test_with_any_optimizer(tiny, train, name):
    check(tiny, train, HEADS, name=name)


@pytest.mark.matrix
@pytest.mark.parametrize(
    "given",
    [{"smoothing": 0.1}, {"class_weight": {0: 1.0, 1: 3.0, 2: 0.5}}],
    ids=["smoothing", "weights"],
)
def test_with_options_of_the_loss(tiny, train, given):
    check(tiny, train, HEADS, given=given)


@pytest.mark.matrix
def test_along_a_schedule(tiny, train):
    def schedule(rate):
        return new_schedule("cosine", rate, EPOCHS * len(train), warm_up=2)

    check(tiny, train, HEADS, schedule=schedule)


@pytest.mark.matrix
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_with_one_output(tiny, tmp_path, smoothing):
    tl.write_sample_images(tmp_path, classes=2, per_class=9, size=32)
    train = tl.image_folder(tmp_path, image_size=32, batch_size=4, label_mode="binary")
    check(tiny, train, HEADS, classes=1, given={"smoothing": smoothing})


def test_one_that_diverges_does_no_harm_to_the_others(tiny, train):
    heads = [HeadOptions(0.01), HeadOptions(1e20, 0.0, 1e30), HeadOptions(0.1)]
    kernels, _ = together(tiny, train, heads, name="sgd")
    assert not np.isfinite(kernels[1]).all()
    assert np.isfinite(kernels[[0, 2]]).all()
    kernel, _ = alone(tiny, train, heads[0], name="sgd")
    np.testing.assert_allclose(kernels[0], kernel, atol=1e-6)
