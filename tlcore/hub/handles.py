"""Handles: from the name of a SavedModel to its folder on this disk.

Owns the forms that a handle can have (a folder, an archive, an address, a Kaggle
handle) and the checks of the folder found. Models are downloaded to TF Hub's own cache,
under its names and locks, so that this package and TF Hub find each other's models. It
loads no model (`saved_models` does).

Not `pooch` and not TF Hub's own download: neither refuses every download cut short.
TF Hub takes the end of what came for the end of the archive. Not `platformdirs`: on
macOS it names another folder than earlier versions of this package.
"""

import contextlib
import hashlib
import os
import re
import shutil
import socket
import sys
import tempfile
import types
from pathlib import Path
from typing import Any

from filelock import FileLock
from packaging.version import parse

from tlcore.data import archives
from tlcore.data.download import download
from tlcore.data.unpacking import (
    archive_entries,
    free_bytes,
    plan,
    unpack,
)
from tlcore.processes import is_alive

CACHE_VARIABLE = "TFHUB_CACHE_DIR"
"""The variable that names the folder of TF Hub's cache.

The default is `~/.cache/tlcore/hub`. TF Hub's own default is a folder of temporary
files, which does not survive a reboot.
"""

KAGGLE = "https://www.kaggle.com/models/"
"""Where the models of tfhub.dev are since 2023-11-15."""

LOCK_SECONDS = 60
"""How long another program may hold TF Hub's lock without downloading anything."""

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
"""What a handle can be, as a part of messages."""


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
    """Return whether `text` has the form of a handle of Kaggle.

    Example:
        >>> is_kaggle_handle("google/resnet-v2/tensorFlow2/50-feature-vector/2")
        True
        >>> is_kaggle_handle("models/mine")
        False
    """
    return _KAGGLE_HANDLE.fullmatch(text) is not None


def absolute(handle: str | Path) -> str:
    """Return the handle with its path made absolute, so that it can be stored.

    Raises:
        ValueError: the handle is neither a string nor a path, or is empty.

    Example:
        >>> Path(absolute("photos")).is_absolute()
        True
        >>> absolute("https://tfhub.dev/google/imagenet/resnet_v2_50/feature_vector/5")
        'https://tfhub.dev/google/imagenet/resnet_v2_50/feature_vector/5'
    """
    text = str(handle)
    if not isinstance(handle, str | Path) or not text or "\0" in text:
        raise ValueError(f"A handle must be {FORMS}. Received: handle={handle!r}.")
    if "://" in text:
        return text
    path = Path(text)
    with contextlib.suppress(RuntimeError):  # ~name of a user that does not exist
        path = path.expanduser()
    if not path.exists() and is_kaggle_handle(text):
        return text
    return str(path.resolve())


def resolve(handle: str | Path, *, download: bool = True) -> Path:
    """Return the folder of the SavedModel that a handle names; download it only once.

    Args:
        handle: a folder; a `.tar.gz`, `.tgz`, `.tar` or `.zip` file of one; an
            https://, http:// or gs:// address of an archive (TF Hub's
            `?tf-hub-format=compressed` is added); or a Kaggle handle, as
            `owner/model/tensorFlow2/variation/version`.
        download: whether it may be downloaded if it has not been yet.

    Raises:
        ValueError: there is something else than a SavedModel of TensorFlow 2, or it is
            damaged, or it would have to be downloaded and may not.
        FileNotFoundError: the handle is a path and there is nothing.
        ConnectionError: it must be downloaded, and the download failed.
        OSError: the cache cannot be written to.

    Example:
        >>> Path("around/model").mkdir(parents=True)
        >>> Path("around/model/saved_model.pb").touch()
        >>> resolve("around").name
        'model'
    """
    text = absolute(handle)
    path = Path(text)
    if _ADDRESS.match(text):
        folder = _downloaded(text, allowed=download)
    elif path.is_dir():
        folder = path
    elif path.is_file():
        folder = _unpacked(path)
    elif is_kaggle_handle(text):
        folder = _downloaded(KAGGLE + text, allowed=download)
    else:
        raise FileNotFoundError(
            f"A handle must be {FORMS}. Received: handle={str(handle)!r}, and there is "
            "no such folder or file. Check the path; addresses are https, http or "
            "gs://.../name.tar.gz."
        )
    return _model_folder(folder, text)


