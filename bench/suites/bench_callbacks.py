"""Callbacks: an epoch with TensorBoard or checkpoints, compared to one without."""

from statistics import median

import pytest

import tlcore as tl

BLOCKS, EPOCHS = 7, 4


@pytest.fixture
def callbacks(tmp_path):
    """Callbacks of both kinds, by name."""
    return {
        "tensorboard": tl.tensorboard_callback(str(tmp_path), "bench"),
        "checkpoint": tl.checkpoint_callback(tmp_path / "best.weights.h5"),
    }


@pytest.mark.matrix
@pytest.mark.parametrize("name", ["tensorboard", "checkpoint"])
def bench_epoch_with(name, callbacks, sample_splits, record):
    """The ratio of the two epochs, measured in alternating blocks."""
    import keras

    from tlcore.callbacks import EpochClock

    keras.utils.set_random_seed(1)
    model = tl.create_model("sample_net", 10, input_shape=(96, 96, 3))
    train, validation = sample_splits.train, sample_splits.validation
    tl.feature_extract(model, train, validation, epochs=1, verbose=0)
    ratios = []
    for _ in range(BLOCKS):
        middles = []
        for added in ([], [callbacks[name]]):
            clock = EpochClock()
            tl.fit(
                model,
                train,
                validation=validation,
                epochs=EPOCHS,
                cache="off",
                callbacks=[*added, clock],
                verbose=0,
            )
            middles.append(median(clock.seconds[1:]))
        ratios.append(middles[1] / middles[0])
    record.metric("epoch_ratio", value=median(ratios), better="lower")
