"""Collection: runs are found, listed and compared, and deleted as a whole."""

import os
import socket
import subprocess
import sys
from datetime import UTC, datetime

import pytest

from tlcore.runs import collection
from tlcore.runs.collection import (
    check_removal,
    compare_runs,
    file_sizes,
    find_run,
    find_runs,
    find_trained,
    list_runs,
    remove_run,
)
from tlcore.runs.run import read_run, start_run

ESTIMATE = {"value": 0.9, "n": 150, "low": 0.84, "high": 0.94}


class TestFinding:
    def test_a_run_is_found_by_its_name_and_by_its_path(self, ended, tmp_path):
        path = ended(tmp_path / "runs")
        out = tmp_path / "runs"
        for name in ("model_3/20260102-030405", path, path / "run.json"):
            assert find_run(str(name), out) == path
        assert find_run(str(path), tmp_path / "elsewhere") == path

    def test_another_name_is_answered_with_the_nearest(self, ended, tmp_path):
        ended(tmp_path)
        with pytest.raises(
            ValueError,
            match=r"(?s)<recipe>/<moment>.*Received: run='model_3/20260102-03040'.*"
            r"Did you mean 'model_3/20260102-030405'\?.*experiments list",
        ):
            find_run("model_3/20260102-03040", tmp_path)

    @pytest.mark.parametrize("name", ["", ".", "..", "model_3", "/", "nothing"])
    def test_a_name_of_no_run_is_refused(self, ended, tmp_path, name):
        ended(tmp_path)
        with pytest.raises(ValueError, match=r"Received: run=.*experiments list"):
            find_run(name, tmp_path)

    def test_runs_come_in_the_order_in_which_they_began(self, ended, tmp_path):
        later = datetime(2026, 1, 2, 4, 0, 0)
        last = ended(tmp_path, "model_0", later)
        first = [ended(tmp_path) for _ in range(11)]
        assert find_runs(tmp_path) == [*first, last]
        assert [path.name[-3:] for path in first[-2:]] == ["-10", "-11"]

    def test_other_files_and_folders_are_not_runs(self, tmp_path):
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
    def test_a_row_sums_up_a_run(self, ended, tmp_path):
        path = ended(tmp_path, final={"val_accuracy": {**ESTIMATE, "split": "test"}})
        written = datetime(2026, 1, 2, tzinfo=UTC).timestamp()
        os.utime(path / "run.json", (written, written))
        (row,) = list_runs(tmp_path)
        sizes = [p.stat().st_size for p in path.iterdir()]
        document = read_run(path).document
        assert row == {
            "id": "model_3/20260102-030405",
            "status": "done",
            "created": document["started"],
            "updated": "2026-01-02T00:00:00+00:00",
            "epochs": 2,
            "tags": 2,
            "scalars": 4,
            "bytes": sum(sizes),
            "final": {"val_accuracy": ESTIMATE},
            "publications": [],
            "reason": "",
            "resume": "",
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
    def test_a_damaged_run_is_listed_with_the_reason(self, ended, tmp_path, text):
        (ended(tmp_path) / "run.json").write_text(text)
        whole = ended(tmp_path)
        damaged, other = list_runs(tmp_path)
        assert (damaged["status"], damaged["epochs"]) == ("damaged", None)
        assert "Received" in damaged["reason"]
        assert (other["id"][-17:], other["status"]) == (whole.name, "done")

    def test_a_run_that_was_killed_before_it_wrote_run_json_is_listed(self, tmp_path):
        (tmp_path / "model_3" / "20260102-030405").mkdir(parents=True)
        (tmp_path / "model_3" / "20260102-030405" / ".run-ab12.json").touch()
        (row,) = list_runs(tmp_path)
        assert row["status"] == "damaged"
        assert "a folder with a run.json" in row["reason"]
        assert row["bytes"] == 0

    def test_a_run_without_read_permission_is_listed(
        self, ended, tmp_path, monkeypatch
    ):
        ended(tmp_path)

        # Root may read anything: the refusal is scripted.
        def refuse(*_):
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(collection, "read_run", refuse)
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


class TestComparison:
    def finished(self, start, out):
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

    def test_a_row_sums_up_a_run(self, start, tmp_path):
        (row,) = compare_runs([self.finished(start, tmp_path)])
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

    def test_a_run_that_just_began_has_a_row_too(self, start, tmp_path):
        (row,) = compare_runs([start(tmp_path, counts={"total_params": 9}).path])
        assert (row["status"], row["epochs"], row["epoch_seconds"]) == (
            "running",
            0,
            None,
        )

    def test_rows_come_in_the_given_order(self, start, tmp_path):
        paths = [self.finished(start, tmp_path) for _ in range(3)]
        rows = compare_runs([paths[2], paths[0], paths[1]])
        assert [row["run"][-2:] for row in rows] == ["-3", "05", "-2"]

    def test_a_run_whose_process_is_gone_was_killed(self, start, gone, tmp_path):
        run = start(tmp_path)
        here = run.document["process"]
        for process, status in (
            (here, "running"),
            ({**here, "pid": gone}, "killed"),
            ({**here, "mark": "of the process that had this number before"}, "killed"),
            ({"pid": here["pid"], "host": here["host"]}, "running"),
            ({"pid": gone, "host": "elsewhere"}, "running"),
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
        with pytest.raises(
            ValueError, match=r"run\.json must be whole\. Received: .*Delete"
        ):
            compare_runs([tmp_path])


class TestRemoval:
    def test_a_run_goes_with_all_its_files_and_nothing_else(self, ended, tmp_path):
        path, other = ended(tmp_path), ended(tmp_path)
        (path / "checkpoints").mkdir()
        (path / "checkpoints" / "a.weights.h5").write_bytes(b"x" * 1000)
        plan = check_removal(path)
        assert plan.files == 3
        assert plan.nbytes == sum(file_sizes(path).values()) > 1000
        remove_run(plan)
        assert list(path.parent.iterdir()) == [other]

    def test_links_in_a_run_are_removed_but_not_their_targets(self, ended, tmp_path):
        (tmp_path / "precious").mkdir()
        (tmp_path / "precious" / "file").touch()
        path = ended(tmp_path / "runs")
        (path / "checkpoints").symlink_to(tmp_path / "precious")
        remove_run(check_removal(path))
        assert not path.exists()
        assert (tmp_path / "precious" / "file").exists()

    def test_a_link_to_a_run_is_refused(self, ended, tmp_path):
        path = ended(tmp_path / "elsewhere")
        link = tmp_path / "20260102-030405"
        link.symlink_to(path)
        with pytest.raises(ValueError, match=r"not a link\. Received: run=.*by hand"):
            check_removal(link)

    @pytest.mark.parametrize(
        "text", ["{}", '{"name": "a program", "schema": 1}', "run: fast"]
    )
    def test_a_folder_of_something_else_is_refused(self, tmp_path, text):
        (tmp_path / "project").mkdir()
        (tmp_path / "project" / "run.json").write_text(text)
        for path in (tmp_path / "project", tmp_path, tmp_path / "missing"):
            with pytest.raises(
                ValueError, match=r"Only the folder of a run .*Received: run=.*by hand"
            ):
                check_removal(path)

    def test_a_moment_with_other_files_in_it_is_refused(self, tmp_path):
        folder = tmp_path / "model_3" / "20260102-030405"
        folder.mkdir(parents=True)
        (folder / "holiday.jpg").touch()
        with pytest.raises(ValueError, match=r"Received: run=.*Remove it by hand"):
            check_removal(folder)

    @pytest.mark.parametrize("text", [None, "", "[]", '{"schema": 99}'])
    def test_a_damaged_run_can_be_deleted(self, ended, tmp_path, text):
        path = ended(tmp_path)
        if text is None:
            (path / "run.json").unlink()
        else:
            (path / "run.json").write_text(text)
        remove_run(check_removal(path))
        assert find_runs(tmp_path) == []

    def test_a_running_run_is_refused_and_a_killed_one_is_not(
        self, start, ended, gone, tmp_path
    ):
        run = start(tmp_path)
        for process in (
            run.document["process"],
            {"pid": gone, "host": "elsewhere"},
        ):
            run.update(process=process)
            with pytest.raises(
                ValueError,
                match=f"must have ended .*running as process {process['pid']}",
            ):
                check_removal(run.path)
        run.update(
            process={
                **run.document["process"],
                "host": socket.gethostname(),
                "pid": gone,
            }
        )
        remove_run(check_removal(run.path))
        assert not run.path.exists()

    def test_a_killed_deletion_leaves_no_half_run_and_the_next_one_cleans_up(
        self, ended, tmp_path
    ):
        path, other = ended(tmp_path), ended(tmp_path)
        kill = (
            "import os, shutil, sys\n"
            "from tlcore.runs.collection import check_removal, remove_run\n"
            "shutil.rmtree = lambda _: os.kill(os.getpid(), 9)\n"
            "remove_run(check_removal(sys.argv[1]))\n"
        )
        done = subprocess.run([sys.executable, "-c", kill, path], check=False)
        assert done.returncode == -9
        (aside,) = path.parent.glob(".deleted-*")
        assert (aside / "run.json").exists()
        assert find_runs(tmp_path) == [other]
        remove_run(check_removal(other))
        assert list(path.parent.iterdir()) == []

    def test_files_that_another_deletion_removes_are_not_an_error(
        self, ended, tmp_path, monkeypatch
    ):
        path = ended(tmp_path)
        rmtree = collection.shutil.rmtree

        def raced(aside):
            rmtree(aside)
            raise FileNotFoundError(2, "No such file", str(aside))

        monkeypatch.setattr(collection.shutil, "rmtree", raced)
        remove_run(check_removal(path))
        assert not path.exists()


class TestTrained:
    @pytest.fixture
    def done(self, tmp_path):
        """Two runs of model_3 that are done, and a newer one that is not."""
        paths = []
        for day, status in ((1, "done"), (2, "done"), (3, "failed")):
            moment = datetime(2026, 1, day)
            run = start_run(tmp_path, "model_3", {}, now=moment)
            run.finish(status)
            paths.append(run.path)
        return paths

    def test_a_recipe_is_the_newest_of_it_that_is_done(self, done, tmp_path):
        assert find_trained("model_3", tmp_path) == done[1]

    def test_a_damaged_one_is_passed_over(self, done, tmp_path):
        (done[1] / "run.json").write_text("{")
        assert find_trained("model_3", tmp_path) == done[0]

    def test_a_path_and_a_name_are_taken_as_they_are(self, done, tmp_path):
        assert find_trained(str(done[2]), tmp_path) == done[2]
        assert find_trained("model_3/20260101-000000", tmp_path) == done[0]

    def test_a_recipe_without_such_a_run_is_refused(self, done, tmp_path):
        with pytest.raises(ValueError, match=r"run of model_4 that is done.*model_4"):
            find_trained("model_4", tmp_path)

    def test_what_is_no_run_is_refused(self, done, tmp_path):
        with pytest.raises(ValueError, match=r"named by <recipe>/<moment>"):
            find_trained("model_3/20260109-000000", tmp_path)
