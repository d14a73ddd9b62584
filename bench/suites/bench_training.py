"""Training on sample images: accuracy, seconds per epoch and where they go."""

import time
from functools import partial

import pytest

import tlcore as tl

SEEDS = tuple(range(1, 9))
EPOCHS, REPEATS = 5, 16
PHASES = (
    "feature_extraction",
    pytest.param("fine_tuning", marks=pytest.mark.matrix),
)
QUIET = {"verbose": 0}


def trained(phase, splits, *, seed):
    """Return sample_net after a phase on ten classes, and the number of its epochs."""
    import keras

    keras.utils.set_random_seed(seed)
    model = tl.create_model("sample_net", 10, input_shape=(96, 96, 3))
    train, validation = splits.train, splits.validation
    rate = {"learning_rate": 1e-2}
    first = tl.feature_extract(model, train, validation, epochs=EPOCHS, **rate, **QUIET)
    if phase == "feature_extraction":
        return model, EPOCHS
    tl.fine_tune(model, train, validation, history=first, epochs=EPOCHS, **QUIET)
    return model, 2 * EPOCHS


@pytest.mark.parametrize("phase", PHASES)
def bench_accuracy(phase, sample_splits, record):
    """Accuracy on the test images over seeds, and counts that must not change."""
    from tlcore.evaluation import evaluate

    for seed in SEEDS:
        model, _ = trained(phase, sample_splits, seed=seed)
        score = evaluate(model, sample_splits.test)["accuracy"]
        correct = round(score.value * score.n)
        record.metric(
            "test_accuracy", correct=correct, n=score.n, seed=seed, portable=True
        )
    counts = tl.trainable_summary(model)
    record.exact("total_params", counts.total_params)
    record.exact("trainable_params", counts.trainable_params)
    record.exact("trainable_tensors", counts.trainable_tensors)


@pytest.mark.parametrize("phase", PHASES)
def bench_epoch(phase, sample_splits, time_epochs, record):
    """Seconds of an epoch with validation; nothing is cached."""
    model, start = trained(phase, sample_splits, seed=1)
    before = tl.frozen_fingerprint(model)
    fit = partial(tl.fit, model, sample_splits.train, cache="off", **QUIET)

    def epoch(index):
        fit(
            validation=sample_splits.validation,
            initial_epoch=start + index,
            epochs=start + index + 1,
        )

    time_epochs(epoch, epochs=REPEATS)
    record.exact("frozen_is_frozen", tl.frozen_fingerprint(model) == before)


@pytest.mark.matrix
def bench_epoch_split(sample_splits, tmp_path, record):
    """Where the time of an epoch goes: whole epochs, each with one more thing in it.

    Nothing is measured within an epoch. A clock around every batch would either wait
    for the device and slow it down, or not wait and charge its time to the input.
    """
    import costs
    import keras

    from tlcore.callbacks import EpochClock

    keras.utils.set_random_seed(1)
    model = tl.create_model("sample_net", 10, input_shape=(96, 96, 3))
    tl.freeze(model)
    model.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
    train, validation = sample_splits.train, sample_splits.validation
    held = train.unshuffled().dataset().cache()
    callbacks = [
        keras.callbacks.ModelCheckpoint(str(tmp_path / "{epoch}.weights.h5")),
        keras.callbacks.TensorBoard(str(tmp_path)),
    ]
    works = {
        "compute": partial(plain_fit, model, held),
        "+input": partial(plain_fit, model, train.dataset(reshuffle=True)),
        "+validation": partial(
            plain_fit,
            model,
            train.dataset(reshuffle=True),
            validation_data=validation.dataset(),
        ),
        "+callbacks": partial(
            plain_fit,
            model,
            train.dataset(reshuffle=True),
            validation_data=validation.dataset(),
            callbacks=callbacks,
        ),
    }
    seconds = {name: [] for name in works}
    spent = {name: [] for name in works}
    for turn in range(3):
        for name, work in works.items():
            wall, cpu = EpochClock(), EpochClock(time.process_time)
            work(wall, cpu)
            costs.synchronize()
            seconds[name] += wall.seconds[1:]
            spent[name] += cpu.seconds[1:]
            if turn == 0 and name == "compute":
                first = wall.seconds[:1], cpu.seconds[:1]
                record.timing("epoch.first", first[0], warmup=0, cpu=first[1])
    for name in works:
        record.timing(f"epoch.{name}", seconds[name], warmup=0, cpu=spent[name])


def plain_fit(model, data, *clocks, callbacks=(), **options):
    """Train for a few epochs with Keras's own `fit`."""
    model.fit(
        data,
        epochs=4,
        callbacks=[*callbacks, *clocks],
        verbose=0,
        shuffle=False,
        **options,
    )
