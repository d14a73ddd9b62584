"""Judging of pairs: the verdict on each case that two sides were measured on in turn.

Owns which clock a case is judged by, when it is decided, and the sentences. Pure
functions on what `pairs` measured; the statistics are in `verdicts.ratios`.
"""

import math
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from tlbench import units
from tlbench.clocks import Clock, judged_by
from tlbench.pairing.pairs import NAMES, Measured
from tlbench.record import CaseRecord, Exact
from tlbench.verdicts.exact import compare
from tlbench.verdicts.figures import (
    Accepted,
    Figures,
    Series,
    judged_series,
    proportions_of,
    series_of,
    worsening,
)
from tlbench.verdicts.limits import DEFAULT, ClockChoice, Limits, Policy
from tlbench.verdicts.proportions import judge_proportions
from tlbench.verdicts.ratios import CONVICTING, Estimate, estimates
from tlbench.verdicts.verdict import Finding, Verdict, gravest


@dataclass(frozen=True, kw_only=True)
class Change:
    """One figure of one case on both sides.

    Attributes:
        name: "cpu", "wall", or the name it was recorded under.
        unit: "s", "bytes" or "".
        base: the median over the pairs.
        head: likewise.
        estimate: what the pairs say; None if they say nothing.
        judged: whether the case is judged by it; else it only explains.
    """

    name: str
    unit: str
    base: float
    head: float
    estimate: Estimate | None
    judged: bool


@dataclass(frozen=True, kw_only=True)
class Row:
    """The verdict on one case.

    Attributes:
        case: its node id.
        findings: why it does not pass, if it does not; improvements too.
        changes: its figures.
        equal: the names of the exact values and costs that are equal on both sides.
        differing: those that differ.
        pairs: how many pairs it was measured in.
        device: whether a device could do its work on both sides.
        ignored: whether it was timed and the timings were not judged.
    """

    case: str
    findings: tuple[Finding, ...] = ()
    changes: tuple[Change, ...] = ()
    equal: tuple[str, ...] = ()
    differing: tuple[str, ...] = ()
    pairs: int = 0
    device: bool = False
    ignored: bool = False

    @property
    def verdict(self) -> Verdict:
        """The gravest verdict of the findings; without any it is `pass`."""
        return gravest(finding.verdict for finding in self.findings)

    @property
    def is_finding(self) -> bool:
        """Whether the comparison fails because of it."""
        return any(finding.fails for finding in self.findings)

    @property
    def equality(self) -> str:
        """How equal the base and the head are known to be, in words."""
        known = [one.estimate for one in self.changes if one.judged and one.estimate]
        far = max((one.excluded for one in known), default=0.0)
        return f"equal to it within {far:.1%} in {self.pairs} pairs"


_Key = tuple[str, str]


@dataclass
class Judge:
    """What has been measured, and which cases are decided.

    A case that is decided stays so: later pairs are for the others.

    Attributes:
        policy: the limits of each case.
        measured: by case, what its pairs measured.
        decided: by case that needs no more pairs, its figures.
    """

    policy: Policy = DEFAULT
    measured: dict[str, list[Measured]] = field(default_factory=dict)
    decided: dict[str, tuple[Change, ...]] = field(default_factory=dict)

    def add(self, one: Measured) -> None:
        """Take what a pair measured."""
        self.measured.setdefault(one.case, []).append(one)
        # Exact values are known after one pair; only figures need more.
        limits = self.policy.of(one.case)
        if one.passed and not any(x.judged for x in _paired([one], limits)):
            self.decided.setdefault(one.case, ())

    def look(self) -> None:
        """Decide what can be decided now."""
        for case, changes in self._changes().items():
            if all(_decision(one) != "undecided" for one in changes if one.judged):
                self.decided.setdefault(case, changes)

    def open_cases(self, cases: Iterable[str]) -> list[str]:
        """Return the cases that need more pairs."""
        return [
            case
            for case in cases
            if case not in self.decided
            and all(one.passed for one in self.measured.get(case, ()))
        ]

    def rows(self) -> list[Row]:
        """Return the verdicts, as far as the measurements go."""
        decided = {case: one for case, one in self.decided.items() if one}
        changes = {**self._changes(), **decided}
        return [
            _row(case, pairs, changes.get(case, ()), self.policy.of(case))
            for case, pairs in self.measured.items()
        ]

    def _changes(self) -> dict[str, tuple[Change, ...]]:
        """Return the figures of each case, all of them sharing one error budget."""
        series: dict[_Key, _Paired] = {}
        for case, pairs in self.measured.items():
            if all(one.passed for one in pairs):
                limits = self.policy.of(case)
                series |= {(case, one.name): one for one in _paired(pairs, limits)}
        judged = {
            key: one.ratios for key, one in series.items() if one.judged and one.ratios
        }
        others = {
            key: one.ratios
            for key, one in series.items()
            if not one.judged and one.ratios
        }
        sizes = {key: self.policy.of(key[0]).smallest for key in series}
        known = {
            **estimates(judged, smallest=sizes),
            **estimates(others, smallest=sizes),
        }
        found: dict[str, list[Change]] = {}
        for key, one in series.items():
            change = Change(
                name=one.name,
                unit=one.unit,
                base=one.base,
                head=one.head,
                estimate=known.get(key),
                judged=one.judged,
            )
            found.setdefault(key[0], []).append(change)
        return {case: tuple(changes) for case, changes in found.items()}


