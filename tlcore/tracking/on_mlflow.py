"""On MLflow: runs in a tracking server, a database or a folder.

Owns how an address is found, the experiment, and the names of what is logged. It speaks
through `MlflowClient` alone, so that a run which the program itself has begun with
`mlflow.start_run` stays what it is.
"""

import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tlcore.arguments import require_path
from tlcore.tracking.tracker import (
    TrackerError,
    answering,
    check_installed,
    flat,
    without_credentials,
)

EXPERIMENT = "tlcore"
"""The experiment, where neither the caller nor the environment names one."""

_KEY = "tlcore.key"
"""The tag by which a training finds its run again."""
_EPOCH = "epoch"
_NAMED_STORES = ("databricks", "databricks-uc", "uc")
_DATABASES = ("sqlite", "mysql", "postgresql", "mssql")
_AT_ONCE = 100
"""The most parameters or tags that MLflow takes in one request."""
_PATIENCE = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
}
"""MLflow's own asks for four minutes until it says that there is no server."""


class MlflowTracker:
    """A run in MLflow.

    Args:
        where: the address of a server or database as MLflow writes it, or a folder,
            which gets a database and the files; None is `MLFLOW_TRACKING_URI`, and
            without it MLflow's own default, `mlflow.db` here.
        experiment: its name; None is `MLFLOW_EXPERIMENT_NAME`, or "tlcore".
        run_name: the name of the run; None leaves it to MLflow.

    Raises:
        ValueError: MLflow is not installed, or no folder can have that name.
    """

    name = "MLflow"
    remedy = (
        "Start it with `mlflow server`, correct the address, set "
        "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD or "
        "MLFLOW_TRACKING_TOKEN if it asks who you are, or name a folder instead"
    )

    def __init__(
        self,
        where: str | Path | None = None,
        *,
        experiment: str | None = None,
        run_name: str | None = None,
    ) -> None:
        check_installed("Tracking with MLflow", "mlflow", "mlflow")
        self._folder, self._uri = _address(where)
        self.group = (
            experiment or os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT
        )
        self.run_name = run_name
        self._client: Any = None
        self._experiment_id = ""
        self.id = ""
        self._phases: list[str] = []
        scheme = (self._uri or "").partition(":")[0].partition("+")[0]
        if scheme in _DATABASES:
            check_installed("A database of MLflow", "mlflow", "sqlalchemy", "alembic")

    @property
    def address(self) -> str:
        """Return where it is, without credentials."""
        return without_credentials(self._uri or "")

    @property
    def look(self) -> str:
        """Return where to look at the open run."""
        if self.address.startswith("http"):
            place = f"#/experiments/{self._experiment_id}/runs/{self.id}"
            return f"{self.address.rstrip('/')}/{place}"
        return f"mlflow ui --backend-store-uri {self.address}"

    def connect(self) -> None:
        """Find or make the experiment."""
        if self._folder is not None:
            self._folder.mkdir(parents=True, exist_ok=True)
        with self._answering():
            # Late: it takes two seconds.
            import mlflow

            self._uri = self._uri or mlflow.get_tracking_uri()
            self._client = mlflow.MlflowClient(self._uri)
            found = self._client.get_experiment_by_name(self.group)
            if found is None:
                # A database keeps no files: without this they would be in ./mlruns.
                files = self._folder and (self._folder / "artifacts").as_uri()
                self._experiment_id = self._client.create_experiment(self.group, files)
                return
            if found.lifecycle_stage != "active":
                raise TrackerError(f"its experiment {self.group!r} is deleted")
            self._experiment_id = found.experiment_id

    def open(self, key: str) -> set[int]:
        """Begin the run of this key, or go on with it; return the epochs it has."""
        with self._answering():
            found = self._client.search_runs(
                [self._experiment_id], f"tags.`{_KEY}` = '{key}'", max_results=1
            )
            if not found:
                run = self._client.create_run(
                    self._experiment_id, tags={_KEY: key}, run_name=self.run_name
                )
                self.id = run.info.run_id
                return set()
            self.id = found[0].info.run_id
            self._phases = found[0].data.tags.get("phases", "").split(", ")
            self._phases = [name for name in self._phases if name]
            self._client.update_run(self.id, status="RUNNING")
            history = self._client.get_metric_history(self.id, _EPOCH)
            return {metric.step for metric in history}

    def describe(self, params: Mapping[str, Any], tags: Mapping[str, Any]) -> None:
        """Set parameters and tags; a parameter that has changed since becomes a tag."""
        with self._answering():
            from mlflow.entities import Param, RunTag

            known = self._client.get_run(self.id).data.params
            texts = {_plain(k): str(v) for k, v in flat(params).items()}
            new = [Param(k, v) for k, v in texts.items() if k not in known]
            # MLflow refuses another value for a parameter: it belongs to the run.
            changed = {
                f"changed.{k}": v for k, v in texts.items() if known.get(k, v) != v
            }
            named = {**flat(tags), **changed}
            for part in _parts(new):
                self._client.log_batch(self.id, params=part, synchronous=True)
            for part in _parts([RunTag(_plain(k), str(v)) for k, v in named.items()]):
                self._client.log_batch(self.id, tags=part, synchronous=True)

    def log(self, epoch: int, moment: float, phase: str, figures: Any) -> None:
        """Add an epoch in one request, which is kept as a whole or not at all."""
        with self._answering():
            if phase not in self._phases:
                self._phases.append(phase)
                self._client.set_tag(self.id, "phases", ", ".join(self._phases))
            # Metrics are numbers: the number of the phase, whose name is in the tag.
            number = self._phases.index(phase)
            self._metrics({**figures, "phase": number, _EPOCH: epoch}, epoch, moment)

    def conclude(self, figures: Mapping[str, float]) -> None:
        """Set the final figures, as metrics at the step of the last epoch."""
        with self._answering():
            history = self._client.get_metric_history(self.id, _EPOCH)
            last = max((metric.step for metric in history), default=0)
            self._metrics(figures, last, time.time())

    def attach(self, path: Path) -> None:
        """Add a file, under its name."""
        with self._answering():
            self._client.log_artifact(self.id, str(path))

    def end(self, status: str) -> None:
        """End the run."""
        with self._answering():
            self._client.set_terminated(self.id, status.upper())

    def _metrics(self, figures: Mapping[str, float], step: int, moment: float) -> None:
        from mlflow.entities import Metric

        at = round(moment * 1000)
        metrics = [Metric(_plain(k), float(v), at, step) for k, v in figures.items()]
        self._client.log_batch(self.id, metrics=metrics, synchronous=True)

    @contextmanager
    def _answering(self) -> Iterator[None]:
        here = {name: x for name, x in _PATIENCE.items() if name not in os.environ}
        os.environ.update(here)
        try:
            with answering():
                yield
        finally:
            for name in here:
                os.environ.pop(name, None)


def _address(where: str | Path | None) -> tuple[Path | None, str | None]:
    """Return the folder and the address that `where` stands for."""
    if where is None:
        return None, os.environ.get("MLFLOW_TRACKING_URI") or None
    text = os.fspath(where)
    if "://" in text or text.startswith("file:") or text in _NAMED_STORES:
        return None, text
    folder = require_path("uri", where).absolute()
    if folder.exists() and not folder.is_dir():
        raise ValueError(
            "MLflow logs to an address or to a folder. Received: "
            f"uri={text!r}, which is a file. Name its folder, or write "
            f"sqlite:///{folder.as_posix()} for a database."
        )
    if set("?#%") & set(str(folder)):
        raise ValueError(
            "The folder of a database cannot have ?, # or % in its path. Received: "
            f"uri={text!r}. Choose another."
        )
    return folder, f"sqlite:///{folder.as_posix()}/mlflow.db"


def _plain(name: str) -> str:
    """Return a name with the characters that MLflow takes."""
    return re.sub(r"[^\w\-. /]", "_", name, flags=re.ASCII)


def _parts(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), _AT_ONCE):
        yield items[start : start + _AT_ONCE]
