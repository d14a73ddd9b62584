"""Repeats: whether the fresh runs of a case measured what its session measured.

A fresh run that does other work says nothing about the time of this one. Owns what two
runs of one case must share, and the sentence where they do not.
"""

from collections.abc import Iterator, Sequence

from tlbench.record import CaseRecord
from tlbench.verdicts.exact import compare
from tlbench.verdicts.figures import proportions_of, series_of


def unlike(record: CaseRecord, fresh: Sequence[CaseRecord]) -> str:
    """Return how fresh runs differ from the run they repeat, "" if they do not.

    >>> from tlbench.record import CaseRecord
    >>> one = CaseRecord(case="a", outcome="passed", exact={"size": 1})
    >>> two = CaseRecord(case="a", outcome="passed", exact={"size": 2})
    >>> unlike(one, [one]), unlike(one, [two])
    ('', 'size 1, then 2')
    """
    # Each once: fresh runs that differ mostly differ alike.
    found = dict.fromkeys(x for one in fresh for x in _differences(record, one))
    failed = sum(one.outcome in {"failed", "skipped", "xfailed"} for one in fresh)
    if failed:
        found[f"{failed} of {len(fresh)} did not pass"] = None
    return "; ".join(found)


def _differences(record: CaseRecord, fresh: CaseRecord) -> Iterator[str]:
    # Of a run that did not pass, a missing value says nothing.
    if fresh.outcome not in {"passed", "regression"}:
        return
    if fresh.version != record.version:
        yield f"version {record.version!r}, then {fresh.version!r}"
    for before, after in ((record.exact, fresh.exact), (record.costs, fresh.costs)):
        names = compare(after, before)
        for name in names.differing:
            yield f"{name} {before[name]!r}, then {after[name]!r}"
        yield from (f"{name} was not recorded again" for name in names.lost)
        yield from (f"{name} was not recorded before" for name in names.new)
    for name, timing in record.timings.items():
        again = fresh.timings.get(name)
        found = again and timing.unlike(again.iterations, again.timer)
        if found:
            yield f"{name} timed {found[0]}, then {found[1]}"
    ours, theirs = ({*series_of(x), *proportions_of(x)} for x in (record, fresh))
    yield from (f"{name} was not recorded again" for name in sorted(ours - theirs))
    yield from (f"{name} was not recorded before" for name in sorted(theirs - ours))
