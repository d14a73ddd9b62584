"""Files: written whole or not at all.

Owns the only way this package writes a file: to a temporary sibling that is moved into
place, so that neither a reader nor a killed process leaves or sees half of one. Also
owns how a moment is written in a folder's name and how a size is printed.
"""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
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
