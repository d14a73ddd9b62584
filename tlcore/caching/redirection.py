"""Redirection: the model's own steps run the suffix on batches that are a cut.

Owns how a batch is marked as a cut, and the proxy that a training or test step sees
instead of the model while the redirection lasts. Everything else of the model,
callbacks included, sees the whole model on images.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import keras

from tlcore.splitting.part import Part

_CUT = "tlcore_cut_{}"
"""How the tensors of a cut are named in a batch, which tells it from images."""


@contextmanager
def redirected(
    model: keras.Model, *, train: Part | None, test: Part | None
) -> Iterator[None]:
    """Have the model's steps run a suffix on the batches that are a cut.

    Args:
        model: a compiled model.
        train: the suffix of its training steps.
        test: the suffix of its test steps.
    """
    if train is None and test is None:
        yield
        return
    before = model.train_function, model.test_function
    kind = type(model)
    model.train_step = partial(kind.train_step, _Redirected(model, train))
    model.test_step = partial(kind.test_step, _Redirected(model, test))
    model.train_function = model.test_function = None
    try:
        yield
    finally:
        del model.train_step, model.test_step
        model.train_function, model.test_function = before


class CutModel(keras.Model):
    """A model that also takes the batches of a feed.

    Args:
        model: the whole model.
        part: what runs on batches that are a cut.
    """

    def __init__(self, model: keras.Model, part: Part | None) -> None:
        super().__init__(dtype="float32", autocast=False)
        self.whole = model
        self.part = part
        self.built = True

    def call(self, inputs: Any, training: bool = False) -> Any:  # noqa: FBT001, FBT002
        """Return the model's output for images or for a cut."""
        return _Redirected(self.whole, self.part)(inputs, training=training)


class _Redirected:
    """A model to its own step: called on a cut it runs the suffix."""

    def __init__(self, model: keras.Model, part: Part | None) -> None:
        self._model, self._part = model, part

    def __call__(self, inputs: Any, *, training: bool) -> Any:
        if not isinstance(inputs, dict) or _CUT.format(0) not in inputs:
            return self._model(inputs, training=training)
        assert self._part is not None  # noqa: S101 - only a feed has such inputs
        tensors = [inputs[_CUT.format(i)] for i in range(len(inputs))]
        outputs = self._part(tensors, training=training)
        return outputs[0] if len(outputs) == 1 else outputs

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)


def marked_as_cut(dataset: Any) -> Any:
    """Return a dataset whose inputs are marked as a cut."""

    def mark(inputs: Any, *rest: Any) -> Any:
        tensors: Iterable[Any] = inputs if isinstance(inputs, tuple) else (inputs,)
        return {_CUT.format(i): t for i, t in enumerate(tensors)}, *rest

    return dataset.map(mark)
