"""Callbacks: Keras's own with safe settings, and those that Keras lacks.

Owns TensorBoard, checkpoints and early stopping under the names the tutorials use,
checkpoint files that are always whole, the clock of epochs, and the guard against a
loss that is NaN or infinite. Whether a monitored metric exists is checked in `checks`.
"""

import math
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

import keras

from tlcore.arguments import (
    require_one_of,
    require_path,
    require_tensorflow,
    require_whole,
)
from tlcore.files import STAMP_FORMAT, put_in_place

_MODES = ("auto", "min", "max")


def tensorboard_callback(
    dir_name: str | Path,
    experiment_name: str,
    *,
    histograms: bool = False,
    now: Callable[[], datetime] = datetime.now,
) -> keras.callbacks.Callback:
    """Return a callback that logs to `dir_name/experiment_name/<moment>`.

    With TensorFlow it is Keras's own, `keras.callbacks.TensorBoard`, which needs
    TensorFlow on every backend; with JAX and PyTorch it is `EpochEvents`.

    Args:
        dir_name: the folder of all experiments.
        experiment_name: the folder of this experiment, within `dir_name`.
        histograms: whether histograms of the weights are logged every epoch (slow).
        now: returns the moment, which is written as `YYYYmmdd-HHMMSS`.

    Raises:
        ValueError: the name of the experiment is empty or leads out of `dir_name`, or
            histograms are asked for on a backend without them.

    Example:
        >>> from datetime import datetime
        >>> noon = datetime(2026, 1, 2, 12)
        >>> tl.tensorboard_callback("runs", "model_1", now=lambda: noon).log_dir
        'runs/model_1/20260102-120000'
    """
    folder = require_path("dir_name", dir_name)
    inside = require_path("experiment_name", experiment_name or ".")
    if not inside.parts or ".." in inside.parts or inside.is_absolute():
        raise ValueError(
            "experiment_name must name a folder within dir_name. "
            f"Received: experiment_name={experiment_name!r}. Write a name without "
            "'..', and the folder above it as dir_name."
        )
    log_dir = folder / inside / now().strftime(STAMP_FORMAT)
    if keras.backend.backend() == "tensorflow":
        return keras.callbacks.TensorBoard(
            log_dir=str(log_dir), histogram_freq=1 if histograms else 0
        )
    if histograms:
        require_tensorflow("Histograms for TensorBoard need")
    return EpochEvents(log_dir)


def checkpoint_callback(
    path: str | Path, *, monitor: str | None = None, mode: str = "auto"
) -> keras.callbacks.ModelCheckpoint:
    """Return a callback that writes the model's weights after every epoch.

    Args:
        path: a file ending in `.weights.h5`; with `{epoch:02d}` in it the weights of
            every epoch are kept.
        monitor: a metric such as "val_loss"; if given, only the best epoch is kept.
        mode: "min" if a lower `monitor` is better, "max" if a higher one is; "auto"
            decides by its name.

    Raises:
        ValueError: the path does not end in `.weights.h5`, as Keras 3 requires, or the
            mode is unknown.

    Example:
        >>> train = tl.image_folder("photos/train", image_size=32)
        >>> model = tl.create_model("sample_net", 3, input_shape=(32, 32, 3))
        >>> keep = tl.checkpoint_callback("best.weights.h5", monitor="loss")
        >>> _ = tl.feature_extract(model, train, epochs=1, callbacks=[keep], verbose=0)
        >>> model.load_weights("best.weights.h5")
    """
    require_one_of("mode", mode, _MODES)
    name = require_path("path", path).name
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

    `fit` verifies before the first epoch that `monitor` exists.

    Args:
        monitor: the metric to watch.
        patience: epochs to wait for an improvement, at least 1.
        min_delta: the smallest change that counts as an improvement.
        mode: "min", "max" or "auto", as in `checkpoint_callback`.
        restore_best_weights: whether the model ends with the weights of its best epoch.

    Raises:
        ValueError: patience is not a whole number of at least 1, or the mode is
            unknown.

    Example:
        >>> stop = tl.early_stopping_callback("val_accuracy", patience=5)
        >>> stop.monitor, stop.patience, stop.restore_best_weights
        ('val_accuracy', 5, True)
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


