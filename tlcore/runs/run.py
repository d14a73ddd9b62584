"""Run: one execution of a recipe, as a folder on disk.

Owns `run.json` and its schema: how a run is started, updated and finished, how it is
read or refused with a remedy, what its status is, and the row that stands for it in a
table. Training is in `runner`; all runs of a folder are in `collection`.
"""

import csv
import io
import json
import math
import os
import re
import socket
import statistics
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from tlcore.data.reading import Reading
from tlcore.files import STAMP_FORMAT, flush_folder, write_text
from tlcore.processes import is_alive, process_mark
from tlcore.runs import documents
from tlcore.runs.publications import NOTE_FILE
from tlcore.runs.structure import check_structure

RUN_SCHEMA = 1
# History of the format of run.json:
# 1  the first.

RUNS = Path("runs")
"""The folder of all runs, where no other is named."""
RUN_FILE = "run.json"
CHECKPOINTS = "checkpoints"
"""The folder in a run of the weights of each phase and of the states."""
SPLIT_FILE = "split.csv"
"""Which image went to which split, where the run divided them: a table to run again."""
PREDICTIONS_FILE = "predictions.csv"
"""What the trained model says of each image of the last split."""
CURVES, IMAGES = "curves.png", "images.png"
CONFUSION, MISTAKES = "confusion.png", "mistakes.png"
CALIBRATION = "calibration.png"
LEFT_BY_A_RUN = {
    *(RUN_FILE, NOTE_FILE, SPLIT_FILE, "history.csv", PREDICTIONS_FILE),
    *(CURVES, IMAGES, CONFUSION, MISTAKES, CALIBRATION),
    *(CHECKPOINTS, "tensorboard", "model.keras"),
}
"""The names of everything that tlcore writes into a run folder."""
_LOCK = ".lock"
NO_SCALARS = ("epoch", "phase")
"""Columns of a history that are not metrics."""

MOMENT = re.compile(r"(\d{8}-\d{6})(?:-(\d+))?")
"""The name of a run folder: a moment and, for a second run in it, a count."""
_REMEDY = "Delete the run's folder and run the recipe again."
"""Remedy for a damaged run.json."""


