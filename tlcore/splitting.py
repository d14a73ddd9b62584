"""Splitting: a model cut at its freeze boundary into prefix and suffix.

Owns which steps of a model give the same output for an image in every epoch, the cut
between those and the rest, by one of two policies, and the fingerprint of what lies
before it. A cut is a set of tensors. It trains nothing and stores nothing.
"""

import functools
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from types import CodeType, FunctionType
from typing import Any

import keras

from tlcore.backbones.weights import fingerprint
from tlcore.graph import (
    Cast,
    Graph,
    Part,
    Step,
    UnsplittableError,
    has_random_state,
    is_own,
    layers_within,
    unroll,
)
from tlcore.rewriting import rewritten, terms
from tlcore.tensors import Tensor

POLICIES = ("boundary", "smallest")

FLOPS_PER_BYTE = 250
"""What leaving a byte out of the cache may cost, in operations computed again.

A byte from a disk of 200 MB/s takes as long as 250 operations at 50 GFLOP/s. For the
last 10 layers of EfficientNetB0 that makes 37 KiB an image and six layers computed
again better than 220 KiB and none.
"""

IMAGE_FLOPS = 33_000_000
"""What reading an image instead of features costs: 1,500 are decoded a second."""

_UNHEARD = {"name", "trainable", "seed", "build_config", "shared_object_id", "handle"}
_UNHEARD_SUFFIXES = ("_initializer", "_regularizer", "_constraint")
"""What of a layer's configuration says nothing about what it makes of an image."""


@dataclass(frozen=True, eq=False)
class Split:
    """A model in two parts, in the forms of `training` or of evaluation.

    Attributes:
        cut: the tensors between them.
        prefix: the layer from inputs to the cut; nothing of it trains.
        suffix: the layer from the cut to the outputs.
    """

    cut: tuple[Tensor, ...]
    prefix: "Part" = field(repr=False)
    suffix: "Part" = field(repr=False)

    @property
    def name(self) -> str:
        """Return the names of the layers whose outputs are the cut."""
        return " + ".join(dict.fromkeys(tensor.name for tensor in self.cut))

    @property
    def nbytes(self) -> int:
        """Return the bytes of the cut for one image."""
        return sum(tensor.nbytes for tensor in self.cut)

    @functools.cached_property
    def fingerprint(self) -> str:
        """Return the sha256 of what the prefix computes: layers, wiring and weights.

        Names do not count. Of layers that neither Keras nor this package wrote, the
        code of their methods counts too.

        Raises:
            ValueError: a layer has no configuration to be known by.
        """
        return _fingerprint(self.prefix, self.cut)


def split(
    model: keras.Model | Graph, *, training: bool = True, policy: str = "smallest"
) -> Split:
    """Cut a model between what gives the same for an image every time and the rest.

    Args:
        model: a functional or sequential model, or its graph.
        training: whether the parts will run as in training or as in evaluation,
            where augmentation and Dropout do nothing.
        policy: "boundary" cuts as late as possible; "smallest" weighs the bytes of
            earlier cuts against computing the frozen layers behind them again, by
            `FLOPS_PER_BYTE`.

    Returns:
        The two parts; prefix then suffix is the model.

    Raises:
        ValueError: the model cannot be cut; the message says why.
    """
    if policy not in POLICIES:
        raise ValueError(
            f"policy must be one of: {', '.join(POLICIES)}. "
            f"Received: policy={policy!r}."
        )
    graph = model if isinstance(model, Graph) else unroll(model)
    steps, kept = _ordered(graph, training=training)
    mutable = rewritten(graph, training=training)
    if mutable is not None:
        raise UnsplittableError(mutable)
    cuts = _cuts(graph, steps, kept, terms(graph, training=training))
    if not cuts:
        raise UnsplittableError(_obstacle(graph, steps, kept, training=training))
    count = max(cuts)
    if policy == "smallest":
        count = _cheapest(graph, steps[:kept], cuts)
    return _parts(graph, steps, count, cuts[count])


