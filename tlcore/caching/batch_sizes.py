"""Batch sizes: at which size the features of an image must be computed.

Kernels choose their algorithm by the number of rows, and another algorithm rounds
differently. So an image may get other bits in a batch of 18 than in one of 32. Owns
what is done about it: TensorFlow treats all batches of at least two images alike,
unless a layer multiplies their rows by a matrix; on other backends a trial says which
sizes round as a block does, and images that train in a batch of another size are
computed at that size. Trials take seconds where a backend compiles, so their results
are kept beside the entries of the cache.
"""

import hashlib
import json
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlcore.backend import seam
from tlcore.caching.entry import BLOCK_ROWS
from tlcore.files import write_text
from tlcore.splitting.part import Prefix

ANY = 0
"""The size of features that are right in any batch that rounds as a block does."""

SCHEMA = 1


class InexactError(ValueError):
    """Why features are not bit for bit what the model computes end to end."""


def computed_sizes(
    sizes: Iterable[int],
    prefix: Prefix,
    fingerprint: str,
    folder: Path,
    images: Callable[[], NDArray[Any]],
) -> dict[int, int]:
    """Return, for batches of each size, the size at which features are computed.

    Args:
        sizes: the numbers of images that a batch may hold.
        prefix: what computes the features.
        fingerprint: of all that its features depend on except images and sizes.
        folder: of the cache, where results are kept.
        images: returns some images, (n, height, width, channels), at most a block.

    Returns:
        The size itself, or `ANY`; on TensorFlow the size of a block where images are
        multiplied as rows of a matrix.

    Raises:
        InexactError: on TensorFlow, images of a batch of one of the sizes get other
            bits than in a block.
    """
    found = set(sizes)
    few = 2 * prefix.replicas  # else some device gets one image alone
    alike = seam.current().SIZES_ROUND_ALIKE
    if alike and not prefix.part.multiplies_rows:
        return {size: size if size < few else ANY for size in found}
    path = folder / ".sizes" / f"{fingerprint[:32]}.json"
    kept = _kept(path, fingerprint)
    known = {BLOCK_ROWS: ANY} | kept
    if alike:
        known |= {size: size for size in found if size < few}
    missing = sorted(found - known.keys())
    if missing:
        some = images()
        known |= {
            size: ANY if rounds_alike(prefix, some, size) else size for size in missing
        }
        _keep(path, fingerprint, known)
    if not alike:
        return {size: known[size] for size in found}
    # The rows at the end of such a batch are rounded otherwise, and which images these
    # are changes from epoch to epoch.
    unlike = sorted(size for size in found if size >= few and known[size] != ANY)
    if unlike:
        raise InexactError(
            "its matrix products round by the place of an image in a batch of "
            f"{unlike[0]}"
        )
    return {size: size if size < few else BLOCK_ROWS for size in found}


def rounds_alike(prefix: Prefix, images: NDArray[Any], size: int) -> bool:
    """Return whether images get the same bits in a batch of a size as in a block.

    A trial, not a proof: with these images, on this machine.
    """
    images = images[:BLOCK_ROWS]
    block = prefix(_repeated(images, BLOCK_ROWS))
    batch = prefix(_repeated(images, size))
    rows = np.arange(size) % len(images)
    return all(
        a[rows].tobytes() == b.tobytes() for a, b in zip(block, batch, strict=True)
    )


def computed(prefix: Prefix, images: NDArray[Any], size: int) -> list[NDArray[Any]]:
    """Return the cut of images, computed in batches that round as those of a size.

    Args:
        prefix: what computes it.
        images: any number of at least 1, (n, height, width, channels).
        size: from `computed_sizes`.
    """
    step = size or (len(images) if seam.current().SIZES_ROUND_ALIKE else BLOCK_ROWS)
    parts = []
    for first in range(0, len(images), step):
        some = images[first : first + step]
        batch = filled(some, size, prefix.replicas)
        parts.append([array[: len(some)] for array in prefix(batch)])
    return [np.concatenate(arrays) for arrays in zip(*parts, strict=True)]


def filled(images: Any, size: int, replicas: int = 1) -> Any:
    """Return a batch that rounds as batches of a size do; the images come first.

    Args:
        images: at most that many, (n, height, width, channels).
        size: from `computed_sizes`.
        replicas: the devices among which the batch is divided.
    """
    # One image alone is doubled.
    few = 2 * replicas if seam.current().SIZES_ROUND_ALIKE else BLOCK_ROWS
    least = size or few
    return images if len(images) >= least else _repeated(np.asarray(images), least)


def _repeated(images: NDArray[Any], count: int) -> NDArray[Any]:
    return images[np.arange(count) % len(images)]


def _kept(path: Path, fingerprint: str) -> dict[int, int]:
    """Return results that were kept; none of a file that is damaged."""
    try:
        document = json.loads(path.read_text())
        checksum = document.pop("checksum")
        if checksum != _checksum(document) or document["schema"] != SCHEMA:
            return {}
        if document["fingerprint"] != fingerprint:
            return {}
        return {int(size): int(at) for size, at in document["sizes"].items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}


def _keep(path: Path, fingerprint: str, sizes: dict[int, int]) -> None:
    document: dict[str, Any] = {"schema": SCHEMA, "fingerprint": fingerprint}
    document["sizes"] = {str(size): at for size, at in sizes.items()}
    document["checksum"] = _checksum(document)
    with suppress(OSError):  # a cache may be read-only
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(document))


def _checksum(document: dict[str, Any]) -> str:
    # A flipped bit would make training inexact without a word.
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()
