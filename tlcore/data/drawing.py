"""Drawing: generated images of named kinds, the same bytes on every machine.

A kind is a texture on a shape ("striped_triangle"). Position, size, rotation, colours,
background and clutter are random and carry no information about the kind. This module
owns the kinds and how each is drawn. Random numbers come from a hash and arithmetic is
elementwise IEEE float64, so that the pixels depend neither on the version of NumPy nor
on the processor. Which images make up a folder is decided in `sample_images`; `png`
encodes them.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from tlcore.arguments import require_one_of, require_whole

SAMPLE_KINDS: tuple[str, ...] = (
    "striped_triangle",
    "dotted_crescent",
    "checked_ring",
    "plain_star",
    "rippled_elbow",
    "zigzag_square",
    "striped_crescent",
    "dotted_disc",
    "plain_arrow",
    "checked_heart",
    "zigzag_elbow",
    "rippled_cross",
    "plain_crescent",
    "striped_arrow",
    "checked_elbow",
    "dotted_square",
    "zigzag_star",
    "rippled_triangle",
    "plain_ring",
    "checked_crescent",
    "striped_disc",
    "dotted_elbow",
    "zigzag_cross",
    "rippled_heart",
    "checked_arrow",
    "rippled_crescent",
    "plain_elbow",
    "dotted_heart",
    "striped_elbow",
    "zigzag_crescent",
)
"""The kinds that sample images show, in the order in which classes are taken.

None of them is in `PRETRAINING_KINDS`, on which the weights of `sample_net` were
trained. Those weights have never seen crescents and elbows. They have seen the other
eight shapes and all six textures, but in other combinations, drawn by the same code on
the same sort of background.
"""

PRETRAINING_KINDS: tuple[str, ...] = (
    "plain_disc",
    "checked_disc",
    "rippled_disc",
    "zigzag_disc",
    "plain_square",
    "striped_square",
    "checked_square",
    "rippled_square",
    "plain_triangle",
    "checked_triangle",
    "dotted_triangle",
    "zigzag_triangle",
    "striped_ring",
    "dotted_ring",
    "rippled_ring",
    "zigzag_ring",
    "plain_cross",
    "striped_cross",
    "checked_cross",
    "dotted_cross",
    "striped_star",
    "checked_star",
    "dotted_star",
    "rippled_star",
    "plain_heart",
    "striped_heart",
    "zigzag_heart",
    "dotted_arrow",
    "rippled_arrow",
    "zigzag_arrow",
)
"""The kinds the weights of `sample_net` were trained on; no sample image shows one."""


def draw_sample_image(
    kind: str, index: int, *, size: int = 96, seed: int = 42
) -> NDArray[np.uint8]:
    """Draw one image of a kind.

    Args:
        kind: one of `SAMPLE_KINDS` or `PRETRAINING_KINDS`.
        index: number of the image; each number is a different scene.
        size: height and width in pixels. The scene is the same at every size; only the
            noise differs.
        seed: any integer; another seed gives another scene.

    Returns:
        RGB values in [0, 255], of shape (size, size, 3).

    Raises:
        ValueError: the kind is unknown or `size` is too small.

    Example:
        >>> draw_sample_image("plain_star", 0, size=32).shape
        (32, 32, 3)
    """
    require_one_of("kind", kind, sorted(SAMPLE_KINDS + PRETRAINING_KINDS))
    require_whole("size", size, least=SMALLEST_SIZE_PIXELS)
    texture, shape = kind.split("_")
    draws = _Draws(f"{seed}/{kind}/{index}")
    ground = draws.between(_DARKEST, _BRIGHTEST)
    canvas = _background(draws, size, ground)
    for _ in range(draws.whole(2, 5)):
        _paint(canvas, _clutter(draws, ground))
    subject = _subject(draws, ground, shape=shape, texture=texture)
    _paint(canvas, subject)
    for _ in range(draws.whole(0, 2)):
        _paint(canvas, _occluder(draws, subject.pose))
    canvas *= _illumination(draws, size)
    canvas += _noise(f"{seed}/{kind}/{index}/grain", size, draws.between(6.0, 24.0))
    rounded = np.floor(np.minimum(np.maximum(canvas, 0.0), 255.0) + 0.5)
    return np.ascontiguousarray(rounded.astype(np.uint8).transpose(1, 2, 0))


_Plane = NDArray[np.float64]
_Mask = NDArray[np.bool_]
_Color = tuple[float, float, float]
_Option = TypeVar("_Option")
_Region = Callable[[_Plane, _Plane], _Mask]
"""Returns, for every point (u, v), whether it lies inside."""

SMALLEST_SIZE_PIXELS = 16
"""In smaller images no texture can be made out."""
_DARKEST, _BRIGHTEST = 25.0, 230.0
"""Range of the luminance of surfaces, within [0, 255]."""
_SUBJECT_CONTRAST = 55.0
"""Smallest difference in luminance between the subject and the ground."""
_TEXTURE_CONTRAST = 65.0
"""Smallest difference in luminance between the two colours of a texture."""


class _Draws:
    """Random numbers, the same for the same key on every machine.

    They come from SHAKE-128, because NumPy does not promise that its generators give
    the same stream in every version (NEP 19).
    """

    _COUNT = 256  # numbers per image; no scene needs as many

    def __init__(self, key: str) -> None:
        words = np.frombuffer(_random_bytes(key, 4 * self._COUNT), dtype="<u4")
        self._fractions: Iterator[float] = iter((words / 4294967296.0).tolist())

    def between(self, low: float, high: float) -> float:
        return low + (high - low) * next(self._fractions)

    def whole(self, low: int, high: int) -> int:
        """Return an integer from `low` to `high`, both included."""
        return low + int((high - low + 1) * next(self._fractions))

    def choice(self, options: Sequence[_Option]) -> _Option:
        return options[self.whole(0, len(options) - 1)]

    def rotation(self) -> tuple[float, float]:
        """Return the cosine and sine of an angle."""
        # Not math.sin: C libraries differ in its last bit. The rational parametrization
        # of the circle needs only operations that IEEE 754 rounds correctly.
        t = self.between(-1.0, 1.0)
        sign = self.choice((-1.0, 1.0))
        return sign * (1.0 - t * t) / (1.0 + t * t), sign * 2.0 * t / (1.0 + t * t)


@dataclass(frozen=True)
class _Pose:
    """Where a unit figure lies; lengths are fractions of the side of the image."""

    x: float
    y: float
    x_radius: float
    y_radius: float
    rotation: tuple[float, float]

    def coordinates(self, xs: _Plane, ys: _Plane) -> tuple[_Plane, _Plane]:
        """Return the points of the grid `xs` by `ys` in the figure's coordinates."""
        cosine, sine = self.rotation
        right, down = xs - self.x, (ys - self.y)[:, None]
        u = right * (cosine / self.x_radius) + down * (sine / self.x_radius)
        v = down * (cosine / self.y_radius) - right * (sine / self.y_radius)
        return u, v


