"""Proportions, such as accuracy: judged by their seeds and by their test sets.

A fixed band ("one point") would be too narrow for 200 images and too wide for 50,000;
the limit is what the accepted seeds and the sizes of the test sets explain.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from tlbench import units
from tlbench.record import CaseRecord, Metric
from tlbench.verdicts import noise
from tlbench.verdicts.figures import (
    Accepted,
    incomparable,
    mean,
    proportions_of,
    unknown,
    worsening,
)
from tlbench.verdicts.portable import together
from tlbench.verdicts.verdict import Judgement, Verdict


def judge_proportions(
    records: Mapping[str, CaseRecord], accepted: Accepted
) -> list[Judgement]:
    """Judge every proportion of the records, sharing one error budget."""
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
    """Judge a proportion by its seeds, and by its samples if the test set changed."""
    case = record.case
    refused = incomparable(record, accepted)
    if refused is not None:
        return Judgement(case=case, name=name, verdict=refused[0], why=refused[1])
    known = accepted.figures[case].metrics.get(name, ())
    if not known:
        word, why = unknown(record, name, accepted)
        return Judgement(case=case, name=name, verdict=word, why=why)
    figures = accepted.figures[case]
    # All seeds of a machine move together by what makes it another machine: one value.
    borrowed = name in figures.borrowed
    unit, units_now = ("machine", 1) if borrowed else ("seed", len(entries))
    fresh = [(entry.value, entry.n or 1) for entry in entries]
    expected, sampling = noise.seeds(known, fresh)
    inherited = figures.spreads.get(name)
    if inherited is not None:
        own = expected.spread, expected.freedom
        spread, freedom = together(own, inherited)
        expected = replace(expected, spread=spread, freedom=freedom)
    change = mean(entries) - expected.centre
    if expected.runs < noise.FEWEST_RUNS and inherited is None:
        why = f"{name}: {expected.runs} of {noise.FEWEST_RUNS} accepted {unit}s"
        return Judgement(
            case=case, name=name, verdict="inconclusive", why=why, change=change
        )
    # Two independent sources of variance add up: seeds, and the draw of a test set.
    error = math.sqrt(expected.error(units_now) ** 2 + sampling)
    limit = noise.quantile(1 - alpha / 2, expected.freedom) * error
    count = "1 seed" if len(entries) == 1 else f"{len(entries)} seeds"
    why = (
        f"{name} {units.proportion(mean(entries))} of {count} is "
        f"{units.points(abs(change))} {'below' if change < 0 else 'above'} the "
        f"{expected.runs} accepted {unit}{'' if expected.runs == 1 else 's'} "
        f"(limit {units.points(limit)})"
    )
    word = _word(worsening(entries[0].better, change), limit)
    detectable = limit + noise.quantile(noise.POWER, math.inf) * error
    if word == "pass" and detectable > noise.BLIND_POINTS:
        word = "inconclusive"
        why = (
            f"{name}: only a change of {units.points(detectable)} could be seen "
            f"(bound {units.points(noise.BLIND_POINTS)}): {expected.runs} accepted "
            f"{unit}s vary by {units.points(expected.spread)}, {count} of "
            f"{entries[0].n} samples"
        )
    return Judgement(
        case=case,
        name=name,
        verdict=word,
        why=why,
        change=change,
        detectable=detectable,
    )


def _word(worse: float, limit: float) -> Verdict:
    if worse > limit:
        return "regression"
    return "improvement" if -worse > limit else "pass"
