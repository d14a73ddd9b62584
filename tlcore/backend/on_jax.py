"""JAX: jitted parts, and what XLA would otherwise round differently.

Owns what `seam` lists, for JAX. XLA compiles a function for each shape, chooses kernels
by the number of rows, and fuses what it compiles together; so features are computed at
the size of the batch that they train in, and a cut is kept apart from what follows it.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec
from numpy.typing import NDArray

from tlcore.backend.look_ahead import InOrder, LookAhead, bank_views, planned
from tlcore.backend.resident import brought
from tlcore.backend.transport import Content, Plan

REWRITES = False
SIZES_ROUND_ALIKE = False
BUILDS_FROM_DATA = True
REPLICATES_SMALL_BATCHES = True
JIT = True
_DETERMINISTIC = "--xla_gpu_deterministic_ops"
_UNSIGNED = {1: jnp.uint8, 2: jnp.uint16, 4: jnp.uint32}


def compiled(
    part: Any,
    image_shape: tuple[int, ...],  # noqa: ARG001 - jit looks at the images
) -> Callable[[Any], list[NDArray[Any]]]:
    """Return a function that runs a part, compiled once for each batch size.

    It holds copies of the weights that the part has when it is first called. While a
    model trains, Keras takes the weights out of it, and its steps may reuse their
    memory.
    """
    run = _inference(part)

    @cache
    def weights() -> list[list[Any]]:
        kinds = part.trainable_variables, part.non_trainable_variables
        return [[jnp.array(x.value, copy=True) for x in some] for some in kinds]

    def call(images: Any) -> list[NDArray[Any]]:
        # Weights are arguments: as constants XLA folds them, minutes for a backbone.
        outputs = run(*weights(), [_placed(np.asarray(images, np.float32))])
        return [np.asarray(array) for array in outputs]

    return call


def forward(model: Any) -> Callable[[Any], Any]:
    """Return a function that runs a model with the weights that it has at each call."""
    run = _inference(model)

    def call(images: Any) -> Any:
        kinds = model.trainable_variables, model.non_trainable_variables
        return run(*([x.value for x in some] for some in kinds), images)

    return call


def gradient(function: Callable[[Any], Any], tensor: Any) -> Any:
    """Return the gradient of the sum of what a function returns for a tensor."""
    return jax.grad(lambda x: function(x).sum())(jax.numpy.asarray(tensor))


def _inference(layer: Any) -> Callable[..., Any]:
    """Return a compiled function of both kinds of weights and of inputs."""

    def run(trainable: Any, others: Any, inputs: Any) -> Any:
        outputs, _ = layer.stateless_call(trainable, others, inputs, training=False)
        return outputs

    jitted: Callable[..., Any] = jax.jit(run)
    return jitted


def materialised(images: Any, cut: Sequence[Any]) -> list[Any]:
    """Return a cut that XLA computes before anything that uses it.

    Its bits are combined with a zero that is known only when the images are. XLA drops
    `optimization_barrier` on a CPU, and without gradients it fuses across the cut.
    """
    zero = jnp.isnan(jnp.ravel(images)[0])
    convert = jax.lax.bitcast_convert_type
    apart = []
    for array in cut:
        bits = _UNSIGNED[array.dtype.itemsize]
        apart.append(convert(convert(array, bits) ^ zero.astype(bits), array.dtype))
    return apart


def replicas(layer: Any = None) -> int:  # noqa: ARG001 - the same for each
    """Return the devices along the batch axis of the distribution that is set."""
    distribution = keras.distribution.distribution()
    if distribution is None:
        return 1
    mesh = distribution.device_mesh
    return int(mesh.shape[mesh.axis_names.index(distribution.batch_dim_name)])


def _placed(array: NDArray[Any]) -> Any:
    """Return a batch as Keras divides it, so that each device computes its share."""
    sharding = _sharding(array)
    return array if sharding is None else jax.device_put(array, sharding)


def spread(tensors: Sequence[Any]) -> list[Any]:
    """Return a batch within a step, divided among devices as one that comes in."""
    if keras.distribution.distribution() is None:
        return list(tensors)
    return [jax.lax.with_sharding_constraint(x, _sharding(x)) for x in tensors]


def _sharding(batch: Any) -> NamedSharding | None:
    """Return how a batch is divided, None where no distribution is set.

    One that cannot be divided evenly is on every device.
    """
    distribution = keras.distribution.distribution()
    if distribution is None:
        return None
    evenly: NamedSharding = distribution.get_data_layout(batch.shape).backend_layout
    if len(batch) % replicas() == 0:
        return evenly
    return NamedSharding(evenly.mesh, PartitionSpec())


def scope(model: Any) -> AbstractContextManager[object]:  # noqa: ARG001 - of none
    """Do nothing: variables are where Keras puts them."""
    return nullcontext()


@contextmanager
def dividing() -> Iterator[None]:
    """Have batches that devices cannot divide evenly computed by each of them.

    Keras fails at such a batch, which the last one of most epochs is.
    """
    if replicas() == 1:
        yield
        return
    from keras.src.backend.jax import distribution_lib

    # Keras has no public place where the layout of one batch is chosen.
    theirs = distribution_lib.distribute_data_input

    def distribute(batch: Any, layout: Any, batch_dim_name: str) -> Any:
        if len(batch) % replicas() == 0:
            return theirs(batch, layout, batch_dim_name)
        return _placed(batch)

    distribution_lib.distribute_data_input = distribute
    try:
        yield
    finally:
        distribution_lib.distribute_data_input = theirs


def batches(plan: Plan, content: Content) -> LookAhead:
    """Return the batches of a plan; cached rows lie on the GPU where they fit."""
    content = brought(content, _free_bytes(), jax.device_put, _pick)
    return planned(plan, content, bank_views(content, jax.jit))


_pick = jax.jit(lambda array, rows: jnp.take(array, rows, axis=0))


def _free_bytes() -> int:
    """Return the memory that is free on the GPU, 0 without one, or with several."""
    first = jax.local_devices()[0]
    if first.platform == "cpu" or replicas() > 1:
        return 0
    stats = first.memory_stats() or {}
    return int(stats.get("bytes_limit", 0)) - int(stats.get("bytes_in_use", 0))


def generated(
    batches: Callable[[], Iterator[Any]],
    signature: Sequence[Any],  # noqa: ARG001 - arrays say their types
    count: int | None,
) -> InOrder:
    """Return what a function yields as a dataset."""
    return InOrder(batches, count)


def make_deterministic() -> None:
    """Make sure that operations are deterministic, as they are on a CPU.

    Raises:
        ValueError: there is a GPU, and XLA was not told so before it started.
    """
    if not is_deterministic():
        raise ValueError(
            "Deterministic operations on a GPU must be asked for before JAX starts. "
            f"Received: XLA_FLAGS={os.environ.get('XLA_FLAGS', '')!r}. Set "
            f"XLA_FLAGS={_DETERMINISTIC}=true in the environment."
        )


def is_deterministic() -> bool:
    """Return whether operations are deterministic: on a CPU, or by XLA's flag."""
    if jax.default_backend() == "cpu":
        return True
    flags = os.environ.get("XLA_FLAGS", "").split()
    return any(flag in {_DETERMINISTIC, f"{_DETERMINISTIC}=true"} for flag in flags)


