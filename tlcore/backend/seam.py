"""Seam: the one way to what differs between the backends of Keras.

Owns the list of what each backend module has, and the choice among them. A module is
imported with its framework, so that only the chosen one is.
"""

import importlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, cast

from numpy.typing import NDArray

from tlcore.backend.transport import Content, Plan

BACKENDS = ("tensorflow", "jax", "torch")


class Backend(Protocol):
    """What every backend module has."""

    SIZES_ROUND_ALIKE: bool
    """Whether an image gets the same bits in all batches of at least two.

    Where not, only a trial can tell which sizes round alike, and steps from images keep
    a model apart at its cut.
    """

    REWRITES: bool
    """Whether it rewrites a graph by rules that depend on what else is in it."""

    REPLICATES_SMALL_BATCHES: bool
    """Whether every device can compute a batch that is too small to be divided."""

    JIT: bool
    """Whether a training step is compiled as a whole."""

    BUILDS_FROM_DATA: bool
    """Whether Keras reads a batch before the first step, to build what is not built."""

    def compiled(
        self, part: Any, image_shape: tuple[int, ...]
    ) -> Callable[[Any], list[NDArray[Any]]]:
        """Return a function that runs a part in inference mode on a batch of images."""

    def forward(self, model: Any) -> Callable[[Any], Any]:
        """Return a function that runs a model in inference mode and does not wait.

        It takes a batch of images on the device and leaves the outputs there.
        """

    def gradient(self, function: Callable[[Any], Any], tensor: Any) -> Any:
        """Return the gradient of the sum of what a function returns for a tensor."""

    def batches(self, plan: Plan, content: Content) -> Any:
        """Return a dataset of the batches of a plan; each iteration begins anew."""

    def generated(
        self,
        batches: Callable[[], Iterator[Any]],
        signature: Sequence[Any],
        count: int | None,
    ) -> Any:
        """Return what a function yields as a dataset; each iteration calls it anew."""

    def materialised(self, images: Any, cut: Sequence[Any]) -> list[Any]:
        """Return a cut in the form in which it comes from the cache."""

    def replicas(self, layer: Any) -> int:
        """Return the number of devices among which batches for a layer are divided."""

    def spread(self, tensors: Sequence[Any]) -> list[Any]:
        """Return a batch within a step, divided among devices as one that comes in."""

    def scope(self, model: Any) -> AbstractContextManager[object]:
        """Have variables be made where those of a model are."""

    def dividing(self) -> AbstractContextManager[object]:
        """Have batches that devices cannot divide evenly computed by each of them."""

    def make_deterministic(self) -> None:
        """Make every operation return the same bits every time."""

    def is_deterministic(self) -> bool:
        """Return whether `make_deterministic` is in effect."""

    def random_numbers(self) -> Any:
        """Return the states from which the framework itself draws, None if none."""

    def draw_from(self, states: Any) -> None:
        """Have the framework go on from what `random_numbers` returned."""

    def switches(self) -> dict[str, object]:
        """Return what the bits of a forward pass depend on besides the versions."""

    def devices(self) -> list[str]:
        """Return the devices that it computes on, such as "gpu:0"."""

    def threads(self, count: int) -> dict[str, str]:
        """Return the environment in which a process computes with some threads."""

    def synchronize(self) -> None:
        """Wait until the devices have finished all work queued so far."""

    def peak_memory(self) -> int | None:
        """Return the peak memory of the first GPU in bytes, None without one."""

    def forget_peak_memory(self) -> None:
        """Begin to look for the peak anew, where the framework can."""


def current() -> Backend:
    """Return the module of Keras's backend.

    Raises:
        ValueError: Keras has a backend that this package does not run on.

    Example:
        >>> current().JIT
        False
    """
    import keras  # late: data is described without a framework

    name = keras.backend.backend()
    if name not in BACKENDS:
        raise ValueError(
            f"Keras's backend must be one of: {', '.join(BACKENDS)}. "
            f"Received: backend={name!r}. Set KERAS_BACKEND before Keras is imported."
        )
    return cast("Backend", importlib.import_module(f"tlcore.backend.on_{name}"))
