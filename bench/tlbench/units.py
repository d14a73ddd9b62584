"""Units: how durations, bytes, fractions and points are written for people.

Values are float seconds, int bytes and plain fractions everywhere else, and become text
only here.
"""

_SIZES = {
    "s": (("s", 1.0), ("ms", 1e-3), ("us", 1e-6), ("ns", 1e-9)),
    "bytes": (("MB", 1e6),),
}
"""By unit, what it is written in, the largest first."""


def figure(value: float, unit: str) -> str:
    """Return a value with four digits and its unit.

    Args:
        value: in seconds, bytes or, without a unit, as it is.
        unit: "s", "bytes" or "".

    >>> figure(0.25, "s"), figure(2e9, "bytes"), figure(0.5, "")
    ('250 ms', '2000 MB', '0.5')
    """
    sizes = _SIZES.get(unit, ())
    for name, size in sizes:
        if value >= size or value == 0 or name == sizes[-1][0]:
            return f"{value / size:.4g} {name}"
    return f"{value:.4g}"


def seconds(value: float) -> str:
    """Return a duration with its unit."""
    return figure(value, "s")


def megabytes(nbytes: float) -> str:
    """Return a number of bytes in megabytes of 10**6 bytes."""
    return figure(nbytes, "bytes")


def percent(fraction: float, *, sign: bool = False) -> str:
    """Return a fraction in percent; from 1000 % on without decimals.

    >>> percent(0.123), percent(0.123, sign=True), percent(49)
    ('12.3%', '+12.3%', '4900%')
    """
    plus = "+" if sign else ""
    digits = 1 if abs(fraction) < 10 else 0
    return f"{fraction:{plus}.{digits}%}"


def proportion(value: float) -> str:
    """Return a proportion such as an accuracy, in percent with two decimals."""
    return f"{value:.2%}"


def points(fraction: float) -> str:
    """Return a difference of two proportions in percentage points."""
    return f"{100 * fraction:.2f} points"
