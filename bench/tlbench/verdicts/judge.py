"""The verdict on every figure of a run, with the sentence that explains it.

Pure functions on records and accepted baselines. Exact values and costs are compared
for equality (`exact`); timings, memory and other values by the limits of their accepted
runs (`series`); proportions by their seeds (`proportions`). Nothing that is missing,
failed or not comparable reads as a pass.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from tlbench.record import CaseRecord
from tlbench.verdicts.exact import structural, whole_comparison
from tlbench.verdicts.figures import Accepted
from tlbench.verdicts.limits import DEFAULT, Policy
from tlbench.verdicts.portable import with_portable
from tlbench.verdicts.proportions import judge_proportions
from tlbench.verdicts.repeats import unlike
from tlbench.verdicts.series import Terms, judge_series
from tlbench.verdicts.verdict import Case, Finding, Judgement

_UNREPEATED = "the fresh runs did not repeat what the session measured"


def judge(
    records: Mapping[str, CaseRecord],
    accepted: Accepted,
    again: Mapping[str, Sequence[CaseRecord]] | None = None,
    *,
    policy: Policy = DEFAULT,
    now: Mapping[str, Any] | None = None,
) -> tuple[Case, ...]:
    """Judge the records of a run.

    Args:
        records: by case.
        accepted: what to compare with.
        again: by case, the records of fresh runs of the suspects; None if nothing is
            run again.
        policy: the limits of each case.
        now: the context of the run, which explains and is never compared.

    Returns:
        The cases, sorted; after them the machine, if it shifted.
    """
    accepted = with_portable(accepted, records)
    found = {
        case: list(structural(record, accepted)) for case, record in records.items()
    }
    # Time is judged only where the exact values hold: a faster run that trains fewer
    # weights is no improvement.
    timed = {
        case: record
        for case, record in records.items()
        if record.outcome == "passed"
        and not any(f.verdict == "regression" for f in found[case])
    }
    unrepeated = {
        case: unlike(record, (again or {}).get(case, ()))
        for case, record in timed.items()
    }
    for case, why in unrepeated.items():
        if why:
            found[case].append(Finding("inconclusive", f"{_UNREPEATED}: {why}"))
    # They clear no suspect and convict none: the run itself is judged.
    if again is not None:
        again = {k: () if unrepeated.get(k) else x for k, x in again.items()}
    terms = Terms(accepted=accepted, policy=policy, now=now or {})
    judgements, shift = judge_series(timed, terms, again)
    judgements += judge_proportions(timed, accepted)
    by_case: dict[str, list[Judgement]] = {}
    for judgement in judgements:
        by_case.setdefault(judgement.case, []).append(judgement)
    cases = [
        Case(
            case=case,
            findings=(*found[case], *_findings(by_case.get(case, ()))),
            judgements=tuple(by_case.get(case, ())),
            comparison=whole_comparison(record, accepted),
            record=record,
            ignored=bool(record.timings) and policy.of(case).ignore,
        )
        for case, record in sorted(records.items())
    ]
    return (*cases, *shift)


def suspects(cases: Iterable[Case]) -> tuple[str, ...]:
    """Return the cases to run again in fresh processes before they are judged."""
    return tuple(case.case for case in cases if any(x.suspect for x in case.judgements))


def unseen(cases: Iterable[Case]) -> tuple[str, ...]:
    """Return the cases whose accepted runs cannot tell whether they got slower."""
    return tuple(case.case for case in cases if any(x.blind for x in case.judgements))


def _findings(judgements: Iterable[Judgement]) -> Iterator[Finding]:
    """Yield every verdict other than `pass`, each sentence once."""
    found = (Finding(x.verdict, x.why) for x in judgements if x.verdict != "pass")
    yield from dict.fromkeys(found)
