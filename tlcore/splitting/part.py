"""Part: some steps of a model as a layer, and that layer compiled for any batch size.

Owns running steps with the same bits as the model: in its order, under its name scopes,
with its casts. Owns that a model's prefix is compiled once; how that is done is of the
backend. Which steps form a part is decided in `split`; `graph` says what a step is.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import Any
from weakref import WeakKeyDictionary

import keras
from numpy.typing import NDArray

from tlcore.backend import seam
from tlcore.hub.layer import HubLayer
from tlcore.splitting.graph import Scope, Step, is_own, layers_within

_PRODUCTS_OF_ROWS = (
    keras.layers.Dense,
    keras.layers.EinsumDense,
    keras.layers.MultiHeadAttention,
    keras.layers.GroupQueryAttention,
    keras.layers.Attention,
    keras.layers.AdditiveAttention,
)


class Part(keras.Layer):
    """Steps of a model as a layer. The weights remain those of the model.

    Takes a list of tensors and returns a list of tensors. Sublayers are called exactly
    as the model calls them, each with the `training` argument it would receive there.

    Args:
        steps: the steps to run, in order.
        takes: numbers of the values it takes.
        gives: numbers of the values it returns.
        tied: whether the tensors it takes belong to the same batch of images.
        name: the model's name, so that operations get the names they have in the model.
    """

    def __init__(
        self,
        steps: Sequence[Step],
        takes: Sequence[int],
        gives: Sequence[int],
        *,
        tied: bool = False,
        name: str = "part",
    ) -> None:
        # Autocast would convert a cut in float32 to the policy of mixed precision. The
        # casts of the model are steps of their own.
        super().__init__(name=name, dtype="float32", autocast=False)
        self.steps = tuple(steps)
        self.takes = tuple(takes)
        self.gives = tuple(gives)
        self.tied = tied
        # Tracked, so that Keras clears their losses when this layer is called.
        self.parts = _layers(self.steps)
        self.built = True

    @property
    def foreign_layers(self) -> list[keras.Layer]:
        """Return the layers that neither Keras nor this package defines."""
        layers = (x for part in self.parts for x in layers_within(part))
        return [layer for layer in layers if not is_own(type(layer))]

    @property
    def multiplies_rows(self) -> bool:
        """Return whether a layer may multiply a matrix of all images by another one.

        Kernels of matrix products go through several rows at a time and treat those
        that are left over at the end otherwise, on TensorFlow too. Which rows these are
        depends on the size of the batch. Convolutions are not affected. What is in a
        SavedModel is not known.
        """
        layers = (x for part in self.parts for x in layers_within(part))
        return any(isinstance(x, (*_PRODUCTS_OF_ROWS, HubLayer)) for x in layers)

    def call(self, tensors: list[Any], training: bool | None = None) -> list[Any]:  # noqa: FBT001
        """Return the outputs of the steps for `tensors`."""
        if self.tied and seam.current().REWRITES:
            tensors = _share_batch_size(tensors)
        values = dict(zip(self.takes, tensors, strict=True))
        with _Scopes() as scopes:
            for step in self.steps:
                scopes.enter(step.scopes)
                step.run(values, training=bool(training))
        return [values[number] for number in self.gives]


class _Scopes:
    """The name scopes that Keras opens around the layers of nested models.

    Grappler sorts the terms of a sum by the names of their operations, and the name of
    an operation contains its scopes. Among these sums are the gradients of a value that
    is used several times: in other scopes they are added in another order, and the
    weights after a training step differ in their last bit.
    """

    def __init__(self) -> None:
        self._entered: list[tuple[Scope, Any]] = []

    def __enter__(self) -> "_Scopes":
        return self

    def __exit__(self, *error: object) -> None:
        self.enter(())

    def enter(self, scopes: Sequence[Scope]) -> None:
        """Leave the scopes that are not in `scopes` and enter the missing ones."""
        pairs = zip(self._entered, scopes, strict=False)
        shared = sum(1 for (entered, _), scope in pairs if entered is scope)
        while len(self._entered) > shared:
            self._entered.pop()[1].__exit__(None, None, None)
        for scope in scopes[shared:]:
            # Keras opens a layer's scope twice, first to build it. TensorFlow makes the
            # second one unique ("inner_1"), and that is where the operations are.
            with keras.name_scope(scope.name):
                pass
            context = keras.name_scope(scope.name)
            context.__enter__()
            self._entered.append((scope, context))


class Prefix:
    """The prefix of a split, compiled on first use.

    Args:
        part: the prefix.
        image_shape: (height, width, channels) of the images it takes.

    Example:
        >>> import numpy as np
        >>> from tlcore.splitting.split import split
        >>> model = tl.create_model("sample_net", 3, input_shape=(32, 32, 3))
        >>> run = Prefix(split(model).prefix, (32, 32, 3))
        >>> [features.shape for features in run(np.zeros((5, 32, 32, 3), "float32"))]
        [(5, 128)]
    """

    def __init__(self, part: Part, image_shape: tuple[int, ...]) -> None:
        self.part = part
        self._image_shape = image_shape

    def __call__(self, images: Any) -> list[NDArray[Any]]:
        """Return the tensors of the cut for a batch of images."""
        return self._run(images)

    @property
    def replicas(self) -> int:
        """Return the number of devices among which a batch is divided."""
        return seam.current().replicas(self.part)

    @cached_property
    def _run(self) -> Callable[[Any], list[NDArray[Any]]]:
        # Not `predict`: with TensorFlow it compiles again for every other batch size.
        return seam.current().compiled(self.part, self._image_shape)


_MAX_KEPT = 4
"""Prefixes that are kept for a model: those of a run's phases, and of its views."""
_kept: WeakKeyDictionary[keras.Model, dict[Any, Prefix]] = WeakKeyDictionary()


