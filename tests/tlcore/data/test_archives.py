"""Archives: what is fetched, what is refused, and that nothing is left behind."""

import hashlib
import io
import signal
import subprocess
import sys
import threading
import time
from http.client import HTTPResponse
from pathlib import Path

import pytest

from tlcore.data import archives, download
from tlcore.data.archives import ARCHIVES, Archive, fetch

# A job that a shell sent to the background ignores Ctrl-C, and hands that down.
FETCH = (
    "import signal, sys; from tlcore.data.archives import fetch; "
    "signal.signal(signal.SIGINT, signal.default_int_handler); "
    "print(fetch(sys.argv[1], sys.argv[2], progress=False))"
)


def test_a_single_file_goes_to_a_folder_named_after_the_archive(
    server, tmp_path, files, zip_of
):
    folder = fetch(server.serve("/one.zip", zip_of({"1.jpg": b"1"})), tmp_path)
    assert (folder, files(folder)) == (tmp_path / "one", {"1.jpg": b"1"})


@pytest.mark.parametrize("as_source", [str, Path, Path.as_uri])
def test_a_file_on_disk_is_unpacked_and_kept(
    tmp_path, as_source, files, zip_of, pizza_files
):
    path = tmp_path / "pizza and steak é.zip"
    path.write_bytes(zip_of(pizza_files))
    folder = fetch(as_source(path), tmp_path / "data", progress=False)
    assert folder == tmp_path / "data" / "pizza and steak é"
    assert files(folder) == pizza_files
    assert path.read_bytes() == zip_of(pizza_files)


def test_a_name_stands_for_its_address_folder_and_checksum(
    server, tmp_path, monkeypatch, files, pizza_zip, pizza_files
):
    data = pizza_zip
    url = server.serve("/food.zip", data)
    digest = hashlib.sha256(data).hexdigest()
    known = Archive("pizza", url, digest, folder="pizza_steak", title="Pizza")
    monkeypatch.setattr(archives, "ARCHIVES", {"pizza": known})
    assert files(fetch("pizza", tmp_path)) == pizza_files
    assert fetch(known, tmp_path) == fetch("pizza", tmp_path) == tmp_path / known.folder
    assert server.asked == ["/food.zip"]


def test_the_names_are_those_of_the_tutorials():
    assert {name: archive.url for name, archive in ARCHIVES.items()} == {
        name: f"https://storage.googleapis.com/{bucket}/{name}.zip"
        for bucket, name in (
            ("ztm_tf_course/food_vision", "10_food_classes_all_data"),
            ("ztm_tf_course/food_vision", "10_food_classes_10_percent"),
            ("ztm_tf_course/food_vision", "10_food_classes_1_percent"),
            ("ztm_tf_course/food_vision", "101_food_classes_10_percent"),
            ("ztm_tf_course/food_vision", "pizza_steak"),
            ("mledu-datasets", "cats_and_dogs_filtered"),
        )
    }
    with pytest.raises(TypeError):
        ARCHIVES["mine"] = ARCHIVES["pizza_steak"]  # type: ignore[index]


def test_a_folder_already_there_is_returned_without_asking_the_server(
    server, tmp_path, left_as_it_was, pizza_zip
):
    url = server.serve("/pizza_steak.zip", pizza_zip)
    (tmp_path / "pizza_steak").mkdir()
    (tmp_path / "pizza_steak" / "mine").write_text("kept")
    with left_as_it_was(tmp_path):
        assert fetch(url, tmp_path) == tmp_path / "pizza_steak"
        assert fetch("pizza_steak", tmp_path) == tmp_path / "pizza_steak"
    assert server.asked == []


def test_a_top_folder_already_there_is_returned_as_it_is(
    server, tmp_path, left_as_it_was, pizza_zip
):
    url = server.serve("/food.zip", pizza_zip)
    (tmp_path / "pizza_steak").mkdir()
    (tmp_path / "pizza_steak" / "mine").write_text("kept")
    with left_as_it_was(tmp_path):
        assert fetch(url, tmp_path) == tmp_path / "pizza_steak"


def test_an_empty_folder_does_not_count_as_already_there(
    server, tmp_path, files, pizza_zip, pizza_files
):
    (tmp_path / "pizza_steak").mkdir()
    url = server.serve("/pizza_steak.zip", pizza_zip)
    assert files(fetch(url, tmp_path)) == pizza_files


