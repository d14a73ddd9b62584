"""Series: timings, memory and plain values, judged by their accepted runs.

Owns which series are judged together, the limit of each, drift since the anchor and the
shift of the machine. The statistics are in `noise`.
"""

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeAlias

from tlbench import units
from tlbench.clocks import Clock
from tlbench.record import CaseRecord
from tlbench.verdicts import circumstances, noise
from tlbench.verdicts.figures import (
    CPU,
    Accepted,
    Figures,
    Series,
    clock_of,
    incomparable,
    judged_series,
    series_of,
    unknown,
    worsening,
)
from tlbench.verdicts.limits import DEFAULT, Limits, Policy
from tlbench.verdicts.verdict import MACHINE, Case, Finding, Judgement, Verdict

DRIFT_SIZE = 0.02
"""What a series must have moved since its anchor, in small steps, to be a finding."""

Key: TypeAlias = tuple[str, str]
"""A series: its case and its name."""

Again: TypeAlias = Mapping[str, Sequence[CaseRecord]] | None
"""By case, the records of fresh runs; None where nothing is run again."""


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What the series of a run are judged by.

    Attributes:
        accepted: what they are compared with.
        policy: the limits of each case.
        now: the context of the run.
    """

    accepted: Accepted
    policy: Policy = DEFAULT
    now: Mapping[str, Any] = field(default_factory=dict)


def judge_series(
    records: Mapping[str, CaseRecord], terms: Terms, again: Again
) -> tuple[list[Judgement], list[Case]]:
    """Judge timings, memory and plain values.

    Returns:
        A judgement for each series, and the verdict on the machine if it shifted.
    """
    judged: list[Judgement] = []
    ready: dict[Key, Series] = {}
    for case, record in records.items():
        limits, known = terms.policy.of(case), terms.accepted.figures.get(case)
        for name, series in judged_series(record, known, limits.clock).items():
            if limits.leaves_out(series.unit):
                continue
            refused = _unjudged(record, name, series, terms)
            if refused is None:
                ready[case, name] = series
            else:
                judged.append(refused)
    shift: list[Case] = []
    for family in _families(ready, terms):
        judged += family.judge(again)
        shift += family.shift(again)
    return judged, shift


def _unjudged(
    record: CaseRecord, name: str, series: Series, terms: Terms
) -> Judgement | None:
    """Return why a series cannot be judged, None if it can."""
    case, accepted = record.case, terms.accepted
    if series.unit and series.value <= 0:
        why = f"{name} is 0 {series.unit}: there was nothing to measure"
        return Judgement(case=case, name=name, verdict="missing", why=why)
    refused = incomparable(record, accepted)
    if refused is not None:
        return Judgement(case=case, name=name, verdict=refused[0], why=refused[1])
    runs = accepted.figures[case].series.get(name)
    if not runs:
        word, why = unknown(record, name, accepted)
        return Judgement(case=case, name=name, verdict=word, why=why)
    # A mean of 300 iterations and a single one differ without any change of the code.
    known, timed = accepted.figures[case], name.removesuffix(CPU)
    timing = record.timings.get(timed)
    unlike = timing and timing.unlike(
        known.iterations.get(timed), known.timers.get(timed, "")
    )
    if unlike:
        why = f"{name} was timed {unlike[0]}, accepted {unlike[1]}"
        return Judgement(case=case, name=name, verdict="not_comparable", why=why)
    # At a new level one run is enough, if the spread is known from before.
    if len(runs) < noise.FEWEST_RUNS and name not in known.spreads:
        limits, unit = terms.policy.of(case), _unit(known, name)
        return _too_few((case, name), series, runs, limits, unit)
    return None


def _too_few(
    key: Key, series: Series, runs: noise.Runs, limits: Limits, unit: str
) -> Judgement:
    """Return that a series is inconclusive, with the change that could be seen."""
    case, name = key
    values = [noise.scaled(x, runs) for x in runs.values()]
    change = noise.scaled(series.value, runs) - sum(values) / len(values)
    seen = None
    if len(values) > 1:
        spread, freedom = noise.moderated({name: values})[name]
        expected = noise.Expectation(
            centre=0.0,
            spread=max(spread, noise.SPREAD_FLOOR),
            freedom=freedom,
            runs=len(values),
        )
        seen = expected.detectable(noise.FALSE_ALARMS, smallest=limits.smallest)
    count = f"{len(runs)} of {noise.FEWEST_RUNS} accepted {unit}s"
    could = f"; a change of {_change(seen, runs)} could be seen" if seen else ""
    return Judgement(
        case=case,
        name=name,
        verdict="inconclusive",
        why=f"{name}: {count}{could}",
        change=_fraction(change, runs),
        detectable=None if seen is None else _fraction(seen, runs),
        blind=True,
    )


@dataclass(frozen=True, kw_only=True)
class _Family:
    """Series that are judged together.

    Attributes:
        series: those of the judged run.
        terms: what they are judged by; cases that did not run are among it too.
        alpha: the probability of a false alarm that each series may have.
        clock: what they were measured by; the machine moves all timings by one clock
            together, but adds no byte and moves no loss.
    """

    series: Mapping[Key, Series]
    terms: Terms
    alpha: float
    clock: Clock | None

    @property
    def shared(self) -> bool:
        """Whether the machine moves all of them, or none."""
        return self.clock is not None

    def judge(self, again: Again) -> Iterator[Judgement]:
        """Yield the judgement on each series."""
        anchors = self._anchors
        drifted = self._compare(anchors) if anchors else None
        for key in self.series:
            judgement = self._level(key, again)
            # Drift is looked for only where the step from run to run is no finding:
            # one cause is reported once.
            if drifted and key in anchors and judgement.verdict == "pass":
                judgement = self._drift(key, drifted, again) or judgement
            yield self._explained(key, self._sighted(key, judgement))

    def shift(self, again: Again) -> Iterator[Case]:
        """Yield the verdict on the machine, if it shifted."""
        if not self.shared:
            return
        mode, limit = self._compared.common_shift, self._compared.common_limit
        limit = max(limit, self.terms.policy.default.smallest)
        if abs(mode) > limit and not self._passed_over(again, limit):
            way = "slower" if mode > 0 else "faster"
            size = units.percent(abs(math.expm1(mode)))
            by = " by processor time" if self.clock == "cpu" else ""
            why = (
                f"all {len(self.series)} timings{by} together are {size} {way} "
                f"(limit {units.percent(math.expm1(limit))}): the machine changed, or "
                "something that all cases share; each case is judged relative to the "
                "others"
            )
            contexts = [self.figures[case].context for case, _ in self.series]
            then = circumstances.of_runs(contexts)
            why = "; ".join((why, *circumstances.changes(then, self.terms.now)))
            yield Case(case=MACHINE, findings=(Finding("machine_shift", why),))

    def _passed_over(self, again: Again, limit: float) -> bool:
        """Tell whether fresh runs show that the machine was off for a moment only."""
        compared = self._compared
        shifts = []
        for case, name in self.series:
            fresh = _fresh((case, name), again, self.figures[case].series[name])
            if fresh:
                centre = compared.expectations[case, name].centre
                shifts.append(_mean(fresh) - centre)
        if len(shifts) < noise.FEWEST_SERIES:
            return False
        usual = compared.common_mode - compared.common_shift
        return abs(statistics.median(shifts) - usual) <= limit

    @property
    def figures(self) -> Mapping[str, Figures]:
        """The accepted figures, by case."""
        return self.terms.accepted.figures

    def _smallest(self, case: str) -> float:
        return self.terms.policy.of(case).smallest

    def _sighted(self, key: Key, judgement: Judgement) -> Judgement:
        """Return a judgement; no pass of a series that varies too much to be judged."""
        (case, name), seen = key, judgement.detectable
        bound = self.terms.policy.of(case).largest_detectable
        known = self.figures[case]
        # A difference of plain values that are not all positive has no such bound.
        blind = noise.is_relative(known.series[name]) and (seen or 0.0) > bound
        if judgement.verdict != "pass" or seen is None or not blind:
            return judgement
        expected = self._compared.expectations[key]
        reasons = [
            f"the {expected.runs} accepted {_unit(known, name)}s vary by "
            f"{units.percent(_ratio(expected.spread))}",
            circumstances.load(known.context, self.terms.now),
        ]
        most = noise.MOST_RUNS
        more = replace(expected, runs=most, freedom=max(expected.freedom, most - 1.0))
        better = _ratio(more.detectable(self.alpha, reach=self._compared.reach))
        if expected.runs < most and better <= bound:
            more_of = f"{most} accepted {_unit(known, name)}s"
            reasons.append(f"{more_of} could see {units.percent(better)}")
        why = (
            f"{name}: only a change of {units.percent(seen)} could be seen "
            f"(bound {units.percent(bound)}): {', '.join(filter(None, reasons))}"
        )
        return replace(judgement, verdict="inconclusive", why=why, blind=True)

    def _explained(self, key: Key, judgement: Judgement) -> Judgement:
        """Return a judgement, with what may explain that a figure moved."""
        then = self.figures[key[0]].context
        words = circumstances.changes(then, self.terms.now)
        if judgement.verdict not in {"regression", "improvement"} or not words:
            return judgement
        return replace(judgement, why=f"{judgement.why}; {'; '.join(words)}")

    @property
    def _anchors(self) -> dict[Key, noise.Runs]:
        """The anchors that drift can be measured from."""
        found = {}
        for case, name in self.series:
            figures = self.figures[case]
            runs = figures.anchor.get(name, {})
            if len(runs) >= noise.FEWEST_RUNS and runs != figures.series[name]:
                found[case, name] = runs
        return found

    @property
    def _accepted(self) -> dict[Key, noise.Runs]:
        """The accepted runs of the family, also of cases that are not judged.

        They lend their spread and show the common mode of a run, so that a part of the
        suite is judged as it would be within the whole.
        """
        found = {(c, n): self.figures[c].series[n] for c, n in self.series}
        for case, figures in self.figures.items():
            ignored = self.terms.policy.of(case).ignore
            for name, runs in figures.series.items():
                alike = clock_of(name, figures.units.get(name)) == self.clock
                timed = alike and self.shared and not ignored
                if timed and len(runs) >= noise.FEWEST_RUNS:
                    found.setdefault((case, name), runs)
        return found

    @cached_property
    def _compared(self) -> noise.RunComparison[Key]:
        spreads = {
            (case, name): spread
            for case, figures in self.figures.items()
            for name, spread in figures.spreads.items()
        }
        return self._compare(self._accepted, spreads)

    def _compare(
        self,
        accepted: Mapping[Key, noise.Runs],
        known: Mapping[Key, tuple[float, float]] | None = None,
    ) -> noise.RunComparison[Key]:
        runs = {
            key: {run: noise.scaled(x, values) for run, x in values.items()}
            for key, values in accepted.items()
        }
        values = {
            key: noise.scaled(self.series[key].value, accepted[key])
            for key in accepted
            if key in self.series
        }
        return noise.compare_run(
            runs, values, shared=self.shared, known=known, alpha=self.alpha
        )

    def _level(self, key: Key, again: Again) -> Judgement:
        """Judge a series by the newest accepted runs."""
        (case, name), series = key, self.series[key]
        compared = self._compared
        runs = self.figures[case].series[name]
        expected, change = compared.expectations[key], compared.shifts[key]
        # Two-sided at twice the level is one-sided at the level.
        suspect = worsening(series.better, change) > expected.limit(2 * noise.SCREENING)
        fresh = _fresh(key, again, runs) if suspect else []
        note = ""
        if fresh:
            # The suspicious value itself is left out: it was selected for being large.
            # The common mode stays that of the whole run; alone a case has none.
            change = _mean(fresh) - expected.centre - compared.common_mode
            word = "run" if len(fresh) == 1 else "runs"
            note = f", mean of {len(fresh)} fresh {word}"
        count = len(fresh) or 1
        size = self._smallest(case) if noise.is_relative(runs) else 0.0
        noisy = expected.limit(self.alpha, fresh=count, common=compared.common_variance)
        limit = max(noisy * compared.reach, size)
        detectable = expected.detectable(
            self.alpha, smallest=size, fresh=count, reach=compared.reach
        )
        unit = _unit(self.figures[case], name)
        return Judgement(
            case=case,
            name=name,
            verdict=_word(series, change, limit),
            why=(
                f"{name} {series} is {_change(change, runs)} {_way(series, change)} "
                f"than the {_runs(expected.runs, unit)} "
                f"(limit {_change(limit, runs)}{note})"
            ),
            change=_fraction(change, runs),
            detectable=_fraction(detectable, runs),
            suspect=suspect,
        )

    def _drift(
        self, key: Key, compared: noise.RunComparison[Key], again: Again
    ) -> Judgement | None:
        """Judge a series by its anchor; None if it has not drifted."""
        (case, name), series = key, self.series[key]
        runs = self.figures[case].anchor[name]
        if not noise.is_relative(runs):
            return None
        expected, change = compared.expectations[key], compared.shifts[key]
        size = max(DRIFT_SIZE, self._smallest(case))
        screen = max(expected.limit(2 * noise.SCREENING), size)
        if worsening(series.better, change) <= screen:
            return None
        fresh = _fresh(key, again, runs)
        if fresh:
            change = _mean(fresh) - expected.centre - compared.common_mode
        count = len(fresh) or 1
        noisy = expected.limit(self.alpha, fresh=count, common=compared.common_variance)
        limit = max(noisy * compared.reach, size)
        if worsening(series.better, change) > limit:
            verdict: Verdict = "regression"
        elif again is None:
            verdict = "pass"  # a suspect still, which fresh runs may convict
        else:
            return None
        detectable = expected.detectable(
            self.alpha, smallest=size, reach=compared.reach
        )
        return Judgement(
            case=case,
            name=name,
            verdict=verdict,
            why=(
                f"{name} {series} has drifted: it is {_change(change, runs)} "
                f"{_way(series, change)} than its anchor, the oldest accepted runs "
                f"(limit {_change(limit, runs)})"
            ),
            change=_fraction(change, runs),
            detectable=_fraction(detectable, runs),
            suspect=True,
            drifted=True,
        )


def _families(ready: Mapping[Key, Series], terms: Terms) -> list[_Family]:
    # Bonferroni: with alpha / m for each of m series, the probability that any of them
    # is a false alarm is at most alpha, however they depend on each other.
    alpha = noise.FALSE_ALARMS / max(1, len(ready))
    families = []
    clock: Clock | None
    for clock in ("wall", "cpu", None):
        series = {key: x for key, x in ready.items() if x.clock == clock}
        if series:
            families.append(
                _Family(series=series, terms=terms, alpha=alpha, clock=clock)
            )
    return families


def _fresh(key: Key, again: Again, runs: noise.Runs) -> list[float]:
    """Return the values of the fresh runs of a series, on the scale of its runs."""
    case, name = key
    series = [series_of(record).get(name) for record in (again or {}).get(case, ())]
    return [
        noise.scaled(x.value, runs) for x in series if x is not None and x.value > 0
    ]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _word(series: Series, change: float, limit: float) -> Verdict:
    worse = worsening(series.better, change)
    if worse > limit:
        return "regression"
    if series.better is not None and -worse > limit:
        return "improvement"
    return "pass"


def _way(series: Series, change: float) -> str:
    if series.unit == "s":
        return "slower" if change > 0 else "faster"
    return "more" if change > 0 else "less"


def _fraction(change: float, runs: noise.Runs) -> float:
    """Return a change as a fraction, if the series is compared as ratios."""
    return _ratio(change) if noise.is_relative(runs) else change


def _unit(figures: Figures, name: str) -> str:
    """Return what the accepted values of a series are one of each."""
    return "machine" if name in figures.borrowed else "run"


def _runs(count: int, unit: str) -> str:
    return f"accepted {unit}" if count == 1 else f"{count} accepted {unit}s"


def _ratio(change: float) -> float:
    """Return a difference of logarithms as a fraction."""
    # Capped at e**50, so that an absurd change is still a finite number in JSON.
    return math.expm1(min(change, 50.0))


def _change(change: float, runs: noise.Runs) -> str:
    size = abs(_fraction(change, runs))
    return units.percent(size) if noise.is_relative(runs) else units.figure(size, "")
