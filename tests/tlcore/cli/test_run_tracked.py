"""`tlcore run --mlflow --wandb`: what is refused; what real stores have, offline."""

import json
import os
import signal
import subprocess
import time

import pytest

from tlcore.tracking import tracker as seam


@pytest.mark.parametrize(("option", "module"), [("mlflow", "mlflow"), ("wandb",) * 2])
def test_a_missing_package_is_refused_before_anything_is_written(
    tlcore, data, tmp_path, monkeypatch, small, option, module
):
    monkeypatch.setattr(seam, "_is_there", lambda name: name != module)
    words = ("run", "model_3", *small, f"--data={data}", f"--out={tmp_path / 'runs'}")
    code, _, err = tlcore(*words, f"--{option}")
    assert code == 2
    assert f"no {module}. Run: pip install" in err
    assert f'"tlcore[{option}]"' in err
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--mlflow", "model_3"], "tlcore run model_3 --mlflow."),
        (["--wandb", "model_3"], "takes what follows it: 'model_3'"),
        (["model_3", "--untracked"], "for a run that goes on without its trackers"),
        (["--resume", "--untracked", "--wandb", "a"], "without --mlflow, --wandb"),
        (["model_3", "--track-model"], "Add --mlflow or --wandb"),
    ],
)
def test_what_it_refuses(words, sentence, tlcore, tmp_path):
    code, _, err = tlcore("run", *words, "--data", tmp_path, "--out", tmp_path / "runs")
    assert code == 2
    assert sentence in err
    assert "Traceback" not in err


@pytest.fixture
def home(tmp_path, monkeypatch):
    """Skip without the packages; let them know nothing of who runs the tests."""
    for module in ("mlflow", "wandb", "alembic"):
        with seam.answering():
            pytest.importorskip(module)
    for name in ("DIR", "CACHE_DIR", "CONFIG_DIR", "DATA_DIR"):
        monkeypatch.setenv(f"WANDB_{name}", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    for name in ("WANDB_PROJECT", "MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def kept(home):
    """Return the function that reads the only run in the store of MLflow."""
    import mlflow

    def read():
        with seam.answering():
            client = mlflow.MlflowClient(f"sqlite:///{home}/tracked/mlflow.db")
            found = client.get_experiment_by_name("tlcore")
            (run,) = client.search_runs([found.experiment_id])
        return client, run

    return read


def offline_epochs(home):
    from tlcore.tracking.wandb_files import epochs_in

    paths = sorted(home.glob("wandb/offline-run-*/run-*.wandb"))
    return [sorted(epochs_in(path)) for path in paths]


def trackers(document):
    return {entry["tracker"]: entry for entry in document["trackers"]}


def test_a_run_is_in_both_with_its_parameters_and_files(
    home, kept, command, data, small
):
    words = ("run", "model_3", *small, f"--data={data}", "--json")
    done = subprocess.run(
        [*command, *words, "--mlflow", "tracked", "--wandb"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    entries = trackers(document)
    assert all(each["complete"] for each in entries.values())
    client, run = kept()
    assert entries["mlflow"]["id"] == run.info.run_id
    assert run.info.status == "FINISHED"
    assert run.info.run_name == document["id"]
    assert run.data.params["backbone"] == "sample_net"
    final = document["final"]["val_accuracy"]
    assert run.data.metrics["final_val_accuracy"] == final["value"]
    assert run.data.metrics["final_val_accuracy_n"] == final["n"]
    assert run.data.tags["versions.keras"] == document["versions"]["keras"]
    losses = client.get_metric_history(run.info.run_id, "loss")
    assert [m.value for m in losses] == document["history"]["loss"]
    files = {f.path for f in client.list_artifacts(run.info.run_id)}
    assert files == {
        *("run.json", "history.csv"),
        *("curves.png", "confusion.png", "calibration.png"),
    }
    assert offline_epochs(home) == [[0, 1]]
    (folder,) = home.glob("wandb/offline-run-*/files")
    assert files <= {path.name for path in folder.iterdir()}
    for path in folder.iterdir():
        assert str(data).encode() not in path.read_bytes()
    # Each says one line, and nothing else of theirs is seen.
    said = [line for line in done.stderr.splitlines() if "epoch" not in line]
    assert len([x for x in said if "mlflow" in x.lower() or "wandb" in x]) == 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_run_that_is_killed_goes_on_in_both(home, kept, command, data, small, number):
    words = ("run", "model_3", *small, "--epochs=30", f"--data={data}")
    with subprocess.Popen(
        [*command, *words, "--mlflow", "tracked", "--wandb"],
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        until = time.monotonic() + 120
        while not list(home.glob("runs/model_3/*/history.csv")):
            assert process.poll() is None
            assert time.monotonic() < until
            time.sleep(0.1)
        time.sleep(0.5)  # some more epochs
        os.kill(process.pid, number)
    killed = kept()[1].info.status
    assert killed == ("KILLED" if number == signal.SIGTERM else "RUNNING")
    done = subprocess.run(
        [*command, "run", "--resume", "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert all(each["complete"] for each in trackers(document).values())
    client, run = kept()
    assert run.info.status == "FINISHED"
    losses = client.get_metric_history(run.info.run_id, "loss")
    assert [m.step for m in losses] == list(range(31))
    assert [m.value for m in losses] == document["history"]["loss"]
    one, other = offline_epochs(home)
    assert sorted(one + other) == list(range(31))


def test_a_server_that_is_not_there_is_refused_before_anything_is_written(
    home, tlcore, data, small
):
    words = ("run", "model_3", *small, f"--data={data}", "--mlflow")
    code, _, err = tlcore(*words, "http://ada:secret@127.0.0.1:9")
    assert code == 2
    assert (
        "MLflow must answer before training begins. Received: http://127.0.0.1:9" in err
    )
    assert "secret" not in err
    assert not (home / "runs").exists()


def test_nobody_logged_in_is_refused_and_not_asked(
    home, tlcore, data, small, monkeypatch
):
    monkeypatch.setenv("WANDB_MODE", "online")
    code, _, err = tlcore("run", "model_3", *small, f"--data={data}", "--wandb", "a")
    assert code == 2
    assert "Run `wandb login`" in err
    assert not (home / "runs").exists()
