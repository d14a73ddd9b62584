"""Callback: the epochs of a training in a tracker, each once, however it is broken off.

Owns when the run of the tracker begins, what is logged, and what happens if the tracker
fails: the training goes on, one line says so, and what is missing is sent at the end,
if the tracker answers then. What a callback remembers of its epochs is part of the
state of a training, so that one that is resumed sends what the tracker lacks.
"""

import atexit
import secrets
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import keras

from tlcore.checkpoints.loop import last_loop
from tlcore.freezing import find_backbone
from tlcore.tracking.on_mlflow import MlflowTracker
from tlcore.tracking.on_wandb import WandbTracker
from tlcore.tracking.tracker import FAILED, FINISHED, KILLED, Tracker, TrackerError


def mlflow_callback(
    uri: str | Path | None = None,
    *,
    experiment: str | None = None,
    name: str | None = None,
    params: Mapping[str, Any] | None = None,
    say: Callable[[str], None] = print,
) -> "TrackerCallback":
    """Return a callback that logs every epoch to MLflow.

    It works with every `fit`. Several phases are one run of MLflow, which ends with
    `finish()`, with the `with` block that the callback opens, or with the program. A
    training that `resume` goes on with goes on in the same run.

    Args:
        uri: the address of a server or database as MLflow writes it, or a folder; None
            is `MLFLOW_TRACKING_URI`, and without it `mlflow.db` in this folder.
        experiment: its name; None is `MLFLOW_EXPERIMENT_NAME`, or "tlcore".
        name: the name of the run; None leaves it to MLflow.
        params: what was chosen, such as {"dropout": 0.2}; values may nest.
        say: called with each line for the user.

    Raises:
        ValueError: MLflow is not installed, or does not answer.

    Example:
        >>> with tl.mlflow_callback("tracked") as tracking:  # doctest: +SKIP
        ...     first = tl.feature_extract(model, train, callbacks=[tracking])
        ...     tl.fine_tune(model, train, history=first, callbacks=[tracking])
    """
    tracker = MlflowTracker(uri, experiment=experiment, run_name=name)
    return _connected(tracker, params, say)


def wandb_callback(
    project: str | None = None,
    *,
    name: str | None = None,
    params: Mapping[str, Any] | None = None,
    say: Callable[[str], None] = print,
) -> "TrackerCallback":
    """Return a callback that logs every epoch to Weights & Biases.

    It is used as `mlflow_callback` is. `WANDB_MODE=offline` logs to a folder `wandb`,
    which `wandb sync` sends later. No question is asked.

    Args:
        project: its name; None is `WANDB_PROJECT`, or "tlcore".
        name: the name of the run; None leaves it to Weights & Biases.
        params: what was chosen, such as {"dropout": 0.2}; values may nest.
        say: called with each line for the user.

    Raises:
        ValueError: the package is not installed, nobody is logged in, or the service
            does not answer.

    Example:
        >>> with tl.wandb_callback("flowers") as tracking:  # doctest: +SKIP
        ...     tl.feature_extract(model, train, callbacks=[tracking])
    """
    return _connected(WandbTracker(project, run_name=name), params, say)


def connect(tracker: Tracker) -> None:
    """Find out whether a tracker answers.

    Raises:
        ValueError: it does not; the message says why, and what to do.
    """
    try:
        tracker.connect()
    except TrackerError as error:
        raise no_answer(tracker, error) from error


def no_answer(tracker: Tracker, error: TrackerError) -> ValueError:
    """Return the error that refuses a training whose tracker does not answer."""
    return ValueError(
        f"{tracker.name} must answer before training begins. Received: "
        f"{tracker.address or 'its default address'}, {error}. {tracker.remedy}."
    )


@dataclass(frozen=True)
class _Epoch:
    """An epoch as it is logged, at a moment in seconds since 1970."""

    moment: float
    phase: str
    figures: dict[str, float]