@dataclass(frozen=True, kw_only=True)
class _Paired:
    """One series over the pairs of a case."""

    name: str
    unit: str
    base: float
    head: float
    ratios: tuple[float, ...]
    judged: bool


def clocks(
    pairs: Sequence[Measured], choice: ClockChoice = "auto"
) -> tuple[Clock, ...]:
    """Return the clocks that a case is judged by: the choice, if one was made."""
    if choice != "auto":
        return (choice,)
    spans = [
        block.span
        for one in pairs
        for turn in one.turns
        for block in (turn.base, turn.head)
    ]
    device = any(x.device for one in pairs for x in (one.base, one.head))
    return judged_by(spans, device=device)


def _paired(pairs: Sequence[Measured], limits: Limits) -> Iterator[_Paired]:
    timed = [one for one in pairs if one.turns]
    if timed:
        judged = () if limits.ignore else clocks(timed, limits.clock)
        for clock in ("cpu", "wall"):
            ratios = [one.ratio(clock) for one in timed]
            base, head = (
                statistics.median(one.seconds(side, clock) for one in timed)
                for side in NAMES
            )
            yield _Paired(
                name=clock,
                unit="s",
                base=base,
                head=head,
                ratios=tuple(ratio for ratio in ratios if ratio is not None),
                judged=clock in judged,
            )
    yield from _recorded(pairs, limits, with_timings=not timed)


def _recorded(
    pairs: Sequence[Measured], limits: Limits, *, with_timings: bool
) -> Iterator[_Paired]:
    """Yield the series that the case itself recorded, one value in each process."""
    values: dict[str, list[tuple[Series, Series]]] = {}
    judged: set[str] = set()
    for one in pairs:
        for record in (one.base.record, one.head.record):
            if record is not None:
                judged |= judged_series(record, None, limits.clock).keys()
        base, head = _series(one.base.record), _series(one.head.record)
        for name in base.keys() & head.keys():
            # The timings of a case that was measured in blocks are those blocks.
            if with_timings or base[name].unit != "s":
                values.setdefault(name, []).append((base[name], head[name]))
    for name, both in sorted(values.items()):
        positive = all(base.value > 0 and head.value > 0 for base, head in both)
        size = statistics.median(abs(base.value) for base, _ in both) or 1.0
        yield _Paired(
            name=name,
            unit=both[0][0].unit,
            base=statistics.median(base.value for base, _ in both),
            head=statistics.median(head.value for _, head in both),
            ratios=tuple(
                math.log(head.value / base.value)
                if positive
                else (head.value - base.value) / size
                for base, head in both
            ),
            judged=name in judged and not limits.leaves_out(both[0][0].unit),
        )


def _series(record: CaseRecord | None) -> Mapping[str, Series]:
    return {} if record is None else series_of(record)


def _decision(change: Change) -> str:
    return "undecided" if change.estimate is None else change.estimate.decision


def _row(
    case: str,
    pairs: Sequence[Measured],
    changes: tuple[Change, ...],
    limits: Limits,
) -> Row:
    failed = next((one for one in pairs if not one.passed), None)
    if failed is not None:
        return Row(case=case, findings=(_failure(failed),), pairs=len(pairs))
    base, head = pairs[0].base.record, pairs[0].head.record
    findings = [*_structure(base, head), *_proportions(base, head)]
    # Time is judged only where the exact values hold: a faster run that trains fewer
    # weights is no improvement.
    if not any(finding.verdict == "regression" for finding in findings):
        better = _better(head)
        for change in changes:
            if change.judged:
                findings += _judged(change, better.get(change.name, "lower"), limits)
    found = compare(_values(head), _values(base))
    return Row(
        case=case,
        findings=tuple(findings),
        changes=changes,
        equal=found.equal,
        differing=found.differing,
        pairs=len(pairs),
        device=all(x.device for one in pairs for x in (one.base, one.head)),
        ignored=any(limits.leaves_out(change.unit) for change in changes),
    )


