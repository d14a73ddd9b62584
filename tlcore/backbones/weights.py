"""Weights: read from files, and identified by their bits.

Owns reading a weights file into a network, with errors that say what does not fit, and
the fingerprint of variables. Which file a name stands for is decided in `loading`.
"""

import hashlib
import math
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import h5py
import keras

IMAGENET_CLASSES = 1000
"""Outputs of a network with its top."""

HDF5_DAMAGE = (OSError, RuntimeError, ValueError, LookupError, TypeError, MemoryError)
"""What h5py raises on a damaged file, depending on which part of it is damaged."""


def load_weights(network: keras.Model, path: Path) -> None:
    """Read a weights file of exactly this architecture into `network`.

    Keras checks the shape of each weight it looks for, but not whether the file holds
    more: the file of a larger network can load without a warning. So the count of
    numbers must agree, too.

    Raises:
        ValueError: the file is damaged, of another format or of another architecture.
    """
    expected = network.count_params()
    found = _count_numbers(path)
    top = "with" if network.output_shape[-1] == IMAGENET_CLASSES else "without"
    remedy = (
        "Pass the file that `save_weights` wrote for this network, of the same alpha "
        f"and {top} top."
    )
    if found != expected:
        raise ValueError(
            f"The weights of {network.name} hold {expected:,} numbers. "
            f"Received: weights={str(path)!r}, which holds {found:,}. {remedy}"
        )
    try:
        with warnings.catch_warnings():
            # Keras only warns where it leaves some layers without weights of the file.
            warnings.simplefilter("error", UserWarning)
            network.load_weights(path)
    except Exception as error:
        # HDF5 reports a damaged part, and Keras a foreign one, with any of many.
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(
            f"The weights must be those of {network.name}. "
            f"Received: weights={str(path)!r}, which does not fit: {reason} {remedy}"
        ) from error


def _count_numbers(path: Path) -> int:
    total = 0

    def add(name: str, item: object) -> None:
        nonlocal total
        # The file of a compiled model also holds the state of its optimizer, and of its
        # random layers.
        not_weights = {"optimizer", "optimizer_weights", "seed_generator"}
        if isinstance(item, h5py.Dataset) and not_weights.isdisjoint(name.split("/")):
            total += math.prod(item.shape or (0,) * (item.shape is None))

    if not path.name.endswith(".h5"):
        raise ValueError(
            "A weights file must end in `.weights.h5`, or in `.h5` for the files of "
            f"keras.applications. Received: weights={str(path)!r}. Write one with "
            "`model.save_weights`."
        )
    try:
        with h5py.File(path, "r") as file:
            file.visititems(add)
    except HDF5_DAMAGE as error:
        raise ValueError(
            "A weights file must be a whole HDF5 file. "
            f"Received: weights={str(path)!r}, which cannot be read: {error}. "
            "Copy or download it again."
        ) from error
    return total


def damaged_weights(folder: Path) -> tuple[Path, ...]:
    """Return the HDF5 files in a folder that cannot be read to their end.

    Example:
        >>> Path("kept").mkdir()
        >>> _ = Path("kept/cut.h5").write_bytes(b"HDF")
        >>> [path.name for path in damaged_weights(Path("kept"))]
        ['cut.h5']
    """
    return tuple(path for path in sorted(folder.glob("*.h5")) if not _is_whole(path))


def _is_whole(path: Path) -> bool:
    def read(_: str, item: object) -> None:
        if isinstance(item, h5py.Dataset):
            item[()]

    try:
        with h5py.File(path, "r") as file:
            file.visititems(read)
    except HDF5_DAMAGE:
        return False
    return True


def existing_file(weights: str | Path) -> Path:
    """Return the path of a weights file.

    Raises:
        FileNotFoundError: there is no such file.
    """
    if isinstance(weights, str | Path) and Path(weights).is_file():
        return Path(weights)
    raise FileNotFoundError(
        'weights must be "imagenet", None or the path of an existing file. '
        f"Received: weights={weights!r}, and there is no such file."
    )


def fingerprint(variables: Iterable[Any]) -> str:
    """Return the sha256 of variables: their order, shapes, types and bits, not names.

    Example:
        >>> import keras
        >>> one, other = (keras.Variable([1.0, 2.0], name=name) for name in "ab")
        >>> fingerprint([one]) == fingerprint([other])
        True
    """
    digest = hashlib.sha256()
    for variable in variables:
        array = keras.ops.convert_to_numpy(variable)
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
