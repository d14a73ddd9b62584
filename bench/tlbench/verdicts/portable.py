"""Portable figures: what means the same on every machine, judged by other machines.

A suite declares them: an accuracy on generated images, the ratio of two timings of one
run. Their unit is the machine, so that their spread is the one between machines: what
one machine repeats says nothing about another. Owns what is accepted of them, and how a
run without figures of its own borrows it. How they are judged is in `series` and
`proportions`; how they are kept is in `storage.baselines`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from tlbench.record import CaseRecord, Metric
from tlbench.verdicts import noise
from tlbench.verdicts.figures import (
    Accepted,
    Figures,
    Portable,
    SeedValue,
    is_portable,
    mean,
    proportions_of,
    series_of,
)


def portable_of(record: CaseRecord, machine: str) -> Portable:
    """Return the portable figures that a record holds, as those of one machine."""
    declared = _declared(record)
    proportions = proportions_of(record)
    return Portable(
        version=record.version,
        values={
            name: {machine: mean(entries)}
            for name, entries in declared.items()
            if name not in proportions
        },
        shares={
            name: {machine: {_label(one): one.value for one in entries}}
            for name, entries in declared.items()
            if name in proportions
        },
        samples={
            name: entries[0].n or 1
            for name, entries in declared.items()
            if name in proportions
        },
    )


def joined(
    before: Portable | None, fresh: Portable, moved: Iterable[str] = ()
) -> Portable:
    """Return accepted figures with those of one more machine, or of it anew.

    Args:
        before: what was accepted so far.
        fresh: the figures of one machine.
        moved: the names whose level changed: they start anew, with the spread of
            before.
    """
    if before is None or before.version != fresh.version:
        return fresh
    anew = set(moved) | {
        name for name, n in fresh.samples.items() if before.samples.get(name) != n
    }
    kept = replace(
        before,
        values={k: x for k, x in before.values.items() if k not in anew},
        shares={k: x for k, x in before.shares.items() if k not in anew},
    )
    after = replace(
        fresh,
        values={k: {**kept.values.get(k, {}), **x} for k, x in fresh.values.items()},
        shares={k: {**kept.shares.get(k, {}), **x} for k, x in fresh.shares.items()},
    )
    few = {x for x in after.names if len(after.machines(x)) < noise.FEWEST_RUNS}
    return replace(after, spreads=_inherited(before, few, anew))


def _inherited(
    before: Portable, names: Iterable[str], anew: Iterable[str]
) -> dict[str, tuple[float, float]]:
    """Return the spreads of before, for figures of too few machines to know one."""
    found = {}
    for name in names:
        is_known = len(before.machines(name)) >= noise.FEWEST_RUNS
        if name in anew and (is_known or name in before.spreads):
            found[name] = _spread(before, name)
        elif name in before.spreads:
            found[name] = before.spreads[name]
    return found


def with_portable(accepted: Accepted, records: Mapping[str, CaseRecord]) -> Accepted:
    """Return what a run is compared with, where other machines stand in for its own.

    Figures of this machine are narrower than those of others: where there are enough
    of them, nothing is borrowed.
    """
    figures = dict(accepted.figures)
    for case, record in records.items():
        known, own = accepted.portable.get(case), figures.get(case)
        if known is None or (own is not None and own.version != record.version):
            continue
        figures[case] = _borrowed(known, own, record)
    # Whoever has figures of this machine needs no comparison with another one.
    elsewhere = () if accepted.figures else accepted.elsewhere
    return replace(accepted, figures=figures, elsewhere=elsewhere)


def _borrowed(known: Portable, own: Figures | None, record: CaseRecord) -> Figures:
    own = own or Figures(version=known.version)
    declared, recorded = _declared(record), {*series_of(record), *record.metrics}
    # What is no longer recorded is borrowed as well: it is missed by its name.
    names = {
        name
        for name in known.names
        if (name in declared or name not in recorded) and not _suffices(own, name)
    }
    if known.version != record.version:
        names = set()
    metrics = {
        name: _on_same_seeds(known, name, declared.get(name, ()))
        for name in known.shares.keys() & names
    }
    metrics = {name: shares for name, shares in metrics.items() if shares}
    values = {name: known.values[name] for name in known.values.keys() & names}
    spreads = {k: known.spreads[k] for k in known.spreads.keys() & names}
    return replace(
        own,
        series={**own.series, **values},
        metrics={**own.metrics, **metrics},
        spreads={**own.spreads, **spreads},
        borrowed=frozenset({*values, *metrics}),
    )


def _declared(record: CaseRecord) -> dict[str, tuple[Metric, ...]]:
    return {k: x for k, x in record.metrics.items() if is_portable(record, k)}


def _suffices(own: Figures, name: str) -> bool:
    runs = own.series.get(name, {})
    seeds = {seed for seed, *_ in own.metrics.get(name, ())}
    enough = max(len(runs), len(seeds)) >= noise.FEWEST_RUNS
    return enough or name in own.spreads


def _on_same_seeds(
    known: Portable, name: str, entries: tuple[Metric, ...]
) -> tuple[SeedValue, ...]:
    """Return the mean on each machine over the seeds of a run, where it has them all.

    Other seeds would add their own spread, which is not the one between machines.
    """
    asked = {_label(one) for one in entries}
    return tuple(
        (machine, sum(shares[x] for x in seeds) / len(seeds), known.samples[name])
        for machine, shares in known.shares[name].items()
        if (seeds := sorted(asked or shares)) and shares.keys() >= set(seeds)
    )


def _label(metric: Metric) -> str:
    return "" if metric.seed is None else str(metric.seed)


def _spread(known: Portable, name: str) -> tuple[float, float]:
    """Return the spread between machines that is known of a figure, and its freedom."""
    if name in known.shares:
        accepted = _on_same_seeds(known, name, ())
        expected, _ = noise.seeds(accepted, [(0.0, known.samples[name])])
        spread, freedom = expected.spread, expected.freedom
    else:
        runs = known.values[name]
        scaled = [noise.scaled(value, runs) for value in runs.values()]
        spread, freedom = noise.moderated({name: scaled})[name]
    if name not in known.spreads:
        return spread, freedom
    return together((spread, freedom), known.spreads[name])


def together(
    one: tuple[float, float], other: tuple[float, float]
) -> tuple[float, float]:
    """Return two spreads of one figure as one, each weighted by its freedom."""
    (left, worth), (right, more) = one, other
    freedom = worth + more
    if not freedom:
        return max(left, right), 0.0
    return ((worth * left**2 + more * right**2) / freedom) ** 0.5, freedom
