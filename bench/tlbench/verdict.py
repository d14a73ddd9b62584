"""The verdict on every figure of a run, with the sentence that explains it.

Pure functions on records and accepted baselines; the statistics are in `noise`. Exact
values and costs are compared for equality; timings, memory and other values by the
limits of their accepted runs; proportions by their seeds. Nothing that is missing,
failed or not comparable reads as a pass.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, TypeAlias, get_args

from tlbench import noise
from tlbench.record import Better, CaseRecord, Exact, Metric, Outcome

Verdict: TypeAlias = Literal[
    "regression",
    "missing",
    "not_comparable",
    "inconclusive",
    "machine_shift",
    "improvement",
    "pass",
]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
"""The gravest first."""

DRIFT_SIZE = 0.02
"""What a series must have moved since its anchor, in small steps, to be a finding."""

MACHINE = "(machine)"
"""Stands in the place of a case where a verdict is on the machine."""

_FAILED: Mapping[Outcome, str] = {
    "failed": "the case failed",
    "skipped": "the case was skipped",
    "xfailed": "the case failed, as its xfail mark expects",
}

Costs: TypeAlias = Mapping[str, Mapping[str, Exact]]
"""The accepted costs of a case, by the versions of the frameworks."""


@dataclass(frozen=True, kw_only=True)
class Figures:
    """The accepted figures of one case on one machine.

    Attributes:
        version: of the case.
        series: by name, the value in each accepted run, in natural units.
        metrics: by name, the proportions of the accepted runs: the seed, or the run
            where there is none, the value and the samples.
        anchor: as `series`, of the oldest runs accepted at this level.
        units: by name, "s" or "bytes" of those series that have one.
    """

    version: str
    series: Mapping[str, noise.Runs] = field(default_factory=dict)
    metrics: Mapping[str, Sequence[tuple[object, float, int]]] = field(
        default_factory=dict
    )
    anchor: Mapping[str, noise.Runs] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """Every name there is a figure for."""
        return (*self.series, *self.metrics)


@dataclass(frozen=True, kw_only=True)
class Accepted:
    """All that a run is compared with.

    Attributes:
        exact: by case, the accepted exact values.
        costs: by case, the accepted costs.
        figures: by case, the accepted figures of this machine.
        versions: of the installed frameworks, as costs are accepted under.
        elsewhere: how the nearest machine with figures differs, where this one has
            none.
    """

    exact: Mapping[str, Mapping[str, Exact]] = field(default_factory=dict)
    costs: Mapping[str, Costs] = field(default_factory=dict)
    figures: Mapping[str, Figures] = field(default_factory=dict)
    versions: str = "no framework"
    elsewhere: tuple[str, ...] = ()

    @property
    def cases(self) -> set[str]:
        """Every case that has a baseline."""
        return {*self.exact, *self.costs, *self.figures}


@dataclass(frozen=True)
class Finding:
    """One reason why a case does not pass."""

    verdict: Verdict
    why: str

    def __str__(self) -> str:
        return f"{self.verdict}: {self.why}"


@dataclass(frozen=True, kw_only=True)
class Series:
    """One figure of one case in one run.

    Attributes:
        value: in natural units.
        unit: "s", "bytes" or nothing.
        better: which change is an improvement; None where none is.
        shared: whether a slower machine moves it too.
    """

    value: float
    unit: str = ""
    better: Better | None = "lower"
    shared: bool = False


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What became of one series.

    Attributes:
        case: whose it is.
        name: of the series.
        verdict: on it.
        why: the sentence.
        change: against the accepted runs, as a fraction or as a difference; None
            where there is nothing to compare with.
        detectable: the smallest change that would have been seen; None likewise.
        suspect: whether it should be run again before it is judged.
    """

    case: str
    name: str
    verdict: Verdict
    why: str
    change: float | None = None
    detectable: float | None = None
    suspect: bool = False


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The names of a case's exact values, by how they compare with accepted ones."""

    equal: tuple[str, ...]
    differing: tuple[str, ...]
    new: tuple[str, ...]  # recorded, without a baseline
    lost: tuple[str, ...]  # in the baseline, not recorded


