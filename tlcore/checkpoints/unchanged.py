"""Unchanged: a model that is trained for a while, and then is as it was.

Owns putting back what a training changes: the variables that a state of `variables`
holds, the attributes of the model (how it is compiled, its history, its compiled
functions), and the random numbers of the process.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import keras

from tlcore.checkpoints import variables


@contextmanager
def same_random_numbers() -> Iterator[None]:
    """Have random numbers go on, after the block, from where they were before it.

    Those of Python, NumPy, Keras and its backend.

    Example:
        >>> import random
        >>> with same_random_numbers():
        ...     first = random.random()
        >>> random.random() == first
        True
    """
    states = variables.random_numbers()
    shared = variables.shared_seeds()
    try:
        yield
    finally:
        variables.draw_from(states)
        variables.share_seeds(shared)


@contextmanager
def unchanged(model: keras.Model) -> Iterator[None]:
    """Have a model be, after the block, what it was before: weights, optimizer, all.

    Args:
        model: a model, built; compiled or not. If it is compiled, the variables of its
            optimizer and metrics exist. In the block no layer is unfrozen: a frozen
            backbone is taken for one that does not change.

    Example:
        >>> model = tl.create_model("sample_net", 3, input_shape=(32, 32, 3))
        >>> train = tl.image_folder("photos/train", image_size=32)
        >>> with unchanged(model):
        ...     history = tl.feature_extract(model, train, epochs=1, verbose=0)
        >>> model.compiled
        False
    """
    attributes, arrays = dict(vars(model)), variables.values(model)
    try:
        yield
    finally:
        if hasattr(model, "jax_state_sync"):
            model.jax_state_sync()
        # Past Keras, which would track what is assigned once more.
        own = vars(model)
        for name in own.keys() - attributes.keys():
            del own[name]
        own.update(attributes)
        variables.assign(model, arrays, variables.GROUPS)
