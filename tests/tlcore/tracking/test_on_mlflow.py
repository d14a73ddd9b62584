"""On MLflow: addresses and errors without it; what a real store of it keeps."""

import importlib.machinery
import os
import sys

import pytest

import tlcore as tl
from tlcore.tracking import tracker as seam
from tlcore.tracking.on_mlflow import MlflowTracker


@pytest.fixture
def mlflow(monkeypatch):
    """Skip without MLflow; keep it from sending how it is used."""
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)
    with seam.answering():  # what it warns of while it is imported
        found = pytest.importorskip("mlflow")
    pytest.importorskip("alembic")
    return found


@pytest.fixture
def installed(monkeypatch):
    """Have its packages found, though they may not be there."""
    monkeypatch.setattr(seam, "_is_there", lambda module: True)


def test_without_the_package_the_line_that_installs_it_is_given(monkeypatch):
    monkeypatch.setattr(seam, "_is_there", lambda module: module != "mlflow")
    message = r'no mlflow\. Run: pip install "tlcore\[mlflow\]"'
    with pytest.raises(ValueError, match=message):
        tl.mlflow_callback("tracked")


def test_a_folder_needs_the_packages_of_a_database(monkeypatch):
    monkeypatch.setattr(seam, "_is_there", lambda module: module == "mlflow")
    assert MlflowTracker("https://host:5000").address == "https://host:5000"
    message = r"no sqlalchemy, alembic\. Run: pip install"
    with pytest.raises(ValueError, match=message):
        MlflowTracker("tracked")


def test_a_folder_of_the_name_of_a_package_is_not_the_package(tmp_path, monkeypatch):
    (tmp_path / "mlflow_of_nobody").mkdir()
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    importlib.invalidate_caches()
    with pytest.raises(ValueError, match="no mlflow_of_nobody"):
        seam.check_installed("Tracking", "mlflow", "mlflow_of_nobody")


@pytest.mark.usefixtures("installed")
class TestAddresses:
    def test_a_folder_is_a_database_in_it(self, tmp_path):
        tracker = MlflowTracker(tmp_path / "new")
        assert tracker.address == f"sqlite:///{tmp_path}/new/mlflow.db"
        assert not (tmp_path / "new").exists()

    def test_an_address_is_shown_without_its_password(self):
        tracker = MlflowTracker("https://ada:secret@host/mlflow")
        assert tracker.address == "https://host/mlflow"
        assert tracker.look.startswith("https://host/mlflow/#/experiments/")

    def test_the_environment_names_address_and_experiment(self, monkeypatch):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://host:5000")
        monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "flowers")
        tracker = MlflowTracker()
        assert (tracker.address, tracker.group) == ("http://host:5000", "flowers")
        named = MlflowTracker("http://other", experiment="birds")
        assert (named.address, named.group) == ("http://other", "birds")

    def test_a_file_is_refused(self, tmp_path):
        (tmp_path / "my.db").touch()
        message = r"which is a file\. Name its folder, or write sqlite:////.*my\.db"
        with pytest.raises(ValueError, match=message):
            MlflowTracker(tmp_path / "my.db")

    def test_a_folder_that_an_address_cannot_hold_is_refused(self, tmp_path):
        with pytest.raises(ValueError, match=r"cannot have \?, # or % .* Choose"):
            MlflowTracker(tmp_path / "50%")


