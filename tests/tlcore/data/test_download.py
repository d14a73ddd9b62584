"""Downloads: what arrives whole, what is refused, and that nothing is left behind."""

import itertools
import socket
import struct
import threading
import time
from contextlib import suppress

import pytest

from tlcore.data.archives import Archive, fetch
from tlcore.data.download import ATTEMPTS, Limits, download


def test_a_download_of_unannounced_size_is_fetched(
    server, tmp_path, capsys, answer_bytes, files, pizza_zip, pizza_files
):
    url = server.serve("/a.zip", answer_bytes(pizza_zip, announced=None))
    assert files(fetch(url, tmp_path)) == pizza_files
    assert "a.zip: size unknown." in capsys.readouterr().err


def test_an_address_may_hold_spaces_and_accents(server, tmp_path, zip_of, pizza_files):
    url = server.serve("/mes%20donn%C3%A9es.zip", zip_of(pizza_files))
    address = url.replace("%20", " ").replace("%C3%A9", "é")
    assert fetch(address, tmp_path).name == "mes données"


def test_a_redirection_is_followed(server, tmp_path, files, pizza_zip, pizza_files):
    def redirect(request):
        request.send_response(302)
        request.send_header("Location", "/moved.zip")
        request.end_headers()

    server.serve("/moved.zip", pizza_zip)
    assert files(fetch(server.serve("/a.zip", redirect), tmp_path)) == pizza_files


def test_an_archive_of_another_scheme_is_refused(tmp_path, assert_refused):
    archive = Archive("a", "s3://bucket/a.zip", None, folder="a", title="A")
    assert_refused(
        archive, tmp_path, ValueError, "must be http://.*'s3://bucket/a.zip'"
    )


@pytest.mark.parametrize("code", [403, 404, 500])
def test_an_http_error_names_the_url_and_the_remedy(
    server, tmp_path, code, assert_refused
):
    url = server.serve("/a.zip", lambda request: request.send_error(code))
    match = f"url='{url}', answered by {code} .*download the archive elsewhere"
    assert_refused(url, tmp_path, ConnectionError, match)


def test_a_refused_connection_names_the_remedy(tmp_path, monkeypatch, assert_refused):
    monkeypatch.setenv("no_proxy", "*")
    with socket.socket() as bound:  # and not listening
        bound.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{bound.getsockname()[1]}/a.zip"
        match = f"url='{url}', .*refused.*download the archive elsewhere and pass"
        assert_refused(url, tmp_path, ConnectionError, match)


@pytest.mark.parametrize("announced", [True, False])
def test_a_truncated_download_is_refused(
    server, tmp_path, announced, answer_bytes, assert_refused, pizza_zip
):
    data = pizza_zip
    if announced:
        answer = answer_bytes(data[:-30], announced=len(data))
        error, match = ConnectionError, f"announced {len(data):,}.*{len(data) - 30:,} b"
    else:
        answer = answer_bytes(data[:-30], announced=None)
        error, match = ValueError, "must be whole .*Fetch it again"
    assert_refused(server.serve("/a.zip", answer), tmp_path, error, match)


def hang_up(request):
    request.send_response(200)
    request.send_header("Content-Length", "1000000")
    request.end_headers()
    request.wfile.write(b"PK")
    request.wfile.flush()
    linger = struct.pack("ii", 1, 0)
    request.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    request.connection.close()


def end_inside_a_chunk(request):
    request.send_response(200)
    request.send_header("Transfer-Encoding", "chunked")
    request.end_headers()
    request.wfile.write(b"fff\r\nPK")


def speak_no_http(request):
    request.wfile.write(b"220 ready\r\n\r\n")


@pytest.mark.parametrize("answer", [hang_up, end_inside_a_chunk, speak_no_http])
def test_a_connection_that_fails_is_refused(server, tmp_path, answer, assert_refused):
    url = server.serve("/a.zip", answer)
    assert_refused(url, tmp_path, ConnectionError, "must be (reachable|whole).*a.zip")


def test_a_silent_server_is_given_up(server, tmp_path, assert_refused):
    heard = threading.Event()
    url = server.serve("/a.zip", lambda request: heard.wait(60) and None)
    try:
        match = "connection failed: timed out"
        assert_refused(url, tmp_path, ConnectionError, match, timeout=0.05)
    finally:
        heard.set()


def test_an_archive_larger_than_the_disk_is_refused(
    server, tmp_path, answer_bytes, assert_refused
):
    url = server.serve("/a.zip", answer_bytes(b"PK", announced=2**62))
    assert_refused(url, tmp_path, ValueError, "must have room .*a.zip.* Make room")


class Ranged:
    """A server that sends the rest of a file, and cuts some of its answers."""

    def __init__(self, data, *, cuts=(), mark='"one"'):
        self.data, self.cuts, self.mark, self.given = data, list(cuts), mark, []

    def __call__(self, request):
        start, whole = 0, len(self.data)
        wanted = request.headers.get("Range")
        same = request.headers.get("If-Range") in {None, self.mark}
        self.given.append(request.headers.get("If-Range"))
        if wanted and same:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if start >= whole:
                request.send_response(416)
                request.send_header("Content-Range", f"bytes */{whole}")
                request.send_header("Content-Length", "0")
                request.end_headers()
                return
            request.send_response(206)
            request.send_header("Content-Range", f"bytes {start}-{whole - 1}/{whole}")
        else:
            request.send_response(200)
        if self.mark:
            request.send_header("ETag", self.mark)
        request.send_header("Accept-Ranges", "bytes")
        request.send_header("Content-Length", str(whole - start))
        request.end_headers()
        end = start + self.cuts.pop(0) if self.cuts else whole
        request.wfile.write(self.data[start:end])


