"""Splitting: a model cut at its freeze boundary into prefix and suffix.

Owns the flat list of steps behind a functional or sequential model, which of them give
the same output for an image in every epoch, the cut between those and the rest, and
the layers that run either side. A cut is a set of tensors. It trains nothing and stores
nothing.

Keras has no public name for the graph behind a model: what is read of it
(`_nodes_by_depth`, `_functional`) is read here and nowhere else.
"""

import functools
import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from types import CodeType, FunctionType
from typing import Any

import keras

from tlcore.backbones import Backbone
from tlcore.freezing import fingerprint
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

_OWN = {"keras", "tlcore", "builtins"}
"""Packages whose code is known by their versions."""

_UNHEARD = {"name", "trainable", "seed", "build_config", "shared_object_id"}
_UNHEARD_SUFFIXES = ("_initializer", "_regularizer", "_constraint")
"""What of a layer's configuration says nothing about what it makes of an image."""


class UnsplittableError(ValueError):
    """Why a model cannot be cut, to be read after its name."""


@dataclass(frozen=True, eq=False)
class Scope:
    """One call of a model within the model, by its name."""

    name: str


@dataclass(frozen=True, eq=False)
class Step:
    """One call of a layer or operation.

    Attributes:
        operation: what is called.
        inputs: the values it takes, by number.
        outputs: the values it gives, by number.
        training: its own `training` argument; None is what the model was told.
        arguments: what it is called with, values in place.
        bindings: which value stands for which symbolic tensor, by id.
        flops: operations for one image, by the sizes of weights and outputs.
        scopes: the calls it is part of, the outermost first.
    """

    operation: Any
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    training: bool | None = None
    arguments: Any = field(default=None, repr=False)
    bindings: Mapping[int, int] = field(default_factory=dict, repr=False)
    flops: int = 0
    scopes: tuple[Scope, ...] = ()

    @property
    def name(self) -> str:
        """Return the layer's name."""
        return str(self.operation.name)

    def mode(self, *, training: bool) -> bool:
        """Tell whether it acts as in training while the model is told `training`."""
        return training if self.training is None else self.training

    def run(self, values: dict[int, Any], *, training: bool) -> None:
        """Add what it gives to `values`."""
        bound = {key: values[number] for key, number in self.bindings.items()}
        arguments, options = self.arguments.fill_in(bound)
        if isinstance(self.operation, keras.Layer):
            options["training"] = self.mode(training=training)
        outputs = keras.tree.flatten(self.operation(*arguments, **options))
        values.update(zip(self.outputs, outputs, strict=True))


@dataclass(frozen=True, eq=False)
class Graph:
    """A model as steps in the order they run.

    Attributes:
        inputs: the values that go in, by number.
        outputs: the values that come out, by number.
        steps: what runs between them.
        tensors: what every value is.
        name: of the model.
    """

    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    steps: tuple[Step, ...] = field(repr=False)
    tensors: Mapping[int, Tensor] = field(repr=False)
    name: str = "part"


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


class Part(keras.Layer):
    """Steps of a model as a layer of its own; the weights remain the model's.

    It takes a list of tensors and gives a list of tensors. The sublayers are called
    exactly as the model calls them, each told whether it is in training.

    Args:
        steps: what runs.
        takes: the values that go in, by number.
        gives: the values that come out, by number.
        tied: whether the tensors that go in come from the same batch of images.
        name: of the model, so that nodes are called as its own where they can be.
    """

    def __init__(
        self,
        steps: Sequence[Step],
        takes: Sequence[int],
        gives: Sequence[int],
        *,
        tied: bool = False,
        name: str = "part",
    ) -> None:
        super().__init__(name=name, dtype="float32", autocast=False)
        self.steps = tuple(steps)
        self.takes = tuple(takes)
        self.gives = tuple(gives)
        self.tied = tied
        # Tracked, so that Keras clears their losses when this layer is called.
        self.parts = _layers(self.steps)
        self.built = True

    @property
    def foreign_layers(self) -> list[keras.Layer]:
        """Return the layers whose code is neither Keras's nor this package's."""
        tree = (layer for part in self.parts for layer in _tree(part))
        return [layer for layer in tree if not _is_own(type(layer))]

    def call(self, tensors: list[Any], training: bool | None = None) -> list[Any]:  # noqa: FBT001
        """Return what the steps make of `tensors`."""
        tensors = _tied(tensors) if self.tied and len(tensors) > 1 else tensors
        values = dict(zip(self.takes, tensors, strict=True))
        with _Scopes() as scopes:
            for step in self.steps:
                scopes.enter(step.scopes)
                step.run(values, training=bool(training))
        return [values[number] for number in self.gives]


