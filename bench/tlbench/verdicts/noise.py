"""What noise can do to a figure: limits, common mode, spread, detectable change.

Pure functions on numbers; no clock, no file, no case. A *series* is one figure of one
case, such as the median epoch of a run; its unit is the run, never the epoch. Series
whose values are always positive are compared as logarithms, so that a shift of 0.02 is
2 %. What is judged, and the sentences about it, are in `series` and `proportions`.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeAlias

from tlbench.verdicts import straying
from tlbench.verdicts.straying import Key

FALSE_ALARMS = 0.01
"""Probability of any false alarm in one run of the suite, shared by its series."""

SCREENING = 0.1
"""Probability that an unchanged series is run again under `--tl-confirm`."""

PRACTICAL_SIZE = 0.015
"""A smaller change of a timing or of memory is no finding, however certain it is."""

SPREAD_FLOOR = 0.001
"""The smallest spread from run to run that a series is assumed to have.

Five runs that agree to the last digit are luck: without a floor their limit would be
zero, and the next run a false alarm.
"""

FEWEST_RUNS = 5
"""With fewer accepted runs a figure is inconclusive."""

MOST_RUNS = 20
"""How many accepted runs, the newest, a figure is compared with."""

FEWEST_SERIES = 5
"""With fewer series a slower machine cannot be distinguished from slower cases."""

BLIND_FROM = 0.5
"""A pass that could see no smaller change than this is inconclusive."""

BLIND_POINTS = 0.1
"""The same of a proportion such as an accuracy: 10 points."""

POWER = 0.85
"""Probability that a change of the minimum detectable size is seen."""

Runs: TypeAlias = Mapping[str, float]
"""The value of a series in each run, by the run's name."""


@dataclass(frozen=True, kw_only=True)
class Expectation:
    """What the accepted runs say about the next value of a series.

    Attributes:
        centre: the mean of the accepted values, with the common mode removed.
        spread: the standard deviation from run to run.
        freedom: the degrees of freedom of that spread.
        runs: how many accepted runs both are of: those that do not stray.
    """

    centre: float
    spread: float
    freedom: float
    runs: int

    def limit(self, alpha: float, *, fresh: int = 1, common: float = 0.0) -> float:
        """Return how far the mean of fresh runs strays from the centre by noise.

        The half width of a two-sided Student prediction interval: unlike a confidence
        interval it covers the next value, not the mean of all of them.

        Args:
            alpha: the probability of straying further, on either side.
            fresh: how many fresh runs the mean is taken over.
            common: the variance of the common mode that was removed from all of them.

        >>> one = Expectation(centre=0.0, spread=0.01, freedom=19.0, runs=20)
        >>> round(one.limit(0.05), 4), round(one.limit(0.05, fresh=3), 4)
        (0.0214, 0.013)
        """
        return quantile(1 - alpha / 2, self.freedom) * self.error(fresh, common=common)

    def error(self, fresh: int = 1, *, common: float = 0.0) -> float:
        """Return the standard deviation of the mean of fresh runs from the centre."""
        # Both means vary: that of the fresh runs (1 / fresh) and the accepted centre
        # (1 / runs). The spread includes the error of the common mode that was removed
        # from each run. Fresh runs all have the same one removed, that of the judged
        # run, so that its error does not shrink with their number: what the division
        # by `fresh` took away of it is added again.
        shared = common * (1 - 1 / fresh)
        return math.sqrt(self.spread**2 * (1 / fresh + 1 / self.runs) + shared)

    def detectable(
        self, alpha: float, *, smallest: float = 0.0, fresh: int = 1, reach: float = 1.0
    ) -> float:
        """Return the change that would be seen with probability `POWER`."""
        needed = max(self.limit(alpha, fresh=fresh) * reach, smallest)
        return needed + statistics.NormalDist().inv_cdf(POWER) * self.error(fresh)


@dataclass(frozen=True, kw_only=True)
class RunComparison(Generic[Key]):
    """The accepted runs of all series, and one run's values relative to them.

    Attributes:
        expectations: by series, with the common mode removed.
        shifts: how far each series of the run is from its centre, likewise.
        common_mode: what was removed: the median shift of the run.
        common_shift: how far that is from the common modes of the accepted runs.
        common_limit: how far it strays by noise alone.
        common_variance: of the common mode, as an estimate from these series.
        reach: how many times their limits the accepted runs themselves strayed, 1 or
            more.
    """

    expectations: Mapping[Key, Expectation]
    shifts: Mapping[Key, float]
    common_mode: float
    common_shift: float
    common_limit: float
    common_variance: float
    reach: float


def is_relative(runs: Runs) -> bool:
    """Tell whether the values of a series are compared as ratios."""
    return all(value > 0 for value in runs.values())