@dataclass(frozen=True)
class _Marks:
    """The marks that a texture adds to a plain surface."""

    texture: str
    pose: _Pose
    color: _Color


@dataclass(frozen=True)
class _Figure:
    """A shape to paint."""

    shape: str
    pose: _Pose
    color: _Color
    marks: _Marks | None = None


def _random_bytes(key: str, count: int) -> bytes:
    return hashlib.shake_128(f"tlcore sample image {key}".encode()).digest(count)


def _disc(u: _Plane, v: _Plane) -> _Mask:
    return u * u + v * v <= 0.81


def _square(u: _Plane, v: _Plane) -> _Mask:
    return np.maximum(np.abs(u), np.abs(v)) <= 0.74


def _triangle(u: _Plane, v: _Plane) -> _Mask:
    return (v >= -0.5) & (1.7320508 * np.abs(u) + v <= 1.0)


def _ring(u: _Plane, v: _Plane) -> _Mask:
    squared = u * u + v * v
    return (squared >= 0.24) & (squared <= 0.95)


def _cross(u: _Plane, v: _Plane) -> _Mask:
    u, v = np.abs(u), np.abs(v)
    return (np.minimum(u, v) <= 0.3) & (np.maximum(u, v) <= 0.95)


def _star(u: _Plane, v: _Plane) -> _Mask:
    # A pentagram: the points on the inner side of at least four of its five lines.
    lines = (
        (0.0, 1.0),
        (0.9510565, 0.309017),
        (0.5877853, -0.809017),
        (-0.5877853, -0.809017),
        (-0.9510565, 0.309017),
    )
    count = np.zeros(u.shape, dtype=np.uint8)
    for a, b in lines:
        count += a * u + b * v <= 0.33
    return count >= 4


def _heart(u: _Plane, v: _Plane) -> _Mask:
    # The curve (u^2 + v^2 - 1)^3 = u^2 v^3, scaled and moved into the unit circle.
    u, v = 1.2 * u, 1.2 * v + 0.1
    bulge = u * u + v * v - 1.0
    return bulge * bulge * bulge <= u * u * v * v * v


def _arrow(u: _Plane, v: _Plane) -> _Mask:
    v = np.abs(v)
    shaft = (np.abs(u + 0.4) <= 0.55) & (v <= 0.24)
    return shaft | ((u >= 0.05) & (v <= 0.85 * (0.95 - u)))


