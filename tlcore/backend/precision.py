"""Precision: a dtype policy of Keras for as long as a block lasts."""

from collections.abc import Iterator
from contextlib import contextmanager

import keras


@contextmanager
def precision(policy: str) -> Iterator[None]:
    """Have what is made in this block take a dtype policy, and nothing else.

    Example:
        >>> import keras
        >>> with precision("mixed_bfloat16"):
        ...     layer = keras.layers.Dense(1)
        >>> layer.compute_dtype, keras.layers.Dense(1).compute_dtype
        ('bfloat16', 'float32')
    """
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
