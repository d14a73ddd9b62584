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

from tlcore.files import write_text

RUN_SCHEMA = 1
# History of the format of run.json:
# 1  the first.

STATUSES = ("running", "done", "failed", "interrupted", "terminated")


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
        return f"{self.path.parent.name}/{self.path.name}"

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


def check_writable(out: str | Path) -> Path:
    """Return the folder that runs go to, or say why they cannot; nothing is created.

    Raises:
        ValueError: it is a file, or neither it nor the folder it would be created in
            can be written to.
    """
    out = Path(out)
    nearest = next(p for p in (out, *out.absolute().parents) if p.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        raise ValueError(
            "Runs need a folder that can be written to. "
            f"Received: out={str(out)!r}, where {str(nearest)!r} cannot. "
            "Choose another with --out."
        )
    return out


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
    stamp = now.strftime("%Y%m%d-%H%M%S")
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
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise ValueError(
            f"A run.json must be whole. Received: {str(file)!r}, which cannot be read "
            f"({error}). Delete the run's folder and run the recipe again."
        ) from error
    if schema > RUN_SCHEMA:
        raise ValueError(
            f"This version reads run.json up to schema {RUN_SCHEMA}. "
            f"Received: schema={schema} in {str(file)!r}. Install a newer tlcore."
        )
    return Run(file.parent, document)


def compare_runs(paths: Sequence[str | Path]) -> list[dict[str, Any]]:
    """Return the summary table of the tutorials, one row per run, in the given order.

    Columns: "run", "recipe", "backbone", "status", "total_params",
    "trainable_params" (of the last phase), "epochs", "epoch_seconds" (median, the
    first epoch of each phase left out where there are others) and "final" (as in
    run.json).

    Raises:
        ValueError: a path holds no run that can be read.
    """
    return [_row(read_run(path)) for path in paths]


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
        "status": document["status"],
        "total_params": counts.get("total_params"),
        "trainable_params": counts.get("trainable_params"),
        "epochs": len(history.get("epoch", [])),
        "epoch_seconds": _epoch_seconds(history, phases),
        "final": document.get("final", {}),
    }


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
