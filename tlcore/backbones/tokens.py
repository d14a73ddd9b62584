"""Tokens: from the sequence of a transformer to one feature vector.

Owns the layer that does it. Which rule a family has is in `presets`.
"""

from typing import Any

import keras

from tlcore.arguments import require_one_of

TOKEN_RULES = ("first", "mean")


@keras.saving.register_keras_serializable(package="tlcore")
class TokenPooling(keras.layers.Layer):
    """One vector of a sequence: its first token, or the mean of all.

    Takes shape (n, tokens, features) and returns (n, features).

    Args:
        rule: "first" (the class token of a vision transformer) or "mean".
        name: the layer's name.

    Raises:
        ValueError: there is no such rule.

    Example:
        >>> import numpy as np
        >>> tokens = np.array([[[1.0], [5.0]]], "float32")
        >>> [float(TokenPooling(rule)(tokens)[0, 0]) for rule in TOKEN_RULES]
        [1.0, 3.0]
    """

    def __init__(self, rule: str, *, name: str = "token_pool", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        require_one_of("rule", rule, TOKEN_RULES)
        self.rule = rule

    def call(self, tokens: Any) -> Any:
        """Return one vector of each sequence."""
        if self.rule == "first":
            return tokens[:, 0]
        return keras.ops.mean(tokens, axis=1)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return (n, features)."""
        return (input_shape[0], input_shape[-1])

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of `from_config`."""
        return {**super().get_config(), "rule": self.rule}
