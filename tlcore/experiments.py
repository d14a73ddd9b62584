"""Experiments: runs on disk.

Owns the run folder `<out>/<recipe>/<YYYYmmdd-HHMMSS>/`, its `run.json` and
`history.csv`, and the table that compares runs. It knows files, not training: what a
run is made of comes from `runner`.
"""

import csv
import io
import json
import math
import os
import socket
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tlcore.files import STAMP_FORMAT, write_text

RUN_SCHEMA = 1
# History of the format of run.json:
# 1  the first.

_MALFORMED = (ValueError, LookupError, TypeError, AttributeError, OverflowError)
"""What reading a document of another form raises."""


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
    def class_names(self) -> tuple[str, ...]:
        """Return the classes that it was trained on; ValueError if it does not say."""
        try:
            names = self.document["data"]["classes"]
            if isinstance(names, list) and all(isinstance(n, str) for n in names):
                return tuple(names)
        except (KeyError, TypeError) as error:
            raise _damaged(self.path / "run.json", error) from error
        raise _damaged(self.path / "run.json", TypeError("classes must be names"))

    def update(self, **values: Any) -> None:
        """Change entries of `run.json` and write it, whole."""
        self.document.update(_finite(values))
        text = json.dumps(self.document, indent=2, allow_nan=False) + "\n"
        write_text(self.path / "run.json", text)

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
    file = path if path.name == "run.json" else path / "run.json"
    if not file.is_file():
        raise ValueError(
            "A run must be a folder with a run.json, such as "
            f"runs/model_3/20260101-120000. Received: run={str(path)!r}."
        )
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
        schema = int(document["schema"])
    except (*_MALFORMED, RecursionError) as error:
        raise _damaged(file, error) from error
    if schema > RUN_SCHEMA:
        raise ValueError(
            f"This version reads run.json up to schema {RUN_SCHEMA}. "
            f"Received: schema={schema} in {str(file)!r}. Install a newer tlcore."
        )
    return Run(file.parent, document)


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
    return [_readable_row(read_run(path)) for path in paths]


def _damaged(file: Path, error: Exception) -> ValueError:
    return ValueError(
        f"A run.json must be whole. Received: {str(file)!r}, which cannot be read "
        f"({type(error).__name__}: {error}). Delete the run's folder and run the "
        "recipe again."
    )


def _finite(value: Any) -> Any:
    """Copy nested values with None for NaN and infinity, which JSON has no word for."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _readable_row(run: Run) -> dict[str, Any]:
    try:
        return _row(run)
    except _MALFORMED as error:
        raise _damaged(run.path / "run.json", error) from error


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
            name: {key: estimate[key] for key in ("value", "n", "low", "high")}
            for name, estimate in document.get("final", {}).items()
        },
    }


def _status(document: Mapping[str, Any]) -> str:
    status, process = str(document["status"]), document["process"]
    if status != "running" or process["host"] != socket.gethostname():
        return status
    try:
        os.kill(process["pid"], 0)
    except ProcessLookupError:
        return "killed"
    except PermissionError:
        pass  # it is there, and someone else's
    return status


def _epoch_seconds(
    history: Mapping[str, Sequence[Any]], phases: Sequence[Mapping[str, Any]]
) -> float | None:
    first = {phase["first_epoch"] for phase in phases}
    timed = list(zip(history.get("epoch", []), history.get("seconds", []), strict=True))
    warm = [seconds for epoch, seconds in timed if epoch not in first]
    seconds = warm or [seconds for _, seconds in timed]
    return statistics.median(seconds) if seconds else None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
