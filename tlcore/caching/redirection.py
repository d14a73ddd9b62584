"""Redirection: a model's own steps run its suffix on batches that hold a cut.

Owns how a batch is marked as a cut, and the proxy that a training or test step sees
instead of the model while the redirection lasts. Everything else, callbacks included,
sees the whole model, which takes images.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras
import numpy as np

from tlcore.backend import seam
from tlcore.splitting.graph import Graph, UnsplittableError
from tlcore.splitting.part import Part
from tlcore.splitting.split import Split, split

_CUT = "tlcore_cut_{}"
"""The names of a cut's tensors in a batch; batches of images have no such names."""


class Apart:
    """The two parts of a model, one after the other, and never compiled into one.

    A compiler that fuses operations across the cut rounds as it fuses, and kernels
    round by the size of a batch. A step from images to the end that keeps the parts
    apart, and fills a small batch for the first of them, has the bits of a step that
    gets the cut.

    Args:
        halves: the parts.
        fill: the size to which batches are filled for the prefix.
    """

    def __init__(self, halves: Split, fill: int) -> None:
        self._halves, self._fill = halves, fill

    def __call__(self, tensors: list[Any], *, training: bool) -> list[Any]:
        """Return the outputs of the model for the tensors that its prefix takes."""
        backend, count = seam.current(), tensors[0].shape[0]
        small = count is not None and count < self._fill
        if small:
            rows = np.arange(self._fill) % count
            whole = [keras.ops.take(x, rows, axis=0) for x in tensors]
            tensors = backend.spread(whole)
        cut = self._halves.prefix(tensors, training=training)
        if small:
            cut = backend.spread([x[:count] for x in cut])
        apart = backend.materialised(tensors[0], cut)
        outputs: list[Any] = self._halves.suffix(apart, training=training)
        return outputs


def apart(model: keras.Model | Graph, *, training: bool, fill: int) -> Apart | None:
    """Return a model that is kept apart at its cut, None where it need not be.

    It need not where sizes round alike, and where there is no cut.

    Args:
        model: the model.
        training: whether its steps train it.
        fill: the size of a batch; the last one of an epoch is filled up to it.
    """
    if seam.current().SIZES_ROUND_ALIKE:
        return None
    try:
        return Apart(split(model, training=training), fill)
    except UnsplittableError:
        return None


@dataclass(frozen=True)
class Side:
    """What the steps of training or of testing run.

    Attributes:
        part: what runs on batches that hold a cut; None where all hold images.
        whole: what runs on images; None for the model.
    """

    part: Part | Apart | None = None
    whole: Apart | None = None

    def __bool__(self) -> bool:
        """Return whether steps run anything but the model."""
        return self.part is not None or self.whole is not None


@contextmanager
def redirected(model: keras.Model, *, train: Side, test: Side) -> Iterator[None]:
    """Make the model's steps run a suffix on batches that hold a cut.

    Args:
        model: a compiled model.
        train: what training steps run.
        test: what test steps run.

    Example:
        >>> from tlcore.splitting.split import split
        >>> model = tl.create_model("sample_net", 3, input_shape=(32, 32, 3))
        >>> with redirected(model, train=Side(split(model).suffix), test=Side()):
        ...     "train_step" in vars(model)
        True
        >>> "train_step" in vars(model)
        False
    """
    if not train and not test:
        yield
        return
    # Why not fit another model that consists of the suffix: the optimizer, the metrics,
    # `stop_training` and what callbacks save and restore would be that model's. Why not
    # a step of our own: loss scaling, metrics and gradients would have to follow every
    # version of Keras. So Keras's code runs on a proxy. What a step reads from `self`
    # (`_compute_loss`, `_loss_tracker`, `optimizer`, `trainable_weights`,
    # `compute_metrics`) is the whole model's; only `self(x)` differs, and on JAX
    # `self.call(x)`, which its stateless methods reach.
    before = model.train_function, model.test_function
    kind = type(model)
    model.train_step = partial(kind.train_step, _Redirected(model, train))
    model.test_step = partial(kind.test_step, _Redirected(model, test))
    # Keras keeps the functions that it compiled from the steps before; it compiles new
    # ones where it finds None, and must not keep those.
    model.train_function = model.test_function = None
    try:
        yield
    finally:
        del model.train_step, model.test_step  # the methods of the class show again
        model.train_function, model.test_function = before


class CutModel(keras.Model):
    """A model that also takes the batches of a feed.

    Args:
        model: the whole model.
        side: what runs on a batch.
    """

    def __init__(self, model: keras.Model, side: Side) -> None:
        # The policy of the model's layers decides about casts, not this wrapper's.
        super().__init__(dtype="float32", autocast=False)
        self.whole = model
        self.side = side
        self.built = True

    def call(self, inputs: Any, training: bool = False) -> Any:  # noqa: FBT001, FBT002
        """Return the model's output for images or for a cut."""
        return _Redirected(self.whole, self.side)(inputs, training=training)


class _Redirected:
    """A proxy for a model in its own step: called on a cut it runs the suffix."""

    _STATELESS = ("compute_loss_and_updates", "stateless_call")
    """Methods of JAX's steps that call the model."""

    def __init__(self, model: keras.Model, side: Side) -> None:
        object.__setattr__(self, "_model", model)
        object.__setattr__(self, "_side", side)

    def __call__(self, inputs: Any, *, training: bool) -> Any:
        side = self._side
        # A callback may call `evaluate` or `train_on_batch` on images meanwhile.
        if isinstance(inputs, dict) and _CUT.format(0) in inputs:
            assert side.part is not None  # noqa: S101 - only a feed has such inputs
            # By name: Keras sorts the keys of a dict, and "10" comes before "2".
            tensors = [inputs[_CUT.format(i)] for i in range(len(inputs))]
            outputs = side.part(tensors, training=training)
        elif side.whole is not None:
            outputs = side.whole([inputs], training=training)
        else:
            return self._model(inputs, training=training)
        return outputs[0] if len(outputs) == 1 else outputs

    def call(self, inputs: Any, training: bool = False) -> Any:  # noqa: FBT001, FBT002
        """Return the output, as `__call__` does."""
        return self(inputs, training=training)

    def __getattr__(self, name: str) -> Any:
        if name in self._STATELESS:
            return partial(getattr(type(self._model), name), self)
        return getattr(self._model, name)

    def __setattr__(self, name: str, value: Any) -> None:
        # A step leaves what it computes for others on the model.
        setattr(self._model, name, value)


def marked_as_cut(dataset: Any) -> Any:
    """Return a dataset whose inputs are marked as a cut.

    Example:
        >>> folder = tl.image_folder("photos/train", image_size=32)
        >>> [sorted(inputs) for inputs, labels in marked_as_cut(folder.dataset())]
        [['tlcore_cut_0']]
    """

    # A dict and not a tuple: `tf.data` and Keras keep its keys, and nothing else in a
    # batch says whether the arrays are images or a cut of the same shape.
    def mark(inputs: Any, *rest: Any) -> Any:
        tensors: Iterable[Any] = inputs if isinstance(inputs, tuple) else (inputs,)
        return {_CUT.format(i): t for i, t in enumerate(tensors)}, *rest

    return dataset.map(mark)
