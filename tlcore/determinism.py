"""Determinism: seeds, and operations that give the same bits each time.

Owns the two switches a run can set; nothing in the package sets them by itself.
"""

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