@dataclass(frozen=True, kw_only=True)
class Case:
    """The verdict on one case.

    Attributes:
        case: which.
        findings: why it does not pass, if it does not; improvements too.
        judgements: of its series, by name.
        comparison: of its exact values and costs.
        record: what it left; None if it left nothing.
    """

    case: str
    findings: tuple[Finding, ...]
    judgements: tuple[Judgement, ...] = ()
    comparison: Comparison | None = None
    record: CaseRecord | None = None

    @property
    def verdict(self) -> Verdict:
        """The gravest verdict of the findings; without any it is `pass`."""
        return gravest(finding.verdict for finding in self.findings)


def gravest(verdicts: Iterable[Verdict]) -> Verdict:
    """Return the gravest of some verdicts; of none it is `pass`."""
    return min(verdicts, key=VERDICTS.index, default="pass")


def is_finding(verdict: Verdict) -> bool:
    """Tell whether a verdict makes a gated session fail."""
    return verdict not in {"pass", "improvement"}


def compare(
    exact: Mapping[str, Exact], accepted: Mapping[str, Exact] | None
) -> Comparison:
    """Compare exact values with accepted ones: equal means the same type and value."""
    known = accepted or {}
    shared = [name for name in exact if name in known]
    return Comparison(
        equal=tuple(name for name in shared if _same(exact[name], known[name])),
        differing=tuple(name for name in shared if not _same(exact[name], known[name])),
        new=tuple(name for name in exact if name not in known),
        lost=tuple(name for name in known if name not in exact),
    )


def differences(
    exact: Mapping[str, Exact], accepted: Mapping[str, Exact] | None
) -> tuple[str, ...]:
    """Say, value by value, which values differ from the accepted ones."""
    return tuple(
        f"{name}: expected {(accepted or {})[name]!r}, received {exact[name]!r}"
        for name in compare(exact, accepted).differing
    )


def series_of(record: CaseRecord) -> dict[str, Series]:
    """Return the series of a record: its timings, memory and plain values."""
    found = {
        name: Series(value=timing.median, unit="s", shared=True)
        for name, timing in record.timings.items()
    }
    found |= {
        name: Series(value=float(nbytes), unit="bytes")
        for name, nbytes in record.memory.items()
    }
    for name, entries in record.metrics.items():
        if any(entry.correct is None for entry in entries):
            value = sum(entry.value for entry in entries) / len(entries)
            found[name] = Series(value=value, better=entries[0].better)
    return found


def proportions_of(record: CaseRecord) -> dict[str, tuple[Metric, ...]]:
    """Return the metrics of a record that are proportions."""
    return {
        name: entries
        for name, entries in record.metrics.items()
        if all(entry.correct is not None for entry in entries)
    }


def judge(
    records: Mapping[str, CaseRecord],
    accepted: Accepted,
    again: Mapping[str, Sequence[CaseRecord]] | None = None,
) -> tuple[Case, ...]:
    """Judge what the cases of a run left.

    Args:
        records: by case, what it left.
        accepted: what to compare with.
        again: by case, what fresh runs left of the cases whose series were suspects;
            None where nothing is run again.

    Returns:
        The cases, sorted; after them the machine, if it shifted.
    """
    found = {
        case: list(_structural(record, accepted)) for case, record in records.items()
    }
    timed = {
        case: record
        for case, record in records.items()
        if record.outcome == "passed"
        and not any(f.verdict == "regression" for f in found[case])
    }
    judgements, shift = _judge_series(timed, accepted, again)
    judgements += _judge_proportions(timed, accepted)
    by_case: dict[str, list[Judgement]] = {}
    for judgement in judgements:
        by_case.setdefault(judgement.case, []).append(judgement)
    cases = [
        Case(
            case=case,
            findings=(*found[case], *_findings(by_case.get(case, ()))),
            judgements=tuple(by_case.get(case, ())),
            comparison=_whole_comparison(record, accepted),
            record=record,
        )
        for case, record in sorted(records.items())
    ]
    return (*cases, *shift)


def suspects(cases: Iterable[Case]) -> tuple[str, ...]:
    """Return the cases to run again in fresh processes before they are judged."""
    return tuple(case.case for case in cases if any(x.suspect for x in case.judgements))


def absent(case: str, why: str) -> Case:
    """Return the verdict on a case with a baseline that left no record."""
    return Case(case=case, findings=(Finding("missing", why),))


