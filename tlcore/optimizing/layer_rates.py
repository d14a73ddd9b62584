"""Layer rates: each layer's learning rate, as a factor of that of the phase.

Owns the argument `layer_rates` of `fine_tune`, and the optimizer that keeps to it: that
of Keras, which updates the layers of one factor after those of another.
"""

from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any, TypeAlias

import keras

from tlcore.arguments import require_one_of, require_positive
from tlcore.freezing import find_backbone

LayerRates: TypeAlias = float | Mapping[str, float]

BACKBONE, HEAD = "backbone", "head"

_OF_ALL_AT_ONCE = ("LossScaleOptimizer", "MultiOptimizer", "Muon", "Nadam")
"""Optimizers whose step is more than one update for each variable by itself."""


def layer_factors(model: keras.Model, rates: LayerRates) -> tuple[float, ...]:
    """Return the factor of each trainable variable of a model, in their order.

    Args:
        model: with the layers unfrozen that are to train.
        rates: the factor of the lowest layer that trains, from which factors rise
            geometrically to 1 at the head; or factors by the name of a layer, by a
            pattern of names such as "block7*", or for "backbone" or "head", of which
            the last that fits counts; layers that none fits have 1.

    Raises:
        ValueError: a factor is out of range, or a name fits no layer that trains.

    Example:
        >>> model = tl.create_model("sample_net", 3, input_shape=(32, 32, 3))
        >>> plan = tl.unfreeze(model, last=4)
        >>> layer_factors(model, {"backbone": 0.1})
        (0.1, 0.1, 0.1, 0.1, 1.0, 1.0)
    """
    places = _places(model)
    variables = model.trainable_variables
    if isinstance(rates, Mapping):
        by_layer = _named(places, rates)
    else:
        by_layer = _rising(places, rates)
    return tuple(by_layer[places[id(variable)]] for variable in variables)


_Place: TypeAlias = tuple[str, str]
"""The part of a model, "backbone" or "head", and the name of a layer in it."""


def _places(model: keras.Model) -> dict[int, _Place]:
    """Return where each trainable variable is; layers from the lowest on."""
    holder, network = find_backbone(model)
    layers = network.layers if isinstance(network, keras.Model) else [network]
    places: dict[int, _Place] = {}
    for layer in layers:
        for variable in layer.trainable_variables:
            places.setdefault(id(variable), (BACKBONE, layer.name))
    if holder is not model:
        for layer in model.layers:
            for variable in layer.trainable_variables:
                places.setdefault(id(variable), (HEAD, layer.name))
    return places


def _rising(places: Mapping[int, _Place], lowest: object) -> dict[_Place, float]:
    """Return factors that rise geometrically over the layers of the backbone.

    Source: "discriminative fine-tuning" of Howard and Ruder, "Universal Language Model
    Fine-tuning for Text Classification", 2018, spread over the layers as fastai spreads
    `slice(lowest, highest)`.
    """
    require_positive("layer_rates", lowest)
    lowest = float(lowest)  # type: ignore[arg-type]
    if lowest > 1:
        raise ValueError(
            "layer_rates must be at most 1, the factor of the lowest layer that "
            f"trains. Received: layer_rates={lowest!r}. Raise learning_rate instead."
        )
    factors = dict.fromkeys(places.values(), 1.0)
    layers = [place for place in factors if place[0] == BACKBONE]
    for i, place in enumerate(layers):
        factors[place] = lowest ** ((len(layers) - i) / len(layers))
    return factors


def _named(
    places: Mapping[int, _Place], rates: Mapping[str, float]
) -> dict[_Place, float]:
    factors = dict.fromkeys(places.values(), 1.0)
    names = [BACKBONE, HEAD, *(layer for _, layer in factors)]
    for pattern, factor in rates.items():
        require_positive(f"layer_rates[{pattern!r}]", factor)
        found = [
            (part, layer)
            for part, layer in factors
            if pattern == part or fnmatchcase(layer, str(pattern))
        ]
        if not found:
            also = "a pattern such as 'block7*', or "
            require_one_of("layer_rates", pattern, names, also=also)
            raise ValueError(
                f"Layers with rates must train. Received: layer_rates of {pattern!r}, "
                "of which no layer trains. Leave it out, or unfreeze more layers."
            )
        factors.update(dict.fromkeys(found, float(factor)))
    return factors


