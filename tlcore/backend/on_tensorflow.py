"""TensorFlow: graphs for parts, `tf.data` for batches, and the switches of its kernels.

Owns what `seam` lists, for TensorFlow. Batches are read by `tf.data`, whose threads
call Python; those calls end before the interpreter does.
"""

import atexit
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from tlcore.backend.transport import AHEAD, Bank, Content, Plan

REWRITES = True
# From two images on. One image alone often runs another kernel, a matrix-vector instead
# of a matrix product, which adds up in another order.
SIZES_ROUND_ALIKE = True
BUILDS_FROM_DATA = False
REPLICATES_SMALL_BATCHES = False
JIT = False
_END_POLLS, _END_POLL_SECONDS = 50, 0.1
"""How often, and how far apart, to look whether tf.data is done at the end."""


def compiled(
    part: Any, image_shape: tuple[int, ...]
) -> Callable[[Any], list[NDArray[Any]]]:
    """Return a function that runs a part on a batch of any size, traced once."""
    signature = [tf.TensorSpec((None, *image_shape), tf.float32)]
    strategy = _strategy_of(part)

    def infer(images: Any) -> Any:
        return part([images], training=False)

    if strategy is not None:
        return _divided(strategy, infer)
    run = tf.function(
        infer,
        input_signature=signature,
        autograph=False,
        jit_compile=False,
    )
    # TensorFlow warns of frequent retracing where several parts of models are compiled,
    # because it counts all functions of this line as one. Each is traced once.
    run._omit_frequent_tracing_warning = True  # noqa: SLF001
    return lambda images: [keras.ops.convert_to_numpy(x) for x in run(images)]


def _strategy_of(layer: Any) -> Any:
    """Return the strategy that holds copies of the weights of a layer, None for one."""
    for variable in layer.variables:
        strategy = getattr(variable.value, "distribute_strategy", None)
        if strategy is not None and strategy.num_replicas_in_sync > 1:
            return strategy
    return None


