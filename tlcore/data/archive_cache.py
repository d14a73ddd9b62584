"""Archive cache: an archive that is given as data, unpacked once.

Owns where it is unpacked to, a folder named after the digest of its bytes, and which
folder inside it holds the data. What an archive may hold, and that a folder appears
whole or not at all, is decided in `archives` and `unpacking`.
"""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from tlcore.data.archives import Archive, fetch
from tlcore.data.layout import holds_one_folder

FOLDER_VARIABLE = "TLCORE_DATA_DIR"
SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz")
"""The endings of the names of archives."""

_INSIDE = "images"
"""The name of the folder if an archive has no folder that holds everything."""


def is_archive(path: Path) -> bool:
    """Return whether a file is named like an archive.

    Example:
        >>> is_archive(Path("photos.ZIP")), is_archive(Path("labels.csv"))
        (True, False)
    """
    return path.name.lower().endswith(SUFFIXES)


def unpacked(
    path: Path, say: Callable[[str], None], *, home: Path | None = None
) -> Path:
    """Return the folder that an archive unpacks to; unpack it if it is not there.

    It is named after the digest of the archive. If one folder holds everything, at any
    depth, that folder is returned.

    Args:
        path: a zip, tar or tar.gz file.
        say: called with a line that says where the images are.
        home: the folder of all unpacked archives; by default `TLCORE_DATA_DIR`, else
            `tlcore/data` in `XDG_CACHE_HOME` or `~/.cache`.

    Raises:
        ValueError: it is damaged, encrypted, too large or not an archive, or a member
            leads out of it.
        OSError: the disk fails or is full.

    Example:
        >>> import shutil
        >>> path = Path(shutil.make_archive("few", "zip", "photos/train"))
        >>> folder = unpacked(path, lambda line: None, home=Path("unpacked"))
        >>> sorted(folder.iterdir())[0].name
        'checked_ring'
    """
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    folder = (home or _home()) / digest[:32]
    found = _only_folder(folder)
    was_there = found is not None
    if found is None:
        url = path.absolute().as_uri()
        archive = Archive(
            path.name, url, sha256=digest, folder=_INSIDE, title=path.name
        )
        found = fetch(archive, folder, progress=False)
    while (inner := holds_one_folder(found)) is not None:
        found = inner
    done = "read as unpacked before" if was_there else "unpacked"
    say(f"{path.name}: {done} in {str(found)!r}; delete it to free the space")
    return found


def _home() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    folder = os.environ.get(FOLDER_VARIABLE) or Path(cache) / "tlcore/data"
    return Path(folder).expanduser()


def _only_folder(home: Path) -> Path | None:
    """Return what was unpacked before; a folder appears there only when it is whole."""
    if not home.is_dir():
        return None
    folders = [x for x in home.iterdir() if not x.name.startswith(".")]
    return folders[0] if len(folders) == 1 else None
