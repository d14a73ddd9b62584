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
import numpy as np
from keras import ops

from tlcore.arguments import require_one_of

FILL_MODES = ("constant", "nearest", "reflect", "wrap")
"""What is beyond the edges of an image, as in Keras; "constant" is black."""

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
        >>> tuple(warp(images, training=True).shape)
        (2, 8, 8, 3)
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
        drawn = sum(len(factors) for _, *factors in self.steps)
        draws = keras.random.uniform(
            (count, drawn), -1, 1, dtype="float32", seed=self.generator
        )
        return ops.image.affine_transform(
            images,
            transforms(self.steps, draws, (height, width)),
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


def transforms(
    steps: Sequence[Sequence[Any]], draws: Any, size: tuple[Any, Any]
) -> Any:
    """Return what `keras.ops.image.affine_transform` takes, (n, 8), for steps in order.

    Args:
        steps: those of a `RandomWarp`, at least one.
        draws: (n, factors of all steps), from -1 to 1.
        size: (height, width) of the images, in pixels.

    Example:
        >>> import numpy as np
        >>> draws = np.array([[1.0, 0.5], [-1.0, 0.5]], "float32")
        >>> found = transforms([("translation", 0.2, 0.1)], draws, (10, 20))
        >>> np.asarray(found)[:, :6]
        array([[ 1.,  0., -1.,  0.,  1., -2.],
               [ 1.,  0., -1.,  0.,  1.,  2.]], dtype=float32)
    """
    # A size that is not static is a tensor, of whole numbers.
    height, width = (x if isinstance(x, int) else ops.cast(x, "float32") for x in size)
    factors: list[float] = [
        1.0 if kind == "flip" else f for kind, *fs in steps for f in fs
    ]
    # NumPy times a tensor of PyTorch is an array of NumPy.
    draws = ops.convert_to_tensor(draws)
    left = iter(ops.unstack(draws * _constant(factors), axis=1))
    # All matrices at once, each the identity plus multiples of constant ones, in
    # coordinates whose origin is the center: few operations, which TensorFlow traces
    # again for every function that a model is in.
    multiples, constants = [], []
    for at, (kind, *fs) in enumerate(steps):
        mine = list(itertools.islice(left, len(fs)))
        for multiple, entries in _STEPS[kind](fs, mine, height, width):
            constant = np.zeros((len(steps), 3, 3), "float32")
            for row, column, value in entries:
                constant[at, row, column] = value
            multiples.append(multiple)
            constants.append(constant)
    weights = ops.expand_dims(ops.stack(multiples, axis=1), (2, 3, 4))
    matrices = ops.sum(weights * _constant(constants), axis=1) + _constant(np.eye(3))
    product, *others = ops.unstack(matrices, len(steps), axis=1)
    # The first step is the outermost: a pixel of the result is looked up in what the
    # last step was given, and that place in what the step before it was given.
    for other in others:
        # Not `ops.matmul`: on a GPU, TF32 would round each factor to 10 bits, which
        # moves pixels of a large image by a fraction of one.
        product = ops.sum(product[:, :, :, None] * other[:, None], axis=2)
    return _from_corner(product, height, width)


def _constant(numbers: Any) -> Any:
    return ops.convert_to_tensor(np.asarray(numbers, "float32"))


def _from_corner(matrices: Any, height: Any, width: Any) -> Any:
    """Return matrices in pixels from the upper left corner, without the last entry."""
    rows = ops.reshape(matrices, (-1, 9))
    a, b, c, d, e, f, zero, _, _ = ops.unstack(rows, 9, axis=1)
    x, y = (width - 1) / 2, (height - 1) / 2
    c += x - a * x - b * y
    f += y - d * x - e * y
    return ops.stack([a, b, c, d, e, f, zero, zero], axis=1)


Entries = list[tuple[int, int, float]]
"""Row, column and value of those entries of a 3 x 3 matrix that are not 0."""
Terms = list[tuple[Any, Entries]]
"""A matrix less the identity: constant matrices, each times one number per image.

It gives x and y in the input for x and y in the output, from the center of the image.
"""


def _flip(
    mode: Sequence[str], draws: Sequence[Any], _height: Any, _width: Any
) -> Terms:
    # One number for both axes, as in Keras: "horizontal_and_vertical" is a half turn.
    turned = ops.where(draws[0] <= 0, -2.0, 0.0)
    return [(turned, [(i, i, 1) for i, turns in enumerate(_FLIPS[mode[0]]) if turns])]


def _rotation(_: Any, draws: Sequence[Any], _height: Any, _width: Any) -> Terms:
    angle = 2 * math.pi * draws[0]
    diagonal, sine = [(0, 0, 1.0), (1, 1, 1.0)], [(0, 1, -1.0), (1, 0, 1.0)]
    return [(ops.cos(angle) - 1, diagonal), (ops.sin(angle), sine)]


def _translation(_: Any, draws: Sequence[Any], height: Any, width: Any) -> Terms:
    down, right = draws
    return [(right * width, [(0, 2, -1.0)]), (down * height, [(1, 2, -1.0)])]


def _shear(_: Any, draws: Sequence[Any], height: Any, width: Any) -> Terms:
    # About the upper left corner, as in Keras: from the center that also shifts.
    x, y = draws
    return [
        (x, [(0, 1, 1.0)]),
        (y, [(1, 0, 1.0)]),
        (x * ((height - 1) / 2), [(0, 2, 1.0)]),
        (y * ((width - 1) / 2), [(1, 2, 1.0)]),
    ]


def _zoom(factors: Sequence[float], draws: Sequence[Any], *_: Any) -> Terms:
    if len(factors) == 1:
        return [(draws[0], [(0, 0, 1.0), (1, 1, 1.0)])]
    return [(draws[1], [(0, 0, 1.0)]), (draws[0], [(1, 1, 1.0)])]


_STEPS: Mapping[str, Callable[..., Terms]] = MappingProxyType(
    {
        "flip": _flip,
        "rotation": _rotation,
        "translation": _translation,
        "shear": _shear,
        "zoom": _zoom,
    }
)
"""The function that returns the matrix of each kind of step, as terms."""
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
