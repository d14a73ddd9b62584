"""Overhead: an epoch of `feature_extract` compared to Keras's `fit`, in one run.

Both train the same kind of model on the same files, in alternating blocks, and are
compared block by block: whatever slows the machine down slows both.
"""

import time
from itertools import chain
from statistics import median

import pytest

import tlcore as tl

BLOCKS, EPOCHS = 7, 5
"""Pairs of blocks, and epochs in each; the first epoch of a block warms up."""
LIMIT = 1.05
"""The most that a warm epoch may take, as a multiple of plain Keras's."""


def plain_keras(directory):
    """Return what a tutorial would write: Keras's own loader, model and `fit`."""
    import keras

    size = (96, 96)
    train = keras.utils.image_dataset_from_directory(
        directory,
        image_size=size,
        batch_size=32,
        label_mode="categorical",
        verbose=False,
    )
    network = keras.applications.MobileNetV2(
        alpha=0.35, include_top=False, weights=None, input_shape=(*size, 3)
    )
    network.trainable = False
    inputs = keras.Input((*size, 3))
    x = keras.layers.Rescaling(1 / 127.5, -1.0)(inputs)
    x = keras.layers.GlobalAveragePooling2D()(network(x, training=False))
    outputs = keras.layers.Dense(10, activation="softmax")(x)
    model = keras.Model(inputs, outputs)
    model.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
    return lambda *clocks: model.fit(
        train, epochs=EPOCHS, callbacks=[*clocks], shuffle=False, verbose=0
    )


def ours(train):
    """Return the same, written with this package."""
    model = tl.create_model(
        "mobilenet_v2_035", 10, weights=None, input_shape=(96, 96, 3)
    )
    tl.feature_extract(model, train, epochs=1, verbose=0)
    return lambda *clocks: tl.fit(
        model, train, epochs=EPOCHS, callbacks=clocks, verbose=0
    )


def warm_epochs(block):
    """Return what all epochs of a block but the first took: seconds, processor time."""
    from tlcore.callbacks import EpochClock

    wall, cpu = EpochClock(), EpochClock(time.process_time)
    block(wall, cpu)
    return wall.seconds[1:], cpu.seconds[1:]


def bench_synchronisations(sample_splits, time_epochs, record, monkeypatch):
    """The harness waits for the device only before and after an epoch."""
    import costs
    import keras

    seen = {"within": 0, "edges": 0}
    within = []

    def counted():
        seen["within" if within else "edges"] += 1

    monkeypatch.setattr(costs, "synchronize", counted)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        monkeypatch.setattr(tf.test.experimental, "sync_devices", counted)
        monkeypatch.setattr(tf.experimental, "async_clear_error", counted)
    model = tl.create_model("sample_net", 10, input_shape=(96, 96, 3))
    tl.feature_extract(model, sample_splits.train, epochs=1, verbose=0)

    def epoch(index):
        within.append(index)
        fit_on = {"initial_epoch": 1 + index, "epochs": 2 + index, "verbose": 0}
        tl.fit(model, sample_splits.train, **fit_on)
        within.clear()

    time_epochs(epoch, epochs=4)
    record.exact("within_epochs", seen["within"])
    record.exact("at_their_edges", seen["edges"])


@pytest.mark.matrix
def bench_warm_epoch_beside_plain_keras(sample_splits, record):
    """At most 1.05 times plain Keras, by the median over pairs of blocks."""
    train = sample_splits.train
    sides = {"tlcore": ours(train), "keras": plain_keras(train.directory)}
    timed = {name: [] for name in sides}
    for _ in range(BLOCKS):
        for name, block in sides.items():
            timed[name].append(warm_epochs(block))
    for name, blocks in timed.items():
        seconds, spent = (list(chain(*clock)) for clock in zip(*blocks, strict=True))
        record.timing(name, seconds, warmup=0, cpu=spent)
    ratios = [
        median(a) / median(b) for (a, _), (b, _) in zip(*timed.values(), strict=True)
    ]
    record.metric("epoch_ratio", value=median(ratios))
    assert median(ratios) <= LIMIT, ratios
