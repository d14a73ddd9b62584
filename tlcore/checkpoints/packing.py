"""Packing: what callbacks remember, as JSON and arrays.

Owns which values can be kept: numbers, text, bytes, arrays, and lists, tuples, sets and
dicts of them, each of which comes back as what it was. Anything else, such as an open
file or a function, cannot, and whoever keeps it is told so.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

_TAG = "~"
"""The key of a JSON object that stands for something JSON does not have."""

Arrays = dict[str, NDArray[Any]]


class NotKeptError(TypeError):
    """A value that cannot be kept."""


class Packer:
    """Turns values into JSON and arrays, and back.

    Args:
        weights: returns the weights of the model. A list of arrays of the same shapes
            is a copy of them: of its arrays those of the same bits are left out.

    Example:
        >>> packer, arrays = Packer(list), {}
        >>> packed = packer.pack((1, {"wait": np.float32(0.5)}), arrays)
        >>> packer.unpack(packed, arrays)
        (1, {'wait': np.float32(0.5)})
    """

    def __init__(self, weights: Callable[[], Sequence[NDArray[Any]]]) -> None:
        self._get_weights = weights

    @cached_property
    def _weights(self) -> Sequence[NDArray[Any]]:
        return self._get_weights()

    def pack(self, value: Any, arrays: Arrays) -> Any:
        """Return a value as JSON; its arrays are added to `arrays`.

        Raises:
            NotKeptError: it is, or holds, something that cannot be kept.
        """
        if value is None or type(value) in {bool, int, float, str}:
            return value
        if isinstance(value, bytes):
            packed: Any = _tagged("bytes", value.hex())
        elif isinstance(value, np.generic):
            packed = _tagged("number", _keep(np.asarray(value), arrays))
        elif isinstance(value, np.ndarray) or _is_tensor(value):
            array = np.asarray(keras.ops.convert_to_numpy(value))
            packed = _tagged("array", _keep(array, arrays))
        elif isinstance(value, dict):
            packed = self._dict(value, arrays)
        elif isinstance(value, list) and self._is_copy(value):
            packed = self._copy(value, arrays)
        elif type(value) in _KINDS.values():
            items = [self.pack(item, arrays) for item in value]
            packed = (
                items if type(value) is list else _tagged(_NAMES[type(value)], items)
            )
        else:
            raise NotKeptError(f"of type {type(value).__name__}")
        return packed

    def unpack(self, packed: Any, arrays: Mapping[str, NDArray[Any]]) -> Any:
        """Return the value that `pack` returned this for."""
        if isinstance(packed, list):
            return [self.unpack(item, arrays) for item in packed]
        if not isinstance(packed, dict):
            return packed
        if _TAG not in packed:
            return {name: self.unpack(x, arrays) for name, x in packed.items()}
        kind, content = packed[_TAG], packed["is"]
        make: dict[str, Callable[[Any], Any]] = {
            "bytes": bytes.fromhex,
            "number": lambda name: arrays[name][()],
            "array": lambda name: arrays[name],
            "dict": lambda pairs: dict(self.unpack(pairs, arrays)),
            "weights": lambda items: self._filled(self.unpack(items, arrays)),
        }
        if kind in make:
            return make[kind](content)
        return _KINDS[kind](self.unpack(content, arrays))

    def _dict(self, value: dict[Any, Any], arrays: Arrays) -> Any:
        if all(type(key) is str and key != _TAG for key in value):
            return {key: self.pack(item, arrays) for key, item in value.items()}
        pairs = [[self.pack(x, arrays) for x in pair] for pair in value.items()]
        return _tagged("dict", pairs)

    def _is_copy(self, value: list[Any]) -> bool:
        return (
            len(value) > 0
            # First: most lists are no lists of arrays, and weights cost a transfer.
            and all(isinstance(x, np.ndarray) for x in value)
            and len(value) == len(self._weights)
            and all(
                x.shape == own.shape and x.dtype == own.dtype
                for x, own in zip(value, self._weights, strict=True)
            )
        )

    def _copy(self, value: list[Any], arrays: Arrays) -> Any:
        items = [
            None if _same_bits(x, own) else self.pack(x, arrays)
            for x, own in zip(value, self._weights, strict=True)
        ]
        return _tagged("weights", items)

    def _filled(self, items: list[Any]) -> list[Any]:
        return [
            own.copy() if item is None else item
            for own, item in zip(self._weights, items, strict=True)
        ]


def _tagged(kind: str, content: Any) -> dict[str, Any]:
    return {_TAG: kind, "is": content}


def _keep(array: NDArray[Any], arrays: Arrays) -> str:
    if array.dtype.kind in "OSUMm":
        raise NotKeptError(f"an array of type {array.dtype}")
    name = f"value/{len(arrays)}"
    arrays[name] = array
    return name


def _same_bits(one: NDArray[Any], other: NDArray[Any]) -> bool:
    # As bytes: zero has two signs, and NaN equals nothing.
    a, b = (np.ascontiguousarray(x).reshape(-1).view(np.uint8) for x in (one, other))
    return np.array_equal(a, b)


def _is_tensor(value: Any) -> bool:
    return isinstance(value, keras.Variable) or keras.ops.is_tensor(value)


_KINDS: dict[str, Callable[..., Any]] = {
    "list": list,
    "tuple": tuple,
    "set": set,
    "frozenset": frozenset,
}
_NAMES = {kind: name for name, kind in _KINDS.items()}
