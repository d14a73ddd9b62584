"""State file: a document and arrays in one file, read whole or refused.

Owns the format: eight bytes that name it, the length of the header, the header in JSON,
the arrays one after the other, and a checksum of all of it. Nothing in it is code, so
that reading runs none. What a state consists of is in `training_state`; which files a
folder keeps is in `state_folder`.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_dtypes  # noqa: F401 - importing it registers bfloat16 with NumPy
import numpy as np
import xxhash
from numpy.typing import NDArray

from tlcore.files import replacing

_MAGIC = b"TLSTATE\x01"
"""The last byte is the version of this format."""
_ALIGNED = 64
_DIGEST_BYTES = 16
_LENGTH_BYTES = 8


def write_state_file(
    path: Path, document: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]
) -> None:
    """Write a document and arrays, whole or not at all.

    Args:
        path: the file; one of that name is replaced.
        document: what JSON can hold.
        arrays: of any shape and of a type of numbers.

    Raises:
        OSError: the file cannot be written.

    Example:
        >>> arrays = {"kernel": np.arange(3, dtype="float32")}
        >>> write_state_file(Path("one.state"), {"epoch": 2}, arrays)
        >>> document, arrays = read_state_file(Path("one.state"))
        >>> document, arrays["kernel"].tolist()
        ({'epoch': 2}, [0.0, 1.0, 2.0])
    """
    places, at = [], 0
    for name, array in arrays.items():
        about = {"name": name, "shape": array.shape, "dtype": array.dtype.name}
        places.append({**about, "at": at})
        at += _padded(array.nbytes)
    header = json.dumps({"document": document, "arrays": places}).encode()
    header += b" " * (-(len(_MAGIC) + _LENGTH_BYTES + len(header)) % _ALIGNED)
    digest = xxhash.xxh3_128()
    with replacing(path) as aside, aside.open("wb") as file:

        def put(data: bytes | memoryview) -> None:
            digest.update(data)
            file.write(data)

        put(_MAGIC + len(header).to_bytes(_LENGTH_BYTES, "little") + header)
        for array in arrays.values():
            # As bytes: bfloat16 has no buffer format.
            put(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
            put(bytes(_padded(array.nbytes) - array.nbytes))
        file.write(digest.digest())


def read_state_file(path: Path) -> tuple[Any, dict[str, NDArray[Any]]]:
    """Return the document and the arrays in a file, each array in memory of its own.

    Raises:
        ValueError: the file is damaged, or it is of another kind or version.
        OSError: the file cannot be read.
    """
    data = path.read_bytes()
    begin = len(_MAGIC) + _LENGTH_BYTES
    if data[: len(_MAGIC) - 1] != _MAGIC[:-1] or len(data) < begin + _DIGEST_BYTES:
        raise ValueError("it is no state, or the beginning of one")
    if data[len(_MAGIC) - 1] != _MAGIC[-1]:
        raise ValueError("it is of another version of tlcore")
    body = memoryview(data)[:-_DIGEST_BYTES]
    if xxhash.xxh3_128(body).digest() != data[-_DIGEST_BYTES:]:
        raise ValueError("its checksum is not that of its content")
    # From here on the bytes are those that were written.
    end = begin + int.from_bytes(data[len(_MAGIC) : begin], "little")
    header = json.loads(data[begin:end])
    arrays = {}
    for place in header["arrays"]:
        dtype, at = np.dtype(place["dtype"]), end + place["at"]
        count = int(np.prod(place["shape"], dtype=np.int64))
        raw = np.frombuffer(body[at : at + count * dtype.itemsize], np.uint8)
        arrays[place["name"]] = raw.copy().view(dtype).reshape(place["shape"])
    return header["document"], arrays


def _padded(nbytes: int) -> int:
    return nbytes + -nbytes % _ALIGNED
