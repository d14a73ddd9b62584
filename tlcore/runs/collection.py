"""Collection: all runs in a folder, listed, found, compared and deleted.

Owns which folders are runs, how a run is found by its name, and which folders may be
deleted. A deletion starts with a rename, so that a run is there as a whole or not at
all, even if the process is killed halfway. It reads runs through `run`, which owns
their format, and writes nothing into them.
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
from tlcore.runs.publications import publications
from tlcore.runs.recipes import RECIPES
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
from tlcore.runs.states import is_broken_off, resume_line


def find_run(name: str, out: str | Path) -> Path:
    """Return the folder of a run.

    Args:
        name: `<recipe>/<moment>` in the folder of all runs, or the path of any run.
        out: the folder of all runs.

    Raises:
        ValueError: there is no such run.

    Example:
        >>> from tlcore.runs.run import start_run
        >>> moment = datetime(2026, 1, 2, 3, 4, 5)
        >>> path = start_run("found", "model_3", {}, now=moment).path
        >>> find_run("model_3/20260102-030405", "found") == path
        True
    """
    given = Path(name)
    given = given.parent if given.name == RUN_FILE else given
    for path in (Path(out) / given, given):
        if path.is_dir() and _is_run_folder(path):
            return path
    known = [path.relative_to(out).as_posix() for path in _run_folders(Path(out))]
    raise ValueError(
        "A run is named by <recipe>/<moment>, or by the path of its folder. "
        f"Received: run={name!r}, and {str(out)!r} holds no run of that name."
        f"{did_you_mean(name, known)} `tlcore experiments list` lists them."
    )


def find_trained(name: str, out: str | Path) -> Path:
    """Return the folder of a run whose model is there, by any of its names.

    Args:
        name: the path of a run, its `<recipe>/<moment>` in the folder of all runs, or
            the name of a recipe for the newest run of it that is done.
        out: the folder of all runs.

    Raises:
        ValueError: there is no such run.

    Example:
        >>> find_trained("model_3", "nowhere")
        Traceback (most recent call last):
        ValueError: There must be a run of model_3 that is done. Received: ...
    """
    if name not in RECIPES or Path(name).is_dir():
        return Path(name) if Path(name).exists() else find_run(name, out)
    done = [path for path in _run_folders(Path(out)) if path.parent.name == name]
    for path in reversed(done):
        with suppress(ValueError, OSError):  # a damaged one; the list says so
            if read_run(path).status == "done":
                return path
    raise ValueError(
        f"There must be a run of {name} that is done. Received: run={name!r}, and "
        f"{str(out)!r} holds none. Run `tlcore run {name} --data DIR` first, or name "
        "the folder of another run."
    )


def find_runs(out: str | Path) -> list[Path]:
    """Return the folders of all runs, damaged ones included, the oldest first.

    Raises:
        ValueError: `out` is not a folder.
    """
    out = Path(out)
    if not out.is_dir():
        raise ValueError(
            "Runs must be in a folder. "
            f"Received: out={str(out)!r}, which is not a folder. "
            "Choose another with --out; `tlcore run RECIPE --data DIR` makes a run."
        )
    return _run_folders(out)


def list_runs(out: str | Path) -> list[dict[str, Any]]:
    """Return a row for each run in a folder, the oldest first.

    Columns: "id", "status" (as in `compare_runs`, or "damaged"), "created" and
    "updated" (UTC), "epochs", "tags" (number of metrics), "scalars" (number of values
    in all epochs), "bytes" (of its files), "final" (as in `run.json`), "publications"
    (those that still exist), "reason" (why the run cannot be read, else "") and
    "resume" (the command that goes on with a run that was broken off, else "").

    Raises:
        ValueError: `out` is not a folder.

    Example:
        >>> from tlcore.runs.run import start_run
        >>> document = {"recipe": {"name": "model_3", "backbone": "sample_net"}}
        >>> run = start_run("listed", "model_3", document, now=datetime(2026, 1, 2))
        >>> run.write_history({"epoch": [0, 1], "loss": [2.0, 1.0]})
        >>> (row,) = list_runs("listed")
        >>> row["id"], row["status"], row["epochs"]
        ('model_3/20260102-000000', 'running', 2)
    """
    return [_list_row(path) for path in find_runs(out)]


def compare_runs(paths: Sequence[str | Path]) -> list[dict[str, Any]]:
    """Return the summary table of the tutorials, one row per run, in the given order.

    Columns: "run", "recipe", "backbone", "status" ("killed" for a run that says
    "running" but whose process on this machine is gone), "total_params",
    "trainable_params" (of the last phase), "epochs", "epoch_seconds" (median; the
    first epoch of each phase counts only if there is no other) and "final" (as in
    `run.json`).

    Raises:
        ValueError: a path holds no run that can be read.

    Example:
        >>> from tlcore.runs.run import start_run
        >>> document = {"recipe": {"name": "model_3", "backbone": "sample_net"}}
        >>> run = start_run("compared", "model_3", document, now=datetime(2026, 1, 2))
        >>> run.write_history({"epoch": [0, 1, 2], "seconds": [9.0, 2.0, 4.0]})
        >>> run.finish("done", phases=[{"first_epoch": 0, "counts": {}}])
        >>> (row,) = compare_runs([run.path])
        >>> row["status"], row["epochs"], row["epoch_seconds"]
        ('done', 3, 3.0)
    """
    return [summary(read_run(path)) for path in paths]


def file_sizes(path: str | Path) -> dict[str, int]:
    """Return the size in bytes of every file in a folder, by its path in the folder.

    A link counts as itself; what it points to does not.

    Example:
        >>> Path("notes").mkdir()
        >>> Path("notes/today.txt").write_text("four")
        4
        >>> file_sizes("notes")
        {'today.txt': 4}
    """
    path = Path(path)
    sizes = {}
    for folder, names, files in os.walk(path):
        links = [name for name in names if (Path(folder) / name).is_symlink()]
        for name in (*links, *files):
            file = Path(folder) / name
            with suppress(FileNotFoundError):  # a run in progress replaces its files
                sizes[file.relative_to(path).as_posix()] = file.lstat().st_size
    return dict(sorted(sizes.items()))


def _run_folders(out: Path) -> list[Path]:
    found = [
        run
        for recipe in _folders(out)
        for run in _folders(recipe)
        if _is_run_folder(run)
    ]
    return sorted(found, key=_start_order)


def _folders(path: Path) -> list[Path]:
    if not path.is_dir():
        return []
    return [x for x in path.iterdir() if x.is_dir() and not x.name.startswith(".")]


def _start_order(path: Path) -> tuple[str, int, str]:
    # As text, "-10" would stand before "-2": the count is compared as a number.
    moment = MOMENT.fullmatch(path.name)
    if moment is None:
        return path.name, 0, path.parent.name
    return moment[1], int(moment[2] or 1), path.parent.name


def _is_run_folder(path: Path) -> bool:
    try:
        # A run that was killed before it wrote run.json is known by its name.
        return (path / RUN_FILE).exists() or is_only_a_run(path)
    except PermissionError:
        # A run of another user is listed as damaged rather than passed over.
        return MOMENT.fullmatch(path.name) is not None


def _list_row(path: Path) -> dict[str, Any]:
    row: dict[str, Any] = {"id": f"{path.parent.name}/{path.name}", "status": "damaged"}
    row |= {"created": "", "updated": _last_written(path), "epochs": None, "tags": None}
    row |= {"scalars": None, "bytes": sum(file_sizes(path).values())}
    row |= {"final": {}, "publications": [], "reason": "", "resume": ""}
    try:
        run = read_run(path)
        compared = summary(run)
        with reading(run):
            row |= {"created": str(run.document["started"]), **_history_size(run)}
        row |= {name: compared[name] for name in ("status", "epochs", "final")}
        row["resume"] = resume_line(run) if is_broken_off(run) else ""
        # Last: with a damaged note the other columns still hold what is known.
        row["publications"] = publications(path)
    except (ValueError, OSError) as error:
        row["reason"] = str(error)
    return row


def _last_written(path: Path) -> str:
    file = path / RUN_FILE
    with suppress(OSError):
        path = file if file.exists() else path
        moment = datetime.fromtimestamp(path.stat().st_mtime, UTC)
        return moment.isoformat(timespec="seconds")
    return ""


def _history_size(run: Run) -> dict[str, int]:
    history = run.document.get("history", {})
    columns = [column for name, column in history.items() if name not in NO_SCALARS]
    return {"tags": len(columns), "scalars": sum(map(len, columns))}


_DELETED_PREFIX = ".deleted-"
"""The prefix of a run folder's name while the folder is deleted."""