def scaled(value: float, runs: Runs) -> float:
    """Return a value on the scale of accepted runs: its logarithm, if they are ratios.

    For a series that was always positive and now is not, that is minus infinity.

    >>> scaled(1.0, {"r1": 2.0}), scaled(1.0, {"r1": 0.0}), scaled(0.0, {"r1": 2.0})
    (0.0, 1.0, -inf)
    """
    if not is_relative(runs):
        return value
    return math.log(value) if value > 0 else -math.inf


def quantile(probability: float, freedom: float) -> float:
    """Return a quantile of Student's distribution; infinite freedom is the normal."""
    if math.isinf(freedom):
        return statistics.NormalDist().inv_cdf(probability)
    # Late and from `special`: collecting tests needs no scipy, and `scipy.stats` takes
    # most of a second to import.
    from scipy import special

    return float(special.stdtrit(freedom, probability))


def compare_run(
    accepted: Mapping[Key, Runs],
    values: Mapping[Key, float],
    *,
    shared: bool = True,
    known: Mapping[Key, tuple[float, float]] | None = None,
    alpha: float | None = None,
) -> RunComparison[Key]:
    """Compare the values of one run with the accepted runs.

    Args:
        accepted: by series, its accepted runs, at least one each.
        values: by series, the value of the run; only series with accepted runs.
        shared: whether the machine may move all series together; if so, the common
            mode is removed from the run and from every accepted run.
        known: by series, a spread from before these runs, and its freedom.
        alpha: the probability of a false alarm that each series may have, for which
            the reach is found; without it that is 1.
    """
    modes = common_modes(accepted) if shared else {}
    cleaned = {
        series: {run: value - modes.get(run, 0.0) for run, value in runs.items()}
        for series, runs in accepted.items()
    }
    kept = straying.sound(cleaned, floor=SPREAD_FLOOR)
    spreads = pooled(
        {name: _sample(runs, (known or {}).get(name)) for name, runs in kept.items()}
    )
    expectations = {
        series: Expectation(
            centre=statistics.fmean(runs),
            spread=max(spreads[series][0], SPREAD_FLOOR),
            freedom=spreads[series][1],
            runs=len(runs),
        )
        for series, runs in kept.items()
    }
    shifts = {s: value - expectations[s].centre for s, value in values.items()}
    mode = _common(list(shifts.values())) if shared else 0.0
    typical = [expectations[series].spread ** 2 for series in shifts]
    variance = 0.0
    if shared and len(shifts) >= FEWEST_SERIES:
        # The asymptotic variance of the median of n normal values is pi/2 times that
        # of their mean.
        variance = math.pi / 2 * statistics.median(typical) / len(typical)
    # From the centres, as that of the run is: of skewed noise the median shift of an
    # ordinary run is not 0.
    centres = {name: one.centre for name, one in expectations.items()}
    usual, limit = _common_limit(_modes(accepted, centres), variance)
    return RunComparison(
        expectations=expectations,
        shifts={series: shift - mode for series, shift in shifts.items()},
        common_mode=mode,
        common_shift=mode - usual,
        common_limit=limit,
        common_variance=variance,
        reach=1.0 if alpha is None else _reach(cleaned, expectations, alpha),
    )


def common_modes(accepted: Mapping[Key, Runs]) -> dict[str, float]:
    """Return, for each run, by how much all its series were off together.

    A machine that is 5 % slower for an hour moves every timing by 5 %; without that
    part the spread of a series is its own.
    """
    centres = {name: statistics.median(x.values()) for name, x in accepted.items() if x}
    return _modes(accepted, centres)


def moderated(values: Mapping[Key, Sequence[float]]) -> dict[Key, tuple[float, float]]:
    """Return the spread of each series and its degrees of freedom.

    With few runs the spread of a single series is a poor estimate, and some of many
    series will look far too calm. As far as the series of a suite are alike, each
    borrows from the others; where they are not, each stands alone.

    Source: G. K. Smyth, "Linear models and empirical Bayes methods for assessing
    differential expression in microarray experiments", Stat. Appl. Genet. Mol. Biol. 3
    (2004), section 6.2.
    """
    return pooled({name: (_variance(x), len(x) - 1) for name, x in values.items()})


def pooled(
    variances: Mapping[Key, tuple[float, float]],
) -> dict[Key, tuple[float, float]]:
    """Return the moderated spread of each series and its degrees of freedom.

    Args:
        variances: by series, its sample variance and the freedom of that.
    """
    # Floored: the logarithm of zero would take the prior to minus infinity.
    known = [(max(v, SPREAD_FLOOR**2), f) for v, f in variances.values() if f > 0]
    prior, weight = _prior(known)
    found = {}
    for name, (variance, freedom) in variances.items():
        if freedom + weight > 0:
            total = freedom + weight
            # The posterior mean: both variances, weighted by what each is worth.
            mean = (freedom * variance + weight * prior) / total
            found[name] = math.sqrt(mean), total
        else:
            found[name] = 0.0, 0.0
    return found


