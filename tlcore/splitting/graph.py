"""Graph: the flat list of steps behind a model, and the layers that run some of them.

Owns opening functional and sequential models, those within them included, and running
a part of their steps exactly as the model would. It decides on no cut.

Keras has no public name for the graph behind a model: what is read of it
(`_nodes_by_depth`, `_functional`) is read here and nowhere else.
"""

import functools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import FunctionType
from typing import Any

import keras

from tlcore.backbones.inference import Backbone
from tlcore.splitting.tensors import Tensor

_OWN = {"keras", "tlcore", "builtins"}
"""Packages whose code is known by their versions."""


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

    def is_random(self, *, training: bool) -> bool:
        """Tell whether it gives something else every time."""
        return self.mode(training=training) and has_random_state(self.operation)

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


class Cast(keras.Operation):
    """The conversion that Keras does where a tensor enters a layer or model."""

    def __init__(self, dtype: str) -> None:
        super().__init__(name=f"cast_{dtype}")
        self.dtype = dtype

    def call(self, tensor: Any) -> Any:
        """Return the tensor in the other type."""
        return keras.ops.cast(tensor, self.dtype)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
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


def is_own(what: type | FunctionType) -> bool:
    """Tell whether Keras or this package wrote a class or function."""
    return what.__module__.partition(".")[0] in _OWN


def has_random_state(layer: Any) -> bool:
    """Tell whether a layer draws random numbers, in training or always."""
    # What a layer holds beside its weights is the state of random numbers.
    is_layer = isinstance(layer, keras.Layer)
    return is_layer and len(layer.variables) > len(layer.weights)


def layers_within(layer: keras.Layer) -> Iterator[keras.Layer]:
    """Yield a layer and all layers within it, parents first."""
    yield layer
    for child in layer._layers:  # noqa: SLF001
        yield from layers_within(child)


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
                Cast(dtype),
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
        if told is not None and (training is None or calls_keep_their_training()):
            training = told if calls_keep_their_training() else training
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
def calls_keep_their_training() -> bool:
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


def _flops(layer: Any, shapes: Sequence[tuple[int | None, ...]]) -> int:
    """Return about how many operations a layer takes for one image."""
    if has_random_state(layer):
        return 0  # in evaluation it does nothing, in training it is never cached
    outputs = sum(math.prod(n or 1 for n in shape) for shape in shapes)
    places = max(math.prod(n or 1 for n in shape[:-1]) for shape in shapes)
    weights = getattr(layer, "weights", ())
    numbers = sum(math.prod(weight.shape) for weight in weights)
    return int(2 * numbers * places + outputs)
