"""Handles: where a SavedModel comes from, made a folder on this disk.

Owns the forms a handle can have (a folder, an archive, an address, a Kaggle handle)
and what is checked of what they lead to. Downloads go to TF Hub's own cache, by its own
names, so that what either has fetched the other finds. It loads no model (that is
`hub`).
"""

import contextlib
import hashlib
import lzma
import os
import re
import shutil
import socket
import sys
import tarfile
import types
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any

from filelock import FileLock
from packaging.version import parse

from tlcore.data import archives
from tlcore.data.download import download
from tlcore.files import is_alive

CACHE_VARIABLE = "TFHUB_CACHE_DIR"
"""Names the folder of TF Hub's cache; `tlcore/hub` where caches are kept, by default.

TF Hub's own default is a folder of temporary files, which does not outlive a reboot.
"""

KAGGLE = "https://www.kaggle.com/models/"
"""Where the models of tfhub.dev have been since 2023-11-15."""

LOCK_SECONDS = 60
"""How long another program of TF Hub may download nothing before it is dead."""

_KAGGLE_HANDLE = re.compile(
    r"[\w.-]+/[\w.-]+/tensorflow2/[\w.-]+(/\d+)?", re.IGNORECASE
)
_ADDRESS = re.compile(r"https?://|gs://.*\.(tar\.gz|tgz|tar)$")
_ARCHIVE_SUFFIXES = (".tar.gz", ".tgz", ".tar", ".zip")
_MODEL_FILES = ("saved_model.pb", "saved_model.pbtxt")
_TF1_FILE = "tfhub_module.pb"

FORMS = (
    "the folder of a SavedModel, its .tar.gz, an https:// address of one, or a Kaggle "
    "handle such as tensorflow/efficientnet/tensorFlow2/b0-feature-vector/1"
)
"""What a handle can be, for people."""


def is_handle(text: str) -> bool:
    """Return whether `text` has the form of a handle, or is a folder that exists.

    Example:
        >>> is_handle("google/resnet-v2/tensorFlow2/50-feature-vector/2")
        True
        >>> is_handle("efficientnet_b0")
        False
    """
    return "/" in text or text.endswith(_ARCHIVE_SUFFIXES) or Path(text).is_dir()


def is_kaggle_handle(text: str) -> bool:
    """Tell whether `text` has the form of a handle of Kaggle."""
    return _KAGGLE_HANDLE.fullmatch(text) is not None


def absolute(handle: str | Path) -> str:
    """Return a handle that means the same wherever it is read: paths are absolute.

    Raises:
        ValueError: it is no text, or none that can be a path.
    """
    text = str(handle)
    if not isinstance(handle, str | Path) or not text or "\0" in text:
        raise ValueError(f"A handle must be {FORMS}. Received: handle={handle!r}.")
    if "://" in text:
        return text
    path = Path(text)
    with contextlib.suppress(RuntimeError):  # ~ of a user who is not here
        path = path.expanduser()
    if not path.exists() and is_kaggle_handle(text):
        return text
    return str(path.resolve())


def resolve(handle: str | Path) -> Path:
    """Return the folder of the SavedModel behind a handle, downloaded at most once.

    Args:
        handle: a folder; a `.tar.gz`, `.tgz`, `.tar` or `.zip` file of one; an
            https://, http:// or gs:// address of an archive (TF Hub's
            `?tf-hub-format=compressed` is added); or a Kaggle handle, as
            `owner/model/tensorFlow2/variation/version`.

    Raises:
        ValueError: what is there is no SavedModel of TensorFlow 2, or damaged.
        FileNotFoundError: the handle is a path and nothing is there.
        ConnectionError: it must be downloaded, and the download failed.
        OSError: the cache cannot be written to.
    """
    text = absolute(handle)
    path = Path(text)
    if _ADDRESS.match(text):
        folder = _downloaded(text)
    elif path.is_dir():
        folder = path
    elif path.is_file():
        folder = _unpacked(path)
    elif is_kaggle_handle(text):
        folder = _downloaded(KAGGLE + text)
    else:
        raise FileNotFoundError(
            f"A handle must be {FORMS}. Received: handle={str(handle)!r}, and there is "
            "no such folder or file. Check the path; addresses are https, http or gs://.../name.tar.gz."
        )
    return _model_folder(folder, text)


def fingerprint(folder: Path) -> str:
    """Return the sha256 of a SavedModel's graph and assets, whatever its weights are.

    Args:
        folder: as `resolve` returns it.
    """
    assets = sorted(path for path in (folder / "assets").rglob("*") if path.is_file())
    graphs = [folder / name for name in _MODEL_FILES if (folder / name).is_file()]
    digest = hashlib.sha256()
    for path in (*graphs, *assets):
        digest.update(f"{path.relative_to(folder).as_posix()}\0".encode())
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _model_folder(folder: Path, handle: str) -> Path:
    """Return the folder with the SavedModel: `folder`, or the only one within it."""
    inside = [path for path in folder.iterdir() if path.is_dir()]
    places = [folder, *inside] if len(inside) == 1 else [folder]
    for place in places:
        if (place / _TF1_FILE).is_file():
            raise ValueError(
                "A SavedModel must be one of TensorFlow 2. Received: "
                f"handle={handle!r}, a module of TensorFlow 1 ({_TF1_FILE}), which "
                "cannot be trained. Take the TensorFlow2 variation of this model."
            )
        if any((place / name).is_file() for name in _MODEL_FILES):
            return place
    raise ValueError(
        f"A handle must be {FORMS}. Received: handle={handle!r}, but there is no "
        f"{_MODEL_FILES[0]} in {str(folder)!r}. Give the folder that holds it; if TF "
        "Hub's cache was cleaned in part, delete this folder there and try again."
    )


