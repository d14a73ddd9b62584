"""Callback states: what callbacks remember from one epoch to the next.

Owns how their memory is found and put back. A callback that has `state_dict` and
`load_state_dict`, or `get_state` and `set_state`, says itself what it is. Of any other
one, Keras's own included, it is the attributes that have changed since training began.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import keras
from numpy.typing import NDArray

from tlcore.checkpoints.packing import NotKeptError, Packer

_METHODS = (("state_dict", "load_state_dict"), ("get_state", "set_state"))
_FIRST = "_tlcore_first"
"""The attribute of a callback that holds what it was as its first training began.

Not when this one began: what a callback brings from an earlier phase is its memory too,
and a process that resumes has a new one.
"""
_NO_MEMORY = {"model", "_model", "params", "validation_data", _FIRST}
"""Attributes that Keras sets anew in every fit, and our own."""


def check_all_are_there(callbacks: Sequence[Any], kept: Sequence[Any]) -> None:
    """Refuse callbacks among which one is missing that had a memory.

    Raises:
        ValueError: the training would go on without it, and end otherwise.
    """
    there = {(kind, number) for kind, number, _ in _numbered(callbacks)}
    missing = [
        each["kind"].rpartition(".")[2]
        for each in kept
        # What shows progress or tracks is there or not as the user likes.
        if (each["kind"], each["number"]) not in there
        and not _is_for_show(each["kind"])
    ]
    if missing:
        raise ValueError(
            "A training goes on with the callbacks that it had. Received: none of "
            f"{', '.join(missing)}, which has something to remember. Pass it again."
        )


class CallbackStates:
    """The memory of the callbacks of one training.

    Args:
        callbacks: in the order in which they act.
        say: called once with each sentence on what cannot be kept.

    Example:
        >>> class Counter(keras.callbacks.Callback):
        ...     def on_train_begin(self, logs=None):
        ...         self.epochs = 0
        ...
        ...     def on_epoch_end(self, epoch, logs=None):
        ...         self.epochs += 1
        >>> def states(counter):
        ...     counter.on_train_begin()
        ...     return CallbackStates([counter], print)
        >>> one, other = Counter(), Counter()
        >>> before = states(one)
        >>> one.on_epoch_end(0)
        >>> packer, arrays = Packer(list), {}
        >>> kept = before.kept(packer, arrays)
        >>> states(other).restore(kept, packer, arrays)
        >>> other.epochs
        1
    """

    def __init__(
        self,
        callbacks: Sequence[keras.callbacks.Callback],
        say: Callable[[str], None],
    ) -> None:
        self._callbacks = list(callbacks)
        self._say = say
        self._said: set[str] = set()
        for callback in self._callbacks:
            if _FIRST not in vars(callback):
                setattr(callback, _FIRST, _attributes(callback))

    def kept(
        self, packer: Packer, arrays: dict[str, NDArray[Any]]
    ) -> list[dict[str, Any]]:
        """Return what each callback remembers, packed."""
        kept = []
        for kind, number, callback in _numbered(self._callbacks):
            state = self._state(callback, packer, arrays)
            if state:
                kept.append({"kind": kind, "number": number, "state": state})
        return kept

    def restore(
        self,
        kept: Sequence[dict[str, Any]],
        packer: Packer,
        arrays: Mapping[str, NDArray[Any]],
    ) -> None:
        """Give the callbacks what those of the same kind remembered."""
        found = {(each["kind"], each["number"]): each["state"] for each in kept}
        for kind, number, callback in _numbered(self._callbacks):
            state = found.get((kind, number))
            if state is None:
                continue
            value = packer.unpack(state["value"], arrays)
            if state["by"] == "attributes":
                vars(callback).update(value)
            else:
                getattr(callback, state["by"])(value)

    def _state(
        self,
        callback: Any,
        packer: Packer,
        arrays: dict[str, NDArray[Any]],
    ) -> dict[str, Any]:
        for getter, setter in _METHODS:
            if hasattr(callback, getter) and hasattr(callback, setter):
                try:
                    value = packer.pack(getattr(callback, getter)(), arrays)
                except NotKeptError as error:
                    self._cannot(callback, f"{getter}()", error)
                    return {}
                return {"by": setter, "value": value} if value else {}
        before, changed = vars(callback)[_FIRST], {}
        for name, value in _own(callback).items():
            local: dict[str, NDArray[Any]] = {}
            try:
                packed = packer.pack(value, local)
            except NotKeptError as error:
                if before.get(name) != id(value):
                    self._cannot(callback, f"attribute {name}", error)
                continue
            if name not in before or before[name] != (packed, _bytes(local)):
                changed[name] = packer.pack(value, arrays)
        return {"by": "attributes", "value": changed} if changed else {}

    def _cannot(self, callback: Any, what: str, error: Exception) -> None:
        # Those of Keras and ours open files and choose functions anew in every fit.
        if type(callback).__module__.startswith(("keras.", "tlcore.")):
            return
        line = (
            f"not kept for a resume: {what} of {type(callback).__name__}, {error}; "
            "give it state_dict() and load_state_dict(state)"
        )
        if line not in self._said:
            self._said.add(line)
            self._say(line)


def remember_all(callback: Any) -> None:
    """Have all attributes of a callback kept, whenever they changed."""
    setattr(callback, _FIRST, {})


def _numbered(callbacks: Sequence[Any]) -> Iterator[tuple[str, int, Any]]:
    """Yield what a callback's memory is kept under, its kind and number; and it."""
    counts: Counter[str] = Counter()
    for callback in callbacks:
        kind = f"{type(callback).__module__}.{type(callback).__qualname__}"
        counts[kind] += 1
        yield kind, counts[kind], callback


def _is_for_show(kind: str) -> bool:
    shows = kind.startswith(("tlcore.cli.", "tlcore.tracking."))
    return shows or kind.endswith(".ProgbarLogger")


def _attributes(callback: Any) -> dict[str, Any]:
    """Return what its attributes are now, to find those that change."""
    packer = Packer(list)
    found: dict[str, Any] = {}
    for name, value in _own(callback).items():
        arrays: dict[str, NDArray[Any]] = {}
        try:
            # Packed: a list that grows is the same list.
            found[name] = packer.pack(value, arrays), _bytes(arrays)
        except NotKeptError:
            found[name] = id(value)
    return found


def _own(callback: Any) -> dict[str, Any]:
    no_memory = _NO_MEMORY
    if hasattr(callback, "_set_monitor_op"):
        # At its first epoch's end Keras chooses the operation and turns the sign of
        # min_delta. In a new process it does so again.
        no_memory = _NO_MEMORY | {"min_delta", "monitor_op"}
    return {name: x for name, x in vars(callback).items() if name not in no_memory}


def _bytes(arrays: dict[str, NDArray[Any]]) -> tuple[bytes, ...]:
    return tuple(array.tobytes() for array in arrays.values())
