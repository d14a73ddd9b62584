"""Warp: random flips, rotations, shifts, shears and zooms as one resampling per image.

Owns the layer that draws the geometry of each image as Keras's random layers do, one
after the other, and applies the product of their matrices. Each of Keras's layers
resamples all pixels on its own, which costs its time again and blurs the image again.
Which stacks there are is in `augmentation`.
"""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from numbers import Real
from types import MappingProxyType
from typing import Any

import keras
from keras import ops

from tlcore.arguments import require_one_of

FILL_MODES = ("constant", "nearest", "reflect", "wrap")
"""What is beyond the edges of an image, as in Keras; "constant" is black."""

Matrix = tuple[Any, Any, Any, Any, Any, Any]
"""x and y in the input for x, y in the output: (a, b, c, d, e, f) is
(a x + b y + c, d x + e y + f). Each is a number, or a tensor with one per image."""

_FLIPS = {
    "horizontal": (True, False),
    "vertical": (False, True),
    "horizontal_and_vertical": (True, True),
}
"""Which axes, (x, y), a mode of a flip turns."""


@keras.saving.register_keras_serializable(package="tlcore")
class RandomWarp(keras.layers.Layer):
    """Random flips, rotations, shifts, shears and zooms, in one resampling per image.

    The geometry has the distribution of Keras's layers of the same names and factors
    applied in this order. What is beyond the edges is filled once, at the end. In
    evaluation the layer is the identity.

    Args:
        steps: what happens to an image, first to last: ("flip", mode), with a mode of
            `keras.layers.RandomFlip`; ("rotation", turns); ("translation", height,
            width), in parts of the image; ("shear", x, y); ("zoom", factor), which
            keeps proportions, or ("zoom", height, width). A factor f from 0 to 1
            stands for a number drawn from -f to f.
        fill_mode: "constant" (black), "nearest", "reflect" or "wrap".
        seed: of the random numbers; None takes one from `keras.utils.set_random_seed`.
        kwargs: the arguments of `keras.layers.Layer`.

    Input and output shape: (n, height, width, channels); floats.

    Raises:
        ValueError: a step or the fill mode is unknown, or a factor is out of range.

    Example:
        >>> import numpy as np
        >>> images = np.ones((2, 8, 8, 3), "float32")
        >>> warp = RandomWarp([("flip", "horizontal"), ("rotation", 0.1)], seed=1)
        >>> warp(images, training=True).shape
        TensorShape([2, 8, 8, 3])
    """

    def __init__(
        self,
        steps: Sequence[Sequence[Any]],
        *,
        fill_mode: str = "reflect",
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        require_one_of("fill_mode", fill_mode, FILL_MODES)
        # Tuples: Keras would wrap lists, to track layers in them.
        self.steps = tuple(_checked(step) for step in steps)
        self.fill_mode = fill_mode
        self.seed = seed
        self.generator = keras.random.SeedGenerator(seed)
        # As Keras's own: XLA does not know the operation of TensorFlow.
        self.supports_jit = keras.backend.backend() != "tensorflow"
        self.input_spec = keras.layers.InputSpec(ndim=4)
        self.built = True

    def call(self, images: Any, training: bool | None = None) -> Any:  # noqa: FBT001
        """Return each image warped in its own way; outside training, the images."""
        if not training or not self.steps:
            return images
        count, height, width, _ = ops.shape(images)
        draws = keras.random.uniform(
            (count, sum(len(factors) for _, *factors in self.steps)),
            dtype="float32",
            seed=self.generator,
        )
        columns = ops.unstack(draws, axis=1)
        zero = ops.zeros_like(columns[0])
        matrix = matrix_of(self.steps, columns, (height, width))
        return ops.image.affine_transform(
            images,
            ops.stack([*(entry + zero for entry in matrix), zero, zero], axis=1),
            fill_mode=self.fill_mode,
            data_format="channels_last",
        )

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the shape of the input."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        return {
            **super().get_config(),
            "steps": [list(step) for step in self.steps],
            "fill_mode": self.fill_mode,
            "seed": self.seed,
        }


def matrix_of(
    steps: Sequence[Sequence[Any]], draws: Sequence[Any], size: tuple[Any, Any]
) -> Matrix:
    """Return the matrix of steps applied one after the other.

    Args:
        steps: those of a `RandomWarp`.
        draws: for each factor of each step, a tensor of one number in [0, 1) per image.
        size: (height, width) of the images, in pixels.

    Example:
        >>> import numpy as np
        >>> draws = [np.array([0.0, 1.0]), np.array([0.5, 0.5])]
        >>> *_, shift = matrix_of([("translation", 0.2, 0.1)], draws, (10, 10))
        >>> shift
        array([ 2., -2.])
    """
    # A size that is not static is a tensor, of whole numbers.
    height, width = (x if isinstance(x, int) else ops.cast(x, "float32") for x in size)
    left = iter(draws)
    matrix: Matrix = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
    for kind, *factors in steps:
        mine = list(itertools.islice(left, len(factors)))
        # The first step is the outermost: a pixel of the result is looked up in what
        # the last step was given, and that place in what the step before was given.
        matrix = _product(matrix, _STEPS[kind](factors, mine, height, width))
    return matrix


