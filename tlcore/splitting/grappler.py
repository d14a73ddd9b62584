"""Grappler: where TensorFlow's graph optimizer changes the rounding of a part.

Grappler rewrites each graph before it runs. It reorders sums and products, fuses
operations and sorts their inputs by name, and what it does in one place depends on the
rest of the graph. A part of a model is another graph than the model, so that a sum may
be added in another order there and differ in its last bit. Owns the values at which no
model may be cut for that reason (`terms`), and the models that may not be cut at all
(`rewritten`). `split` applies both.

The rules are stricter than Grappler: they go by classes of layers, not by operations.
A rule that is too strict costs an earlier cut, or the cache; a missing one breaks the
promise that cached training has the same bits. `pytest -m slow tests/tlcore/splitting`
looks for missing ones, on random models. The passes, from the sources in
tensorflow/core/grappler/optimizers:

- AddOpsRewrite (arithmetic_optimizer.cc) replaces a tree of additions by one AddN where
  all shapes are symbolically equal, else by a tree of its own. It absorbs an addition
  only where that has a single consumer.
- MinimizeBroadcasts (same file) reorders chains of additions or multiplications by the
  sizes of their operands, under the same condition.
- HoistCommonFactor and SimplifyAggregation (same file) turn a*x + b*x into (a + b)*x
  and x + x into 2*x.
- ConstantPushDown (constant_folding.cc) turns c*(x*y) into x*(c*y), and likewise with
  sums, differences and quotients.
- CommonSubgraphElimination (common_subgraph_elimination.cc) merges equal operations,
  and for that sorts the inputs of every commutative operation by name. Hence names
  decide in which order the passes above see the terms of a sum and the factors of a
  product: on TensorFlow 2.21, (a + b) + c has three results and 0.3 * (a * b) two,
  depending on what a, b and c are called.
- Remapper (remapper.cc) fuses a contraction with bias, addition and activation, where
  each of these has a single consumer.
"""

from typing import Any

import keras

from tlcore.splitting.graph import Graph, Step, has_random_state, is_own

_SUMS = {"Add", "Average", "Subtract"}
_PRODUCTS = {"Multiply", "TrueDivide", "Divide"}
"""Classes of layers and operations that add or multiply their inputs."""

_MAY_END_WITH_PRODUCT = {
    "Activation",
    "Sigmoid",
    "Silu",
    "HardSilu",
    "HardSigmoid",
    "Gelu",
    "Tanh",
}
"""Classes whose last operation may multiply their input: swish is x * sigmoid(x)."""

_GATED_OPERATIONS = {"HardSilu", "HardSwish", "Gelu"}
_GATED_ACTIVATIONS = {"hard_silu", "hard_swish", "gelu"}
"""Operations and activations that multiply x by a scaled function of x."""

_UNMERGED = ("Conv", "Depthwise", "Separable", "Dense", "ReLU", "Flatten", "Reshape")
_UNMERGED_PARTS = ("Pooling", "Padding", "Concatenate")
"""Names, and parts of names, of classes without arithmetic that Grappler reorders.

Their first and last operations are contractions, comparisons or moves of data. Conv2D
ends with BiasAdd, which is not among the additions that AddOpsRewrite collects.
Remapper may fuse a convolution with the relu after it; a cut between changes no bits.
"""


_REORDERED = "which TensorFlow may reorder"


def terms(graph: Graph, *, training: bool) -> set[int]:
    """Return the values at which no cut may be.

    These are the inputs of sums and products, and of layers that may start with one,
    where nothing else uses them. AddOpsRewrite and MinimizeBroadcasts may merge the
    operation that computes such a value into its consumer: a + (b + c) becomes
    AddN(a, b, c). In a suffix, b + c arrives as one tensor, and the last bit differs.

    A value with a second consumer is not merged, in the model as in the prefix. The
    exception is x of x + x, which SimplifyAggregation makes 2*x: there the last bit has
    differed with other consumers, too.
    """
    flow = _DataFlow(graph, training=training)
    terms: set[int] = set()
    doubled: set[int] = set()
    for step in flow.steps:
        inputs = flow.inputs(step)
        if _is_sum(step):
            doubled.update(n for n in inputs if inputs.count(n) > 1)
        if _is_sum(step) or _is_product(step):
            terms.update(inputs)
        elif not _keeps_inputs_unmerged(step, training=training):
            producers = flow.producers
            terms.update(n for n in inputs if not _is_never_merged(producers.get(n)))
    barred = doubled | {n for n in terms if flow.has_single_consumer(n)}
    # A value that is passed on unchanged is the same tensor under another number.
    return {n for n in graph.tensors if flow.source(n) in barred}


