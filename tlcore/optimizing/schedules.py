"""Schedules: learning rates that follow the steps of a phase.

Owns `new_schedule`, which makes one by its name, and `OneCycle`, which Keras does not
have. A schedule is a function of the optimizer's step alone, so that a training that is
broken off goes on in the middle of one.
"""

import math
from typing import Any

import keras

from tlcore.arguments import require_one_of, require_positive, require_whole

CONSTANT = "constant"
SCHEDULES = (CONSTANT, "cosine", "one_cycle")

_WARM_PART, _START, _END = 0.3, 25.0, 1e4
"""Of fastai's `fit_one_cycle`: the part that warms up, and how far below the peak it
starts, and ends."""


@keras.saving.register_keras_serializable(package="tlcore")
class OneCycle(keras.optimizers.schedules.LearningRateSchedule):
    """Rises to a peak over three tenths of the steps and falls far below its start.

    Both ways are half a cosine. Source: Smith, "A disciplined approach to neural
    network hyper-parameters", 2018, with the constants of fastai's `fit_one_cycle`.

    Args:
        peak: the highest rate.
        steps: the number of steps.

    Example:
        >>> rates = OneCycle(1.0, 10)
        >>> [round(float(rates(step)), 3) for step in (0, 3, 10)]
        [0.04, 1.0, 0.0]
    """

    def __init__(self, peak: float, steps: int) -> None:
        super().__init__()
        require_positive("peak", peak)
        require_whole("steps", steps, least=1)
        self.peak, self.steps = float(peak), int(steps)

    def __call__(self, step: Any) -> Any:
        """Return the rate of a step, counted from 0."""
        ops = keras.ops
        step = ops.cast(step, "float32")
        warm = max(1.0, _WARM_PART * self.steps)
        rise = ops.minimum(step / warm, 1.0)
        left = max(1.0, self.steps - warm)
        fall = ops.clip((step - warm) / left, 0.0, 1.0)
        up = _between(self.peak / _START, self.peak, rise)
        down = _between(self.peak, self.peak / _END, fall)
        return ops.where(step < warm, up, down)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        return {"peak": self.peak, "steps": self.steps}


def new_schedule(
    name: str, rate: float, steps: int, *, warm_up: int = 0
) -> float | keras.optimizers.schedules.LearningRateSchedule:
    """Return the rates of a phase.

    Args:
        name: "constant"; "cosine", half a cosine from the rate to 0 (Loshchilov and
            Hutter, "SGDR", 2017); or "one_cycle", with the rate as its peak.
        rate: the highest rate.
        steps: the number of steps of the phase.
        warm_up: the number of steps that rise linearly to the rate before.

    Raises:
        ValueError: there is no such schedule, a number is out of range, or "one_cycle"
            is asked to warm up, which it does by itself.

    Example:
        >>> rates = new_schedule("cosine", 1.0, 100, warm_up=10)
        >>> [round(float(rates(step)), 3) for step in (0, 5, 10, 55, 100)]
        [0.0, 0.5, 1.0, 0.5, 0.0]
        >>> new_schedule("constant", 0.1, 100)
        0.1
    """
    require_one_of("schedule", name, SCHEDULES)
    require_positive("learning_rate", rate)
    require_whole("steps", steps, least=1)
    require_whole("warm_up", warm_up, least=0, most=steps - 1)
    schedules = keras.optimizers.schedules
    if name == "one_cycle":
        if warm_up:
            raise ValueError(
                "One cycle warms up by itself. Received: "
                f"schedule='one_cycle' with warm_up={warm_up}. Leave warm_up out."
            )
        return OneCycle(rate, steps)
    if name == "cosine":
        if not warm_up:
            return schedules.CosineDecay(float(rate), steps)
        return schedules.CosineDecay(
            0.0, steps - warm_up, warmup_target=float(rate), warmup_steps=warm_up
        )
    if warm_up:
        # A polynomial of power 1 to the rate, where it stays.
        return schedules.PolynomialDecay(0.0, warm_up, end_learning_rate=float(rate))
    return rate


def _between(start: float, end: float, part: Any) -> Any:
    """Return a value on half a cosine from `start` to `end`."""
    return end + (start - end) * (1 + keras.ops.cos(math.pi * part)) / 2