@pytest.mark.parametrize("case", [str.lower, str.upper])
def test_the_right_checksum_is_accepted(
    server, tmp_path, case, files, pizza_zip, pizza_files
):
    data = pizza_zip
    digest = case(hashlib.sha256(data).hexdigest())
    url = server.serve("/a.zip", data)
    assert files(fetch(url, tmp_path, sha256=digest)) == pizza_files


def test_progress_is_a_line_at_the_start_and_one_at_the_end(
    server, tmp_path, capsys, files, pizza_zip
):
    data = pizza_zip
    url = server.serve("/pizza_steak.zip", data)
    folder = fetch(url, tmp_path)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        f"Downloading {url}: {len(data):,} bytes.",
        f"Unpacked 3 files of 360,009 bytes to {str(folder)!r}. "
        f"The archive's sha256 is {hashlib.sha256(data).hexdigest()}.",
    ]


def test_progress_can_be_switched_off(server, tmp_path, capsys, pizza_zip):
    fetch(server.serve("/a.zip", pizza_zip), tmp_path, progress=False)
    assert capsys.readouterr() == ("", "")


def test_a_file_on_disk_is_said_to_be_unpacked(tmp_path, capsys, pizza_zip):
    path = tmp_path / "a.zip"
    path.write_bytes(pizza_zip)
    fetch(path, tmp_path / "data")
    first, last = capsys.readouterr().err.splitlines()
    assert first == f"Unpacking {path}: {path.stat().st_size:,} bytes."
    assert hashlib.sha256(path.read_bytes()).hexdigest() in last


def test_a_terminal_is_shown_bars(server, tmp_path, monkeypatch, pizza_zip):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", terminal)
    fetch(server.serve("/pizza_steak.zip", pizza_zip), tmp_path)
    shown = terminal.getvalue()
    assert "Downloading pizza_steak" in shown
    assert "Unpacking pizza_steak" in shown
    assert "\x1b[" in shown


@pytest.mark.parametrize(
    ("source", "options", "match"),
    [
        ("pizza_stake", {}, "must be one of: 10_food.*pizza_steak.*'pizza_stake'"),
        ("missing/a.zip", {}, "path of an archive file.*'missing/a.zip'"),
        ("ftp://host/a.zip", {}, "must be http://.*'ftp://host/a.zip'.*file's path"),
        ("file://host/a.zip", {}, "must be http://"),
        ("http:///a.zip", {}, "must be http://"),
        ("http://host:port/a.zip", {}, "must be http://"),
        ("http://[host/a.zip", {}, "must be http://"),
        ("http://host", {}, "must end in the name of a file.*'http://host'"),
        ("http://host/%5C..%5Cx.zip", {}, "must end in the name of a file"),
        ("http://host/...zip", {}, "must end in the name of a file"),
        ("pizza_steak", {"sha256": "abc"}, "64 hexadecimal digits.*sha256='abc'"),
        ("pizza_steak", {"timeout": 0}, "timeout must be.*timeout=0"),
        ("pizza_steak", {"timeout": float("nan")}, "timeout=nan"),
        ("pizza_steak", {"timeout": float("inf")}, "timeout=inf"),
    ],
)
def test_a_wrong_request_is_refused(tmp_path, source, options, match, assert_refused):
    assert_refused(source, tmp_path, ValueError, match, **options)


def test_a_file_url_that_names_no_file_is_refused(tmp_path, assert_refused):
    url = (tmp_path / "a.zip").as_uri()
    assert_refused(url, tmp_path, FileNotFoundError, "must name an archive file.*a.zip")


@pytest.mark.parametrize("inside", [".", "deep"])
def test_a_directory_that_is_a_file_is_refused(
    tmp_path, inside, left_as_it_was, pizza_zip
):
    (tmp_path / "a.zip").write_bytes(pizza_zip)
    with (
        left_as_it_was(tmp_path),
        pytest.raises(ValueError, match=r"must be a folder that can be.*directory="),
    ):
        fetch(tmp_path / "a.zip", tmp_path / "a.zip" / inside)


def test_a_file_in_the_place_of_the_folder_is_refused(
    tmp_path, left_as_it_was, pizza_zip
):
    (tmp_path / "a.zip").write_bytes(pizza_zip)
    (tmp_path / "pizza_steak").write_text("mine")
    with (
        left_as_it_was(tmp_path),
        pytest.raises(ValueError, match=r"must be free.*'pizza_steak' is a file"),
    ):
        fetch(tmp_path / "a.zip", tmp_path)


