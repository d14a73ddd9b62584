"""Costs: the operations of a forward pass and a training step, counted, not timed.

Owns counting on the graphs that TensorFlow traces, peak memory and waiting for devices.
Counts depend on the versions of TensorFlow and Keras and on nothing else, neither the
machine nor its load. A layer that is no longer frozen shows as a jump in the operations
of the training step.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

_BATCH = 2
"""Images in the traced batch, by which counts are divided."""


def forward_flops(model: keras.Model) -> int:
    """Return the floating-point operations of a forward pass over one image.

    The pass is in inference mode. Operations are counted by the formulas of
    TensorFlow's profiler; those without a formula count as 0.

    Raises:
        ValueError: the size of the model's inputs is not fixed.
    """
    return _flops(_forward_operations(model)) // _BATCH


@dataclass(frozen=True)
class StepCosts:
    """The costs of a training step.

    Attributes:
        flops: floating-point operations for one image: forward, backward down to the
            lowest trainable layer, and a share of those of the optimizer.
        operations: number of operations in the graph that run.
    """

    flops: int
    operations: int


def training_step(model: keras.Model) -> StepCosts:
    """Trace a training step of a compiled model and return its costs.

    Raises:
        ValueError: the model is not compiled, or the size of its inputs is not fixed.
    """
    operations = _train_operations(model)
    return StepCosts(_flops(operations) // _BATCH, len(operations))


def optimizer_slots(model: keras.Model) -> int:
    """Return the number of tensors that the optimizer of a compiled model keeps.

    Raises:
        ValueError: the model is not compiled.
    """
    return len(_optimizer(model).variables)


def checkpoint_bytes(model: keras.Model) -> int:
    """Return the size of a checkpoint with the weights of model and optimizer."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "checkpoint.weights.h5")
        model.save_weights(path)
        return path.stat().st_size


class TraceCounter(keras.metrics.Metric):
    """Counts how often the steps of a model are traced.

    It is one of the metrics in `compile`: tracing a step calls it once, running the
    traced step does not. Traces after the first epoch are a bug that costs seconds.
    """

    def __init__(self, name: str = "traces") -> None:
        super().__init__(name=name)
        self.traces = 0

    def update_state(self, *_values: Any, **_options: Any) -> None:
        """Count a call; only tracing calls Python code."""
        self.traces += 1

    def result(self) -> Any:
        """Return 0; the count is in `traces`, outside the graph."""
        return keras.ops.zeros(())


def peak_memory() -> dict[str, int]:
    """Return the peak memory of this process in bytes, on "host" and "device"."""
    found = {"host": _host_peak()}
    import tensorflow as tf

    if tf.config.list_physical_devices("GPU"):
        found["device"] = int(tf.config.experimental.get_memory_info("GPU:0")["peak"])
    return {name: nbytes for name, nbytes in found.items() if nbytes}


def synchronize() -> None:
    """Wait until the devices have finished all work queued so far."""
    import tensorflow as tf

    if tf.config.list_physical_devices("GPU"):
        tf.test.experimental.sync_devices()


def _host_peak() -> int:
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        import resource

        # macOS has no /proc, and ru_maxrss in bytes. On Linux it is in KiB, and it
        # starts at the peak of the process that called exec.
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    line = next((x for x in status.splitlines() if x.startswith("VmHWM")), "VmHWM: 0")
    return int(line.split()[1]) * 1024


def _forward_operations(model: keras.Model) -> list[Any]:
    import tensorflow as tf

    forward = tf.function(lambda x: model(x, training=False), autograph=False)
    return _needed(forward.get_concrete_function(*_inputs(model)).graph)


def _train_operations(model: keras.Model) -> list[Any]:
    import tensorflow as tf

    _optimizer(model)
    (image,) = _inputs(model)
    outputs = np.zeros((_BATCH, *model.output_shape[1:]), np.float32)
    label = tf.TensorSpec(outputs.shape, tf.float32)
    step = tf.function(lambda x, y: model.train_step((x, y)), autograph=False)
    return _needed(step.get_concrete_function(image, label).graph)


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


def _inputs(model: keras.Model) -> list[Any]:
    import tensorflow as tf

    shapes = [tuple(tensor.shape)[1:] for tensor in model.inputs]
    if any(size is None for shape in shapes for size in shape):
        raise ValueError(
            "Counting operations needs images of a fixed size. "
            f"Received: model={model.name!r} with inputs of {shapes}. Build it with "
            "an input_shape."
        )
    return [tf.TensorSpec((_BATCH, *shape), tf.float32) for shape in shapes]


def _optimizer(model: keras.Model) -> Any:
    if not model.compiled:
        raise ValueError(
            "Counting a training step needs a compiled model. "
            f"Received: model={model.name!r}. Call model.compile(...)."
        )
    model.optimizer.build(model.trainable_variables)
    return model.optimizer


def _flops(operations: list[Any]) -> int:
    # The profiler's own entry point counts whole graphs, also what does not run.
    from tensorflow.python.framework import ops
    from tensorflow.python.profiler.internal import flops_registry  # noqa: F401

    counts = (
        ops.get_stats_for_node_def(operation.graph, operation.node_def, "flops").value
        for operation in operations
    )
    return int(sum(count or 0 for count in counts))
