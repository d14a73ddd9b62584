"""Going on: a run broken off at any file that it writes ends as one that was not.

A break is an error at a file event of the run, and at every later one, so that nothing
more is written, as after a kill. `sys.addaudithook` lists the events.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

import tlcore as tl
from tlcore.runs.collection import list_runs
from tlcore.runs.going_on import Changes, newest_broken_off, resume_run, run_to_resume
from tlcore.runs.run import read_run, this_process
from tlcore.runs.runner import RunOptions, run_recipe

RECIPE = tl.RECIPES["model_3"].changed(
    backbone="sample_net",
    image_size=32,
    percent=100.0,
    epochs=2,
    fine_tune_epochs=2,
    batch_size=16,
    learning_rate=0.02,
)
EVENTS = {"open", "os.rename", "os.mkdir", "os.remove", "os.rmdir"}


class Killed(BaseException):
    """What stands for the end of the process."""


class Watch:
    """Counts the file events in a folder; from one of them on, each is an error."""

    def __init__(self):
        self.folder, self.stop, self.events = None, None, []

    def __call__(self, event, arguments):
        if self.folder is None or event not in EVENTS:
            return
        if threading.current_thread() is not threading.main_thread():
            return  # TensorBoard's writer, which writes when it likes
        path, *rest = arguments
        if not isinstance(path, str | bytes | os.PathLike):
            return
        if event == "open" and not rest[1] & (os.O_WRONLY | os.O_RDWR):
            return
        if not os.fsdecode(path).startswith(self.folder):
            return
        self.events.append((event, os.fsdecode(path)))
        if self.stop is not None and len(self.events) > self.stop:
            raise Killed


WATCH = Watch()
sys.addaudithook(WATCH)


@contextmanager
def watched(folder, stop=None):
    WATCH.folder, WATCH.stop, WATCH.events = str(folder), stop, []
    try:
        yield WATCH.events
    finally:
        WATCH.folder = None


def options(out, **more):
    return RunOptions(out=out, say=lambda line: None, early_stopping=2, **more)


def ending(run):
    """Return all of a run that must be the same."""
    document = run.document
    history = {k: v for k, v in document["history"].items() if k != "seconds"}
    phases = [
        {k: v for k, v in phase.items() if k != "caching"}
        for phase in document["phases"]
    ]
    return {
        "status": document["status"],
        "weights": document["final_weights"],
        "final": document["final"],
        "history": history,
        "phases": phases,
        "selected": document["selected_epoch"],
        "ceiling": document["ceiling"],
    }


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("going_on")
    tl.write_sample_splits(folder, classes=3, per_class=12, size=32)
    return folder


@pytest.fixture(scope="session")
def unbroken(data, tmp_path_factory):
    """A run without a break, and the file events of one like it."""
    out = tmp_path_factory.mktemp("unbroken")
    with watched(out) as events:
        run = run_recipe(RECIPE, data, options(out))
    return ending(run), list(events)


def broken(data, out, stop):
    """Break a run off at an event; return its folder, None if it has none yet."""
    try:
        with watched(out, stop):
            run_recipe(RECIPE, data, options(out))
    except Killed:
        pass
    found = sorted(out.glob("*/*/run.json"))
    for file in found:  # this process is not gone, as that of a killed run is
        document = json.loads(file.read_text())
        document["process"]["pid"] = 2**22 + 1
        file.write_text(json.dumps(document))
    return found[-1].parent if found else None


def check(data, out, stop, unbroken):
    path = broken(data, out, stop)
    if path is None:
        return  # nothing was trained yet
    if read_run(path).document["status"] == "done":
        return
    run = resume_run(path, options(out), Changes())
    assert ending(run) == unbroken, unbroken


def points(count):
    """Return numbers of events, evenly spread; an event has no number in two runs."""
    return [pytest.param(i / count, id=f"{i}/{count}") for i in range(count)]


@pytest.mark.matrix
@pytest.mark.parametrize("part", [0.62])
def test_a_run_broken_off_at_a_file_ends_as_one_that_was_not(
    part, data, unbroken, tmp_path
):
    expected, events = unbroken
    check(data, tmp_path, int(part * len(events)), expected)


@pytest.mark.matrix
@pytest.mark.parametrize("part", points(8))
def test_and_so_in_each_part(part, data, unbroken, tmp_path):
    expected, events = unbroken
    check(data, tmp_path, int(part * len(events)), expected)


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_and_so_at_every_file_event(data, unbroken, tmp_path, capsys):
    expected, events = unbroken
    assert len(events) >= 60
    for stop in range(len(events)):
        check(data, tmp_path / str(stop), stop, expected)
    with capsys.disabled():
        print(f"\n{len(events)} of {len(events)} file events")  # noqa: T201


@pytest.mark.matrix
class TestMoreEpochs:
    @pytest.mark.parametrize(
        ("before", "changes"),
        [
            ({"fine_tune_epochs": 1}, {"fine_tune_epochs": 2}),
            ({"epochs": 1}, {"epochs": 2}),
            (
                {"epochs": 1, "fine_tune_epochs": 0},
                {"epochs": 2, "fine_tune_epochs": 2},
            ),
        ],
    )
    def test_as_if_asked_for_from_the_start(
        self, before, changes, data, unbroken, tmp_path
    ):
        run = run_recipe(replace(RECIPE, **before), data, options(tmp_path))
        run = resume_run(run.path, options(tmp_path), Changes(**changes))
        assert ending(run) == unbroken[0]
        assert [x["status"] for x in run.document["breaks"]] == ["done"]

    def test_a_phase_that_stopped_early_stays_as_it_was(self, data, tmp_path):
        recipe = replace(RECIPE, epochs=6, learning_rate=3.0, fine_tune_epochs=1)
        given = replace(options(tmp_path), early_stopping=1)
        run = run_recipe(recipe, data, given)
        assert run.document["history"]["epoch"] != list(range(7))
        before, said = ending(run), []
        again = resume_run(run.path, replace(given, say=said.append), Changes(epochs=8))
        assert any("stopped early" in line for line in said)
        assert ending(again) == before


@pytest.fixture(scope="module")
def done(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("done")
    recipe = replace(RECIPE, epochs=1, fine_tune_epochs=0)
    return run_recipe(recipe, data, options(out)).path


class TestRefused:
    def refused(self, path, match, **changes):
        document = (path / "run.json").read_text()
        with pytest.raises(ValueError, match=match):
            resume_run(path, options(path.parent.parent), Changes(**changes))
        assert (path / "run.json").read_text() == document

    def test_a_run_that_is_done_without_more_epochs(self, done):
        self.refused(done, r"goes on only to more epochs.*done after 1 \+ 0")

    def test_no_epochs(self, done):
        self.refused(done, "at least 1", epochs=0)

    def test_fewer_epochs(self, done):
        recipe = json.loads((done / "run.json").read_text())["recipe"]
        with changed(done, recipe={**recipe, "epochs": 3}):
            self.refused(done, "epochs=2, where it had 3", epochs=2)

    def test_more_epochs_of_a_planned_learning_rate(self, done):
        recipe = json.loads((done / "run.json").read_text())["recipe"]
        with changed(done, recipe={**recipe, "schedule": "cosine"}):
            match = r"planned over its epochs.*epochs=2, where it had 1.*'cosine'"
            self.refused(done, match, epochs=2)

    def test_a_run_that_goes_on_elsewhere(self, done):
        with read_run(done).locked():
            self.refused(done, "trained by one process at a time", epochs=3)

    def test_a_run_that_says_it_is_running(self, done):
        with changed(done, status="running", process=this_process()):
            self.refused(done, "running as process", epochs=3)

    @pytest.mark.matrix
    def test_a_run_of_another_machine_unless_that_is_gone(self, done, data, tmp_path):
        elsewhere = {"pid": 7, "host": "a-pod-of-yesterday", "mark": ""}
        with changed(done, status="running", process=elsewhere):
            match = "'a-pod-of-yesterday'.*add --allow-changed machine"
            self.refused(done, match, epochs=2)
            copy = shutil.copytree(done, tmp_path / "model_3" / done.name)
        allowed = Changes(epochs=2, data=data, allowed=frozenset({"machine"}))
        assert resume_run(copy, options(tmp_path), allowed).status == "done"

    def test_a_run_of_an_earlier_version(self, done):
        with changed(done, options=None):
            self.refused(done, "which an earlier version of tlcore wrote", epochs=3)

    def test_other_images(self, done, data, tmp_path):
        tl.write_sample_splits(tmp_path, classes=3, per_class=12, size=32, seed=5)
        self.refused(
            done,
            "of which test, train, validation has changed",
            epochs=2,
            data=tmp_path,
        )

    def test_other_weights(self, done):
        weights = {"source": "imagenet", "fingerprint": "0" * 64}
        with changed(done, weights=weights):
            self.refused(done, "whose backbone now begins with others", epochs=2)

    def test_no_run_was_broken_off(self, done):
        with pytest.raises(ValueError, match=r"a run that was broken off.*--epochs N"):
            newest_broken_off(done.parent.parent)

    def test_no_run_of_that_recipe_was(self, done):
        with pytest.raises(ValueError, match="a run of model_3 that was broken off"):
            run_to_resume("model_3", done.parent.parent)


@contextmanager
def changed(path, **values):
    """Change entries of a run.json for a while; None takes an entry out."""
    file = path / "run.json"
    before = file.read_text()
    document = json.loads(before) | values
    file.write_text(json.dumps({k: v for k, v in document.items() if v is not None}))
    try:
        yield
    finally:
        file.write_text(before)


@pytest.mark.matrix
class TestFound:
    def test_the_newest_that_was_broken_off(self, data, tmp_path):
        first, newest = (broken(data, tmp_path, 30) for _ in range(2))
        assert first != newest
        assert run_to_resume(None, tmp_path) == newest
        assert run_to_resume("model_3", tmp_path) == newest
        assert run_to_resume(f"model_3/{first.name}", tmp_path) == first

    def test_the_list_says_how_to_go_on(self, data, tmp_path):
        path = broken(data, tmp_path, 30)
        (row,) = list_runs(tmp_path)
        line = f"tlcore run --resume model_3/{path.name} --out {tmp_path}"
        assert (row["status"], row["resume"]) == ("killed", line)


@pytest.mark.matrix
@pytest.mark.parametrize("number", [8, 20, 33])
def test_a_full_disk_loses_nothing(number, data, unbroken, tmp_path, monkeypatch):
    count = iter(range(1000))

    def full(path):
        if next(count) >= number:
            raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("tlcore.files._flush", full)
        with pytest.raises(OSError, match="No space left"):
            run_recipe(RECIPE, data, options(tmp_path))
    (path,) = tmp_path.glob("*/*")
    run = read_run(path)
    if run.status == "running":  # no room to say how it ended, and this process lives
        with changed(path, process={"pid": 2**22 + 1, "host": this_process()["host"]}):
            run = resume_run(path, options(tmp_path), Changes())
    else:
        run = resume_run(path, options(tmp_path), Changes())
    assert ending(run) == unbroken[0]


RUN = """
import sys
from dataclasses import replace
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from test_going_on import RECIPE, options
from tlcore.runs.runner import run_recipe
run_recipe(RECIPE, sys.argv[1], options(Path(sys.argv[2])))
"""


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_a_run_that_is_killed_ends_as_one_that_was_not(data, unbroken, tmp_path):
    expected, _ = unbroken
    here = str(Path(__file__).parent)
    for number in range(6):
        out = tmp_path / str(number)
        command = [sys.executable, "-c", RUN, str(data), str(out), here]
        with subprocess.Popen(command) as process:
            wanted = ("feature_extraction", "fine_tuning")[number % 2]
            while process.poll() is None:
                if list(out.glob(f"*/*/checkpoints/{wanted}.states/epoch-*")):
                    break
                time.sleep(0.01)
            time.sleep(0.1 * (number // 2))
            os.kill(process.pid, signal.SIGKILL)
        (path,) = out.glob("*/*")
        if read_run(path).status == "done":
            continue
        assert read_run(path).status == "killed"
        assert ending(resume_run(path, options(out), Changes())) == expected


STAGES = RECIPE.changed(
    stages=(4, "all"), fine_tune_epochs=1, layer_rates=0.1, epochs=1, percent=50.0
)


def state_names(path):
    return sorted(x.name for x in (path / "checkpoints").glob("*.states"))


@pytest.mark.matrix
def test_a_run_in_stages_goes_on_in_each(data, tmp_path):
    whole = run_recipe(STAGES, data, options(tmp_path / "whole"))
    names = [phase["name"] for phase in whole.document["phases"]]
    assert names[1:] == ["fine_tuning_last_4", "fine_tuning_last_all"]
    counts = [x["counts"]["trainable_tensors"] for x in whole.document["phases"]]
    assert counts == sorted(set(counts))
    assert whole.document["history"]["epoch"] == [0, 1, 2]
    assert state_names(whole.path) == [
        "feature_extraction.states",
        "fine_tuning_last_4.states",
        "fine_tuning_last_all.states",
    ]
    with watched(tmp_path / "count") as events:
        run_recipe(STAGES, data, options(tmp_path / "count"))
    for name in names[1:]:
        first = next(i for i, (_, path) in enumerate(events) if f"{name}." in path)
        for stop in (first + 2, first + 12):
            out = tmp_path / f"{name}-{stop}"
            try:
                with watched(out, stop):
                    run_recipe(STAGES, data, options(out))
            except Killed:
                pass
            (path,) = out.glob("*/*/run.json")
            document = json.loads(path.read_text())
            document["process"]["pid"] = 2**22 + 1
            path.write_text(json.dumps(document))
            run = resume_run(path.parent, options(out), Changes())
            assert ending(run) == ending(whole)


@pytest.mark.matrix
def test_more_epochs_of_each_stage_are_as_if_asked_for_from_the_start(data, tmp_path):
    run = run_recipe(STAGES, data, options(tmp_path / "longer"))
    run = resume_run(run.path, options(tmp_path), Changes(fine_tune_epochs=2))
    whole = run_recipe(
        STAGES.changed(fine_tune_epochs=2), data, options(tmp_path / "whole")
    )
    assert run.document["history"]["epoch"] == [0, 1, 2, 3, 4]
    assert ending(run) == ending(whole)
