"""Heads: many heads of one model trained together, each as it would be alone.

Owns the network whose weights are those of all heads, one beside the other, and the
optimizer that moves each at its own rate. All see the same batches and, where they drop
features, the same random numbers: those that each would draw alone with the same seed.
Only the last layer differs, so that the frozen layers and the data are read once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from tlcore.backend import seam

LAST = "classifier"
"""The name of the layer that `create_model` puts on the pooled features."""


@dataclass(frozen=True)
class HeadOptions:
    """How a head is trained.

    Attributes:
        learning_rate: the rate of its phase.
        dropout: the rate of the dropout before its last layer.
        weight_decay: of each step, times the rate; None is none.
    """

    learning_rate: float
    dropout: float = 0.0
    weight_decay: float | None = None


@dataclass(frozen=True)
class Beginning:
    """What a head begins with.

    Attributes:
        kernel: of its last layer, (features, outputs).
        bias: of its last layer, (outputs,).
        seed: the state of the random numbers of its dropout; None without dropout.
    """

    kernel: NDArray[np.float32]
    bias: NDArray[np.float32]
    seed: NDArray[Any] | None

    @classmethod
    def of(cls, model: keras.Model) -> "Beginning":
        """Return what the head of a model that was not trained begins with."""
        kernel, bias = model.get_layer(LAST).get_weights()
        drop = [x for x in model.layers if isinstance(x, keras.layers.Dropout)]
        seed = None
        if drop:
            seed = keras.ops.convert_to_numpy(drop[0].seed_generator.state)
        return cls(kernel, bias, seed)


class Heads(keras.Model):
    """The last layers of many heads, from the features of images to probabilities.

    Outputs are (n, heads, outputs). The loss is the sum of those of the heads, whose
    gradients have nothing to do with one another.

    Args:
        heads: how each is trained; those of one dropout rate stand together.
        beginnings: what a head begins with, by whether it has dropout.
        smoothing: how much of each label goes to all classes alike.
    """

    def __init__(
        self,
        heads: Sequence[HeadOptions],
        beginnings: Mapping[bool, Beginning],
        *,
        smoothing: float = 0.0,
    ) -> None:
        super().__init__(name="heads")
        self._smoothing = smoothing
        begin = [beginnings[head.dropout > 0] for head in heads]
        kernels = np.stack([one.kernel for one in begin])
        self.kernel = self.add_weight(shape=kernels.shape, name="kernel")
        self.bias = self.add_weight(shape=kernels.shape[::2], name="bias")
        self.kernel.assign(kernels)
        self.bias.assign(np.stack([one.bias for one in begin]))
        self._groups: list[tuple[Any, slice]] = []
        rates = [head.dropout for head in heads]
        for rate in dict.fromkeys(rates):
            first, count = rates.index(rate), rates.count(rate)
            drop = None
            if rate:
                # The same numbers for each rate: a head alone would draw them.
                drop = keras.layers.Dropout(rate, seed=0)
                drop.seed_generator.state.assign(beginnings[True].seed)
            self._groups.append((drop, slice(first, first + count)))
        self.drops = [drop for drop, _ in self._groups if drop is not None]
        self.built = True

    def call(self, inputs: Any, training: bool = False) -> Any:  # noqa: FBT001, FBT002
        """Return the outputs of all heads for a batch of features (n, features)."""
        (features,) = inputs.values() if isinstance(inputs, dict) else (inputs,)
        found = []
        for drop, at in self._groups:
            some = features if drop is None else drop(features, training=training)
            found.append(keras.ops.einsum("nf,hfo->nho", some, self.kernel[at]))
        # As the activation of a layer: with TensorFlow Keras finds the logits by it.
        single = self.bias.shape[-1] == 1
        activation = keras.activations.get("sigmoid" if single else "softmax")
        return activation(keras.ops.concatenate(found, axis=1) + self.bias)

    def compute_loss(
        self,
        x: Any = None,  # noqa: ARG002
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,  # noqa: ARG002, FBT001, FBT002
    ) -> Any:
        """Return the sum of the mean losses of the heads."""
        each = keras.ops.sum(self.losses_of(y, y_pred), axis=1)
        if sample_weight is not None:
            each = each * keras.ops.cast(sample_weight, each.dtype)
        return keras.ops.mean(each)

    def lend(self, model: keras.Model, head: int) -> None:
        """Give a model the weights of a head, by its number."""
        weights = [
            keras.ops.convert_to_numpy(x)[head] for x in (self.kernel, self.bias)
        ]
        model.get_layer(LAST).set_weights(weights)

    def losses_of(self, labels: Any, outputs: Any) -> Any:
        """Return the cross-entropy of each image by each head, (n, heads)."""
        shape = keras.ops.shape(outputs)
        smoothing = self._smoothing
        if outputs.shape[-1] == 1:
            labels = keras.ops.reshape(labels, (-1, 1, 1))
            labels = keras.ops.broadcast_to(labels, shape)
            losses = keras.losses.binary_crossentropy
        else:
            labels = keras.ops.broadcast_to(keras.ops.expand_dims(labels, 1), shape)
            losses = keras.losses.categorical_crossentropy
        return losses(labels, outputs, label_smoothing=smoothing)


def train_heads(
    heads: Sequence[HeadOptions],
    beginnings: Mapping[bool, Beginning],
    data: Any,
    optimizer: keras.optimizers.Optimizer,
    *,
    epochs: int,
    steps: int,
    smoothing: float = 0.0,
    class_weight: Mapping[int, float] | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> Heads:
    """Return heads that were trained together.

    Args:
        heads: how each is trained; those of one dropout rate stand together.
        beginnings: what a head begins with, by whether it has dropout.
        data: batches of features and labels, in the order of training.
        optimizer: whose learning rate, a number or schedule, is a factor of each
            head's; its weight decay does not count.
        epochs: number of epochs.
        steps: of an epoch.
        smoothing: how much of each label goes to all classes alike.
        class_weight: factors of the loss by class.
        callbacks: of Keras.
    """
    model = Heads(heads, beginnings, smoothing=smoothing)
    model.compile(
        optimizer=_by_head(optimizer, heads),
        jit_compile="auto" if seam.current().JIT else False,
    )
    model.fit(
        data,
        epochs=epochs,
        steps_per_epoch=steps,
        class_weight=class_weight,
        shuffle=False,
        callbacks=list(callbacks),
        verbose=0,
    )
    return model


def _by_head(
    optimizer: keras.optimizers.Optimizer, heads: Sequence[HeadOptions]
) -> keras.optimizers.Optimizer:
    """Return an optimizer that moves each head at its own rate, and lets it decay."""
    decays = [head.weight_decay or 0.0 for head in heads]
    kind: type = type(optimizer)
    found = _kind(kind).from_config({**optimizer.get_config(), "weight_decay": 0.0})
    found.rates = np.array([head.learning_rate for head in heads], np.float32)
    found.decays = np.array(decays, np.float32) if any(decays) else None
    return found


class _ByHead:
    """What such an optimizer does otherwise: it has a rate for each head."""

    rates: NDArray[np.float32]
    decays: NDArray[np.float32] | None

    def _backend_update_step(
        self: Any, grads: Sequence[Any], trainable_variables: Any, learning_rate: Any
    ) -> None:
        # Not that of the backend, which on PyTorch is of all variables at once.
        for gradient, variable in zip(grads, trainable_variables, strict=True):
            rates = _along(self.rates, variable) * learning_rate
            self.update_step(gradient, variable, rates)

    def _apply_weight_decay(self: Any, variables: Sequence[Any]) -> None:
        if self.decays is None:
            return
        for variable in variables:
            rates = _along(self.rates, variable) * self.learning_rate
            decay = _along(self.decays, variable)
            variable.assign(variable - variable * decay * rates)


def _along(values: NDArray[np.float32], variable: Any) -> Any:
    """Return one value for each head, as a tensor along the first axis."""
    shape = (len(values), *[1] * (len(variable.shape) - 1))
    return keras.ops.convert_to_tensor(values.reshape(shape))


@lru_cache
def _kind(kind: type) -> Any:
    return type(f"ByHead{kind.__name__}", (_ByHead, kind), {})