class _Scopes:
    """The names that Keras would give the nodes of models within a model.

    TensorFlow sorts by them what it adds up, gradients of a value too.
    """

    def __init__(self) -> None:
        self._entered: list[tuple[Scope, Any]] = []

    def __enter__(self) -> "_Scopes":
        return self

    def __exit__(self, *error: object) -> None:
        self.enter(())

    def enter(self, scopes: Sequence[Scope]) -> None:
        """Leave the scopes that are none of these and enter the others."""
        pairs = zip(self._entered, scopes, strict=False)
        shared = sum(1 for (entered, _), scope in pairs if entered is scope)
        while len(self._entered) > shared:
            self._entered.pop()[1].__exit__(None, None, None)
        for scope in scopes[shared:]:
            with keras.name_scope(scope.name):
                pass  # as Keras does for `build`, so that the second one counts
            context = keras.name_scope(scope.name)
            context.__enter__()
            self._entered.append((scope, context))


class _Cast(keras.Operation):
    """The conversion that Keras does where a tensor enters a layer or model."""

    def __init__(self, dtype: str) -> None:
        super().__init__(name=f"cast_{dtype}")
        self.dtype = dtype

    def call(self, tensor: Any) -> Any:
        return keras.ops.cast(tensor, self.dtype)

    def get_config(self) -> dict[str, Any]:
        return {"dtype": self.dtype}


class _One:
    """Arguments of a step with a single tensor, keyed by its value's own number."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.args = (number,)
        self.kwargs: dict[str, Any] = {}

    def fill_in(self, values: Mapping[int, Any]) -> tuple[tuple[Any], dict[str, Any]]:
        return (values[self.number],), {}


def unroll(model: keras.Model) -> Graph:
    """Return the steps behind a model, those of models within it included.

    `Backbone` layers and functional or sequential models are opened, once per call
    where they are shared; every other layer is one step.

    Raises:
        ValueError: the model is neither functional nor sequential, or not built.
    """
    if not _opens(model):
        raise UnsplittableError("it is neither functional nor sequential, or not built")
    unroller = _Unroller()
    inputs = [unroller.value(x, x.name) for x in model.inputs]
    outputs = unroller.open(model, inputs, training=None)
    steps = tuple(unroller.steps)
    return Graph(tuple(inputs), tuple(outputs), steps, unroller.tensors, model.name)


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
    mutable = _rewritten(graph, training=training)
    if mutable is not None:
        raise UnsplittableError(mutable)
    cuts = _cuts(graph, steps, kept, _terms(graph, training=training))
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


class _Unroller:
    """Collects the steps of a model and of the models within it."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.tensors: dict[int, Tensor] = {}
        self._scopes: tuple[Scope, ...] = ()

    def value(self, tensor: Any, name: str) -> int:
        """Return the number of a new value that looks like a symbolic tensor."""
        number = len(self.tensors)
        shape = tuple(tensor.shape)[1:]
        self.tensors[number] = Tensor(name, shape, str(tensor.dtype))
        return number

    def open(
        self, model: keras.Model, inputs: Sequence[int], *, training: bool | None
    ) -> list[int]:
        """Add the steps of a model called on `inputs`; return its outputs."""
        functional, around = model, self._scopes
        if isinstance(model, keras.Sequential):
            inputs = [self.converted(x, model) for x in inputs]
            functional = model._functional  # noqa: SLF001
            self._scopes = (*around, Scope(functional.name))
        values = {
            id(symbol): self.cast(number, str(symbol.dtype))
            for symbol, number in zip(functional.inputs, inputs, strict=True)
        }
        nodes = functional._nodes_by_depth  # noqa: SLF001
        for depth in sorted(nodes, reverse=True):
            for node in nodes[depth]:
                if not node.is_input:
                    self._call(node, values, training=training)
        self._scopes = around
        return [values[id(symbol)] for symbol in functional.outputs]

    def converted(self, number: int, layer: keras.Layer) -> int:
        """Return what `Layer.__call__` makes of an input before `call`."""
        kinds = (self.tensors[number].dtype, layer.input_dtype)
        if layer.autocast and all("float" in kind for kind in kinds):
            return self.cast(number, layer.input_dtype)
        return number

    def cast(self, number: int, dtype: str) -> int:
        """Return the value in another type."""
        before = self.tensors[number]
        if before.dtype == dtype:
            return number
        after = len(self.tensors)
        self.tensors[after] = Tensor(before.name, before.shape, dtype)
        self.steps.append(
            Step(
                _Cast(dtype),
                (number,),
                (after,),
                arguments=_One(number),
                bindings={number: number},
                scopes=self._scopes,
            )
        )
        return after

    def _call(
        self, node: Any, values: dict[int, int], *, training: bool | None
    ) -> None:
        layer, arguments = node.operation, node.arguments
        told = arguments.kwargs.get("training")
        if told is not None and (training is None or _calls_keep_their_training()):
            training = told if _calls_keep_their_training() else training
        inputs = tuple(values[id(symbol)] for symbol in arguments.keras_tensors)
        inside = _opened(layer, arguments, [self.tensors[n].shape for n in inputs])
        if inside is not None:
            if isinstance(layer, Backbone):
                inputs = tuple(self.converted(x, layer) for x in inputs)
                training = False
            around, names = self._scopes, dict.fromkeys([layer, inside])
            self._scopes = (*around, *(Scope(x.name) for x in names))
            outputs = self.open(inside, inputs, training=training)
            self._scopes = around
            values.update(zip(map(id, node.output_tensors), outputs, strict=True))
            return
        outputs = [self.value(symbol, layer.name) for symbol in node.output_tensors]
        values.update(zip(map(id, node.output_tensors), outputs, strict=True))
        self.steps.append(
            Step(
                layer,
                inputs,
                tuple(outputs),
                training=training,
                arguments=arguments,
                bindings={id(x): values[id(x)] for x in arguments.keras_tensors},
                flops=_flops(layer, [self.tensors[n].shape for n in outputs]),
                scopes=self._scopes,
            )
        )


