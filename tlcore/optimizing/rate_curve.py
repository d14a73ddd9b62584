"""Rate curve: what the loss does while the learning rate rises, and what follows.

Owns `RateSearch`, when a loss has diverged, how a curve is smoothed, and which rate it
suggests, if any. Nothing is trained here: that is in `choosing.rate_search`.

Sources: Smith, "Cyclical Learning Rates for Training Neural Networks", 2017 (the range
test); fastai's `Learner.lr_find` (growing by a factor per step, four times the best
loss as the end, a tenth of the minimum, and the steepest slope).
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlcore.arguments import require_positive, require_whole

LEAST_STEPS, MOST_STEPS, _FEWEST = 10, 10_000, 5
"""The fewest and most steps of a search; the fewest of a curve that can be read."""
BELOW_MINIMUM = 10.0
"""How far below the rate of the least loss the suggestion is."""

_DIVERGED = 4.0
"""The loss has diverged at so many times its best, as in fastai."""
_FIRST_PART, _BEFORE_FALL = 0.1, 0.25
"""The parts of the steps whose single losses, and whose mean, others are held to."""
_MEMORY = 0.9
"""The weight of the steps before in the mean that is watched while training."""
_WIDTH, _LEAST_WIDTH = 0.03, 1.5
"""The standard deviation of the smoothing: a part of all steps, and at least this."""
_NOISE = 3.0
"""A fall counts beyond so many standard errors. Of 2,000 curves of nothing but noise,
normal or skewed, of 20 to 300 steps, about two in a hundred fell by more."""
_LEAST_FALL = 0.02
"""A fall counts beyond this part of the loss, however little noise there is."""


@dataclass(frozen=True)
class RateSearch:
    """What `find_learning_rate` found.

    Attributes:
        rates: the learning rate of each step, growing by the same factor.
        losses: the loss of each step's batch, before that step changed the weights.
        smoothed: the losses, each averaged with its neighbours by a bell curve.
        suggestion: a learning rate to train with; None where the curve shows none.
        steepest: the rate at which the smoothed loss falls fastest; None likewise.
        diverged_at: the rate at which the loss was four times its best, or no number
            any more; None if it stayed below that.
        sentence: how the suggestion follows, or why there is none, for people.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    smoothed: tuple[float, ...]
    suggestion: float | None
    steepest: float | None
    diverged_at: float | None
    sentence: str

    def as_dict(self) -> dict[str, Any]:
        """Return the fields by name, for a JSON file."""
        return asdict(self)


def growing_rates(lowest: float, highest: float, steps: int) -> tuple[float, ...]:
    """Return the rates of all steps, each the same factor above the one before.

    Raises:
        ValueError: a rate is not positive, `lowest` is not below `highest`, or the
            steps are too few for a curve.

    Example:
        >>> [round(rate, 6) for rate in growing_rates(1e-3, 1.0, 10)[::3]]
        [0.001, 0.01, 0.1, 1.0]
    """
    require_positive("lowest", lowest)
    require_positive("highest", highest)
    meaning = ", enough for a curve and no more"
    require_whole("steps", steps, least=LEAST_STEPS, most=MOST_STEPS, meaning=meaning)
    if lowest >= highest:
        raise ValueError(
            "The learning rate must rise: lowest must be below highest. Received: "
            f"lowest={lowest!r}, highest={highest!r}. Leave both out for 1e-7 to 10."
        )
    rates = np.geomspace(float(lowest), float(highest), int(steps))
    return tuple(float(rate) for rate in rates)


def has_diverged(losses: Sequence[float], steps: int) -> bool:
    """Return whether the last of some losses shows that the rate is too high.

    Args:
        losses: of the steps so far.
        steps: how many there are to be.

    Returns:
        Whether the loss is no number, or its running mean is four times the least that
        it was and above every single loss of the first tenth. The second matters for a
        model that is trained already: noise multiplies a loss near 0.

    Example:
        >>> has_diverged([1.0] * 10 + [0.5] * 20 + [9.0] * 5, 100)
        True
        >>> has_diverged([0.01, 0.2, 0.01] * 10, 30)
        False
    """
    if losses and not math.isfinite(losses[-1]):
        return True
    first = _first(steps)
    if len(losses) <= first:
        return False
    means = _running_means(losses)
    return means[-1] > max(_DIVERGED * min(means), *losses[:first])


