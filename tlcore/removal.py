"""Removal: a run folder deleted, whole.

Owns what may be deleted and how: renamed first, so that a run is there as a whole or
not at all, whatever kills the process.
"""

import secrets
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tlcore.experiments import file_sizes, is_only_a_run, read_run, summary

_ASIDE = ".deleted-"
"""What the name of a run folder begins with while it is deleted."""


@dataclass(frozen=True)
class Removal:
    """What deleting a run takes away.

    Attributes:
        path: the folder of the run.
        files: how many are in it.
        nbytes: their size.
    """

    path: Path
    files: int
    nbytes: int


def check_removal(path: str | Path) -> Removal:
    """Return what deleting the run in a folder would take away; nothing is changed.

    Raises:
        ValueError: the folder is a link, or holds something else than a run, or the
            run is still running.
    """
    path = Path(path)
    if path.is_symlink():
        raise ValueError(
            "Deleting follows no link. "
            f"Received: run={str(path)!r}, a link to {str(path.resolve())!r}. "
            "Remove the link by hand, and delete the run where it is."
        )
    try:
        run = read_run(path)
        row = summary(run)
    except ValueError:
        _require_only_a_run(path)
    else:
        if row["status"] == "running":
            process = run.document["process"]
            raise ValueError(
                "A run must have ended to be deleted. "
                f"Received: run={str(path)!r}, running as process {process['pid']} on "
                f"{process['host']!r}. End it first; if that machine is gone, remove "
                "the folder by hand."
            )
    sizes = list(file_sizes(path).values())
    return Removal(path, len(sizes), sum(sizes))


def remove_run(removal: Removal) -> None:
    """Delete a run folder, and what an earlier deletion that was killed left beside it.

    The folder is renamed first: a run is there as a whole or not at all. Links in it
    are removed, what they lead to is not.

    Raises:
        OSError: something of it cannot be removed.
    """
    path = removal.path
    path.rename(path.with_name(f"{_ASIDE}{path.name}-{secrets.token_hex(4)}"))
    for aside in path.parent.glob(f"{_ASIDE}*"):
        while aside.exists():
            # Another process that deletes may have been faster with some.
            with suppress(FileNotFoundError):
                shutil.rmtree(aside)


def _require_only_a_run(path: Path) -> None:
    if not path.is_dir() or not is_only_a_run(path):
        raise ValueError(
            "Only the folder of a run is deleted: one whose run.json can be read, or "
            "one that is named by a moment and holds nothing else than a run leaves. "
            f"Received: run={str(path)!r}. Remove it by hand."
        )
