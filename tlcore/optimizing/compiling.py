"""Compiling: the only module that compiles a model.

Owns the optimizer of a phase, the loss that matches the labels, whether a step is
compiled as a whole, and the variables that Keras would create in the first step.
"""

from collections.abc import Sequence
from typing import Any, TypeAlias

import keras
import numpy as np

from tlcore.arguments import require_one_of, require_positive
from tlcore.backend import seam
from tlcore.data.spec import DataSpec
from tlcore.models import is_multi_label

OPTIMIZERS = ("adamw", "adam", "rmsprop", "sgd")

Rate: TypeAlias = float | keras.optimizers.schedules.LearningRateSchedule

_ACCURACY = ("accuracy", "acc")


def new_optimizer(
    optimizer: str | keras.optimizers.Optimizer,
    rate: Rate | None,
    *,
    default: float,
    weight_decay: float | None = None,
) -> keras.optimizers.Optimizer:
    """Return a new optimizer: the state of one that was given is another phase's.

    Args:
        optimizer: a name of `OPTIMIZERS`, or an optimizer of Keras.
        rate: a number or schedule; None takes the default, or the optimizer's own.
        default: the learning rate.
        weight_decay: of each step, times the rate, apart from the gradient (Loshchilov
            and Hutter, "Decoupled Weight Decay Regularization", 2019); None is none,
            and 0.004 with "adamw".
    """
    if isinstance(optimizer, keras.optimizers.Optimizer):
        if rate is not None:
            raise ValueError(
                "An optimizer has a learning rate of its own. Received: "
                f"optimizer={type(optimizer).__name__}(...) and "
                f"learning_rate={rate!r}. Leave learning_rate out, or write "
                f"optimizer={optimizer.name!r}."
            )
        return type(optimizer).from_config(optimizer.get_config())
    also = "an optimizer of Keras, or "
    require_one_of("optimizer", optimizer, OPTIMIZERS, also=also)
    if not isinstance(rate, keras.optimizers.schedules.LearningRateSchedule):
        rate = default if rate is None else rate
        require_positive("learning_rate", rate)
        rate = float(rate)
    decay = {} if weight_decay is None else {"weight_decay": float(weight_decay)}
    return keras.optimizers.get(optimizer).__class__(learning_rate=rate, **decay)


def smoothed_loss(smoothing: float, *, binary: bool) -> keras.losses.Loss:
    """Return the cross-entropy of labels that are not quite sure.

    Args:
        smoothing: how much of each label goes to all classes alike, in [0, 1).
        binary: whether the model has one output.

    Example:
        >>> smoothed_loss(0.1, binary=False).label_smoothing
        0.1
    """
    kind = keras.losses.CategoricalCrossentropy
    if binary:
        kind = keras.losses.BinaryCrossentropy
    return kind(label_smoothing=smoothing)


def compile_phase(
    model: keras.Model,
    train: DataSpec,
    optimizer: keras.optimizers.Optimizer,
    loss: Any,
    metrics: Sequence[Any],
) -> None:
    """Compile a model for a phase; the loss of None follows from the labels."""
    if loss is None:
        loss = "sparse_categorical_crossentropy"
        if model.output_shape[-1] == 1 or is_multi_label(model):
            loss = "binary_crossentropy"
        elif len(train.label_shape) == 1:
            loss = "categorical_crossentropy"
    metrics = list(metrics)
    if is_multi_label(model):
        # Of several columns Keras would compare the largest only.
        metrics = [
            keras.metrics.BinaryAccuracy(name=m) if m in _ACCURACY else m
            for m in metrics
        ]
    model.compile(
        optimizer=optimizer,
        loss=loss,
        metrics=metrics,
        # With TensorFlow XLA may round differently in a part of a model than in the
        # whole, and cached training promises the same bits.
        jit_compile="auto" if seam.current().JIT else False,
    )
    if seam.current().JIT:
        # Keras compiles nothing of a step in which one layer says that XLA cannot run
        # it, as its zoom, rotation and translation say. On JAX XLA runs them. Asked for
        # it, Keras warns, and again when the model is loaded.
        model._jit_compile = True  # noqa: SLF001 - the public setter looks at layers
    if not seam.current().BUILDS_FROM_DATA:
        create_variables(model, train)


def create_variables(model: keras.Model, train: DataSpec) -> None:
    """Create the variables of the optimizer and of the metrics.

    Keras creates them in the first step. TensorFlow traces a function that has created
    variables once more: a second each time, several with a large backbone.
    """
    labels, outputs = _two(train.label_shape), _two(model.output_shape[1:])
    with seam.current().scope(model):
        if not model.optimizer.built:  # Keras's loss scaling would be built twice
            model.optimizer.build(model.trainable_variables)
        if type(model).compute_metrics is keras.Model.compute_metrics:
            model.compute_metrics(None, labels, outputs)
            model.reset_metrics()


def build_as_keras_does(model: keras.Model, train: DataSpec) -> None:
    """Build what Keras would build from a batch that it reads, as if of images."""
    batch = _two(train.image_shape), _two(train.label_shape), None
    with seam.current().scope(model):
        model._symbolic_build(data_batch=batch)  # noqa: SLF001


def _two(shape: Sequence[int | None]) -> np.ndarray:
    """Return two elements of a shape; a size that is not fixed is 1."""
    return np.zeros((2, *(n or 1 for n in shape)), "float32")
