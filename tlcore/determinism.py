"""Determinism: seeds, and operations that give the same bits each time.

Owns the two switches a run can set, which nothing in the package sets by itself, and
the list of what the bits of a result depend on beside its inputs.
"""

import hashlib
import importlib
import os
import platform
from pathlib import Path

import keras


def set_seed(seed: int) -> None:
    """Seed Python, NumPy and the Keras backend: initial weights, Dropout, augmentation.

    Raises:
        ValueError: the seed is negative or does not fit in 32 bits.
    """
    if not 0 <= seed < 2**32:
        raise ValueError(f"seed must be from 0 to 4294967295. Received: seed={seed}.")
    keras.utils.set_random_seed(seed)


def make_deterministic() -> None:
    """Make every operation give the same bits each time, at some cost in speed.

    It holds for the rest of the process.

    Raises:
        ValueError: the Keras backend has no such switch.
    """
    backend = keras.backend.backend()
    if backend != "tensorflow":
        raise ValueError(
            "Deterministic operations need the TensorFlow backend. "
            f"Received: backend={backend!r}. Set KERAS_BACKEND=tensorflow."
        )
    import tensorflow as tf

    tf.config.experimental.enable_op_determinism()


def is_deterministic() -> bool:
    """Tell whether operations give the same bits each time."""
    if keras.backend.backend() != "tensorflow":
        return False
    from tensorflow.python.framework.config import is_op_determinism_enabled

    return bool(is_op_determinism_enabled())


def versions() -> dict[str, str]:
    """Return the version of every library that decides what comes out, by name.

    They are those that the modules give: a nightly build, or TensorFlow for another
    kind of machine, is installed under another name.
    """
    modules = {"tlcore": "tlcore", "keras": "keras", "numpy": "numpy", "pillow": "PIL"}
    backend = keras.backend.backend()
    return {
        name: str(importlib.import_module(module).__version__)
        for name, module in {**modules, backend: backend}.items()
    }


def arithmetic() -> dict[str, object]:
    """Return what the bits of a forward pass depend on beside weights and images.

    That is the versions of the libraries, the processor and other devices, the number
    of threads, and the switches of the Keras backend.
    """
    facts: dict[str, object] = {
        "versions": versions(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "devices": keras.distribution.list_devices(),
    }
    if keras.backend.backend() == "tensorflow":
        facts["tensorflow"] = _tensorflow_switches()
    return facts


def _processor() -> str:
    """Return a checksum of model and features, of which kernels are chosen."""
    text = platform.machine() + platform.processor()
    lines = Path("/proc/cpuinfo")
    if lines.is_file():
        told = ("model name", "flags", "Features")
        kept = {x for x in lines.read_text().splitlines() if x.startswith(told)}
        text += "".join(sorted(kept))
    return hashlib.sha256(text.encode()).hexdigest()


def _tensorflow_switches() -> dict[str, object]:
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    details = [tf.config.experimental.get_device_details(gpu) for gpu in gpus]
    return {
        "onednn": os.environ.get("TF_ENABLE_ONEDNN_OPTS"),
        "deterministic": is_deterministic(),
        "tf32": tf.config.experimental.tensor_float_32_execution_enabled(),
        "intra_op_threads": tf.config.threading.get_intra_op_parallelism_threads(),
        "gpus": [detail.get("device_name") for detail in details],
    }
