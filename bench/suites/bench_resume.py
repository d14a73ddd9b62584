"""Resuming: what it costs to keep a state, and that nothing is lost where it breaks.

The long cases are marked slow: `tox -e resume`. They print the figures of the
documentation.
"""

import json
import subprocess
import sys
import time
from statistics import median

import pytest

import tlcore as tl

POINTS, SIZE, BATCH, TURNS = 200, 224, 32, 3
QUIET = {"verbose": 0}


@pytest.fixture
def model_2_images(tmp_path):
    """Ten classes of generated images, 200 and 100, at 224 pixels."""
    tl.write_sample_splits(tmp_path, classes=10, per_class=20)
    options = {"image_size": SIZE, "batch_size": BATCH}
    return [
        tl.image_folder(tmp_path / name, **options) for name in ("train", "validation")
    ]


def bench_two_runs(sample_splits, tmp_path, record):
    """Two runs under --deterministic: the same weights and figures, to the bit."""
    data = sample_splits.train.directory.parent
    options = ["--backbone", "sample_net", "--image-size", "32", "--percent", "100"]
    options += ["--epochs", "1", "--fine-tune-epochs", "1", "--deterministic", "--json"]
    ended = []
    for turn in "ab":  # each in a process of its own: the switch stays on
        out = ["--data", str(data), "--out", str(tmp_path / turn)]
        done = subprocess.run(
            [sys.executable, "-m", "tlcore", "run", "model_3", *options, *out],
            stdout=subprocess.PIPE,
            check=True,
        )
        ended.append(json.loads(done.stdout))
    for name in ("final_weights", "final"):
        record.exact(f"same_{name}", ended[0][name] == ended[1][name])


@pytest.mark.slow
@pytest.mark.timeout(6000)
def bench_interruptions(tmp_path_factory, record, table):
    """Trainings broken off at drawn moments: weights, slots, history, callbacks."""
    import interruptions  # here, because collecting tests must load no framework

    photos = tmp_path_factory.mktemp("photos")
    interruptions.write_photos(photos)
    different = {}
    for number in range(POINTS):
        folder = tmp_path_factory.mktemp("state") / "state"
        names = interruptions.differing(number, photos, folder)
        if names:
            different[number] = names
    record.exact("interrupted", POINTS)
    record.exact("equal", POINTS - len(different))
    assert not different
    table("trainings broken off and resumed, equal", None, POINTS, at_least=POINTS)


@pytest.mark.slow
@pytest.mark.timeout(3000)
def bench_keeping_a_state(model_2_images, tmp_path, table, monkeypatch):
    """Work of the states of `model_2` beside that of its epochs, and of the last 10."""
    from tlcore.callbacks import EpochClock
    from tlcore.checkpoints.loop import Loop

    train, validation = model_2_images
    save, work, seconds = Loop.save, [], []

    def timed(*given, **named):
        started = time.process_time(), time.perf_counter()
        path = save(*given, **named)
        work.append(time.process_time() - started[0])
        seconds.append(time.perf_counter() - started[1])
        return path

    monkeypatch.setattr(Loop, "save", timed)
    model = tl.create_model(
        "efficientnet_b0", 10, weights=None, augmentation="tutorial"
    )
    clock = EpochClock(time.process_time)
    first = tl.feature_extract(
        model,
        train,
        validation,
        epochs=4,
        cache=tmp_path / "cache",
        callbacks=[clock],
        state=tmp_path / "first",
        **QUIET,
    )
    part = median(work[1:]) / median(clock.seconds[1:])
    table("state of model_2, part of an epoch", None, part, at_most=0.03)
    seconds.clear()
    tl.fine_tune(
        model,
        train,
        history=first,
        epochs=2,
        state=tmp_path / "second",
        **QUIET,
    )
    # The first one writes the frozen weights beside it.
    table("state of the last 10, seconds", None, max(seconds), at_most=0.5)


@pytest.mark.slow
@pytest.mark.timeout(3000)
def bench_going_on(model_2_images, tmp_path, table):
    """Seconds to the first epoch of a training that goes on, and of a new one."""
    import keras

    class First(keras.callbacks.Callback):
        def __init__(self):
            super().__init__()
            self.start, self.seconds = time.perf_counter(), None

        def on_epoch_begin(self, epoch, logs=None):  # noqa: ARG002
            if self.seconds is None:
                self.seconds = time.perf_counter() - self.start

    train, validation = model_2_images
    more = {"cache": tmp_path / "cache", **QUIET}

    def new_model():
        keras.utils.set_random_seed(1)
        return tl.create_model("efficientnet_b0", 10, weights=None)

    tl.feature_extract(
        new_model(), train, validation, epochs=2, state=tmp_path / "state", **more
    )
    waits = {"new": [], "resumed": []}
    for turn in range(TURNS):
        model, first = new_model(), First()
        tl.feature_extract(
            model, train, validation, epochs=1, callbacks=[first], **more
        )
        waits["new"].append(first.seconds)
        model, first = new_model(), First()
        tl.resume(
            model,
            tmp_path / "state",
            train,
            validation,
            epochs=3 + turn,
            callbacks=[first],
            **more,
        )
        waits["resumed"].append(first.seconds)
    later = median(waits["resumed"]) - median(waits["new"])
    table("going on, seconds more than starting", None, later, at_most=2)
