"""Event files: a run as TensorBoard reads it.

Owns the file of one run with its hyperparameters, its figures by epoch and at the end,
and how it ended, so that TensorBoard's HParams tab compares runs. It loads TensorBoard
late and TensorFlow never; it reads no folder of runs.
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
"""What tells our files from Keras's; theirs name the host."""
_TEXTS = ("augmentation",)
"""Hyperparameters that are words, so that "none" is of the type of the others."""


@dataclass(frozen=True)
class Scalar:
    """One figure: what TensorBoard calls it, of which epoch, from 1, and when."""

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
    """Write the event file of a run, in place of an earlier one; return its path.

    The metrics of training are `accuracy/train`, those of validation
    `accuracy/validation`, the final figures `final/val_accuracy`.

    Args:
        folder: where to; it is created.
        name: of the run, its group in the HParams tab.
        document: what its `run.json` says.
        status: "done", "running", or how else it ended.
        by_epoch: whether figures of every epoch are written; else the final ones.

    Raises:
        OSError: the file cannot be written.
    """
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.record_writer import RecordWriter

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    start = _seconds(document["started"])
    scalars = [*(_by_epoch(document, start) if by_epoch else ()), *_final(document)]
    ended = status != "running"
    # A TensorBoard that is looking reads a newer name, and never a file again.
    newer = len(scalars) + ended
    path = folder / f"events.out.tfevents.{start:010.0f}.{newer:08d}{_SUFFIX}"
    with replacing(path) as aside, aside.open("wb") as file:
        writer = RecordWriter(file)
        first = Event(wall_time=start, file_version="brain.Event:2")
        writer.write(first.SerializeToString())
        for summary in _session(name, document, status, start):
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


def _session(
    name: str, document: Mapping[str, Any], status: str, start: float
) -> Iterator[Any]:
    """Yield the summaries that the HParams tab is made of."""
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2
    from tensorboard.plugins.hparams.summary_v2 import hparams_pb

    given = {
        key: value if isinstance(value, bool | int | float) else str(value)
        for key, value in _asked(document)
    }
    yield hparams_pb(given, trial_id=name, start_time_secs=start)
    if status == "running":
        return
    how = api_pb2.STATUS_SUCCESS if status == "done" else api_pb2.STATUS_FAILURE
    end = plugin_data_pb2.SessionEndInfo(status=how, end_time_secs=_end(document))
    data = plugin_data_pb2.HParamsPluginData(session_end_info=end)
    value = Summary.Value(
        tag=metadata.SESSION_END_INFO_TAG,
        metadata=metadata.create_summary_metadata(data),
        tensor=metadata.NULL_TENSOR,
    )
    yield Summary(value=[value])


def _asked(document: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the hyperparameters that have a value; TensorBoard has no word for none."""
    for name, value in hyperparameters(document).items():
        if value is not None:
            yield name, value
        elif name in _TEXTS:
            yield name, "none"


def _by_epoch(document: Mapping[str, Any], start: float) -> Iterator[Scalar]:
    history = document.get("history", {})
    epochs = history.get("epoch", [])
    ends = _ends(history, start)
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
            yield Scalar(
                f"final/{name}", len(epochs), estimate["value"], _end(document)
            )


def _tag(name: str) -> str:
    if name == "seconds":
        return "epoch/seconds"
    metric = name.removeprefix("val_")
    return f"{metric}/train" if metric == name else f"{metric}/validation"


def _ends(history: Mapping[str, Sequence[Any]], start: float) -> list[float]:
    """Return when each epoch ended; one second for each whose time is not known."""
    seconds = history.get("seconds", [1.0] * len(history.get("epoch", [])))
    return [start + done for done in accumulate(x or 0.0 for x in seconds)]


def _end(document: Mapping[str, Any]) -> float:
    """Return when a run ended, or at least its last epoch."""
    start = _seconds(document["started"])
    if "finished" in document:
        return _seconds(document["finished"])
    return [start, *_ends(document.get("history", {}), start)][-1]


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()
