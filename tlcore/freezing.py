"""Freezing: which layers of a backbone train, and the proof that the others did not.

Owns `freeze` and `unfreeze`, the plan they return, the counts of a model and the
fingerprint of the weights that must not change. Models whose `trainable` flags
contradict each other are refused in `checks`. Nothing is compiled or trained here.
"""

import math
import reprlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import keras

from tlcore.arguments import ALL, require_whole
from tlcore.backbones.inference import Backbone
from tlcore.backbones.weights import fingerprint
from tlcore.hub.layer import HubLayer


@dataclass(frozen=True)
class TrainableSummary:
    """The parameter and tensor counts of a model.

    Attributes:
        total_params: parameters in all weights.
        trainable_params: parameters in the weights that training changes.
        non_trainable_params: parameters in the weights that training does not change.
        trainable_tensors: number of weight tensors that training changes.
        non_trainable_tensors: number of weight tensors that it does not.
    """

    total_params: int
    trainable_params: int
    non_trainable_params: int
    trainable_tensors: int
    non_trainable_tensors: int


@dataclass(frozen=True)
class LayerPlan:
    """One backbone layer that trains.

    Attributes:
        name: the layer's name.
        kind: the name of its class.
        params: trainable parameters.
        tensors: trainable weight tensors.
    """

    name: str
    kind: str
    params: int
    tensors: int


@dataclass(frozen=True)
class FreezePlan:
    """What `freeze` or `unfreeze` did, in counts to compare with an expectation.

    Attributes:
        backbone: the name of the backbone.
        layers: how many layers it has.
        last: how many of them, counted from the end, are unfrozen.
        batch_norm: whether gamma and beta of the unfrozen BatchNorm layers train.
        unfrozen: the unfrozen layers that have trainable weights.
        counts: the counts of the whole model that was passed, head included.
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

    A model that is already compiled must be compiled again.

    Args:
        model: a model of `create_model`, or a backbone without a head.

    Returns:
        The plan, in which no layer of the backbone trains.

    Raises:
        ValueError: the model contains more than one backbone.

    Example:
        >>> model = tl.create_model("sample_net", 3, input_shape=(32, 32, 3))
        >>> tl.freeze(model).counts.trainable_tensors
        2
    """
    return _apply(model, last=0, batch_norm=True)


def unfreeze(
    model: keras.Model, last: int | str = 10, *, batch_norm: bool = True
) -> FreezePlan:
    """Unfreeze the last layers of the backbone inside `model`, or of a bare backbone.

    Layers are counted as `Model.layers` lists them, with and without weights, as the
    tutorials do. A SavedModel from TF Hub is one layer: any `last` above 0 unfreezes
    all of it. BatchNorm statistics never move, because the backbone runs in inference
    mode in any case. A model that is already compiled must be compiled again.

    Args:
        model: a model of `create_model`, or a backbone without a head.
        last: how many layers train, counted from the end, or "all"; 0 freezes all of
            them.
        batch_norm: False keeps gamma and beta of the unfrozen layers frozen.

    Returns:
        The plan, with the unfrozen layers and the counts of the model.

    Raises:
        ValueError: `last` is negative or larger than the number of layers; the model
            contains more than one backbone; a SavedModel has no trainable variables,
            or is unfrozen with batch_norm=False.

    Example:
        >>> model = tl.create_model("sample_net", 3, input_shape=(32, 32, 3))
        >>> print(tl.unfreeze(model, last=4))
        sample_net: 4 of 31 layers unfrozen; 899 of 110,515 parameters in ...
          block3_b_bn (BatchNormalization): 256 in 2
          block3_shortcut_bn (BatchNormalization): 256 in 2
    """
    return _apply(model, last=last, batch_norm=batch_norm)


def _apply(model: keras.Model, *, last: int | str, batch_norm: bool) -> FreezePlan:
    holder, network = find_backbone(model)
    is_network = isinstance(network, keras.Model)
    layers = list(network.layers) if is_network else [network]
    if last == ALL:
        last = len(layers)
    if isinstance(network, HubLayer):
        require_whole("last", last, least=0)
        last = _last_of_saved_model(network, last, batch_norm=batch_norm)
    layers_of = f', the layers of {network.name}; or "all"'
    require_whole("last", last, least=0, most=len(layers), meaning=layers_of)
    last = int(last)
    frozen, unfrozen = layers[: len(layers) - last], layers[len(layers) - last :]
    # Every layer is set on its own, parents first. Setting a parent also sets its
    # children, but on TensorFlow only if the parent's own flag changes:
    # KerasAutoTrackable.__setattr__ skips an assignment of the value already there.
    for layer in layer_tree([holder]):
        layer.trainable = last > 0
    for layer in layer_tree(frozen):
        layer.trainable = False
    if not batch_norm:
        for layer in layer_tree(unfrozen):
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.trainable = False
    plans = tuple(_layer_plan(x) for x in unfrozen if x.trainable_variables)
    counts = trainable_summary(model)
    return FreezePlan(network.name, len(layers), last, batch_norm, plans, counts)


