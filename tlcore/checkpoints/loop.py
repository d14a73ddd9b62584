"""Loop: the callbacks of one training, whose state is kept and put back.

Owns when a state is written: before the first epoch, after every epoch, every few steps
and when the program is asked to end; and how a training goes on from one. An epoch that
was broken off takes a fit of Keras's of its own, for the rest of its steps. Callbacks
see one training: they are not told where one fit ends and the next begins, and steps
have the numbers that they would have had.
"""

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import keras

from tlcore.backend import seam
from tlcore.checkpoints import variables
from tlcore.checkpoints.callback_states import CallbackStates, check_all_are_there
from tlcore.checkpoints.conditions import Conditions
from tlcore.checkpoints.keeping import Keeping
from tlcore.checkpoints.packing import Arrays, Packer
from tlcore.files import write_text

_LAST = "_tlcore_loop"
"""The attribute of a model that holds the loop of its last training."""


@dataclass(frozen=True)
class Leg:
    """The part of a training that one fit of Keras's does.

    Attributes:
        epochs: the epochs; none if only its end is left to do.
        step: the first step, in the first of them.
        whole: whether all steps of its one epoch are done, but not its validation.
    """

    epochs: range
    step: int = 0
    whole: bool = False


class Numbers:
    """Random numbers of the backend that Keras draws for nothing.

    PyTorch's loaders draw one from the numbers of Dropout whenever an iteration begins.
    How many begin depends on where a training was broken off.
    """

    def __init__(self) -> None:
        self._noted: Any = None

    def note(self) -> None:
        """Note from where numbers are drawn."""
        self._noted = seam.current().random_numbers()

    def put_back(self) -> None:
        """Have them drawn from there again, once."""
        noted, self._noted = self._noted, None
        if noted is not None:
            seam.current().draw_from(noted)


