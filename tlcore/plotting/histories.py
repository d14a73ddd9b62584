"""Histories: the values of metrics by epoch, checked and ready to draw.

Owns how a keras `History`, or a mapping, becomes the phases and curves of a run, and
which metrics are drawn. Drawing them is in `learning_curves`.
"""

from __future__ import annotations

import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np

from tlcore.arguments import counted, require_one_of
from tlcore.plotting.figures import Values

if TYPE_CHECKING:
    from numpy.typing import NDArray


@runtime_checkable
class EpochHistory(Protocol):
    """The record of a training, such as a `keras.callbacks.History`."""

    @property
    def epoch(self) -> Sequence[int]:
        """The epochs, counted from 0."""

    @property
    def history(self) -> Mapping[str, Values]:
        """The values of each metric, one per epoch."""


History = EpochHistory | Mapping[str, Values]
"""A keras `History`, or the values of each metric and, optionally, "epoch" from 0."""


@dataclass(frozen=True)
class Phase:
    """Epochs `first` to `first + count - 1`, counted from 0, and their metrics."""

    first: int
    count: int
    metrics: Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True)
class DrawnRun:
    """The phases of one run, one after the other."""

    phases: tuple[Phase, ...]

    @property
    def epochs(self) -> NDArray[np.int64]:
        """Every epoch, counted from 1."""
        last = self.phases[-1]
        return np.arange(self.phases[0].first, last.first + last.count) + 1

    @property
    def names(self) -> tuple[str, ...]:
        """The name of every metric that any phase recorded."""
        return tuple(dict.fromkeys(n for phase in self.phases for n in phase.metrics))

    @property
    def starts(self) -> tuple[float, ...]:
        """Where each phase after the first begins on the x axis: between two epochs."""
        return tuple(phase.first + 0.5 for phase in self.phases[1:])

    def curve(self, name: str) -> NDArray[np.float64]:
        """One value per epoch, NaN where a phase did not record it."""
        return np.concatenate(
            [p.metrics.get(name, np.full(p.count, np.nan)) for p in self.phases]
        )


def drawn_run(histories: Sequence[History], where: str) -> DrawnRun:
    """Return the run whose phases left these histories.

    Args:
        histories: one per phase, in the order of training.
        where: the name of the caller's argument, for messages.

    Raises:
        ValueError: there is no history, one holds no values, or the epochs of one do
            not follow on from those before.

    Example:
        >>> run = drawn_run([{"loss": [3.0, 2.0]}, {"loss": [1.0]}], "histories")
        >>> run.epochs.tolist(), run.starts
        ([1, 2, 3], (2.5,))
    """
    if not histories:
        raise ValueError(
            f"{where} must hold at least 1 history. Received: none. "
            "Pass what fit returned."
        )
    phases: list[Phase] = []
    for index, history in enumerate(histories):
        before = phases[-1] if phases else None
        phases.append(
            _phase(
                history,
                where if len(histories) == 1 else f"{where}[{index}]",
                follows=before.first + before.count if before else None,
            )
        )
    return DrawnRun(tuple(phases))


def _phase(history: History, where: str, *, follows: int | None) -> Phase:
    if isinstance(history, EpochHistory):
        recorded: Mapping[str, Values] = history.history
        epochs: Values | None = history.epoch
    elif isinstance(history, Mapping):
        recorded = {name: v for name, v in history.items() if name != "epoch"}
        epochs = history.get("epoch")
    else:
        raise ValueError(
            "A history must be a keras History or a mapping of metrics to values. "
            f"Received: {where}={reprlib.repr(history)}. Pass what fit returned."
        )
    arrays = {name: _array(v, f"{where}[{name!r}]") for name, v in recorded.items()}
    count = (
        len(epochs) if epochs is not None else max(map(len, arrays.values()), default=0)
    )
    if not arrays or not count:
        raise ValueError(
            "A history must hold at least one metric and one epoch. "
            f"Received: {where} with {counted(len(arrays), 'metric')}, "
            f"{counted(count, 'epoch')}. Train before plotting."
        )
    for name, array in arrays.items():
        if len(array) != count:
            raise ValueError(
                "A metric must have one value per epoch. "
                f"Received: {where}[{name!r}]: {counted(len(array), 'value')}, "
                f"{counted(count, 'epoch')}. Validate in every epoch, or write NaN for "
                "an epoch without a value."
            )
    # A metric with a value per class, such as an F1 score without average, is not a
    # single curve and is left out.
    curves = {name: array for name, array in arrays.items() if array.ndim == 1}
    return Phase(_first(epochs, count, where, follows), count, curves)