def kept_prefix(
    model: keras.Model, part: Part, fingerprint: str, image_shape: tuple[int, ...]
) -> Prefix:
    """Return a model's prefix, the one that was compiled before where there is one.

    Tracing a backbone takes seconds. A run computes with one prefix for training, for
    validation, for the linear probe and at the end.

    Args:
        model: the model that was split; it is not kept alive.
        part: the prefix.
        fingerprint: of the prefix. One of the same model with the same fingerprint
            has the same layers, and runs with the weights that they have now.
        image_shape: (height, width, channels) of the images it takes.

    Example:
        >>> from tlcore.splitting.split import split
        >>> model = tl.create_model("sample_net", 3, input_shape=(32, 32, 3))
        >>> found = []
        >>> for _ in range(2):
        ...     halves = split(model)
        ...     shape = (32, 32, 3)
        ...     found.append(
        ...         kept_prefix(model, halves.prefix, halves.fingerprint, shape)
        ...     )
        >>> found[0] is found[1]
        True
    """
    mine, key = _kept.setdefault(model, {}), (fingerprint, image_shape)
    # At the end again: the first ones go first.
    mine[key] = mine.pop(key) if key in mine else Prefix(part, image_shape)
    for old in list(mine)[:-_MAX_KEPT]:
        del mine[old]
    return mine[key]


def _layers(steps: Iterable[Step]) -> list[keras.Layer]:
    found = {id(s.operation): s.operation for s in steps}
    return [x for x in found.values() if isinstance(x, keras.Layer)]


def _share_batch_size(tensors: Sequence[Any]) -> list[Any]:
    """Return equal tensors whose batch sizes are known to be the same.

    In the model, every batch size is that of the images. As inputs of a suffix, each
    tensor would have an unknown size of its own, and Grappler's AddOpsRewrite groups
    terms by symbolic shape. BatchNorm(x) + y is (x * a + b) + y, with b of another
    shape; where x and y have the same batch size, it becomes AddN(x * a, y) + b, and
    otherwise not, and the last bit differs. Hence the tensors are packed into one and
    sliced from it again.
    """
    if len(tensors) < 2:
        return list(tensors)
    rank = max(2, *(len(x.shape) for x in tensors))
    inserted = [tuple(range(1, 1 + rank - len(x.shape))) for x in tensors]
    wide = [
        keras.ops.expand_dims(x, axes) if axes else x
        for x, axes in zip(tensors, inserted, strict=True)
    ]
    packed, widths = _packed(wide), [x.shape[-1] for x in wide]
    unpacked, offset = [], 0
    for x, axes, original, width in zip(wide, inserted, tensors, widths, strict=True):
        start, shape = [0] * (rank - 1) + [offset], [-1, *x.shape[1:]]
        part = keras.ops.slice(packed, start, shape)
        part = keras.ops.squeeze(part, axes) if axes else part
        unpacked.append(keras.ops.cast(part, original.dtype))
        offset += width
    return unpacked


def _packed(tensors: Sequence[Any]) -> Any:
    """Return tensors of one rank, padded to one size, side by side on the last axis."""
    rank = len(tensors[0].shape)
    sizes = [max(x.shape[axis] for x in tensors) for axis in range(1, rank - 1)]
    # A wider type holds every value exactly, so that casting back restores the bits.
    dtype = keras.backend.result_type(*(x.dtype for x in tensors))
    padded = []
    for x in tensors:
        missing = [size - n for size, n in zip(sizes, x.shape[1:-1], strict=True)]
        padding = [(0, 0), *((0, width) for width in missing), (0, 0)]
        padded.append(keras.ops.pad(keras.ops.cast(x, dtype), padding))
    return keras.ops.concatenate(padded, axis=-1)
