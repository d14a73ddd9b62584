"""Freezing: which layers of a backbone train, and the proof that the others did not.

Owns `freeze` and `unfreeze`, the plan they return, the counts of a model, the
fingerprint of what must not change, and the checks that refuse a model whose
`trainable` flags do not mean what they seem to. It never compiles and never trains.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import keras

from tlcore.arguments import require_whole
from tlcore.backbones.inference import Backbone
from tlcore.backbones.weights import fingerprint
from tlcore.hub.layer import HubLayer


@dataclass(frozen=True)
class TrainableSummary:
    """The counts of a model.

    Attributes:
        total_params: numbers in all weights.
        trainable_params: numbers in the weights that training changes.
        non_trainable_params: numbers in the weights that it does not.
        trainable_tensors: weight tensors that training changes.
        non_trainable_tensors: weight tensors that it does not.
    """

    total_params: int
    trainable_params: int
    non_trainable_params: int
    trainable_tensors: int
    non_trainable_tensors: int


@dataclass(frozen=True)
class LayerPlan:
    """One layer of the backbone that trains: its name, class and trainable weights."""

    name: str
    kind: str
    params: int
    tensors: int


@dataclass(frozen=True)
class FreezePlan:
    """What `freeze` or `unfreeze` did, in counts to check an expectation against.

    Attributes:
        backbone: the network's name.
        layers: how many layers the network has.
        last: how many of them, from the end, were unfrozen.
        batch_norm: whether gamma and beta of the unfrozen BatchNorm layers train.
        unfrozen: the unfrozen layers that hold trainable weights.
        counts: the counts of the whole model that was handed in, head included.
    """

    backbone: str
    layers: int
    last: int
    batch_norm: bool
    unfrozen: tuple[LayerPlan, ...]
    counts: TrainableSummary

    def __str__(self) -> str:
        lines = [
            f"{self.backbone}: {self.last} of {self.layers} layers unfrozen; "
            f"{self.counts.trainable_params:,} of {self.counts.total_params:,} "
            f"parameters in {self.counts.trainable_tensors} tensors train"
        ]
        lines += [
            f"  {layer.name} ({layer.kind}): {layer.params:,} in {layer.tensors}"
            for layer in self.unfrozen
        ]
        return "\n".join(lines)


def freeze(model: keras.Model) -> FreezePlan:
    """Freeze the backbone inside `model`, or `model` itself if it is a bare backbone.

    A model that was compiled before must be compiled again.

    Returns:
        The plan, in which nothing of the backbone trains.

    Raises:
        ValueError: the model holds more than one backbone.
    """
    return _apply(model, last=0, batch_norm=True)


def unfreeze(
    model: keras.Model, last: int = 10, *, batch_norm: bool = True
) -> FreezePlan:
    """Unfreeze the last layers of the backbone inside `model`, or of a bare backbone.

    A SavedModel of TF Hub is one layer: any `last` above 0 unfreezes all of it. Layers
    count as `Model.layers` lists them, with and without weights, as the
    tutorials count. BatchNorm statistics never move: the backbone runs in inference
    mode either way. A model that was compiled before must be compiled again.

    Args:
        model: a model of `create_model`, or a backbone without a head.
        last: how many layers train, from the end; 0 freezes all.
        batch_norm: False leaves gamma and beta of the unfrozen layers frozen.

    Returns:
        The plan, with the unfrozen layers and the counts of the model.

    Raises:
        ValueError: `last` is negative or larger than the number of layers, the model
            holds more than one backbone, or a SavedModel has nothing that trains or
            layers that cannot be told apart.
    """
    return _apply(model, last=last, batch_norm=batch_norm)


def _apply(model: keras.Model, *, last: int, batch_norm: bool) -> FreezePlan:
    holder, network = find_backbone(model)
    layers = _layers(network)
    if isinstance(network, HubLayer):
        require_whole("last", last, least=0)
        last = _last_of_one(network, last, batch_norm=batch_norm)
    layers_of = f", the layers of {network.name}"
    require_whole("last", last, least=0, most=len(layers), meaning=layers_of)
    # Layer by layer, parents first: setting a parent sets its children too, but on
    # TensorFlow only if that changes the parent's own flag.
    frozen, unfrozen = layers[: len(layers) - last], layers[len(layers) - last :]
    for layer in layer_tree([holder]):
        layer.trainable = last > 0
    for layer in layer_tree(frozen):
        layer.trainable = False
    if not batch_norm:
        for layer in layer_tree(unfrozen):
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.trainable = False
    plans = tuple(
        LayerPlan(
            layer.name,
            type(layer).__name__,
            _numbers(layer.trainable_variables),
            len(layer.trainable_variables),
        )
        for layer in unfrozen
        if layer.trainable_variables
    )
    counts = trainable_summary(model)
    return FreezePlan(network.name, len(layers), last, batch_norm, plans, counts)


def _layers(network: keras.Layer) -> list[keras.Layer]:
    return list(network.layers) if isinstance(network, keras.Model) else [network]


def _last_of_one(network: HubLayer, last: int, *, batch_norm: bool) -> int:
    """Return how many layers of a SavedModel to unfreeze: it is one."""
    if last > 0 and not batch_norm:
        raise ValueError(
            "The layers of a SavedModel cannot be told apart. Received: "
            f"batch_norm=False for {network.name!r}. Leave batch_norm out; the "
            "statistics never move, either way."
        )
    if last > 0 and not network.can_train:
        raise ValueError(
            "A SavedModel must list trainable variables to be unfrozen. Received: "
            f"last={last} for {network.name!r}, which lists none, or is called by a "
            "signature. Train the head alone."
        )
    return min(last, 1)


def find_backbone(model: keras.Model) -> tuple[keras.Layer, keras.Layer]:
    """Return the layer that holds the backbone of `model`, and the backbone.

    The backbone is a network, or the `HubLayer` of a SavedModel. A bare backbone is
    its own holder.

    Raises:
        ValueError: the model holds more than one backbone.
    """
    found = [layer for layer in layer_tree([model]) if isinstance(layer, Backbone)]
    if not found:
        return model, model
    if len(found) > 1:
        names = ", ".join(layer.name for layer in found)
        raise ValueError(
            "A model must hold one backbone to be frozen as a whole. Received: "
            f"model={model.name!r} with {names}. Freeze each: freeze(layer.network)."
        )
    return found[0], found[0].network


def trainable_summary(model: keras.Layer) -> TrainableSummary:
    """Return the counts of a model, backbone or layer.

    Random-number and metric states are no weights and are not counted.
    """
    moving, still = model.trainable_weights, model.non_trainable_weights
    return TrainableSummary(
        total_params=_numbers(moving) + _numbers(still),
        trainable_params=_numbers(moving),
        non_trainable_params=_numbers(still),
        trainable_tensors=len(moving),
        non_trainable_tensors=len(still),
    )


def frozen_fingerprint(model: keras.Layer) -> str:
    """Return the sha256 of every weight of `model` that training must not change.

    Frozen weights and non-trainable state count, BatchNorm statistics included, by
    order, shape, type and bits; random-number states, which training does move, do
    not. Equal before and after a `fit` means that frozen was frozen.
    """
    return fingerprint(model.non_trainable_weights)


def child_layers(layer: keras.Layer) -> list[keras.Layer]:
    """Return the layers directly within a layer."""
    return list(layer._layers)  # noqa: SLF001 - Keras has no public name for them


def layer_tree(layers: Iterable[keras.Layer]) -> Iterator[keras.Layer]:
    """Yield the layers and all layers within them, each once, parents first."""
    seen: set[int] = set()
    stack = list(layers)[::-1]
    while stack:
        layer = stack.pop()
        if id(layer) not in seen:
            seen.add(id(layer))
            yield layer
            stack += child_layers(layer)[::-1]


def _numbers(variables: Iterable[Any]) -> int:
    return sum(math.prod(variable.shape) for variable in variables)


def few(names: list[str]) -> str:
    """Return the first three names, and how many more there are."""
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"
