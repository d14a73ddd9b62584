"""Tracked: what of a run its trackers get, what `run.json` says, what stays here."""

import json
import socket
from datetime import datetime

import pytest

import tlcore as tl
from tlcore.runs import tracked
from tlcore.runs.going_on import Changes, resume_run
from tlcore.runs.run import read_run, start_run
from tlcore.runs.runner import RunOptions, run_recipe
from tlcore.runs.tracked import RunTracking, connected, shareable
from tlcore.tracking.callback import TrackerCallback

RECIPE = tl.RECIPES["model_3"].changed(
    backbone="sample_net", image_size=32, percent=100.0, epochs=2, fine_tune_epochs=1
)
PHASES = ["feature_extraction", "feature_extraction", "fine_tuning"]
FIGURE = {"value": 0.5, "low": 0.25, "high": None, "n": 4}
DOCUMENT = {
    "recipe": {"name": "model_3", "backbone": "sample_net", "weights": "/home/a/b.h5"},
    "seed": 42,
    "data": {
        "folder": "/home/a/photos",
        "findings": ["/home/a/photos/1.png is flat"],
        "classes": ["cat", "dog"],
        "splits": {
            "train": {"images": 3, "fingerprint": "ab", "skipped": [["/home/a", ""]]}
        },
    },
    "options": {"data": "/home/a/photos"},
    "weights": {"source": "/home/a/b.h5", "fingerprint": "cd"},
    "counts": {"total_params": 7},
    "phases": [{"name": "f", "first_epoch": 0, "counts": {}, "caching": "/home/a/c"}],
    "versions": {"keras": "3"},
    "machine": {"system": "Linux-of-a", "backend": "jax", "devices": ["cpu"]},
    "error": "OSError: /home/a is full",
    "final": {"val_accuracy": FIGURE},
}


@pytest.fixture
def lines():
    return []


@pytest.fixture
def tracking(scripted, lines):
    """Return a function that makes the trackers of a process."""

    def make(store=None, fails=(), **options):
        callback = TrackerCallback(scripted(store, fails), key="", say=lines.append)
        return RunTracking({"mlflow": callback}, **options)

    return make


@pytest.fixture
def begun(tmp_path):
    return start_run(tmp_path, "model_3", DOCUMENT, now=datetime(2026, 1, 2))


def entry(run):
    (found,) = read_run(run.path).document["trackers"]
    return found


def test_what_identifies_a_run_is_described_without_paths(tracking, begun):
    store = {}
    trackers = tracking(store)
    trackers.begin(begun)
    assert entry(begun)["complete"] is False
    (key,) = store
    run = store[key]
    assert entry(begun) == {
        "tracker": "mlflow",
        "key": key,
        "id": key,
        "address": "script://",
        "group": "group",
        "complete": False,
    }
    assert run["params"]["backbone"] == "sample_net"
    assert run["params"]["weights"] == "b.h5"
    assert run["params"]["images"] == {"train": 3}
    assert run["params"]["counts"] == {"total_params": 7}
    assert run["tags"]["data"] == {"train": "ab"}
    assert run["tags"]["weights_before"] == {"source": "b.h5", "fingerprint": "cd"}
    assert run["tags"]["versions"] == {"keras": "3"}
    trackers.finish(begun, "finished")
    assert entry(begun)["complete"] is True
    assert run["status"] == "finished"
    assert run["final"] == {
        "final_val_accuracy": 0.5,
        "final_val_accuracy_low": 0.25,
        "final_val_accuracy_n": 4.0,
    }
    assert "/home/a" not in f"{run}"


@pytest.mark.parametrize("model", [True, False])
def test_neither_photographs_nor_predictions_are_sent(tracking, begun, model):
    for name in ("history.csv", "curves.png", "confusion.png", "calibration.png"):
        (begun.path / name).touch()
    for name in ("predictions.csv", "images.png", "mistakes.png", "split.csv"):
        (begun.path / name).touch()
    (begun.path / "model.keras").touch()
    store = {}
    trackers = tracking(store, model=model)
    trackers.begin(begun)
    trackers.finish(begun, "killed")
    (run,) = store.values()
    sent = {"history.csv", "curves.png", "confusion.png", "calibration.png", "run.json"}
    assert run["files"].keys() == sent | ({"model.keras"} if model else set())


def test_a_run_json_that_is_shared_does_not_say_who_ran_it_or_where(begun):
    shared = json.dumps(shareable(begun.document))
    assert "/home" not in shared
    assert socket.gethostname() in json.dumps(begun.document["process"])
    assert "Linux-of-a" not in shared
    assert {"process", "options", "trackers"}.isdisjoint(json.loads(shared))
    assert json.loads(shared)["data"]["classes"] == ["cat", "dog"]


def test_a_tracker_that_fails_as_the_run_begins_is_refused(tracking, begun):
    with pytest.raises(ValueError, match=r"Scripted must answer .* describe failed"):
        tracking(fails={"describe"}).begin(begun)


