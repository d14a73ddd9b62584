"""What two sides would have measured, as the tests here want it."""

import math

from tlbench.clocks import Span
from tlbench.pairing.pairs import Block, Ended, Measured, Turn

# The tests are in no package with a name of its own.
from ..verdicts.builders import CASE, left  # noqa: TID252


def span(seconds, *, own=1.0, all=None, cpu=1.0):  # noqa: A002 - its name in a span
    """Return a stretch of so many seconds, with shares of work."""
    everyone = own if all is None else all
    return Span(
        wall=seconds, cpu=seconds * cpu, own=seconds * own, all=seconds * everyone
    )


def turn(change=0.0, *, base_first=True, seconds=0.01, **shares):
    return Turn(
        base=Block(span=span(seconds, **shares), count=1),
        head=Block(span=span(seconds * math.exp(change), **shares), count=1),
        base_first=base_first,
    )


def ended(outcome="passed", why="", *, device=False, **kinds):
    return Ended(
        outcome=outcome,
        why=why,
        record=left(CASE, **kinds) if kinds else None,
        device=device,
    )


def measured(change=0.0, *, case=CASE, turns=4, base=None, head=None, **shares):
    return Measured(
        case=case,
        turns=tuple(
            turn(change, base_first=n % 2 == 0, **shares) for n in range(turns)
        ),
        base=base or ended(),
        head=head or ended(),
    )