def _cache_folder() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    named = os.environ.get(CACHE_VARIABLE)
    return Path(named or Path(home) / "tlcore/hub").expanduser()


def _unpacked(path: Path) -> Path:
    """Return the folder that an archive on disk was unpacked to, by its content."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    folder = _cache_folder() / f"file-{digest}"
    return archives.fetch(path, folder, progress=False)


def _downloaded(url: str) -> Path:
    cache = _cache_folder()
    # As TF Hub names it.
    folder = cache / hashlib.sha1(url.encode(), usedforsecurity=False).hexdigest()
    if folder.is_dir() and any(folder.iterdir()):
        return folder
    try:
        cache.mkdir(parents=True, exist_ok=True)
        # TF Hub's own lock takes a slow download for a dead one.
        with FileLock(cache / f"{folder.name}.tlcore.lock"):
            _sweep(folder)
            return _fetched(url, folder)
    except ConnectionError:
        raise
    except OSError as error:
        raise OSError(
            "TF Hub's cache must be a folder that can be written to. Received: "
            f"{CACHE_VARIABLE}={str(cache)!r}: {error}. Name another folder by it."
        ) from error


def _sweep(folder: Path) -> None:
    """Remove what a download left that was killed on this machine.

    TF Hub's lock says whose it is: host, process and a name of its own.
    """
    shutil.rmtree(_aside(folder), ignore_errors=True)
    lock = folder.with_name(f"{folder.name}.lock")
    with contextlib.suppress(FileNotFoundError, ValueError):
        host, process, name = lock.read_text().rsplit(".", 2)
        if host == socket.gethostname() and not is_alive(int(process)):
            lock.unlink()
            shutil.rmtree(f"{folder}.{name}.tmp", ignore_errors=True)


def _aside(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.tlcore")


def _fetched(url: str, folder: Path) -> Path:
    """Have TF Hub download and unpack an archive, unless it is in its cache."""
    cache, aside = folder.parent, _aside(folder)
    hub = _tensorflow_hub()
    import tensorflow as tf
    from tensorflow_hub.compressed_module_resolver import HttpCompressedFileResolver

    class Download(HttpCompressedFileResolver):
        """TF Hub's download, of archives that came whole."""

        def _call_urlopen(self, request: Any) -> IO[bytes]:
            aside.mkdir()
            opened.callback(shutil.rmtree, aside)
            path = aside / "archive"
            download(getattr(request, "full_url", request), path, title=url)
            plain = _repacked(path, url)
            return opened.enter_context(plain.open("rb"))  # TF Hub closes none

        def _lock_file_timeout_sec(self) -> int:
            return LOCK_SECONDS

    resolver = hub.resolve if url.startswith("gs://") else Download()
    with contextlib.ExitStack() as opened:
        opened.enter_context(_cache_variable(cache))
        try:
            return Path(resolver(url))
        except tf.errors.OpError as error:
            raise OSError(error.message) from error


@contextlib.contextmanager
def _cache_variable(cache: Path) -> Iterator[None]:
    """Have TF Hub use this cache, as nothing but a variable tells it."""
    before = os.environ.get(CACHE_VARIABLE)
    os.environ[CACHE_VARIABLE] = str(cache)
    try:
        yield
    finally:
        if before is None:
            del os.environ[CACHE_VARIABLE]
        else:
            os.environ[CACHE_VARIABLE] = before


def _repacked(path: Path, handle: str) -> Path:
    """Return the archive packed anew, as TF Hub can unpack it.

    TF Hub takes the end of what came for the end of the archive, and asks for an entry
    for each folder.
    """
    plain = path.with_suffix(".tar")
    folders: set[str] = set()
    try:
        with tarfile.open(path) as source, tarfile.open(plain, "w") as target:
            for member in source:
                inside = PurePosixPath(member.name)
                if ".." in inside.parts or not (member.isfile() or member.isdir()):
                    raise _no_archive(handle, f"holds {member.name!r}, no file of it")
                for parent in reversed(inside.parents):
                    if parent.name and str(parent) not in folders:
                        folders.add(str(parent))
                        entry = tarfile.TarInfo(str(parent))
                        entry.type = tarfile.DIRTYPE
                        target.addfile(entry)
                content = source.extractfile(member) if member.isfile() else None
                target.addfile(member, content)
    except (EOFError, zlib.error, lzma.LZMAError, OSError, tarfile.ReadError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        if tarfile.is_tarfile(path):
            raise ConnectionError(
                f"The download must be whole. Received: handle={handle!r}, whose "
                f"archive is not: {error}. Try again."
            ) from error
        raise _no_archive(handle, "is no tar archive") from error
    return plain


def _no_archive(handle: str, why: str) -> ValueError:
    return ValueError(
        "An address must lead to the archive of a SavedModel. Received: "
        f"handle={handle!r}, but what came {why}. Check the address, or give a folder."
    )


def _tensorflow_hub() -> Any:
    """Import TF Hub, with setuptools of any version.

    It asks `pkg_resources`, which setuptools 82 no longer has, for one function.
    """
    if "tensorflow_hub" in sys.modules or "pkg_resources" in sys.modules:
        import tensorflow_hub

        return tensorflow_hub
    stub = types.ModuleType("pkg_resources")
    stub.parse_version = parse  # type: ignore[attr-defined]
    sys.modules[stub.__name__] = stub
    try:
        import tensorflow_hub
    finally:
        del sys.modules[stub.__name__]
    return tensorflow_hub