def _opens(layer: Any) -> bool:
    """Tell whether a layer is a model whose `call` is that of Keras, and built."""
    if not isinstance(layer, keras.Model):
        return False
    caller = next(c for c in type(layer).__mro__ if "call" in vars(c))
    if caller.__module__.partition(".")[0] != "keras":
        return False
    if isinstance(layer, keras.Sequential):
        return layer._functional is not None  # noqa: SLF001
    return hasattr(layer, "_nodes_by_depth")


def _opened(
    layer: Any, arguments: Any, shapes: Sequence[tuple[int | None, ...]]
) -> keras.Model | None:
    """Return the model to open in place of a call, None where it is one step."""
    network = layer.network if isinstance(layer, Backbone) else layer
    told = {key for key, value in arguments.kwargs.items() if value is not None}
    if not _opens(network) or told - {"training"}:
        return None
    # Keras adds or drops a last axis of 1 in silence: left to the model itself.
    ranks = [len(x.shape) - 1 for x in network.inputs]
    return network if ranks == [len(shape) for shape in shapes] else None


@functools.cache
def _calls_keep_their_training() -> bool:
    """Tell whether `layer(x, training=False)` in a functional model holds in `fit`.

    Keras overwrites it up to 3.15 (keras-team/keras#23364).
    """
    heard: list[Any] = []

    class Listener(keras.Layer):
        def call(self, tensor: Any, training: bool | None = None) -> Any:  # noqa: FBT001
            heard.append(training)
            return tensor

    inputs = keras.Input((1,))
    keras.Model(inputs, Listener()(inputs, training=False))(
        keras.ops.ones((1, 1)), training=True
    )
    return heard[-1] is False


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
            if _is_random(step, training=True):
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
    tree = list(_tree(layer))
    always = {
        "trains": bool(layer.trainable_variables),
        "adds to the loss": any(
            getattr(x, "activity_regularizer", None) is not None for x in tree
        ),
        "may give a mask": isinstance(
            layer, keras.layers.Masking | keras.layers.Embedding
        ),
    }
    in_training = {
        "is random in training": _has_random_state(layer),
        "moves its statistics in training": any(
            x.trainable and isinstance(x, keras.layers.BatchNormalization) for x in tree
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


def _terms(graph: Graph, *, training: bool) -> set[int]:
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


def _rewritten(graph: Graph, *, training: bool) -> str | None:
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


def _adds_up(step: Step) -> bool:
    kind = type(step.operation)
    # What a layer from elsewhere does with several inputs is not known.
    return kind.__name__ in _SUMS if _is_own(kind) else len(step.inputs) > 1


def _multiplies(step: Step) -> bool:
    kind = type(step.operation)
    return kind.__name__ in _PRODUCTS and len(step.inputs) > 1


def _scales(step: Step, *, training: bool) -> bool:
    """Tell whether a step begins with calculating with a number."""
    name = type(step.operation).__name__
    alone = len(step.inputs) == 1 and name in _PRODUCTS | _SUMS
    return alone or name == "Rescaling" or _is_random(step, training=training)


def _ends_with_product(step: Step) -> bool:
    name = type(step.operation).__name__
    return _multiplies(step) or name in _CURVES or not _is_own(type(step.operation))


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
    return known and _is_own(type(step.operation))


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
    quiet = _has_random_state(layer) and not step.mode(training=training)
    linear = isinstance(layer, keras.layers.Activation) and _name(layer) == "linear"
    alone = len(step.inputs) == len(step.outputs) == 1
    return alone and (quiet or linear or isinstance(layer, keras.layers.Identity))


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


def _is_random(step: Step, *, training: bool) -> bool:
    return step.mode(training=training) and _has_random_state(step.operation)


def _has_random_state(layer: Any) -> bool:
    # What a layer holds beside its weights is the state of random numbers.
    is_layer = isinstance(layer, keras.Layer)
    return is_layer and len(layer.variables) > len(layer.weights)


def _weighty(step: Step) -> bool:
    return bool(getattr(step.operation, "weights", ()))


def _tied(tensors: Sequence[Any]) -> list[Any]:
    """Return the tensors as they are, after they went through one.

    In a model the batch of all of them is that of the images, and TensorFlow adds up
    three terms of equal shape in another order than two and one. As inputs of their
    own their batches would not be known to be equal, and a residual sum would differ
    in its last bit.
    """
    rank = max(2, *(len(x.shape) for x in tensors))
    inserted = [tuple(range(1, 1 + rank - len(x.shape))) for x in tensors]
    wide = [
        keras.ops.expand_dims(x, axes) if axes else x
        for x, axes in zip(tensors, inserted, strict=True)
    ]
    sizes = [max(x.shape[axis] for x in wide) for axis in range(1, rank - 1)]
    dtype = keras.backend.result_type(*(x.dtype for x in tensors))
    padded = []
    for x in wide:
        widths = [size - n for size, n in zip(sizes, x.shape[1:-1], strict=True)]
        padding = [(0, 0), *((0, width) for width in widths), (0, 0)]
        padded.append(keras.ops.pad(keras.ops.cast(x, dtype), padding))
    packed = keras.ops.concatenate(padded, axis=-1)
    again, at = [], 0
    for x, axes, original in zip(wide, inserted, tensors, strict=True):
        start, shape = [0] * (rank - 1) + [at], [-1, *x.shape[1:]]
        part = keras.ops.slice(packed, start, shape)
        part = keras.ops.squeeze(part, axes) if axes else part
        again.append(keras.ops.cast(part, original.dtype))
        at += x.shape[-1]
    return again


def _flops(layer: Any, shapes: Sequence[tuple[int | None, ...]]) -> int:
    """Return about how many operations a layer takes for one image."""
    if _has_random_state(layer):
        return 0  # in evaluation it does nothing, in training it is never cached
    outputs = sum(math.prod(n or 1 for n in shape) for shape in shapes)
    places = max(math.prod(n or 1 for n in shape[:-1]) for shape in shapes)
    weights = getattr(layer, "weights", ())
    numbers = sum(math.prod(weight.shape) for weight in weights)
    return int(2 * numbers * places + outputs)


def _tree(layer: keras.Layer) -> Iterator[keras.Layer]:
    yield layer
    for child in layer._layers:  # noqa: SLF001
        yield from _tree(child)


def _layers(steps: Iterable[Step]) -> list[keras.Layer]:
    found = {id(s.operation): s.operation for s in steps}
    return [x for x in found.values() if isinstance(x, keras.Layer)]


def _fingerprint(prefix: Part, cut: Sequence[Tensor]) -> str:
    digest = hashlib.sha256()
    numbers = {number: i for i, number in enumerate(prefix.takes)}
    for step in prefix.steps:
        for number in step.outputs:
            numbers[number] = len(numbers)
        symbols = {key: f"value {numbers[n]}" for key, n in step.bindings.items()}
        wiring = [numbers[n] for n in step.inputs], step.training
        arguments = _plain(step.arguments, symbols)
        digest.update(
            json.dumps([_described(step), wiring, arguments], sort_keys=True).encode()
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


def _described(step: Step) -> Any:
    """Return what a step's operation is known by, its names left out."""
    layer = step.operation
    if isinstance(layer, keras.layers.Lambda):
        raise UnsplittableError(
            f"{layer.name!r} is a Lambda, whose code cannot be known; write a Layer"
        )
    if isinstance(layer, _Cast):
        return ["cast", layer.dtype]
    try:
        config = keras.saving.serialize_keras_object(layer)
        text = json.dumps(_heard(config, own=_is_own(type(layer))), sort_keys=True)
    except (NotImplementedError, TypeError, ValueError) as error:
        raise UnsplittableError(
            f"{layer.name!r} has no configuration to be known by; give it a get_config"
        ) from error
    tree = _tree(layer) if isinstance(layer, keras.Layer) else [layer]
    return [text, [[_code(type(x)), _functions(x)] for x in tree]]


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


def _is_own(kind: type) -> bool:
    """Tell whether Keras or this package wrote a class."""
    return kind.__module__.partition(".")[0] in _OWN


def _code(kind: type) -> str:
    """Return the sha256 of the methods that a class has from elsewhere."""
    digest = hashlib.sha256()
    for owner in kind.__mro__:
        if not _is_own(owner):
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
        if isinstance(value, FunctionType)
        and value.__module__.partition(".")[0] not in _OWN
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
