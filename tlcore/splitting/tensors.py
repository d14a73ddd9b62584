"""Tensors: what one tensor is for a single image.

Owns the form that a cut and a cache agree on; it knows neither models nor files.
"""

import math
import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Tensor:
    """One tensor, the batch dimension left out.

    Attributes:
        name: the layer that gives it, for people.
        shape: its shape for one image; None where a size is not known.
        dtype: the name of its type, "float32".
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: str

    @property
    def nbytes(self) -> int:
        """Return its bytes for one image, unknown sizes counted as 1."""
        bits = re.match(r"\D+(\d+)", self.dtype)  # of "float8_e4m3fn": 8
        itemsize = max(1, int(bits[1]) // 8) if bits else 1
        return math.prod(n or 1 for n in self.shape) * itemsize
