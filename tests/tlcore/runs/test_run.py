"""Experiments: run folders that are whole, and the table that compares them."""

import json
import subprocess
import sys
from datetime import datetime

import pytest

from tlcore.runs import collection as experiments
from tlcore.runs.collection import (
    compare_runs,
    file_sizes,
    find_run,
    find_runs,
    list_runs,
)
from tlcore.runs.run import RUN_SCHEMA, check_writable, read_run, start_run

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


def ended(out, recipe="model_3", now=MOMENT, **values):
    run = start_run(out, recipe, RECIPE, now=now)
    run.write_history({"epoch": [0, 1], "loss": [2.0, 1.0], "val_loss": [3.0, None]})
    run.finish("done", **values)
    return run.path


def gone():
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        pass
    return process.pid


class TestFinding:
    def test_a_run_is_found_by_its_name_and_by_its_path(self, tmp_path):
        path = ended(tmp_path / "runs")
        out = tmp_path / "runs"
        for name in ("model_3/20260102-030405", path, path / "run.json"):
            assert find_run(str(name), out) == path
        assert find_run(str(path), tmp_path / "elsewhere") == path

    def test_another_name_is_answered_with_the_nearest(self, tmp_path):
        ended(tmp_path)
        with pytest.raises(
            ValueError,
            match=r"(?s)<recipe>/<moment>.*Received: run='model_3/20260102-03040'.*"
            r"Did you mean 'model_3/20260102-030405'\?.*experiments list",
        ):
            find_run("model_3/20260102-03040", tmp_path)

    @pytest.mark.parametrize("name", ["", ".", "..", "model_3", "/", "nothing"])
    def test_what_is_no_run_is_none(self, tmp_path, name):
        ended(tmp_path)
        with pytest.raises(ValueError, match="Received: run="):
            find_run(name, tmp_path)

    def test_runs_come_in_the_order_in_which_they_began(self, tmp_path):
        later = datetime(2026, 1, 2, 4, 0, 0)
        last = ended(tmp_path, "model_0", later)
        first = [ended(tmp_path) for _ in range(11)]
        assert find_runs(tmp_path) == [*first, last]
        assert [path.name[-3:] for path in first[-2:]] == ["-10", "-11"]

    def test_what_lies_about_is_no_run(self, tmp_path):
        (tmp_path / "notes.txt").touch()
        (tmp_path / "model_3").mkdir()
        (tmp_path / "model_3" / "notes.txt").touch()
        (tmp_path / "model_3" / ".deleted-20260102-030405-ab").mkdir()
        (tmp_path / "photos" / "20260102-030405").mkdir(parents=True)
        (tmp_path / "photos" / "20260102-030405" / "a.jpg").touch()
        assert find_runs(tmp_path) == []

    def test_a_folder_that_is_missing_is_refused(self, tmp_path):
        with pytest.raises(
            ValueError, match=r"must be in a folder\. Received: out=.*--out"
        ):
            find_runs(tmp_path / "runs")


class TestList:
    def test_a_row_tells_a_run(self, tmp_path):
        path = ended(tmp_path, final={"val_accuracy": {**ESTIMATE, "split": "test"}})
        (row,) = list_runs(tmp_path)
        sizes = [p.stat().st_size for p in path.iterdir()]
        document = read_run(path).document
        assert row.pop("updated")[:16] == document["finished"][:16]
        assert row == {
            "id": "model_3/20260102-030405",
            "status": "done",
            "created": document["started"],
            "epochs": 2,
            "tags": 2,
            "scalars": 4,
            "bytes": sum(sizes),
            "final": {"val_accuracy": ESTIMATE},
            "publications": [],
            "reason": "",
        }

    @pytest.mark.parametrize(
        "text",
        [
            *("", "{", "[]", '{"schema": 1}', '{"schema": 99}', "[" * 100_000),
            '{"schema": 1, "recipe": {"name": "a", "backbone": "b"}, "status": "done",'
            ' "process": {}, "started": "x", "history": {"loss": 3}}',
            '{"schema": 1, "recipe": 3, "status": "running", "process": 4}',
            "\0\0\0\0",
        ],
    )
    def test_a_damaged_run_is_listed_with_the_reason(self, tmp_path, text):
        (ended(tmp_path) / "run.json").write_text(text)
        whole = ended(tmp_path)
        damaged, other = list_runs(tmp_path)
        assert (damaged["status"], damaged["epochs"]) == ("damaged", None)
        assert "Received" in damaged["reason"]
        assert (other["id"][-17:], other["status"]) == (whole.name, "done")

    def test_a_run_that_was_killed_before_its_first_word_is_listed(self, tmp_path):
        (tmp_path / "model_3" / "20260102-030405").mkdir(parents=True)
        (tmp_path / "model_3" / "20260102-030405" / ".run-ab12.json").touch()
        (row,) = list_runs(tmp_path)
        assert row["status"] == "damaged"
        assert "a folder with a run.json" in row["reason"]
        assert row["bytes"] == 0

    def test_a_folder_that_may_not_be_read_is_listed(self, tmp_path, monkeypatch):
        ended(tmp_path)

        # Root may read anything: the refusal is scripted.
        def refuse(*_):
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(experiments, "read_run", refuse)
        (row,) = list_runs(tmp_path)
        assert (row["status"], "denied" in row["reason"]) == ("damaged", True)

    def test_an_empty_folder_has_no_rows(self, tmp_path):
        assert list_runs(tmp_path) == []

    def test_sizes_follow_no_link(self, tmp_path):
        (tmp_path / "large").write_bytes(b"x" * 100_000)
        folder = tmp_path / "run"
        folder.mkdir()
        (folder / "a").write_bytes(b"abc")
        (folder / "link").symlink_to(tmp_path / "large")
        (folder / "folder").symlink_to(tmp_path)
        sizes = file_sizes(folder)
        assert set(sizes) == {"a", "link", "folder"}
        assert sum(sizes.values()) < 1_000
