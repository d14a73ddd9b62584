"""Tensors: what one tensor is for a single image.

Owns the form that a cut and a cache agree on; it knows neither models nor files.
"""

import math
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
        bits = "".join(filter(str.isdigit, self.dtype))
        return math.prod(n or 1 for n in self.shape) * (int(bits or 8) // 8)