def _crescent(u: _Plane, v: _Plane) -> _Mask:
    bite = u - 0.5
    return (u * u + v * v <= 0.95) & (bite * bite + v * v >= 0.55)


def _elbow(u: _Plane, v: _Plane) -> _Mask:
    return (np.maximum(np.abs(u), np.abs(v)) <= 0.76) & (np.minimum(u, v) <= -0.2)


_SHAPES: dict[str, _Region] = {
    "disc": _disc,
    "square": _square,
    "triangle": _triangle,
    "ring": _ring,
    "cross": _cross,
    "star": _star,
    "heart": _heart,
    "arrow": _arrow,
    "crescent": _crescent,
    "elbow": _elbow,
}
"""Each lies within 1.1 units of its centre, on which `_paint` relies."""


def _phase(p: _Plane) -> _Plane:
    """Return the position of `p` in its period, in [0, 1)."""
    return p - np.floor(p)


def _striped(p: _Plane, q: _Plane) -> _Mask:  # noqa: ARG001 -- one signature for all
    return _phase(p) < 0.5


def _checked(p: _Plane, q: _Plane) -> _Mask:
    return (_phase(p) < 0.5) ^ (_phase(q) < 0.5)


def _dotted(p: _Plane, q: _Plane) -> _Mask:
    p, q = _phase(p) - 0.5, _phase(q) - 0.5
    return p * p + q * q <= 0.09


def _rippled(p: _Plane, q: _Plane) -> _Mask:
    return _phase(np.sqrt(p * p + q * q)) < 0.5


def _zigzag(p: _Plane, q: _Plane) -> _Mask:
    return _phase(p + np.abs(_phase(0.6 * q) - 0.5)) < 0.5


_TEXTURES: dict[str, _Region] = {
    "striped": _striped,
    "checked": _checked,
    "dotted": _dotted,
    "rippled": _rippled,
    "zigzag": _zigzag,
}
"""The marks of each texture, in units of its period."""


def _pixel_centres(first: int, last: int, size: int) -> _Plane:
    """Return where pixels `first` to `last` - 1 of `size` are sampled, twice each.

    The places are the centres of the halves of each pixel, from 0 to 1 over the image.
    """
    halves = np.arange(2 * first, 2 * last, dtype=np.float64)
    return (halves + 0.5) / (2.0 * size)


def _coverage(halves: _Mask) -> _Plane:
    """Return the part of each pixel that is covered, from its four samples."""
    # Four boolean samples: a multiple of 1/4 is exact, whatever the order of the sum.
    quarters: NDArray[np.uint8] = halves.view(np.uint8)
    counts = quarters[::2, ::2] + quarters[1::2, ::2]
    counts += quarters[::2, 1::2]
    counts += quarters[1::2, 1::2]
    covered: _Plane = counts.astype(np.float64) * 0.25
    return covered


def _paint(canvas: _Plane, figure: _Figure) -> None:
    """Paint `figure` over `canvas` of shape (3, size, size), in place."""
    size, pose = canvas.shape[1], figure.pose
    # Only the square around the figure is computed: clutter covers a few pixels.
    reach = 1.1 * max(pose.x_radius, pose.y_radius)
    left, top = (max(0, int((c - reach) * size)) for c in (pose.x, pose.y))
    right, bottom = (min(size, int((c + reach) * size) + 1) for c in (pose.x, pose.y))
    xs = _pixel_centres(left, right, size)
    ys = _pixel_centres(top, bottom, size)
    inside = _SHAPES[figure.shape](*pose.coordinates(xs, ys))
    patch = canvas[:, top:bottom, left:right]
    color = np.array(figure.color)[:, None, None]
    patch += _coverage(inside) * (color - patch)
    if figure.marks is not None:
        marked = _TEXTURES[figure.marks.texture](*figure.marks.pose.coordinates(xs, ys))
        difference = np.array(figure.marks.color)[:, None, None] - color
        patch += _coverage(inside & marked) * difference


def _color(draws: _Draws, luminance: float) -> _Color:
    """Return a random colour of about this luminance."""
    first, second = draws.between(-60.0, 60.0), draws.between(-60.0, 60.0)
    offsets = (first, second, -(first + second) / 2.0)
    start = draws.whole(0, 2)
    red, green, blue = (luminance + offsets[(start + i) % 3] for i in range(3))
    return red, green, blue


def _contrasting_luminance(draws: _Draws, other: float, gap: float) -> float:
    """Return a luminance at least `gap` away from `other`."""
    # The range wraps around. Clipping would pile values up at its ends, so that
    # subjects would often be white on black.
    span = _BRIGHTEST - _DARKEST
    above = other - _DARKEST + draws.between(gap, span - gap)
    return _DARKEST + (above - span if above >= span else above)