def to_json(case: Case) -> dict[str, Any]:
    """Give the JSON form of a verdict, without the record it is on."""
    return {
        "findings": [[finding.verdict, finding.why] for finding in case.findings],
        "judgements": [
            {key: value for key, value in vars(x).items() if key not in _LEFT_OUT}
            for x in case.judgements
        ],
        "comparison": case.comparison and vars(case.comparison),
    }


def from_json(case: str, data: Mapping[str, Any], record: CaseRecord | None) -> Case:
    """Read a verdict from its JSON form.

    Raises:
        KeyError, TypeError, ValueError: the data do not have that form.
    """
    comparison = data["comparison"]
    return Case(
        case=case,
        findings=tuple(Finding(_verdict(word), why) for word, why in data["findings"]),
        judgements=tuple(
            Judgement(case=case, **{**x, "verdict": _verdict(x["verdict"])})
            for x in data["judgements"]
        ),
        comparison=comparison
        and Comparison(**{k: tuple(v) for k, v in comparison.items()}),
        record=record,
    )


_LEFT_OUT = {"case", "suspect"}


def _verdict(word: Any) -> Verdict:
    if word not in VERDICTS:
        raise ValueError(f"{word!r} is no verdict")
    return VERDICTS[VERDICTS.index(word)]


def _structural(record: CaseRecord, accepted: Accepted) -> Iterator[Finding]:
    """Yield what is wrong with a record but for the noise of its figures."""
    exact = accepted.exact.get(record.case)
    for sentence in differences(record.exact, exact):
        yield Finding("regression", sentence)
    costs = accepted.costs.get(record.case, {})
    known = costs.get(accepted.versions)
    for sentence in differences(record.costs, known):
        yield Finding("regression", sentence)
    if record.outcome in _FAILED:
        yield Finding("missing", _FAILED[record.outcome])
        return
    names = compare(record.exact, exact)
    has_baseline = record.case in accepted.cases
    if not record.names and not has_baseline:
        yield Finding("missing", "nothing was recorded")
    if exact is None and (record.exact or record.costs):
        yield Finding("missing", "no baseline for this case")
    elif names.new:
        yield Finding("missing", f"no baseline for {', '.join(names.new)}")
    if exact is not None and record.costs:
        yield from _unknown_costs(record, costs, accepted)
    lost = [*names.lost, *_lost_costs(record, costs, known)]
    lost += _lost_figures(record, accepted)
    if lost:
        yield Finding("missing", f"not recorded: {', '.join(lost)}")


def _unknown_costs(
    record: CaseRecord, costs: Costs, accepted: Accepted
) -> Iterator[Finding]:
    """Yield what cannot be said of costs, for want of a baseline for their versions."""
    known = costs.get(accepted.versions)
    new = compare(record.costs, known).new
    if known is None and costs:
        yield Finding("not_comparable", _other_versions(record, costs, accepted))
    elif new:
        yield Finding("missing", f"no baseline for {', '.join(new)}")


def _lost_costs(
    record: CaseRecord, costs: Costs, known: Mapping[str, Exact] | None
) -> tuple[str, ...]:
    if known is not None:
        return compare(record.costs, known).lost
    return () if record.costs else tuple(sorted({n for c in costs.values() for n in c}))


def _lost_figures(record: CaseRecord, accepted: Accepted) -> list[str]:
    figures = accepted.figures.get(record.case)
    if figures is None or figures.version != record.version:
        return []
    have = {*series_of(record), *proportions_of(record)}
    return [name for name in figures.names if name not in have]


def _other_versions(record: CaseRecord, costs: Costs, accepted: Accepted) -> str:
    versions, before = max(costs.items())
    changes = [
        f"{name} {before[name]!r} -> {record.costs[name]!r}"
        for name in compare(record.costs, before).differing
    ]
    said = "; ".join(changes) if changes else "the costs are the same"
    return f"costs were accepted for {versions}, not {accepted.versions} ({said})"


def _whole_comparison(record: CaseRecord, accepted: Accepted) -> Comparison:
    """Compare exact values and costs alike, for the summary."""
    costs = accepted.costs.get(record.case, {}).get(accepted.versions, {})
    known = {**accepted.exact.get(record.case, {}), **costs}
    return compare({**record.exact, **record.costs}, known)


