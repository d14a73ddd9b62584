"""Splitting: a model cut at its freeze boundary into prefix and suffix.

Owns which steps of a model give the same output for an image in every epoch, the cut
between those and the rest, by one of two policies, and the fingerprint of what lies
before it. A cut is a set of tensors. It trains nothing and stores nothing.
"""

import functools
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field

import keras

from tlcore.arguments import require_one_of
from tlcore.splitting.fingerprint import prefix_fingerprint
from tlcore.splitting.graph import (
    Graph,
    Step,
    UnsplittableError,
    has_random_state,
    layers_within,
    unroll,
)
from tlcore.splitting.grappler import rewritten, terms
from tlcore.splitting.part import Part
from tlcore.splitting.tensors import Tensor

POLICIES = ("boundary", "smallest")

FLOPS_PER_BYTE = 250
"""What leaving a byte out of the cache may cost, in operations computed again.

A byte from a disk of 200 MB/s takes as long as 250 operations at 50 GFLOP/s. For the
last 10 layers of EfficientNetB0 that makes 37 KiB an image and six layers computed
again better than 220 KiB and none.
"""

IMAGE_FLOPS = 33_000_000
"""What reading an image instead of features costs: 1,500 are decoded a second."""


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
        return prefix_fingerprint(self.prefix, self.cut)


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
    require_one_of("policy", policy, POLICIES)
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
    if any(_has_weights(step) for step in steps[:kept]):
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
        if light.issuperset(step.inputs) and not _has_weights(step):
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
        weighty = weighty or _has_weights(steps[count - 1])
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


def _has_weights(step: Step) -> bool:
    return bool(getattr(step.operation, "weights", ()))
