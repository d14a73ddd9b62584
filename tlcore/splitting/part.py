"""Part: some steps of a model as a layer of its own, and compiled for batches.

Owns running steps exactly as the model would (the order of the nodes, their names, the
casts) and the one place where a part is compiled for batches of any size: Keras's
`predict` would compile again for every other batch size. Which steps make a part is
decided in `split`.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import Any

import keras
from numpy.typing import NDArray

from tlcore.splitting.graph import Scope, Step, is_own, layers_within


class Part(keras.Layer):
    """Steps of a model as a layer of its own; the weights remain the model's.

    It takes a list of tensors and gives a list of tensors. The sublayers are called
    exactly as the model calls them, each told whether it is in training.

    Args:
        steps: what runs.
        takes: the values that go in, by number.
        gives: the values that come out, by number.
        tied: whether the tensors that go in come from the same batch of images.
        name: of the model, so that nodes are called as its own where they can be.
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
        """Return the layers whose code is neither Keras's nor this package's."""
        layers = (x for part in self.parts for x in layers_within(part))
        return [layer for layer in layers if not is_own(type(layer))]

    def call(self, tensors: list[Any], training: bool | None = None) -> list[Any]:  # noqa: FBT001
        """Return what the steps make of `tensors`."""
        tensors = _tied(tensors) if self.tied and len(tensors) > 1 else tensors
        values = dict(zip(self.takes, tensors, strict=True))
        with _Scopes() as scopes:
            for step in self.steps:
                scopes.enter(step.scopes)
                step.run(values, training=bool(training))
        return [values[number] for number in self.gives]


class _Scopes:
    """The names that Keras would give the nodes of models within a model.

    TensorFlow sorts by them what it adds up, gradients of a value too.
    """

    def __init__(self) -> None:
        self._entered: list[tuple[Scope, Any]] = []

    def __enter__(self) -> "_Scopes":
        return self

    def __exit__(self, *error: object) -> None:
        self.enter(())

    def enter(self, scopes: Sequence[Scope]) -> None:
        """Leave the scopes that are none of these and enter the others."""
        pairs = zip(self._entered, scopes, strict=False)
        shared = sum(1 for (entered, _), scope in pairs if entered is scope)
        while len(self._entered) > shared:
            self._entered.pop()[1].__exit__(None, None, None)
        for scope in scopes[shared:]:
            with keras.name_scope(scope.name):
                pass  # as Keras does for `build`, so that the second one counts
            context = keras.name_scope(scope.name)
            context.__enter__()
            self._entered.append((scope, context))


Compiled = Callable[[Any], list[NDArray[Any]]]
"""From a batch of images to the tensors of a cut."""


def compiled(part: Part, image_shape: tuple[int, ...]) -> Compiled:
    """Return the function that runs a part in inference mode.

    Args:
        part: what to run; it takes one tensor.
        image_shape: (height, width, channels) of that, for one image.

    Returns:
        Batches of float32, (n, *image_shape), in; one array per tensor out.

    Raises:
        ValueError: the Keras backend is not TensorFlow.
    """
    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            "Compiling a part needs the TensorFlow backend. "
            f"Received: backend={keras.backend.backend()!r}. Set "
            "KERAS_BACKEND=tensorflow."
        )
    import tensorflow as tf

    signature = [tf.TensorSpec((None, *image_shape), tf.float32)]

    run = tf.function(
        lambda images: part([images], training=False),
        input_signature=signature,
        autograph=False,
        jit_compile=False,
    )
    # It is traced once; TensorFlow warns where many parts of models are compiled.
    run._omit_frequent_tracing_warning = True  # noqa: SLF001
    return lambda images: [keras.ops.convert_to_numpy(x) for x in run(images)]


class Prefix:
    """The prefix of a split, compiled when it is first needed.

    Args:
        part: the prefix.
        image_shape: (height, width, channels) of what it takes.
    """

    def __init__(self, part: Part, image_shape: tuple[int, ...]) -> None:
        self.part = part
        self._image_shape = image_shape

    def __call__(self, images: Any) -> list[NDArray[Any]]:
        """Return the cut for a batch of images."""
        return self._run(images)

    @cached_property
    def _run(self) -> Compiled:
        return compiled(self.part, self._image_shape)


def _layers(steps: Iterable[Step]) -> list[keras.Layer]:
    found = {id(s.operation): s.operation for s in steps}
    return [x for x in found.values() if isinstance(x, keras.Layer)]


def _tied(tensors: Sequence[Any]) -> list[Any]:
    """Return the tensors as they are, after they went through one.

    In a model the batch of all of them is that of the images, and TensorFlow adds up
    three terms of equal shape in another order than two and one. As inputs of their
    own their batches would not be known to be equal, and a residual sum would differ
    in its last bit.
    """
    rank = max(2, *(len(x.shape) for x in tensors))
    inserted = [tuple(range(1, 1 + rank - len(x.shape))) for x in tensors]
    wide = [
        keras.ops.expand_dims(x, axes) if axes else x
        for x, axes in zip(tensors, inserted, strict=True)
    ]
    sizes = [max(x.shape[axis] for x in wide) for axis in range(1, rank - 1)]
    dtype = keras.backend.result_type(*(x.dtype for x in tensors))
    padded = []
    for x in wide:
        widths = [size - n for size, n in zip(sizes, x.shape[1:-1], strict=True)]
        padding = [(0, 0), *((0, width) for width in widths), (0, 0)]
        padded.append(keras.ops.pad(keras.ops.cast(x, dtype), padding))
    packed = keras.ops.concatenate(padded, axis=-1)
    again, at = [], 0
    for x, axes, original in zip(wide, inserted, tensors, strict=True):
        start, shape = [0] * (rank - 1) + [at], [-1, *x.shape[1:]]
        part = keras.ops.slice(packed, start, shape)
        part = keras.ops.squeeze(part, axes) if axes else part
        again.append(keras.ops.cast(part, original.dtype))
        at += x.shape[-1]
    return again
