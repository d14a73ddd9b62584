"""Downloads: what arrives whole, what is refused, and that nothing is left behind."""

import socket
import struct
import threading

import pytest

from tlcore.data.archives import Archive, fetch


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
