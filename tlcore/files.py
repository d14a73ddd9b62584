"""Files that are whole or absent.

Owns the one way this package writes a file: aside, then moved into place, so that a
reader or a killed process never meets half of one, and how a moment is written in the
name of a folder, how a size
reads, and whether a process that may be writing is still there.
"""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.filesize import pick_unit_and_suffix

STAMP_FORMAT = "%Y%m%d-%H%M%S"
"""How a moment is written in a folder's name."""


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Give a temporary sibling of `path` that takes its place when the block ends well.

    Args:
        path: the file to write; its folder must exist.

    Yields:
        The path to write a new file to. It has the suffix of `path`, so that writers
        which look at the suffix (`keras.Model.save`, `Figure.savefig`) do as they
        would with it.

    Raises:
        OSError: the folder is missing or cannot be written to.
    """
    path = Path(path)
    suffix = "".join(path.suffixes[-2:])
    stem = path.name.removesuffix(suffix)
    aside = path.with_name(f".{stem}-{secrets.token_hex(4)}{suffix}")
    try:
        yield aside
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write `text` to `path` as UTF-8, whole or not at all."""
    with replacing(path) as aside:
        aside.write_text(text, encoding="utf-8")


def write_bytes(path: str | Path, data: bytes) -> None:
    """Write `data` to `path`, whole or not at all."""
    with replacing(path) as aside:
        aside.write_bytes(data)


def readable(nbytes: float) -> str:
    """Return a size for people, in three digits.

    Example:
        >>> readable(37_683)
        '36.8 KiB'
    """
    units = ["B", "KiB", "MiB", "GiB", "TiB"]
    unit, suffix = pick_unit_and_suffix(int(nbytes), units, 1024)
    size = nbytes / unit
    return f"{size:.3g} {suffix}" if size < 999.5 else f"{size:.0f} {suffix}"


def is_alive(process: int) -> bool:
    """Return whether a process of this machine is there, by its number."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # it is there, and belongs to another user
    return True
