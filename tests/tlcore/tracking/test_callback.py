"""Callback: every epoch once, in one run of the tracker, whatever breaks."""

import subprocess
import sys
from types import SimpleNamespace

import keras
import numpy as np
import pytest

import tlcore as tl
from tlcore.tracking.callback import TrackerCallback, connect, ending_of

SHORT = {"verbose": 0, "cache": "off"}


MODEL = SimpleNamespace(
    layers=(), optimizer=SimpleNamespace(learning_rate=np.float32(0.5))
)


@pytest.fixture
def lines():
    return []


@pytest.fixture
def made(scripted, lines):
    """Return a function that makes a tracker and a callback in a new process."""

    def make(store=None, fails=(), **options):
        tracker = scripted(store, fails)
        callback = TrackerCallback(
            tracker, say=lines.append, clock=lambda: 7.0, **options
        )
        callback.set_model(MODEL)
        return tracker, callback

    return make


def train(callback, *epochs, ends=True):
    callback.on_train_begin()
    for epoch in epochs:
        callback.on_epoch_begin(epoch)
        callback.on_epoch_end(epoch, {"loss": 1.0 / (1 + epoch)})
    if ends:
        callback.on_train_end()


def test_two_fits_are_one_run_with_contiguous_epochs(made, lines):
    tracker, callback = made(params={"dropout": 0.2})
    with callback:
        train(callback, 0, 1)
        assert tracker.run["status"] == "running"
        train(callback, 2)
    assert tracker.calls == ["open", "describe", *["log"] * 3, "end"]
    assert tracker.epochs == [0, 1, 2]
    assert tracker.run["status"] == "finished"
    assert tracker.run["params"] == {"dropout": 0.2}
    figures = {"learning_rate": 0.5, "loss": 1.0}
    assert tracker.run["epochs"][0] == (0, 7.0, "fit", figures)
    assert lines == ["Scripted: script://look"]
    assert callback.complete


def test_a_tracker_that_fails_is_left_alone_and_warned_of_once(made, lines):
    tracker, callback = made()
    train(callback, 0, ends=False)
    tracker.fails = {"log"}
    train(callback, 1, 2, 3)
    assert tracker.calls.count("log") == 2
    assert not callback.complete
    assert callback.finish() is False
    assert tracker.epochs == [0]
    assert [line for line in lines if "warning" in line] == [
        "warning: Scripted at script:// fails (log failed); the training goes on, and "
        "what is missing is sent at its end if it answers then"
    ]


def test_what_is_missing_is_sent_at_the_end_if_it_answers_then(made, lines):
    tracker, callback = made(fails={"open"})
    train(callback, 0, 1)
    assert tracker.calls == ["open"]
    tracker.fails = set()
    assert callback.finish()
    assert tracker.epochs == [0, 1]
    assert lines[-1] == "Scripted answers again, and has everything"


def test_a_failure_at_the_end_alone_is_said_and_remembered(made, lines):
    _, callback = made(fails={"end"})
    train(callback, 0)
    assert callback.finish() is False
    assert not callback.complete
    assert lines[-1].endswith("fails (end failed); not all was logged")


def test_a_run_that_never_began_needs_no_end(made):
    tracker, callback = made()
    assert callback.finish()
    assert not tracker.calls


@pytest.mark.parametrize("logged_before_the_break", [True, False])
def test_a_training_that_is_resumed_logs_no_epoch_twice_and_loses_none(
    made, logged_before_the_break
):
    store = {}
    _, before = made(store)
    train(before, 0, ends=False)
    state = before.state_dict()  # and the next epoch has no state any more
    if logged_before_the_break:
        train(before, 1, ends=False)
    else:
        store[before.key]["epochs"].clear()  # not on the disk yet
    other, after = made(store)
    after.on_train_begin()
    after.load_state_dict(state)
    for epoch in (1, 2):
        after.on_epoch_begin(epoch)
        after.on_epoch_end(epoch, {"loss": 0.1})
    assert after.finish()
    assert list(store) == [before.key]
    assert other.epochs == [0, 1, 2]


def test_a_key_that_is_given_is_not_that_of_the_state(made):
    _, before = made()
    train(before, 0)
    other, after = made(key="mine")
    after.load_state_dict(before.state_dict())
    train(after, 1)
    assert (other.id, other.epochs) == ("mine", [0, 1])


def test_epochs_that_are_trained_again_are_forgotten(made):
    tracker, callback = made()
    history = {"epoch": [0, 1], "phase": ["fit", "fit"], "loss": [9.0, None]}
    callback.remember(history)
    train(callback, 1)
    losses = [figures["loss"] for *_, figures in tracker.run["epochs"]]
    assert losses == [9.0, 0.5]


