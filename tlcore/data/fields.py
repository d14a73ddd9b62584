"""Fields: what the values of a JSON document must be.

Owns the checks that a document is described with, and the one sentence for a value that
is something else: it names the field and what is there. A field that is missing is not
refused unless it is required, and one that nobody knows is passed over, so that a
document of a later version of the same schema is read.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any

Check = Callable[[Any, str], None]
"""Raises ValueError unless a value, found at a place in a document, is as required."""

_LARGEST_WHOLE = 2**63 - 1
_SHOWN_CHARACTERS = 60


def wrong(at: str, must: str, value: Any) -> ValueError:
    """Return the error for a value that is not what it must be.

    Example:
        >>> raise wrong("final.val_loss.n", "a whole number", "x")
        Traceback (most recent call last):
        ValueError: final.val_loss.n must be a whole number. Received: 'x'
    """
    shown = repr(value)
    if len(shown) > _SHOWN_CHARACTERS:
        shown = f"{shown[:_SHOWN_CHARACTERS]}..."
    return ValueError(f"{at} must be {must}. Received: {shown}")


def text(value: Any, at: str) -> None:
    """Require a string."""
    if not isinstance(value, str):
        raise wrong(at, "text", value)


def moment(value: Any, at: str) -> None:
    """Require a date and a time in ISO 8601, as `datetime.isoformat` writes it."""
    text(value, at)
    try:
        datetime.fromisoformat(value).timestamp()
    except (ValueError, OverflowError, OSError) as error:
        raise wrong(at, "a moment such as 2026-01-02T03:04:05+00:00", value) from error


def whole(least: int = 0, most: int = _LARGEST_WHOLE) -> Check:
    """Require a whole number within limits."""

    def check(value: Any, at: str) -> None:
        if isinstance(value, bool) or not isinstance(value, int):
            raise wrong(at, "a whole number", value)
        if not least <= value <= most:
            raise wrong(at, f"a whole number from {least} to {most}", value)

    return check


def number(value: Any, at: str) -> None:
    """Require a finite number."""
    try:
        finite = not isinstance(value, bool) and math.isfinite(value)
    except (TypeError, OverflowError):
        finite = False
    if not finite:
        raise wrong(at, "a finite number", value)


def flag(value: Any, at: str) -> None:
    """Require true or false."""
    if not isinstance(value, bool):
        raise wrong(at, "true or false", value)


def scalar(value: Any, at: str) -> None:
    """Require null, true, false, a finite number or text."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        number(value, at)
    elif not isinstance(value, str | bool | None):
        raise wrong(at, "a number, text, true, false or null", value)


def optional(check: Check) -> Check:
    """Require null or what `check` requires."""

    def either(value: Any, at: str) -> None:
        if value is not None:
            check(value, at)

    return either


def items(check: Check) -> Check:
    """Require a list, each item as `check` requires."""

    def each(value: Any, at: str) -> None:
        if not isinstance(value, list):
            raise wrong(at, "a list", value)
        for place, item in enumerate(value):
            check(item, f"{at}[{place}]")

    return each


def by_name(check: Check) -> Check:
    """Require an object, each of its values as `check` requires."""

    def each(value: Any, at: str) -> None:
        if not isinstance(value, Mapping):
            raise wrong(at, "an object", value)
        for name, item in value.items():
            check(item, f"{at}.{name}" if at else str(name))

    return each


def record(
    fields: Mapping[str, Check],
    *,
    required: Iterable[str] = (),
    others: Check | None = None,
) -> Check:
    """Require an object with these fields.

    Args:
        fields: by name, what the value of the field must be where it is there.
        required: the fields that must be there.
        others: what the values of all other fields must be; None takes anything.

    Example:
        >>> check = record({"n": whole()}, required=["n"])
        >>> check({"n": 3, "unit": "s"}, "final")
        >>> check({}, "final")
        Traceback (most recent call last):
        ValueError: final must be an object with 'n'. Received: {}
    """
    needed = tuple(required)
    known = MappingProxyType(dict(fields))

    def check(value: Any, at: str) -> None:
        if not isinstance(value, Mapping):
            raise wrong(at or "it", "an object", value)
        for name in needed:
            if name not in value:
                raise wrong(at or "it", f"an object with {name!r}", value)
        for name, item in value.items():
            one = known.get(name, others)
            if one is not None:
                one(item, f"{at}.{name}" if at else str(name))

    return check
