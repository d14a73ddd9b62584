"""Counting on what JAX hands to XLA, by XLA's cost analysis, before it optimizes."""

import re
from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np
from counting import Counts


def forward(model: keras.Model, shape: tuple[int, ...], batch: int) -> Counts:
    """Count a forward pass in inference mode."""

    def run(trainable: Any, others: Any, images: Any) -> Any:
        return model.stateless_call(trainable, others, images, training=False)[0]

    images = jax.ShapeDtypeStruct((batch, *shape), jnp.float32)
    weights = _values(model.trainable_variables), _values(model.non_trainable_variables)
    return _counted(jax.jit(run).lower(*weights, images))


def training_step(model: keras.Model, shape: tuple[int, ...], batch: int) -> Counts:
    """Count a training step of a compiled model."""
    images = np.zeros((batch, *shape), np.float32)
    labels = np.zeros((batch, *model.output_shape[1:]), np.float32)
    model._symbolic_build(data_batch=(images, labels, None))  # noqa: SLF001
    state = (
        _values(model.trainable_variables),
        _values(model.non_trainable_variables),
        _values(model.optimizer.variables),
        _values(model.metrics_variables),
    )
    return _counted(jax.jit(model.train_step).lower(state, (images, labels)))


def _values(variables: list[Any]) -> list[Any]:
    return [variable.value for variable in variables]


def _counted(lowered: Any) -> Counts:
    costs = lowered.cost_analysis()
    costs = costs[0] if isinstance(costs, list) else costs
    operations = re.findall(r"= \"?stablehlo\.", lowered.as_text())
    return Counts(int(costs.get("flops", 0)), len(operations))
