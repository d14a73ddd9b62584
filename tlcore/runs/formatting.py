"""Formatting: values of runs as text, for tables on the terminal and on pages.

Owns how a number, a figure with its interval and a truth value are written. It prints
nothing and lays out nothing: tables are in `cli.tables` and in `publishing.page`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from tlcore.terminal.characters import visible

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
        for name in columns(rows)
        if all(isinstance(row.get(name), int | float | None) for row in rows)
    }


def columns(rows: Rows) -> list[str]:
    """Return the names in any of the rows, in the order of their first row.

    Example:
        >>> columns([{"phase": 1}, {"phase": 2, "skipped": 3}])
        ['phase', 'skipped']
    """
    return list(dict.fromkeys(name for row in rows for name in row))


def cell(value: Any) -> str:
    """Return a value as text, its control characters shown; None is empty.

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
    return f"{value:.5g}" if isinstance(value, float) else visible(value)