class Loop(keras.callbacks.CallbackList):
    """The callbacks of one training, in one fit of Keras's or in two.

    Args:
        callbacks: in the order in which they act.
        model: the model, compiled and built.
        epochs: the epochs of the training, those that are done included.
        steps: the steps of an epoch, None where they are not known.
        within: whether a training can go on within an epoch.
        verbose: as in `fit`.
        keeping: where states are kept; None keeps none.
        conditions: what must stay as it is for the training to go on.
        say: called with each sentence for the user.
    """

    def __init__(
        self,
        callbacks: Sequence[keras.callbacks.Callback],
        model: keras.Model,
        *,
        epochs: range,
        steps: int | None,
        within: bool,
        verbose: str | int,
        keeping: Keeping | None,
        conditions: Conditions,
        say: Callable[[str], None],
    ) -> None:
        self._epochs, self._steps, self._within = epochs, steps, within
        self._keeping, self._conditions, self._say = keeping, conditions, say
        self._from = None if keeping is None else keeping.resumed
        self._waiting = None if keeping is None else keeping.interruption
        self._leg = Leg(epochs)
        self._begun = False
        self._epoch = epochs.start
        self._states: CallbackStates | None = None
        self._numbers, self._before_test = Numbers(), Numbers()
        self._sums: Arrays = {}
        super().__init__(
            list(callbacks),
            add_history=True,
            add_progbar=verbose != 0,
            model=model,
            verbose=verbose,
            epochs=epochs.stop,
            steps=steps,
        )
        if self._from is not None:
            check_all_are_there(self.callbacks, self._from.document["callbacks"])
        # For `save_state`. Past Keras, which would track what it holds.
        object.__setattr__(model, _LAST, self)

    @property
    def history(self) -> keras.callbacks.History:
        """Return the history of all epochs, whichever process trained them."""
        history: keras.callbacks.History = self._history
        return history

    @property
    def goes_on(self) -> bool:
        """Return whether a state is still to be put back, callbacks' memory with it."""
        return self._from is not None

    def __iter__(self) -> Iterator[keras.callbacks.Callback]:
        # For a model whose own `fit` adds callbacks to those that it is given.
        yield self

    def legs(self) -> Iterator[Leg]:
        """Yield the parts of the training; each is to be fitted before the next."""
        start, stop = self._epochs.start, self._epochs.stop
        step = 0
        if self._from is not None:
            start, step = self._from.epoch, self._from.step
            if self._from.stopped:  # by a callback: no epoch follows
                stop = start
        if step:
            # No fit of Keras's has no step: `finish_epoch` does what is left then.
            self._leg = Leg(range(start, start + 1), step, whole=step == self._steps)
            yield self._leg
            if self.model.stop_training or start + 1 == stop:
                return
            start += 1
        self._leg = Leg(range(start, stop))
        yield self._leg

    def left(self, leg: Leg) -> int:
        """Return how many steps the first epoch of a leg has left."""
        assert self._steps is not None  # noqa: S101 - else no state is within an epoch
        return self._steps - leg.step

    @contextmanager
    def fitting(self) -> Iterator[None]:
        """Have Keras fit a leg, at whose end the training need not end.

        What asks to end the program waits no longer once the fit is over.
        """
        optimizer = self.model.optimizer
        finalize = optimizer.finalize_variable_values

        def at_the_end(weights: Any) -> None:
            # It replaces the weights by their moving average, with use_ema.
            if self._ends_here:
                finalize(weights)

        optimizer.finalize_variable_values = at_the_end
        try:
            yield
        finally:
            del optimizer.finalize_variable_values
            asked = None if self._waiting is None else self._waiting.release()
        if asked is not None:
            raise asked

    @property
    def _ends_here(self) -> bool:
        """Return whether the training ends with this leg."""
        return self.model.stop_training or self._leg.epochs.stop == self._epochs.stop

    def end(self) -> None:
        """Do what is left of a training whose epochs are all done."""
        self.on_train_begin()
        self.model.optimizer.finalize_variable_values(self.model.trainable_weights)
        history = self.history.history
        super().on_train_end({name: column[-1] for name, column in history.items()})

    def finish_epoch(self, validation: Any, freq: int) -> None:
        """Do what is left of an epoch whose steps are all done.

        Args:
            validation: what validation reads, None for nothing.
            freq: epochs from one validation to the next.
        """
        epoch = self._leg.epochs.start
        self.model.stop_training = False
        self.on_train_begin()
        self.on_epoch_begin(epoch)
        logs = dict(self.model.get_metrics_result())
        self._sums = variables.sums(self.model)
        if validation is not None and (epoch + 1) % freq == 0:
            scores = self.model.evaluate(
                validation, callbacks=self, return_dict=True, verbose=0
            )
            logs |= {f"val_{name}": score for name, score in scores.items()}
        self.on_epoch_end(epoch, logs)
        if epoch + 1 == self._epochs.stop or self.model.stop_training:
            self.end()

    def save(
        self,
        keeping: Keeping,
        epoch: int,
        step: int = 0,
        *,
        stopped: bool = False,
    ) -> Path:
        """Write a state and return its file.

        Args:
            keeping: where to.
            epoch: the epochs that are done.
            step: the steps of the next one that are done.
            stopped: whether a callback has ended the training.

        Raises:
            OSError: it cannot be written; an older one is there.
        """
        if hasattr(self.model, "jax_state_sync"):
            self.model.jax_state_sync()
        conditions = self._conditions.document
        if keeping.frozen:
            frozen = partial(variables.frozen, self.model)
            keeping.folder.write_frozen(conditions["weights"], frozen)
        arrays = variables.values(self.model) | self._sums
        packer = Packer(self.model.get_weights)
        states = self._states or CallbackStates(self.callbacks, self._say)
        document = {
            "epoch": epoch,
            "step": step,
            "stopped": stopped,
            "first_epoch": self._epochs.start,
            "saved": datetime.now(UTC).isoformat(timespec="seconds"),
            "conditions": conditions,
            "compile": self._conditions.compiled,
            "flags": variables.flags(self.model),
            "callbacks": states.kept(packer, arrays),
            "random": packer.pack(variables.random_numbers(), arrays),
        }
        return keeping.folder.write(document, arrays)

    def on_train_begin(self, logs: Any = None) -> None:
        """Begin the training, or go on with it."""
        if self._begun:
            return
        self._begun = True
        if self._from is not None:
            for callback in self.callbacks:
                if isinstance(callback, keras.callbacks.CSVLogger):
                    _go_on_writing(callback, self._from.epoch)
        super().on_train_begin(logs)
        self._states = CallbackStates(self.callbacks, self._say)
        if self._from is None:
            self._keep(self._epochs.start)
        elif not self._from.step:
            self._restore("model", "optimizer", "seeds")

    def on_train_end(self, logs: Any = None) -> None:
        """End the training, if this fit is its last."""
        if self._ends_here:
            super().on_train_end(logs)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Begin an epoch, or go on with it."""
        self._epoch = epoch
        super().on_epoch_begin(epoch, logs)
        if self._from is not None and self._from.step:
            # Only now: Keras has set the metrics to zero, and callbacks have begun an
            # epoch that had begun long ago.
            self._restore("model", "optimizer", "seeds", "metrics")
        self._numbers.note()
        if self._waiting is not None:
            self._waiting.hold()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """End an epoch, and keep the state after it."""
        self._numbers.put_back()
        super().on_epoch_end(epoch, logs)
        self._leg = Leg(range(epoch + 1, self._leg.epochs.stop))
        self._sums = {}
        self._keep(epoch + 1, stopped=bool(self.model.stop_training))
        self._end_if_asked()

    def on_test_begin(self, logs: Any = None) -> None:
        """Begin a validation."""
        self._numbers.put_back()
        self._before_test.note()
        super().on_test_begin(logs)

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Begin a step."""
        self._numbers.put_back()
        super().on_train_batch_begin(batch + self._leg.step, logs)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """End a step, and keep the state after it where that is wanted."""
        batch += self._leg.step
        super().on_train_batch_end(batch, logs)
        done = batch + 1
        last = self._steps is not None and done >= self._steps
        if last:
            self._numbers.note()
        if self._steps is None or not self._within:
            # Whether the epoch ends here is not known, or nothing goes on from here.
            if self._is_asked:
                self._end_if_asked()
            return
        every = None if self._keeping is None else self._keeping.every
        if last and self._waiting is not None:
            # Validation sets them to zero, and may be asked to end.
            self._sums = variables.sums(self.model)
        if self._is_asked or (every and done % every == 0 and not last):
            if self._async_train:
                self._flush_futures()
            self._keep(self._epoch, min(done, self._steps))
            self._end_if_asked()

    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        """End a step of validation, and the program if it is asked to end."""
        super().on_test_batch_end(batch, logs)
        if self._is_asked and self._sums:
            if self._async_test:
                self._flush_futures()
            # Whoever goes on validates from the beginning.
            self._before_test.put_back()
            self._keep(self._epoch, self._steps or 0)
            self._end_if_asked()

    @property
    def _is_asked(self) -> bool:
        return self._waiting is not None and self._waiting.asked

    def _keep(self, epoch: int, step: int = 0, *, stopped: bool = False) -> None:
        if self._keeping is not None:
            self.save(self._keeping, epoch, step, stopped=stopped)

    def _end_if_asked(self) -> None:
        asked = None if self._waiting is None else self._waiting.release()
        if asked is not None:
            raise asked
        if self._waiting is not None:
            self._waiting.hold()

    def _restore(self, *groups: str) -> None:
        """Put everything back to what it was in the state."""
        keeping, state = self._keeping, self._from
        assert keeping is not None  # noqa: S101 - it is called with a state only
        assert state is not None  # noqa: S101
        assert self._states is not None  # noqa: S101
        self._from = None
        if keeping.fresh_optimizer:
            groups = tuple(group for group in groups if group != "optimizer")
        document, arrays = state.document, state.arrays
        variables.assign(self.model, arrays, groups)
        # After the weights, which the packer fills in for those that are left out.
        packer = Packer(self.model.get_weights)
        self._states.restore(document["callbacks"], packer, arrays)
        variables.draw_from(packer.unpack(document["random"], arrays))


def last_loop(model: keras.Model) -> Loop | None:
    """Return the loop of a model's last training; None if Keras alone trained it."""
    loop: Loop | None = vars(model).get(_LAST)
    return loop


def _go_on_writing(log: keras.callbacks.CSVLogger, epoch: int) -> None:
    """Have a log go on after an epoch, where a new fit would write it anew."""
    path = Path(log.filename)
    if not path.is_file():
        return
    with path.open(newline="") as file:
        rows = list(csv.reader(file, delimiter=log.sep))
    # Epochs that were logged and are trained again, since no state was kept of them.
    kept = [row for row in rows if not row or row[0] == "epoch" or int(row[0]) < epoch]
    text = io.StringIO()
    csv.writer(text, delimiter=log.sep, lineterminator="\n").writerows(kept)
    write_text(path, text.getvalue())
    log.append = True
