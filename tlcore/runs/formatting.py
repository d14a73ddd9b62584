"""Formatting: values of runs as text for people, in tables and on pages.

Owns how a number, a figure with its interval and a yes or no are written. It prints
nothing.
"""

from collections.abc import Mapping, Sequence
from typing import Any

Rows = Sequence[Mapping[str, Any]]


def estimate_cell(estimate: Mapping[str, Any], *, interval: bool = True) -> str:
    """Return a final figure: "0.9500 (0.835-0.986, n=40)"; None is "no number"."""
    value, low, high = (estimate[name] for name in ("value", "low", "high"))
    if value is None:
        return "no number"
    if not interval or low is None or high is None:
        return f"{value:.4f}"
    return f"{value:.4f} ({low:.3f}-{high:.3f}, n={estimate['n']})"


def numbers(rows: Rows) -> set[str]:
    """Return the names of the columns that hold numbers and nothing else."""
    return {
        name
        for name in rows[0]
        if all(isinstance(x, int | float | None) for x in (row[name] for row in rows))
    }


def cell(value: Any) -> str:
    """Return a value for people: "4,049,571", "0.95", "yes"; nothing for None."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.5g}" if isinstance(value, float) else str(value)
