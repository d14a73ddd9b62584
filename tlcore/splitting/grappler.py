"""Rewriting: where TensorFlow calculates a part otherwise than the whole model.

Before it runs a graph TensorFlow rewrites sums and products, and what it makes of them
hangs on what else is in the graph. Owns the values at which no model may be cut for
that reason, and the models that may not be cut at all.
"""

from typing import Any

import keras

from tlcore.splitting.graph import Graph, Step, has_random_state, is_own

_SUMS = {"Add", "Average", "Subtract"}
_PRODUCTS = {"Multiply", "TrueDivide", "Divide"}
"""Layers and operations that add up or multiply their inputs, by class."""

_CURVES = {"Activation", "Sigmoid", "Silu", "HardSilu", "HardSigmoid", "Gelu", "Tanh"}
"""Layers and operations that may end with a product of their input, by class."""

_TANGLED = {"HardSilu", "HardSwish", "Gelu"}
_HARD = {"hard_silu", "hard_swish", "gelu"}
"""Operations, and activations, that multiply their input by what they scaled."""

_SOLID = ("Conv", "Depthwise", "Separable", "Dense", "ReLU", "Flatten", "Reshape")
_SOLID_PARTS = ("Pooling", "Padding", "Concatenate")
"""How classes are named whose result TensorFlow takes as it is into what follows."""


def terms(graph: Graph, *, training: bool) -> set[int]:
    """Return the values that TensorFlow may merge into the only step that takes them.

    It may add up the terms of a sum in the order it likes best, together with the terms
    that they are sums of themselves, and so it does with the factors of a product. A
    cut there would have it calculate in another order. What is added to itself it
    calculates otherwise wherever else that goes.
    """
    flow = _Flow(graph, training=training)
    terms: set[int] = set()
    doubled: set[int] = set()
    for step in flow.steps:
        inputs = flow.inputs(step)
        if _adds_up(step):
            doubled.update(n for n in inputs if inputs.count(n) > 1)
        if _adds_up(step) or _multiplies(step):
            terms.update(inputs)
        elif not _takes_as_it_is(step, training=training):
            terms.update(n for n in inputs if not _is_solid(flow.makers.get(n)))
    barred = doubled | {n for n in terms if flow.is_for_one(n)}
    return {n for n in graph.tensors if flow.source(n) in barred}


def rewritten(graph: Graph, *, training: bool) -> str | None:
    """Say which step TensorFlow may calculate otherwise in a part, None if none.

    Of three terms it adds up two first, and of two factors it scales one: which ones
    hangs on how its nodes are called, and a part calls them otherwise than the model
    does. And where it fails on a sum with a depthwise convolution, it leaves all of a
    function as it was, so that there is no telling what it does.
    """
    flow = _Flow(graph, training=training)
    terms: dict[Step, int] = {}
    for step in flow.steps:
        inputs = [flow.maker(number) for number in step.inputs]
        makers = [maker for maker in inputs if maker is not None]
        alone = len(inputs) == 1
        if _adds_up(step):
            terms[step] = sum(terms.get(x, 1) if x else 1 for x in inputs)
            if terms[step] > 2:
                return f"{step.name!r} ends a sum of three terms or more"
            if any(_is_bare_depthwise(x) for x in makers):
                return f"{step.name!r} adds to a depthwise convolution"
        scaled_product = _scales(step, training=training) and any(
            _ends_with_product(x) for x in makers
        )
        shifted_sum = alone and _adds_up(step) and any(x in terms for x in makers)
        product_of_scaled = _multiplies(step) and any(map(_ends_with_scale, makers))
        if scaled_product or shifted_sum or product_of_scaled or _is_tangled(step):
            return f"{step.name!r} calculates with a number and two tensors"
    return None


