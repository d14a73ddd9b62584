"""Costs: the operations of a forward pass and a training step, counted, not timed.

Owns what is counted for one image, peak memory and waiting for devices; how operations
are counted is of the backend (`counting_tensorflow`, `counting_jax`, `counting_torch`).
Counts depend on the versions of the backend and of Keras and on nothing else, neither
the machine nor its load. A layer that is no longer frozen shows as a jump in the
operations of the training step.
"""

import tempfile
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import keras

from tlcore.backend import seam

_BATCH = 2
"""Images in the traced batch, by which counts are divided."""


def forward_flops(model: keras.Model) -> int:
    """Return the floating-point operations of a forward pass over one image.

    The pass is in inference mode. Operations are counted by the backend's own formulas;
    those without a formula count as 0.

    Raises:
        ValueError: the size of the model's inputs is not fixed.
    """
    counts = _backend().forward(model, _image_shape(model), _BATCH)
    return int(counts.flops) // _BATCH


@dataclass(frozen=True)
class StepCosts:
    """The costs of a training step.

    Attributes:
        flops: floating-point operations for one image: forward, backward down to the
            lowest trainable layer, and a share of those of the optimizer.
        operations: number of operations of the graph, or of the step, that run.
    """

    flops: int
    operations: int


def training_step(model: keras.Model) -> StepCosts:
    """Trace a training step of a compiled model and return its costs.

    Raises:
        ValueError: the model is not compiled, or the size of its inputs is not fixed.
    """
    _optimizer(model)
    counts = _backend().training_step(model, _image_shape(model), _BATCH)
    return StepCosts(counts.flops // _BATCH, counts.operations)


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
    found = {"host": _host_peak(), "device": seam.current().peak_memory() or 0}
    return {name: nbytes for name, nbytes in found.items() if nbytes}


def synchronize() -> None:
    """Wait until the devices have finished all work queued so far."""
    seam.current().synchronize()


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


def _backend() -> Any:
    return import_module(f"counting_{keras.backend.backend()}")


def _image_shape(model: keras.Model) -> tuple[int, ...]:
    (tensor,) = model.inputs
    shape = tuple(tensor.shape)[1:]
    if None in shape:
        raise ValueError(
            "Counting operations needs images of a fixed size. "
            f"Received: model={model.name!r} with inputs of {shape}. Build it with "
            "an input_shape."
        )
    return shape


def _optimizer(model: keras.Model) -> Any:
    if not model.compiled:
        raise ValueError(
            "Counting a training step needs a compiled model. "
            f"Received: model={model.name!r}. Call model.compile(...)."
        )
    model.optimizer.build(model.trainable_variables)
    return model.optimizer