def fingerprint(folder: Path) -> str:
    """Return the SHA-256 of a SavedModel's graph and assets, without its weights.

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
    """Return the folder with the SavedModel: `folder`, or the only folder in it."""
    inside = [path for path in folder.iterdir() if path.is_dir()]
    places = [folder, *inside] if len(inside) == 1 else [folder]
    for place in places:
        if (place / _TF1_FILE).is_file():
            raise ValueError(
                "A SavedModel must be of TensorFlow 2. Received: "
                f"handle={handle!r}, a module of TensorFlow 1 ({_TF1_FILE}), which "
                "cannot be trained. Take the TensorFlow2 variation of this model."
            )
        if any((place / name).is_file() for name in _MODEL_FILES):
            return place
    raise ValueError(
        f"A handle must be {FORMS}. Received: handle={handle!r}, but there is no "
        f"{_MODEL_FILES[0]} in {str(folder)!r}. Pass the folder that holds it; if "
        "this folder is in TF Hub's cache, delete it there and try again."
    )


def _cache_folder() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    named = os.environ.get(CACHE_VARIABLE)
    return Path(named or Path(home) / "tlcore/hub").expanduser()


def _unpacked(path: Path) -> Path:
    """Return the folder that a local archive is unpacked to, named by its content."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    folder = _cache_folder() / f"file-{digest}"
    return archives.fetch(path, folder, progress=False)


def _downloaded(url: str, *, allowed: bool) -> Path:
    cache = _cache_folder()
    # The name that TF Hub gives it.
    folder = cache / hashlib.sha1(url.encode(), usedforsecurity=False).hexdigest()
    if folder.is_dir() and any(folder.iterdir()):
        return folder
    if not allowed:
        raise ValueError(
            "A SavedModel must be on this machine to be opened without a download. "
            f"Received: url={url!r}, which is not in {str(cache)!r}. Open it once with "
            f"tl.HubLayer({url!r}), which downloads it."
        )
    try:
        cache.mkdir(parents=True, exist_ok=True)
        # TF Hub's lock is a file, which others remove if its owner seems dead. This
        # lock ends with its process and cannot be taken away.
        with FileLock(cache / f"{folder.name}.tlcore.lock"):
            _sweep(folder)
            return _fetched(url, folder)
    except ConnectionError:
        raise
    except OSError as error:
        raise OSError(
            "TF Hub's cache must be a folder that can be written to. Received: "
            f"{CACHE_VARIABLE}={str(cache)!r}: {error}. Set it to another folder."
        ) from error


def _sweep(folder: Path) -> None:
    """Remove what a download on this machine left behind when it was killed.

    By hand, because TF Hub would wait for `LOCK_SECONDS` first. Its lock file holds the
    host, the process and the name of the temporary folder.
    """
    lock = folder.with_name(f"{folder.name}.lock")
    with contextlib.suppress(FileNotFoundError, ValueError):
        host, process, name = lock.read_text().rsplit(".", 2)
        if host == socket.gethostname() and not is_alive(int(process)):
            lock.unlink()
            shutil.rmtree(f"{folder}.{name}.tmp", ignore_errors=True)


def _fetched(url: str, folder: Path) -> Path:
    """Download a model as TF Hub does: under its lock, then moved to `folder`."""
    _tensorflow_hub()
    import tensorflow as tf
    from tensorflow_hub.resolver import atomic_download

    try:
        return Path(atomic_download(url, _download_model, str(folder), LOCK_SECONDS))
    except tf.errors.OpError as error:
        raise OSError(error.message) from error


def _download_model(url: str, folder: str) -> None:
    """Put the files of a model into `folder`.

    The archive lies in `folder` meanwhile: TF Hub takes a lock for abandoned if the
    folder does not grow, and removes the folder if the download fails.
    """
    with tempfile.TemporaryDirectory(prefix=".download-", dir=folder) as aside:
        path = Path(aside) / "archive"
        if url.startswith("gs://"):
            import tensorflow as tf

            tf.io.gfile.copy(url, str(path))
        else:
            download(_archive_address(url), path, title=url)
        room = free_bytes(path.parent)
        with archive_entries(path, url, ConnectionError) as entries:
            contents = plan(entries, room, url)
            unpack(contents, Path(folder), title=url, progress=True)


def _archive_address(url: str) -> str:
    """Return the address of a model's archive, by the rules of TF Hub."""
    from tensorflow_hub import compressed_module_resolver as rules

    mirror = rules._HUB_TF_GOOGLE_CN  # noqa: SLF001 - TF Hub has no public name for it
    if url.startswith(mirror):
        return str(rules._GCS_GOOGLE_CN_TEMPLATE % url.removeprefix(mirror))  # noqa: SLF001
    resolver = rules.HttpCompressedFileResolver()
    return str(resolver._append_compressed_format_query(url))  # noqa: SLF001


def _tensorflow_hub() -> Any:
    """Import TF Hub, whatever version of setuptools is installed.

    It imports `parse_version` from `pkg_resources`, which setuptools 82 no longer has.
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