class TrackerCallback(keras.callbacks.Callback):
    """Logs every epoch of one or several fits to one run of a tracker.

    Args:
        tracker: where to.
        key: by which the training finds its run again; None makes one, and one that is
            resumed takes that of its state.
        params: what was chosen.
        say: called with each line for the user.
        clock: returns seconds since 1970.

    Example:
        >>> def epochs(callback):
        ...     return [epoch for epoch, *_ in callback.state_dict()["epochs"]]
        >>> with tl.mlflow_callback("tracked") as one:  # doctest: +SKIP
        ...     one.on_epoch_end(0, {"loss": 0.5})
        ...     epochs(one)
        [0]
    """

    def __init__(
        self,
        tracker: Tracker,
        *,
        key: str | None = None,
        params: Mapping[str, Any] | None = None,
        say: Callable[[str], None] = print,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__()
        self.tracker = tracker
        self.key = key or secrets.token_hex(8)
        self._key_is_given = key is not None
        self._params = dict(params or {})
        self._say, self._clock = say, clock
        self._epochs: dict[int, _Epoch] = {}
        self._logged: set[int] = set()
        self._phase = ""
        self._is_open = self._failed = self._training = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.finish(ending_of(error))

    @property
    def complete(self) -> bool:
        """Return whether the tracker has all that was to be logged so far."""
        return not self._failed and not self._missing()

    def state_dict(self) -> dict[str, Any]:
        """Return the key of the run and the epochs so far."""
        epochs = [[number, *astuple(epoch)] for number, epoch in self._epochs.items()]
        return {"key": self.key, "epochs": epochs}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` returned, in another process."""
        if not self._key_is_given:
            self.key = state["key"]
        self._epochs = {number: _Epoch(*rest) for number, *rest in state["epochs"]}

    def remember(self, history: Mapping[str, Sequence[Any]]) -> None:
        """Take over epochs of a history, which a state may replace.

        Args:
            history: columns of equal length, "epoch" and "phase" among them.
        """
        for row in zip(*history.values(), strict=True):
            figures = dict(zip(history, row, strict=True))
            number, phase = figures.pop("epoch"), figures.pop("phase")
            numbers = {k: float(v) for k, v in figures.items() if v is not None}
            self._epochs[number] = _Epoch(self._clock(), phase, numbers)

    def open(self) -> None:
        """Begin the run of the tracker, or go on with it; nothing if it is open.

        Raises:
            TrackerError: it does not answer.
        """
        if self._is_open:
            return
        self._logged |= self.tracker.open(self.key)
        if self._params:
            self.tracker.describe(self._params, {})
        self._is_open = True
        atexit.register(self._at_exit)
        self._say(f"{self.tracker.name}: {self.tracker.look}")

    def on_train_begin(self, logs: Any = None) -> None:  # noqa: ARG002
        """Note which phase begins."""
        self._training = True
        self._phase = _phase_of(self.model)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002
        """Begin the run of the tracker; forget epochs that are to be trained again."""
        self._epochs = {n: each for n, each in self._epochs.items() if n < epoch}
        loop = last_loop(self.model)
        if loop is None or not loop.goes_on:  # else the state has yet to say which run
            self._attempt(self.open)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Log the epoch, and those before it that the tracker does not have."""
        rate = keras.ops.convert_to_numpy(self.model.optimizer.learning_rate)
        figures = {"learning_rate": float(rate)}
        figures |= {name: float(value) for name, value in (logs or {}).items()}
        self._epochs[epoch] = _Epoch(self._clock(), self._phase, figures)
        self._attempt(self._send)

    def on_train_end(self, logs: Any = None) -> None:  # noqa: ARG002
        """Note that no training is under way."""
        self._training = False

    def finish(
        self,
        status: str = FINISHED,
        *,
        last: Callable[[Tracker], None] = lambda tracker: None,  # noqa: ARG005
    ) -> bool:
        """Send what is missing, and end the run of the tracker.

        Args:
            status: "finished", "failed" or "killed".
            last: does more with the tracker before it ends.

        Returns:
            Whether the tracker has all that was to be logged.
        """
        if not self._is_open and not self._missing():
            return self.complete
        had_failed, self._failed = self._failed, False
        try:
            self._send()
            last(self.tracker)
            self.tracker.end(status)
        except TrackerError as error:
            self._failed = True
            if not had_failed:
                self._warn(error, "not all was logged")
        atexit.unregister(self._at_exit)
        self._is_open = False
        if had_failed and self.complete:
            self._say(f"{self.tracker.name} answers again, and has everything")
        return self.complete

    def _attempt(self, action: Callable[[], None]) -> None:
        # Once it has failed, each further attempt might wait for minutes, every epoch.
        if self._failed:
            return
        try:
            action()
        except TrackerError as error:
            self._failed = True
            self._warn(
                error,
                "the training goes on, and what is missing is sent at its end if it "
                "answers then",
            )

    def _warn(self, error: TrackerError, what: str) -> None:
        where = f"{self.tracker.name} at {self.tracker.address}"
        self._say(f"warning: {where} fails ({error}); {what}")

    def _send(self) -> None:
        self.open()
        for number in self._missing():
            epoch = self._epochs[number]
            self.tracker.log(number, epoch.moment, epoch.phase, epoch.figures)
            self._logged.add(number)

    def _missing(self) -> list[int]:
        return sorted(self._epochs.keys() - self._logged)

    def _at_exit(self) -> None:
        error = getattr(sys, "last_value", None) if self._training else None
        self.finish(ending_of(error) if error or not self._training else FAILED)


def ending_of(error: BaseException | None) -> str:
    """Return how a training ended that this error left, None for none.

    Example:
        >>> ending_of(None), ending_of(ValueError()), ending_of(KeyboardInterrupt())
        ('finished', 'failed', 'killed')
    """
    if error is None or (isinstance(error, SystemExit) and not error.code):
        return FINISHED
    return KILLED if isinstance(error, KeyboardInterrupt | SystemExit) else FAILED


def _connected(
    tracker: Tracker, params: Mapping[str, Any] | None, say: Callable[[str], None]
) -> TrackerCallback:
    connect(tracker)
    return TrackerCallback(tracker, params=params, say=say)


def _phase_of(model: keras.Model) -> str:
    """Return what trains: the head alone, or layers of the backbone too."""
    try:
        holder, backbone = find_backbone(model)
    except ValueError:  # it has several
        return "fit"
    if holder is model:
        return "fit"
    return "fine_tuning" if backbone.trainable_weights else "feature_extraction"