def _layer_plan(layer: keras.Layer) -> LayerPlan:
    variables = layer.trainable_variables
    kind = type(layer).__name__
    return LayerPlan(layer.name, kind, _num_params(variables), len(variables))


def _last_of_saved_model(network: HubLayer, last: Any, *, batch_norm: bool) -> int:
    """Return 1 if any layer is to be unfrozen: Keras sees a SavedModel as one layer."""
    if last > 0 and not batch_norm:
        raise ValueError(
            "The layers of a SavedModel cannot be told apart. Received: "
            f"batch_norm=False for {network.name!r}. Leave batch_norm out; "
            "BatchNorm statistics never move in any case."
        )
    if last > 0 and not network.can_train:
        raise ValueError(
            "A SavedModel must list trainable variables to be unfrozen. Received: "
            f"last={last} for {network.name!r}, which lists none, or is called by a "
            "signature. Train the head alone."
        )
    return min(int(last), 1)


def find_backbone(model: keras.Model) -> tuple[keras.Layer, keras.Layer]:
    """Return the layer that contains the backbone of `model`, and the backbone.

    The backbone is a network, or the `HubLayer` of a SavedModel. For a bare backbone
    both are the model itself.

    Raises:
        ValueError: the model contains more than one backbone.
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
    """Return the parameter and tensor counts of a model, backbone or layer.

    Seeds of random layers and states of metrics are not weights and are not counted.

    Example:
        >>> model = tl.create_model("sample_net", 3, input_shape=(32, 32, 3))
        >>> counts = tl.trainable_summary(model)
        >>> counts.trainable_params, counts.total_params
        (387, 110515)
    """
    _require_layer(model)
    trainable, frozen = model.trainable_weights, model.non_trainable_weights
    return TrainableSummary(
        total_params=_num_params(trainable) + _num_params(frozen),
        trainable_params=_num_params(trainable),
        non_trainable_params=_num_params(frozen),
        trainable_tensors=len(trainable),
        non_trainable_tensors=len(frozen),
    )


def frozen_fingerprint(model: keras.Layer) -> str:
    """Return the sha256 of all weights of `model` that training must not change.

    It covers the order, shapes, dtypes and bits of frozen weights and of BatchNorm
    statistics. It leaves out the seeds of random layers, which training advances. The
    same value before and after `fit` proves that frozen layers stayed frozen.

    Example:
        >>> train = tl.image_folder("photos/train", image_size=32)
        >>> model = tl.create_model("sample_net", 3, input_shape=(32, 32, 3))
        >>> before = tl.frozen_fingerprint(model)
        >>> _ = tl.feature_extract(model, train, epochs=1, verbose=0)
        >>> tl.frozen_fingerprint(model) == before
        True
    """
    _require_layer(model)
    return fingerprint(model.non_trainable_weights)


def child_layers(layer: keras.Layer) -> list[keras.Layer]:
    """Return the layers directly inside a layer.

    Raises:
        ValueError: it is no layer.
    """
    _require_layer(layer)
    return list(layer._layers)  # noqa: SLF001 - Keras has no public name for them


def layer_tree(layers: Iterable[keras.Layer]) -> Iterator[keras.Layer]:
    """Yield the layers and all layers inside them, each once, parents first."""
    # A layer shared by two parents is in the tree twice.
    seen: set[int] = set()
    stack = list(layers)[::-1]
    while stack:
        layer = stack.pop()
        if id(layer) not in seen:
            seen.add(id(layer))
            yield layer
            stack += child_layers(layer)[::-1]


def _require_layer(model: object) -> None:
    if not isinstance(model, keras.Layer):
        raise ValueError(
            "model must be a keras.Model or a layer. "
            f"Received: model={reprlib.repr(model)}. Pass what create_model returns."
        )


def _num_params(variables: Iterable[Any]) -> int:
    return sum(math.prod(variable.shape) for variable in variables)