def _product(outer: Matrix, inner: Matrix) -> Matrix:
    # Not `ops.matmul`: on a GPU, TF32 would round each factor to 10 bits, which moves
    # pixels of a large image by a fraction of one.
    a, b, c, d, e, f = outer
    g, h, i, j, k, m = inner
    return (
        a * g + b * j,
        a * h + b * k,
        a * i + b * m + c,
        d * g + e * j,
        d * h + e * k,
        d * i + e * m + f,
    )


def _flip(mode: Sequence[str], draws: Sequence[Any], height: Any, width: Any) -> Matrix:
    # One number for both axes, as in Keras: "horizontal_and_vertical" is a half turn.
    sign = ops.where(draws[0] <= 0.5, -1.0, 1.0)
    x, y = (sign if turned else 1.0 for turned in _FLIPS[mode[0]])
    return _scaled(x, y, height, width)


def _rotation(
    factors: Sequence[float], draws: Sequence[Any], height: Any, width: Any
) -> Matrix:
    angle = 2 * math.pi * _drawn(factors[0], draws[0])
    cos, sin = ops.cos(angle), ops.sin(angle)
    x, y = (width - 1) / 2, (height - 1) / 2
    return cos, -sin, x - x * cos + y * sin, sin, cos, y - x * sin - y * cos


def _translation(
    factors: Sequence[float], draws: Sequence[Any], height: Any, width: Any
) -> Matrix:
    down, right = (_drawn(f, draw) for f, draw in zip(factors, draws, strict=True))
    return 1.0, 0.0, -right * width, 0.0, 1.0, -down * height


def _shear(
    factors: Sequence[float], draws: Sequence[Any], _height: Any, _width: Any
) -> Matrix:
    # About the upper left corner, as in Keras.
    x, y = (_drawn(f, draw) for f, draw in zip(factors, draws, strict=True))
    return 1.0, x, 0.0, y, 1.0, 0.0


def _zoom(
    factors: Sequence[float], draws: Sequence[Any], height: Any, width: Any
) -> Matrix:
    scales = [1 + _drawn(f, draw) for f, draw in zip(factors, draws, strict=True)]
    return _scaled(scales[-1], scales[0], height, width)


def _scaled(x: Any, y: Any, height: Any, width: Any) -> Matrix:
    """Return the matrix that scales both axes about the center; -1 turns one round."""
    return x, 0.0, (1 - x) * (width - 1) / 2, 0.0, y, (1 - y) * (height - 1) / 2


def _drawn(factor: float, draw: Any) -> Any:
    return factor * (2 * draw - 1)


_STEPS: Mapping[str, Callable[..., Matrix]] = MappingProxyType(
    {
        "flip": _flip,
        "rotation": _rotation,
        "translation": _translation,
        "shear": _shear,
        "zoom": _zoom,
    }
)
"""The function that returns the matrix of each kind of step."""
_FORMS = {
    "rotation": ('("rotation", 0.2)', {1}),
    "translation": ('("translation", 0.2, 0.2)', {2}),
    "shear": ('("shear", 0.2, 0.0)', {2}),
    "zoom": ('("zoom", 0.2) or ("zoom", 0.2, 0.0)', {1, 2}),
}
"""How a step is written, and how many factors it may have."""


def _checked(step: Any) -> tuple[Any, ...]:
    """Return a step as a tuple; refuse one that has no matrix."""
    kind, *factors = step if isinstance(step, list | tuple) and step else (step,)
    require_one_of("step", kind, list(_STEPS), subject="A step of a warp")
    if kind == "flip":
        mode = factors[0] if len(factors) == 1 else factors
        require_one_of("flip", mode, list(_FLIPS))
        return kind, mode
    form, counts = _FORMS[kind]
    most = 1.0
    if kind == "zoom":
        most = math.nextafter(1, 0)  # a zoom by 1 - 1 shows one point
    numbers = all(isinstance(f, Real) and 0 <= float(f) <= most for f in factors)
    if len(factors) not in counts or not numbers:
        below = "below 1" if kind == "zoom" else "at most 1"
        raise ValueError(
            f"The factors of a {kind} must be at least 0 and {below}, as many as in "
            f"{form}. Received: step={tuple(step)!r}."
        )
    return kind, *map(float, factors)
