"""PyTorch: parts without gradients, and the switches of its kernels.

Owns what `seam` lists, for PyTorch. Steps run operation by operation; kernels choose
their algorithm by the number of rows and of threads.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import keras
import numpy as np
import torch
from numpy.typing import NDArray

from tlcore.backend.look_ahead import InOrder, LookAhead, bank_views, planned
from tlcore.backend.resident import brought
from tlcore.backend.transport import Content, Plan

REWRITES = False
SIZES_ROUND_ALIKE = False
BUILDS_FROM_DATA = True
REPLICATES_SMALL_BATCHES = False
JIT = False
_WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"


def compiled(
    part: Any,
    image_shape: tuple[int, ...],  # noqa: ARG001 - nothing is compiled
) -> Callable[[Any], list[NDArray[Any]]]:
    """Return a function that runs a part without gradients."""

    def call(images: Any) -> list[NDArray[Any]]:
        with torch.no_grad():
            tensor = keras.ops.convert_to_tensor(np.asarray(images, np.float32))
            outputs = part([tensor], training=False)
        return [keras.ops.convert_to_numpy(array) for array in outputs]

    return call


def forward(model: Any) -> Callable[[Any], Any]:
    """Return a function that runs a model without gradients."""

    def call(images: Any) -> Any:
        with torch.no_grad():
            return model(images, training=False)

    return call


def gradient(function: Callable[[Any], Any], tensor: Any) -> Any:
    """Return the gradient of the sum of what a function returns for a tensor."""
    leaf = keras.ops.convert_to_tensor(tensor).detach().requires_grad_()
    with torch.enable_grad():
        (found,) = torch.autograd.grad(function(leaf).sum(), leaf)
    return found


def materialised(images: Any, cut: Sequence[Any]) -> list[Any]:  # noqa: ARG001
    """Return a cut that lies in memory as one that was read from the cache.

    What a convolution returns is a view with other strides, and the next one chooses
    its kernel by them.
    """
    return [tensor.contiguous() for tensor in cut]


def replicas(layer: Any) -> int:  # noqa: ARG001 - the same for each
    """Return 1: Keras trains on one device with PyTorch."""
    return 1


def spread(tensors: Sequence[Any]) -> list[Any]:
    """Return the batch: no batch is divided within a step."""
    return list(tensors)


def scope(model: Any) -> AbstractContextManager[object]:  # noqa: ARG001 - of none
    """Do nothing: variables are where Keras puts them."""
    return nullcontext()


def dividing() -> AbstractContextManager[object]:
    """Do nothing: no batch is divided."""
    return nullcontext()


def batches(plan: Plan, content: Content) -> LookAhead:
    """Return the batches of a plan; cached rows lie on the GPU where they fit."""
    free = torch.cuda.mem_get_info()[0] if torch.cuda.is_available() else 0
    content = brought(content, free, keras.ops.convert_to_tensor, _pick)
    return planned(plan, content, bank_views(content, _without_gradients))


def _pick(array: Any, rows: NDArray[np.int32]) -> Any:
    return array.index_select(0, torch.from_numpy(rows).to(array.device))


def _without_gradients(function: Callable[..., Any]) -> Callable[..., Any]:
    def call(images: NDArray[Any], seeds: NDArray[Any]) -> NDArray[Any]:
        with torch.no_grad():
            tensor = keras.ops.convert_to_tensor(images)
            return np.asarray(keras.ops.convert_to_numpy(function(tensor, seeds)))

    return call


def generated(
    batches: Callable[[], Iterator[Any]],
    signature: Sequence[Any],  # noqa: ARG001 - arrays say their types
    count: int | None,
) -> InOrder:
    """Return what a function yields as a dataset."""
    return InOrder(batches, count)


def make_deterministic() -> None:
    """Switch to deterministic kernels for the rest of the process."""
    # cuBLAS reads it when its first handle is made, and is not deterministic without.
    os.environ.setdefault(_WORKSPACE, ":4096:8")
    torch.use_deterministic_algorithms(mode=True)


def is_deterministic() -> bool:
    """Return whether kernels are deterministic."""
    return bool(torch.are_deterministic_algorithms_enabled())


def switches() -> dict[str, object]:
    """Return the switches of the kernels, the threads and the GPUs."""
    count = torch.cuda.device_count()
    return {
        "deterministic": is_deterministic(),
        "threads": torch.get_num_threads(),
        "mkldnn": bool(torch.backends.mkldnn.enabled),
        "matmul_precision": torch.get_float32_matmul_precision(),
        "tf32": bool(torch.backends.cudnn.allow_tf32),
        "benchmark": bool(torch.backends.cudnn.benchmark),
        "gpus": [torch.cuda.get_device_name(i) for i in range(count)],
    }


def devices() -> list[str]:
    """Return the GPUs, or the CPU."""
    found = [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    return found or ["cpu:0"]


def threads(count: int) -> dict[str, str]:
    """Return the environment in which a process computes with some threads."""
    return {"OMP_NUM_THREADS": str(count), "MKL_NUM_THREADS": str(count)}


def synchronize() -> None:
    """Wait for the GPU."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def peak_memory() -> int | None:
    """Return the peak of PyTorch's own memory on the first GPU, in bytes."""
    if not torch.cuda.is_available():
        return None
    return int(torch.cuda.max_memory_allocated())


def forget_peak_memory() -> None:
    """Begin to look for the peak anew."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def random_numbers() -> list[NDArray[np.uint8]]:
    """Return the states that PyTorch draws from: the CPU's, then each GPU's."""
    states = [torch.get_rng_state(), *torch.cuda.get_rng_state_all()]
    return [state.cpu().numpy() for state in states]


def draw_from(states: Sequence[NDArray[np.uint8]]) -> None:
    """Have PyTorch go on from what `random_numbers` returned."""
    first, *others = (torch.from_numpy(state) for state in states)
    torch.set_rng_state(first)
    if len(others) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(others)
