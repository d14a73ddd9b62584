"""Trials: what a paired comparison with the accepted commit makes of suspects.

History names suspects; only the pair convicts. A suspect that is slower than the
accepted commit, measured in turn with it today, is a regression by the code. One that
equals it was moved by the machine or by what else is installed. Pure functions; how the
pair is measured is in `pairing`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from tlbench.verdicts.verdict import MACHINE, Case, Finding, Judgement, Verdict

Outcome: TypeAlias = Literal["slower", "faster", "equal", "unknown"]

REPRESENTATIVES = 5
"""How many cases are tried if all timings moved together."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What the pair says of one suspect.

    Attributes:
        commit: the accepted commit that it was compared with.
        outcome: what it is in the pair, compared to that commit.
        why: the sentence of the pair.
    """

    commit: str
    outcome: Outcome
    why: str


def representatives(cases: Iterable[Case]) -> tuple[str, ...]:
    """Return the cases to try for all, if all timings moved together; else none."""
    cases = tuple(cases)
    if not any(case.case == MACHINE for case in cases):
        return ()
    timed = [
        case.case
        for case in cases
        if case.record is not None
        and case.record.timings
        and case.judgements
        and not case.ignored
    ]
    # Evenly from the sorted names: neighbours are often variants of one case.
    step = max(1, len(timed) // REPRESENTATIVES)
    return tuple(timed[::step][:REPRESENTATIVES])


def tried(
    cases: Sequence[Case],
    trials: Mapping[str, Trial],
    environment: Mapping[str, Sequence[str]],
) -> tuple[Case, ...]:
    """Return the verdicts after the trials of suspects.

    Args:
        cases: the verdicts by the history.
        trials: by case, what the pair says.
        environment: by case, what changed around it since its accepted runs, in words.
    """
    return tuple(
        _machine(case, trials)
        if case.case == MACHINE
        else _tried(case, trials.get(case.case), environment.get(case.case, ()))
        for case in cases
    )


def _tried(case: Case, trial: Trial | None, environment: Sequence[str]) -> Case:
    if trial is None or trial.outcome == "unknown":
        return case
    suspected = [one for one in case.judgements if one.suspect or one.blind]
    replaced = {Finding(one.verdict, one.why) for one in suspected}
    findings = [one for one in case.findings if one not in replaced]
    against = f"measured in turn with the accepted commit {trial.commit}"
    if trial.outcome == "slower":
        findings.append(Finding("regression", f"by the code: {trial.why}, {against}"))
    elif any(one.verdict == "regression" for one in suspected):
        changed = "; ".join(environment) or "nothing known of it changed"
        history = "; ".join(one.why for one in suspected if one.verdict != "pass")
        findings.append(
            Finding(
                "machine_shift",
                f"by the environment ({changed}): {trial.why}, {against}; {history}",
                acquitted=True,
            )
        )
    judgements = tuple(
        _acquitted(one, trial) if one in suspected else one for one in case.judgements
    )
    return replace(case, findings=tuple(findings), judgements=judgements)


def _acquitted(judgement: Judgement, trial: Trial) -> Judgement:
    verdict: Verdict = "regression" if trial.outcome == "slower" else "pass"
    return replace(judgement, verdict=verdict)


def _machine(case: Case, trials: Mapping[str, Trial]) -> Case:
    """Return the verdict on the machine: moved by the code, or by something else."""
    known = [one for one in trials.values() if one.outcome != "unknown"]
    if not known:
        return case
    moved = [one for one in known if one.outcome in ("slower", "faster")]
    count = f"{len(moved)} of {len(known)} cases"
    why = case.findings[0].why
    if 2 * len(moved) > len(known):
        slower = sum(one.outcome == "slower" for one in moved)
        worse = 2 * slower > len(moved)
        found = Finding(
            "regression" if worse else "improvement",
            f"by the code: {count} differ from the accepted commit in the pair; {why}",
        )
    else:
        found = Finding(
            "machine_shift",
            f"by the environment: {count} differ from the accepted commit in the "
            f"pair; {why}",
            acquitted=True,
        )
    return replace(case, findings=(found,))