def test_what_fails_at_the_end_is_in_run_json(tracking, begun, lines):
    trackers = tracking(fails={"attach"})
    trackers.begin(begun)
    trackers.finish(begun, "finished")
    assert entry(begun)["complete"] is False
    assert lines[-1].endswith("fails (attach failed); not all was logged")


def test_a_run_that_goes_on_has_the_key_that_it_had_unless_it_begins_anew(
    tracking, begun
):
    store = {}
    tracking(store).begin(begun)
    tracking(store).begin(begun)
    assert len(store) == 1
    tracking(store).begin(begun, anew=True)
    assert len(store) == 2
    keys = [each["key"] for each in begun.document["trackers"]]
    assert keys == list(store)


def test_without_its_trackers_not_all_is_logged(tracking, begun):
    trackers = tracking()
    trackers.begin(begun)
    trackers.finish(begun, "finished")
    none = connected(None, print, run=begun)
    assert not none.callbacks
    none.begin(begun)
    none.finish(begun, "finished")
    assert entry(begun)["complete"] is False


def test_a_model_is_sent_to_a_tracker_only():
    message = r"A model is sent to a tracker\. Received: track_model=True .* Add --ml"
    with pytest.raises(ValueError, match=message):
        connected({}, print, model=True)


class Process:
    """The trackers that `connected` finds in one process after another."""

    def __init__(self, scripted, monkeypatch):
        self.store, self.trackers, self.fails = {}, [], set()
        monkeypatch.setattr(tracked, "_callback", self.callback)
        self._scripted = scripted

    def callback(self, name, asked, address, group, say):
        tracker = self._scripted(self.store, self.fails)
        self.trackers.append((name, asked, address, group))
        return TrackerCallback(tracker, key="", say=say)


@pytest.fixture
def process(scripted, monkeypatch):
    return Process(scripted, monkeypatch)


@pytest.fixture
def options(tmp_path, lines):
    return RunOptions(out=tmp_path, say=lines.append, trackers={"mlflow": None})


def logged(process):
    (run,) = process.store.values()
    return run, [(epoch, phase) for epoch, _, phase, _ in run["epochs"]]


@pytest.mark.matrix
def test_a_run_is_logged_as_its_history(process, options, images, lines):
    run = run_recipe(RECIPE, images, options)
    found, epochs = logged(process)
    assert epochs == list(enumerate(PHASES))
    for (*_, figures), row in zip(
        found["epochs"],
        zip(*run.document["history"].values(), strict=True),
        strict=True,
    ):
        values = dict(zip(run.document["history"], row, strict=True))
        assert all(figures[name] == values[name] for name in values if name in figures)
        assert {"learning_rate", "seconds", "loss", "val_loss"} <= figures.keys()
    assert found["status"] == "finished"
    assert found["tags"]["phases"].keys() == set(PHASES)
    final = run.document["final"]["val_accuracy"]
    assert found["final"]["final_val_accuracy"] == final["value"]
    assert found["final"]["final_val_accuracy_n"] == final["n"]
    assert entry(run)["complete"] is True
    assert "Scripted: script://look" in lines
    assert str(options.out) not in found["files"]["run.json"].decode()
    assert json.loads(found["files"]["run.json"])["final"]


@pytest.mark.matrix
def test_a_tracker_that_fails_midway_does_not_end_the_run(
    process, options, images, lines
):
    process.fails = {"log"}
    run = run_recipe(RECIPE, images, options)
    assert run.status == "done"
    assert entry(run)["complete"] is False
    assert len([line for line in lines if "warning: Scripted" in line]) == 1


@pytest.mark.matrix
@pytest.mark.parametrize(
    ("error", "ending"), [(KeyboardInterrupt, "killed"), (OSError, "failed")]
)
def test_a_run_that_is_broken_off_goes_on_in_its_tracker(
    process, options, images, monkeypatch, error, ending
):
    def broken(run, columns):
        if columns["epoch"][-1] == 2:
            raise error
        write(run, columns)

    write = tracked.Run.write_history
    with monkeypatch.context() as patch:
        patch.setattr(tracked.Run, "write_history", broken)
        with pytest.raises(error):
            run_recipe(RECIPE, images, options)
    found, epochs = logged(process)
    assert found["status"] == ending
    assert epochs == list(enumerate(PHASES))[:2]
    (path,) = (options.out / "model_3").iterdir()
    run = resume_run(path, RunOptions(say=print), Changes())
    found, epochs = logged(process)
    assert process.trackers[-1] == ("mlflow", None, "script://", "group")
    assert epochs == list(enumerate(PHASES))
    assert found["status"] == "finished"
    assert entry(run)["complete"] is True


@pytest.mark.matrix
def test_fine_tuning_that_begins_again_is_another_run_of_the_tracker(
    process, options, images
):
    run = run_recipe(RECIPE, images, options)
    run = resume_run(run.path, RunOptions(say=print), Changes(epochs=3))
    before, after = run.document["trackers"]
    assert [epoch for epoch, *_ in process.store[before["key"]]["epochs"]] == [0, 1, 2]
    phases = [phase for _, _, phase, _ in process.store[after["key"]]["epochs"]]
    assert phases == ["feature_extraction"] * 3 + ["fine_tuning"]
    assert after["complete"] is True
