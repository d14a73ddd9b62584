"""Variables: everything in a model that a training may change, by name.

Owns which those are: the weights outside a frozen backbone, the seeds of random layers,
the optimizer with its slots and the sums of the metrics; and the random numbers of the
process. The frozen weights are known by their fingerprint. Variables are matched by
their place, because Keras numbers the names of layers anew in every process.
"""

import random
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from tlcore.backbones.weights import fingerprint
from tlcore.backend import seam
from tlcore.checkpoints.packing import Arrays
from tlcore.freezing import find_backbone, layer_tree

GROUPS = ("model", "optimizer", "metrics", "seeds")
"""What the variables of a training are grouped into."""

_SHARED = "global_seed_generator"


def trained_places(model: keras.Model) -> list[int]:
    """Return the places of the weights that train, in `model.weights`."""
    trained = {id(variable) for variable in model.trainable_variables}
    return [i for i, weight in enumerate(model.weights) if id(weight) in trained]


def frozen_weights(model: keras.Model) -> list[Any]:
    """Return the weights of the backbone that no training changes."""
    holder, network = find_backbone(model)
    if holder is model:  # a model of someone else's: nothing is known of it
        return []
    return list(network.non_trainable_weights)


def frozen_digest(model: keras.Model) -> str:
    """Return the sha256 of `frozen_weights`."""
    return fingerprint(frozen_weights(model))


def frozen(model: keras.Model) -> Arrays:
    """Return the values of `frozen_weights`, by place."""
    return _as_arrays(_places("frozen", frozen_weights(model)))


def set_frozen(model: keras.Model, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Give the frozen weights the values of `frozen`."""
    for name, weight in _places("frozen", frozen_weights(model)).items():
        weight.assign(arrays[name])


def flags(model: keras.Model) -> list[bool]:
    """Return the `trainable` of every layer, parents before what is in them."""
    return [bool(layer.trainable) for layer in layer_tree([model])]


def set_flags(model: keras.Model, wanted: Sequence[bool]) -> None:
    """Set the `trainable` of every layer to what `flags` returned.

    Raises:
        ValueError: the model has more or fewer layers.
    """
    layers = list(layer_tree([model]))
    if len(layers) != len(wanted):
        raise ValueError(
            "A training goes on with the model that it had. Received: a model of "
            f"{len(layers)} layers for a state of {len(wanted)}. Build it as it was."
        )
    # One by one, parents first, as in `freezing`: a parent sets what is in it.
    for layer, value in zip(layers, wanted, strict=True):
        layer.trainable = value


def values(model: keras.Model) -> Arrays:
    """Return the values of all that a training changes, by group and place."""
    return _as_arrays(_changing(model))


def sums(model: keras.Model) -> Arrays:
    """Return the sums of the metrics, as `values` does."""
    return _as_arrays(_places("metrics", model.metrics_variables))


def assign(
    model: keras.Model, arrays: Mapping[str, NDArray[Any]], groups: Collection[str]
) -> None:
    """Give the variables of some groups the values of `values`.

    Args:
        model: the model, compiled and built.
        arrays: what `values` returned.
        groups: of `GROUPS`.

    Raises:
        ValueError: a variable is missing, or it has another shape.
    """
    own = {**_places("model", model.variables), **_changing(model)}
    wanted = {name: x for name, x in arrays.items() if name.split("/")[0] in groups}
    for name, array in wanted.items():
        if name not in own or tuple(own[name].shape) != array.shape:
            raise ValueError(
                "A training goes on with the variables that it had. Received: a model "
                f"without the variable {name} of shape {array.shape}. Build and "
                "compile the model as it was."
            )
    for name, array in wanted.items():
        own[name].assign(array)


def _changing(model: keras.Model) -> dict[str, Any]:
    frozen = {id(weight) for weight in frozen_weights(model)}
    found = {
        name: variable
        for name, variable in _places("model", model.variables).items()
        if id(variable) not in frozen
    }
    shared = shared_seeds()
    seeds = [] if shared is None else [shared.state]
    found |= _places("seeds", seeds)
    if model.compiled:
        found |= _places("optimizer", model.optimizer.variables)
        found |= _places("metrics", model.metrics_variables)
    return found


def _as_arrays(variables: Mapping[str, Any]) -> Arrays:
    return {
        name: np.asarray(keras.ops.convert_to_numpy(variable))
        for name, variable in variables.items()
    }


def _places(group: str, variables: Sequence[Any]) -> dict[str, Any]:
    return {f"{group}/{i}": variable for i, variable in enumerate(variables)}


def shared_seeds() -> Any:
    """Return what layers without a seed of their own draw from, None before one did."""
    # It has no public name.
    return keras.src.backend.common.global_state.get_global_attribute(_SHARED)


def share_seeds(seeds: Any) -> None:
    """Have such layers draw from what `shared_seeds` returned."""
    keras.src.backend.common.global_state.set_global_attribute(_SHARED, seeds)


def random_numbers() -> dict[str, Any]:
    """Return the states from which Python, NumPy and the backend draw."""
    return {
        "python": random.getstate(),
        "numpy": np.random.get_state(),  # noqa: NPY002 - what user code draws from
        "backend": seam.current().random_numbers(),
    }


def draw_from(states: Mapping[str, Any]) -> None:
    """Have random numbers go on from what `random_numbers` returned."""
    random.setstate(states["python"])
    np.random.set_state(states["numpy"])  # noqa: NPY002 - the same
    seam.current().draw_from(states["backend"])