def _judge_series(
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
    refused = _no_figures(record, accepted)
    if refused is not None:
        return Judgement(case=case, name=name, verdict=refused[0], why=refused[1])
    runs = accepted.figures[case].series.get(name)
    if not runs:
        why = f"no baseline for {name} on this machine"
        return Judgement(case=case, name=name, verdict="missing", why=why)
    if len(runs) < noise.FEWEST_RUNS:
        return _too_few(case, name, series, runs)
    return None


def _no_figures(record: CaseRecord, accepted: Accepted) -> tuple[Verdict, str] | None:
    figures = accepted.figures.get(record.case)
    if figures is None and not accepted.figures and accepted.elsewhere:
        told = "; ".join(accepted.elsewhere)
        return "not_comparable", f"the baseline is of another machine: {told}"
    if figures is None:
        return "missing", "no baseline for this machine"
    if figures.version != record.version:
        return "not_comparable", "the case changed since its figures were accepted"
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
        night = self._tonight
        anchors = {
            key: runs
            for key in self.series
            if len(runs := self.figures[key[0]].anchor.get(key[1], {}))
            >= noise.FEWEST_RUNS
            and runs != self.figures[key[0]].series[key[1]]
        }
        drifted = self._night(anchors) if anchors else None
        for key in self.series:
            judgement = self._one(key, night, again)
            if drifted and key in anchors and judgement.verdict == "pass":
                judgement = self._drift(key, drifted, again) or judgement
            yield judgement

    def shift(self) -> Iterator[Case]:
        """Yield the verdict on the machine, if it shifted."""
        if not self.shared:
            return
        night = self._tonight
        mode, limit = night.common_mode, night.common_limit
        if abs(mode) > max(limit, noise.PRACTICAL_SIZE):
            way = "slower" if mode > 0 else "faster"
            told = _percent(abs(math.expm1(mode)))
            why = (
                f"{len(self.series)} timings are {told} {way} alike "
                f"(limit {_percent(math.expm1(limit))}): the machine changed, or what "
                "all cases share; each case is judged beside the others"
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
    def _tonight(self) -> noise.Night:
        return self._night(self._accepted)

    def _night(self, accepted: Mapping[tuple[str, str], noise.Runs]) -> noise.Night:
        runs = {
            _key(key): {run: noise.scaled(x, values) for run, x in values.items()}
            for key, values in accepted.items()
        }
        values = {
            _key(key): noise.scaled(self.series[key].value, accepted[key])
            for key in accepted
            if key in self.series
        }
        return noise.night(runs, values, shared=self.shared)

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
        night: noise.Night,
        again: Mapping[str, Sequence[CaseRecord]] | None,
    ) -> Judgement:
        (case, name), series = key, self.series[key]
        runs = self.figures[case].series[name]
        expected, shift = night.expectations[_key(key)], night.shifts[_key(key)]
        worse = _worse(series.better, shift)
        suspect = worse > expected.limit(2 * noise.SCREENING)
        size = noise.PRACTICAL_SIZE if noise.is_relative(runs) else 0.0
        fresh = self._fresh(key, again, runs) if suspect else []
        change, seen_again = shift, ""
        if fresh:
            mean = sum(fresh) / len(fresh)
            change = mean - expected.centre - night.common_mode
            worse = _worse(series.better, change)
            word = "run" if len(fresh) == 1 else "runs"
            seen_again = f", mean of {len(fresh)} fresh {word}"
        count = len(fresh) or 1
        common = night.common_variance
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
            f"{name} {_value(series)} is {told} {way} than the "
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
        night: noise.Night,
        again: Mapping[str, Sequence[CaseRecord]] | None,
    ) -> Judgement | None:
        (case, name), series = key, self.series[key]
        runs = self.figures[case].anchor[name]
        if not noise.is_relative(runs):
            return None
        expected, change = night.expectations[_key(key)], night.shifts[_key(key)]
        suspect = _worse(series.better, change) > max(
            expected.limit(2 * noise.SCREENING), DRIFT_SIZE
        )
        fresh = self._fresh(key, again, runs) if suspect else []
        if fresh:
            change = sum(fresh) / len(fresh) - expected.centre - night.common_mode
        count = len(fresh) or 1
        common = night.common_variance
        limit = expected.limit(self.alpha, fresh=count, common=common)
        if suspect and _worse(series.better, change) > max(limit, DRIFT_SIZE):
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
                f"{name} {_value(series)} has drifted: it is {_change(change, runs)} "
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


