"""Callbacks: Keras's own, configured, and what Keras lacks.

Owns TensorBoard, checkpoints and early stopping under the names the tutorials use, the
clock of the epochs, the guard against a loss that is no number, and the check that what
a callback monitors exists. It never trains.
"""

import math
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

import keras

from tlcore.arguments import require_one_of, require_whole
from tlcore.files import STAMP_FORMAT

_MODES = ("auto", "min", "max")


def tensorboard_callback(
    dir_name: str | Path,
    experiment_name: str,
    *,
    histograms: bool = False,
    now: Callable[[], datetime] = datetime.now,
) -> keras.callbacks.TensorBoard:
    """Return a TensorBoard callback that logs to `dir_name/experiment_name/<moment>`.

    Args:
        dir_name: the folder of all experiments.
        experiment_name: the folder of this one.
        histograms: whether weights are drawn every epoch (slow).
        now: what the moment, `YYYYmmdd-HHMMSS`, is read from.

    Raises:
        ValueError: the experiment's name is empty or leads out of `dir_name`.
    """
    parts = Path(experiment_name).parts
    if not parts or ".." in parts or Path(experiment_name).is_absolute():
        raise ValueError(
            "experiment_name must name a folder within dir_name. "
            f"Received: experiment_name={experiment_name!r}."
        )
    log_dir = Path(dir_name) / experiment_name / now().strftime(STAMP_FORMAT)
    return keras.callbacks.TensorBoard(
        log_dir=str(log_dir), histogram_freq=1 if histograms else 0
    )


def checkpoint_callback(
    path: str | Path, *, monitor: str | None = None, mode: str = "auto"
) -> keras.callbacks.ModelCheckpoint:
    """Return a callback that writes the model's weights after every epoch.

    Args:
        path: a file ending in `.weights.h5`; `{epoch:02d}` in it keeps every epoch.
        monitor: a metric such as "val_loss": then only the best epoch is kept.
        mode: "min", "max" or "auto": which way `monitor` is better.

    Raises:
        ValueError: the path is not of Keras 3's form for weights, or the mode is
            unknown.
    """
    require_one_of("mode", mode, _MODES)
    name = Path(path).name
    if not name.endswith(".weights.h5"):
        stem = name.split(".")[0] or "checkpoint"
        raise ValueError(
            "A checkpoint of weights must end in `.weights.h5` (Keras 3). "
            f"Received: path={str(path)!r}. "
            f"Write {str(Path(path).with_name(stem + '.weights.h5'))!r}."
        )
    return WholeCheckpoint(
        filepath=str(path),
        save_weights_only=True,
        save_freq="epoch",
        monitor=monitor or "val_loss",
        mode=mode,
        save_best_only=monitor is not None,
    )


def early_stopping_callback(
    monitor: str = "val_loss",
    *,
    patience: int = 3,
    min_delta: float = 0.0,
    mode: str = "auto",
    restore_best_weights: bool = True,
) -> keras.callbacks.EarlyStopping:
    """Return a callback that stops after `patience` epochs without improvement.

    `fit` checks before the first epoch that `monitor` exists.

    Args:
        monitor: the metric to watch.
        patience: epochs to wait for an improvement, at least 1.
        min_delta: what counts as one.
        mode: "min", "max" or "auto".
        restore_best_weights: whether the model ends with its best epoch's weights.

    Raises:
        ValueError: patience is no whole number from 1 on, or the mode is unknown.
    """
    require_whole("patience", patience, least=1, meaning=" epoch")
    require_one_of("mode", mode, _MODES)
    return keras.callbacks.EarlyStopping(
        monitor=monitor,
        patience=patience,
        min_delta=min_delta,
        mode=mode,
        restore_best_weights=restore_best_weights,
    )


