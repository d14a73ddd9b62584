"""Straying: accepted runs that lie far from the others of their series.

Real noise is not Gauss's: single runs are far off, a spell of nights is slow, a case
has two modes. One such run would move a mean and widen a spread for twenty nights, so
it is left out of both. But it did happen without any change of the code, and will
again: so how far the accepted runs strayed is kept, and no limit is smaller than that.
"""

import math
import statistics
from collections.abc import Hashable, Mapping, Sequence
from typing import TypeVar

Key = TypeVar("Key", bound=Hashable)
"""What identifies a series: the caller's choice, such as case and name."""

STRAYS = 5.0
"""A run that is more robust spreads than this from the median strays.

Of 480 values from Gauss's distribution, one strays in 3,000 baselines.
"""

MOST_STRAYS = 0.4
"""If more than this share would stray, they are a mode of their own and none does."""

ORDINARY = 1.25
"""So many times its limit one of many accepted runs may be without any straying."""

FEWEST_RUNS = 5
"""Of fewer, none can be told to stray."""

_GAUSS = 1.4826
"""The standard deviation by the median absolute deviation, for Gauss's distribution."""


def sound(
    series: Mapping[Key, Mapping[str, float]], *, floor: float
) -> dict[Key, list[float]]:
    """Return, by series, the values of the runs that do not stray.

    Args:
        series: by series and run, the values.
        floor: the smallest spread that a series is assumed to have.

    Example:
        >>> values = {str(run): 0.01 * (run % 3) for run in range(9)}
        >>> found = sound({"parse": {**values, "bad": 0.4}}, floor=0.001)
        >>> len(found["parse"])
        9
    """
    widths = {name: _width(tuple(runs.values())) for name, runs in series.items()}
    # A calm series in a suite is at least as wide as half of the others: of five runs
    # the deviation alone is often far too small.
    typical = statistics.median(widths.values()) if widths else 0.0
    return {
        name: _near(tuple(runs.values()), max(widths[name], typical, floor))
        for name, runs in series.items()
    }


def reach(farthest: Mapping[str, float], *, runs: int) -> float:
    """Return by how much the limits must grow to cover what accepted runs did.

    Tonight strays farther than all of n exchangeable nights once in n + 1: that holds
    for noise of any shape. So the limits grow to the farthest night, and beyond it as
    far as few nights leave open.

    Source: V. Vovk, A. Gammerman and G. Shafer, "Algorithmic Learning in a Random
    World" (2005), chapter 2, on conformal prediction.

    Args:
        farthest: by run, how many times its limit the farthest series was from centre.
        runs: how many runs there are.
    """
    most = max(farthest.values(), default=0.0)
    return most * (1 + 2 / runs) if most > ORDINARY else 1.0


def _width(values: Sequence[float]) -> float:
    if len(values) < FEWEST_RUNS:
        return 0.0
    centre = statistics.median(values)
    deviation = statistics.median(abs(x - centre) for x in values)
    # Of few values the median deviation is too small on average.
    return _GAUSS * deviation * (1 + 1 / len(values))


def _near(values: Sequence[float], width: float) -> list[float]:
    if len(values) < FEWEST_RUNS:
        return list(values)
    centre = statistics.median(values)
    kept = [x for x in values if abs(x - centre) <= STRAYS * width]
    fewest = math.ceil((1 - MOST_STRAYS) * len(values))
    return kept if len(kept) >= fewest else list(values)
