"""Charts: metrics of runs by epoch, and intervals of their final figures, as SVG.

Pure functions from numbers to text: the same numbers give the same bytes. A chart names
classes; the colours of those classes are in the style sheet of `page.html.j2`. Every
run also has a dash, a shape and a letter, so that no reader needs to tell colours
apart. Which metrics are drawn is up to `page`.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 480, 270
_LEFT, _RIGHT, _TOP, _BOTTOM = 50, 26, 36, 34
_ROW = 26
_DASHES = ("", "7 3", "2 3", "9 3 2 3")
_SHAPES = (
    "m-3 0a3 3 0 1 0 6 0a3 3 0 1 0-6 0z",
    "m-2.7-2.7h5.4v5.4h-5.4z",
    "m0-3.6l3.4 6h-6.8z",
    "m0-3.7l3.7 3.7l-3.7 3.7l-3.7-3.7z",
    "m0 3.6l3.4-6h-6.8z",
)
COLOURS = 8
"""Number of colours in the style sheet, by the classes c0 to c7."""
MARKED = 40
"""Number of epochs up to which every value has a marker.

In longer curves only the last value and values between two gaps have one: markers
would cover the line.
"""
LETTERED = 12
"""Number of runs up to which a curve has its letter at its end."""
_SMALLEST_SPAN = 1e-290
"""A smaller span counts as none: near the smallest float a fifth of it would be 0."""


@dataclass(frozen=True, kw_only=True)
class Curve:
    """A metric of one run by epoch.

    Attributes:
        key: the letter of the run.
        name: of the run.
        place: index of the run among the others, which determines its style.
        epochs: from 1.
        values: one per epoch; None for one that is not a finite number.
        fine_tuning: the first epoch of fine-tuning; None without fine-tuning.
    """

    key: str
    name: str
    place: int
    epochs: Sequence[int]
    values: Sequence[float | None]
    fine_tuning: int | None = None


@dataclass(frozen=True, kw_only=True)
class Whisker:
    """A final figure of one run with its interval.

    Attributes:
        key: the letter of the run.
        name: of the run.
        place: index of the run among the others, which determines its style.
        value: the figure.
        low: the lower end of its interval.
        high: the upper end.
    """

    key: str
    name: str
    place: int
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class _Axes:
    """The epochs and values at the edges of a chart."""

    left: float
    right: float
    low: float
    high: float

    def x(self, epoch: float) -> float:
        """Return the horizontal coordinate of an epoch."""
        width = WIDTH - _LEFT - _RIGHT
        return _LEFT + width * (epoch - self.left) / (self.right - self.left)

    def y(self, value: float) -> float:
        """Return the vertical coordinate of a value; in SVG it grows downwards."""
        height = HEIGHT - _TOP - _BOTTOM
        return _TOP + height * (self.high - value) / (self.high - self.low)


def letter(place: int) -> str:
    """Return the letter of a run: A to Z, then AA and so on.

    Example:
        >>> [letter(place) for place in (0, 25, 26)]
        ['A', 'Z', 'AA']
    """
    place, last = divmod(place, 26)
    return (letter(place - 1) if place else "") + chr(ord("A") + last)


def chart(
    curves: Sequence[Curve],
    *,
    title: str,
    name: str,
    span: tuple[float, float] | None = None,
) -> str:
    """Return a chart with the curves of one or more runs.

    Args:
        curves: at least one of their values must be a number.
        title: of the chart.
        name: id of the chart in the page, one word.
        span: the smallest and the greatest value on the axis; by default those of the
            curves.

    Example:
        >>> loss = Curve(key="A", name="a", place=0, epochs=[1, 2], values=[2.0, 0.5])
        >>> svg = chart([loss], title="loss", name="chart-loss")
        >>> svg.startswith('<svg id="chart-loss"'), "ends at 0.5" in svg
        (True, True)
    """
    low, high = span or extremes(curves)
    last = max((epoch for curve in curves for epoch in curve.epochs), default=1)
    ticks = nice(low, high)
    axes = _Axes(0.5, last + 0.5, min(low, ticks[0]), max(high, ticks[-1]))
    drawn = [*_grid(axes, ticks, last), *_fine_tuning_starts(curves, axes)]
    for curve in curves:
        drawn += _curve(curve, axes)
    if len(curves) <= LETTERED:
        drawn += _letters(curves, axes)
    ends = [(c.key, c.name, _last(c)) for c in curves]
    summary = "; ".join(f"{k} {n} ends at {v[1]:.4g}" for k, n, v in ends if v)
    return _svg(drawn, title, f"By epoch, to {last}. {summary}.", name)


def whiskers(rows: Sequence[Whisker], *, title: str, name: str) -> str:
    """Return a chart with the figure of each run as a point on its interval.

    Args:
        rows: at least one.
        title: of the chart.
        name: id of the chart in the page, one word.

    Example:
        >>> row = Whisker(key="A", name="a", place=0, value=0.9, low=0.8, high=0.95)
        >>> "0.9000 (0.8000 to 0.9500)" in whiskers([row], title="Final", name="final")
        True
    """
    height = 8 + _ROW * len(rows) + 26
    ticks = nice(min(r.low for r in rows), max(r.high for r in rows))
    low, high = ticks[0], ticks[-1]
    left, right = 34, 64

    def x(value: float) -> float:
        return left + (WIDTH - left - right) * (value - low) / (high - low)

    drawn = [
        f'<path class="grid" d="M{_n(x(tick))} 4V{height - 22}"/>'
        f'<text class="mid" x="{_n(x(tick))}" y="{height - 6}">{tick:.4g}</text>'
        for tick in ticks
    ]
    for i, row in enumerate(rows):
        y = 8 + _ROW * (i + 0.5)
        words = f"{row.name}: {row.value:.4f} ({row.low:.4f} to {row.high:.4f})"
        ends = "".join(f"M{_n(x(end))} {_n(y - 5)}v10" for end in (row.low, row.high))
        drawn.append(
            f'<g class="run r{row.place} c{row.place % COLOURS}">'
            f"<title>{escape(words)}</title>"
            f'<text class="key" x="10" y="{_n(y + 4)}">{escape(row.key)}</text>'
            f'<path class="line" d="M{_n(x(row.low))} {_n(y)}H{_n(x(row.high))}{ends}"'
            f'/><path class="dot" d="M{_n(x(row.value))} {_n(y)}'
            f'{_SHAPES[row.place % len(_SHAPES)]}"/>'
            f'<text x="{WIDTH - right + 12}" y="{_n(y + 4)}">{row.value:.4f}</text></g>'
        )
    summary = "; ".join(f"{r.key} {r.name} {r.value:.4f}" for r in rows)
    return _svg(drawn, title, f"With 95 % intervals. {summary}.", name, height=height)


def sample(place: int) -> str:
    """Return a short piece of a run's line with its marker, for a legend."""
    return (
        f'<svg class="sample" viewBox="0 0 36 12" aria-hidden="true">'
        f'<g class="run c{place % COLOURS}"><path class="line" d="M1 6H35"'
        f'{_dash(place)}/><path class="dot" d="M18 6{_SHAPES[place % len(_SHAPES)]}"/>'
        "</g></svg>"
    )


