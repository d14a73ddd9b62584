"""Levels: which saved runs are at the level that is being accepted.

An intended change starts the baseline anew: runs of before would put the centre between
two levels, and the next change of the same size would not be seen. What stays from
before is how much a series varies, so that one run at the new level can be compared
with. Owns where a level begins, and the spread that it inherits.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from tlbench.record import CaseRecord
from tlbench.storage.history import Entry
from tlbench.verdicts import noise
from tlbench.verdicts.figures import Accepted, Figures, Portable, series_of
from tlbench.verdicts.judge import judge


def at_level(
    before: Figures | None,
    entries: Sequence[Entry],
    *,
    alpha: float,
    smallest: float = noise.PRACTICAL_SIZE,
) -> list[Entry]:
    """Return the runs that are at the level of the newest of them.

    Args:
        before: the accepted figures so far.
        entries: the runs of the same case that could be accepted, the oldest first.
        alpha: the probability that noise alone starts a new level in a series.
        smallest: a smaller change starts none, however certain it is.
    """
    # Another version of the case is another case, which has no level before.
    if before is None or any(x.record.version != before.version for x in entries):
        return list(entries)
    accepted = {run for runs in before.series.values() for run in runs}
    # What is older than the accepted runs was left out when they were accepted.
    known = [place for place, one in enumerate(entries) if one.run in accepted]
    since = list(entries[known[0] :] if known else entries)
    if not since or not _moved_by(before, _values(since[-1]), alpha, smallest):
        return since
    newest = since.pop()
    level = [newest]
    while since and since[-1].run not in accepted:
        one = since.pop()
        left = _moved_by(before, _values(one), alpha, smallest)
        if not left or _apart(before, one, newest, smallest):
            break
        level.append(one)
    return level[::-1]


def moved(
    before: Figures,
    fresh: Figures,
    *,
    alpha: float = noise.FALSE_ALARMS,
    smallest: float = noise.PRACTICAL_SIZE,
) -> bool:
    """Tell whether the level of any series changed by more than noise."""
    if before.version != fresh.version:
        return True
    return any(
        _differs(before, name, tuple(runs.values()), alpha, smallest)
        for name, runs in fresh.series.items()
        if runs
    )


def moved_portable(before: Portable, record: CaseRecord) -> set[str]:
    """Return the portable figures of a record that are not at the accepted level."""
    only = replace(record, outcome="passed", exact={}, costs={}, timings={}, memory={})
    (case,) = judge({record.case: only}, Accepted(portable={record.case: before}))
    beyond = ("regression", "improvement")
    return {one.name for one in case.judgements if one.verdict in beyond}


def inherited(before: Figures | None, fresh: Figures) -> dict[str, tuple[float, float]]:
    """Return, by series, the spread that is known from before, and its freedom.

    Only of the same version of the case, and for series that have too few runs to know
    their own spread.
    """
    if before is None or before.version != fresh.version:
        return {}
    found = {}
    for name, runs in fresh.series.items():
        expected = _expectation(before, name)
        few = len(runs) < noise.FEWEST_RUNS
        if few and expected is not None and noise.is_relative(runs):
            found[name] = expected.spread, expected.freedom
    return found


def _values(entry: Entry) -> Mapping[str, float]:
    return {
        name: one.value for name, one in series_of(entry.record).items() if one.judged
    }


def _moved_by(
    before: Figures, values: Mapping[str, float], alpha: float, smallest: float
) -> bool:
    return any(
        _differs(before, name, (value,), alpha, smallest)
        for name, value in values.items()
    )


def _apart(before: Figures, one: Entry, other: Entry, smallest: float) -> bool:
    """Tell whether two runs differ by more than the noise that is known from before."""
    ours, theirs = _values(one), _values(other)
    for name in ours.keys() & theirs.keys():
        expected = _expectation(before, name)
        runs = {"one": ours[name], "other": theirs[name]}
        if expected is None or not noise.is_relative(runs):
            continue
        change = abs(noise.scaled(ours[name], runs) - noise.scaled(theirs[name], runs))
        # Of two single runs.
        single = noise.Expectation(
            centre=0.0, spread=expected.spread, freedom=expected.freedom, runs=1
        )
        if change > max(single.limit(noise.FALSE_ALARMS), smallest):
            return True
    return False


def _differs(
    before: Figures,
    name: str,
    values: Sequence[float],
    alpha: float,
    smallest: float,
) -> bool:
    expected = _expectation(before, name)
    if expected is None:
        return False
    known = before.series[name]
    scaled = [noise.scaled(value, known) for value in values]
    change = abs(sum(scaled) / len(scaled) - expected.centre)
    limit = expected.limit(alpha, fresh=len(scaled))
    return change > max(limit, smallest)


def _expectation(before: Figures, name: str) -> noise.Expectation | None:
    """Return what the accepted runs of a series say by themselves; None if too few."""
    runs = before.series.get(name, {})
    known = before.spreads.get(name)
    if not runs or (len(runs) < noise.FEWEST_RUNS and known is None):
        return None
    scaled = {run: noise.scaled(value, runs) for run, value in runs.items()}
    # By the series alone: an acceptance may hold one case, and has no machine to
    # compare with.
    spreads = {} if known is None else {name: known}
    judged = noise.compare_run({name: scaled}, {}, shared=False, known=spreads)
    return judged.expectations[name]