class EpochEvents(keras.callbacks.Callback):
    """Logs each epoch for TensorBoard as Keras's callback does, without TensorFlow.

    Args:
        log_dir: the folder; figures of training are in its `train`, those of validation
            in its `validation`, each under the name `epoch_<metric>`.
    """

    def __init__(self, log_dir: str | Path) -> None:
        super().__init__()
        self.log_dir = str(log_dir)
        self._writers: dict[str, Any] = {}

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Write the figures of the epoch."""
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        figures = dict(logs or {})
        rate = self.model.optimizer.learning_rate
        figures["learning_rate"] = float(keras.ops.convert_to_numpy(rate))
        values: dict[str, list[Any]] = {}
        for name, figure in figures.items():
            folder = "validation" if name.startswith("val_") else "train"
            tag = f"epoch_{name.removeprefix('val_')}"
            value = Summary.Value(tag=tag, simple_value=float(figure))
            values.setdefault(folder, []).append(value)
        for folder, summary in values.items():
            event = Event(
                wall_time=time.time(), step=epoch, summary=Summary(value=summary)
            )
            writer = self._writer(folder)
            writer.add_event(event)
            writer.flush()

    def on_train_end(self, logs: Any = None) -> None:  # noqa: ARG002
        """Close the files; another fit opens new ones."""
        while self._writers:
            self._writers.popitem()[1].close()

    def _writer(self, folder: str) -> Any:
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        if folder not in self._writers:
            path = str(Path(self.log_dir, folder))
            self._writers[folder] = EventFileWriter(path)
        return self._writers[folder]


class WholeCheckpoint(keras.callbacks.ModelCheckpoint):
    """A `ModelCheckpoint` whose files are always whole.

    Keras overwrites the file in place: a process killed while it writes loses the
    previous checkpoint too. Here a temporary file is written and moved into place.
    """

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Save as Keras does, but to a hidden sibling that is moved into place."""
        # Keras decides within this method whether to save, and formats the path: only
        # the path can be changed from outside.
        template: str = self.filepath
        path = Path(template)
        aside = path.with_name(f".{path.name}")
        fields = {"epoch": epoch + 1, **(logs or {})}
        written = Path(str(aside).format(**fields))
        self.filepath: str = str(aside)
        try:
            super().on_epoch_end(epoch, logs)
            if written.exists():
                put_in_place(written, template.format(**fields))
        finally:
            self.filepath = template
            # Half a file would take up the rest of a full disk.
            written.unlink(missing_ok=True)


class BestCheckpoint(WholeCheckpoint):
    """Keeps the best epoch of all fits it is passed to.

    `EarlyStopping` forgets the best value when a new `fit` starts. Here fine-tuning has
    to beat feature extraction.

    Args:
        path: the checkpoint of the best epoch, a file ending in `.weights.h5`.
        monitor: the metric; lower is better.

    Attributes:
        epoch: the index of the best epoch, from 0.
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
        """Save the weights and keep a copy if they are the best so far."""
        before = self.best
        super().on_epoch_end(epoch, logs)
        if self.best != before:
            self.epoch, self._weights = epoch, self.model.get_weights()

    def restore(self) -> None:
        """Set the model's weights to those of the best epoch."""
        self.model.set_weights(self._weights)


class EpochClock(keras.callbacks.Callback):
    """Measures each epoch, validation included, and adds "seconds" to its logs.

    Args:
        clock: returns seconds from any origin.
    """

    log_names = ("seconds",)

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        super().__init__()
        self.seconds: list[float] = []
        self._clock = clock
        self._start = 0.0

    def state_dict(self) -> dict[str, Any]:
        """Return the times so far, and that of the epoch that goes on."""
        return {"seconds": self.seconds, "elapsed": self._clock() - self._start}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` returned, in another process."""
        self.seconds = list(state["seconds"])
        self._start = self._clock() - state["elapsed"]

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002
        """Start the clock of the epoch."""
        self._start = self._clock()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002
        """Record the time of the epoch."""
        self.seconds.append(self._clock() - self._start)
        if logs is not None:
            logs["seconds"] = self.seconds[-1]


class LossGuard(keras.callbacks.Callback):
    """Stops training with an error as soon as a loss or a weight is NaN or infinite.

    Keras's `TerminateOnNaN` ends the epoch normally, and a checkpoint of the broken
    weights replaces the last good one. Here no later callback sees the end of that
    epoch. The loss of a step belongs to the weights before that step, so the weights
    are examined as well.

    Raises:
        FloatingPointError: a loss is NaN or infinite after a step, or a weight or the
            validation loss at the end of an epoch.
    """

    # Keras runs the callbacks of a step in a thread only if all of them allow it; else
    # training waits for them after every step.
    async_safe = True

    def __init__(self) -> None:
        super().__init__()
        self._epoch = 0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002
        """Remember the epoch for the error message."""
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Check the loss so far."""
        self._check("loss", logs, f"epoch {self._epoch + 1}, step {batch + 1}")

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Check loss and weights before any checkpoint is written."""
        where = f"epoch {epoch + 1}"
        self._check("loss", logs, where)
        for weight in self.model.trainable_variables:
            if not keras.ops.all(keras.ops.isfinite(weight)):
                self._stop(f"{weight.path} with NaN or infinite values", where)
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


class BatchGuard(keras.callbacks.Callback):
    """Raises the error that ended a dataset, before anything is made of the rest.

    Args:
        feeds: what is read, by name; each has a method `raise_error`.
    """

    async_safe = True

    def __init__(self, feeds: Mapping[str, Any]) -> None:
        super().__init__()
        self._feeds = feeds

    def check(self, *_: Any) -> None:
        """Raise what ended the reading of a batch."""
        for feed in self._feeds.values():
            feed.raise_error()

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002
        """Look before a step."""
        self.check()

    def on_test_begin(self, logs: Any = None) -> None:  # noqa: ARG002
        """Look before validation."""
        self.check()

    def on_test_end(self, logs: Any = None) -> None:  # noqa: ARG002
        """Look after validation."""
        self.check()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002
        """Look before any checkpoint is written."""
        self.check()
