"""Fingerprint: what a prefix computes, as one sha256.

Owns what is part of it (weights, configuration, wiring, the code of layers from other
packages) and what is not (names, and flags and seeds that change no output in inference
mode). Two prefixes of one fingerprint have the same outputs; the cache depends on that.
It may differ for equal prefixes, at the price of computing features again.
"""

import functools
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from types import CodeType, FunctionType
from typing import Any

import keras

from tlcore.backbones.weights import fingerprint
from tlcore.splitting.graph import Cast, Step, UnsplittableError, is_own, layers_within
from tlcore.splitting.part import Part
from tlcore.splitting.tensors import Tensor

_IGNORED_CONFIG = {
    "name",
    "trainable",
    "seed",
    "build_config",
    "shared_object_id",
    "handle",
}
_IGNORED_SUFFIXES = ("_initializer", "_regularizer", "_constraint")
"""Keys of a layer's configuration that do not change its output for an image.

"handle" is the place of a SavedModel; a HubLayer also has the fingerprint of its graph.
"""


def prefix_fingerprint(prefix: Part, cut: Sequence[Tensor]) -> str:
    """Return the sha256 of what a prefix computes, up to a cut.

    Raises:
        UnsplittableError: one of its layers has no configuration or hides its code.
    """
    digest = hashlib.sha256()
    # Values are numbered by their order in the prefix: their numbers in the graph also
    # depend on the steps of the suffix that run between those of the prefix.
    numbers = {number: i for i, number in enumerate(prefix.takes)}
    code = functools.cache(_code)
    for step in prefix.steps:
        for number in step.outputs:
            numbers[number] = len(numbers)
        symbols = {key: f"value {numbers[n]}" for key, n in step.bindings.items()}
        wiring = [numbers[n] for n in step.inputs], step.training
        arguments = _argument_text(step.arguments, symbols)
        described = _description(step, code)
        digest.update(
            json.dumps([described, wiring, arguments], sort_keys=True).encode()
        )
        weights = getattr(step.operation, "weights", ())
        digest.update(fingerprint(weights).encode())
    ends = [numbers[number] for number in prefix.gives]
    forms = [[list(tensor.shape), tensor.dtype] for tensor in cut]
    digest.update(json.dumps([ends, forms]).encode())
    return digest.hexdigest()


def _argument_text(arguments: Any, symbols: Mapping[int, str]) -> str:
    # The text of a symbolic tensor contains a running number that Keras assigned.
    def name(item: Any) -> Any:
        return symbols.get(id(item), item)

    return repr(keras.tree.map_structure(name, (arguments.args, arguments.kwargs)))


def _description(step: Step, code: Callable[[type], str]) -> Any:
    """Return what identifies a step's operation, without its name."""
    layer = step.operation
    if isinstance(layer, keras.layers.Lambda):
        # Its code may read variables of the function around it, or globals.
        raise UnsplittableError(
            f"{layer.name!r} is a Lambda, whose code cannot be identified; write a "
            "Layer"
        )
    if isinstance(layer, Cast):
        return ["cast", layer.dtype]
    try:
        config = keras.saving.serialize_keras_object(layer)
        text = json.dumps(
            _relevant_config(config, own=is_own(type(layer))), sort_keys=True
        )
    except (AttributeError, NotImplementedError, TypeError, ValueError) as error:
        # AttributeError: KerasHub's DeiTEncoder asks itself for what it does not keep.
        raise UnsplittableError(
            f"{layer.name!r} has no configuration that identifies it; give it a "
            "get_config"
        ) from error
    within = layers_within(layer) if isinstance(layer, keras.Layer) else [layer]
    return [text, [[code(type(x)), _functions(x)] for x in within]]


def _relevant_config(config: Any, *, own: bool) -> Any:
    """Return the part of a configuration that determines what the layer computes.

    Args:
        config: of a layer, as Keras serializes it, or a part of it.
        own: whether Keras or this package defines the layer. What "seed" means in
            another package is not known, so all of its configuration is relevant.
    """
    if isinstance(config, dict):
        ignored = _IGNORED_CONFIG if own else set()
        if "class_name" in config and isinstance(config.get("config"), dict):
            named = {k: v for k, v in config["config"].items() if k != "name"}
            config = {**config, "config": named}
            ignored = ignored | {"build_config", "shared_object_id"}
        if str(config.get("module")).startswith("tlcore."):
            # Only the wing: an entry of the cache stays valid when a class moves to
            # another module of its wing.
            wing = ".".join(config["module"].split(".")[:2])
            config = {**config, "module": wing}
        return {
            key: _relevant_config(value, own=own)
            for key, value in config.items()
            if key not in ignored and not (own and key.endswith(_IGNORED_SUFFIXES))
        }
    if isinstance(config, list | tuple):
        return [_relevant_config(item, own=own) for item in config]
    return config


def _code(kind: type) -> str:
    """Return the sha256 of a class's methods that other packages define."""
    digest = hashlib.sha256()
    for owner in kind.__mro__:
        if not is_own(owner):
            for name, member in sorted(vars(owner).items()):
                function = getattr(member, "__func__", member)
                if isinstance(function, FunctionType):
                    text = f"{name}{_instructions(function.__code__)}"
                    digest.update(text.encode())
    return digest.hexdigest()


def _functions(layer: Any) -> list[Any]:
    """Return the code of the functions from other packages that a layer holds."""
    return [
        [key, _instructions(value.__code__)]
        for key, value in sorted(vars(layer).items())
        if isinstance(value, FunctionType) and not is_own(value)
    ]


def _instructions(code: CodeType) -> tuple[Any, ...]:
    """Return what a function does, independent of its file, lines and name.

    Not `marshal.dumps`: its bytes depend on how many references its constants have, so
    they differ between processes.
    """
    constants = [
        _instructions(x) if isinstance(x, CodeType) else repr(x)
        for x in (
            # A set of strings has another order in every process.
            sorted(x, key=repr) if isinstance(x, frozenset) else x
            for x in code.co_consts
        )
    ]
    names = code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars
    return code.co_code.hex(), code.co_exceptiontable.hex(), names, tuple(constants)