def split_augmentation(model: keras.Model | Graph) -> tuple[Split, Graph]:
    """Cut a model behind the random layers that its images go through first.

    Returns:
        The two parts, and the graph of the second.

    Raises:
        ValueError: the model does not begin with random layers, or they give more
            than one tensor.
    """
    graph = model if isinstance(model, Graph) else unroll(model)
    lead = _leading_random_steps(graph)
    rest = [step for step in graph.steps if step not in lead]
    steps = [step for step in graph.steps if step in lead] + rest
    cut = _open_values(graph, steps, len(lead))
    if not lead or len(cut) != 1 or set(cut) & set(graph.inputs):
        raise UnsplittableError("it does not begin with random layers")
    rest_graph = Graph(cut, graph.outputs, tuple(rest), graph.tensors, graph.name)
    return _parts(graph, steps, len(lead), cut), rest_graph


def _ordered(graph: Graph, *, training: bool) -> tuple[list[Step], int]:
    """Return the steps with those that can be cached first, and how many they are."""
    known = set(graph.inputs)
    kept, rest = [], []
    for step in graph.steps:
        if (
            known.issuperset(step.inputs)
            and _hindrance(step, training=training) is None
        ):
            known.update(step.outputs)
            kept.append(step)
        else:
            rest.append(step)
    return kept + rest, len(kept)


def _obstacle(graph: Graph, steps: Sequence[Step], kept: int, *, training: bool) -> str:
    """Say why a model has no cut."""
    if any(_weighty(step) for step in steps[:kept]):
        if any(None in tensor.shape for tensor in graph.tensors.values()):
            return "the size of its images is not fixed"
        return "the images go around its frozen layers"
    hindrances = ((s, _hindrance(s, training=training)) for s in steps[kept:])
    for step, hindrance in hindrances:
        if hindrance is not None:
            return f"{step.name!r} {hindrance}"
    return "it has no layer with weights"


def _leading_random_steps(graph: Graph) -> set[Step]:
    """Return the steps up to the last random ones, where none of them has weights."""
    light = set(graph.inputs)
    makers: dict[int, Step] = {}
    random = []
    for step in graph.steps:
        if light.issuperset(step.inputs) and not _weighty(step):
            light.update(step.outputs)
            makers.update(dict.fromkeys(step.outputs, step))
            if step.is_random(training=True):
                random.append(step)
    lead: set[Step] = set()
    while random:
        step = random.pop()
        if step not in lead:
            lead.add(step)
            random += [makers[n] for n in step.inputs if n in makers]
    return lead


def _hindrance(step: Step, *, training: bool) -> str | None:
    """Say why a step may give another output for the same input, None if it cannot."""
    layer = step.operation
    if not isinstance(layer, keras.Layer):
        return None
    within = list(layers_within(layer))
    always = {
        "trains": bool(layer.trainable_variables),
        "adds to the loss": any(
            getattr(x, "activity_regularizer", None) is not None for x in within
        ),
        "may give a mask": isinstance(
            layer, keras.layers.Masking | keras.layers.Embedding
        ),
    }
    in_training = {
        "is random in training": has_random_state(layer),
        "moves its statistics in training": any(
            isinstance(x, keras.layers.BatchNormalization) and x.trainable
            for x in within
        ),
    }
    told = step.mode(training=training)
    hindrances = {**always, **in_training} if told else always
    return next((why for why, holds in hindrances.items() if holds), None)


def _cuts(
    graph: Graph, steps: Sequence[Step], kept: int, terms: Set[int]
) -> dict[int, tuple[int, ...]]:
    """Return the cut after each number of leading steps that can be the prefix."""
    cuts = {}
    weighty = False
    for count in range(1, kept + 1):
        weighty = weighty or _weighty(steps[count - 1])
        cut = _open_values(graph, steps, count) if weighty else ()
        fixed = not any(None in graph.tensors[n].shape for n in cut)
        barred = set(cut) & (terms | set(graph.inputs))
        if cut and fixed and not barred:
            cuts[count] = cut
    return cuts


def _open_values(graph: Graph, steps: Sequence[Step], count: int) -> tuple[int, ...]:
    """Return what the first steps, or the inputs, give to the rest."""
    given = {*graph.inputs, *(n for step in steps[:count] for n in step.outputs)}
    asked = {*graph.outputs, *(n for step in steps[count:] for n in step.inputs)}
    return tuple(sorted(given & asked))


def _parts(
    graph: Graph, steps: Sequence[Step], count: int, cut: tuple[int, ...]
) -> Split:
    place = {step: i for i, step in enumerate(graph.steps)}
    first, last = (
        sorted(x, key=place.__getitem__) for x in (steps[:count], steps[count:])
    )
    return Split(
        tuple(graph.tensors[number] for number in cut),
        Part(first, graph.inputs, cut, name=graph.name),
        Part(last, cut, graph.outputs, tied=True, name=graph.name),
    )