def _failure(one: Measured) -> Finding:
    base, head = one.base, one.head
    if base.outcome == head.outcome:
        return Finding("missing", f"the case {head.outcome} on both sides: {head.why}")
    if head.outcome == "passed":
        why = f"the case {base.outcome} on the base only: {base.why}"
        return Finding("not_comparable", why)
    why = f"the case {head.outcome} on the head only: {head.why}"
    return Finding("regression" if head.outcome == "failed" else "missing", why)


def _values(record: CaseRecord | None) -> dict[str, Exact]:
    return {} if record is None else {**record.exact, **record.costs}


def _structure(base: CaseRecord | None, head: CaseRecord | None) -> Iterator[Finding]:
    """Yield what differs in exact values, costs, and the names that were recorded."""
    if base is None or head is None:
        return
    before, after = _values(base), _values(head)
    found = compare(after, before)
    if found.differing:
        both = [
            f"{name}: {_shown(before[name])} -> {_shown(after[name])}"
            for name in found.differing
        ]
        yield Finding("regression", "; ".join(both))
    lost = [name for name in base.names if name not in head.names]
    new = [name for name in head.names if name not in base.names]
    if lost:
        yield Finding("missing", f"recorded on the base only: {', '.join(lost)}")
    if new:
        yield Finding("missing", f"recorded on the head only: {', '.join(new)}")


def _shown(value: object) -> str:
    whole = isinstance(value, int) and not isinstance(value, bool)
    return f"{value:,}" if whole else repr(value)


def _proportions(base: CaseRecord | None, head: CaseRecord | None) -> Iterator[Finding]:
    """Yield what the seeds of both sides say about accuracies and the like."""
    if base is None or head is None:
        return
    before = proportions_of(base)
    both = {
        name: entries
        for name, entries in proportions_of(head).items()
        if name in before and entries != before[name]
    }
    if not both:
        return
    known = Figures(
        version=head.version,
        metrics={
            name: [(str(x.seed), x.value, x.n or 1) for x in before[name]]
            for name in both
        },
    )
    asked = CaseRecord(
        case=head.case, outcome="passed", version=head.version, metrics=both
    )
    judged = judge_proportions({head.case: asked}, Accepted(figures={head.case: known}))
    for one in judged:
        if one.verdict != "pass":
            yield Finding(one.verdict, one.why.replace("accepted seeds", "base seeds"))


def _better(record: CaseRecord | None) -> Mapping[str, str | None]:
    return {name: one.better for name, one in _series(record).items()}


def _judged(change: Change, better: str | None, limits: Limits) -> Iterator[Finding]:
    """Yield what is to be said about one figure; nothing if it is unchanged."""
    one = change.estimate
    if one is None:
        yield Finding("inconclusive", f"{change.name} was not measured on both sides")
        return
    if one.decision in ("slower", "faster"):
        worse = worsening(better, one.change) > 0  # type: ignore[arg-type]
        yield Finding("regression" if worse else "improvement", _sentence(change, one))
    elif one.decision == "undecided":
        seen = math.expm1(min(one.detectable, 50.0))
        if one.pairs < CONVICTING:
            pairs = f"{one.pairs} of {CONVICTING} pairs"
            yield Finding("inconclusive", f"{change.name}: {pairs} were measured")
        elif seen > limits.largest_detectable:
            yield Finding(
                "inconclusive",
                f"{change.name} varies so much between pairs that only a change of "
                f"{units.percent(seen)} could be seen",
            )


def _sentence(change: Change, one: Estimate) -> str:
    size = units.percent(abs(math.expm1(one.change)))
    more = one.change > 0
    if change.unit == "s":
        way = "slower" if more else "faster"
    else:
        way = "more" if more else "less"
    both = (
        f"{units.figure(change.base, change.unit)} -> "
        f"{units.figure(change.head, change.unit)}"
    )
    agreeing = round(one.agreeing * one.pairs)
    return (
        f"{change.name} is {size} {way}: {both} ({agreeing} of {one.pairs} pairs "
        f"agree, limit {units.percent(math.expm1(one.limit))})"
    )
