"""Removal: a run goes as a whole, and nothing else does."""

import socket
import subprocess
import sys
from datetime import datetime

import pytest

from tlcore.runs import collection as removal
from tlcore.runs.collection import check_removal, file_sizes, find_runs, remove_run
from tlcore.runs.run import start_run

RECIPE = {"recipe": {"name": "model_3", "backbone": "sample_net"}}
MOMENT = datetime(2026, 1, 2, 3, 4, 5)


def gone():
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        pass
    return process.pid


def test_a_run_goes_with_all_its_files_and_nothing_else(ended, tmp_path):
    path, other = ended(tmp_path), ended(tmp_path)
    (path / "checkpoints").mkdir()
    (path / "checkpoints" / "a.weights.h5").write_bytes(b"x" * 1000)
    plan = check_removal(path)
    assert plan.files == 3
    assert plan.nbytes == sum(file_sizes(path).values()) > 1000
    remove_run(plan)
    assert list(path.parent.iterdir()) == [other]


def test_links_in_a_run_go_and_what_they_lead_to_stays(ended, tmp_path):
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").touch()
    path = ended(tmp_path / "runs")
    (path / "checkpoints").symlink_to(tmp_path / "precious")
    remove_run(check_removal(path))
    assert not path.exists()
    assert (tmp_path / "precious" / "file").exists()


def test_a_link_to_a_run_is_refused(ended, tmp_path):
    path = ended(tmp_path / "elsewhere")
    link = tmp_path / "20260102-030405"
    link.symlink_to(path)
    with pytest.raises(ValueError, match=r"follows no link\. Received: run="):
        check_removal(link)


@pytest.mark.parametrize(
    "text", ["{}", '{"name": "a program", "schema": 1}', "run: fast"]
)
def test_a_folder_of_something_else_is_refused(tmp_path, text):
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "run.json").write_text(text)
    for path in (tmp_path / "project", tmp_path, tmp_path / "missing"):
        with pytest.raises(
            ValueError, match=r"Only the folder of a run .*Received: run="
        ):
            check_removal(path)


def test_a_moment_with_other_files_in_it_is_refused(tmp_path):
    folder = tmp_path / "model_3" / "20260102-030405"
    folder.mkdir(parents=True)
    (folder / "holiday.jpg").touch()
    with pytest.raises(ValueError, match="holds nothing else than a run leaves"):
        check_removal(folder)


@pytest.mark.parametrize("text", [None, "", "[]", '{"schema": 99}'])
def test_a_damaged_run_can_be_deleted(ended, tmp_path, text):
    path = ended(tmp_path)
    if text is None:
        (path / "run.json").unlink()
    else:
        (path / "run.json").write_text(text)
    remove_run(check_removal(path))
    assert find_runs(tmp_path) == []


def test_a_run_that_goes_on_is_refused_and_a_killed_one_is_not(tmp_path):
    run = start_run(tmp_path, "model_3", RECIPE, now=MOMENT)
    for process in (
        run.document["process"],
        {"pid": gone(), "host": "elsewhere"},
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
            "pid": gone(),
        }
    )
    remove_run(check_removal(run.path))
    assert not run.path.exists()


def test_killed_halfway_it_leaves_no_half_run_and_the_next_sweeps(ended, tmp_path):
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


def test_what_another_process_removes_at_the_same_time_is_no_error(
    ended, tmp_path, monkeypatch
):
    path = ended(tmp_path)
    rmtree = removal.shutil.rmtree

    def raced(aside):
        rmtree(aside)
        raise FileNotFoundError(2, "No such file", str(aside))

    monkeypatch.setattr(removal.shutil, "rmtree", raced)
    remove_run(check_removal(path))
    assert not path.exists()
