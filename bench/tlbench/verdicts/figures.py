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
from tlbench.verdicts.verdict import Verdict

SeedValue: TypeAlias = tuple[str, float, int]
"""A proportion of an accepted run: its seed or run, its value, its samples."""

CPU = " (cpu)"
"""What the name of a timing ends with where it is processor time."""

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
        versions: the installed frameworks, the key that costs are accepted under.
        elsewhere: how the most similar machine with figures differs, if this one has
            no figures.
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


def judged_series(record: CaseRecord, known: Figures | None) -> dict[str, Series]:
    """Return the series of a record that are judged.

    A timing whose clock has no accepted figures is judged by the clock that has some.
    """
    found = series_of(record)
    have = known.series if known else {}
    judged = {name for name, one in found.items() if one.judged}
    for name in record.timings:
        both = {name, name + CPU} & found.keys()
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
    if figures is None and not accepted.figures and accepted.elsewhere:
        differences = "; ".join(accepted.elsewhere)
        why = f"the baseline is from another machine: {differences}"
        return "not_comparable", why
    if figures is None:
        return "missing", "no baseline for this machine"
    if figures.version != record.version:
        return "not_comparable", "the case changed since its figures were accepted"
    return None