def _array(values: Values, where: str) -> NDArray[np.float64]:
    """Return values as numbers, NaN where there is no finite one."""
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        array = np.empty(())
    if array.ndim == 0:
        raise ValueError(
            "A metric must be a list of numbers, one per epoch. "
            f"Received: {where}={reprlib.repr(values)}."
        )
    return np.where(np.isfinite(array), array, np.nan)


def _first(epochs: Values | None, count: int, where: str, follows: int | None) -> int:
    """Return the index of the first epoch; refuse epochs with gaps or overlaps."""
    if epochs is None:
        return follows or 0
    # A run may be drawn from its fine-tuning alone, so only the first history may start
    # at any epoch.
    first = max(int(epochs[0]), 0) if follows is None else follows
    expected = list(range(first, first + count))
    received = list(epochs)
    if received != expected:
        raise ValueError(
            "Epochs must be contiguous, and each history must follow on from the one "
            f"before. Expected: epoch={reprlib.repr(expected)}. "
            f"Received: {where} with epoch={reprlib.repr(received)}. "
            "Train a further phase with initial_epoch=history.epoch[-1] + 1, as "
            "fine_tune(history=...) does."
        )
    return first


def shared_metrics(runs: Sequence[DrawnRun], metric: str | None) -> list[str]:
    """Return the metrics to draw, one row or column of panels each.

    Args:
        runs: the runs to draw.
        metric: the only one to draw; by default loss and accuracy.

    Raises:
        ValueError: no run recorded `metric`, or neither a loss nor an accuracy.

    Example:
        >>> run = drawn_run([{"loss": [2.0], "val_loss": [3.0]}], "histories")
        >>> shared_metrics([run], None)
        ['loss']
    """
    valid = dict.fromkeys(name for run in runs for name in run.names)
    if metric is not None:
        if not any(recorded_name(run, metric) for run in runs):
            require_one_of("metric", metric, valid)
        return [metric]
    metrics = [
        m for m in ("loss", "accuracy") if any(recorded_name(r, m) for r in runs)
    ]
    if not metrics:
        raise ValueError(
            "A history must hold a loss or an accuracy. "
            f"Received: metrics {', '.join(valid)}. "
            "Name one of them: compare_histories(..., metric=...)."
        )
    return metrics


def recorded_name(run: DrawnRun, metric: str) -> str | None:
    """Return the name under which a run recorded a metric, or None.

    Keras names an accuracy by the form of the labels; "accuracy" finds any of them.

    Example:
        >>> run = drawn_run([{"binary_accuracy": [0.5]}], "histories")
        >>> recorded_name(run, "accuracy")
        'binary_accuracy'
    """
    names = dict.fromkeys(name.removeprefix("val_") for name in run.names)
    if metric in names or metric in run.names:
        return metric
    if metric == "accuracy":
        return next((n for n in names if n == "acc" or n.endswith("_accuracy")), None)
    return None


def metric_curves(run: DrawnRun, metric: str) -> dict[str, str]:
    """Return the curves of a metric: the recorded name of "training", "validation".

    Example:
        >>> run = drawn_run([{"loss": [2.0], "val_loss": [3.0]}], "histories")
        >>> metric_curves(run, "loss")
        {'training': 'loss', 'validation': 'val_loss'}
    """
    name = recorded_name(run, metric)
    if name is None:
        return {}
    if name.startswith("val_"):
        return {"validation": name}
    both = {"training": name, "validation": f"val_{name}"}
    return {kind: name for kind, name in both.items() if name in run.names}
