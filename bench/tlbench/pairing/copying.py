"""Files and folders that are put in the place of others, as they are.

Links stay links, modes and times are kept. Owns nothing of git and nothing of suites.
"""

import os
import shutil
from pathlib import Path

_IGNORED = shutil.ignore_patterns("__pycache__")


def remove(path: Path) -> None:
    """Remove a file, a link or a folder with all that is in it, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def replace(source: Path, target: Path) -> None:
    """Put a copy of `source` in the place of `target`; no source, no target."""
    remove(target)
    if not os.path.lexists(source):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir() and not source.is_symlink():
        shutil.copytree(source, target, symlinks=True, ignore=_IGNORED)
    else:
        shutil.copy2(source, target, follow_symlinks=False)


def remove_empty_folders(folder: Path, *, below: Path) -> None:
    """Remove a folder without content, then its parents, up to but without `below`.

    git knows no empty folders, but Python imports them, as namespace packages.
    """
    while folder != below and folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
        folder = folder.parent