class _Flow:
    """What takes and what makes each value, steps left out that hand on their input.

    Attributes:
        steps: the others.
        makers: the step that makes a value.
    """

    def __init__(self, graph: Graph, *, training: bool) -> None:
        self._sources: dict[int, int] = {}
        self.steps = []
        for step in graph.steps:
            if _is_idle(step, training=training):
                self._sources[step.outputs[0]] = self.source(step.inputs[0])
            else:
                self.steps.append(step)
        self.makers = {n: step for step in self.steps for n in step.outputs}
        # Two steps alike count as one: TensorFlow calculates them once.
        self._uses: dict[int, set[Any]] = {}
        for number in graph.outputs:
            self._uses.setdefault(self.source(number), set()).add(None)
        for step in self.steps:
            inputs = self.inputs(step)
            for number in inputs:
                key = type(step.operation).__name__, tuple(sorted(inputs))
                self._uses.setdefault(number, set()).add(key)

    def source(self, number: int) -> int:
        """Return the value that was handed on to become this one."""
        return self._sources.get(number, number)

    def inputs(self, step: Step) -> list[int]:
        """Return the values that a step takes."""
        return [self.source(number) for number in step.inputs]

    def is_for_one(self, number: int) -> bool:
        """Tell whether no more than one step takes a value."""
        return len(self._uses.get(self.source(number), ())) < 2

    def maker(self, number: int) -> Step | None:
        """Return the step that makes a value for no more than one other."""
        return self.makers.get(self.source(number)) if self.is_for_one(number) else None


def _adds_up(step: Step) -> bool:
    kind = type(step.operation)
    # What a layer from elsewhere does with several inputs is not known.
    return kind.__name__ in _SUMS if is_own(kind) else len(step.inputs) > 1


def _multiplies(step: Step) -> bool:
    kind = type(step.operation)
    return kind.__name__ in _PRODUCTS and len(step.inputs) > 1


def _scales(step: Step, *, training: bool) -> bool:
    """Tell whether a step begins with calculating with a number."""
    name = type(step.operation).__name__
    alone = len(step.inputs) == 1 and name in _PRODUCTS | _SUMS
    return alone or name == "Rescaling" or step.is_random(training=training)


def _ends_with_product(step: Step) -> bool:
    name = type(step.operation).__name__
    return _multiplies(step) or name in _CURVES or not is_own(type(step.operation))


def _ends_with_scale(step: Step) -> bool:
    name = type(step.operation).__name__
    alone = len(step.inputs) == 1 and name in _PRODUCTS
    curved = _name(step.operation) in _HARD
    return alone or curved or name in {"Rescaling", "Average"}


def _is_tangled(step: Step) -> bool:
    """Tell whether a step multiplies its input by what it scaled."""
    kind = type(step.operation).__name__
    alone = _name(step.operation) in _HARD - {"gelu"}
    return kind in _TANGLED or (kind == "Activation" and alone)


def _is_solid(step: Step | None) -> bool:
    """Tell whether TensorFlow takes a step's result as it is into any other."""
    return step is None or (_is_known(step) and _is_straight(step.operation))


def _takes_as_it_is(step: Step, *, training: bool) -> bool:
    """Tell whether TensorFlow takes any result as it is into a step."""
    return _is_known(step) and not _scales(step, training=training)


def _is_known(step: Step) -> bool:
    name = type(step.operation).__name__
    known = name.startswith(_SOLID) or any(part in name for part in _SOLID_PARTS)
    return known and is_own(type(step.operation))


def _is_straight(layer: Any) -> bool:
    return _name(layer) in {"linear", "relu"}


def _name(layer: Any) -> str:
    """Return the name of a layer's activation."""
    return str(getattr(getattr(layer, "activation", None), "__name__", "linear"))


def _is_bare_depthwise(step: Step) -> bool:
    layer = step.operation
    kind = isinstance(layer, keras.layers.DepthwiseConv2D)
    return kind and layer.use_bias and _is_straight(layer)


def _is_idle(step: Step, *, training: bool) -> bool:
    """Tell whether a step hands on what it is given."""
    layer = step.operation
    quiet = has_random_state(layer) and not step.mode(training=training)
    linear = isinstance(layer, keras.layers.Activation) and _name(layer) == "linear"
    alone = len(step.inputs) == len(step.outputs) == 1
    return alone and (quiet or linear or isinstance(layer, keras.layers.Identity))