@dataclass(frozen=True)
class Run:
    """One execution of a recipe, on disk.

    Attributes:
        path: its folder.
        document: what its `run.json` says.

    Example:
        >>> document = {"recipe": {"name": "model_3"}}
        >>> run = start_run("begun", "model_3", document, now=datetime(2026, 1, 2))
        >>> run.write_history({"epoch": [0], "loss": [float("nan")]})
        >>> run.document["history"]["loss"], run.status
        ([None], 'running')
        >>> run.finish("done")
        >>> run.status
        'done'
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
        """Return the status in `run.json`, or "killed" if its process is gone.

        A run says "running" until it ends in an orderly way. Whether its process still
        exists can be checked on the same machine only. ValueError if `run.json` has no
        status.
        """
        with reading(self):
            return _status(self.document)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Return the classes it was trained on; ValueError if `run.json` has none."""
        with reading(self):
            names = self.document["data"]["classes"]
            if isinstance(names, list) and all(isinstance(n, str) for n in names):
                return tuple(names)
            raise TypeError("classes must be names")

    @property
    def image_reading(self) -> Reading:
        """Return how it read images; the default for a run that did not record it."""
        with reading(self):
            return Reading.recorded(self.document["data"].get("reading", {}))

    def update(self, **values: Any) -> None:
        """Change entries of `run.json` and write the file."""
        self.document.update(_finite(values))
        text = json.dumps(self.document, indent=2, allow_nan=False) + "\n"
        write_text(self.path / RUN_FILE, text)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from going on with this run meanwhile.

        Raises:
            ValueError: another process does.
        """
        folder = self.path / CHECKPOINTS
        folder.mkdir(exist_ok=True)
        lock = FileLock(folder / _LOCK, blocking=False)
        try:
            lock.acquire()
        except Timeout:
            raise ValueError(
                "A run is trained by one process at a time. Received: "
                f"run={str(self.path)!r}, which another one trains. Wait for it, or "
                "end it first."
            ) from None
        try:
            yield
        finally:
            lock.release()

    def go_on(self, **values: Any) -> None:
        """Record that this process goes on with the run, and what is new in it."""
        before = self.document.get("breaks", [])
        ended = {"status": self.status, "resumed": _now()}
        self.update(
            status="running",
            process=this_process(),
            breaks=[*before, ended],
            **values,
        )

    def finish(self, status: str, **values: Any) -> None:
        """Record how and when the run ended."""
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
    """Refuse a folder that no run can be written to; nothing is created.

    Raises:
        ValueError: `out` is a file, it cannot be written to or created, or its name is
            not UTF-8.
    """
    out = Path(out)
    nearest = next(p for p in (out, *out.absolute().parents) if p.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        raise ValueError(
            "Runs need a folder that can be written to. "
            f"Received: out={str(out)!r}, where {str(nearest)!r} cannot be. "
            "Choose another with --out."
        )
    try:
        # On Linux a name may be any bytes, but TensorBoard's writers take UTF-8 only:
        # without this check the run would fail once training begins.
        str(out.absolute()).encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            "Runs need a folder whose name is UTF-8, for TensorBoard's files. "
            f"Received: out={str(out)!r}. Choose another with --out."
        ) from error


def start_run(
    out: str | Path, recipe: str, document: Mapping[str, Any], *, now: datetime
) -> Run:
    """Create a new run folder and return the run, its status "running".

    Args:
        out: the folder of all runs.
        recipe: the recipe's name.
        document: entries of `run.json` in addition to those of every run.
        now: the moment that names the folder; a second run in the same second is
            named with "-2" at the end.

    Example:
        >>> now = datetime(2026, 1, 2, 3, 4, 5)
        >>> [start_run("runs", "model_3", {}, now=now).name for _ in range(2)]
        ['model_3/20260102-030405', 'model_3/20260102-030405-2']
    """
    folder = Path(out) / recipe
    folder.mkdir(parents=True, exist_ok=True)
    stamp = now.strftime(STAMP_FORMAT)
    path, count = folder / stamp, 1
    while True:
        try:
            # mkdir is atomic: of two processes in one second one gets the name.
            path.mkdir()
            break
        except FileExistsError:
            count += 1
            path = folder / f"{stamp}-{count}"
    flush_folder(folder)
    run = Run(path, {})
    run.update(
        schema=RUN_SCHEMA,
        id=run.name,
        status="running",
        started=_now(),
        process=this_process(),
        **document,
    )
    return run


def read_run(path: str | Path) -> Run:
    """Return the run in a folder.

    Args:
        path: the folder, or its `run.json`.

    Raises:
        ValueError: the folder holds no run, a damaged one, or one of a newer version.

    Example:
        >>> path = start_run("read", "model_3", {}, now=datetime(2026, 1, 2)).path
        >>> read_run(path).document["schema"]
        1
        >>> read_run("photos")
        Traceback (most recent call last):
        ValueError: A run must be a folder with a run.json, ... run='photos'.
    """
    path = Path(path)
    file = path if path.name == RUN_FILE else path / RUN_FILE
    if not file.is_file():
        raise ValueError(
            "A run must be a folder with a run.json, such as "
            f"runs/model_3/20260101-120000. Received: run={str(path)!r}."
        )

    def parse(document: Any) -> Run:
        check_structure(document)
        return Run(file.parent, document)

    return documents.read_document(file, parse, newest=RUN_SCHEMA, remedy=_REMEDY)


def reading(run: Run) -> AbstractContextManager[None]:
    """Turn errors in a block that reads a run's document into one with a remedy.

    Raises:
        ValueError: the block did not find in `run.json` what a run writes there.
    """
    return documents.reading(run.path / RUN_FILE, _REMEDY)


def summary(run: Run) -> dict[str, Any]:
    """Return the row of a run in the table of `compare_runs`.

    Raises:
        ValueError: its `run.json` does not have the structure that a run writes.
    """
    with reading(run):
        return _row(run)


def is_only_a_run(path: Path) -> bool:
    """Return whether a folder is named like a run and holds only what a run writes."""
    return MOMENT.fullmatch(path.name) is not None and not _foreign(path)


def _foreign(path: Path) -> list[str]:
    """Return the names in a folder that no run writes."""
    # Files are written under a name with "." first and then moved into place.
    names = (x.name for x in path.iterdir() if not x.name.startswith("."))
    return sorted(set(names) - LEFT_BY_A_RUN)


def _finite(value: Any) -> Any:
    """Return a copy of nested values with None for NaN and infinity."""
    # JSON cannot express them. Python would write NaN, which other readers refuse.
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
    """Return a number; None was NaN or infinite."""
    return None if value is None else float(value)


def _status(document: Mapping[str, Any]) -> str:
    status, process = str(document["status"]), document["process"]
    if status != "running" or process["host"] != socket.gethostname():
        return status
    return status if is_alive(process["pid"], process.get("mark", "")) else "killed"


def _epoch_seconds(
    history: Mapping[str, Sequence[Any]], phases: Sequence[Mapping[str, Any]]
) -> float | None:
    # The first epoch of a phase traces the graph and fills the cache.
    first = {phase["first_epoch"] for phase in phases}
    if "seconds" not in history:
        return None
    timed = list(zip(history["epoch"], history["seconds"], strict=True))
    warm = [seconds for epoch, seconds in timed if epoch not in first]
    seconds = warm or [seconds for _, seconds in timed]
    return statistics.median(seconds) if seconds else None


def this_process() -> dict[str, Any]:
    """Return what `run.json` says of the process that trains."""
    pid = os.getpid()
    mark = process_mark(pid) or ""
    return {"pid": pid, "host": socket.gethostname(), "mark": mark}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
