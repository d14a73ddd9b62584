"""Acceptance: how the values of runs become a baseline.

Owns which cases and runs may be accepted, what stays as it is, and when the anchor that
drift is measured from moves. It reads no file and no clock: who, when and why are
arguments, and nothing is accepted without a reason.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from tlbench import levels
from tlbench.record import CaseRecord
from tlbench.storage.baselines import (
    Acceptance,
    Alias,
    Baseline,
    Baselines,
    MachineBaseline,
    PortableBaseline,
)
from tlbench.storage.history import Entry, structure_of
from tlbench.storage.last_run import LastRun
from tlbench.verdicts import circumstances, noise
from tlbench.verdicts.exact import compare
from tlbench.verdicts.figures import Figures, SeedValue, proportions_of, series_of
from tlbench.verdicts.limits import DEFAULT, Policy
from tlbench.verdicts.portable import joined, portable_of


@dataclass(frozen=True, kw_only=True)
class Accepted:
    """The exact baselines after an acceptance, and what happened to each case.

    Attributes:
        baselines: what is accepted now.
        new: the cases that had no baseline.
        changed: those whose baseline is another now.
        unchanged: those whose baseline stays.
        dropped: those that have none any more.
        machines: by case with portable figures, from how many machines they are.
    """

    baselines: Baselines
    new: tuple[str, ...]
    changed: tuple[str, ...]
    unchanged: tuple[str, ...]
    dropped: tuple[str, ...]
    machines: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class AcceptedFigures:
    """The figures of a machine after an acceptance.

    Attributes:
        figures: the accepted figures, by case.
        runs: how many runs were accepted, by case.
        anchored: the cases whose anchor moved.
    """

    figures: Mapping[str, MachineBaseline]
    runs: Mapping[str, int]
    anchored: tuple[str, ...]


def accept(
    baselines: Baselines,
    run: LastRun,
    acceptance: Acceptance,
    *,
    cases: Iterable[str] = (),
    prune: bool = False,
) -> Accepted:
    """Make the exact values, costs and portable figures of a run the baseline.

    A case whose values equal its baseline keeps its earlier acceptance, and costs of
    other framework versions are kept, and so are portable figures of other machines. A
    case that now records none of these loses its baseline. A case that was skipped or
    is not in the run is left alone.

    Args:
        baselines: the baselines so far.
        run: the run to accept.
        acceptance: who, when, why and from which evidence.
        cases: the cases to accept; all of the run if empty.
        prune: also drop baseline cases that are no longer in the files of the run.

    Raises:
        ValueError: the reason is blank, or a case is unknown or did not pass. The only
            failure that can be accepted is a differing exact value or cost.
    """
    check_reason(acceptance)
    taken = acceptable(run, tuple(cases))
    after = dict(baselines.cases)
    done: dict[str, list[str]] = {"new": [], "changed": [], "unchanged": []}
    dropped: list[str] = []
    machines: dict[str, int] = {}
    for record in taken:
        before = after.get(record.case)
        portable = _portable(before, record, run.machine, acceptance)
        if not record.exact and not record.costs and portable is None:
            if after.pop(record.case, None):
                dropped.append(record.case)
            continue
        # Other framework versions keep their costs, this one loses its own: a cost that
        # is no longer recorded must not stay accepted.
        costs = dict(before.costs) if before else {}
        costs.pop(run.frameworks, None)
        if record.costs:
            costs[run.frameworks] = record.costs
        fresh = Baseline(
            exact=record.exact, accepted=acceptance, costs=costs, portable=portable
        )
        if portable is not None:
            names = portable.figures.names
            count = min(len(portable.figures.machines(name)) for name in names)
            machines[record.case] = count
        # Its own reason and date still stand, and the file does not change.
        if before and _equal(before, fresh):
            if before.portable == portable:
                done["unchanged"].append(record.case)
                continue
            fresh = replace(before, portable=portable)
        done["changed" if before else "new"].append(record.case)
        after[record.case] = fresh
    if prune:
        dropped += [case for case in run.gone if after.pop(case, None)]
    return Accepted(
        baselines=replace(baselines, cases=after),
        new=tuple(done["new"]),
        changed=tuple(done["changed"]),
        unchanged=tuple(done["unchanged"]),
        dropped=tuple(dropped),
        machines=machines,
    )


def accept_figures(
    figures: Mapping[str, MachineBaseline],
    run: LastRun,
    entries: Sequence[Entry],
    acceptance: Acceptance,
    *,
    cases: Iterable[str] = (),
    last: int = noise.MOST_RUNS,
    anchor: bool = False,
    prune: bool = False,
    policy: Policy = DEFAULT,
) -> AcceptedFigures:
    """Make the figures of the newest saved runs the baseline of a machine.

    Only runs count that passed with the same version, exact values, costs, iterations
    and timers as the last run, and are at its level. At a new level one run is enough:
    how much a series varies is known from before. The anchor stays where it is, so that
    small steps add up, unless the level changed by more than noise: whoever accepts
    such a step has seen it.

    Args:
        figures: the accepted figures so far, by case.
        run: the last run.
        entries: the history of the machine.
        acceptance: who, when, why and from which evidence.
        cases: the cases to accept; all of the run if empty.
        last: how many runs to accept at most, the newest.
        anchor: move the anchor of the cases in any event.
        prune: also drop cases that are no longer in the files of the run.
        policy: the limits of each case: a change below its practical size starts no
            new level.

    Raises:
        ValueError: the reason is blank, or a case is unknown or did not pass.
    """
    check_reason(acceptance)
    after, runs, anchored = dict(figures), {}, []
    by_case: dict[str, list[Entry]] = {}
    for entry in entries:
        by_case.setdefault(entry.case, []).append(entry)
    taken = acceptable(run, tuple(cases))
    # All of them share the probability that noise alone starts a new level.
    alpha = noise.FALSE_ALARMS / max(1, sum(len(series_of(one)) for one in taken))
    for record in taken:
        before = figures.get(record.case)
        known = None if before is None else before.figures
        alike = _alike(record, by_case.get(record.case, []))
        smallest = policy.of(record.case).smallest
        level = levels.at_level(known, alike, alpha=alpha, smallest=smallest)[-last:]
        # A case that got slower on purpose is not less accurate for it.
        fresh = _figures(record, level, seeds=alike[-last:])
        if fresh is None:
            continue
        fresh = replace(fresh, spreads=levels.inherited(known, fresh))
        since = acceptance
        if before is not None and (
            anchor or levels.moved(before.figures, fresh, smallest=smallest)
        ):
            anchored.append(record.case)
        elif before is not None:
            old = before.figures.anchor
            kept = {name: old.get(name, runs) for name, runs in fresh.series.items()}
            fresh, since = replace(fresh, anchor=kept), before.anchored
        after[record.case] = MachineBaseline(
            figures=fresh, accepted=acceptance, anchored=since
        )
        runs[record.case] = len({entry.run for entry in level})
    if prune:
        for case in run.gone:
            after.pop(case, None)
    return AcceptedFigures(figures=after, runs=runs, anchored=tuple(anchored))


def other_branches(
    figures: Mapping[str, MachineBaseline],
    entries: Iterable[Entry],
    cases: Iterable[str],
    branch: str,
) -> dict[str, int]:
    """Return, by branch other than `branch`, how many accepted runs ran on it.

    Args:
        figures: the figures after an acceptance.
        entries: the history of the machine.
        cases: the cases that were accepted.
        branch: the present branch; "" if it is not known, then no other one is.
    """
    accepted = {
        run
        for case in cases
        for series in figures[case].figures.series.values()
        for run in series
    }
    branches = {x.run: x.branch for x in entries if x.run in accepted and x.branch}
    others = [one for one in branches.values() if branch and one != branch]
    return {one: others.count(one) for one in sorted(set(others))}


def rename(
    baselines: Baselines,
    figures: Mapping[str, Mapping[str, MachineBaseline]],
    old: str,
    new: str,
    acceptance: Acceptance,
) -> tuple[Baselines, dict[str, dict[str, MachineBaseline]]]:
    """Move the baselines and the history of a case to another name.

    The lines of the history are not rewritten: an alias is kept, by which they are
    read.

    Args:
        baselines: the exact baselines.
        figures: the accepted figures, by machine.
        old: the name that has baselines.
        new: the name that has none yet.
        acceptance: who, when and why.

    Raises:
        ValueError: the reason is blank, the old name has no baseline, or the new name
            has one.
    """
    check_reason(acceptance)
    known = {*baselines.cases, *(case for cases in figures.values() for case in cases)}
    if old not in known:
        raise ValueError(
            "The old name of a renamed case must have a baseline. "
            f"Received: {old!r}. Accepted are: {', '.join(sorted(known)) or 'none'}."
        )
    if new in known or new == old:
        raise ValueError(
            "The new name of a renamed case must have no baseline yet. "
            f"Received: {new!r}. Accept the case under that name instead."
        )
    moved = {new if case == old else case: x for case, x in baselines.cases.items()}
    renamed = {k: v for k, v in baselines.renamed.items() if k != new} | {
        old: Alias(to=new, accepted=acceptance)
    }
    machines = {
        machine: {new if case == old else case: x for case, x in cases.items()}
        for machine, cases in figures.items()
    }
    return Baselines(cases=moved, renamed=renamed), machines


def check_reason(acceptance: Acceptance) -> None:
    """Refuse an acceptance without a reason.

    Raises:
        ValueError: the reason is blank.
    """
    if not acceptance.reason.strip():
        raise ValueError(
            "reason must say why the values are right. "
            f"Received: reason={acceptance.reason!r}. Pass --reason TEXT."
        )


def acceptable(run: LastRun, cases: tuple[str, ...]) -> list[CaseRecord]:
    """Return the records of a run that may become a baseline.

    Raises:
        ValueError: a case is unknown or did not pass.
    """
    unknown = sorted(set(cases) - set(run.cases))
    if unknown:
        raise ValueError(
            "Every case to accept must be in the last run. "
            f"Received: {', '.join(unknown)}. "
            f"The last run has: {', '.join(sorted(run.cases))}."
        )
    chosen = [run.cases[case] for case in sorted(set(cases) or run.cases)]
    # Of a whole run, skipped cases are left as they are; one that was named cannot be.
    refused = ("failed", "skipped", "xfailed") if cases else ("failed",)
    bad = [record for record in chosen if record.outcome in refused]
    if bad:
        listed = ", ".join(f"{record.case} ({record.outcome})" for record in bad)
        raise ValueError(
            "A case must pass, except for its exact values, to become a baseline. "
            f"Received: {listed}. Fix it and run again, or name the cases to accept."
        )
    return [record for record in chosen if record.outcome in ("passed", "regression")]


def _portable(
    before: Baseline | None, record: CaseRecord, machine: str, acceptance: Acceptance
) -> PortableBaseline | None:
    """Return the portable figures of a case after an acceptance; None without any."""
    # A digest: what holds for all machines names none.
    name = hashlib.sha256(machine.encode()).hexdigest()[:8]
    fresh = portable_of(record, name)
    if not fresh.names:
        return None
    known = before.portable if before else None
    if known is None:
        return PortableBaseline(figures=fresh, accepted=acceptance)
    # Another machine may differ, and widens what is expected; a machine that is known
    # differs from itself only because of what is accepted now.
    figures = known.figures
    seen = {one for one in fresh.names if name in figures.machines(one)}
    moved = levels.moved_portable(figures, record) & seen
    after = joined(figures, fresh, moved)
    if after == figures:
        return known
    return PortableBaseline(figures=after, accepted=acceptance)


def _equal(before: Baseline, fresh: Baseline) -> bool:
    def same(left: Mapping[str, object], right: Mapping[str, object]) -> bool:
        names = compare(right, left)  # type: ignore[arg-type]
        return not (names.differing or names.new or names.lost)

    costs = before.costs.keys() == fresh.costs.keys() and all(
        same(before.costs[key], fresh.costs[key]) for key in fresh.costs
    )
    return costs and same(before.exact, fresh.exact)


def _alike(record: CaseRecord, entries: Sequence[Entry]) -> list[Entry]:
    """Return the good runs of the same code that were measured in the same way."""
    # Another structure is another model: its times say nothing about this one.
    structure = structure_of(record)
    return [
        entry
        for entry in entries
        if entry.is_good
        # Whoever imports runs as those of this machine says that the case is the same.
        and (
            entry.is_imported
            or (entry.record.version, entry.structure) == (record.version, structure)
        )
        and not _timed_otherwise(record, entry.record)
    ]


def _timed_otherwise(record: CaseRecord, other: CaseRecord) -> bool:
    return any(
        timing.unlike(other.timings[name].iterations, other.timings[name].timer)
        for name, timing in record.timings.items()
        if name in other.timings
    )


def _figures(
    record: CaseRecord, level: Sequence[Entry], *, seeds: Sequence[Entry]
) -> Figures | None:
    """Return the figures of the runs at a level, and the proportions of some runs."""
    series: dict[str, dict[str, float]] = {}
    units: dict[str, str] = {}
    metrics: dict[str, list[SeedValue]] = {}
    for entry in level:
        for name, one in series_of(entry.record).items():
            series.setdefault(name, {})[entry.run] = one.value
            units |= {name: one.unit} if one.unit else {}
    for entry in seeds:
        for name, entries in proportions_of(entry.record).items():
            # Without a seed the run stands in for it: each run counts once.
            metrics.setdefault(name, []).extend(
                (entry.run if x.seed is None else f"seed {x.seed}", x.value, x.n or 1)
                for x in entries
            )
    if not series and not metrics:
        return None
    return Figures(
        version=record.version,
        series=series,
        metrics={name: tuple(values) for name, values in metrics.items()},
        anchor=series,
        units=units,
        iterations={k: x.iterations for k, x in record.timings.items() if x.iterations},
        timers={k: x.timer for k, x in record.timings.items() if x.timer},
        context=circumstances.of_runs([entry.context for entry in level]),
    )
