"""Counting what PyTorch dispatches while a pass or step runs, by its own formulas."""

from typing import Any

import keras
import torch
from counting import Counts
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode


class _Operations(TorchDispatchMode):
    """Counts the operations that are dispatched."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        self.count += 1
        return func(*args, **(kwargs or {}))


def forward(model: keras.Model, shape: tuple[int, ...], batch: int) -> Counts:
    """Count a forward pass in inference mode."""
    images = keras.ops.zeros((batch, *shape))
    with torch.no_grad():
        return _counted(lambda: model(images, training=False))


def training_step(model: keras.Model, shape: tuple[int, ...], batch: int) -> Counts:
    """Count a training step of a compiled model; its variables stay what they are."""
    images = keras.ops.zeros((batch, *shape))
    labels = keras.ops.zeros((batch, *model.output_shape[1:]))
    model._symbolic_build(data_batch=(images, labels, None))  # noqa: SLF001
    variables = [*model.variables, *model.optimizer.variables, *model.metrics_variables]
    before = [variable.value.detach().clone() for variable in variables]
    counts = _counted(lambda: model.train_step((images, labels)))
    for variable, value in zip(variables, before, strict=True):
        variable.assign(value)
    return counts


def _counted(run: Any) -> Counts:
    flops, operations = FlopCounterMode(display=False), _Operations()
    with operations, flops:
        run()
    return Counts(int(flops.get_total_flops()), operations.count)
