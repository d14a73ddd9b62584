"""Devices: how to wait until those of the loaded frameworks have done their work.

Owns every name of a framework that is relied on. None is imported: what no suite has
loaded has no work to wait for.
"""

import sys
from collections.abc import Callable
from functools import partial
from typing import Any


def waiting() -> Callable[[], None] | None:
    """Return what waits for the devices of the loaded frameworks; None without any."""
    waits: list[Callable[[], None]] = []
    torch, jax = sys.modules.get("torch"), sys.modules.get("jax")
    tensorflow = sys.modules.get("tensorflow")
    if torch is not None and torch.cuda.is_available():
        waits.append(torch.cuda.synchronize)
    if jax is not None and jax.default_backend() != "cpu":
        # A computation is queued after all others of its device, a transfer is not.
        waits.append(partial(_wait_for_jax, jax))
    if tensorflow is not None and tensorflow.config.list_physical_devices("GPU"):
        waits.append(tensorflow.test.experimental.sync_devices)
    if not waits:
        return None

    def wait() -> None:
        for one in waits:
            one()

    return wait


def _wait_for_jax(jax: Any) -> None:
    (jax.numpy.zeros(()) + 1).block_until_ready()
