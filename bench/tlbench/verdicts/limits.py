"""Limits: what a case is judged by that its project may set.

Owns the limits of one case, and which of a project's settings apply to which case. The
defaults are the constants of `noise`. Where a project writes them is in `settings`.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any, Literal, TypeAlias

from tlbench.verdicts import noise

ClockChoice: TypeAlias = Literal["auto", "cpu", "wall"]


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one case is judged by.

    Attributes:
        practical_size: a smaller change of a timing or of memory, as a fraction, is no
            finding.
        largest_detectable: a pass that could see no smaller change than this fraction
            is inconclusive.
        clock: the clock of a paired comparison; "auto" is the one its work is on.
        ignore: whether its timings are left unjudged.
    """

    practical_size: float = noise.PRACTICAL_SIZE
    largest_detectable: float = noise.BLIND_FROM
    clock: ClockChoice = "auto"
    ignore: bool = False

    @property
    def smallest(self) -> float:
        """The practical size as a difference of logarithms.

        >>> round(Limits(practical_size=0.3).smallest, 3)
        0.262
        """
        return math.log1p(self.practical_size)

    def leaves_out(self, unit: str) -> bool:
        """Tell whether a figure of this unit is not judged."""
        return self.ignore and unit == "s"


@dataclass(frozen=True, kw_only=True)
class Rule:
    """Limits of the cases whose names match a pattern.

    Attributes:
        pattern: `*` and `?` stand for anything; brackets are those of a case's name,
            or a set of characters as in `fnmatch`.
        changes: the limits that it sets, by the names of `Limits`.
    """

    pattern: str
    changes: Mapping[str, Any]

    def matches(self, case: str) -> bool:
        """Tell whether it is about a case.

        >>> Rule(pattern="a.py::b[*]", changes={}).matches("a.py::b[x-1]")
        True
        """
        # The name of a parametrized case has brackets, which whoever copies it into a
        # pattern means literally.
        literally = self.pattern.replace("[", "[[]")
        return fnmatchcase(case, literally) or fnmatchcase(case, self.pattern)


@dataclass(frozen=True)
class Policy:
    """The limits of every case of a project.

    Attributes:
        default: the limits of a case that no rule is about.
        rules: in their order; of two that set the same, the later one wins.
    """

    default: Limits = field(default_factory=Limits)
    rules: tuple[Rule, ...] = ()

    def of(self, case: str) -> Limits:
        """Return the limits of a case.

        >>> slow = Rule(pattern="*slow*", changes={"practical_size": 0.1})
        >>> Policy(rules=(slow,)).of("a.py::slow").practical_size
        0.1
        """
        limits = self.default
        for rule in self.rules:
            if rule.matches(case):
                limits = replace(limits, **rule.changes)
        return limits

    def unmatched(self, cases: Iterable[str]) -> tuple[str, ...]:
        """Return the patterns that match none of some cases."""
        known = tuple(cases)
        patterns = dict.fromkeys(
            rule.pattern
            for rule in self.rules
            if not any(rule.matches(case) for case in known)
        )
        return tuple(patterns)


DEFAULT = Policy()
"""The policy of a project that sets nothing."""


def unmatched_notes(policy: Policy, cases: Iterable[str], where: str) -> list[str]:
    """Return in words which patterns are about no case: one sentence, or none.

    Args:
        policy: the limits of the project.
        cases: those that are known.
        where: what the cases are of.
    """
    patterns = ", ".join(map(repr, policy.unmatched(cases)))
    words = f"[tool.tlbench] in pyproject.toml: no case {where} matches"
    return [f"{words} {patterns}"] if patterns else []
