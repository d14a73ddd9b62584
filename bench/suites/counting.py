"""Counting: what every backend's counter returns."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Counts:
    """What a pass or step over a batch costs.

    Attributes:
        flops: floating-point operations.
        operations: operations of the framework.
    """

    flops: int
    operations: int
