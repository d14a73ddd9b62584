"""Proportions, such as accuracy: judged by their seeds and by their test sets."""

import math
from collections.abc import Mapping, Sequence

from tlbench import units
from tlbench.record import CaseRecord, Metric
from tlbench.verdicts import noise
from tlbench.verdicts.figures import Accepted, no_figures, proportions_of, worsening
from tlbench.verdicts.verdict import Judgement, Verdict


def judge_proportions(
    records: Mapping[str, CaseRecord], accepted: Accepted
) -> list[Judgement]:
    """Judge every proportion of the records, with the error budget shared by them."""
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
    refused = no_figures(record, accepted)
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
    worse = worsening(entries[0].better, change)
    verdict: Verdict = "pass"
    if worse > limit:
        verdict = "regression"
    elif -worse > limit:
        verdict = "improvement"
    count = "1 seed" if fresh == 1 else f"{fresh} seeds"
    way = "below" if change < 0 else "above"
    why = (
        f"{name} {mean:.2%} of {count} is {units.points(abs(change))} {way} the "
        f"{expected.runs} accepted seeds (limit {units.points(limit)})"
    )
    return Judgement(
        case=case,
        name=name,
        verdict=verdict,
        why=why,
        change=change,
        detectable=limit + noise.quantile(noise.POWER, math.inf) * error,
    )
