"""Event files: a run in the format that TensorBoard reads.

Owns the event file of one run: its hyperparameters, its figures by epoch and at the
end, and how it ended, so that TensorBoard's HParams tab compares runs. It imports
TensorBoard only when a file is written, and never TensorFlow. It reads no run folders:
the caller passes what `run.json` says.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate
from pathlib import Path
from typing import Any

from tlcore.files import replacing
from tlcore.runs.overview import hyperparameters
from tlcore.runs.run import NO_SCALARS

_SUFFIX = ".tlcore"
"""Suffix of our files, where Keras has the name of the host."""
_TEXT_HYPERPARAMETERS = ("augmentation",)
"""Hyperparameters that are text, so that None can be written as "none"."""


@dataclass(frozen=True)
class Scalar:
    """One value of a metric.

    Attributes:
        tag: the name of the metric in TensorBoard.
        epoch: from 1.
        value: a finite number.
        wall_time: when it was known, in seconds since 1970.
    """

    tag: str
    epoch: int
    value: float
    wall_time: float


def write_events(
    folder: str | Path,
    name: str,
    document: Mapping[str, Any],
    *,
    status: str,
    by_epoch: bool,
) -> Path:
    """Write the event file of a run and return its path; an earlier one is replaced.

    Tags are `accuracy/train` for metrics of training, `accuracy/validation` for those
    of validation and `final/val_accuracy` for final figures.

    Args:
        folder: the folder of the file; it is created.
        name: of the run, its group in the HParams tab.
        document: what its `run.json` says.
        status: "done", "running", or another way in which the run ended.
        by_epoch: whether the figures of every epoch are written, or the final ones
            only.

    Raises:
        OSError: the file cannot be written.

    Example:
        >>> document = {
        ...     "started": "2026-01-02T03:04:05+00:00",
        ...     "recipe": {"name": "model_3", "learning_rate": 0.001},
        ...     "history": {"epoch": [0, 1], "loss": [2.0, 1.0]},
        ... }
        >>> file = write_events(
        ...     "logs", "model_3/a", document, status="running", by_epoch=True
        ... )
        >>> file.name
        'events.out.tfevents.1767323045.00000002.tlcore'
    """
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.record_writer import RecordWriter

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    start = _seconds(document["started"])
    scalars = [*(_by_epoch(document, start) if by_epoch else ()), *_final(document)]
    ended = status != "running"
    # A running TensorBoard never reads a file a second time: it goes on to the next
    # name in alphabetical order. A file with more in it needs a name that sorts later.
    order = len(scalars) + ended
    path = folder / f"events.out.tfevents.{start:010.0f}.{order:08d}{_SUFFIX}"
    with replacing(path) as aside, aside.open("wb") as file:
        writer = RecordWriter(file)
        first = Event(wall_time=start, file_version="brain.Event:2")
        writer.write(first.SerializeToString())
        for summary in _session_summaries(name, document, status, start):
            event = Event(wall_time=start, summary=summary)
            writer.write(event.SerializeToString())
        for scalar in scalars:
            value = Summary.Value(tag=scalar.tag, simple_value=scalar.value)
            event = Event(
                wall_time=scalar.wall_time,
                step=scalar.epoch,
                summary=Summary(value=[value]),
            )
            writer.write(event.SerializeToString())
    for older in folder.glob(f"events.out.tfevents.*{_SUFFIX}"):
        if older != path:
            older.unlink(missing_ok=True)
    return path


def _session_summaries(
    name: str, document: Mapping[str, Any], status: str, start: float
) -> Iterator[Any]:
    """Yield the summaries that the HParams tab reads: a session's start and end."""
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2
    from tensorboard.plugins.hparams.summary_v2 import hparams_pb

    given = {
        key: value if isinstance(value, bool | int | float) else str(value)
        for key, value in _given_hyperparameters(document)
    }
    yield hparams_pb(given, trial_id=name, start_time_secs=start)
    if status == "running":  # a session without an end is shown as running
        return
    how = api_pb2.STATUS_SUCCESS if status == "done" else api_pb2.STATUS_FAILURE
    end = plugin_data_pb2.SessionEndInfo(status=how, end_time_secs=_run_end(document))
    data = plugin_data_pb2.HParamsPluginData(session_end_info=end)
    value = Summary.Value(
        tag=metadata.SESSION_END_INFO_TAG,
        metadata=metadata.create_summary_metadata(data),
        tensor=metadata.NULL_TENSOR,
    )
    yield Summary(value=[value])


def _given_hyperparameters(
    document: Mapping[str, Any],
) -> Iterator[tuple[str, Any]]:
    """Yield the hyperparameters that have a value."""
    # hparams_pb takes booleans, numbers and text, but not None. "none" among numbers
    # would make TensorBoard sort and filter the whole column as text.
    for name, value in hyperparameters(document).items():
        if value is not None:
            yield name, value
        elif name in _TEXT_HYPERPARAMETERS:
            yield name, "none"


def _by_epoch(document: Mapping[str, Any], start: float) -> Iterator[Scalar]:
    history = document.get("history", {})
    epochs = history.get("epoch", [])
    ends = _epoch_ends(history, start)
    for name, column in history.items():
        if name in NO_SCALARS:
            continue
        for epoch, value, end in zip(epochs, column, ends, strict=True):
            if value is not None:
                yield Scalar(_tag(name), epoch + 1, value, end)


def _final(document: Mapping[str, Any]) -> Iterator[Scalar]:
    epochs = document.get("history", {}).get("epoch", [])
    for name, estimate in document.get("final", {}).items():
        if estimate["value"] is not None and math.isfinite(estimate["value"]):
            end = _run_end(document)
            yield Scalar(f"final/{name}", len(epochs), estimate["value"], end)


def _tag(name: str) -> str:
    if name == "seconds":
        return "epoch/seconds"
    metric = name.removeprefix("val_")
    return f"{metric}/train" if metric == name else f"{metric}/validation"


def _epoch_ends(history: Mapping[str, Sequence[Any]], start: float) -> list[float]:
    """Return when each epoch ended, one second apart where no times were recorded."""
    # Points at the same moment would lie on each other on TensorBoard's time axis.
    seconds = history.get("seconds", [1.0] * len(history.get("epoch", [])))
    return [start + done for done in accumulate(x or 0.0 for x in seconds)]


def _run_end(document: Mapping[str, Any]) -> float:
    """Return when a run ended; if it does not say, when its last epoch did."""
    start = _seconds(document["started"])
    if "finished" in document:
        return _seconds(document["finished"])
    return [start, *_epoch_ends(document.get("history", {}), start)][-1]


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()
