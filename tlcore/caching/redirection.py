"""Redirection: a model's own steps run its suffix on batches that hold a cut.

Owns how a batch is marked as a cut, and the proxy that a training or test step sees
instead of the model while the redirection lasts. Everything else, callbacks included,
sees the whole model, which takes images.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import keras

from tlcore.splitting.part import Part

_CUT = "tlcore_cut_{}"
"""The names of a cut's tensors in a batch; batches of images have no such names."""


@contextmanager
def redirected(
    model: keras.Model, *, train: Part | None, test: Part | None
) -> Iterator[None]:
    """Make the model's steps run a suffix on batches that hold a cut.

    Args:
        model: a compiled model.
        train: the suffix that training steps run; None where they get images.
        test: the suffix that test steps run; None where they get images.

    Example:
        >>> from tlcore.splitting.split import split
        >>> model = tl.create_model("sample_net", 3, input_shape=(32, 32, 3))
        >>> with redirected(model, train=split(model).suffix, test=None):
        ...     "train_step" in vars(model)
        True
        >>> "train_step" in vars(model)
        False
    """
    if train is None and test is None:
        yield
        return
    # Why not fit another model that consists of the suffix: the optimizer, the metrics,
    # `stop_training` and what callbacks save and restore would be that model's. Why not
    # a step of our own: loss scaling, metrics and gradients would have to follow every
    # version of Keras. So Keras's code runs on a proxy. What a step reads from `self`
    # (`_compute_loss`, `_loss_tracker`, `optimizer`, `trainable_weights`,
    # `compute_metrics`) is the whole model's; only `self(x)` differs.
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
        part: what runs on batches that hold a cut; None where all hold images.
    """

    def __init__(self, model: keras.Model, part: Part | None) -> None:
        # The policy of the model's layers decides about casts, not this wrapper's.
        super().__init__(dtype="float32", autocast=False)
        self.whole = model
        self.part = part
        self.built = True

    def call(self, inputs: Any, training: bool = False) -> Any:  # noqa: FBT001, FBT002
        """Return the model's output for images or for a cut."""
        return _Redirected(self.whole, self.part)(inputs, training=training)


class _Redirected:
    """A proxy for a model in its own step: called on a cut it runs the suffix."""

    def __init__(self, model: keras.Model, part: Part | None) -> None:
        self._model, self._part = model, part

    def __call__(self, inputs: Any, *, training: bool) -> Any:
        # A callback may call `evaluate` or `train_on_batch` on images meanwhile.
        if not isinstance(inputs, dict) or _CUT.format(0) not in inputs:
            return self._model(inputs, training=training)
        assert self._part is not None  # noqa: S101 - only a feed has such inputs
        # By name: Keras sorts the keys of a dict, and "10" comes before "2".
        tensors = [inputs[_CUT.format(i)] for i in range(len(inputs))]
        outputs = self._part(tensors, training=training)
        return outputs[0] if len(outputs) == 1 else outputs

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)


def marked_as_cut(dataset: Any) -> Any:
    """Return a dataset whose inputs are marked as a cut.

    Example:
        >>> import tensorflow as tf
        >>> batches = tf.data.Dataset.from_tensors(([1.0, 2.0], [0, 1]))
        >>> [sorted(inputs) for inputs, labels in marked_as_cut(batches)]
        [['tlcore_cut_0']]
    """

    # A dict and not a tuple: `tf.data` and Keras keep its keys, and nothing else in a
    # batch says whether the arrays are images or a cut of the same shape.
    def mark(inputs: Any, *rest: Any) -> Any:
        tensors: Iterable[Any] = inputs if isinstance(inputs, tuple) else (inputs,)
        return {_CUT.format(i): t for i, t in enumerate(tensors)}, *rest

    return dataset.map(mark)
