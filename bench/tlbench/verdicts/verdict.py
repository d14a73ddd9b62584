"""Verdicts as values: on a figure, on a case, and why.

Owns the seven words, their order of gravity, and the JSON form of a verdict. How one is
reached is in `judge` and the modules it calls.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

from tlbench.record import CaseRecord, one_of

Verdict: TypeAlias = Literal[
    "regression",
    "missing",
    "not_comparable",
    "inconclusive",
    "machine_shift",
    "improvement",
    "pass",
]

VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
"""The gravest first."""

MACHINE = "(machine)"
"""The name in place of a case, for a verdict on the machine."""


@dataclass(frozen=True)
class Finding:
    """One reason why a case does not pass.

    Attributes:
        verdict: one of `VERDICTS`.
        why: the sentence that explains it.
        acquitted: whether it fails no session: a paired comparison showed that it is
            not by the code, or was made in place of a baseline that is missing, or
            `--tl-unknown warn` says so.
    """

    verdict: Verdict
    why: str
    acquitted: bool = False

    @property
    def fails(self) -> bool:
        """Whether it makes a gated session fail."""
        return not self.acquitted and is_finding(self.verdict)

    def __str__(self) -> str:
        return f"{self.verdict}: {self.why}"


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """The verdict on one series or proportion.

    Attributes:
        case: the case it belongs to.
        name: its name in that case.
        verdict: one of `VERDICTS`.
        why: the sentence that explains it.
        change: relative to the accepted runs, as a fraction or as a difference; None
            if there is nothing to compare with.
        detectable: the smallest change that would have been seen; None likewise.
        suspect: whether it should be run again before it is judged.
        drifted: whether it is compared with its anchor.
        blind: whether the accepted runs cannot tell; a pair may.
    """

    case: str
    name: str
    verdict: Verdict
    why: str
    change: float | None = None
    detectable: float | None = None
    suspect: bool = False
    drifted: bool = False
    blind: bool = False


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The names of a case's exact values, by how they compare with the accepted."""

    equal: tuple[str, ...]
    differing: tuple[str, ...]
    new: tuple[str, ...]  # recorded, without a baseline
    lost: tuple[str, ...]  # in the baseline, not recorded


@dataclass(frozen=True, kw_only=True)
class Case:
    """The verdict on one case.

    Attributes:
        case: its name.
        findings: why it does not pass, if it does not; improvements too.
        judgements: on its series and proportions.
        comparison: its exact values and costs.
        record: what it recorded; None if it did not run.
        ignored: whether it has timings, which were not judged.
    """

    case: str
    findings: tuple[Finding, ...]
    judgements: tuple[Judgement, ...] = ()
    comparison: Comparison | None = None
    record: CaseRecord | None = None
    ignored: bool = False

    @property
    def verdict(self) -> Verdict:
        """The gravest verdict of the findings; without any it is `pass`."""
        return gravest(finding.verdict for finding in self.findings)


def gravest(verdicts: Iterable[Verdict]) -> Verdict:
    """Return the gravest of some verdicts, `pass` if there are none.

    >>> gravest(["improvement", "missing", "inconclusive"])
    'missing'
    """
    return min(verdicts, key=VERDICTS.index, default="pass")


def is_finding(verdict: Verdict) -> bool:
    """Tell whether a verdict makes a gated session fail."""
    return verdict not in {"pass", "improvement"}


def absent(case: str, why: str) -> Case:
    """Return the verdict on a case that has a baseline but left no record."""
    return Case(case=case, findings=(Finding("missing", why),))


def to_json(case: Case) -> dict[str, Any]:
    """Return the JSON form of a verdict, without the record."""
    return {
        "findings": [
            [x.verdict, x.why, *(["acquitted"] if x.acquitted else [])]
            for x in case.findings
        ],
        "judgements": [
            {key: value for key, value in vars(x).items() if key not in _LEFT_OUT}
            for x in case.judgements
        ],
        "comparison": case.comparison and vars(case.comparison),
        **({"ignored": True} if case.ignored else {}),
    }


def from_json(case: str, data: Mapping[str, Any], record: CaseRecord | None) -> Case:
    """Read a verdict from its JSON form.

    Raises:
        KeyError, TypeError, ValueError: the data do not have that form.
    """
    comparison = data["comparison"]
    return Case(
        case=case,
        findings=tuple(
            Finding(_verdict(word), _text(why), acquitted=more == ["acquitted"])
            for word, why, *more in data["findings"]
        ),
        judgements=tuple(
            Judgement(
                case=case,
                name=_text(x["name"]),
                verdict=_verdict(x["verdict"]),
                why=_text(x["why"]),
                change=_number(x.get("change")),
                detectable=_number(x.get("detectable")),
            )
            for x in data["judgements"]
        ),
        comparison=comparison
        and Comparison(**{k: tuple(map(_text, v)) for k, v in comparison.items()}),
        record=record,
        ignored=data.get("ignored") is True,
    )


_LEFT_OUT = {"case", "suspect", "drifted", "blind"}


def _verdict(word: Any) -> Verdict:
    verdict: Verdict = one_of("verdict", word, VERDICTS)
    return verdict


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not a string")
    return value


def _number(value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{value!r} is not a number")
    if not math.isfinite(value):
        raise ValueError(f"{value!r} is not finite")
    return float(value)