def seeds(
    accepted: Sequence[tuple[str, float, int]], fresh: Sequence[tuple[float, int]]
) -> tuple[Expectation, float]:
    """Return what the accepted seeds say about a proportion, and a sampling variance.

    The same seed on the same machine gives the same result, so several runs of one
    seed count as one. Between seeds the spread is at least half a sample. Where the
    fresh seeds were measured on as many samples as the accepted ones, both used the
    same test set, whose random composition moves them together and adds no variance;
    elsewhere the binomial variance of both sets is added.

    Args:
        accepted: (seed, proportion, samples) of every accepted measurement.
        fresh: (proportion, samples) of every new one.
    """
    by_seed: dict[str, list[float]] = {}
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
    # Two successes and two failures are added (Agresti and Coull 1998): a share of 0
    # or 1 on n samples does not mean a variance of 0.
    share = (centre * before + 2) / (before + 4)
    return expected, share * (1 - share) * (1 / before + 1 / after)


def _prior(known: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Return the variance common to the series and the freedom it is worth.

    Smyth's moment estimator: the logarithms of sample variances have a known mean and
    variance if all series share one variance; what they vary beyond that is how much
    the series differ.
    """
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
    # All the series together are worth no more than the sum of their freedoms.
    most = float(sum(f for _, f in known))
    if excess <= 0:
        # As alike as chance allows: one variance for all, known from all of them.
        return sum(v * f for v, f in known) / most, most
    half = _inverse_trigamma(excess)
    prior = math.exp(centre + float(special.digamma(half)) - math.log(half))
    return prior, min(2 * half, most)


def _inverse_trigamma(value: float) -> float:
    """Return x with trigamma(x) = value, by Newton's method (Smyth 2004, appendix).

    By hand: scipy has the function, but not its inverse.
    """
    from scipy import special

    # From this start the iteration on 1 / trigamma is monotone, so that it needs no
    # safeguard; it ends long before the 50 steps.
    x = 0.5 + 1 / value
    for _ in range(50):
        first = float(special.polygamma(1, x))
        step = first * (1 - first / value) / float(special.polygamma(2, x))
        x += step
        if -step / x < 1e-8:
            break
    return x


def _sample(
    values: Sequence[float], known: tuple[float, float] | None
) -> tuple[float, float]:
    """Return the variance of some values and its freedom, with what is known."""
    variance, freedom = _variance(values), float(len(values) - 1)
    if known is None:
        return variance, freedom
    spread, worth = known
    total = freedom + worth
    return (freedom * variance + worth * spread**2) / total, total


def _variance(values: Sequence[float]) -> float:
    return statistics.variance(values) if len(values) > 1 else 0.0


def _modes(
    accepted: Mapping[Key, Runs], centres: Mapping[Key, float]
) -> dict[str, float]:
    runs = dict.fromkeys(run for series in accepted.values() for run in series)
    return {
        run: _common(
            [x[run] - centres[name] for name, x in accepted.items() if run in x]
        )
        for run in runs
    }


def _reach(
    cleaned: Mapping[Key, Runs],
    expectations: Mapping[Key, Expectation],
    alpha: float,
) -> float:
    """Return by how much the accepted runs, judged themselves, exceed their limits."""
    farthest: dict[str, float] = {}
    for name, runs in cleaned.items():
        expected = expectations[name]
        if len(runs) < FEWEST_RUNS:
            continue
        limit = max(expected.limit(alpha), PRACTICAL_SIZE)
        for run, value in runs.items():
            # Judged by the others: a run draws the centre towards itself.
            distance = abs(value - expected.centre) * len(runs) / (len(runs) - 1)
            farthest[run] = max(farthest.get(run, 0.0), distance / limit)
    return straying.reach(farthest, runs=max(1, len(farthest)))


def _common(shifts: Sequence[float]) -> float:
    # The median, not the mean: a few cases that really are slower do not move it.
    return statistics.median(shifts) if len(shifts) >= FEWEST_SERIES else 0.0


def _common_limit(modes: Mapping[str, float], variance: float) -> tuple[float, float]:
    """Return the usual common mode of a run, and how far one strays from it."""
    if len(modes) < 2:
        return 0.0, math.inf
    # At least the sampling variance of a median: a machine may have been calm so far.
    floor = max(math.sqrt(variance), SPREAD_FLOOR)
    (kept,) = straying.sound({"modes": modes}, floor=floor).values()
    usual = statistics.fmean(kept)
    spread = max(math.sqrt(_variance(kept)), floor)
    width = quantile(1 - FALSE_ALARMS / 2, len(kept) - 1)
    limit = width * spread * math.sqrt(1 + 1 / len(kept))
    farthest = {run: abs(mode - usual) / limit for run, mode in modes.items()}
    return usual, limit * straying.reach(farthest, runs=len(modes))
