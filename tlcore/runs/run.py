"""Run: one execution of a recipe, as a folder on disk.

Owns `run.json` and its schema: starting a run, reading one whole or refusing it with a
remedy, its status, and the row that a table shows. Many runs are in `collection`.
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
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tlcore.files import STAMP_FORMAT, is_alive, write_text
from tlcore.runs import documents
from tlcore.runs import publications as notes

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

MOMENT = re.compile(r"(\d{8}-\d{6})(?:-(\d+))?")
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


def summary(run: Run) -> dict[str, Any]:
    """Return the row of a run in the table of `compare_runs`.

    Raises:
        ValueError: its `run.json` is not of the form that a run writes.
    """
    with reading(run):
        return _row(run)


def is_only_a_run(path: Path) -> bool:
    """Tell whether it has the name of a run and holds nothing but what one leaves."""
    return MOMENT.fullmatch(path.name) is not None and not _foreign(path)


def _foreign(path: Path) -> list[str]:
    """Return what is in a folder that no run leaves; it writes aside under `.`."""
    names = (x.name for x in path.iterdir() if not x.name.startswith("."))
    return sorted(set(names) - LEFT_BY_A_RUN)


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
