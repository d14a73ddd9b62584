"""What tests of the wing share: image folders, a server, archives, batches read."""

import io
import itertools
import threading
import zipfile
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from PIL import Image

from tlcore.data.archives import fetch

SIZE = 4


def write_images(directory, counts):
    shade = itertools.count()
    for name, count in counts.items():
        (directory / name).mkdir(parents=True)
        for index in range(count):
            colour = (next(shade), 0, 255)
            image = Image.new("RGB", (SIZE, SIZE), colour)
            image.save(directory / name / f"{index:03}.png")
    return directory


def shades(images):
    return np.asarray(images)[:, 0, 0, 0].astype(int).tolist()


def read_batches(dataset, count=None):
    batches = itertools.islice(iter(dataset), count)
    return [
        list(zip(shades(images), np.asarray(labels).tolist(), strict=True))
        for images, labels in batches
    ]


@pytest.fixture(scope="session")
def write_folder():
    """Return what writes images of 4 pixels, `counts` of them by class.

    The red value of an image is its number, counted in the order of writing.
    """
    return write_images


@pytest.fixture(scope="session")
def visited():
    """Return what lists, batch by batch, the red value and label of each image."""
    return read_batches


@pytest.fixture
def folder(tmp_path):
    return write_images(tmp_path / "photos", {"b": 3, "a": 4, "c": 1})


@pytest.fixture(scope="session")
def large(tmp_path_factory):
    """Return a folder of 58 images, which no test may change."""
    directory = tmp_path_factory.mktemp("large")
    return write_images(directory, {"a": 40, "b": 17, "c": 1})


class Server:
    """A server on the loopback that answers each path as the test says."""

    def __init__(self):
        self.answers = {}
        self.asked = []
        self.ranges = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                outer.asked.append(self.path)
                outer.ranges.append(self.headers.get("Range"))
                outer.answers.get(self.path, not_found)(self)

            def log_message(self, *args):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = False  # server_close waits for them
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.01,))

    def serve(self, path, answer):
        """Answer `path` with bytes, or by a function that is given the request."""
        self.answers[path] = answer if callable(answer) else bytes_answer(answer)
        return f"http://127.0.0.1:{self.http.server_port}{path}"


def not_found(request):
    request.send_error(404)


def bytes_answer(data, *, announced=-1):
    def answer(request):
        request.send_response(200)
        if announced is not None:
            size = len(data) if announced < 0 else announced
            request.send_header("Content-Length", str(size))
        request.end_headers()
        request.wfile.write(data)

    return answer


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    running = Server()
    running.thread.start()
    yield running
    running.http.shutdown()
    running.thread.join()
    running.http.server_close()


@pytest.fixture
def answer_bytes():
    """Return what makes an answer of bytes; `announced` None announces no size."""
    return bytes_answer


def zipped(members):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return file.getvalue()


@pytest.fixture
def zip_of():
    """Return what packs contents by name into a zip archive."""
    return zipped


@pytest.fixture
def pizza_files():
    """Return what a folder holds that was unpacked from `pizza_zip`."""
    return {
        "train/pizza/1.jpg": b"pizza one" * 40_000,
        "train/steak/2.jpg": b"steak two",
        "test/pizza/3.jpg": b"",
    }


@pytest.fixture
def pizza_zip(pizza_files):
    """Return an archive whose top folder is `pizza_steak`."""
    return zipped({f"pizza_steak/{name}": data for name, data in pizza_files.items()})


def content(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        if path.is_file()
        else None
        for path in folder.rglob("*")
    }


@pytest.fixture
def tree():
    """Return what reads a folder: contents by path, None for a folder."""
    return content


@pytest.fixture
def files():
    """Return what reads the files of a folder, none of which may be a link."""

    def read(folder):
        assert not any(path.is_symlink() for path in folder.rglob("*"))
        found = content(folder)
        return {name: data for name, data in found.items() if data is not None}

    return read


@pytest.fixture
def names():
    """Return what lists the names in a folder."""
    return lambda folder: [path.name for path in folder.iterdir()]


@contextmanager
def unchanged(root):
    before = content(root)
    yield
    assert content(root) == before


@pytest.fixture
def left_as_it_was():
    """Return the context in which a folder must not change."""
    return unchanged


@pytest.fixture
def assert_refused():
    """Return what fetches into a folder that exists, and into one that does not."""

    def check(source, root, error=ValueError, match="", **options):
        (root / "data").mkdir()
        (root / "data" / "bystander").write_text("mine")
        for directory in (root / "data", root / "new" / "deep"):
            with unchanged(root), pytest.raises(error, match=match) as caught:
                fetch(source, directory, **options)
            assert "Received: " in str(caught.value)
            assert str(caught.value).endswith(".")

    return check
