"""What noise can do to a figure: limits, common mode, spread, detectable change.

Pure functions on numbers; no clock, no file, no case. A *series* is one figure of one
case, such as the median epoch of a run; its unit is the run, never the epoch. Series
that cannot be zero or negative are compared as logarithms, so that a shift of 0.02 is
2 %. What is judged, and the sentences about it, are in `verdict`.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

FALSE_ALARMS = 0.01
"""The probability of any false alarm in a night, shared by the series of the night."""

SCREENING = 0.1
"""The probability that a series as ever is run again, where there is confirmation."""

PRACTICAL_SIZE = 0.015
"""A smaller change of a timing or of memory is no finding, however certain."""

SPREAD_FLOOR = 0.001
"""No series is taken to vary less from run to run: equal runs are luck, not law."""

FEWEST_RUNS = 5
"""With fewer accepted runs a figure is inconclusive."""

MOST_RUNS = 20
"""How many accepted runs, the newest, a figure is compared with."""

FEWEST_SERIES = 5
"""With fewer series a slower machine cannot be told from slower cases."""

POWER = 0.85
"""How surely a change of the minimum detectable size would be seen."""

Runs: TypeAlias = Mapping[str, float]
"""The value of a series in each run, by the run's name."""


@dataclass(frozen=True, kw_only=True)
class Expectation:
    """What the accepted runs say of the next value of a series.

    Attributes:
        centre: the mean of the accepted values, common mode taken out.
        spread: the standard deviation from run to run.
        freedom: the degrees of freedom that the spread is known with.
        runs: how many accepted runs there are.
    """

    centre: float
    spread: float
    freedom: float
    runs: int

    def limit(self, alpha: float, *, fresh: int = 1, common: float = 0.0) -> float:
        """Return how far the mean of some fresh runs strays from the centre by noise.

        The half width of a two-sided Student prediction interval.

        Args:
            alpha: the probability of straying further, on either side.
            fresh: how many fresh runs the mean is of.
            common: the variance of what was taken out of all of them alike.
        """
        return quantile(1 - alpha / 2, self.freedom) * self.error(fresh, common=common)

    def error(self, fresh: int = 1, *, common: float = 0.0) -> float:
        """Return the standard deviation of the mean of fresh runs from the centre."""
        shared = common * (1 - 1 / fresh)
        return math.sqrt(self.spread**2 * (1 / fresh + 1 / self.runs) + shared)

    def detectable(
        self, alpha: float, *, smallest: float = 0.0, fresh: int = 1
    ) -> float:
        """Return the change that would be seen with probability `POWER`."""
        needed = max(self.limit(alpha, fresh=fresh), smallest)
        return needed + statistics.NormalDist().inv_cdf(POWER) * self.error(fresh)


@dataclass(frozen=True, kw_only=True)
class RunComparison:
    """The accepted runs of all series, and what one night's values say beside them.

    Attributes:
        expectations: by series, common mode taken out.
        shifts: how far each series of the night is from its centre, likewise.
        common_mode: what was taken out: the median shift of the night.
        common_limit: how far the common mode strays by noise alone.
        common_variance: of the common mode, as an estimate from these series.
    """

    expectations: Mapping[str, Expectation]
    shifts: Mapping[str, float]
    common_mode: float
    common_limit: float
    common_variance: float


def is_relative(runs: Runs) -> bool:
    """Tell whether the values of a series are compared as ratios."""
    return all(value > 0 for value in runs.values())


def scaled(value: float, runs: Runs) -> float:
    """Return a value as it is compared with accepted runs: its logarithm, if relative.

    Of a series that was always positive, and now is not, that is minus infinity.
    """
    if not is_relative(runs):
        return value
    return math.log(value) if value > 0 else -math.inf


def quantile(probability: float, freedom: float) -> float:
    """Return a quantile of Student's distribution; `math.inf` freedom is the normal."""
    if math.isinf(freedom):
        return statistics.NormalDist().inv_cdf(probability)
    from scipy import special  # late: collecting tests needs no scipy

    return float(special.stdtrit(freedom, probability))


def compare_run(
    accepted: Mapping[str, Runs], values: Mapping[str, float], *, shared: bool = True
) -> RunComparison:
    """Compare the values of one night with the accepted runs.

    Args:
        accepted: by series, its accepted runs, at least one each.
        values: by series, the night's value; only series with accepted runs.
        shared: whether the machine may move all series alike; if so, the common mode
            is taken out of the night and of every accepted run.
    """
    modes = common_modes(accepted) if shared else {}
    left = {
        series: [value - modes.get(run, 0.0) for run, value in runs.items()]
        for series, runs in accepted.items()
    }
    spreads = moderated(left)
    expectations = {
        series: Expectation(
            centre=statistics.fmean(runs),
            spread=max(spreads[series][0], SPREAD_FLOOR),
            freedom=spreads[series][1],
            runs=len(runs),
        )
        for series, runs in left.items()
    }
    shifts = {s: value - expectations[s].centre for s, value in values.items()}
    mode = _common(list(shifts.values())) if shared else 0.0
    typical = [expectations[series].spread ** 2 for series in shifts]
    variance = 0.0
    if shared and len(shifts) >= FEWEST_SERIES:
        variance = math.pi / 2 * statistics.median(typical) / len(typical)
    return RunComparison(
        expectations=expectations,
        shifts={series: shift - mode for series, shift in shifts.items()},
        common_mode=mode,
        common_limit=_common_limit(modes, variance),
        common_variance=variance,
    )


