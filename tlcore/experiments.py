"""Experiments: runs on disk.

Owns the run folder `<out>/<recipe>/<YYYYmmdd-HHMMSS>/`, its `run.json` and
`history.csv`, the list of such folders, whole or damaged, and the table that compares
runs. It knows files, not training: what a run is made of comes from `runner`.
"""

import csv
import io
import json
import math
import os
import re
import socket
import statistics
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tlcore import documents, notes
from tlcore.arguments import did_you_mean
from tlcore.files import STAMP_FORMAT, is_alive, write_text

RUN_SCHEMA = 1
# History of the format of run.json:
# 1  the first.

RUN_FILE = "run.json"
LEFT_BY_A_RUN = {
    *(RUN_FILE, notes.NOTE_FILE, "history.csv", "curves.png", "images.png"),
    *("checkpoints", "tensorboard", "model.keras"),
}
"""The names in a run folder."""
NO_SCALARS = ("epoch", "phase")
"""Columns of a history that were not measured."""

_MOMENT = re.compile(r"(\d{8}-\d{6})(?:-(\d+))?")
_REMEDY = "Delete the run's folder and run the recipe again."
"""What to do with a damaged run.json."""


@dataclass(frozen=True)
class Run:
    """One execution of a recipe, on disk.

    Attributes:
        path: its folder.
        document: what its `run.json` says.
    """

    path: Path
    document: dict[str, Any] = field(repr=False)

    @property
    def name(self) -> str:
        """Return `<recipe>/<moment>`."""
        path = self.path.resolve()
        return f"{path.parent.name}/{path.name}"

    @property
    def status(self) -> str:
        """Return how it stands; "killed" if it says "running" and its process is gone.

        Whether a process of another machine is there cannot be seen from here.
        ValueError if `run.json` does not say.
        """
        with reading(self):
            return _status(self.document)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Return the classes that it was trained on; ValueError if it does not say."""
        with reading(self):
            names = self.document["data"]["classes"]
            if isinstance(names, list) and all(isinstance(n, str) for n in names):
                return tuple(names)
            raise TypeError("classes must be names")

    def update(self, **values: Any) -> None:
        """Change entries of `run.json` and write it, whole."""
        self.document.update(_finite(values))
        text = json.dumps(self.document, indent=2, allow_nan=False) + "\n"
        write_text(self.path / RUN_FILE, text)

    def finish(self, status: str, **values: Any) -> None:
        """Write how the run ended, and when."""
        self.update(status=status, finished=_now(), **values)

    def write_history(self, history: Mapping[str, Sequence[Any]]) -> None:
        """Write columns of equal length to `history.csv`, and to `run.json`."""
        table = io.StringIO()
        writer = csv.writer(table, lineterminator="\n")
        writer.writerow(history)
        writer.writerows(zip(*history.values(), strict=True))
        write_text(self.path / "history.csv", table.getvalue())
        self.update(history={name: list(column) for name, column in history.items()})


def check_writable(out: str | Path) -> None:
    """Refuse a folder that runs cannot go to; nothing is created.

    Raises:
        ValueError: it is a file, or neither it nor the folder it would be created in
            can be written to, or its name is no text.
    """
    out = Path(out)
    nearest = next(p for p in (out, *out.absolute().parents) if p.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        raise ValueError(
            "Runs need a folder that can be written to. "
            f"Received: out={str(out)!r}, where {str(nearest)!r} cannot. "
            "Choose another with --out."
        )
    try:
        str(out.absolute()).encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            "Runs need a folder whose name is UTF-8, for TensorBoard's files. "
            f"Received: out={str(out)!r}. Choose another with --out."
        ) from error


def start_run(
    out: str | Path, recipe: str, document: Mapping[str, Any], *, now: datetime
) -> Run:
    """Create a run folder of its own and return the run, its status "running".

    Args:
        out: the folder of all runs.
        recipe: the recipe's name.
        document: what `run.json` says beside the run's own entries.
        now: the moment in the folder's name; a second run of the same second gets
            "-2" behind it.
    """
    folder = Path(out) / recipe
    folder.mkdir(parents=True, exist_ok=True)
    stamp = now.strftime(STAMP_FORMAT)
    path, count = folder / stamp, 1
    while True:
        try:
            path.mkdir()
            break
        except FileExistsError:
            count += 1
            path = folder / f"{stamp}-{count}"
    run = Run(path, {})
    run.update(
        schema=RUN_SCHEMA,
        id=run.name,
        status="running",
        started=_now(),
        process={"pid": os.getpid(), "host": socket.gethostname()},
        **document,
    )
    return run


def read_run(path: str | Path) -> Run:
    """Return the run in a folder.

    Raises:
        ValueError: the folder holds no run, a damaged one, or one of a newer version.
    """
    path = Path(path)
    file = path if path.name == RUN_FILE else path / RUN_FILE
    if not file.is_file():
        raise ValueError(
            "A run must be a folder with a run.json, such as "
            f"runs/model_3/20260101-120000. Received: run={str(path)!r}."
        )

    def parse(document: Any) -> Run:
        return Run(file.parent, document)

    return documents.read_document(file, parse, newest=RUN_SCHEMA, remedy=_REMEDY)


def reading(run: Run) -> AbstractContextManager[None]:
    """Have what a document of another form raises be a sentence.

    Raises:
        ValueError: the block did not find in `run.json` what a run writes there.
    """
    return documents.reading(run.path / RUN_FILE, _REMEDY)


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


def summary(run: Run) -> dict[str, Any]:
    """Return the row of a run in the table of `compare_runs`.

    Raises:
        ValueError: its `run.json` is not of the form that a run writes.
    """
    with reading(run):
        return _row(run)


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
    moment = _MOMENT.fullmatch(path.name)
    if moment is None:
        return path.name, 0, path.parent.name
    return moment[1], int(moment[2] or 1), path.parent.name


def _is_listed(path: Path) -> bool:
    try:
        return (path / RUN_FILE).exists() or is_only_a_run(path)
    except PermissionError:
        return _MOMENT.fullmatch(path.name) is not None


def is_only_a_run(path: Path) -> bool:
    """Tell whether it has the name of a run and holds nothing but what one leaves."""
    return _MOMENT.fullmatch(path.name) is not None and not _foreign(path)


def _foreign(path: Path) -> list[str]:
    """Return what is in a folder that no run leaves; it writes aside under `.`."""
    names = (x.name for x in path.iterdir() if not x.name.startswith("."))
    return sorted(set(names) - LEFT_BY_A_RUN)


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


def _finite(value: Any) -> Any:
    """Copy nested values with None for NaN and infinity, which JSON has no word for."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _row(run: Run) -> dict[str, Any]:
    document = run.document
    phases = document.get("phases", [])
    counts = phases[-1]["counts"] if phases else document.get("counts", {})
    history = document.get("history", {})
    return {
        "run": run.name,
        "recipe": document["recipe"]["name"],
        "backbone": document["recipe"]["backbone"],
        "status": _status(document),
        "total_params": counts.get("total_params"),
        "trainable_params": counts.get("trainable_params"),
        "epochs": len(history.get("epoch", [])),
        "epoch_seconds": _epoch_seconds(history, phases),
        "final": {
            str(name): {
                "n": int(estimate["n"]),
                **{key: _figure(estimate[key]) for key in ("value", "low", "high")},
            }
            for name, estimate in document.get("final", {}).items()
        },
    }


def _figure(value: Any) -> float | None:
    """Return a number, None for what `_finite` had no number for."""
    return None if value is None else float(value)


def _status(document: Mapping[str, Any]) -> str:
    status, process = str(document["status"]), document["process"]
    if status != "running" or process["host"] != socket.gethostname():
        return status
    return status if is_alive(process["pid"]) else "killed"


def _epoch_seconds(
    history: Mapping[str, Sequence[Any]], phases: Sequence[Mapping[str, Any]]
) -> float | None:
    first = {phase["first_epoch"] for phase in phases}
    if "seconds" not in history:
        return None
    timed = list(zip(history["epoch"], history["seconds"], strict=True))
    warm = [seconds for epoch, seconds in timed if epoch not in first]
    seconds = warm or [seconds for _, seconds in timed]
    return statistics.median(seconds) if seconds else None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
