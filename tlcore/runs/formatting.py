"""Formatting: values of runs as text, for tables on the terminal and on pages.

Owns how a number, a figure with its interval and a truth value are written. It prints
nothing and lays out nothing: tables are in `cli.tables` and in `publishing.page`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

Rows = Sequence[Mapping[str, Any]]


def estimate_cell(estimate: Mapping[str, Any], *, interval: bool = True) -> str:
    """Return a final figure with its interval; without a value, "no number".

    Args:
        estimate: "value", "low", "high" and "n", as in `run.json`.
        interval: whether the interval and n are shown.

    Example:
        >>> estimate_cell({"value": 0.95, "low": 0.835, "high": 0.986, "n": 40})
        '0.9500 (0.835-0.986, n=40)'
        >>> estimate_cell({"value": None, "low": None, "high": None, "n": 40})
        'no number'
    """
    value, low, high = (estimate[name] for name in ("value", "low", "high"))
    if value is None:
        return "no number"
    if not interval or low is None or high is None:
        return f"{value:.4f}"
    return f"{value:.4f} ({low:.3f}-{high:.3f}, n={estimate['n']})"


def numbers(rows: Rows) -> set[str]:
    """Return the names of the columns in which every value is a number or None.

    Example:
        >>> numbers([{"run": "a", "epochs": 5}, {"run": "b", "epochs": None}])
        {'epochs'}
    """
    return {
        name
        for name in rows[0]
        if all(isinstance(x, int | float | None) for x in (row[name] for row in rows))
    }


def cell(value: Any) -> str:
    """Return a value as text; None is empty.

    Example:
        >>> cell(4_049_571), cell(0.123456789), cell(True), cell(None)
        ('4,049,571', '0.12346', 'yes', '')
    """
    if value is None:
        return ""
    if isinstance(value, bool):  # before int: True is an int as well
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.5g}" if isinstance(value, float) else str(value)
