"""Files: written whole or not at all, and on the disk before their name is.

Owns the only way this package writes a file: to a temporary sibling that is moved into
place, so that neither a reader nor a killed process leaves or sees half of one. Before
the move the content is flushed to the disk, after it the name: a power cut leaves the
old file or the new one, not an empty one. Also owns how a moment is written in a
folder's name and how a size is printed.
"""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rich.filesize import pick_unit_and_suffix

STAMP_FORMAT = "%Y%m%d-%H%M%S"
"""How a moment is written in the name of a folder; sorts by time."""


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Replace `path` by the file that the block writes, if it ends without an error.

    Args:
        path: the file to write; its folder must exist.

    Yields:
        The path to write the new file to. It has the suffix of `path`, because writers
        such as `keras.Model.save` and `Figure.savefig` choose the format by it.

    Raises:
        OSError: the folder is missing or cannot be written to.

    Example:
        >>> with replacing("notes.txt") as aside:
        ...     _ = aside.write_text("whole")
        >>> Path("notes.txt").read_text()
        'whole'
    """
    path = Path(path)
    # Two parts, for Keras's `.weights.h5`. The sibling is on the same file system,
    # where a rename is atomic.
    suffix = "".join(path.suffixes[-2:])
    stem = path.name.removesuffix(suffix)
    aside = path.with_name(f".{stem}-{secrets.token_hex(4)}{suffix}")
    try:
        yield aside
        put_in_place(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def put_in_place(aside: Path, path: str | Path) -> None:
    """Rename a finished file to its name so that a power cut cannot empty it.

    Args:
        aside: the file, closed, in the same folder as `path`.
        path: its name from now on; a file of that name is replaced.

    Raises:
        OSError: the file cannot be flushed to the disk, or not renamed.

    Example:
        >>> _ = Path("draft").write_text("whole")
        >>> put_in_place(Path("draft"), "letter")
        >>> Path("letter").read_text(), Path("draft").exists()
        ('whole', False)
    """
    # A rename may reach the disk before the content does: without the first flush the
    # new name can stand for an empty file after a power cut.
    _flush(aside)
    aside.replace(path)
    flush_folder(Path(path).parent)


def put_folder_in_place(aside: Path, path: Path) -> None:
    """Rename a finished folder to its name; its files are on the disk before.

    Raises:
        OSError: the folder cannot be renamed, for instance because `path` is a folder
            that is not empty.
    """
    # At once for all files: one by one, 1,000 images of 20 kB take 5 s, so 0.03 s.
    if hasattr(os, "sync"):
        os.sync()
    aside.replace(path)
    flush_folder(path.parent)


def flush_folder(folder: Path) -> None:
    """Flush the names in a folder to the disk, where the system knows how."""
    # Windows opens no folder, and some network file systems flush none; the name then
    # reaches the disk when the system writes it.
    if os.name == "posix":
        with suppress(OSError):
            _flush(folder)


def _flush(path: Path) -> None:
    # On Windows a file must be open for writing to be flushed; a folder never is.
    kind = os.O_RDONLY if os.name == "posix" else os.O_RDWR
    file = os.open(path, kind)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def write_text(path: str | Path, text: str) -> None:
    """Write `text` to `path` as UTF-8, whole or not at all."""
    with replacing(path) as aside:
        aside.write_text(text, encoding="utf-8")


def write_bytes(path: str | Path, data: bytes) -> None:
    """Write `data` to `path`, whole or not at all."""
    with replacing(path) as aside:
        aside.write_bytes(data)


def readable(nbytes: float) -> str:
    """Return a size with three digits and a binary unit.

    Example:
        >>> readable(37_683)
        '36.8 KiB'
    """
    units = ["B", "KiB", "MiB", "GiB", "TiB"]
    unit, suffix = pick_unit_and_suffix(int(nbytes), units, 1024)
    size = nbytes / unit
    # From 999.5 on `.3g` would print 1e+03.
    return f"{size:.3g} {suffix}" if size < 999.5 else f"{size:.0f} {suffix}"
