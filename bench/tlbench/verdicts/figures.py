"""Figures: what a run is compared with, and the series and proportions of a record.

Owns the values that the judges share, and the reasons why the figures of a record
cannot be compared at all. What noise can do to a figure is in `noise`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from tlbench import units
from tlbench.clocks import Clock
from tlbench.record import Better, CaseRecord, Exact, Metric
from tlbench.verdicts import noise
from tlbench.verdicts.limits import ClockChoice
from tlbench.verdicts.verdict import Verdict

NO_BASELINE = "no baseline for this machine"
"""Why seconds, bytes and the like cannot be judged on a machine that is new."""

SeedValue: TypeAlias = tuple[str, float, int]
"""A proportion of an accepted run: its seed or run, its value, its samples."""

CPU = " (cpu)"
"""What the name of a timing ends with where it is processor time."""

Shares: TypeAlias = Mapping[str, Mapping[str, float]]
"""A proportion on some machines: by machine, its value for each seed."""

Costs: TypeAlias = Mapping[str, Mapping[str, Exact]]
"""The accepted costs of a case, by framework versions."""


@dataclass(frozen=True, kw_only=True)
class Figures:
    """The accepted figures of one case on one machine.

    Attributes:
        version: the version of the case.
        series: by name, the value in each accepted run: seconds, bytes or plain.
        metrics: by name, the proportions of the accepted runs.
        anchor: like `series`, from the oldest runs accepted at this level.
        units: by name, "s" or "bytes" of the series that have a unit.
        iterations: by name, of the timings whose iterations a round are known.
        timers: by name, the clock of the timings of which it is known.
        context: what was around the accepted runs (`circumstances.of_runs`).
        spreads: by name, of series with few runs at a new level, the spread that they
            had at the level before, and its degrees of freedom.
        borrowed: the names whose "runs" and "seeds" are other machines, one value each
            (`portable`).
    """

    version: str
    series: Mapping[str, noise.Runs] = field(default_factory=dict)
    metrics: Mapping[str, Sequence[SeedValue]] = field(default_factory=dict)
    anchor: Mapping[str, noise.Runs] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    iterations: Mapping[str, int] = field(default_factory=dict)
    timers: Mapping[str, str] = field(default_factory=dict)
    context: Mapping[str, Any] = field(default_factory=dict)
    spreads: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    borrowed: frozenset[str] = frozenset()

    @property
    def names(self) -> tuple[str, ...]:
        """Every name there is a figure for."""
        return (*self.series, *self.metrics)


@dataclass(frozen=True, kw_only=True)
class Portable:
    """The accepted portable figures of one case.

    Attributes:
        version: the version of the case.
        values: by name, the plain value on each machine.
        shares: by name, the proportion on each machine, for each seed.
        samples: by name of a proportion, the size of its test set.
        spreads: by name of a figure at a new level, the spread between machines before
            it, and its degrees of freedom.
    """

    version: str
    values: Mapping[str, noise.Runs] = field(default_factory=dict)
    shares: Mapping[str, Shares] = field(default_factory=dict)
    samples: Mapping[str, int] = field(default_factory=dict)
    spreads: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """Every name there is a figure for."""
        return (*self.values, *self.shares)

    def machines(self, name: str) -> set[str]:
        """Return the machines that a figure was accepted from."""
        return {*self.values.get(name, ()), *self.shares.get(name, ())}


@dataclass(frozen=True, kw_only=True)
class Accepted:
    """All that a run is compared with.

    Attributes:
        exact: by case, the accepted exact values.
        costs: by case, the accepted costs.
        figures: by case, the accepted figures of this machine.
        portable: by case, the figures that other machines lend it.
        versions: the installed frameworks, the key that costs are accepted under.
        elsewhere: how the most similar machine with figures differs, if this one has
            no figures.
    """

    exact: Mapping[str, Mapping[str, Exact]] = field(default_factory=dict)
    costs: Mapping[str, Costs] = field(default_factory=dict)
    figures: Mapping[str, Figures] = field(default_factory=dict)
    portable: Mapping[str, Portable] = field(default_factory=dict)
    versions: str = "no framework"
    elsewhere: tuple[str, ...] = ()

    @property
    def cases(self) -> set[str]:
        """Every case that has a baseline."""
        return {*self.exact, *self.costs, *self.figures}


@dataclass(frozen=True, kw_only=True)
class Series:
    """One figure of one case in one run.

    Attributes:
        value: in seconds, in bytes or plain.
        unit: "s", "bytes" or "".
        better: which change is an improvement; None if every change is a finding.
        clock: of a timing, what it was measured by; a slower machine moves all timings
            by one clock together.
        judged: whether it is judged; else it only explains.
    """

    value: float
    unit: str = ""
    better: Better | None = "lower"
    clock: Clock | None = None
    judged: bool = True

    def __str__(self) -> str:
        return units.figure(self.value, self.unit)


def series_of(record: CaseRecord) -> dict[str, Series]:
    """Return the series of a record: its timings, memory and plain values."""
    found = {}
    for name, timing in record.timings.items():
        judged = timing.clocks or ("wall",)
        found[name] = Series(
            value=timing.median, unit="s", clock="wall", judged="wall" in judged
        )
        if timing.cpu:
            found[name + CPU] = Series(
                value=timing.cpu, unit="s", clock="cpu", judged="cpu" in judged
            )
    found |= {
        name: Series(value=float(nbytes), unit="bytes")
        for name, nbytes in record.memory.items()
    }
    for name, entries in record.metrics.items():
        if any(entry.correct is None for entry in entries):
            found[name] = Series(value=mean(entries), better=entries[0].better)
    return found


def judged_series(
    record: CaseRecord, known: Figures | None, choice: ClockChoice = "auto"
) -> dict[str, Series]:
    """Return the series of a record that are judged.

    A timing whose clock has no accepted figures is judged by the clock that has some.

    Args:
        record: what a case left.
        known: its accepted figures.
        choice: the clock that its timings are judged by, as far as they have it.
    """
    found = series_of(record)
    have = known.series if known else {}
    judged = {name for name, one in found.items() if one.judged}
    for name in record.timings:
        both = {name, name + CPU} & found.keys()
        chosen = {x for x in both if found[x].clock == choice}
        judged = (judged - both) | chosen if chosen else judged
        accepted = both & have.keys()
        if accepted and not judged & accepted:
            judged = (judged - both) | accepted
    return {name: one for name, one in found.items() if name in judged}


def clock_of(name: str, unit: str | None) -> Clock | None:
    """Return the clock of a series, None if it is no timing.

    >>> clock_of("epoch", "s"), clock_of("epoch (cpu)", "s"), clock_of("loss", None)
    ('wall', 'cpu', None)
    """
    if unit != "s":
        return None
    return "cpu" if name.endswith(CPU) else "wall"


def proportions_of(record: CaseRecord) -> dict[str, tuple[Metric, ...]]:
    """Return the metrics of a record that are proportions."""
    return {
        name: entries
        for name, entries in record.metrics.items()
        if all(entry.correct is not None for entry in entries)
    }


def is_portable(record: CaseRecord, name: str) -> bool:
    """Tell whether a figure of a record means the same on every machine."""
    return any(entry.portable for entry in record.metrics.get(name, ()))


def mean(entries: Sequence[Metric]) -> float:
    """Return the mean of a metric over its seeds."""
    return sum(entry.value for entry in entries) / len(entries)


def worsening(better: Better | None, change: float) -> float:
    """Return a change with its sign chosen so that positive is worse.

    >>> worsening("higher", -0.1), worsening("lower", -0.1), worsening(None, -0.1)
    (0.1, -0.1, 0.1)
    """
    if better is None:
        return abs(change)
    return -change if better == "higher" else change


def incomparable(record: CaseRecord, accepted: Accepted) -> tuple[Verdict, str] | None:
    """Return a verdict and the reason if no figure of a record can be compared."""
    figures = accepted.figures.get(record.case)
    if figures is None:
        return _without_baseline(accepted)
    if figures.version != record.version:
        return "not_comparable", "the case changed since its figures were accepted"
    return None


def unknown(record: CaseRecord, name: str, accepted: Accepted) -> tuple[Verdict, str]:
    """Return the verdict on a figure without accepted values, and why."""
    figures, lent = accepted.figures[record.case], accepted.portable.get(record.case)
    if lent is not None and name in lent.shares and is_portable(record, name):
        return "missing", f"no baseline for {name} with these seeds"
    if figures.borrowed and figures.borrowed.issuperset(figures.names):
        return _without_baseline(accepted)  # all that the case has is from others
    return "missing", f"no baseline for {name} on this machine"


def _without_baseline(accepted: Accepted) -> tuple[Verdict, str]:
    if accepted.elsewhere:
        differences = "; ".join(accepted.elsewhere)
        return "not_comparable", f"the baseline is from another machine: {differences}"
    return "missing", NO_BASELINE