def rewritten(graph: Graph, *, training: bool) -> str | None:
    """Return why TensorFlow may round a part of this model differently, None if not.

    Such a model has no cut at all, wherever the step is. Grappler orders its terms or
    factors by the names of operations, and a part cannot have all names of the model:
    the tensors of a cut have names of their own in the suffix, and operations of equal
    names are numbered ("add_2") by how many of them a graph has.
    """
    flow = _DataFlow(graph, training=training)
    counts: dict[Step, int] = {}
    for step in flow.steps:
        found = [flow.merged_producer(number) for number in step.inputs]
        producers = [producer for producer in found if producer is not None]
        if _is_sum(step):
            counts[step] = sum(counts.get(x, 1) if x else 1 for x in found)
            # AddOpsRewrite adds them in the order of their names. Two terms have the
            # same sum in either order; three have up to three different ones.
            if counts[step] > 2:
                return f"{step.name!r} sums three or more terms, {_REORDERED}"
            # Remapper takes depthwise convolution + bias + addition for a convolution
            # and writes a fused node without an operation. TensorFlow then ignores all
            # optimization of the function ("does not specify an operation"), so that
            # every other step is computed as written, in this part only.
            if any(_is_bare_depthwise(x) for x in producers):
                return f"{step.name!r} adds a depthwise convolution"
        if (
            _scales_a_product(step, producers, training=training)
            or _shifts_a_sum(step, producers, counts)
            or _multiplies_a_scaled_value(step, producers)
            or _is_gated(step)
        ):
            return f"{step.name!r} combines a number with two tensors, {_REORDERED}"
    return None


def _scales_a_product(step: Step, producers: list[Step], *, training: bool) -> bool:
    """Return whether a step computes c * (x * y), which becomes (c * x) * y.

    MinimizeBroadcasts multiplies the smallest operands first, here the number with the
    first of two equally large tensors; x is the one whose name comes first. Dropout in
    training is such a step: it scales by 1 / (1 - rate).
    """
    scales = _starts_with_number(step, training=training)
    return scales and any(map(_ends_with_product, producers))


def _shifts_a_sum(step: Step, producers: list[Step], sums: dict[Step, int]) -> bool:
    """Return whether a step computes c + (x + y), a sum of three terms.

    AddOpsRewrite groups them by shape. With x and y of one shape, the bits are the same
    under all names; the rule is for tensors that are broadcast.
    """
    is_shift = len(step.inputs) == 1 and _is_sum(step)
    return is_shift and any(x in sums for x in producers)


def _multiplies_a_scaled_value(step: Step, producers: list[Step]) -> bool:
    """Return whether a step computes (c * x) * y, which may become (c * y) * x.

    MinimizeBroadcasts again: it collects three factors, sorts them by size and, where
    x and y are equally large, keeps the order of their names. A division by a number
    is a product, too: ConstantFolding replaces it by the reciprocal.
    """
    return _is_product(step) and any(map(_ends_with_scaling, producers))


class _DataFlow:
    """Producers and consumers of values, without the steps that pass their input on.

    Attributes:
        steps: the steps that compute something.
        producers: the step that computes a value, by its number.
    """

    def __init__(self, graph: Graph, *, training: bool) -> None:
        self._sources: dict[int, int] = {}
        self.steps = []
        for step in graph.steps:
            if _is_passed_on_unchanged(step, training=training):
                self._sources[step.outputs[0]] = self.source(step.inputs[0])
            else:
                self.steps.append(step)
        self.producers = {n: step for step in self.steps for n in step.outputs}
        # Consumers by class and inputs: CommonSubgraphElimination may merge two steps
        # alike, such as relu(x) twice, and x then has a single consumer.
        self._consumers: dict[int, set[Any]] = {}
        for number in graph.outputs:
            self._consumers.setdefault(self.source(number), set()).add(None)
        for step in self.steps:
            inputs = self.inputs(step)
            for number in inputs:
                key = type(step.operation).__name__, tuple(sorted(inputs))
                self._consumers.setdefault(number, set()).add(key)

    def source(self, number: int) -> int:
        """Return the value that was passed on to become this one."""
        return self._sources.get(number, number)

    def inputs(self, step: Step) -> list[int]:
        """Return the values that a step takes."""
        return [self.source(number) for number in step.inputs]

    def has_single_consumer(self, number: int) -> bool:
        """Return whether at most one step takes a value."""
        return len(self._consumers.get(self.source(number), ())) < 2

    def merged_producer(self, number: int) -> Step | None:
        """Return the step that computes a value, if it may be merged into the consumer.

        Grappler merges no operation whose result something else uses, too.
        """
        if self.has_single_consumer(number):
            return self.producers.get(self.source(number))
        return None


