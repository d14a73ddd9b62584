"""Workspaces: what a killed fetch leaves is used and removed by the next one."""

import signal
import subprocess
import sys
import time

import pytest
from filelock import FileLock

from tlcore.data import workspace
from tlcore.data.archives import fetch

URL = "http://host/a.zip"


def left(directory, *, source=URL, data=b"part", name=".fetch-0123"):
    folder = directory / name
    (folder / "unpacked").mkdir(parents=True)
    (folder / "unpacked" / "a.jpg").write_bytes(b"half")
    (folder / "source").write_text(source)
    (folder / "download").write_bytes(data)
    (folder / "download.mark").write_text('"one"')
    return folder


def test_a_workspace_goes_with_the_folders_that_were_made_for_it(tmp_path):
    directory = tmp_path / "new" / "deep"
    with workspace.new(directory) as aside:
        (aside / "file").write_text("x")
        assert aside.parent == directory
    assert list(tmp_path.iterdir()) == []


def test_what_was_left_is_removed_and_its_download_handed_on(tmp_path):
    left(tmp_path, data=b"longest", name=".fetch-1")
    left(tmp_path, data=b"part", name=".fetch-2")
    left(tmp_path, data=b"of another address", source="http://b", name=".fetch-3")
    (tmp_path / ".fetch-4").mkdir()
    (tmp_path / "bystander").mkdir()
    with workspace.new(tmp_path) as aside:
        workspace.sweep(tmp_path, heir=aside, source=URL)
        assert (aside / "download").read_bytes() == b"longest"
        assert (aside / "download.mark").read_text() == '"one"'
        there = {path.name for path in tmp_path.iterdir()}
        assert there == {aside.name, "bystander"}
    assert [path.name for path in tmp_path.iterdir()] == ["bystander"]


def test_the_workspace_of_a_process_that_runs_stays(tmp_path):
    folder = left(tmp_path)
    with FileLock(folder / "lock"), workspace.new(tmp_path) as aside:
        workspace.sweep(tmp_path, heir=aside, source=URL)
        assert not (aside / "download").exists()
        assert (folder / "download").read_bytes() == b"part"
    workspace.sweep(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("gone", [False, True])
def test_a_folder_that_is_swept_while_it_is_made_is_made_again(
    gone, tmp_path, monkeypatch
):
    taken = []

    class Late:
        """A lock that another process took, and removed, just before."""

        def __init__(self, path):
            self.path = path

        def acquire(self):
            taken.append(self.path.parent)
            if len(taken) > 1:
                self.path.touch()
            elif gone:
                raise FileNotFoundError(2, "No such file or directory")

        def release(self):
            pass

    monkeypatch.setattr(workspace, "FileLock", Late)
    with workspace.new(tmp_path) as aside:
        assert [aside] == taken[1:]
        assert aside != taken[0]
    assert list(tmp_path.iterdir()) == []


def test_a_fetch_that_needs_no_download_sweeps_too(tmp_path, pizza_zip):
    left(tmp_path / "data")
    archive = tmp_path / "pizza_steak.zip"
    archive.write_bytes(pizza_zip)
    for _ in range(2):
        fetch(archive, tmp_path / "data", progress=False)
        assert [path.name for path in (tmp_path / "data").iterdir()] == ["pizza_steak"]
        left(tmp_path / "data")


@pytest.mark.skipif(sys.platform == "win32", reason="it kills by a signal")
def test_a_killed_fetch_goes_on_where_it_was(
    server, tmp_path, pizza_zip, files, pizza_files
):
    half = len(pizza_zip) // 2

    def answer(request):
        start = int((request.headers.get("Range") or "bytes=0-")[6:-1])
        request.send_response(206 if start else 200)
        if start:
            whole = len(pizza_zip)
            request.send_header("Content-Range", f"bytes {start}-{whole - 1}/{whole}")
        request.send_header("Content-Length", str(len(pizza_zip) - start))
        request.end_headers()
        request.wfile.write(pizza_zip[start : None if start else half])
        request.wfile.flush()
        for _ in range(0 if start else 400):  # until the process is killed
            time.sleep(0.05)
            if any(tmp_path.glob("killed")):
                return

    url = server.serve("/pizza_steak.zip", answer)
    code = (
        "import sys; from tlcore.data.archives import fetch; "
        "fetch(sys.argv[1], sys.argv[2], progress=False)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, url, str(tmp_path / "to")])
    try:
        for _ in range(400):
            parts = list((tmp_path / "to").glob(".fetch-*/download"))
            if parts and parts[0].stat().st_size == half:
                break
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
    finally:
        process.kill()
        process.wait()
        (tmp_path / "killed").touch()
    assert list((tmp_path / "to").glob(".fetch-*"))
    folder = fetch(url, tmp_path / "to", progress=False)
    assert files(folder) == pizza_files
    assert server.ranges == [None, f"bytes={half}-"]
    assert [path.name for path in (tmp_path / "to").iterdir()] == ["pizza_steak"]
