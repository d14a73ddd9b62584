"""Collection: all runs in a folder, listed, found, compared and deleted.

Owns which folders are runs, how one is found by its name, and what may be deleted and
how: renamed first, so that a run is there as a whole or not at all, whatever kills the
process. One run is `run`.
"""

import os
import secrets
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tlcore.arguments import did_you_mean
from tlcore.runs import publications as notes
from tlcore.runs.run import (
    MOMENT,
    NO_SCALARS,
    RUN_FILE,
    Run,
    is_only_a_run,
    read_run,
    reading,
    summary,
)


def find_run(name: str, out: str | Path) -> Path:
    """Return the folder of a run.

    Args:
        name: `<recipe>/<moment>` in the folder of all runs, or the path of any run.
        out: the folder of all runs.

    Raises:
        ValueError: there is no such run.
    """
    given = Path(name)
    given = given.parent if given.name == RUN_FILE else given
    for path in (Path(out) / given, given):
        if path.is_dir() and _is_listed(path):
            return path
    known = [path.relative_to(out).as_posix() for path in _run_folders(Path(out))]
    raise ValueError(
        "A run is named by <recipe>/<moment>, or by the path of its folder. "
        f"Received: run={name!r}, and {str(out)!r} holds none of that name."
        f"{did_you_mean(name, known)} `tlcore experiments list` lists them."
    )


def find_runs(out: str | Path) -> list[Path]:
    """Return the folders of all runs, the oldest first, damaged ones among them.

    Raises:
        ValueError: `out` is no folder.
    """
    out = Path(out)
    if not out.is_dir():
        raise ValueError(
            f"Runs must be in a folder. Received: out={str(out)!r}, which is none. "
            "Choose another with --out; `tlcore run RECIPE --data DIR` makes a run."
        )
    return _run_folders(out)


def list_runs(out: str | Path) -> list[dict[str, Any]]:
    """Return a row for each run of a folder, the oldest first.

    Columns: "id", "status" (as in `compare_runs`, and "damaged"), "created" and
    "updated" (UTC), "epochs", "tags" (metrics), "scalars" (values of all epochs),
    "bytes" (of its files), "final" (as in `run.json`), "publications" that are still
    there, and "reason": why it cannot be read, "" where it can.

    Raises:
        ValueError: `out` is no folder.
    """
    return [_listed(path) for path in find_runs(out)]


def compare_runs(paths: Sequence[str | Path]) -> list[dict[str, Any]]:
    """Return the summary table of the tutorials, one row per run, in the given order.

    Columns: "run", "recipe", "backbone", "status" ("killed" for a run of this machine
    that says "running" and whose process is gone), "total_params",
    "trainable_params" (of the last phase), "epochs", "epoch_seconds" (median, the
    first epoch of each phase left out where there are others) and "final" (as in
    run.json).

    Raises:
        ValueError: a path holds no run that can be read.
    """
    return [summary(read_run(path)) for path in paths]


def file_sizes(path: str | Path) -> dict[str, int]:
    """Return the bytes of every file in a folder, by its path there; links are ours."""
    path = Path(path)
    sizes = {}
    for folder, names, files in os.walk(path):
        links = [name for name in names if (Path(folder) / name).is_symlink()]
        for name in (*links, *files):
            file = Path(folder) / name
            with suppress(FileNotFoundError):  # a run that goes on replaces files
                sizes[file.relative_to(path).as_posix()] = file.lstat().st_size
    return dict(sorted(sizes.items()))


def _run_folders(out: Path) -> list[Path]:
    found = [
        run for recipe in _folders(out) for run in _folders(recipe) if _is_listed(run)
    ]
    return sorted(found, key=_age)


def _folders(path: Path) -> list[Path]:
    if not path.is_dir():
        return []
    return [x for x in path.iterdir() if x.is_dir() and not x.name.startswith(".")]


def _age(path: Path) -> tuple[str, int, str]:
    """Sort by the moment; the second run of a second is before the tenth."""
    moment = MOMENT.fullmatch(path.name)
    if moment is None:
        return path.name, 0, path.parent.name
    return moment[1], int(moment[2] or 1), path.parent.name


def _is_listed(path: Path) -> bool:
    try:
        return (path / RUN_FILE).exists() or is_only_a_run(path)
    except PermissionError:
        return MOMENT.fullmatch(path.name) is not None


def _listed(path: Path) -> dict[str, Any]:
    row: dict[str, Any] = {"id": f"{path.parent.name}/{path.name}", "status": "damaged"}
    row |= {"created": "", "updated": _written(path), "epochs": None, "tags": None}
    row |= {"scalars": None, "bytes": sum(file_sizes(path).values())}
    row |= {"final": {}, "publications": [], "reason": ""}
    try:
        run = read_run(path)
        compared = summary(run)
        with reading(run):
            row |= {"created": str(run.document["started"]), **_counted(run)}
        row |= {name: compared[name] for name in ("status", "epochs", "final")}
        row["publications"] = notes.publications(path)
    except (ValueError, OSError) as error:
        row["reason"] = str(error)
    return row


def _written(path: Path) -> str:
    file = path / RUN_FILE
    with suppress(OSError):
        path = file if file.exists() else path
        moment = datetime.fromtimestamp(path.stat().st_mtime, UTC)
        return moment.isoformat(timespec="seconds")
    return ""


def _counted(run: Run) -> dict[str, int]:
    history = run.document.get("history", {})
    columns = [column for name, column in history.items() if name not in NO_SCALARS]
    return {"tags": len(columns), "scalars": sum(map(len, columns))}


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
