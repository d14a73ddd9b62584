"""Graph: a model as a flat list of steps, in the order in which they run.

Owns opening functional and sequential models, nested ones included, and what one step
does with its inputs: the casts that Keras inserts, the `training` argument it receives,
the name scopes it runs in. It knows nothing about cuts; `split` chooses those, and
`part` runs some of the steps as a layer.

Keras has no public interface to the graph behind a model. Its private attributes
`_nodes_by_depth` and `_functional` are read in this module and nowhere else.
"""

import functools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import FunctionType
from typing import Any

import keras

from tlcore.augmentation import Augmentation
from tlcore.backbones.inference import Backbone
from tlcore.splitting.tensors import Tensor

_OWN = {"keras", "tlcore", "builtins"}
"""Packages whose code is identified by their versions, without hashing it."""


class UnsplittableError(ValueError):
    """A model cannot be cut. The message is a reason that ends a caller's sentence."""


@dataclass(frozen=True, eq=False)
class Scope:
    """One call of a nested model. Equal only to itself: a shared model has several.

    Attributes:
        name: of the nested model.
    """

    name: str


@dataclass(frozen=True, eq=False)
class Step:
    """One call of a layer or operation.

    Values are numbered; a step refers to its inputs and outputs by number.

    Attributes:
        operation: the layer or `keras.Operation` that is called.
        inputs: numbers of the values it takes.
        outputs: numbers of the values it returns.
        training: its own `training` argument; None where it follows the model's.
        arguments: Keras's record of the call, with symbolic tensors in it.
        bindings: the value's number for the id of each symbolic tensor in `arguments`.
        flops: estimated operations for one image.
        scopes: the nested models it is called within, the outermost first.
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
        """Return the name of the layer or operation."""
        return str(self.operation.name)

    def mode(self, *, training: bool) -> bool:
        """Return the `training` argument it receives when the model gets `training`."""
        return training if self.training is None else self.training

    def is_random(self, *, training: bool) -> bool:
        """Return whether its output differs from call to call."""
        return self.mode(training=training) and has_random_state(self.operation)

    def run(self, values: dict[int, Any], *, training: bool) -> None:
        """Call the operation on `values` and add its outputs to them."""
        bound = {key: values[number] for key, number in self.bindings.items()}
        arguments, options = self.arguments.fill_in(bound)
        if isinstance(self.operation, keras.Layer):
            options["training"] = self.mode(training=training)
        outputs = keras.tree.flatten(self.operation(*arguments, **options))
        values.update(zip(self.outputs, outputs, strict=True))


@dataclass(frozen=True, eq=False)
class Graph:
    """A model as a list of steps.

    Attributes:
        inputs: numbers of the model's inputs.
        outputs: numbers of the model's outputs.
        steps: every call, in the order in which Keras runs them.
        tensors: shape and type of every value, by number.
        name: of the model.
    """

    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    steps: tuple[Step, ...] = field(repr=False)
    tensors: Mapping[int, Tensor] = field(repr=False)
    name: str = "part"


class Cast(keras.Operation):
    """The type conversion that Keras applies to the inputs of a model or layer."""

    def __init__(self, dtype: str) -> None:
        super().__init__(name=f"cast_{dtype}")
        self.dtype = dtype

    def call(self, tensor: Any) -> Any:
        """Return the tensor in this operation's type."""
        return keras.ops.cast(tensor, self.dtype)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        return {"dtype": self.dtype}


