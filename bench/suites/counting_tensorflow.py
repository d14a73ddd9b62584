"""Counting on the graphs that TensorFlow traces, by the formulas of its profiler."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from counting import Counts


def forward(model: keras.Model, shape: tuple[int, ...], batch: int) -> Counts:
    """Count a forward pass in inference mode."""
    run = tf.function(lambda x: model(x, training=False), autograph=False)
    images = tf.TensorSpec((batch, *shape), tf.float32)
    return _counted(_needed(run.get_concrete_function(images).graph))


def training_step(model: keras.Model, shape: tuple[int, ...], batch: int) -> Counts:
    """Count a training step of a compiled model."""
    images = tf.TensorSpec((batch, *shape), tf.float32)
    outputs = np.zeros((batch, *model.output_shape[1:]), np.float32)
    labels = tf.TensorSpec(outputs.shape, tf.float32)
    step = tf.function(lambda x, y: model.train_step((x, y)), autograph=False)
    return _counted(_needed(step.get_concrete_function(images, labels).graph))


def _needed(graph: Any) -> list[Any]:
    """Return the operations of a traced graph that run when it is executed.

    A gradient tape also records gradients that nothing uses, such as those of frozen
    layers. TensorFlow prunes them before it executes the graph.
    """
    waiting = [*(tensor.op for tensor in graph.outputs), *graph.control_outputs]
    found: dict[str, Any] = {}
    while waiting:
        operation = waiting.pop()
        if operation.name not in found:
            found[operation.name] = operation
            waiting += [tensor.op for tensor in operation.inputs]
            waiting += operation.control_inputs
    return list(found.values())


def _counted(operations: list[Any]) -> Counts:
    # The profiler's own entry point counts whole graphs, also what does not run.
    from tensorflow.python.framework import ops
    from tensorflow.python.profiler.internal import flops_registry  # noqa: F401

    flops = (
        ops.get_stats_for_node_def(operation.graph, operation.node_def, "flops").value
        for operation in operations
    )
    return Counts(int(sum(count or 0 for count in flops)), len(operations))