def common_modes(accepted: Mapping[str, Runs]) -> dict[str, float]:
    """Return for each run by how much all its series were off alike."""
    runs = dict.fromkeys(run for series in accepted.values() for run in series)
    centres = {name: statistics.fmean(x.values()) for name, x in accepted.items() if x}
    return {
        run: _common(
            [x[run] - centres[name] for name, x in accepted.items() if run in x]
        )
        for run in runs
    }


def moderated(values: Mapping[str, Sequence[float]]) -> dict[str, tuple[float, float]]:
    """Return the spread of each series and its degrees of freedom.

    With few runs a series' own spread is known badly. As far as the series of a suite
    are alike, each lends from the others; where they are not, each stands alone.

    Source: G. K. Smyth, "Linear models and empirical Bayes methods for assessing
    differential expression in microarray experiments", Stat. Appl. Genet. Mol. Biol. 3
    (2004), section 6.2.
    """
    own = {name: (_variance(x), len(x) - 1) for name, x in values.items()}
    known = [(max(v, SPREAD_FLOOR**2), f) for v, f in own.values() if f > 0]
    prior, weight = _prior(known)
    found = {}
    for name, (variance, freedom) in own.items():
        if freedom + weight > 0:
            total = freedom + weight
            pooled = (freedom * variance + weight * prior) / total
            found[name] = math.sqrt(pooled), total
        else:
            found[name] = 0.0, 0.0
    return found


def seeds(
    accepted: Sequence[tuple[object, float, int]], fresh: Sequence[tuple[float, int]]
) -> tuple[Expectation, float]:
    """Return what the accepted seeds say of a proportion, and the variance of samples.

    The same seed on the same machine says the same again, so that several runs of one
    seed count as one. Between seeds the spread is at least half a sample. Where the
    fresh seeds were measured on as many samples as the accepted ones, these are the
    same test set, whose chance composition moves both alike; elsewhere the binomial
    variance of both sets is added.

    Args:
        accepted: (seed, proportion, samples) of every accepted measurement.
        fresh: (proportion, samples) of every new one.
    """
    by_seed: dict[object, list[float]] = {}
    for seed, value, _ in accepted:
        by_seed.setdefault(seed, []).append(value)
    means = [statistics.fmean(values) for values in by_seed.values()]
    before = statistics.fmean(samples for _, _, samples in accepted)
    after = statistics.fmean(samples for _, samples in fresh)
    centre = statistics.fmean(means)
    expected = Expectation(
        centre=centre,
        spread=max(math.sqrt(_variance(means)), 0.5 / before),
        freedom=float(len(means) - 1),
        runs=len(means),
    )
    if before == after:
        return expected, 0.0
    # Agresti and Coull's two successes and failures more: certainty is never total.
    share = (centre * before + 2) / (before + 4)
    return expected, share * (1 - share) * (1 / before + 1 / after)


def _prior(known: Sequence[tuple[float, int]]) -> tuple[float, float]:
    """Return the variance common to the series and the freedom it is worth."""
    if len(known) < FEWEST_SERIES:
        return 0.0, 0.0
    from scipy import special

    logs = [
        math.log(variance) - special.digamma(f / 2) + math.log(f / 2)
        for variance, f in known
    ]
    centre = statistics.fmean(logs)
    expected = statistics.fmean(special.polygamma(1, f / 2) for _, f in known)
    excess = statistics.variance(logs) - expected
    if excess <= 0:
        # As alike as chance allows: one variance for all, known from all of them.
        freedom = sum(f for _, f in known)
        variance = sum(v * f for v, f in known) / freedom
        return variance, float(freedom)
    half = _inverse_trigamma(excess)
    weight = min(2 * half, float(sum(f for _, f in known)))
    return math.exp(centre + float(special.digamma(half)) - math.log(half)), weight


def _inverse_trigamma(value: float) -> float:
    """Return x with trigamma(x) = value, by Newton's method (Smyth 2004, appendix)."""
    from scipy import special

    x = 0.5 + 1 / value
    for _ in range(50):
        first = float(special.polygamma(1, x))
        step = first * (1 - first / value) / float(special.polygamma(2, x))
        x += step
        if -step / x < 1e-8:
            break
    return x


def _variance(values: Sequence[float]) -> float:
    return statistics.variance(values) if len(values) > 1 else 0.0


def _common(shifts: Sequence[float]) -> float:
    return statistics.median(shifts) if len(shifts) >= FEWEST_SERIES else 0.0


def _common_limit(modes: Mapping[str, float], variance: float) -> float:
    if len(modes) < 2:
        return math.inf
    spread = math.sqrt(max(_variance(list(modes.values())), variance))
    spread = max(spread, SPREAD_FLOOR)
    width = quantile(1 - FALSE_ALARMS / 2, len(modes) - 1)
    return width * spread * math.sqrt(1 + 1 / len(modes))