class TestStore:
    """What a store in a folder keeps, and says."""

    @pytest.fixture
    def folder(self, mlflow, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        return tmp_path / "tracked"

    @pytest.fixture
    def kept(self, mlflow, folder):
        """Return the function that reads the only run of an experiment."""

        def read(experiment="tlcore"):
            client = mlflow.MlflowClient(f"sqlite:///{folder}/mlflow.db")
            found = client.get_experiment_by_name(experiment)
            (run,) = client.search_runs([found.experiment_id])
            return client, run

        return read

    def test_two_phases_are_one_run_that_is_as_the_history(
        self, folder, kept, tiny, train, capfd
    ):
        model, options = tiny(), {"verbose": 0, "cache": "off"}
        lines = []
        params = {"dropout": 0.2, "nested": {"a": 1}}
        with tl.mlflow_callback(
            folder, name="two", params=params, say=lines.append
        ) as t:
            options["callbacks"] = [t]
            first = tl.feature_extract(model, train, epochs=2, **options)
            second = tl.fine_tune(
                model, train, history=first, last=1, epochs=1, **options
            )
        client, run = kept()
        assert run.info.status == "FINISHED"
        assert run.info.run_name == "two"
        assert run.data.params == {"dropout": "0.2", "nested.a": "1"}
        assert run.data.tags["phases"] == "feature_extraction, fine_tuning"
        history = client.get_metric_history(run.info.run_id, "loss")
        losses = first.history["loss"] + second.history["loss"]
        assert [(m.step, m.value) for m in history] == list(enumerate(losses))
        phases = client.get_metric_history(run.info.run_id, "phase")
        assert [m.value for m in phases] == [0, 0, 1]
        assert lines == [
            f"MLflow: mlflow ui --backend-store-uri sqlite:///{folder}/mlflow.db"
        ]
        assert "mlflow" not in "".join(capfd.readouterr()).lower()
        assert not (folder.parent / "mlruns").exists()

    def test_a_run_is_found_again_with_its_epochs(self, folder, kept):
        for epochs in ([0, 1], [2]):
            tracker = MlflowTracker(folder)
            tracker.connect()
            has = tracker.open("abc")
            assert has == set(range(epochs[0]))
            tracker.describe({"epochs": len(has)}, {"of": "me"})
            for epoch in epochs:
                tracker.log(epoch, 1.0 + epoch, "fit", {"loss": 0.5, "top@5": 1.0})
            tracker.conclude({"final_accuracy": 0.5 + len(has)})
            tracker.end("killed")
        client, run = kept()
        assert run.info.status == "KILLED"
        assert run.data.params == {"epochs": "0"}
        assert run.data.tags["changed.epochs"] == "2"
        assert run.data.metrics["final_accuracy"] == 2.5
        assert run.data.metrics["top_5"] == 1.0
        history = client.get_metric_history(run.info.run_id, "epoch")
        assert [(m.step, m.timestamp) for m in history] == [
            (0, 1000),
            (1, 2000),
            (2, 3000),
        ]

    def test_files_are_in_the_folder(self, folder, kept, tmp_path):
        file = tmp_path / "history.csv"
        file.write_text("epoch\n0\n")
        tracker = MlflowTracker(folder, experiment="flowers")
        tracker.connect()
        tracker.open("abc")
        tracker.attach(file)
        client, run = kept("flowers")
        (found,) = client.list_artifacts(run.info.run_id)
        assert found.path == "history.csv"
        assert [p.name for p in folder.rglob("history.csv")] == ["history.csv"]

    def test_a_deleted_experiment_is_refused(self, folder, mlflow):
        tl.mlflow_callback(folder)
        client = mlflow.MlflowClient(f"sqlite:///{folder}/mlflow.db")
        client.delete_experiment(client.get_experiment_by_name("tlcore").experiment_id)
        with pytest.raises(ValueError, match="its experiment 'tlcore' is deleted"):
            tl.mlflow_callback(folder)

    @pytest.mark.parametrize("uri", ["http://127.0.0.1:9", "htp://host"])
    def test_what_does_not_answer_is_refused_with_a_remedy(self, mlflow, uri):
        message = f"MLflow must answer .* Received: {uri}, .* Start it with"
        with pytest.raises(ValueError, match=message):
            tl.mlflow_callback(uri)
        assert "MLFLOW_HTTP_REQUEST_MAX_RETRIES" not in os.environ
