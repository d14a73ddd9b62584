"""Paired ratios: what two sides that were measured in turn say about a change.

Pure functions on numbers. Their unit is the *pair*: two fresh processes, one of each
side, that were alive at the same time and took turns. What moves a whole process (the
layout of its memory, its hash seed) is in the ratio of a pair however many turns it
has, so that only more pairs average over it. Ratios are logarithms: 0.02 is 2 %.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from tlbench.verdicts import noise
from tlbench.verdicts.straying import Key

LOOKS = (5, 8, 12, 18, 27, 40)
"""After how many pairs a case is judged. Most are decided at the first look."""

RESOLUTION = 0.025
"""A case is decided as unchanged once a change of this size can be excluded."""

AGREEMENT = 0.8
"""The share of pairs that must have changed in the same direction to convict.

What makes one process slow in all of its turns is not in the code.
"""

CONVICTING = 8
"""The fewest pairs that convict: what five agree on may be luck."""

OWN_LEVEL = 0.001
"""The level at which a case must have changed by its own spread alone.

The spread that it borrows from the other cases may be too small for it.
"""

TRIMMED = 0.2
"""The share of the pairs, on either side, that the centre leaves out."""

SPREAD_FLOOR = 0.003
"""The smallest spread between pairs that a case is assumed to have."""

_CONFIDENCE = 0.95
"""Of the interval, one-sided, that excludes a change."""

Decision: TypeAlias = Literal["slower", "faster", "unchanged", "undecided"]


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """The change of one series between two sides.

    Attributes:
        change: the centre of the logarithms of the ratios.
        error: its standard error.
        freedom: the degrees of freedom of that error.
        pairs: how many pairs there are.
        agreeing: the share of pairs that changed in the direction of the centre.
        limit: how far the centre strays by noise, at this suite's error budget.
        smallest: a smaller change is no finding.
    """

    change: float
    error: float
    freedom: float
    pairs: int
    agreeing: float
    limit: float
    smallest: float = noise.PRACTICAL_SIZE

    @property
    def decision(self) -> Decision:
        """What is known about the change."""
        beyond = abs(self.change) > max(self.limit, self.smallest)
        agreed = self.pairs >= CONVICTING and self.agreeing >= AGREEMENT
        if beyond and agreed:
            return "slower" if self.change > 0 else "faster"
        size = max(RESOLUTION, self.smallest)
        return "unchanged" if self.excluded < size else "undecided"

    @property
    def excluded(self) -> float:
        """The smallest change, either way, that the pairs exclude."""
        return abs(self.change) + self.half_width

    @property
    def half_width(self) -> float:
        """Half the width of the 90 % confidence interval of the change."""
        return noise.quantile(_CONFIDENCE, self.freedom) * self.error

    @property
    def detectable(self) -> float:
        """The change that would have been seen with probability `noise.POWER`."""
        needed = max(self.limit, self.smallest)
        return needed + statistics.NormalDist().inv_cdf(noise.POWER) * self.error


def estimates(
    ratios: Mapping[Key, Sequence[float]],
    *,
    alpha: float = noise.FALSE_ALARMS,
    smallest: Mapping[Key, float] | None = None,
) -> dict[Key, Estimate]:
    """Return the change of each series.

    The centre is a trimmed mean, and its error comes from the winsorized variance: one
    pair in five that had a bad moment moves neither. The variances are moderated across
    the series.

    Source: K. K. Yuen, "The two-sample trimmed t for unequal population variances",
    Biometrika 61 (1974), 165-170, for one sample; `noise.moderated` for the rest.

    Args:
        ratios: by series, the logarithm of head over base in each pair; at least one.
        alpha: the probability of any false alarm among all the series and looks.
        smallest: by series, the change below which there is no finding; where it is not
            given, `noise.PRACTICAL_SIZE`.

    Example:
        >>> pairs = [0.049, 0.051, 0.05, 0.052, 0.05, 0.048, 0.049, 0.24]
        >>> one = estimates({"parse": pairs})["parse"]
        >>> round(one.change, 3), one.decision
        (0.05, 'slower')
    """
    trimmed = {key: _trimmed(values) for key, values in ratios.items()}
    own = {
        key: (max(one.variance, SPREAD_FLOOR**2), one.freedom)
        for key, one in trimmed.items()
    }
    spreads = noise.pooled(own)
    # Bonferroni over series and looks: it needs no assumption about how they depend on
    # each other. One more look for when the time is up.
    each = alpha / max(1, len(ratios)) / (len(LOOKS) + 1)
    found = {
        key: _estimate(values, trimmed[key], spreads[key], each)
        for key, values in ratios.items()
    }
    sizes = smallest or {}
    return {
        key: replace(one, smallest=sizes.get(key, noise.PRACTICAL_SIZE))
        for key, one in found.items()
    }


def _estimate(
    values: Sequence[float],
    trimmed: "_Trimmed",
    moderated: tuple[float, float],
    alpha: float,
) -> Estimate:
    centre, pairs = trimmed.centre, len(values)
    own = max(math.sqrt(trimmed.variance), SPREAD_FLOOR) / math.sqrt(pairs)
    # A calm series gains freedom from the others; a wild one keeps its own spread.
    spread, freedom = moderated
    error, limit = max(spread / math.sqrt(pairs), own), math.inf
    if trimmed.freedom > 0:
        limit = max(
            noise.quantile(1 - alpha / 2, freedom) * error,
            noise.quantile(1 - OWN_LEVEL / 2, trimmed.freedom) * own,
        )
    return Estimate(
        change=centre,
        error=error if trimmed.freedom > 0 else math.inf,
        freedom=freedom or 1.0,
        pairs=pairs,
        agreeing=sum(x * centre > 0 for x in values) / pairs,
        limit=limit,
    )


def pair_ratio(base_first: Sequence[float], head_first: Sequence[float]) -> float:
    """Return the log ratio of one pair from the log ratios of its turns.

    Whoever goes second may find warmer or colder caches; the same number of turns in
    either order cancels that.

    >>> pair_ratio([0.03, 0.05, 0.04], [-0.02, 0.0, -0.01])
    0.015
    """
    orders = [statistics.median(turns) for turns in (base_first, head_first) if turns]
    return statistics.fmean(orders)


@dataclass(frozen=True)
class _Trimmed:
    """A trimmed mean, and the variance of one pair that its error amounts to."""

    centre: float
    variance: float
    freedom: int


def _trimmed(values: Sequence[float]) -> _Trimmed:
    ordered = sorted(values)
    count, cut = len(ordered), int(TRIMMED * len(ordered))
    kept = ordered[cut : count - cut]
    centre = statistics.fmean(kept)
    if len(kept) < 2:
        return _Trimmed(centre, 0.0, 0)
    winsorized = [kept[0]] * cut + kept + [kept[-1]] * cut
    variance = statistics.variance(winsorized)
    # Yuen's squared error is variance * (count - 1) / (kept * (kept - 1)).
    scale = (count - 1) * count / (len(kept) * (len(kept) - 1))
    return _Trimmed(centre, variance * scale, len(kept) - 1)
