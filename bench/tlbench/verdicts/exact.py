"""Exact values and costs: equal or not, new or lost; and cases that did not pass.

Equal means the same type and the same value. Owns every finding that does not depend on
noise.
"""

from collections.abc import Iterator, Mapping

from tlbench.record import CaseRecord, Exact, Outcome
from tlbench.verdicts.figures import (
    CPU,
    Accepted,
    Costs,
    proportions_of,
    series_of,
)
from tlbench.verdicts.verdict import Comparison, Finding

_FAILED: Mapping[Outcome, str] = {
    "failed": "the case failed",
    "skipped": "the case was skipped",
    "xfailed": "the case failed, as its xfail mark expects",
}


def compare(
    exact: Mapping[str, Exact], accepted: Mapping[str, Exact] | None
) -> Comparison:
    """Compare exact values with accepted ones: equal means the same type and value.

    >>> compare({"params": 3, "flag": True}, {"params": 4, "flag": 1, "old": 0})
    Comparison(equal=(), differing=('params', 'flag'), new=(), lost=('old',))
    """
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
    """Return a sentence for each value that differs from the accepted one."""
    return tuple(
        f"{name}: expected {(accepted or {})[name]!r}, received {exact[name]!r}"
        for name in compare(exact, accepted).differing
    )


def structural(record: CaseRecord, accepted: Accepted) -> Iterator[Finding]:
    """Yield everything that is wrong with a record except the noise of its figures."""
    exact = accepted.exact.get(record.case)
    for sentence in differences(record.exact, exact):
        yield Finding("regression", sentence)
    costs = accepted.costs.get(record.case, {})
    known = costs.get(accepted.versions)
    for sentence in differences(record.costs, known):
        yield Finding("regression", sentence)
    # Of a case that did not pass, a missing value says nothing; a differing one does.
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


def whole_comparison(record: CaseRecord, accepted: Accepted) -> Comparison:
    """Compare exact values and costs together, for the summary."""
    costs = accepted.costs.get(record.case, {}).get(accepted.versions, {})
    known = {**accepted.exact.get(record.case, {}), **costs}
    return compare({**record.exact, **record.costs}, known)


def _unknown_costs(
    record: CaseRecord, costs: Costs, accepted: Accepted
) -> Iterator[Finding]:
    """Yield why costs cannot be judged: no baseline for these framework versions."""
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
    # Of another version of the case, its figures may be others as well.
    figures = accepted.figures.get(record.case)
    if figures is None or figures.version != record.version:
        return []
    have = {*series_of(record), *proportions_of(record)}
    # A timing that is there by wall time is not lost.
    have |= {name + CPU for name in record.timings}
    return [name for name in figures.names if name not in have]


def _other_versions(record: CaseRecord, costs: Costs, accepted: Accepted) -> str:
    # The newest by name; one comparison explains enough.
    versions, before = max(costs.items())
    changes = [
        f"{name} {before[name]!r} -> {record.costs[name]!r}"
        for name in compare(record.costs, before).differing
    ]
    difference = "; ".join(changes) if changes else "the costs are the same"
    return f"costs were accepted for {versions}, not {accepted.versions} ({difference})"


def _same(left: Exact, right: Exact) -> bool:
    if isinstance(left, tuple) and isinstance(right, tuple):
        return len(left) == len(right) and all(map(_same, left, right))
    # True == 1 == 1.0 in Python, but a count that became a flag is a change.
    return type(left) is type(right) and left == right
