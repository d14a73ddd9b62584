"""Archives: what is fetched whole, what is refused, and that nothing is left behind."""

import errno
import gzip
import hashlib
import io
import shutil
import signal
import socket
import stat
import struct
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tlcore.data import archives, download, unpacking
from tlcore.data.archives import ARCHIVES, Archive, fetch
from tlcore.data.unpacking import MAX_UNPACKED_BYTES

PIZZA = {
    "pizza_steak/train/pizza/1.jpg": b"pizza one" * 40_000,
    "pizza_steak/train/steak/2.jpg": b"steak two",
    "pizza_steak/test/pizza/3.jpg": b"",
}
UNPACKED = {name.removeprefix("pizza_steak/"): data for name, data in PIZZA.items()}
# A job that a shell sent to the background ignores Ctrl-C, and hands that down.
FETCH = (
    "import signal, sys; from tlcore.data.archives import fetch; "
    "signal.signal(signal.SIGINT, signal.default_int_handler); "
    "print(fetch(sys.argv[1], sys.argv[2], progress=False))"
)

Answer = Callable[[BaseHTTPRequestHandler], None]


class Server:
    """A server on the loopback that answers each path as the test says."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self.asked: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append(self.path)
                outer.answers.get(self.path, answer_error(404))(self)

            def log_message(self, *args: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = False  # server_close waits for them
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.01,))

    def serve(self, path: str, answer: Answer | bytes) -> str:
        self.answers[path] = answer if callable(answer) else answer_bytes(answer)
        return f"http://127.0.0.1:{self.http.server_port}{path}"


def answer_bytes(data: bytes, *, announced: int | None = -1) -> Answer:
    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        if announced is not None:
            size = len(data) if announced < 0 else announced
            request.send_header("Content-Length", str(size))
        request.end_headers()
        request.wfile.write(data)

    return answer


def answer_error(code: int) -> Answer:
    return lambda request: request.send_error(code)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "*")
    running = Server()
    running.thread.start()
    yield running
    running.http.shutdown()
    running.thread.join()
    running.http.server_close()


def zip_of(members: Mapping[str | zipfile.ZipInfo, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for member, data in members.items():
            info = zipfile.ZipInfo(member) if isinstance(member, str) else member
            archive.writestr(info, data, zipfile.ZIP_DEFLATED)
    return file.getvalue()


def tar_of(
    members: Mapping[str | tarfile.TarInfo, bytes], *, packed: bool = True
) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for member, data in members.items():
            info = tarfile.TarInfo(member) if isinstance(member, str) else member
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return gzip.compress(file.getvalue(), mtime=0) if packed else file.getvalue()


def zip_member(name: str, mode: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.create_system = 3
    info.external_attr = mode << 16
    return info


def tar_member(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def tree(folder: Path) -> dict[str, bytes | None]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        if path.is_file()
        else None
        for path in folder.rglob("*")
    }


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def files(folder: Path) -> dict[str, bytes]:
    assert not any(path.is_symlink() for path in folder.rglob("*"))
    return {name: data for name, data in tree(folder).items() if data is not None}


@contextmanager
def left_as_it_was(root: Path) -> Iterator[None]:
    before = tree(root)
    yield
    assert tree(root) == before


def assert_refused(
    source: str | Path | Archive,
    root: Path,
    error: type[Exception] = ValueError,
    match: str = "",
    **options: Any,
) -> None:
    """Fetch into a folder that is there, and into one that is not."""
    (root / "data").mkdir()
    (root / "data" / "bystander").write_text("mine")
    for directory in (root / "data", root / "new" / "deep"):
        with left_as_it_was(root), pytest.raises(error, match=match) as caught:
            fetch(source, directory, **options)
        assert "Received: " in str(caught.value)
        assert str(caught.value).endswith(".")


# What is fetched


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("pizza_steak.zip", zip_of(PIZZA)),
        ("pizza_steak.tar.gz", tar_of(PIZZA)),
        ("pizza_steak.TGZ", tar_of(PIZZA)),
        ("pizza_steak.tar", tar_of(PIZZA, packed=False)),
        ("food.zip", zip_of(PIZZA)),
        (
            "pizza_steak.zip",
            zip_of({"pizza_steak/": b"", **PIZZA, "__MACOSX/._a": b""}),
        ),
        ("pizza_steak.tgz", tar_of({f"./{k}": v for k, v in PIZZA.items()})),
        ("pizza_steak.zip", zip_of(UNPACKED)),
        ("pizza%5Fsteak.TGZ?a=1#b", tar_of(UNPACKED)),
    ],
    ids=[
        "zip",
        "tar.gz",
        "tgz",
        "tar",
        "top folder of another name",
        "with __MACOSX",
        "from the dot",
        "several tops",
        "several tops in tgz",
    ],
)
def test_a_good_archive_becomes_a_folder(
    server: Server, tmp_path: Path, name: str, data: bytes
) -> None:
    url = server.serve("/" + name.partition("#")[0], data)
    folder = fetch(url, tmp_path / "new" / "data", progress=False)
    assert folder == tmp_path / "new" / "data" / "pizza_steak"
    assert files(folder) == UNPACKED
    assert names(tmp_path / "new" / "data") == ["pizza_steak"]


def test_a_single_file_goes_to_a_folder_named_after_the_archive(
    server: Server, tmp_path: Path
) -> None:
    folder = fetch(server.serve("/one.zip", zip_of({"1.jpg": b"1"})), tmp_path)
    assert (folder, files(folder)) == (tmp_path / "one", {"1.jpg": b"1"})


def test_empty_folders_are_unpacked_too(server: Server, tmp_path: Path) -> None:
    data = zip_of({"top/empty/": b"", "top/a": b"a"})
    assert tree(fetch(server.serve("/x.zip", data), tmp_path)) == {
        "empty": None,
        "a": b"a",
    }


@pytest.mark.parametrize("first", ["file", "link"])
def test_of_members_with_one_path_the_last_counts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], first: str
) -> None:
    old, new = tarfile.TarInfo("top/a"), tarfile.TarInfo("top/a")
    link = old if first == "link" else new
    link.type, link.linkname = tarfile.SYMTYPE, "b"
    members = {old: b"" if link is old else b"old", new: b"" if link is new else b"new"}
    (tmp_path / "x.tar").write_bytes(
        tar_of({"top/b": b"target", **members}, packed=False)
    )
    folder = fetch(tmp_path / "x.tar", tmp_path)
    last = b"target" if link is new else b"new"
    assert files(folder) == {"a": last, "b": b"target"}
    assert f"Unpacked 2 files of {6 + len(last)} bytes" in capsys.readouterr().err


@pytest.mark.parametrize("as_source", [str, Path, Path.as_uri])
def test_a_file_on_disk_is_unpacked_and_kept(
    tmp_path: Path, as_source: Callable[[Path], str | Path]
) -> None:
    path = tmp_path / "pizza and steak é.zip"
    path.write_bytes(zip_of(UNPACKED))
    folder = fetch(as_source(path), tmp_path / "data", progress=False)
    assert folder == tmp_path / "data" / "pizza and steak é"
    assert files(folder) == UNPACKED
    assert path.read_bytes() == zip_of(UNPACKED)


def test_a_name_stands_for_its_address_folder_and_checksum(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = zip_of(PIZZA)
    url = server.serve("/food.zip", data)
    digest = hashlib.sha256(data).hexdigest()
    known = Archive("pizza", url, digest, folder="pizza_steak", title="Pizza")
    monkeypatch.setattr(archives, "ARCHIVES", {"pizza": known})
    assert files(fetch("pizza", tmp_path)) == UNPACKED
    assert fetch(known, tmp_path) == fetch("pizza", tmp_path) == tmp_path / known.folder
    assert server.asked == ["/food.zip"]


def test_the_names_are_those_of_the_tutorials() -> None:
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
    server: Server, tmp_path: Path
) -> None:
    url = server.serve("/pizza_steak.zip", zip_of(PIZZA))
    (tmp_path / "pizza_steak").mkdir()
    (tmp_path / "pizza_steak" / "mine").write_text("kept")
    with left_as_it_was(tmp_path):
        assert fetch(url, tmp_path) == tmp_path / "pizza_steak"
        assert fetch("pizza_steak", tmp_path) == tmp_path / "pizza_steak"
    assert server.asked == []


def test_a_top_folder_already_there_is_returned_as_it_is(
    server: Server, tmp_path: Path
) -> None:
    url = server.serve("/food.zip", zip_of(PIZZA))
    (tmp_path / "pizza_steak").mkdir()
    (tmp_path / "pizza_steak" / "mine").write_text("kept")
    with left_as_it_was(tmp_path):
        assert fetch(url, tmp_path) == tmp_path / "pizza_steak"


def test_an_empty_folder_does_not_count_as_already_there(
    server: Server, tmp_path: Path
) -> None:
    (tmp_path / "pizza_steak").mkdir()
    url = server.serve("/pizza_steak.zip", zip_of(PIZZA))
    assert files(fetch(url, tmp_path)) == UNPACKED


def test_a_download_of_unannounced_size_is_fetched(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = server.serve("/a.zip", answer_bytes(zip_of(PIZZA), announced=None))
    assert files(fetch(url, tmp_path)) == UNPACKED
    assert "a.zip: size unknown." in capsys.readouterr().err


@pytest.mark.parametrize("case", [str.lower, str.upper])
def test_the_right_checksum_is_accepted(
    server: Server, tmp_path: Path, case: Callable[[str], str]
) -> None:
    data = zip_of(PIZZA)
    digest = case(hashlib.sha256(data).hexdigest())
    url = server.serve("/a.zip", data)
    assert files(fetch(url, tmp_path, sha256=digest)) == UNPACKED


def test_an_address_may_hold_spaces_and_accents(server: Server, tmp_path: Path) -> None:
    url = server.serve("/mes%20donn%C3%A9es.zip", zip_of(UNPACKED))
    address = url.replace("%20", " ").replace("%C3%A9", "é")
    assert fetch(address, tmp_path).name == "mes données"


def test_a_redirection_is_followed(server: Server, tmp_path: Path) -> None:
    def redirect(request: BaseHTTPRequestHandler) -> None:
        request.send_response(302)
        request.send_header("Location", "/moved.zip")
        request.end_headers()

    server.serve("/moved.zip", zip_of(PIZZA))
    assert files(fetch(server.serve("/a.zip", redirect), tmp_path)) == UNPACKED


@pytest.mark.parametrize(
    "data",
    [
        tar_of(
            {
                "top/a.jpg": b"image",
                tar_member("top/b/soft", tarfile.SYMTYPE, "../a.jpg"): b"",
                tar_member("top/b/hard", tarfile.LNKTYPE, "top/a.jpg"): b"",
                tar_member("top/b/chain", tarfile.SYMTYPE, "./soft"): b"",
            }
        ),
        zip_of(
            {
                "top/a.jpg": b"image",
                zip_member("top/b/soft", stat.S_IFLNK | 0o777): b"../a.jpg",
                zip_member("top/b/hard", stat.S_IFREG | 0o644): b"image",
                zip_member("top/b/chain", stat.S_IFLNK | 0o777): b"soft",
            }
        ),
    ],
    ids=["tar", "zip"],
)
def test_a_link_inside_the_archive_becomes_a_copy(
    server: Server, tmp_path: Path, data: bytes
) -> None:
    folder = fetch(server.serve("/links", data), tmp_path)
    assert files(folder) == dict.fromkeys(
        ("a.jpg", "b/soft", "b/hard", "b/chain"), b"image"
    )
    assert all(path.stat().st_nlink == 1 for path in folder.rglob("*.*"))


def test_permissions_are_not_taken_over(server: Server, tmp_path: Path) -> None:
    info = tarfile.TarInfo("top/a")
    info.mode = 0o4777
    folder = fetch(server.serve("/a.tgz", tar_of({info: b"a"})), tmp_path)
    (tmp_path / "plain").write_text("")
    (tmp_path / "folder").mkdir()
    assert (folder / "a").stat().st_mode == (tmp_path / "plain").stat().st_mode
    assert folder.stat().st_mode == (tmp_path / "folder").stat().st_mode


# Progress


def test_progress_is_a_line_at_the_start_and_one_at_the_end(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = zip_of(PIZZA)
    url = server.serve("/pizza_steak.zip", data)
    folder = fetch(url, tmp_path)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        f"Downloading {url}: {len(data):,} bytes.",
        f"Unpacked 3 files of 360,009 bytes to {str(folder)!r}. "
        f"The archive's sha256 is {hashlib.sha256(data).hexdigest()}.",
    ]


def test_progress_can_be_switched_off(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fetch(server.serve("/a.zip", zip_of(PIZZA)), tmp_path, progress=False)
    assert capsys.readouterr() == ("", "")


def test_a_file_on_disk_is_said_to_be_unpacked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(zip_of(PIZZA))
    fetch(path, tmp_path / "data")
    first, last = capsys.readouterr().err.splitlines()
    assert first == f"Unpacking {path}: {path.stat().st_size:,} bytes."
    assert hashlib.sha256(path.read_bytes()).hexdigest() in last


def test_a_terminal_is_shown_bars(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", terminal)
    fetch(server.serve("/pizza_steak.zip", zip_of(PIZZA)), tmp_path)
    shown = terminal.getvalue()
    assert "Downloading pizza_steak" in shown
    assert "Unpacking pizza_steak" in shown
    assert "\x1b[" in shown


# What is refused: the request


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
def test_a_wrong_request_is_refused(
    tmp_path: Path, source: str, options: dict[str, Any], match: str
) -> None:
    assert_refused(source, tmp_path, ValueError, match, **options)


def test_an_archive_of_another_scheme_is_refused(tmp_path: Path) -> None:
    archive = Archive("a", "s3://bucket/a.zip", None, folder="a", title="A")
    assert_refused(
        archive, tmp_path, ValueError, "must be http://.*'s3://bucket/a.zip'"
    )


def test_a_file_url_that_names_no_file_is_refused(tmp_path: Path) -> None:
    url = (tmp_path / "a.zip").as_uri()
    assert_refused(url, tmp_path, FileNotFoundError, "must name an archive file.*a.zip")


@pytest.mark.parametrize("inside", [".", "deep"])
def test_a_directory_that_is_a_file_is_refused(tmp_path: Path, inside: str) -> None:
    (tmp_path / "a.zip").write_bytes(zip_of(PIZZA))
    with (
        left_as_it_was(tmp_path),
        pytest.raises(ValueError, match=r"must be a folder that can be.*directory="),
    ):
        fetch(tmp_path / "a.zip", tmp_path / "a.zip" / inside)


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(zip_of(PIZZA))
    (tmp_path / "pizza_steak").write_text("mine")
    with (
        left_as_it_was(tmp_path),
        pytest.raises(ValueError, match=r"must be free.*'pizza_steak' is a file"),
    ):
        fetch(tmp_path / "a.zip", tmp_path)


# What is refused: the download


@pytest.mark.parametrize("code", [403, 404, 500])
def test_an_http_error_names_the_url_and_the_remedy(
    server: Server, tmp_path: Path, code: int
) -> None:
    url = server.serve("/a.zip", answer_error(code))
    match = f"url='{url}', answered by {code} .*download the archive elsewhere"
    assert_refused(url, tmp_path, ConnectionError, match)


def test_a_refused_connection_names_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "*")
    with socket.socket() as bound:  # and not listening
        bound.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{bound.getsockname()[1]}/a.zip"
        match = f"url='{url}', .*refused.*download the archive elsewhere and pass"
        assert_refused(url, tmp_path, ConnectionError, match)


@pytest.mark.parametrize("announced", [True, False])
def test_a_truncated_download_is_refused(
    server: Server, tmp_path: Path, announced: bool
) -> None:
    data = zip_of(PIZZA)
    if announced:
        answer = answer_bytes(data[:-30], announced=len(data))
        error, match = ConnectionError, f"announced {len(data):,}.*{len(data) - 30:,} b"
    else:
        answer = answer_bytes(data[:-30], announced=None)
        error, match = ValueError, "must be whole .*Fetch it again"
    assert_refused(server.serve("/a.zip", answer), tmp_path, error, match)


def hang_up(request: BaseHTTPRequestHandler) -> None:
    answer_bytes(b"PK", announced=1_000_000)(request)
    request.wfile.flush()
    linger = struct.pack("ii", 1, 0)
    request.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    request.connection.close()


def end_inside_a_chunk(request: BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.send_header("Transfer-Encoding", "chunked")
    request.end_headers()
    request.wfile.write(b"fff\r\nPK")


def speak_no_http(request: BaseHTTPRequestHandler) -> None:
    request.wfile.write(b"220 ready\r\n\r\n")


@pytest.mark.parametrize("answer", [hang_up, end_inside_a_chunk, speak_no_http])
def test_a_connection_that_fails_is_refused(
    server: Server, tmp_path: Path, answer: Answer
) -> None:
    url = server.serve("/a.zip", answer)
    assert_refused(url, tmp_path, ConnectionError, "must be (reachable|whole).*a.zip")


def test_a_silent_server_is_given_up(server: Server, tmp_path: Path) -> None:
    heard = threading.Event()
    url = server.serve("/a.zip", lambda request: heard.wait(60) and None)
    try:
        match = "connection failed: timed out"
        assert_refused(url, tmp_path, ConnectionError, match, timeout=0.05)
    finally:
        heard.set()


def test_a_wrong_checksum_is_refused_with_both_sums(
    server: Server, tmp_path: Path
) -> None:
    data = zip_of(PIZZA)
    received = hashlib.sha256(data).hexdigest()
    match = f"must have sha256='{'0' * 64}'. Received: .*sha256='{received}'. Fetch it"
    url = server.serve("/a.zip", data)
    assert_refused(url, tmp_path, ValueError, match, sha256="0" * 64)
    (tmp_path / "a.zip").write_bytes(data)
    with left_as_it_was(tmp_path), pytest.raises(ValueError, match=match):
        fetch(tmp_path / "a.zip", tmp_path, sha256="0" * 64)


def test_an_archive_larger_than_the_disk_is_refused(
    server: Server, tmp_path: Path
) -> None:
    url = server.serve("/a.zip", answer_bytes(b"PK", announced=2**62))
    assert_refused(url, tmp_path, ValueError, "must have room .*a.zip.* Make room")


# What is refused: the archive


def damaged(data: bytes, old: bytes, new: bytes) -> bytes:
    assert old in data
    return data.replace(old, new)


STORED = tar_of(PIZZA, packed=False)
ENCRYPTED = damaged(
    damaged(zip_of({"a": b"a"}), b"PK\3\4\x14\0\0", b"PK\3\4\x14\0\1"),
    b"PK\1\2\x14\3\x14\0\0",
    b"PK\1\2\x14\3\x14\0\1",
)


ONE = zip_of({"a": b"a"})
UNSOUND = {
    "nothing": (b"", "must be a zip, tar or tar.gz file"),
    "a page": (b"<!DOCTYPE html><p>" * 99, "must be a zip.*with b'<!DOCTYPE.*a page"),
    "an image": (b"\x89PNG\r\n" * 99, "must be a zip, tar or tar.gz file"),
    "a text in gzip": (gzip.compress(b"text" * 999), "must be a zip, tar or tar.gz"),
    "a cut gzip": (gzip.compress(b"text")[:8], "must be whole"),
    "a cut zip": (zip_of(PIZZA)[:-30], "must be whole"),
    "a wrong CRC": (damaged(ONE, b"\x43\xbe\xb7\xe8", b"\0" * 4), "Bad CRC-32"),
    "a method unknown": (damaged(ONE, b"\0\0\x08\0", b"\0\0\x63\0"), "must be whole"),
    "a wrong offset": (damaged(ONE, b'"\0\0\0\0\0', b"#\0\0\0\0\0"), "must be whole"),
    "a password": (ENCRYPTED, "must not be encrypted.*member='a'.*its password"),
    "a cut end of gzip": (tar_of(PIZZA)[:-4], "must be whole"),
    "a wrong CRC of gzip": (tar_of(PIZZA)[:-8] + b"\0" * 8, "CRC check failed"),
    "a cut tar.gz": (tar_of(PIZZA)[:200], "must be whole"),
    "a cut tar": (STORED[:5_000], "must be whole.*unexpected end of data"),
    "a tar cut between members": (
        tar_of({"a": b"a" * 512}, packed=False)[:1024],
        "must be whole.*before its end marker",
    ),
    "a damaged header": (
        damaged(STORED, b"steak/2", b"steak/9"),
        "must be whole.*before its end marker",
    ),
    "two tars": (STORED + bytes(2**25), "must be whole.*goes on after its end marker"),
    "an empty zip": (zip_of({}), "must hold files"),
    "an empty tar.gz": (tar_of({}), "must hold files"),
    "folders only": (zip_of({"top/": b"", "__MACOSX/a": b"a"}), "must hold files"),
    "a file as a parent": (
        zip_of({"a": b"a", "a/b": b"b"}),
        "must hold files, none of which is a folder as well",
    ),
    "a file and a folder": (
        tar_of({"a": b"a", tar_member("a", tarfile.DIRTYPE): b""}),
        "must hold files, none of which is a folder as well",
    ),
}


@pytest.mark.parametrize(("data", "match"), UNSOUND.values(), ids=UNSOUND)
def test_a_file_that_is_no_sound_archive_is_refused(
    server: Server, tmp_path: Path, data: bytes, match: str
) -> None:
    assert_refused(server.serve("/a.zip", data), tmp_path, ValueError, match)


@pytest.mark.parametrize("pack", [zip_of, tar_of])
@pytest.mark.parametrize(
    "name",
    [
        "../x",
        "..",
        "top/../../x",
        "top/..",
        "./../x",
        "/x",
        "//host/x",
        "C:/x",
        "c:x",
        "C:\\x",
        "..\\x",
        "top\\x",
        "\\\\host\\x",
        "__MACOSX/../../x",
        "deep/" * 64 + "x",
    ],
)
def test_a_member_that_leads_outside_is_refused(
    server: Server, tmp_path: Path, pack: Callable[..., bytes], name: str
) -> None:
    data = pack({"top/good": b"good", name: b"evil"})
    match = "must have relative paths.*Received: .*member=.*source you trust"
    assert_refused(server.serve("/a.zip", data), tmp_path, ValueError, match)


def test_a_name_with_a_nul_is_refused(server: Server, tmp_path: Path) -> None:
    data = damaged(zip_of({"top/a.jpg": b"a"}), b"a.jpg", b"a\0jpg")
    match = r"must have relative paths.*'top/a\\x00jpg'"
    assert_refused(server.serve("/a.zip", data), tmp_path, ValueError, match)


@pytest.mark.parametrize("kind", ["zip", "symbolic", "hard"])
@pytest.mark.parametrize(
    "target",
    [
        "/etc/hostname",
        "../../outside",
        "a/../../../outside",
        "../../top/folder/file",
        "C:/outside",
        "..\\..\\outside",
        "missing",
        "folder",
        "link",
        "",
    ],
)
def test_a_link_to_anything_but_a_file_of_the_archive_is_refused(
    server: Server, tmp_path: Path, kind: str, target: str
) -> None:
    good = {"top/folder/file": b"good"}
    if kind == "zip":
        link = zip_member("top/link", stat.S_IFLNK | 0o777)
        data = zip_of({**good, link: target.encode()})
    elif kind == "symbolic":
        data = tar_of({**good, tar_member("top/link", tarfile.SYMTYPE, target): b""})
    else:
        target = target.replace("link", "top/link").removeprefix("../")
        data = tar_of({**good, tar_member("top/link", tarfile.LNKTYPE, target): b""})
    match = "Links must point to files of the same archive.*Received: "
    assert_refused(server.serve("/a.zip", data), tmp_path, ValueError, match)


def test_a_member_below_a_link_is_refused(server: Server, tmp_path: Path) -> None:
    link = tar_member("top/link", tarfile.SYMTYPE, "file")
    data = tar_of({"top/file": b"good", link: b"", "top/link/x": b"evil"})
    match = "must hold files, none of which is a folder"
    assert_refused(server.serve("/a.zip", data), tmp_path, ValueError, match)


@pytest.mark.parametrize(
    "data",
    [
        tar_of({"top/a": b"a", tar_member("top/dev", tarfile.CHRTYPE): b""}),
        tar_of({"top/a": b"a", tar_member("top/dev", tarfile.BLKTYPE): b""}),
        tar_of({"top/a": b"a", tar_member("top/dev", tarfile.FIFOTYPE): b""}),
        zip_of({"top/a": b"a", zip_member("top/dev", stat.S_IFCHR | 0o666): b""}),
    ],
    ids=["character device", "block device", "pipe", "zip"],
)
def test_a_device_is_refused(server: Server, tmp_path: Path, data: bytes) -> None:
    match = "must be files, folders or links.*member='top/dev'.*a device or a pipe"
    assert_refused(server.serve("/a.zip", data), tmp_path, ValueError, match)


BOMBS = [
    zip_of({"top/a": bytes(600_000), "top/b": bytes(600_000)}),
    tar_of({"top/a": bytes(600_000), "top/b": bytes(600_000)}),
    tar_of(
        {
            "top/a": bytes(600_000),
            tar_member("top/b", tarfile.LNKTYPE, "top/a"): b"",
        }
    ),
]


@pytest.mark.parametrize("data", BOMBS, ids=["zip", "tar", "links"])
@pytest.mark.parametrize("bound", ["limit", "disk"])
def test_an_archive_that_unpacks_to_too_much_is_refused(
    server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    data: bytes,
    bound: str,
) -> None:
    if bound == "limit":
        monkeypatch.setattr(unpacking, "MAX_UNPACKED_BYTES", 10**6)
    else:
        usage = shutil.disk_usage(tmp_path)._replace(free=10**6)
        monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage)
    match = "must unpack to at most .* 1,000,000 bytes now.*which unpacks to 1,200,000"
    assert_refused(server.serve("/a.zip", data), tmp_path, ValueError, match)


def test_a_member_that_claims_too_much_is_refused_before_it_is_read(
    server: Server, tmp_path: Path
) -> None:
    info = tarfile.TarInfo("top/a")
    info.size = 2**50
    url = server.serve("/a.tar", info.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    match = "which unpacks to 1,125,899,906,842,624 bytes or more"
    assert_refused(url, tmp_path, ValueError, match)


def test_the_limit_is_twenty_gibibytes() -> None:
    assert MAX_UNPACKED_BYTES == 20 * 1024**3


# What is left behind


def interrupt(*_args: object, **_kwargs: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (download, "urlopen"),
        (HTTPResponse, "read"),
        (zipfile.ZipFile, "open"),
        (unpacking, "_content"),
        (shutil, "copyfile"),
        (Path, "replace"),
    ],
)
def test_an_interrupt_leaves_nothing(
    server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    owner: object,
    name: str,
) -> None:
    pack = zip_of if owner is zipfile.ZipFile else tar_of
    link = {} if pack is zip_of else {tar_member("top/l", tarfile.SYMTYPE, "a"): b""}
    url = server.serve("/a.zip", pack({"top/a": b"a", **link}))
    monkeypatch.setattr(owner, name, interrupt)
    for directory in (tmp_path, tmp_path / "new" / "deep"):
        with left_as_it_was(tmp_path), pytest.raises(KeyboardInterrupt):
            fetch(url, directory)


def test_a_full_disk_leaves_nothing(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(unpacking, "_content", fail)
    url = server.serve("/a.tgz", tar_of(PIZZA))
    with left_as_it_was(tmp_path), pytest.raises(OSError, match="No space left"):
        fetch(url, tmp_path / "new")


def run_fetch(url: str, directory: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", FETCH, url, str(directory)]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(archives.__file__).parents[2],
    )


def test_ctrl_c_midway_leaves_nothing(server: Server, tmp_path: Path) -> None:
    halfway, released = threading.Event(), threading.Event()

    def stall(request: BaseHTTPRequestHandler) -> None:
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
    server: Server, tmp_path: Path
) -> None:
    together = threading.Barrier(2, timeout=60)

    def answer(request: BaseHTTPRequestHandler) -> None:
        together.wait()
        answer_bytes(zip_of(PIZZA))(request)

    url = server.serve("/pizza_steak.zip", answer)
    with (
        run_fetch(url, tmp_path / "data") as one,
        run_fetch(url, tmp_path / "data") as two,
    ):
        ends = [process.communicate(timeout=60) for process in (one, two)]
    assert ends == [(f"{tmp_path / 'data' / 'pizza_steak'}\n", "")] * 2
    assert names(tmp_path / "data") == ["pizza_steak"]
    assert files(tmp_path / "data" / "pizza_steak") == UNPACKED


def test_the_folder_of_a_process_that_was_first_is_returned(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace = Path.replace

    def come_second(aside: Path, target: Path) -> Path:
        target.mkdir()
        (target / "theirs").write_text("as good")
        return replace(aside, target)

    monkeypatch.setattr(Path, "replace", come_second)
    url = server.serve("/pizza_steak.zip", zip_of(PIZZA))
    assert files(fetch(url, tmp_path)) == {"theirs": b"as good"}
    assert names(tmp_path) == ["pizza_steak"]


def test_a_directory_taken_back_by_another_process_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.zip").write_bytes(zip_of(PIZZA))
    mkdir, taken = Path.mkdir, []

    def take_back(path: Path, *args: Any, **options: Any) -> None:
        if path.name.startswith(".fetch-") and not taken:
            taken.append(path)
            path.parent.rmdir()
        mkdir(path, *args, **options)

    monkeypatch.setattr(Path, "mkdir", take_back)
    assert files(fetch(tmp_path / "a.zip", tmp_path / "data")) == UNPACKED
    assert taken


SMALL = tar_of({"top/a": b"a" * 600, "top/b": b"b"}, packed=False)
LINKED = tar_of({"top/a": b"a", tar_member("top/b", tarfile.LNKTYPE, "top/a"): b""})


@settings(max_examples=150, suppress_health_check=list(HealthCheck), deadline=None)
@given(
    data=st.sampled_from([zip_of(PIZZA), tar_of(PIZZA), LINKED, SMALL]),
    changes=st.lists(
        st.tuples(st.integers(0, 7_999), st.integers(0, 255)), min_size=1, max_size=4
    ),
    cut=st.integers(0, 8_000),
)
def test_a_damaged_archive_is_refused_or_unpacked_and_leaves_nothing_else(
    tmp_path: Path, data: bytes, changes: list[tuple[int, int]], cut: int
) -> None:
    broken = bytearray(data)
    for position, value in changes:
        broken[position % len(broken)] = value
    (tmp_path / "a.zip").write_bytes(broken[: cut or None])
    directory = tmp_path / "data"
    refusal = None
    try:
        folder = fetch(tmp_path / "a.zip", directory, progress=False)
    except ValueError as error:
        refusal = str(error)
    if refusal is None:
        assert names(directory) == [folder.name]
        shutil.rmtree(directory)
    else:
        assert "Received: " in refusal
    assert names(tmp_path) == ["a.zip"]