@dataclass(frozen=True)
class Removal:
    """What the deletion of a run removes.

    Attributes:
        path: the folder of the run.
        files: the number of its files.
        nbytes: their size in bytes.
    """

    path: Path
    files: int
    nbytes: int


def check_removal(path: str | Path) -> Removal:
    """Return what deleting the run in a folder would remove; nothing is changed.

    Raises:
        ValueError: the folder is a link, it holds something other than a run, or the
            run is still running.

    Example:
        >>> from tlcore.runs.run import start_run
        >>> document = {"recipe": {"name": "model_3", "backbone": "sample_net"}}
        >>> run = start_run("old", "model_3", document, now=datetime(2026, 1, 2))
        >>> check_removal(run.path)
        Traceback (most recent call last):
        ValueError: A run must have ended to be deleted. Received: ...
        >>> run.finish("done")
        >>> removal = check_removal(run.path)
        >>> removal.files
        1
        >>> remove_run(removal)
        >>> find_runs("old")
        []
    """
    path = Path(path)
    if path.is_symlink():
        raise ValueError(
            "A run to be deleted must be a folder, not a link. "
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
    """Delete a run folder.

    Links in it are removed; what they point to is not. What a killed deletion left in
    the recipe's folder is removed as well.

    Raises:
        OSError: a file of the run cannot be removed.
    """
    path = removal.path
    # Removing a tree takes many steps and can be killed between any two; a rename is
    # one step, and a folder whose name starts with "." is not a run for any reader.
    path.rename(path.with_name(f"{_DELETED_PREFIX}{path.name}-{secrets.token_hex(4)}"))
    for renamed in path.parent.glob(f"{_DELETED_PREFIX}*"):
        # rmtree stops at a file that another deletion removed just before; the rest
        # of the folder still has to go.
        while renamed.exists():
            with suppress(FileNotFoundError):
                shutil.rmtree(renamed)


def _require_only_a_run(path: Path) -> None:
    if not path.is_dir() or not is_only_a_run(path):
        raise ValueError(
            "Only the folder of a run can be deleted: one whose run.json can be read, "
            "or one named by a moment that holds only what a run writes. "
            f"Received: run={str(path)!r}. Remove it by hand."
        )