def with_layer_rates(
    optimizer: keras.optimizers.Optimizer, factors: Sequence[float]
) -> keras.optimizers.Optimizer:
    """Return an optimizer whose rate for each variable is multiplied by a factor.

    Its learning rate is still that of the phase, which schedules and callbacks set.
    Weight decay apart from the gradient is multiplied too: it is times the rate.

    Args:
        optimizer: of Keras or a subclass; its state is not taken over.
        factors: one for each variable that it will be built with.

    Raises:
        ValueError: a step of the optimizer is of all variables at once.

    Example:
        >>> import keras
        >>> a, b = keras.Variable(1.0), keras.Variable(1.0)
        >>> optimizer = with_layer_rates(keras.optimizers.SGD(0.5), [1.0, 0.25])
        >>> optimizer.apply([keras.ops.ones(()), keras.ops.ones(())], [a, b])
        >>> float(a), float(b)
        (0.5, 0.875)
    """
    kind: type = type(optimizer)
    plain = {base.__name__ for base in kind.__mro__}
    found = next((name for name in _OF_ALL_AT_ONCE if name in plain), None)
    if found is not None:
        raise ValueError(
            "layer_rates needs an optimizer that updates each variable by itself. "
            f"Received: optimizer={found}. Take Adam, AdamW, SGD or RMSprop."
        )
    return _layered(kind).of(optimizer, factors)


class _Layered:
    """What an optimizer with layer rates does otherwise than one of Keras's.

    `_backend_update_step` and `_apply_weight_decay` are where the optimizers of all
    backends meet: PyTorch's update many variables in one operation, TensorFlow's on
    every device.
    """

    @classmethod
    def of(cls, optimizer: keras.optimizers.Optimizer, factors: Sequence[float]) -> Any:
        self = super().from_config(  # type: ignore[misc]
            optimizer.get_config()
        )
        self.factors = tuple(float(factor) for factor in factors)
        self.plain = keras.saving.serialize_keras_object(optimizer)
        return self

    def build(self: Any, variables: Sequence[Any]) -> None:
        if len(variables) != len(self.factors):
            raise ValueError(
                "An optimizer with layer rates is for the layers that it was made for. "
                f"Received: {len(variables)} variables for {len(self.factors)} rates. "
                "Give layer_rates to fine_tune with an optimizer without them."
            )
        super().build(variables)  # type: ignore[misc]

    def _backend_update_step(
        self: Any, grads: Sequence[Any], trainable_variables: Any, learning_rate: Any
    ) -> None:
        for factor, at in self._groups(trainable_variables):
            rate = learning_rate if factor == 1 else learning_rate * factor
            super()._backend_update_step(  # type: ignore[misc]
                [grads[i] for i in at], [trainable_variables[i] for i in at], rate
            )

    def _apply_weight_decay(self: Any, variables: Sequence[Any]) -> None:
        decay = self.weight_decay
        if decay is None:
            return
        try:
            for factor, at in self._groups(variables):
                self.weight_decay = decay * factor
                super()._apply_weight_decay(  # type: ignore[misc]
                    [variables[i] for i in at]
                )
        finally:
            self.weight_decay = decay

    def _groups(self: Any, variables: Sequence[Any]) -> Iterator[tuple[float, Any]]:
        """Yield each factor, and the positions of its variables."""
        of = [self.factors[self._get_variable_index(x)] for x in variables]
        for factor in dict.fromkeys(of):
            yield factor, [i for i, x in enumerate(of) if x == factor]

    def get_config(self: Any) -> dict[str, Any]:
        # Of the optimizer as it is now: a callback may have changed its rate.
        config = super().get_config()  # type: ignore[misc]
        name = config.pop("name")  # where Keras looks for it
        plain = {**self.plain, "config": config}
        return {"name": name, "optimizer": plain, "factors": list(self.factors)}

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: Any = None
    ) -> keras.optimizers.Optimizer:
        plain = config["optimizer"]
        plain = {**plain, "config": {**plain["config"], "name": config["name"]}}
        optimizer = keras.saving.deserialize_keras_object(
            plain, custom_objects=custom_objects
        )
        return with_layer_rates(optimizer, config["factors"])


@lru_cache
def _layered(kind: type) -> Any:
    """Return the class of an optimizer with layer rates.

    All are registered by one name. Whichever is found by it reads any of them: the
    optimizer that it is of is in its configuration.
    """
    register = keras.saving.register_keras_serializable("tlcore", "LayerRates")
    return register(type(f"LayerRates{kind.__name__}", (_Layered, kind), {}))


_layered(keras.optimizers.Adam)  # a model that is loaded may have one