def _judge_proportions(
    records: Mapping[str, CaseRecord], accepted: Accepted
) -> list[Judgement]:
    found = [
        (record, name, entries)
        for record in records.values()
        for name, entries in proportions_of(record).items()
    ]
    alpha = noise.FALSE_ALARMS / max(1, len(found))
    return [_proportion(*entry, accepted, alpha) for entry in found]


def _proportion(
    record: CaseRecord,
    name: str,
    entries: Sequence[Metric],
    accepted: Accepted,
    alpha: float,
) -> Judgement:
    """Judge a proportion: by its seeds, and by its samples where they are others."""
    case = record.case
    refused = _no_figures(record, accepted)
    if refused is not None:
        return Judgement(case=case, name=name, verdict=refused[0], why=refused[1])
    known = accepted.figures[case].metrics.get(name, ())
    if not known:
        why = f"no baseline for {name} on this machine"
        return Judgement(case=case, name=name, verdict="missing", why=why)
    expected, samples = noise.seeds(
        known,
        [(entry.value, entry.n or 1) for entry in entries],
    )
    mean = sum(entry.value for entry in entries) / len(entries)
    change = mean - expected.centre
    if expected.runs < noise.FEWEST_RUNS:
        why = f"{name}: {expected.runs} of {noise.FEWEST_RUNS} accepted seeds"
        return Judgement(
            case=case, name=name, verdict="inconclusive", why=why, change=change
        )
    fresh = len(entries)
    width = noise.quantile(1 - alpha / 2, expected.freedom)
    error = math.sqrt(expected.error(fresh) ** 2 + samples)
    limit = width * error
    worse = _worse(entries[0].better, change)
    verdict: Verdict = "pass"
    if worse > limit:
        verdict = "regression"
    elif -worse > limit:
        verdict = "improvement"
    count = "1 seed" if fresh == 1 else f"{fresh} seeds"
    way = "below" if change < 0 else "above"
    why = (
        f"{name} {mean:.2%} of {count} is {_points(abs(change))} {way} the "
        f"{expected.runs} accepted seeds (limit {_points(limit)})"
    )
    return Judgement(
        case=case,
        name=name,
        verdict=verdict,
        why=why,
        change=change,
        detectable=limit + noise.quantile(noise.POWER, math.inf) * error,
    )


def _findings(judgements: Iterable[Judgement]) -> Iterator[Finding]:
    """Yield what judgements say beside `pass`, the same sentence once."""
    said = dict.fromkeys(
        Finding(x.verdict, x.why) for x in judgements if x.verdict != "pass"
    )
    yield from said


def _key(key: tuple[str, str]) -> str:
    return "\n".join(key)


def _worse(better: Better | None, change: float) -> float:
    """Return a change with its sign turned so that positive is worse."""
    if better is None:
        return abs(change)
    return -change if better == "higher" else change


def _way(series: Series, change: float) -> str:
    if series.unit == "s":
        return "slower" if change > 0 else "faster"
    return "more" if change > 0 else "less"


def _value(series: Series) -> str:
    sizes = {"bytes": (("MB", 1e6),), "s": (("s", 1.0), ("ms", 1e-3), ("us", 1e-6))}
    for unit, size in sizes.get(series.unit, ()):
        if series.value >= size or unit in {"MB", "us"}:
            return f"{series.value / size:.4g} {unit}"
    return f"{series.value:.4g}"


def _fraction(change: float, runs: noise.Runs) -> float:
    """Return a change as a fraction, if the series is compared as ratios."""
    return math.expm1(min(change, 50.0)) if noise.is_relative(runs) else change


def _change(change: float, runs: noise.Runs) -> str:
    size = abs(_fraction(change, runs))
    return _percent(size) if noise.is_relative(runs) else f"{size:.4g}"


def _percent(fraction: float) -> str:
    return f"{fraction:.1%}" if fraction < 10 else f"{fraction:.0%}"


def _points(fraction: float) -> str:
    return f"{100 * fraction:.2f} points"


def _same(left: Exact, right: Exact) -> bool:
    if isinstance(left, tuple) and isinstance(right, tuple):
        return len(left) == len(right) and all(map(_same, left, right))
    # True == 1 == 1.0 in Python, but a count that became a flag is a change.
    return type(left) is type(right) and left == right