class WholeCheckpoint(keras.callbacks.ModelCheckpoint):
    """A `ModelCheckpoint` of every epoch whose files are whole whatever happens.

    Keras writes in place: a process killed meanwhile loses the checkpoint before, too.
    Here the file is written aside and moved into place.
    """

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Save as Keras would, to a hidden sibling, and move that into place."""
        template: str = self.filepath
        path = Path(template)
        aside = path.with_name(f".{path.name}")
        fields = {"epoch": epoch + 1, **(logs or {})}
        written = Path(str(aside).format(**fields))
        self.filepath: str = str(aside)
        try:
            super().on_epoch_end(epoch, logs)
            if written.exists():
                written.replace(template.format(**fields))
        finally:
            self.filepath = template
            # A disk that is full must not be left fuller.
            written.unlink(missing_ok=True)


class BestCheckpoint(WholeCheckpoint):
    """Keeps the epoch with the lowest monitored value of all the fits it takes part in.

    `EarlyStopping` begins anew with every fit. Here fine-tuning has to beat feature
    extraction.

    Args:
        path: the checkpoint of that epoch, a file ending in `.weights.h5`.
        monitor: the metric, the lower the better.

    Attributes:
        epoch: which epoch it was, from 0.
    """

    def __init__(self, path: str | Path, *, monitor: str = "val_loss") -> None:
        super().__init__(
            filepath=str(path),
            save_weights_only=True,
            save_best_only=True,
            monitor=monitor,
            mode="min",
        )
        self.epoch = 0
        self._weights: list[Any] = []

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Save and remember the weights if they are the best so far."""
        before = self.best
        super().on_epoch_end(epoch, logs)
        if self.best != before:
            self.epoch, self._weights = epoch, self.model.get_weights()

    def restore(self) -> None:
        """Give the model the weights of that epoch."""
        self.model.set_weights(self._weights)


class EpochClock(keras.callbacks.Callback):
    """Seconds of each epoch, validation included; added to its logs as "seconds".

    Args:
        clock: seconds from any origin.
    """

    log_names = ("seconds",)

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        super().__init__()
        self.seconds: list[float] = []
        self._clock = clock
        self._start = 0.0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002
        """Start the epoch's time."""
        self._start = self._clock()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002
        """Keep the epoch's time."""
        self.seconds.append(self._clock() - self._start)
        if logs is not None:
            logs["seconds"] = self.seconds[-1]


class LossGuard(keras.callbacks.Callback):
    """Stops training with an error as soon as a loss or a weight is no finite number.

    Keras's `TerminateOnNaN` ends the epoch as if all were well, and a checkpoint of the
    broken weights replaces the last good one. Here the epoch does not end. The loss of
    a step is that of the weights before it, so the weights are looked at as well.

    Raises:
        FloatingPointError: the loss, or the weights or the validation loss at the end
            of an epoch, are NaN or infinite.
    """

    async_safe = True

    def __init__(self) -> None:
        super().__init__()
        self._epoch = 0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002
        """Remember where training is."""
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Check the loss so far; Keras has already brought it to the host."""
        self._check("loss", logs, f"epoch {self._epoch + 1}, step {batch + 1}")

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Check what the epoch left, before any checkpoint is written."""
        where = f"epoch {epoch + 1}"
        self._check("loss", logs, where)
        for weight in self.model.trainable_variables:
            if not keras.ops.all(keras.ops.isfinite(weight)):
                self._stop(f"{weight.path} with a value that is none", where)
        self._check("val_loss", logs, where)

    def _check(self, name: str, logs: dict[str, float] | None, where: str) -> None:
        loss = (logs or {}).get(name, 0.0)
        if not math.isfinite(loss):
            self._stop(f"{name}={loss}", where)

    def _stop(self, received: str, where: str) -> NoReturn:
        rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        raise FloatingPointError(
            "Loss and weights must stay finite numbers. "
            f"Received: {received} at {where}, learning_rate={rate:g}. "
            "Lower the learning rate, or look for labels and images out of range; "
            "checkpoints of earlier epochs are untouched."
        )


class AfterStep(keras.callbacks.Callback):
    """Calls a function after every step, which may end training by an exception.

    Args:
        function: what to call; it gets nothing.
    """

    async_safe = True

    def __init__(self, function: Callable[[], None]) -> None:
        super().__init__()
        self._function = function

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002
        """Call it."""
        self._function()