def _cheapest(
    graph: Graph, kept: Sequence[Step], cuts: Mapping[int, tuple[int, ...]]
) -> int:
    def cost(count: int) -> tuple[int, int]:
        nbytes = sum(graph.tensors[number].nbytes for number in cuts[count])
        again = sum(step.flops for step in kept[count:])
        return nbytes * FLOPS_PER_BYTE + again, count

    count = min(cuts, key=cost)
    if cost(count)[0] >= IMAGE_FLOPS + sum(step.flops for step in kept):
        raise UnsplittableError(
            "its frozen layers cost less than reading what they make"
        )
    return count


def _weighty(step: Step) -> bool:
    return bool(getattr(step.operation, "weights", ()))


def _fingerprint(prefix: Part, cut: Sequence[Tensor]) -> str:
    digest = hashlib.sha256()
    numbers = {number: i for i, number in enumerate(prefix.takes)}
    code = functools.cache(_code)
    for step in prefix.steps:
        for number in step.outputs:
            numbers[number] = len(numbers)
        symbols = {key: f"value {numbers[n]}" for key, n in step.bindings.items()}
        wiring = [numbers[n] for n in step.inputs], step.training
        arguments = _plain(step.arguments, symbols)
        described = _described(step, code)
        digest.update(
            json.dumps([described, wiring, arguments], sort_keys=True).encode()
        )
        weights = getattr(step.operation, "weights", ())
        digest.update(fingerprint(weights).encode())
    ends = [numbers[number] for number in prefix.gives]
    forms = [[list(tensor.shape), tensor.dtype] for tensor in cut]
    digest.update(json.dumps([ends, forms]).encode())
    return digest.hexdigest()


def _plain(arguments: Any, symbols: Mapping[int, str]) -> str:
    def name(item: Any) -> Any:
        return symbols.get(id(item), item)

    return repr(keras.tree.map_structure(name, (arguments.args, arguments.kwargs)))


def _described(step: Step, code: Callable[[type], str]) -> Any:
    """Return what a step's operation is known by, its names left out."""
    layer = step.operation
    if isinstance(layer, keras.layers.Lambda):
        raise UnsplittableError(
            f"{layer.name!r} is a Lambda, whose code cannot be known; write a Layer"
        )
    if isinstance(layer, Cast):
        return ["cast", layer.dtype]
    try:
        config = keras.saving.serialize_keras_object(layer)
        text = json.dumps(_heard(config, own=is_own(type(layer))), sort_keys=True)
    except (NotImplementedError, TypeError, ValueError) as error:
        raise UnsplittableError(
            f"{layer.name!r} has no configuration to be known by; give it a get_config"
        ) from error
    within = layers_within(layer) if isinstance(layer, keras.Layer) else [layer]
    return [text, [[code(type(x)), _functions(x)] for x in within]]


def _heard(config: Any, *, own: bool) -> Any:
    """Return what of a configuration decides what the layer computes."""
    if isinstance(config, dict):
        unheard = _UNHEARD if own else set()
        if "class_name" in config and isinstance(config.get("config"), dict):
            named = {k: v for k, v in config["config"].items() if k != "name"}
            config = {**config, "config": named}
            unheard = unheard | {"build_config", "shared_object_id"}
        return {
            key: _heard(value, own=own)
            for key, value in config.items()
            if key not in unheard and not (own and key.endswith(_UNHEARD_SUFFIXES))
        }
    if isinstance(config, list | tuple):
        return [_heard(item, own=own) for item in config]
    return config


def _code(kind: type) -> str:
    """Return the sha256 of the methods that a class has from elsewhere."""
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
    """Return what the functions from elsewhere do that a layer was given."""
    return [
        [key, _instructions(value.__code__)]
        for key, value in sorted(vars(layer).items())
        if isinstance(value, FunctionType) and not is_own(value)
    ]


def _instructions(code: CodeType) -> tuple[Any, ...]:
    """Return what a function does, wherever it is written.

    What `marshal` makes of it also hangs on who else refers to its constants.
    """
    constants = [
        _instructions(x) if isinstance(x, CodeType) else repr(x)
        for x in (
            sorted(x, key=repr) if isinstance(x, frozenset) else x
            for x in code.co_consts
        )
    ]
    names = code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars
    return code.co_code.hex(), code.co_exceptiontable.hex(), names, tuple(constants)
