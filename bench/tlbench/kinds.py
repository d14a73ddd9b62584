"""Kinds of machines: what the system says of two that differ by nothing that matters.

Runners of one kind come from different hosts: they report a few percent more or less
memory, and a clock in the name of one and the same processor. Owns which of that is one
kind, so that they share a history. Pure functions.
"""

import math
import re
from collections.abc import Mapping
from typing import Any

_CLOCK = re.compile(r"\s*@\s*[\d.]+\s*[GM]Hz$", re.IGNORECASE)
_MARKS = re.compile(r"\((?:r|tm)\)", re.IGNORECASE)

_TOLERANCE = 0.99
"""A size counts as reached at this share of it: a limit may be set a little higher."""


def processor(name: str) -> str:
    """Return the model of a processor without its clock, if a model is named at all.

    >>> processor("Intel(R) Xeon(R) Platinum 8370C CPU @ 2.80GHz")
    'Intel(R) Xeon(R) Platinum 8370C CPU'
    >>> processor("Intel(R) Xeon(R) CPU @ 2.20GHz")
    'Intel(R) Xeon(R) CPU @ 2.20GHz'
    """
    name = " ".join(name.split())
    model = _CLOCK.sub("", name)
    # Some hypervisors hide the model; then its clock is all that tells it from others.
    return model if re.search(r"\d", _MARKS.sub("", model)) else name


def memory(gib: float) -> int:
    """Return the size that a machine with so much usable memory was given, in GiB.

    A kernel keeps a few percent for itself, more or less by version and hypervisor.
    Sizes as they are sold, in steps of a quarter of a power of two, are far apart.

    >>> [memory(gib) for gib in (15.4, 15.6, 16.0, 6.8, 62.7)]
    [16, 16, 16, 7, 64]
    """
    if gib <= 0:
        return 0
    least = gib * _TOLERANCE
    step = max(1.0, 2.0 ** math.floor(math.log2(least)) / 4)
    return int(math.ceil(least / step) * step)


def kind(identity: Mapping[str, Any]) -> dict[str, Any]:
    """Return an identity, or a part of one, as that of a kind.

    Those that were written before are read so, and go on under their names.
    """
    found = dict(identity)
    if "cpu" in found:
        found["cpu"] = processor(str(found["cpu"]))
    if "memory_gib" in found:
        found["memory_gib"] = memory(float(found["memory_gib"]))
    return found
