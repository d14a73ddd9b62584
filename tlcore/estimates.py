"""Estimates: a measured number with how many it was measured on and how sure it is.

Owns the interval of a proportion and of a mean; it knows no metric by name.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

_Z_95 = 1.959963984540054
"""97.5 % point of the standard normal distribution."""


@dataclass(frozen=True)
class Estimate:
    """A value from `n` examples, with its 95 % interval [low, high]."""

    value: float
    n: int
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.4f} (n={self.n}, 95 % {self.low:.4f} to {self.high:.4f})"

    def as_dict(self) -> dict[str, float | int]:
        """Return the fields as a mapping, for a JSON file."""
        return asdict(self)


def proportion(correct: int, n: int) -> Estimate:
    """Return correct / n with the 95 % interval of Wilson (1927).

    Unlike the normal interval it stays within [0, 1] and holds near both ends.

    Raises:
        ValueError: there is no example, or `correct` is not among 0 to n.
    """
    if n < 1 or not 0 <= correct <= n:
        raise ValueError(
            "A proportion must be of 0 to n out of at least one example. "
            f"Received: correct={correct}, n={n}."
        )
    p, z2 = correct / n, _Z_95**2
    centre = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z_95 / (1 + z2 / n) * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    # At p = 0 and p = 1 rounding alone would leave the interval beside the value.
    return Estimate(
        p, n, max(0.0, min(p, centre - half)), min(1.0, max(p, centre + half))
    )


def mean(values: Sequence[float]) -> Estimate:
    """Return the mean of values with its normal 95 % interval, endless for one value.

    Raises:
        ValueError: there is no value.
    """
    n = len(values)
    if not n:
        raise ValueError("A mean must be of at least one value. Received: none.")
    value = math.fsum(values) / n
    if n == 1:
        return Estimate(value, n, -math.inf, math.inf)
    variance = math.fsum((x - value) ** 2 for x in values) / (n - 1)
    half = _Z_95 * math.sqrt(variance / n)
    return Estimate(value, n, value - half, value + half)