def extremes(curves: Sequence[Curve]) -> tuple[float, float]:
    """Return the smallest and the greatest value of all curves."""
    values = [v for curve in curves for v in curve.values if v is not None]
    return min(values), max(values)


def nice(low: float, high: float) -> list[float]:
    """Return round numbers at equal distances that cover a span, for an axis.

    Example:
        >>> [round(tick, 1) for tick in nice(0.13, 0.87)]
        [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    """
    # A flat curve has no span: 10 % around its value, or 1 around zero.
    size = max(abs(low), abs(high))
    if high - low <= max(size * 1e-9, _SMALLEST_SPAN):
        margin = size * 0.1 if size > _SMALLEST_SPAN else 1.0
        low, high = low - margin, high + margin
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    # The slack keeps rounding from adding a tick: 0.3 / 0.1 is 2.9999999999999996.
    step = next(power * m for m in (1, 2, 5, 10) if power * m >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [i * step for i in range(first, last + 1)]


def _grid(axes: _Axes, ticks: Sequence[float], last: int) -> Iterator[str]:
    right = WIDTH - _RIGHT
    for tick in ticks:
        y = _n(axes.y(tick))
        yield f'<path class="grid" d="M{_LEFT} {y}H{right}"/>'
        yield f'<text class="end" x="{_LEFT - 7}" y="{y}" dy="4">{tick:.4g}</text>'
    step = next(s for s in _steps() if last / s <= 10)
    first = () if step == 2 else (1,)  # at step 2 a 1 would touch the 2
    for epoch in dict.fromkeys((*first, *range(step, last + 1, step))):
        place = f'x="{_n(axes.x(epoch))}" y="{HEIGHT - _BOTTOM + 15}"'
        yield f'<text class="mid" {place}>{epoch}</text>'
    yield f'<text class="end" x="{right}" y="{HEIGHT - 4}">epoch</text>'


def _steps() -> Iterator[int]:
    power = 1
    while True:
        yield from (power, 2 * power, 5 * power)
        power *= 10


def _fine_tuning_starts(curves: Sequence[Curve], axes: _Axes) -> Iterator[str]:
    """Yield a line where fine-tuning starts, with the runs if not all start there."""
    starts: dict[int, list[Curve]] = {}
    for curve in curves:
        if curve.fine_tuning is not None:
            starts.setdefault(curve.fine_tuning, []).append(curve)
    for row, (epoch, starting) in enumerate(sorted(starts.items())):
        keys = " ".join(curve.key for curve in starting)
        everyone = len(starting) == len(curves)
        words = "fine-tuning" if everyone else f"fine-tuning {keys}"
        x = axes.x(epoch - 0.5)
        side, gap = ("end", -4) if x > WIDTH * 0.6 else ("", 4)
        yield (
            f'<path class="start" d="M{_n(x)} {_TOP - 9}V{HEIGHT - _BOTTOM}"/>'
            # Every other text one line higher: starts one epoch apart overlap.
            f'<text class="{side}" x="{_n(x + gap)}" y="{_TOP - 12 - 12 * (row % 2)}">'
            f"{escape(words)}</text>"
        )


def _curve(curve: Curve, axes: _Axes) -> Iterator[str]:
    """Yield the line of one run, with a gap for each missing value, and its markers."""
    steps, marked, pen = [], [], "M"
    shape = _SHAPES[curve.place % len(_SHAPES)]
    last, every = _last(curve), len(curve.epochs) <= MARKED
    for i, (epoch, value) in enumerate(zip(curve.epochs, curve.values, strict=True)):
        if value is None:
            pen = "M"
            continue
        x, y = _n(axes.x(epoch)), _n(axes.y(value))
        steps.append(f"{pen}{x} {y}")
        following = curve.values[i + 1] if i + 1 < len(curve.values) else None
        # Between two gaps there is no line, only the marker shows the value.
        if every or (epoch, value) == last or (pen == "M" and following is None):
            words = f"{curve.name}, epoch {epoch}: {value:.4g}"
            marked.append(
                f'<path class="dot" d="M{x} {y}{shape}">'
                f"<title>{escape(words)}</title></path>"
            )
        pen = "L"
    yield f'<g class="run r{curve.place} c{curve.place % COLOURS}">'
    if steps:
        yield f'<path class="line" d="{"".join(steps)}"{_dash(curve.place)}/>'
    yield from marked
    yield "</g>"


def _letters(curves: Sequence[Curve], axes: _Axes) -> Iterator[str]:
    """Yield the letter of each run at the end of its line, moved if two overlap."""
    ends = [(axes.x(end[0]), axes.y(end[1]), c) for c in curves if (end := _last(c))]
    placed: list[tuple[float, float]] = []
    for x, wanted, curve in sorted(ends, key=lambda end: -end[1]):
        free = (
            y
            for step in range(4 * len(ends))
            for y in (wanted - 4 * step, wanted + 4 * step)
            if _TOP - 4 <= y <= HEIGHT - _BOTTOM
            and not any(abs(x - a) < 12 and abs(y - b) < 12 for a, b in placed)
        )
        y = next(free, wanted)
        placed.append((x, y))
        yield (
            f'<text class="key r{curve.place} c{curve.place % COLOURS}" '
            f'x="{_n(x + 7)}" y="{_n(y + 4)}">{escape(curve.key)}</text>'
        )


def _last(curve: Curve) -> tuple[int, float] | None:
    pairs = zip(curve.epochs, curve.values, strict=True)
    known = [(epoch, value) for epoch, value in pairs if value is not None]
    return known[-1] if known else None


def _dash(place: int) -> str:
    dash = _DASHES[place % len(_DASHES)]
    return f' stroke-dasharray="{dash}"' if dash else ""


def _svg(
    drawn: Sequence[str], title: str, summary: str, name: str, *, height: int = HEIGHT
) -> str:
    # Screen readers read the title and the description instead of the paths.
    return (
        f'<svg id="{escape(name)}" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-labelledby="{escape(name)}-title {escape(name)}-desc">'
        f'<title id="{escape(name)}-title">{escape(title)}</title>'
        f'<desc id="{escape(name)}-desc">{escape(summary)}</desc>{"".join(drawn)}</svg>'
    )


def _n(value: float) -> str:
    return f"{value:.1f}"  # a tenth of a pixel; more digits only make the page larger
