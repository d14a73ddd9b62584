"""Inference: the layer that runs a network in inference mode, whatever `fit` says.

Owns `Backbone`. What of the network trains is decided in `freezing`.
"""

from typing import Any

import keras


@keras.saving.register_keras_serializable(package="tlcore")
class Backbone(keras.layers.Layer):
    """A network as a layer that always runs in inference mode, also during `fit`.

    Keras 3 up to 3.15 overwrites the `training=False` of a call inside a functional
    model with what `fit` says, so that Dropout of a frozen network stays active and
    BatchNorm statistics of unfrozen layers move. Calling the network from within a
    layer's `call` is honoured by every version. Weights still train where they are
    unfrozen: inference mode is about behaviour, not about gradients.

    Args:
        network: the network to run, a model or one layer; images in, features out.
        name: the layer's name; by default the network's.
    """

    def __init__(
        self, network: keras.Layer, *, name: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(name=name or network.name, **kwargs)
        self.network = network

    def call(self, images: Any) -> Any:
        """Return the network's output for `images`, in inference mode."""
        return self.network(images, training=False)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the network's output shape for a batch of `input_shape`."""
        return self.network.compute_output_shape(input_shape)

    def get_config(self) -> dict[str, Any]:
        """Return what `from_config` needs; the network's own configuration is in it."""
        network = keras.saving.serialize_keras_object(self.network)
        return {**super().get_config(), "network": network}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Backbone":
        """Return the layer that `get_config` described, with fresh weights."""
        network = keras.saving.deserialize_keras_object(config.pop("network"))
        return cls(network, **config)
