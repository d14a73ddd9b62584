"""Workspace: the hidden folder in which a fetch works, and what killed ones leave.

Owns where a download and what it unpacks to lie until they are whole, that nobody takes
the workspace of a process that runs, and that the next fetch removes what a killed one
left. A download that was cut off by the kill is handed on, so that the rest of it can
be asked for.
"""

import secrets
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from filelock import FileLock

DOWNLOAD = "download"
"""The file in a workspace that a download is written to."""

_PREFIX = ".fetch-"
_LOCK = "lock"
_SOURCE = "source"
_HANDED_ON = (DOWNLOAD, f"{DOWNLOAD}.mark")


@contextmanager
def new(directory: Path) -> Iterator[Path]:
    """Yield a new workspace inside `directory`, and remove it afterwards.

    `directory` and its parents go too if they were created here and stayed empty.

    Raises:
        ValueError: the folder cannot be written to.

    Example:
        >>> with new(Path("to/come")) as aside:
        ...     aside.parent.as_posix(), sorted(path.name for path in aside.iterdir())
        ('to/come', ['lock'])
        >>> Path("to").exists()
        False
    """
    missing = [path for path in (directory, *directory.parents) if not path.exists()]
    made: list[Path] = []
    with ExitStack() as stack:
        try:
            aside = _locked(directory, made, stack)
            yield aside
        finally:
            for path in made:
                shutil.rmtree(path, ignore_errors=True)
            for folder in missing:
                with suppress(OSError):
                    folder.rmdir()


def sweep(directory: Path, *, heir: Path | None = None, source: str = "") -> None:
    """Remove the workspaces that killed processes left in `directory`.

    Args:
        directory: where they are.
        heir: the workspace of this process, which gets the longest download of theirs
            that came from `source`.
        source: the address that this process downloads from.
    """
    if heir is not None:
        (heir / _SOURCE).write_text(source, encoding="utf-8")
    for left in directory.glob(f"{_PREFIX}*"):
        if left == heir or not left.is_dir():
            continue
        # The lock ends with its process. Where it is held, `filelock.Timeout` says so,
        # which is an OSError.
        with suppress(OSError), FileLock(left / _LOCK, timeout=0):
            if heir is not None:
                _inherit(left, heir, source)
            shutil.rmtree(left, ignore_errors=True)


def _inherit(left: Path, heir: Path, source: str) -> None:
    with suppress(OSError, UnicodeDecodeError):
        if (left / _SOURCE).read_text(encoding="utf-8") != source:
            return
        theirs, ours = left / DOWNLOAD, heir / DOWNLOAD
        if ours.exists() and ours.stat().st_size >= theirs.stat().st_size:
            return
        for name in _HANDED_ON:
            (heir / name).unlink(missing_ok=True)
        for name in reversed(_HANDED_ON):  # the mark first: without it nothing is asked
            with suppress(FileNotFoundError):
                (left / name).replace(heir / name)


def _locked(directory: Path, made: list[Path], stack: ExitStack) -> Path:
    """Return a new workspace that this process holds the lock of."""
    while True:
        # Not tempfile.TemporaryDirectory: it chooses the name while it creates the
        # folder, so an interrupt in between would leave a folder that nobody removes.
        aside = directory / f"{_PREFIX}{secrets.token_hex(8)}"
        made.append(aside)
        try:
            _make_folder(aside)
            lock = FileLock(aside / _LOCK)
            try:
                lock.acquire()
            except FileNotFoundError:
                continue  # another process has swept the folder meanwhile
        except OSError as error:
            raise ValueError(
                "directory must be a folder that can be written to, or a new one. "
                f"Received: directory={str(directory)!r}: {error.strerror}. "
                "Choose another directory."
            ) from error
        stack.callback(lock.release)
        # Or just before the lock was held.
        if (aside / _LOCK).exists():
            return aside


def _make_folder(aside: Path) -> None:
    for _ in range(3):
        aside.parent.mkdir(parents=True, exist_ok=True)
        # Another process that failed may remove `directory`, which it had created,
        # between these two lines.
        with suppress(FileNotFoundError):
            aside.mkdir(mode=0o700)
            return
    aside.mkdir(mode=0o700)
