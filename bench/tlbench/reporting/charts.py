"""Charts as SVG: figures over runs, the parts of a whole, one figure over another.

Pure functions from numbers to text; the same numbers give the same bytes. Colours are
in the style sheet of the page, by class. By hand: three small charts do not justify a
plotting library of many megabytes, whose bytes change with its version.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from tlbench import units

WIDTH, HEIGHT = 640, 200
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 12, 12, 26
_MARKED = 40
"""How many points of a trend, the newest, are marked and have a tooltip."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """One value of a trend.

    Attributes:
        value: in seconds, in bytes or plain: in the unit of the chart.
        words: the tooltip.
        verdict: the verdict on the case in that run, which colours the point.
    """

    value: float
    words: str
    verdict: str = "pass"


@dataclass(frozen=True, kw_only=True)
class Band:
    """Where the next value is expected."""

    low: float
    centre: float
    high: float
    anchor: float | None = None


def trend(points: Sequence[Point], band: Band | None, *, unit: str, title: str) -> str:
    """Return a line over runs, in their order, with the band of expected values."""
    values = [point.value for point in points]
    if band is not None:
        values += [band.low, band.high]
        values += [] if band.anchor is None else [band.anchor]
    low, high = _span(values)
    parts = [_axis(low, high, unit)]
    if band is not None:
        top, bottom = _y(band.high, low, high), _y(band.low, low, high)
        parts.append(
            f'<rect class="band" x="{_LEFT}" y="{_n(top)}" '
            f'width="{WIDTH - _LEFT - _RIGHT}" height="{_n(max(1.0, bottom - top))}"/>'
        )
        parts.append(_level(_y(band.centre, low, high), "centre"))
        if band.anchor is not None:
            parts.append(_level(_y(band.anchor, low, high), "anchor"))
    # By the number of the run, not its date: runs are accepted and compared by number.
    step = (WIDTH - _LEFT - _RIGHT) / max(1, len(points))
    places = [
        (_LEFT + step * (i + 0.5), _y(point.value, low, high))
        for i, point in enumerate(points)
    ]
    line = " ".join(f"{_n(x)},{_n(y)}" for x, y in places)
    parts.append(f'<polyline class="line" points="{line}"/>')
    marked = list(zip(places, points, strict=True))
    for (x, y), point in marked[-_MARKED:]:
        words = escape(point.words)
        parts.append(
            f'<circle class="dot {escape(point.verdict)}" cx="{_n(x)}" cy="{_n(y)}" '
            f'r="3.5"><title>{words}</title></circle>'
        )
    return _svg(parts, title)


def shares(
    rows: Sequence[tuple[str, Sequence[tuple[str, float]]]], *, title: str
) -> str:
    """Return one bar for each row, divided into its parts.

    Args:
        rows: a name, and its parts: names with seconds.
        title: the title of the chart.
    """
    names = list(dict.fromkeys(name for _, parts in rows for name, _ in parts))
    total = max((sum(x for _, x in parts) for _, parts in rows), default=0.0) or 1.0
    bar, gap, top = 22, 28, 24
    drawn = []
    for i, name in enumerate(names):
        x = 12 + i * (WIDTH - 24) / max(1, len(names))
        drawn.append(
            f'<rect class="part p{i % 8}" x="{_n(x)}" y="4" width="10" height="10"/>'
            f'<text x="{_n(x + 14)}" y="13">{escape(name)}</text>'
        )
    for row, (label, parts) in enumerate(rows):
        y = top + row * (bar + gap)
        drawn.append(f'<text x="12" y="{y + 14}">{escape(label)}</text>')
        x = 12.0
        for name, value in parts:
            width = (WIDTH - 24) * value / total
            words = escape(f"{name} {units.seconds(value)}")
            drawn.append(
                f'<rect class="part p{names.index(name) % 8}" x="{_n(x)}" y="{y + 20}" '
                f'width="{_n(width)}" height="{bar - 4}"><title>{words}</title></rect>'
            )
            x += width
    return _svg(drawn, title, height=top + len(rows) * (bar + gap) + 8)


def scatter(
    points: Sequence[tuple[float, float, str]], *, across: str, up: str, title: str
) -> str:
    """Return points (x, y, tooltip), with a logarithmic x axis."""
    logs = [math.log10(x) for x, _, _ in points]
    left, right = _span(logs)
    low, high = _span([y for _, y, _ in points])
    drawn = [_axis(low, high, "")]
    end = f'x="{WIDTH - _RIGHT}" y="{HEIGHT - 6}" class="end"'
    drawn.append(f"<text {end}>{escape(across)}</text>")
    drawn.append(f'<text x="{_LEFT + 4}" y="{_TOP + 10}">{escape(up)}</text>')
    for (_, y, words), log in zip(points, logs, strict=True):
        x = _LEFT + (WIDTH - _LEFT - _RIGHT) * (log - left) / (right - left)
        drawn.append(
            f'<circle class="dot pass" cx="{_n(x)}" cy="{_n(_y(y, low, high))}" r="5">'
            f"<title>{escape(words)}</title></circle>"
        )
    return _svg(drawn, title)


def _span(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    # Never zero, also for one value or for equal ones: it is divided by.
    margin = (high - low) * 0.1 or abs(high) * 0.1 or 1.0
    return low - margin, high + margin


def _y(value: float, low: float, high: float) -> float:
    return _TOP + (HEIGHT - _TOP - _BOTTOM) * (high - value) / (high - low)


def _axis(low: float, high: float, unit: str) -> str:
    parts = []
    for value in (low, (low + high) / 2, high):
        y = _n(_y(value, low, high))
        label = escape(units.figure(value, unit))
        parts.append(
            f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y}" y2="{y}"/>'
            f'<text class="end" x="{_LEFT - 4}" y="{y}" dy="4">{label}</text>'
        )
    return "".join(parts)


def _level(y: float, kind: str) -> str:
    return (
        f'<line class="{kind}" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" '
        f'y1="{_n(y)}" y2="{_n(y)}"/>'
    )


def _svg(parts: Sequence[str], title: str, *, height: int = HEIGHT) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-label="{escape(title)}">{"".join(parts)}</svg>'
    )


def _n(value: float) -> str:
    # A tenth of a pixel: enough to look at, and a year of runs stays small.
    return f"{value:.1f}"
