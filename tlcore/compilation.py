"""Compilation: a part of a model as a function of arrays.

Owns the one place where a function is compiled for batches of any size. It computes
what Keras's `predict` would, which compiles anew for every batch of another size.
"""

from collections.abc import Callable
from typing import Any

import keras
from numpy.typing import NDArray

from tlcore.graph import Part

Compiled = Callable[[Any], list[NDArray[Any]]]
"""From a batch of images to the tensors of a cut."""


def compiled(part: Part, image_shape: tuple[int, ...]) -> Compiled:
    """Return the function that runs a part in inference mode.

    Args:
        part: what to run; it takes one tensor.
        image_shape: (height, width, channels) of that, for one image.

    Returns:
        Batches of float32, (n, *image_shape), in; one array per tensor out.

    Raises:
        ValueError: the Keras backend is not TensorFlow.
    """
    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            "Compiling a part needs the TensorFlow backend. "
            f"Received: backend={keras.backend.backend()!r}. Set "
            "KERAS_BACKEND=tensorflow."
        )
    import tensorflow as tf

    signature = [tf.TensorSpec((None, *image_shape), tf.float32)]

    run = tf.function(
        lambda images: part([images], training=False),
        input_signature=signature,
        autograph=False,
        jit_compile=False,
    )
    # It is traced once; TensorFlow warns where many parts of models are compiled.
    run._omit_frequent_tracing_warning = True  # noqa: SLF001
    return lambda images: [keras.ops.convert_to_numpy(x) for x in run(images)]
