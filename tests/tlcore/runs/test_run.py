"""Run: folders that are whole, and that say how the run ended."""

import json

import pytest

from tlcore.runs.run import RUN_SCHEMA, check_writable, read_run


def test_a_run_has_a_folder_of_recipe_and_moment(start, tmp_path):
    run = start(tmp_path / "runs", seed=3)
    assert run.path == tmp_path / "runs" / "model_3" / "20260102-030405"
    assert run.name == "model_3/20260102-030405"
    document = json.loads((run.path / "run.json").read_text())
    assert document["schema"] == RUN_SCHEMA
    assert document["status"] == "running"
    assert document["seed"] == 3
    assert document["process"]["pid"]


def test_two_runs_of_one_second_have_folders_of_their_own(start, tmp_path):
    names = [start(tmp_path).path.name for _ in range(3)]
    assert names == ["20260102-030405", "20260102-030405-2", "20260102-030405-3"]


def test_a_run_says_how_it_ended(start, tmp_path):
    run = start(tmp_path)
    run.finish("failed", error="ValueError: x")
    document = read_run(run.path).document
    assert document["status"] == "failed"
    assert document["error"] == "ValueError: x"
    assert document["finished"] >= document["started"]


def test_the_history_is_a_table_and_part_of_run_json(start, tmp_path):
    run = start(tmp_path)
    run.write_history({"epoch": [0, 1], "loss": [1.5, 0.5]})
    assert (run.path / "history.csv").read_text() == "epoch,loss\n0,1.5\n1,0.5\n"
    assert read_run(run.path).document["history"] == {
        "epoch": [0, 1],
        "loss": [1.5, 0.5],
    }


def test_a_value_that_json_cannot_express_is_null(start, tmp_path):
    run = start(tmp_path)
    run.write_history({"val_loss": [float("nan"), float("inf"), 1.0]})
    assert read_run(run.path).document["history"]["val_loss"] == [None, None, 1.0]


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"schema": "x"}'])
def test_a_damaged_run_is_refused(start, tmp_path, text):
    run = start(tmp_path)
    (run.path / "run.json").write_text(text)
    with pytest.raises(
        ValueError, match=r"run\.json must be whole\. Received: .*Delete"
    ):
        read_run(run.path)


def test_a_run_of_a_newer_version_is_refused(start, tmp_path):
    run = start(tmp_path)
    run.update(schema=RUN_SCHEMA + 1)
    with pytest.raises(
        ValueError,
        match=rf"up to schema {RUN_SCHEMA}\. Received: schema=.*newer tlcore",
    ):
        read_run(run.path)


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"a folder with a run\.json.*Received: run="):
        read_run(tmp_path)


class TestWritable:
    def test_a_folder_that_could_be_created_is_accepted_and_not_created(self, tmp_path):
        out = tmp_path / "a" / "b"
        check_writable(out)
        assert not (tmp_path / "a").exists()

    def test_a_file_is_refused(self, tmp_path):
        (tmp_path / "runs").write_text("")
        for out in (tmp_path / "runs", tmp_path / "runs" / "deep"):
            with pytest.raises(
                ValueError, match=r"can be written to\. Received: out=.*--out"
            ):
                check_writable(out)

    def test_a_folder_without_permission_is_refused(self, tmp_path, monkeypatch):
        # Root may write anywhere: the permission is scripted.
        monkeypatch.setattr("os.access", lambda *_: False)
        with pytest.raises(
            ValueError, match=r"Received: out=.*Choose another with --out"
        ):
            check_writable(tmp_path)

    def test_a_name_that_is_not_utf_8_is_refused(self, tmp_path):
        with pytest.raises(ValueError, match=r"name is UTF-8.*Received: out=.*--out"):
            check_writable(tmp_path / "runs-\udcff")
