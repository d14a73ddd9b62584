"""Split: a model cut at its freeze boundary into prefix and suffix.

Owns which steps return the same for an image in every epoch, and where among them the
cut is, by one of two policies. A cut is a set of tensors. Prefix then suffix has the
bits of the whole model, forward and in a training step; where TensorFlow's rounding
would differ, `grappler` rules the cut out. Nothing here trains or writes files.
"""

import functools
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field

import keras

from tlcore.arguments import require_one_of
from tlcore.backend import seam
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
"""Operations that may be computed again to save one byte per image in the cache.

A byte from a disk of 200 MB/s takes as long as 250 operations at 50 GFLOP/s. With the
last 10 layers of EfficientNetB0 unfrozen, this prefers 37 KiB per image and six layers
computed again to 220 KiB and none.
"""

IMAGE_FLOPS = 33_000_000
"""Cost of decoding an image, in operations: 1,500 images a second at 50 GFLOP/s."""


@dataclass(frozen=True, eq=False)
class Split:
    """A model in two parts.

    Attributes:
        cut: the tensors between them.
        prefix: a layer from the inputs to the cut, without trainable weights.
        suffix: a layer from the cut to the outputs.
    """

    cut: tuple[Tensor, ...]
    prefix: Part = field(repr=False)
    suffix: Part = field(repr=False)

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

        Names are not part of it. The code of layers from other packages is.

        Raises:
            UnsplittableError: a layer has no configuration that identifies it.
        """
        return prefix_fingerprint(self.prefix, self.cut)


def split(
    model: keras.Model | Graph, *, training: bool = True, policy: str = "smallest"
) -> Split:
    """Cut a model between the steps whose output never changes and the others.

    Args:
        model: a functional or sequential model, or its graph.
        training: whether the parts are for training or for evaluation, where
            augmentation and Dropout do nothing.
        policy: "boundary" cuts as late as possible; "smallest" weighs the bytes of
            earlier cuts against computing the frozen layers after them again, by
            `FLOPS_PER_BYTE`.

    Returns:
        The two parts. Prefix then suffix computes what the model computes.

    Raises:
        UnsplittableError: the model cannot be cut; the message says why.
        ValueError: the policy is unknown.

    Example:
        >>> model = tl.create_model("sample_net", 3, input_shape=(32, 32, 3))
        >>> halves = split(model)
        >>> halves.name, halves.nbytes
        ('pool', 512)
        >>> _ = tl.unfreeze(model, last=5)
        >>> split(model).name
        'block2_relu'
    """
    require_one_of("policy", policy, POLICIES)
    graph = model if isinstance(model, Graph) else unroll(model)
    steps, kept = _ordered(graph, training=training)
    barred: Set[int] = frozenset()
    if seam.current().REWRITES:
        reordered = rewritten(graph, training=training)
        if reordered is not None:
            raise UnsplittableError(reordered)
        barred = terms(graph, training=training)
    cuts = _cuts(graph, steps, kept, barred)
    if not cuts:
        raise UnsplittableError(_obstacle(graph, steps, kept, training=training))
    count = max(cuts)
    if policy == "smallest":
        count = _cheapest(graph, steps[:kept], cuts)
    return _parts(graph, steps, count, cuts[count])


def split_augmentation(model: keras.Model | Graph) -> tuple[Split, Graph]:
    """Cut a model after the random layers that its images go through first.

    Returns:
        The two parts, and the graph of the second.

    Raises:
        UnsplittableError: the first layers are not random, or they return more than
            one tensor.

    Example:
        >>> model = tl.create_model(
        ...     "sample_net", 3, input_shape=(32, 32, 3), augmentation="tutorial"
        ... )
        >>> augmentation, rest = split_augmentation(model)
        >>> augmentation.prefix.steps[0].name, rest.steps[0].name
        ('random_warp', 'input_contract')
    """
    graph = model if isinstance(model, Graph) else unroll(model)
    lead = _leading_random_steps(graph)
    rest = [step for step in graph.steps if step not in lead]
    steps = [step for step in graph.steps if step in lead] + rest
    cut = _open_values(graph, steps, len(lead))
    if not lead or len(cut) != 1 or set(cut) & set(graph.inputs):
        raise UnsplittableError("its first layers are not random")
    rest_graph = Graph(cut, graph.outputs, tuple(rest), graph.tensors, graph.name)
    return _parts(graph, steps, len(lead), cut), rest_graph


def _ordered(graph: Graph, *, training: bool) -> tuple[list[Step], int]:
    """Return the steps, those that can be cached first, and the number of these."""
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
    """Return why a model has no cut."""
    if any(_has_weights(step) for step in steps[:kept]):
        if any(None in tensor.shape for tensor in graph.tensors.values()):
            return "the size of its images is not fixed"
        if _cuts(graph, steps, kept, frozenset()):
            return "TensorFlow may merge its last frozen layer with what follows"
        return "the images bypass its frozen layers"
    hindrances = ((s, _hindrance(s, training=training)) for s in steps[kept:])
    for step, hindrance in hindrances:
        if hindrance is not None:
            return f"{step.name!r} {hindrance}"
    return "it has no layer with weights"


def _leading_random_steps(graph: Graph) -> set[Step]:
    """Return the random steps before any weights, and the steps that lead to them."""
    weightless = set(graph.inputs)
    producers: dict[int, Step] = {}
    to_visit = []
    for step in graph.steps:
        if weightless.issuperset(step.inputs) and not _has_weights(step):
            weightless.update(step.outputs)
            producers.update(dict.fromkeys(step.outputs, step))
            if step.is_random(training=True):
                to_visit.append(step)
    lead: set[Step] = set()
    while to_visit:
        step = to_visit.pop()
        if step not in lead:
            lead.add(step)
            to_visit += [producers[n] for n in step.inputs if n in producers]
    return lead


def _hindrance(step: Step, *, training: bool) -> str | None:
    """Return why a step cannot be cached, None if it can.

    It cannot where its output for one image changes between epochs, or where the model
    needs more of it than that output.
    """
    layer = step.operation
    if not isinstance(layer, keras.Layer):
        return None
    within = list(layers_within(layer))
    always = {
        "trains": bool(layer.trainable_variables),
        "adds to the loss": any(
            getattr(x, "activity_regularizer", None) is not None for x in within
        ),
        # Keras attaches a mask to the tensor object, where a cache would lose it.
        "may produce a mask": isinstance(
            layer, keras.layers.Masking | keras.layers.Embedding
        ),
    }
    in_training = {
        "is random in training": has_random_state(layer),
        "updates its statistics in training": any(
            isinstance(x, keras.layers.BatchNormalization) and x.trainable
            for x in within
        ),
    }
    is_training = step.mode(training=training)
    hindrances = {**always, **in_training} if is_training else always
    return next((why for why, holds in hindrances.items() if holds), None)


def _cuts(
    graph: Graph, steps: Sequence[Step], kept: int, terms: Set[int]
) -> dict[int, tuple[int, ...]]:
    """Return the cut after each number of leading steps that can be the prefix."""
    cuts = {}
    has_weights = False
    for count in range(1, kept + 1):
        has_weights = has_weights or _has_weights(steps[count - 1])
        # A prefix without weights saves no work that is worth a cache.
        cut = _open_values(graph, steps, count) if has_weights else ()
        fixed = not any(None in graph.tensors[n].shape for n in cut)
        # An input in the cut would have the suffix read the images all the same.
        barred = set(cut) & (terms | set(graph.inputs))
        if cut and fixed and not barred:
            cuts[count] = cut
    return cuts


def _open_values(graph: Graph, steps: Sequence[Step], count: int) -> tuple[int, ...]:
    """Return the values that the first steps, or the inputs, pass on to the others."""
    known = {*graph.inputs, *(n for step in steps[:count] for n in step.outputs)}
    needed = {*graph.outputs, *(n for step in steps[count:] for n in step.inputs)}
    return tuple(sorted(known & needed))


def _parts(
    graph: Graph, steps: Sequence[Step], count: int, cut: tuple[int, ...]
) -> Split:
    # In the model's order: TensorFlow numbers operations of equal names as they come,
    # and Grappler sorts by these names.
    position = {step: i for i, step in enumerate(graph.steps)}
    first, last = (
        sorted(x, key=position.__getitem__) for x in (steps[:count], steps[count:])
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
            "its frozen layers cost less than reading their outputs"
        )
    return count


def _has_weights(step: Step) -> bool:
    return bool(getattr(step.operation, "weights", ()))
