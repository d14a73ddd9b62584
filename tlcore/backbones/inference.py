"""Inference: the layer that runs a network in inference mode, also during `fit`.

Owns `Backbone`. Which weights of the network train is decided in `freezing`.
"""

from typing import Any

import keras


@keras.saving.register_keras_serializable(package="tlcore")
class Backbone(keras.layers.Layer):
    """A network as a layer that always runs in inference mode, also during `fit`.

    In a functional model, Keras up to 3.15 replaces the `training=False` of a call by
    the `training=True` of `fit` (keras-team/keras#23364). Dropout in a frozen network
    then stays active, and BatchNorm statistics of unfrozen layers change. A call from
    within a layer's `call` keeps its argument in every version. Inference mode does not
    stop gradients: weights train where they are unfrozen.

    Args:
        network: the network to run, a model or one layer, from images to features.
        name: the layer's name; by default the network's.

    Example:
        >>> import keras
        >>> import numpy as np
        >>> images = np.ones((1, 8), "float32")
        >>> layer = Backbone(keras.layers.Dropout(0.5))
        >>> bool((np.asarray(layer(images, training=True)) == images).all())
        True
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
        """Return the arguments of `from_config`, with the network's configuration."""
        network = keras.saving.serialize_keras_object(self.network)
        return {**super().get_config(), "network": network}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Backbone":
        """Return the layer that `get_config` describes, with new weights."""
        network = keras.saving.deserialize_keras_object(config.pop("network"))
        return cls(network, **config)
