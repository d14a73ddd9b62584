"""Series: timings, memory and plain values, judged by their accepted runs.

Owns which series are judged together, the limits of each, drift since the anchor and
the shift of the machine. The statistics are in `noise`.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from tlbench import units
from tlbench.record import CaseRecord
from tlbench.verdicts import noise
from tlbench.verdicts.figures import (
    Accepted,
    Figures,
    Series,
    no_figures,
    series_of,
    worsening,
)
from tlbench.verdicts.verdict import MACHINE, Case, Finding, Judgement, Verdict

DRIFT_SIZE = 0.02
"""What a series must have moved since its anchor, in small steps, to be a finding."""


def judge_series(
    records: Mapping[str, CaseRecord],
    accepted: Accepted,
    again: Mapping[str, Sequence[CaseRecord]] | None,
) -> tuple[list[Judgement], list[Case]]:
    """Judge timings, memory and plain values; return the machine's shift beside."""
    judged: list[Judgement] = []
    ready: dict[tuple[str, str], Series] = {}
    for case, record in records.items():
        for name, series in series_of(record).items():
            refused = _unjudged(record, name, series, accepted)
            if refused is None:
                ready[case, name] = series
            else:
                judged.append(refused)
    families = _families(ready, accepted)
    shift: list[Case] = []
    for family in families:
        judged += family.judge(again)
        shift += family.shift()
    return judged, shift


def _unjudged(
    record: CaseRecord, name: str, series: Series, accepted: Accepted
) -> Judgement | None:
    """Say why a series cannot be judged, None if it can."""
    case = record.case
    if series.unit and series.value <= 0:
        why = f"{name} is 0 {series.unit}: there was nothing to measure"
        return Judgement(case=case, name=name, verdict="missing", why=why)
    refused = no_figures(record, accepted)
    if refused is not None:
        return Judgement(case=case, name=name, verdict=refused[0], why=refused[1])
    runs = accepted.figures[case].series.get(name)
    if not runs:
        why = f"no baseline for {name} on this machine"
        return Judgement(case=case, name=name, verdict="missing", why=why)
    if len(runs) < noise.FEWEST_RUNS:
        return _too_few(case, name, series, runs)
    return None


def _too_few(case: str, name: str, series: Series, runs: noise.Runs) -> Judgement:
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
        seen = expected.detectable(noise.FALSE_ALARMS, smallest=noise.PRACTICAL_SIZE)
    count = f"{len(runs)} of {noise.FEWEST_RUNS} accepted runs"
    could = f"; a change of {_change(seen, runs)} could be seen" if seen else ""
    return Judgement(
        case=case,
        name=name,
        verdict="inconclusive",
        why=f"{name}: {count}{could}",
        change=_fraction(change, runs),
        detectable=None if seen is None else _fraction(seen, runs),
    )


