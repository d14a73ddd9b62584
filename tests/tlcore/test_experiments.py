"""Experiments: run folders that are whole, and the table that compares them."""

import json
import subprocess
import sys
from datetime import datetime

import pytest

from tlcore.experiments import (
    RUN_SCHEMA,
    check_writable,
    compare_runs,
    read_run,
    start_run,
)

ESTIMATE = {"value": 0.9, "n": 150, "low": 0.84, "high": 0.94}
MOMENT = datetime(2026, 1, 2, 3, 4, 5)
RECIPE = {"recipe": {"name": "model_3", "backbone": "sample_net"}}


def start(out, **document):
    return start_run(out, "model_3", {**RECIPE, **document}, now=MOMENT)


def test_a_run_has_a_folder_of_recipe_and_moment(tmp_path):
    run = start(tmp_path / "runs", seed=3)
    assert run.path == tmp_path / "runs" / "model_3" / "20260102-030405"
    assert run.name == "model_3/20260102-030405"
    document = json.loads((run.path / "run.json").read_text())
    assert document["schema"] == RUN_SCHEMA
    assert document["status"] == "running"
    assert document["seed"] == 3
    assert document["process"]["pid"]


def test_two_runs_of_one_second_have_folders_of_their_own(tmp_path):
    names = [start(tmp_path).path.name for _ in range(3)]
    assert names == ["20260102-030405", "20260102-030405-2", "20260102-030405-3"]


def test_a_run_says_how_it_ended(tmp_path):
    run = start(tmp_path)
    run.finish("failed", error="ValueError: x")
    document = read_run(run.path).document
    assert document["status"] == "failed"
    assert document["error"] == "ValueError: x"
    assert document["finished"] >= document["started"]


def test_the_history_is_a_table_and_part_of_run_json(tmp_path):
    run = start(tmp_path)
    run.write_history({"epoch": [0, 1], "loss": [1.5, 0.5]})
    assert (run.path / "history.csv").read_text() == "epoch,loss\n0,1.5\n1,0.5\n"
    assert read_run(run.path).document["history"] == {
        "epoch": [0, 1],
        "loss": [1.5, 0.5],
    }


def test_what_json_has_no_word_for_is_null(tmp_path):
    run = start(tmp_path)
    run.write_history({"val_loss": [float("nan"), float("inf"), 1.0]})
    assert read_run(run.path).document["history"]["val_loss"] == [None, None, 1.0]


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"schema": "x"}'])
def test_a_damaged_run_is_refused(tmp_path, text):
    run = start(tmp_path)
    (run.path / "run.json").write_text(text)
    with pytest.raises(ValueError, match="must be whole. Received"):
        read_run(run.path)


def test_a_run_of_a_newer_version_is_refused(tmp_path):
    run = start(tmp_path)
    run.update(schema=RUN_SCHEMA + 1)
    with pytest.raises(
        ValueError, match=f"up to schema {RUN_SCHEMA}. Received: schema"
    ):
        read_run(run.path)


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"a folder with a run\.json"):
        read_run(tmp_path)


class TestComparison:
    def finished(self, out):
        phases = [
            {"first_epoch": 0, "counts": {"total_params": 9, "trainable_params": 2}},
            {"first_epoch": 2, "counts": {"total_params": 9, "trainable_params": 5}},
        ]
        run = start(out, phases=phases)
        run.write_history(
            {"epoch": [0, 1, 2, 3, 4], "seconds": [9.0, 1.0, 8.0, 2.0, 4.0]}
        )
        run.finish("done", final={"val_accuracy": {**ESTIMATE, "split": "test"}})
        return run.path

    def test_a_row_sums_up_a_run(self, tmp_path):
        (row,) = compare_runs([self.finished(tmp_path)])
        assert row == {
            "run": "model_3/20260102-030405",
            "recipe": "model_3",
            "backbone": "sample_net",
            "status": "done",
            "total_params": 9,
            "trainable_params": 5,
            "epochs": 5,
            # The first epoch of each phase traces and is left out.
            "epoch_seconds": 2.0,
            "final": {"val_accuracy": ESTIMATE},
        }

    def test_a_run_that_just_began_has_a_row_too(self, tmp_path):
        (row,) = compare_runs([start(tmp_path, counts={"total_params": 9}).path])
        assert (row["status"], row["epochs"], row["epoch_seconds"]) == (
            "running",
            0,
            None,
        )

    def test_rows_come_in_the_given_order(self, tmp_path):
        paths = [self.finished(tmp_path) for _ in range(3)]
        rows = compare_runs([paths[2], paths[0], paths[1]])
        assert [row["run"][-2:] for row in rows] == ["-3", "05", "-2"]

    def test_a_run_whose_process_is_gone_was_killed(self, tmp_path):
        run = start(tmp_path)
        with subprocess.Popen([sys.executable, "-c", ""]) as gone:
            pass
        here = run.document["process"]
        for process, status in (
            (here, "running"),
            ({**here, "pid": gone.pid}, "killed"),
            ({"pid": gone.pid, "host": "elsewhere"}, "running"),
        ):
            run.update(process=process)
            assert compare_runs([run.path])[0]["status"] == status

    @pytest.mark.parametrize(
        "text",
        [
            '{"schema": 1}',
            '{"schema": 1, "recipe": "model_3", "status": "done"}',
            '{"schema": 1, "recipe": {"name": "a", "backbone": "b"}, "phases": [1]}',
            '{"schema": Infinity}',
            "[" * 100_000,
        ],
    )
    def test_a_document_of_something_else_is_refused(self, tmp_path, text):
        (tmp_path / "run.json").write_text(text)
        with pytest.raises(ValueError, match="must be whole. Received"):
            compare_runs([tmp_path])


class TestWritable:
    def test_a_folder_that_could_be_created_is_accepted_and_not_created(self, tmp_path):
        out = tmp_path / "a" / "b"
        check_writable(out)
        assert not (tmp_path / "a").exists()

    def test_a_file_is_refused(self, tmp_path):
        (tmp_path / "runs").write_text("")
        for out in (tmp_path / "runs", tmp_path / "runs" / "deep"):
            with pytest.raises(ValueError, match="that can be written to. Received"):
                check_writable(out)

    def test_a_folder_without_permission_is_refused(self, tmp_path, monkeypatch):
        # Root may write anywhere: the permission is scripted.
        monkeypatch.setattr("os.access", lambda *_: False)
        with pytest.raises(ValueError, match="Choose another with --out"):
            check_writable(tmp_path)