def switches() -> dict[str, object]:
    """Return the options of XLA and the precision of products."""
    return {
        "xla_flags": sorted(os.environ.get("XLA_FLAGS", "").split()),
        "matmul_precision": str(jax.config.jax_default_matmul_precision),
        "x64": bool(jax.config.jax_enable_x64),
        "jaxlib": jax.lib.__version__,
        "devices": [device.device_kind for device in jax.local_devices()],
        "shares": replicas(),
    }


def devices() -> list[str]:
    """Return the devices as Keras lists them."""
    return list(keras.distribution.list_devices())


def threads(count: int) -> dict[str, str]:
    """Return the environment in which a process computes with some threads."""
    # The name under which XLA looks for a share of the processor.
    return {"NPROC": str(count)}


def synchronize() -> None:
    """Wait for all devices."""
    for device in jax.local_devices():
        # A computation is queued behind all others of its device, a transfer is not.
        (jax.device_put(0.0, device) + 1).block_until_ready()


def peak_memory() -> int | None:
    """Return the peak of JAX's own memory on the first GPU, in bytes."""
    first = jax.local_devices()[0]
    if first.platform == "cpu":
        return None
    return int((first.memory_stats() or {}).get("peak_bytes_in_use", 0))


def forget_peak_memory() -> None:
    """Do nothing: JAX remembers the peak of the process."""


def random_numbers() -> None:
    """Return None: JAX draws from seeds that it is given."""


def draw_from(states: None) -> None:
    """Do nothing."""