@dataclass(frozen=True, kw_only=True)
class _Family:
    """Series that are judged together; the machine moves all or none of them."""

    series: Mapping[tuple[str, str], Series]
    figures: Mapping[str, Figures]
    alpha: float
    shared: bool

    def judge(
        self, again: Mapping[str, Sequence[CaseRecord]] | None
    ) -> Iterator[Judgement]:
        compared = self._compared
        anchors = {
            key: runs
            for key in self.series
            if len(runs := self.figures[key[0]].anchor.get(key[1], {}))
            >= noise.FEWEST_RUNS
            and runs != self.figures[key[0]].series[key[1]]
        }
        drifted = self._compare(anchors) if anchors else None
        for key in self.series:
            judgement = self._one(key, compared, again)
            if drifted and key in anchors and judgement.verdict == "pass":
                judgement = self._drift(key, drifted, again) or judgement
            yield judgement

    def shift(self) -> Iterator[Case]:
        """Yield the verdict on the machine, if it shifted."""
        if not self.shared:
            return
        compared = self._compared
        mode, limit = compared.common_mode, compared.common_limit
        if abs(mode) > max(limit, noise.PRACTICAL_SIZE):
            way = "slower" if mode > 0 else "faster"
            told = units.percent(abs(math.expm1(mode)))
            why = (
                f"{len(self.series)} timings are {told} {way} alike "
                f"(limit {units.percent(math.expm1(limit))}): the machine changed, or "
                "what all cases share; each case is judged relative to the others"
            )
            yield Case(case=MACHINE, findings=(Finding("machine_shift", why),))

    @property
    def _accepted(self) -> dict[tuple[str, str], noise.Runs]:
        """The accepted runs of the family, of cases that are not judged too.

        They lend their spread and tell the common mode of a run, whichever part of
        the suite is judged.
        """
        found = {(c, n): self.figures[c].series[n] for c, n in self.series}
        for case, figures in self.figures.items():
            for name, runs in figures.series.items():
                timed = figures.units.get(name) == "s"
                if timed and self.shared and len(runs) >= noise.FEWEST_RUNS:
                    found.setdefault((case, name), runs)
        return found

    @cached_property
    def _compared(self) -> noise.RunComparison:
        return self._compare(self._accepted)

    def _compare(
        self, accepted: Mapping[tuple[str, str], noise.Runs]
    ) -> noise.RunComparison:
        runs = {
            _key(key): {run: noise.scaled(x, values) for run, x in values.items()}
            for key, values in accepted.items()
        }
        values = {
            _key(key): noise.scaled(self.series[key].value, accepted[key])
            for key in accepted
            if key in self.series
        }
        return noise.compare_run(runs, values, shared=self.shared)

    def _fresh(
        self,
        key: tuple[str, str],
        again: Mapping[str, Sequence[CaseRecord]] | None,
        runs: noise.Runs,
    ) -> list[float]:
        """Return the values of the fresh runs of a series."""
        left = (again or {}).get(key[0], ())
        series = [series_of(record).get(key[1]) for record in left]
        return [
            noise.scaled(x.value, runs) for x in series if x is not None and x.value > 0
        ]

    def _one(
        self,
        key: tuple[str, str],
        compared: noise.RunComparison,
        again: Mapping[str, Sequence[CaseRecord]] | None,
    ) -> Judgement:
        (case, name), series = key, self.series[key]
        runs = self.figures[case].series[name]
        expected, shift = compared.expectations[_key(key)], compared.shifts[_key(key)]
        worse = worsening(series.better, shift)
        suspect = worse > expected.limit(2 * noise.SCREENING)
        size = noise.PRACTICAL_SIZE if noise.is_relative(runs) else 0.0
        fresh = self._fresh(key, again, runs) if suspect else []
        change, seen_again = shift, ""
        if fresh:
            mean = sum(fresh) / len(fresh)
            change = mean - expected.centre - compared.common_mode
            worse = worsening(series.better, change)
            word = "run" if len(fresh) == 1 else "runs"
            seen_again = f", mean of {len(fresh)} fresh {word}"
        count = len(fresh) or 1
        common = compared.common_variance
        limit = max(expected.limit(self.alpha, fresh=count, common=common), size)
        detectable = expected.detectable(self.alpha, smallest=size, fresh=count)
        verdict: Verdict = "pass"
        if worse > limit:
            verdict = "regression"
        elif series.better is not None and -worse > limit:
            verdict = "improvement"
        told = _change(change, runs)
        way = _way(series, change)
        why = (
            f"{name} {series} is {told} {way} than the "
            f"{expected.runs} accepted runs (limit {_change(limit, runs)}{seen_again})"
        )
        return Judgement(
            case=case,
            name=name,
            verdict=verdict,
            why=why,
            change=_fraction(change, runs),
            detectable=_fraction(detectable, runs),
            suspect=suspect,
        )

    def _drift(
        self,
        key: tuple[str, str],
        compared: noise.RunComparison,
        again: Mapping[str, Sequence[CaseRecord]] | None,
    ) -> Judgement | None:
        (case, name), series = key, self.series[key]
        runs = self.figures[case].anchor[name]
        if not noise.is_relative(runs):
            return None
        expected, change = compared.expectations[_key(key)], compared.shifts[_key(key)]
        suspect = worsening(series.better, change) > max(
            expected.limit(2 * noise.SCREENING), DRIFT_SIZE
        )
        fresh = self._fresh(key, again, runs) if suspect else []
        if fresh:
            change = sum(fresh) / len(fresh) - expected.centre - compared.common_mode
        count = len(fresh) or 1
        common = compared.common_variance
        limit = expected.limit(self.alpha, fresh=count, common=common)
        if suspect and worsening(series.better, change) > max(limit, DRIFT_SIZE):
            verdict: Verdict = "regression"
        elif suspect and again is None:
            verdict = "pass"
        else:
            return None
        way = _way(series, change)
        return Judgement(
            case=case,
            name=name,
            verdict=verdict,
            why=(
                f"{name} {series} has drifted: it is {_change(change, runs)} "
                f"{way} than its anchor, the oldest accepted runs (limit "
                f"{_change(max(limit, DRIFT_SIZE), runs)})"
            ),
            change=_fraction(change, runs),
            detectable=_fraction(
                expected.detectable(self.alpha, smallest=DRIFT_SIZE), runs
            ),
            suspect=True,
        )


def _families(
    ready: Mapping[tuple[str, str], Series], accepted: Accepted
) -> list[_Family]:
    alpha = noise.FALSE_ALARMS / max(1, len(ready))
    families = []
    for shared in (True, False):
        series = {key: x for key, x in ready.items() if x.shared is shared}
        if series:
            families.append(
                _Family(
                    series=series, figures=accepted.figures, alpha=alpha, shared=shared
                )
            )
    return families


def _key(key: tuple[str, str]) -> str:
    return "\n".join(key)


def _way(series: Series, change: float) -> str:
    if series.unit == "s":
        return "slower" if change > 0 else "faster"
    return "more" if change > 0 else "less"


def _fraction(change: float, runs: noise.Runs) -> float:
    """Return a change as a fraction, if the series is compared as ratios."""
    return math.expm1(min(change, 50.0)) if noise.is_relative(runs) else change


def _change(change: float, runs: noise.Runs) -> str:
    size = abs(_fraction(change, runs))
    return units.percent(size) if noise.is_relative(runs) else f"{size:.4g}"
