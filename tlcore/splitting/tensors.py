"""Tensors: name, shape and type of one tensor of a cut, for a single image.

Owns the description that a split writes and a cache reads, and its bytes. It knows
neither models nor files.
"""

import math
import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Tensor:
    """One tensor, without its batch dimension.

    Attributes:
        name: the layer that returns it, for messages.
        shape: its shape for one image; None where a size is not known.
        dtype: the name of its type, "float32".

    Example:
        >>> Tensor("block3_relu", (6, 6, 128), "float32").nbytes
        18432
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: str

    @property
    def nbytes(self) -> int:
        """Return its bytes for one image. An unknown size counts as 1."""
        bits = re.match(r"\D+(\d+)", self.dtype)  # of "float8_e4m3fn": 8
        itemsize = max(1, int(bits[1]) // 8) if bits else 1
        return math.prod(n or 1 for n in self.shape) * itemsize
