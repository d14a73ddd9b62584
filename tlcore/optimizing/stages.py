"""Stages: fine-tuning that unfreezes more of the backbone step by step.

Owns the arguments of `fine_tune` that may be given for each stage. Source: "gradual
unfreezing" of Howard and Ruder, "Universal Language Model Fine-tuning for Text
Classification", 2018.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from tlcore.arguments import ALL, require_whole

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class Stage:
    """One stage of fine-tuning.

    Attributes:
        last: how many layers of the backbone train, or "all".
        epochs: its epochs.
        learning_rate: a number or schedule; None is the default.
    """

    last: int | str
    epochs: int
    learning_rate: Any

    @property
    def name(self) -> str:
        """Return the name of its folder of states, such as "last_10"."""
        return f"last_{self.last}"


def plan_stages(
    stages: Sequence[int | str] | None, last: int | str, epochs: Any, learning_rate: Any
) -> tuple[Stage, ...]:
    """Return the stages of fine-tuning.

    Args:
        stages: how many layers train in each, each more than the one before; "all" at
            the end. None is one stage.
        last: how many layers train in that one.
        epochs: of each stage; or a list of as many.
        learning_rate: of each stage; or a list of as many.

    Raises:
        ValueError: there is none, one unfreezes no more than the one before, or a list
            is of another length.

    Example:
        >>> [stage.name for stage in plan_stages([10, 50, "all"], 10, 2, 1e-4)]
        ['last_10', 'last_50', 'last_all']
        >>> plan_stages([10, 5], 10, 2, 1e-4)
        Traceback (most recent call last):
        ValueError: Each stage must unfreeze more layers than the one before, and "all"
        comes last. Received: stages=[10, 5].
    """
    if stages is None:
        require_whole("epochs", epochs, least=1)
        return (Stage(last, epochs, learning_rate),)
    require_rising(stages)
    counts = _each("epochs", epochs, len(stages))
    for count in counts:
        require_whole("epochs", count, least=1)
    rates = _each("learning_rate", learning_rate, len(stages))
    return tuple(map(Stage, stages, counts, rates))


def joined(
    histories: "Sequence[keras.callbacks.History]",
) -> "keras.callbacks.History":
    """Return the histories of stages as one."""
    import keras  # late: recipes check stages without a framework

    whole = keras.callbacks.History()
    whole.set_params(histories[-1].params)
    whole.set_model(histories[-1].model)
    whole.epoch = []
    for history in histories:
        whole.epoch.extend(history.epoch)
        for name, column in history.history.items():
            whole.history.setdefault(name, []).extend(column)
    return whole


def require_rising(stages: Sequence[int | str]) -> None:
    """Refuse stages that do not unfreeze more and more layers.

    Raises:
        ValueError: as in `plan_stages`.
    """
    given = None if isinstance(stages, str | int) else list(stages)
    if not given:
        raise ValueError(
            'stages must be a list of numbers of layers, such as [10, 50, "all"]. '
            f"Received: stages={stages!r}."
        )
    for i, last in enumerate(given):
        if last != ALL:
            require_whole(f"stages[{i}]", last, least=1, meaning=', or "all"')
    numbers = [float("inf") if last == ALL else int(last) for last in given]
    if any(after <= before for before, after in pairwise(numbers)):
        raise ValueError(
            'Each stage must unfreeze more layers than the one before, and "all" '
            f"comes last. Received: stages={given!r}."
        )


def _each(name: str, value: Any, count: int) -> list[Any]:
    if not isinstance(value, list | tuple):
        return [value] * count
    if len(value) != count:
        raise ValueError(
            f"{name} must be one value, or one for each stage. Received: "
            f"{name}={value!r} for {count} stages."
        )
    return list(value)