DATA = bytes(range(256)) * 4_000


@pytest.fixture
def path(tmp_path):
    return tmp_path / "download"


def get(url, path, **options):
    download(url, path, title="a", progress=False, **options)


class TestRest:
    def test_a_cut_connection_is_made_again_from_where_it_was_cut(
        self, server, path, capsys
    ):
        url = server.serve("/a.zip", Ranged(DATA, cuts=[300_000, 1]))
        get(url, path)
        assert path.read_bytes() == DATA
        assert server.ranges == [None, "bytes=300000-", "bytes=300001-"]
        assert "The connection was cut; asking for the rest" in capsys.readouterr().err

    def test_a_connection_that_is_cut_again_and_again_is_given_up(self, server, path):
        url = server.serve("/a.zip", Ranged(DATA, cuts=[1] * ATTEMPTS))
        with pytest.raises(
            ConnectionError, match=f"announced 1,024,000.*: {ATTEMPTS} b"
        ):
            get(url, path)
        assert len(server.asked) == ATTEMPTS

    @pytest.mark.parametrize("mark", ['"one"', "", 'W/"weak"'])
    def test_a_part_that_is_here_is_not_downloaded_again(self, server, path, mark):
        answer = Ranged(DATA, mark=mark)
        url = server.serve("/a.zip", answer)
        path.write_bytes(DATA[:1_000])
        get(url, path)
        assert path.read_bytes() == DATA
        assert server.ranges == ["bytes=1000-"]

    def test_a_file_that_changed_is_downloaded_from_its_beginning(self, server, path):
        answer = Ranged(DATA, cuts=[1_000] * ATTEMPTS)
        url = server.serve("/a.zip", answer)
        with pytest.raises(ConnectionError):
            get(url, path)
        answer.data, answer.mark, answer.cuts = DATA[::-1], '"two"', []
        get(url, path)
        assert answer.given[-1] == '"one"'
        assert path.read_bytes() == DATA[::-1]

    def test_all_of_a_file_is_not_downloaded_again(self, server, path):
        url = server.serve("/a.zip", Ranged(DATA))
        path.write_bytes(DATA)
        get(url, path)
        assert path.read_bytes() == DATA
        assert server.ranges == [f"bytes={len(DATA)}-"]

    def test_more_than_the_file_is_thrown_away(self, server, path):
        url = server.serve("/a.zip", Ranged(DATA, mark=""))
        path.write_bytes(DATA + b"more")
        get(url, path)
        assert path.read_bytes() == DATA

    def test_a_server_without_parts_sends_all_of_it(self, server, path, answer_bytes):
        url = server.serve("/a.zip", answer_bytes(DATA))
        path.write_bytes(DATA[:10])
        get(url, path)
        assert path.read_bytes() == DATA

    @pytest.mark.parametrize("start", [0, 10])
    def test_a_part_that_nobody_asked_for_is_refused(self, server, path, start):
        def answer(request):
            request.send_response(206)
            request.send_header("Content-Range", "bytes 5-9/10")
            request.send_header("Content-Length", "5")
            request.end_headers()
            request.wfile.write(b"x" * 5)

        url = server.serve("/a.zip", answer)
        path.write_bytes(DATA[:start]) if start else None
        with pytest.raises(ConnectionError, match="a part that nobody asked for"):
            get(url, path)


class TestBounds:
    def test_a_server_that_sends_a_byte_at_a_time_is_given_up(self, server, path):
        def drip(request):
            request.send_response(200)
            request.send_header("Content-Length", "1000000")
            request.end_headers()
            with suppress(OSError):
                for _ in range(1_000):
                    request.wfile.write(b"x")
                    request.wfile.flush()
                    time.sleep(0.01)

        url = server.serve("/a.zip", drip)
        with pytest.raises(
            ConnectionError,
            match=r"at least 1,024 bytes a second\. Received: \d+ bytes",
        ):
            get(url, path, limits=Limits(timeout=0.2))

    def test_a_server_that_never_ends_is_given_up(self, server, path):
        def endless(request):
            request.send_response(200)
            request.end_headers()
            with suppress(OSError):
                while True:
                    request.wfile.write(DATA)

        url = server.serve("/a.zip", endless)
        with pytest.raises(
            ValueError, match=r"at most 3,000,000 bytes\. Received: url=.* of more than"
        ):
            get(url, path, limits=Limits(max_bytes=3_000_000))
        assert path.stat().st_size <= 3_000_000

    def test_a_file_that_announces_too_much_is_refused_at_once(
        self, server, tmp_path, assert_refused, pizza_zip
    ):
        url = server.serve("/a.zip", pizza_zip)
        match = rf"at most 10 bytes.* of {len(pizza_zip):,} bytes.*--max-bytes"
        assert_refused(url, tmp_path, ValueError, match, max_bytes=10)

    @pytest.mark.parametrize("most", [0, -1, 1.5, "9"])
    def test_a_limit_is_a_whole_number(self, tmp_path, most):
        with pytest.raises(ValueError, match="max_bytes must be a whole number"):
            fetch("http://127.0.0.1/a.zip", tmp_path, max_bytes=most)

    def test_a_fast_server_is_let_go_on_however_long_it_takes(self, server, path):
        moments = itertools.count(0, 5)
        url = server.serve("/a.zip", DATA * 3)
        get(url, path, clock=lambda: next(moments))
        assert path.stat().st_size == 3 * len(DATA)