def _is_sum(step: Step) -> bool:
    kind = type(step.operation)
    # A layer from another package may add its inputs; its class does not say.
    return kind.__name__ in _SUMS if is_own(kind) else len(step.inputs) > 1


def _is_product(step: Step) -> bool:
    kind = type(step.operation)
    return kind.__name__ in _PRODUCTS and len(step.inputs) > 1


def _starts_with_number(step: Step, *, training: bool) -> bool:
    """Return whether a step first combines its input with a number."""
    name = type(step.operation).__name__
    by_number = len(step.inputs) == 1 and name in _PRODUCTS | _SUMS
    return by_number or name == "Rescaling" or step.is_random(training=training)


def _ends_with_product(step: Step) -> bool:
    """Return whether a step's last operation may multiply two tensors."""
    name = type(step.operation).__name__
    is_own_class = is_own(type(step.operation))
    return _is_product(step) or name in _MAY_END_WITH_PRODUCT or not is_own_class


def _ends_with_scaling(step: Step) -> bool:
    """Return whether a step's last operation multiplies by a number."""
    name = type(step.operation).__name__
    by_number = len(step.inputs) == 1 and name in _PRODUCTS
    gated = _activation(step.operation) in _GATED_ACTIVATIONS
    return by_number or gated or name in {"Rescaling", "Average"}


def _is_gated(step: Step) -> bool:
    """Return whether a step computes x * (c * f(x)), three factors in one layer.

    The activation gelu is not one: it is computed with erf, and its bits are the same
    under all names. `ops.gelu` is computed with tanh, and they are not.
    """
    kind = type(step.operation).__name__
    gated = _activation(step.operation) in _GATED_ACTIVATIONS - {"gelu"}
    return kind in _GATED_OPERATIONS or (kind == "Activation" and gated)


def _is_never_merged(step: Step | None) -> bool:
    """Return whether Grappler leaves a step's last operation as it is."""
    return step is None or (
        _is_unmerged(step) and _has_plain_activation(step.operation)
    )


def _keeps_inputs_unmerged(step: Step, *, training: bool) -> bool:
    """Return whether Grappler merges nothing into a step's first operation."""
    return _is_unmerged(step) and not _starts_with_number(step, training=training)


def _is_unmerged(step: Step) -> bool:
    name = type(step.operation).__name__
    by_name = name.startswith(_UNMERGED) or any(x in name for x in _UNMERGED_PARTS)
    return by_name and is_own(type(step.operation))


def _has_plain_activation(layer: Any) -> bool:
    return _activation(layer) in {"linear", "relu"}


def _activation(layer: Any) -> str:
    """Return the name of a layer's activation, "linear" where it has none."""
    return str(getattr(getattr(layer, "activation", None), "__name__", "linear"))


def _is_bare_depthwise(step: Step) -> bool:
    """Return whether a step ends with the bias of a depthwise convolution."""
    layer = step.operation
    kind = isinstance(layer, keras.layers.DepthwiseConv2D)
    return kind and layer.use_bias and _has_plain_activation(layer)


def _is_passed_on_unchanged(step: Step, *, training: bool) -> bool:
    """Return whether a step returns its input, such as Dropout in evaluation.

    Such a step leaves no operation in TensorFlow's graph, or an Identity that Grappler
    removes, and so does not keep its neighbours from being merged.
    """
    layer = step.operation
    inactive = has_random_state(layer) and not step.mode(training=training)
    linear = (
        isinstance(layer, keras.layers.Activation) and _activation(layer) == "linear"
    )
    one_to_one = len(step.inputs) == len(step.outputs) == 1
    return one_to_one and (
        inactive or linear or isinstance(layer, keras.layers.Identity)
    )