def _divided(
    strategy: Any, run: Callable[[Any], Any]
) -> Callable[[Any], list[NDArray[Any]]]:
    """Return a function that divides a batch among devices as `fit` does."""
    count = strategy.num_replicas_in_sync
    every = tf.function(
        lambda shares: strategy.run(run, (shares,)),
        autograph=False,
        reduce_retracing=True,
    )

    def call(images: Any) -> list[NDArray[Any]]:
        step = -(-len(images) // count)
        parts = [
            tf.constant(images[i * step : (i + 1) * step], tf.float32)
            for i in range(count)
        ]
        shares = strategy.experimental_distribute_values_from_function(
            lambda context: parts[context.replica_id_in_sync_group]
        )
        found = [strategy.experimental_local_results(x) for x in every(shares)]
        return [np.concatenate([x.numpy() for x in local]) for local in found]

    return call


def forward(model: Any) -> Callable[[Any], Any]:
    """Return a function that runs a model, traced for each shape of images."""
    run: Callable[[Any], Any] = tf.function(
        lambda images: model(images, training=False), autograph=False
    )
    return run


def gradient(function: Callable[[Any], Any], tensor: Any) -> Any:
    """Return the gradient of the sum of what a function returns for a tensor."""
    tensor = tf.convert_to_tensor(tensor)
    with tf.GradientTape() as tape:
        tape.watch(tensor)
        total = tf.reduce_sum(function(tensor))
    return tape.gradient(total, tensor)


def materialised(images: Any, cut: Sequence[Any]) -> list[Any]:  # noqa: ARG001
    """Return the cut: TensorFlow runs one operation after the other."""
    return list(cut)


def replicas(layer: Any) -> int:
    """Return the number of devices of the strategy that a layer was made in."""
    strategy = _strategy_of(layer)
    return 1 if strategy is None else int(strategy.num_replicas_in_sync)


def spread(tensors: Sequence[Any]) -> list[Any]:
    """Return the batch: no batch is filled within a step."""
    return list(tensors)


def scope(model: Any) -> AbstractContextManager[object]:
    """Have variables be made in the strategy of a model."""
    found: AbstractContextManager[object] = model.distribute_strategy.scope()
    return found


def dividing() -> AbstractContextManager[object]:
    """Do nothing: TensorFlow divides any batch of as many images as devices."""
    return nullcontext()


class _Calls:
    """Calls from the threads of tf.data, which must end before the interpreter does.

    One that wants Python while the interpreter shuts down gets no answer, and the
    iterator that waits for it keeps the process from ending: after Ctrl-C, for good.
    """

    def __init__(self) -> None:
        self.ending = False
        self._lock = threading.Lock()
        self._begun = self._running = 0

    def __enter__(self) -> None:
        with self._lock:
            self._begun += 1
            self._running += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._running -= 1

    def end(self) -> None:
        """Have reads return at once, and wait until all buffers are full of that."""
        self.ending = True
        begun = 0
        with suppress(KeyboardInterrupt):  # a second Ctrl-C: go at once
            for _ in range(_END_POLLS):
                if not self._running and self._begun == begun:
                    break
                begun = self._begun
                time.sleep(_END_POLL_SECONDS)


_calls = _Calls()
atexit.register(_calls.end)


def batches(plan: Plan, content: Content) -> tf.data.Dataset:
    """Return the batches of a plan as a dataset."""
    steps = _steps(plan)
    if content.rows is not None:
        found = steps.map(lambda step: _replaced(plan, content, step))
    else:
        found = _pictures(plan, content, steps)
    found = found.prefetch(AHEAD)
    # `flat_map` loses the cardinality, by which readers know that a dataset never ends
    # (`plot_images` refuses it instead of reading for ever).
    count = tf.data.INFINITE_CARDINALITY if plan.count is None else plan.count
    return _untuned(found.apply(tf.data.experimental.assert_cardinality(count)))


def _untuned(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Return a dataset whose iterators can be dropped at once.

    The thread that tunes a pipeline sleeps for up to a minute between two looks, and
    TensorFlow does not always wake it: whoever drops an iterator that is not at its end
    waits for it, and so does every thread of Python (seen with TensorFlow 2.18 to 2.21,
    without this package). Nothing here needs tuning.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)


def _steps(plan: Plan) -> tf.data.Dataset:
    """Return the numbers of the steps of an iteration."""
    if plan.count is None:
        return tf.data.Dataset.counter(plan.first)
    steps = tf.data.Dataset.range(plan.first, plan.first + plan.count)
    begin = plan.begin
    if begin is None:
        return steps

    def offset() -> np.int64:
        with _calls:
            return np.int64(begin())

    # Stateful: TensorFlow must neither merge two calls nor drop one.
    offsets = tf.data.Dataset.range(1).map(
        lambda _: tf.ensure_shape(tf.numpy_function(offset, (), tf.int64), ())
    )
    return offsets.flat_map(lambda added: steps.map(lambda step: step + added))


def _replaced(plan: Plan, content: Content, step: Any) -> tuple[Any, ...]:
    """Return the rows of a step instead of its images, with its targets."""
    rows = content.rows
    assert rows is not None  # noqa: S101 - of `batches`
    columns = [(tuple(t.shape), t.dtype) for t in rows.tensors]
    every = [*columns, *content.columns]

    def take(step: int) -> list[NDArray[Any]]:
        with _calls:
            visits = plan.visits(int(step))
            others = content.targets(visits) if content.targets else ()
            return [*rows.take(visits), *others]

    # One call for all: each one waits for Python.
    types = [tf.as_dtype(dtype) for _, dtype in every]
    arrays = _shaped(tf.numpy_function(take, [step], types, stateful=False), every)
    return tuple(arrays[: len(columns)]), *arrays[len(columns) :]


def _pictures(plan: Plan, content: Content, steps: tf.data.Dataset) -> tf.data.Dataset:
    """Return batches of images, decoded in parallel."""

    def visits(step: int) -> NDArray[np.int64]:
        with _calls:
            return plan.visits(int(step))

    def read(visit: int) -> NDArray[Any]:
        with _calls:
            if _calls.ending:
                return np.zeros(content.shape, content.dtype)
            return content.read(int(visit))

    def load(visit: Any) -> tuple[Any, Any]:
        # With enable_op_determinism, tf.data runs a map whose function is stateful (the
        # default) on one thread.
        dtype = tf.as_dtype(content.dtype)
        image = tf.numpy_function(read, [visit], dtype, stateful=False)
        return tf.ensure_shape(image, content.shape), visit

    def listed(step: Any) -> tf.data.Dataset:
        numbers = tf.numpy_function(visits, [step], tf.int64, stateful=False)
        return tf.data.Dataset.from_tensor_slices(tf.ensure_shape(numbers, (None,)))

    images = steps.flat_map(listed).map(
        load, num_parallel_calls=os.cpu_count() or 1, deterministic=True
    )
    found = images.batch(max(plan.sizes))
    if len(set(plan.sizes)) > 1:
        # `batch` fills every batch, also across the end of an epoch. `rebatch` cuts its
        # stream again into the batch sizes of an epoch, in a cycle that starts at the
        # first batch, so that no batch holds images of two epochs.
        found = found.rebatch(np.roll(plan.sizes, -plan.first))
    return found.map(lambda images, visits: _finished(content, images, visits))


def _finished(content: Content, images: Any, visits: Any) -> Any:
    pictures = _as_views(tf.cast(images, tf.float32), visits, content.bank)
    if content.targets is None:
        return pictures
    given = content.targets

    def targets(visits: NDArray[np.int64]) -> list[NDArray[Any]]:
        with _calls:
            return list(given(visits))

    types = [tf.as_dtype(dtype) for _, dtype in content.columns]
    found = tf.numpy_function(targets, [visits], types, stateful=False)
    return pictures, *_shaped(found, content.columns)


def _as_views(images: Any, visits: Any, bank: Bank | None) -> Any:
    """Return a batch of images, or the views that a bank computes of it."""
    if bank is None:
        return images

    def seeds(visits: NDArray[np.int64]) -> NDArray[np.int64]:
        with _calls:
            return bank.seeds(visits)

    drawn = tf.numpy_function(seeds, [visits], tf.int64, stateful=False)
    return bank.views(images, drawn)


def _shaped(arrays: Any, columns: Sequence[tuple[tuple[Any, ...], str]]) -> list[Any]:
    found = arrays if isinstance(arrays, list | tuple) else [arrays]
    return [
        tf.ensure_shape(array, (None, *shape))
        for array, (shape, _) in zip(found, columns, strict=True)
    ]


def generated(
    batches: Callable[[], Iterator[Any]],
    signature: Sequence[Any],
    count: int | None,
) -> tf.data.Dataset:
    """Return what a function yields as a dataset; each iteration calls it anew.

    Args:
        batches: returns an iterator of elements.
        signature: (shape, type) of each tensor, nested as in an element.
        count: the number of elements, None where it is not known.
    """

    def spec(part: Any) -> Any:
        if isinstance(part[-1], str):
            return tf.TensorSpec(*part)
        return tuple(spec(inner) for inner in part)

    def calls() -> Iterator[Any]:
        elements = iter(batches())
        while True:
            with _calls:
                element = None if _calls.ending else next(elements, None)
            if element is None:
                return
            yield element

    specs = tuple(spec(part) for part in signature)
    dataset = tf.data.Dataset.from_generator(calls, output_signature=specs)
    if count is not None:
        dataset = dataset.apply(tf.data.experimental.assert_cardinality(count))
    return _untuned(dataset.prefetch(AHEAD))


def make_deterministic() -> None:
    """Switch to deterministic kernels for the rest of the process."""
    tf.config.experimental.enable_op_determinism()


def is_deterministic() -> bool:
    """Return whether kernels are deterministic."""
    # TensorFlow has no public function that reads the switch.
    from tensorflow.python.framework.config import is_op_determinism_enabled

    return bool(is_op_determinism_enabled())


def switches() -> dict[str, object]:
    """Return the switches of the kernels, and the GPUs."""
    gpus = tf.config.list_physical_devices("GPU")
    details = [tf.config.experimental.get_device_details(gpu) for gpu in gpus]
    return {
        "onednn": os.environ.get("TF_ENABLE_ONEDNN_OPTS"),
        "deterministic": is_deterministic(),
        # A GPU since Ampere rounds the factors of a product to 10 bits if this is on.
        "tf32": tf.config.experimental.tensor_float_32_execution_enabled(),
        "intra_op_threads": tf.config.threading.get_intra_op_parallelism_threads(),
        "gpus": [detail.get("device_name") for detail in details],
    }


def devices() -> list[str]:
    """Return the devices as Keras lists them."""
    return list(keras.distribution.list_devices())


def threads(count: int) -> dict[str, str]:
    """Return the environment in which a process computes with some threads."""
    return {"TF_NUM_INTRAOP_THREADS": str(count)}


def synchronize() -> None:
    """Wait for the GPUs."""
    if tf.config.list_physical_devices("GPU"):
        tf.test.experimental.sync_devices()


def peak_memory() -> int | None:
    """Return the peak of TensorFlow's own memory on the first GPU, in bytes."""
    if not tf.config.list_physical_devices("GPU"):
        return None
    return int(tf.config.experimental.get_memory_info("GPU:0")["peak"])


def forget_peak_memory() -> None:
    """Begin to look for the peak anew."""
    if tf.config.list_physical_devices("GPU"):
        tf.config.experimental.reset_memory_stats("GPU:0")


def random_numbers() -> None:
    """Return None: the state of TensorFlow's own draws cannot be read.

    What Keras draws, it draws from seeds of its own.
    """


def draw_from(states: None) -> None:
    """Do nothing."""