def read_curve(
    rates: Sequence[float],
    losses: Sequence[float],
    *,
    steps: int,
    diverged_at: float | None,
) -> RateSearch:
    """Return what a curve says: its smoothed form, and the rate that it suggests.

    Args:
        rates: of the steps that were done.
        losses: of these steps, all finite.
        steps: how many there were to be.
        diverged_at: the rate at which the loss diverged, None if it did not.

    Example:
        >>> rates = growing_rates(1e-4, 1.0, 41)
        >>> losses = [1 - r / (r + 0.01) + 10 * r for r in rates]
        >>> found = read_curve(rates, losses, steps=41, diverged_at=None)
        >>> 0.001 < found.suggestion < 0.005, found.suggestion < found.steepest
        (True, True)
        >>> read_curve(rates, [1.0] * 41, steps=41, diverged_at=None).suggestion
    """
    grid, values = np.asarray(rates, float), np.asarray(losses, float)
    smoothed = _smooth(_clipped(values, above=1.0), _width(steps))
    # Whether and where it falls is asked of a curve with less noise.
    smoother = _smooth(_clipped(values, above=0.0), 2 * _width(steps))
    suggestion = steepest = None
    reason = _why_none(values, smoother, steps, diverged=diverged_at is not None)
    if reason is None:
        least = float(grid[smoothed.argmin()])
        suggestion = least / BELOW_MINIMUM
        steepest = float(grid[_steepest(values, smoother)])
        reason = (
            f"suggested: {suggestion:.2g}, a tenth of {least:.2g}, where the loss is "
            f"least; it falls fastest at {steepest:.2g}"
        )
    return RateSearch(
        tuple(grid.tolist()),
        tuple(values.tolist()),
        tuple(smoothed.tolist()),
        suggestion,
        steepest,
        diverged_at,
        reason,
    )


def _why_none(
    losses: NDArray[np.float64],
    smoother: NDArray[np.float64],
    steps: int,
    *,
    diverged: bool,
) -> str | None:
    """Return why a curve suggests no rate, None if it suggests one."""
    falls = len(losses) >= _FEWEST and _falls(losses, smoother, 2 * _width(steps))
    if not falls and diverged:
        return (
            "no suggestion: the loss did not fall beyond its own noise before it "
            "diverged. Begin with a lower rate (lowest), or take more steps or larger "
            "batches."
        )
    if not falls:
        return (
            "no suggestion: the loss does not fall beyond its own noise at any of "
            "these rates. Take more steps, larger batches, or another range."
        )
    if not diverged and smoother.argmin() >= len(losses) - _first(steps):
        return (
            "no suggestion: the loss still falls at the highest rate. Search beyond "
            "it (highest)."
        )
    return None


def _falls(
    losses: NDArray[np.float64], smoother: NDArray[np.float64], width: float
) -> bool:
    """Return whether a curve, smoothed by `width`, falls beyond its noise."""
    start, bottom = _start(losses), int(smoother.argmin())
    # From one step to the next, since the loss itself falls. Not much beyond its least:
    # there losses differ because the rate is too high.
    steps = np.diff(losses[: max(bottom + 1, len(losses) // 2)])
    spread = float(steps.std()) / math.sqrt(2)
    averaged = 2 * math.sqrt(math.pi) * width
    error = spread * math.sqrt(1 / _quarter(losses) + 1 / averaged)
    limit = max(_NOISE * error, _LEAST_FALL * abs(start))
    return start - float(smoother[bottom]) > limit


def _steepest(losses: NDArray[np.float64], smoother: NDArray[np.float64]) -> int:
    """Return the step at which a curve falls fastest on its way to the least loss.

    By the logarithm of the rate, as the curve is drawn.
    """
    # From where it was last as high as in the beginning: noise falls, too.
    bottom = int(smoother.argmin())
    high = np.flatnonzero(smoother[:bottom] >= _start(losses))
    begin = int(high[-1]) if len(high) else 0
    return begin + int(np.gradient(smoother)[begin : bottom + 1].argmin())


def _start(losses: NDArray[np.float64]) -> float:
    return float(losses[: _quarter(losses)].mean())


def _quarter(losses: NDArray[np.float64]) -> int:
    return max(3, round(_BEFORE_FALL * len(losses)))


def _first(steps: int) -> int:
    return max(3, round(_FIRST_PART * steps))


def _width(steps: int) -> float:
    return max(_LEAST_WIDTH, _WIDTH * steps)


def _running_means(losses: Sequence[float]) -> list[float]:
    """Return the mean of each loss and those before, which count less and less."""
    mean, means = 0.0, []
    for step, loss in enumerate(losses, start=1):
        mean = _MEMORY * mean + (1 - _MEMORY) * loss
        means.append(mean / (1 - _MEMORY**step))  # the first mean is of nothing
    return means


def _clipped(losses: NDArray[np.float64], *, above: float) -> NDArray[np.float64]:
    """Return losses that do not drown their neighbours once they explode.

    Args:
        losses: of all steps.
        above: how far they may go above the highest of the first steps, as a part of
            the range from there to the lowest.
    """
    # A loss of 1e6 would raise the smoothed curve well below the rate that it had.
    high = float(losses[: _quarter(losses)].max())
    return losses.clip(max=high + above * (high - float(losses.min())))


def _smooth(losses: NDArray[np.float64], width: float) -> NDArray[np.float64]:
    """Return the mean around each loss, weighted by a bell curve of `width` steps."""
    # Not the running mean: it lags behind, and the least loss would be at a rate that
    # is several times too high.
    places = np.arange(len(losses))
    distances = (places[:, None] - places[None, :]) / width
    weights = np.exp(-(distances**2) / 2)
    smooth: NDArray[np.float64] = weights @ losses / weights.sum(axis=1)
    return smooth