class _SingleArgument:
    """The arguments of a `Cast`: one tensor, bound by the number of its value.

    Stands in for Keras's `SymbolicArguments`, which a cast has none of.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.args = (number,)
        self.kwargs: dict[str, Any] = {}

    def fill_in(self, values: Mapping[int, Any]) -> tuple[tuple[Any], dict[str, Any]]:
        return (values[self.number],), {}


def unroll(model: keras.Model) -> Graph:
    """Return a model as a flat list of steps.

    `Backbone` layers and nested functional or sequential models are replaced by their
    own steps, once per call where they are shared. Every other layer is one step.

    Raises:
        UnsplittableError: the model is neither functional nor sequential, or not built.

    Example:
        >>> import keras
        >>> inner = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
        >>> outer = keras.Sequential([keras.Input((4,)), inner, keras.layers.ReLU()])
        >>> [type(step.operation).__name__ for step in unroll(outer).steps]
        ['Dense', 'ReLU']
    """
    if not _can_be_opened(model):
        raise UnsplittableError("it is neither functional nor sequential, or not built")
    unroller = _Unroller()
    inputs = [unroller.value(x, x.name) for x in model.inputs]
    outputs = unroller.open(model, inputs, training=None)
    steps = tuple(unroller.steps)
    return Graph(tuple(inputs), tuple(outputs), steps, unroller.tensors, model.name)


def is_own(what: type | FunctionType) -> bool:
    """Return whether a class or function is defined in Keras or in this package."""
    return what.__module__.partition(".")[0] in _OWN


def has_random_state(layer: Any) -> bool:
    """Return whether a layer draws random numbers, in training or always."""
    # Keras counts the state of a SeedGenerator among the variables of a layer, but not
    # among its weights.
    is_layer = isinstance(layer, keras.Layer)
    return is_layer and len(layer.variables) > len(layer.weights)


def layers_within(layer: keras.Layer) -> Iterator[keras.Layer]:
    """Yield a layer and all layers within it, parents first."""
    yield layer
    for child in layer._layers:  # noqa: SLF001
        yield from layers_within(child)


class _Unroller:
    """Collects the steps of a model and of the models nested in it."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.tensors: dict[int, Tensor] = {}
        self._scopes: tuple[Scope, ...] = ()

    def value(self, tensor: Any, name: str) -> int:
        """Return the number of a new value of a symbolic tensor's shape and type."""
        number = len(self.tensors)
        shape = tuple(tensor.shape)[1:]
        self.tensors[number] = Tensor(name, shape, str(tensor.dtype))
        return number

    def open(
        self, model: keras.Model, inputs: Sequence[int], *, training: bool | None
    ) -> list[int]:
        """Add the steps of a model that is called on `inputs`; return its outputs."""
        functional, around = model, self._scopes
        if isinstance(model, keras.Sequential):
            # A Sequential calls the functional model it has built from its layers. That
            # call converts the inputs once more and opens one more name scope, which
            # decides how Grappler sorts the gradients of a value that is used twice.
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
        """Return an input as `Layer.__call__` converts it before `call`."""
        kinds = (self.tensors[number].dtype, layer.input_dtype)
        if layer.autocast and all("float" in kind for kind in kinds):
            return self.cast(number, layer.input_dtype)
        return number

    def cast(self, number: int, dtype: str) -> int:
        """Return the value in type `dtype`, by a `Cast` step where it has another."""
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
                arguments=_SingleArgument(number),
                bindings={number: number},
                scopes=self._scopes,
            )
        )
        return after

    def _call(
        self, node: Any, values: dict[int, int], *, training: bool | None
    ) -> None:
        layer, arguments = node.operation, node.arguments
        own_training = arguments.kwargs.get("training")
        if own_training is not None and calls_keep_their_training():
            training = own_training
        inputs = tuple(values[id(symbol)] for symbol in arguments.keras_tensors)
        shapes = [self.tensors[n].shape for n in inputs]
        network = _network_to_open(layer, arguments, shapes)
        if network is not None:
            if isinstance(layer, Backbone):
                inputs = tuple(self.converted(x, layer) for x in inputs)
                training = False
            # A Backbone opens its own name scope, then its network another of the same
            # name; a nested model, which is its own network, opens one.
            around, called = self._scopes, dict.fromkeys([layer, network])
            self._scopes = (*around, *(Scope(x.name) for x in called))
            outputs = self.open(network, inputs, training=training)
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


def _can_be_opened(layer: Any) -> bool:
    """Return whether a layer is a built model that runs its layers as Keras does."""
    if not isinstance(layer, keras.Model):
        return False
    caller = next(c for c in type(layer).__mro__ if "call" in vars(c))
    # `Augmentation.call` only settles the mode in which Keras's own call then runs.
    if caller is not Augmentation and caller.__module__.partition(".")[0] != "keras":
        return False
    if isinstance(layer, keras.Sequential):
        return layer._functional is not None  # noqa: SLF001
    return hasattr(layer, "_nodes_by_depth")


def _network_to_open(
    layer: Any, arguments: Any, shapes: Sequence[tuple[int | None, ...]]
) -> keras.Model | None:
    """Return the model whose steps replace a call, None where the call is one step."""
    network = layer.network if isinstance(layer, Backbone) else layer
    given = {key for key, value in arguments.kwargs.items() if value is not None}
    # A mask, for one, would have to be passed on to steps of the model.
    if not _can_be_opened(network) or given - {"training"}:
        return None
    # Keras silently adds or drops a last axis of 1 where the ranks differ. Such a model
    # stays one step, which does that itself.
    ranks = [len(x.shape) - 1 for x in network.inputs]
    return network if ranks == [len(shape) for shape in shapes] else None


@functools.cache
def calls_keep_their_training() -> bool:
    """Return whether `layer(x, training=False)` in a functional model holds in `fit`.

    Keras up to 3.15 overwrites it with the `training` of the whole model
    (keras-team/keras#23364). The installed version is tried, because a comparison of
    version numbers would be wrong for a patched or a later one.
    """
    received: list[Any] = []

    class Listener(keras.Layer):
        def call(self, tensor: Any, training: bool | None = None) -> Any:  # noqa: FBT001
            received.append(training)
            return tensor

    inputs = keras.Input((1,))
    keras.Model(inputs, Listener()(inputs, training=False))(
        keras.ops.ones((1, 1)), training=True
    )
    return received[-1] is False


def _flops(layer: Any, shapes: Sequence[tuple[int | None, ...]]) -> int:
    """Return an estimate of the operations for one image.

    Each weight multiplies and adds once per position of the output, and each number of
    the output costs one operation more. That fits dense layers and convolutions; it is
    only used to weigh the bytes of a cut against computing layers again.
    """
    if has_random_state(layer):
        return 0  # in evaluation it does nothing, in training it is never cached
    outputs = sum(math.prod(n or 1 for n in shape) for shape in shapes)
    places = max(math.prod(n or 1 for n in shape[:-1]) for shape in shapes)
    weights = getattr(layer, "weights", ())
    numbers = sum(math.prod(weight.shape) for weight in weights)
    return int(2 * numbers * places + outputs)
