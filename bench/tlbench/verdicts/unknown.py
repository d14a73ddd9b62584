"""Unknown machines: what becomes of figures that nothing was accepted for here.

A figure without any baseline on its machine is `missing` or `not_comparable`, whatever
it is. It need not fail the session: somebody may have said so, or a pair may have
judged the case instead. Pure functions; how a pair is measured is in `pairing`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from tlbench.verdicts.figures import Accepted, incomparable
from tlbench.verdicts.verdict import Case, Finding


@dataclass(frozen=True, kw_only=True)
class Instead:
    """What was found in place of the figures of one case.

    Attributes:
        words: how it was found, for the sentence that says what is missing.
        findings: why the case does not pass all the same.
    """

    words: str
    findings: tuple[Finding, ...] = ()


def unjudged(cases: Iterable[Case], accepted: Accepted) -> tuple[str, ...]:
    """Return the cases that passed and have figures without any baseline."""
    return tuple(
        case.case
        for case in cases
        if case.record is not None
        and case.record.outcome == "passed"
        and _refusal(case, accepted)
    )


def excused(
    cases: Sequence[Case], accepted: Accepted, instead: Mapping[str, Instead]
) -> tuple[Case, ...]:
    """Return the verdicts where missing baselines fail nothing for some cases.

    Args:
        cases: the verdicts so far.
        accepted: what they were compared with.
        instead: by case, what was found instead; the others stay as they are.
    """
    return tuple(
        _excused(case, accepted, instead[case.case]) if case.case in instead else case
        for case in cases
    )


def _excused(case: Case, accepted: Accepted, instead: Instead) -> Case:
    refusal = _refusal(case, accepted)
    findings = [
        replace(one, why=f"{one.why}; {instead.words}", acquitted=True)
        if one == refusal
        else one
        for one in case.findings
    ]
    return replace(case, findings=(*findings, *instead.findings))


def _refusal(case: Case, accepted: Accepted) -> Finding | None:
    """Return the finding that figures cannot be compared; None if there is none."""
    refused = case.record and incomparable(case.record, accepted)
    found = Finding(*refused) if refused else None
    return found if found in case.findings else None