def _texture_pose(draws: _Draws, x: float, y: float, period: float) -> _Pose:
    """Return a pose whose unit is `period` and whose origin is near (x, y)."""
    x, y = (c + draws.between(-0.5, 0.5) * period for c in (x, y))
    return _Pose(x, y, period, period, draws.rotation())


def _background(draws: _Draws, size: int, ground: float) -> _Plane:
    """Return a ground of uneven colour with a faint texture, (3, size, size)."""
    slope_x, slope_y = draws.between(-60.0, 60.0), draws.between(-60.0, 60.0)
    grid = _pixel_centres(0, size, size)
    at = grid[::2] - 0.5
    relief = slope_x * at + (slope_y * at)[:, None] + _clouds(draws, size)
    texture = draws.choice(("plain", *_TEXTURES))
    pose = _texture_pose(draws, 0.5, 0.5, draws.between(0.07, 0.3))
    strength = draws.between(8.0, 40.0)
    if texture != "plain":
        marks = _TEXTURES[texture](*pose.coordinates(grid, grid))
        relief += strength * (_coverage(marks) - 0.5)
    tint = np.array([draws.between(0.4, 1.3) for _ in range(3)])
    color = np.array(_color(draws, ground))
    return color[:, None, None] + tint[:, None, None] * relief


def _clouds(draws: _Draws, size: int) -> _Plane:
    """Return soft blobs, (size, size), interpolated from 5 by 5 random heights."""
    heights = np.array(
        [[draws.between(-30.0, 30.0) for _ in range(5)] for _ in range(5)]
    )
    at = (np.arange(size, dtype=np.float64) + 0.5) * (4.0 / size)
    low = np.floor(at)
    part = at - low
    # Smoothstep; linear interpolation would show the grid as creases.
    part = part * part * (3.0 - 2.0 * part)
    low_index = low.astype(np.intp)
    rows = heights[low_index]
    rows = rows + part[:, None] * (heights[low_index + 1] - rows)
    columns = rows[:, low_index]
    clouds: _Plane = columns + part * (rows[:, low_index + 1] - columns)
    return clouds


def _clutter(draws: _Draws, ground: float) -> _Figure:
    radius = draws.between(0.03, 0.09)
    stretch = draws.between(0.6, 1.6)
    x, y = draws.between(0.0, 1.0), draws.between(0.0, 1.0)
    return _Figure(
        draws.choice(("disc", "square", "triangle")),
        _Pose(x, y, radius * stretch, radius / stretch, draws.rotation()),
        _color(draws, _contrasting_luminance(draws, ground, 20.0)),
    )


def _subject(draws: _Draws, ground: float, *, shape: str, texture: str) -> _Figure:
    radius = draws.between(0.22, 0.4)
    stretch = draws.between(0.87, 1.15)
    x, y = (draws.between(0.9 * radius, 1.0 - 0.9 * radius) for _ in range(2))
    pose = _Pose(x, y, radius * stretch, radius / stretch, draws.rotation())
    luminance = _contrasting_luminance(draws, ground, _SUBJECT_CONTRAST)
    color = _color(draws, luminance)
    if texture == "plain":
        return _Figure(shape, pose, color)
    marks = _Marks(
        texture,
        _texture_pose(draws, x, y, radius * draws.between(0.36, 0.6)),
        _color(draws, _contrasting_luminance(draws, luminance, _TEXTURE_CONTRAST)),
    )
    return _Figure(shape, pose, color, marks)


def _occluder(draws: _Draws, subject: _Pose) -> _Figure:
    """Return a thin bar that crosses the subject."""
    x = subject.x + draws.between(-0.6, 0.6) * subject.x_radius
    y = subject.y + draws.between(-0.6, 0.6) * subject.y_radius
    pose = _Pose(
        x, y, draws.between(0.2, 0.5), draws.between(0.012, 0.03), draws.rotation()
    )
    return _Figure("square", pose, _color(draws, draws.between(_DARKEST, _BRIGHTEST)))


def _illumination(draws: _Draws, size: int) -> _Plane:
    """Return factors of brightness that change across the image, (size, size)."""
    at = (np.arange(size, dtype=np.float64) + 0.5) / size - 0.5
    across, down = draws.between(-0.4, 0.4), draws.between(-0.4, 0.4)
    return draws.between(0.75, 1.15) + across * at + (down * at)[:, None]


def _noise(key: str, size: int, strength: float) -> _Plane:
    """Return noise in [-strength, strength] for every value, (3, size, size)."""
    noise = np.frombuffer(_random_bytes(key, 3 * size * size), dtype=np.uint8)
    values = noise.reshape(3, size, size).astype(np.float64)
    return (values - 127.5) * (strength / 127.5)
