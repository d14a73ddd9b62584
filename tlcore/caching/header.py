"""Header: the document in the file of an entry, read into types.

Owns what the document says and which values are possible in one. Where it is in the
file, and whether its bytes are whole, is decided in `entry`: a document with a right
checksum may still have been written by something else.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tlcore.data import fields
from tlcore.data.fields import items, optional, record, whole, wrong
from tlcore.splitting.tensors import Tensor

_HEX_DIGITS = frozenset("0123456789abcdef")


@dataclass(frozen=True)
class Header:
    """What the document of an entry says.

    Attributes:
        prefix: sha256, in hex, of what computed the rows.
        rows: how many there are.
        tensors: what a row consists of.
        images: checksum of the list of images, in hex.
        checksums: of each block of rows, one for each tensor, in hex.
        about: the description that its builder passed.
    """

    prefix: str
    rows: int
    tensors: tuple[Tensor, ...]
    images: str
    checksums: tuple[tuple[str, ...], ...]
    about: Mapping[str, Any]

    @classmethod
    def from_document(cls, document: Any) -> "Header":
        """Return the header in a document of the present schema.

        Raises:
            ValueError: a field is missing or of another type; the message names it.
        """
        _HEADER(document, "")
        return cls(
            document["prefix"],
            document["rows"],
            tuple(
                Tensor(t["name"], tuple(t["shape"]), t["dtype"])
                for t in document["tensors"]
            ),
            document["images"],
            tuple(tuple(block) for block in document["checksums"]),
            document["about"],
        )


def parse_json(text: bytes) -> Any:
    """Return a JSON value; ValueError if there is none, or it is nested too deeply."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def dtype_of(name: str) -> np.dtype[Any]:
    """Return the type of a tensor's values by its name, such as "bfloat16"."""
    import ml_dtypes  # noqa: F401 - importing it registers bfloat16 with NumPy

    return np.dtype(name)


def _hexadecimal(digits: int) -> fields.Check:
    def check(value: Any, at: str) -> None:
        fields.text(value, at)
        if len(value) != digits or not _HEX_DIGITS.issuperset(value):
            raise wrong(at, f"{digits} hexadecimal digits", value)

    return check


def _dtype(value: Any, at: str) -> None:
    fields.text(value, at)
    try:
        dtype = dtype_of(value)
    except (TypeError, ValueError) as error:
        raise wrong(at, "a type such as 'float32'", value) from error
    # Rows of a type that NumPy stores otherwise would be read as other values, and
    # objects as addresses in memory.
    plain = dtype.name == value and dtype.kind not in "OSUMm"
    if not plain or dtype.itemsize != Tensor("", (), value).nbytes:
        raise wrong(at, "a type of numbers such as 'float32'", value)


_HEADER = record(
    {
        "prefix": _hexadecimal(64),
        "rows": whole(),
        "tensors": items(
            record(
                {
                    "name": fields.text,
                    "shape": items(optional(whole())),
                    "dtype": _dtype,
                },
                required=("name", "shape", "dtype"),
            )
        ),
        "images": _hexadecimal(32),
        "checksums": items(items(_hexadecimal(32))),
        "about": fields.by_name(lambda value, at: None),  # noqa: ARG005 - anything
    },
    required=("prefix", "rows", "tensors", "images", "checksums", "about"),
)
