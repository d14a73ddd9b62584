"""Determinism: seeds, and operations that return the same bits every time.

Owns the two switches that a run can set, which nothing in this package sets on its own,
and the list of what the bits of a result depend on in addition to its inputs.
"""

import hashlib
import importlib
import os
import platform
from pathlib import Path

import keras

from tlcore.backend import seam


def set_seed(seed: int) -> None:
    """Seed Python, NumPy and the Keras backend: initial weights, Dropout, augmentation.

    Raises:
        ValueError: the seed is negative or does not fit in 32 bits.

    Example:
        >>> import numpy as np
        >>> set_seed(1)
        >>> first = np.random.random()
        >>> set_seed(1)
        >>> bool(np.random.random() == first)
        True
    """
    # NumPy's limit. Keras passes the seed on and fails within NumPy.
    if not 0 <= seed < 2**32:
        raise ValueError(f"seed must be from 0 to 4294967295. Received: seed={seed}.")
    keras.utils.set_random_seed(seed)


def make_deterministic() -> None:
    """Make every operation return the same bits every time, at some cost in speed.

    The switch stays on for the rest of the process.

    Raises:
        ValueError: the Keras backend has no such switch, or it must be set earlier.
    """
    seam.current().make_deterministic()


def is_deterministic() -> bool:
    """Return whether `make_deterministic` is in effect."""
    return seam.current().is_deterministic()


def versions() -> dict[str, str]:
    """Return the version of each library that results depend on, by name.

    The modules are asked, not the installed distributions: nightly builds and
    TensorFlow for other machines are installed under other names.
    """
    modules = {"tlcore": "tlcore", "keras": "keras", "numpy": "numpy", "pillow": "PIL"}
    backend = keras.backend.backend()
    return {
        name: str(importlib.import_module(module).__version__)
        for name, module in {**modules, backend: backend}.items()
    }


def arithmetic() -> dict[str, object]:
    """Return what the bits of a forward pass depend on besides weights and images.

    These are the versions of the libraries, the processor and other devices, the number
    of threads, and the switches of the Keras backend.
    """
    backend = seam.current()
    return {
        "versions": versions(),
        "processor": _processor(),
        # How a sum is divided among threads decides in which order it is rounded.
        "cores": os.cpu_count(),
        "devices": backend.devices(),
        keras.backend.backend(): backend.switches(),
    }


def _processor() -> str:
    """Return a checksum of the processor's model and features."""
    # Eigen and oneDNN choose their kernels by these features (AVX-512, AMX and so on).
    text = platform.machine() + platform.processor()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        fields = ("model name", "flags", "Features")  # "Features" on ARM
        lines = cpuinfo.read_text().splitlines()
        text += "".join(sorted({x for x in lines if x.startswith(fields)}))
    return hashlib.sha256(text.encode()).hexdigest()