def test_a_wrong_checksum_is_refused_with_both_sums(
    server, tmp_path, left_as_it_was, assert_refused, pizza_zip
):
    data = pizza_zip
    received = hashlib.sha256(data).hexdigest()
    match = f"must have sha256='{'0' * 64}'. Received: .*sha256='{received}'. Fetch it"
    url = server.serve("/a.zip", data)
    assert_refused(url, tmp_path, ValueError, match, sha256="0" * 64)
    (tmp_path / "a.zip").write_bytes(data)
    with left_as_it_was(tmp_path), pytest.raises(ValueError, match=match):
        fetch(tmp_path / "a.zip", tmp_path, sha256="0" * 64)


def interrupt(*_args, **_kwargs):
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("owner", "name"),
    [(download, "urlopen"), (HTTPResponse, "read"), (Path, "replace")],
)
def test_an_interrupt_leaves_nothing(
    server, tmp_path, monkeypatch, owner, name, left_as_it_was, pizza_zip
):
    url = server.serve("/a.zip", pizza_zip)
    monkeypatch.setattr(owner, name, interrupt)
    for directory in (tmp_path, tmp_path / "new" / "deep"):
        with left_as_it_was(tmp_path), pytest.raises(KeyboardInterrupt):
            fetch(url, directory)


def run_fetch(url, directory):
    command = [sys.executable, "-c", FETCH, url, str(directory)]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(archives.__file__).parents[2],
    )


def test_ctrl_c_midway_leaves_nothing(server, tmp_path, answer_bytes, tree):
    halfway, released = threading.Event(), threading.Event()

    def stall(request):
        answer_bytes(bytes(1_000_000), announced=2_000_000)(request)
        request.wfile.flush()
        halfway.set()
        released.wait(60)

    directory = tmp_path / "new" / "data"
    with run_fetch(server.serve("/a.zip", stall), directory) as process:
        try:
            assert halfway.wait(60)
            while not any(directory.glob(".*/download")):
                time.sleep(0.01)
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=60)
        finally:
            process.kill()
            released.set()
    assert "KeyboardInterrupt" in err
    assert tree(tmp_path) == {}


def test_two_processes_that_fetch_at_once_both_end_with_the_folder(
    server, tmp_path, answer_bytes, files, names, pizza_zip, pizza_files
):
    together = threading.Barrier(2, timeout=60)

    def answer(request):
        together.wait()
        answer_bytes(pizza_zip)(request)

    url = server.serve("/pizza_steak.zip", answer)
    with (
        run_fetch(url, tmp_path / "data") as one,
        run_fetch(url, tmp_path / "data") as two,
    ):
        ends = [process.communicate(timeout=60) for process in (one, two)]
    assert ends == [(f"{tmp_path / 'data' / 'pizza_steak'}\n", "")] * 2
    assert names(tmp_path / "data") == ["pizza_steak"]
    assert files(tmp_path / "data" / "pizza_steak") == pizza_files


def test_the_folder_of_a_process_that_was_first_is_returned(
    server, tmp_path, monkeypatch, files, names, pizza_zip
):
    replace = Path.replace

    def come_second(aside, target):
        target.mkdir()
        (target / "theirs").write_text("as good")
        return replace(aside, target)

    monkeypatch.setattr(Path, "replace", come_second)
    url = server.serve("/pizza_steak.zip", pizza_zip)
    assert files(fetch(url, tmp_path)) == {"theirs": b"as good"}
    assert names(tmp_path) == ["pizza_steak"]


def test_a_directory_taken_back_by_another_process_is_made_again(
    tmp_path, monkeypatch, files, pizza_zip, pizza_files
):
    (tmp_path / "a.zip").write_bytes(pizza_zip)
    mkdir, taken = Path.mkdir, []

    def take_back(path, *args, **options):
        if path.name.startswith(".fetch-") and not taken:
            taken.append(path)
            path.parent.rmdir()
        mkdir(path, *args, **options)

    monkeypatch.setattr(Path, "mkdir", take_back)
    assert files(fetch(tmp_path / "a.zip", tmp_path / "data")) == pizza_files
    assert taken