@pytest.mark.parametrize(
    ("error", "ending"),
    [
        (None, "finished"),
        (SystemExit(0), "finished"),
        (SystemExit(143), "killed"),
        (KeyboardInterrupt(), "killed"),
        (FloatingPointError(), "failed"),
    ],
)
def test_how_a_run_ends(made, error, ending):
    assert ending_of(error) == ending
    tracker, callback = made()
    train(callback, 0, ends=False)
    callback.__exit__(type(error), error, None)
    assert tracker.run["status"] == ending


def test_a_tracker_that_does_not_answer_is_refused_with_a_remedy(scripted):
    message = (
        r"Scripted must answer before training begins\. Received: script://, connect "
        r"failed\. Start it\."
    )
    with pytest.raises(ValueError, match=message):
        connect(scripted(fails={"connect"}))


AT_EXIT = """
import sys
sys.path.insert(0, {folder!r})
from scripted import Scripted
from tlcore.tracking.callback import TrackerCallback
class Loud(Scripted):
    def end(self, status):
        print("ended", status, self.epochs)
from types import SimpleNamespace
MODEL = SimpleNamespace(layers=(), optimizer=SimpleNamespace(learning_rate=1.0))
callback = TrackerCallback(Loud(), say=lambda line: None)
callback.set_model(MODEL)
callback.on_train_begin()
callback.on_epoch_begin(0)
callback.on_epoch_end(0, {{"loss": 1.0}})
{ending}
"""


@pytest.mark.matrix
@pytest.mark.parametrize(
    ("ending", "status"),
    [
        ("callback.on_train_end()", "finished"),
        ("raise KeyboardInterrupt", "killed"),
    ],
)
def test_the_end_of_the_program_ends_the_run(request, ending, status):
    code = AT_EXIT.format(folder=str(request.path.parents[1]), ending=ending)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert done.stdout == f"ended {status} [0]\n", done.stderr


@pytest.mark.matrix
def test_two_phases_of_a_model_are_named(scripted, tiny, train):
    tracker = scripted()
    model = tiny()
    with TrackerCallback(tracker, say=lambda line: None) as tracking:
        first = tl.feature_extract(
            model, train, epochs=2, callbacks=[tracking], **SHORT
        )
        second = tl.fine_tune(
            model, train, history=first, last=1, epochs=1, callbacks=[tracking], **SHORT
        )
    logged = tracker.run["epochs"]
    phases = ["feature_extraction", "feature_extraction", "fine_tuning"]
    assert [phase for _, _, phase, _ in logged] == phases
    assert tracker.epochs == [0, 1, 2]
    losses = first.history["loss"] + second.history["loss"]
    assert [figures["loss"] for *_, figures in logged] == losses
    rates = [figures["learning_rate"] for *_, figures in logged]
    assert rates == pytest.approx([1e-3, 1e-3, 1e-4])


class Break(keras.callbacks.Callback):
    """Breaks a training off, at the end of an epoch or after a step of it."""

    def __init__(self, epoch, step=None):
        super().__init__()
        self.at, self.epoch = (epoch, step), None

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if (self.epoch, batch) == self.at:
            raise KeyboardInterrupt

    def on_epoch_end(self, epoch, logs=None):
        if (epoch, None) == self.at:
            raise KeyboardInterrupt


@pytest.mark.parametrize(
    "broken", [Break(1), pytest.param(Break(1, 2), marks=pytest.mark.matrix)]
)
def test_a_resumed_training_goes_on_in_the_run_of_the_tracker(
    scripted, tiny, train, tmp_path, broken
):
    # After epoch 1 was logged, before its state; or within it, after a step with one.
    store, options = {}, {**SHORT, "epochs": 3}
    state = tmp_path / "state"
    one = TrackerCallback(scripted(store), say=lambda line: None)
    with pytest.raises(KeyboardInterrupt), one:
        tl.feature_extract(
            tiny(), train, state=state, state_freq=2, callbacks=[one, broken], **options
        )
    assert store[one.key]["status"] == "killed"
    other = TrackerCallback(scripted(store), say=lambda line: None)
    with other:
        tl.resume(tiny(), state, train, callbacks=[other, Break(9)], **options)
    assert list(store) == [one.key]
    assert other.tracker.epochs == [0, 1, 2]
    assert store[one.key]["status"] == "finished"


@pytest.mark.matrix
def test_a_training_is_resumed_without_its_tracker_too(scripted, tiny, train, tmp_path):
    tracking = TrackerCallback(scripted(), say=lambda line: None)
    kept = {"state": tmp_path, "callbacks": [tracking]}
    tl.feature_extract(tiny(), train, epochs=1, **kept, **SHORT)
    tracking.finish()
    history = tl.resume(tiny(), tmp_path, train, epochs=2, **SHORT)
    assert history.epoch == [0, 1]
