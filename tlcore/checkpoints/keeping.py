"""Keeping: where and when states are written, and which one a training goes on from.

Owns the argument `state` of `fit` and what it refuses: a folder that holds the states
of another training, and a training that is not the one that was broken off.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import keras

from tlcore.arguments import require_path, require_whole
from tlcore.checkpoints.conditions import Conditions, refuse_differences
from tlcore.checkpoints.state_folder import SavedState, StateFolder

EPOCH = "epoch"


class Interruption(Protocol):
    """What may ask the program to end, such as Ctrl-C, and can wait for a step."""

    @property
    def asked(self) -> bool:
        """Return whether it has asked."""

    def hold(self) -> None:
        """From now on it waits."""

    def release(self) -> BaseException | None:
        """Return what it asked with, None for nothing; from now on it does not wait."""


@dataclass(frozen=True)
class Keeping:
    """Where states are written and when, and the one that a training goes on from.

    Attributes:
        folder: the folder of the states.
        every: steps from one state to the next within an epoch; None writes none there.
        frozen: whether the frozen weights are written beside the states, once.
        resumed: the state that the training goes on from; None begins one.
        fresh_optimizer: whether it goes on with an optimizer without memory.
        allowed: what may have changed since, of `conditions.KINDS`.
        interruption: what may ask the program to end; it waits for the end of a step.
    """

    folder: StateFolder
    every: int | None = None
    frozen: bool = True
    resumed: SavedState | None = None
    fresh_optimizer: bool = False
    allowed: frozenset[str] = frozenset()
    interruption: Interruption | None = None

    def check(
        self, conditions: Conditions, epochs: int, say: Callable[[str], None]
    ) -> None:
        """Refuse to go on with another training, or to fewer epochs than are done.

        Args:
            conditions: those of the training that is to begin.
            epochs: the index after its last epoch.
            say: called with a sentence on each change that is allowed.

        Raises:
            ValueError: something has changed that is not allowed, or nothing is left.
        """
        state = self.resumed
        if state is None:
            return
        if epochs < state.epoch + (state.step > 0):
            raise ValueError(
                "A training goes on to at least the epochs that are done. Received: "
                f"epochs={epochs} for a state {state.where}. Give more epochs."
            )
        where = f"{str(state.path)!r} ({state.where})"
        allowed = set(self.allowed) | ({"trainable"} if self.fresh_optimizer else set())
        found = refuse_differences(
            state.document["conditions"],
            conditions.document,
            where=where,
            allowed=allowed,
        )
        for kind, text in found.items():
            say(f"allowed, so figures may differ: {kind}: {text}")


def steps_between(freq: str | int) -> int | None:
    """Return the steps from one state to the next; None for one after every epoch.

    Raises:
        ValueError: it is neither "epoch" nor a number of steps.
    """
    if freq == EPOCH:
        return None
    meaning = ', the steps from one state to the next; or "epoch"'
    require_whole("state_freq", freq, least=1, meaning=meaning)
    return int(freq)


def keeping_of(
    state: str | Path | Keeping | None,
    freq: str | int,
    callbacks: Sequence[keras.callbacks.Callback],
) -> Keeping | None:
    """Return what the arguments of `fit` say; None where no state is kept.

    Raises:
        ValueError: the folder holds states, `freq` is neither "epoch" nor a number, or
            a callback of Keras's resumes in a way of its own.
    """
    every = steps_between(freq)
    if state is None:
        if every is not None:
            raise ValueError(
                "state_freq is how often the state is written. Received: "
                f"state_freq={freq!r} without state. Name a folder with state=..."
            )
        return None
    for callback in callbacks:
        if isinstance(callback, keras.callbacks.BackupAndRestore):
            raise ValueError(
                "A training has one way to go on. Received: BackupAndRestore beside "
                "state. Leave BackupAndRestore out: it keeps neither the order of the "
                "images nor random numbers nor what callbacks remember."
            )
    if isinstance(state, Keeping):
        return state
    folder = StateFolder(require_path("state", state))
    if folder.path.exists() and not folder.path.is_dir():
        raise ValueError(
            f"state must be a folder. Received: state={str(state)!r}, which is a file."
        )
    if folder.files():
        raise ValueError(
            "A new training needs a folder without states. Received: "
            f"state={str(state)!r}, with {folder.files()[-1].name}. Go on from it with "
            "tl.resume(model, state, train, ...), or name another folder."
        )
    return Keeping(folder, every)
