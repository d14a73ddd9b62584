"""Entry: the file that holds the stored outputs of one prefix for some images.

Owns the layout of the file, its checksums, reading rows through a memory map and
writing blocks in any order. Where the files lie is in `store`.

The file: the rows of each tensor, one tensor after the other; the sha256 of each row's
image; a JSON document that describes them; and a tail of fixed size that leads to it.
"""

import json
import math
import mmap
import os
import struct
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import xxhash
from numpy.typing import NDArray

from tlcore.splitting.tensors import Tensor

SCHEMA = 1
# History of the format of an entry:
# 1  the first.

BLOCK_ROWS = 32
"""Rows under one checksum, and images computed at a time."""
_MAGIC = b"TLFEATS\x01"
_TAIL = struct.Struct("<16sQ8s")
"""Checksum of the document, its length, and what such a file ends with."""
_DIGEST_BYTES = 32
_RESIDENT_BYTES = 16 << 20
"""How much may be read through the map before its pages are given back."""
_FAULT_BYTES = 64 << 10
"""What Linux maps around a byte that is read for the first time."""


class DamagedEntryError(ValueError):
    """An entry that is not what was written, or not in this version's form."""


@dataclass(frozen=True)
class Key:
    """What an entry is addressed by.

    Attributes:
        prefix: sha256, in hex, of what computed the rows.
        images: sha256, in hex, of each row's image, sorted, each once.
    """

    prefix: str
    images: tuple[str, ...] = field(repr=False)

    @cached_property
    def name(self) -> str:
        """Return the name of its file without suffix."""
        digest = xxhash.xxh3_128("".join(self.images).encode())
        return f"{self.prefix[:32]}-{digest.hexdigest()}"


@dataclass(frozen=True)
class EntryLayout:
    """Where everything lies in the file of an entry."""

    tensors: tuple[Tensor, ...]
    rows: int

    @cached_property
    def offsets(self) -> tuple[int, ...]:
        """Return where each tensor begins, and where the last one ends."""
        ends = np.cumsum([0, *(t.nbytes * self.rows for t in self.tensors)])
        return tuple(int(end) for end in ends)

    @property
    def blocks(self) -> int:
        """Return the number of blocks of each tensor."""
        return math.ceil(self.rows / BLOCK_ROWS)

    def spans(self, block: int) -> Iterator[tuple[int, int]]:
        """Yield offset and length of a block in each tensor."""
        first = block * BLOCK_ROWS
        rows = min(BLOCK_ROWS, self.rows - first)
        for tensor, offset in zip(self.tensors, self.offsets, strict=False):
            yield offset + first * tensor.nbytes, rows * tensor.nbytes


class Features:
    """The rows of an entry, memory-mapped; open until it is garbage.

    Attributes:
        tensors: what a row consists of.
        key: what it is addressed by.
        images: sha256 of each row's image, in hex, sorted.
        path: the file.
    """

    def __init__(self, file: BinaryIO, tensors: Sequence[Tensor], key: Key) -> None:
        self.path = Path(file.name)
        self.tensors = tuple(tensors)
        self.key = key
        self.images = key.images
        layout = EntryLayout(self.tensors, len(self.images))
        self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._arrays = [
            np.frombuffer(
                self._map, np.uint8, tensor.nbytes * layout.rows, offset
            ).reshape(layout.rows, tensor.nbytes)
            for tensor, offset in zip(self.tensors, layout.offsets, strict=False)
        ]
        self._resident = 0

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.images)

    def take(self, rows: NDArray[np.integer[Any]]) -> list[NDArray[Any]]:
        """Return a copy of some rows: one array per tensor, rows first.

        Raises:
            IndexError: there is no such row; one below 0 is none.
        """
        if len(rows) and not 0 <= rows.min() <= rows.max() < len(self):
            raise IndexError(
                f"Rows must be 0 to {len(self) - 1}. "
                f"Received: {rows.min()} to {rows.max()}."
            )
        taken = []
        for tensor, array in zip(self.tensors, self._arrays, strict=True):
            part = array[rows]
            self._resident += len(part) * (tensor.nbytes + _FAULT_BYTES)
            shape = (len(part), *(n or 1 for n in tensor.shape))
            taken.append(part.view(_dtype(tensor.dtype)).reshape(shape))
        if self._resident > _RESIDENT_BYTES and hasattr(mmap, "MADV_DONTNEED"):
            # They stay in the page cache, and no longer count as this process's.
            self._map.madvise(mmap.MADV_DONTNEED)
            self._resident = 0
        return taken


class Builder:
    """The file of an entry while it is written, block by block, in any order.

    Args:
        path: where to write.
        tensors: what a row consists of.
        rows: how many there will be.
        create: whether to make the file; another process's may be written to.

    Raises:
        OSError: there is no room for it, or no permission.
    """

    def __init__(
        self, path: Path, tensors: Sequence[Tensor], rows: int, *, create: bool = True
    ) -> None:
        self.path = path
        self.layout = EntryLayout(tuple(tensors), rows)
        self.checksums: dict[int, list[str]] = {}
        flags = os.O_RDWR | (os.O_CREAT | os.O_EXCL if create else 0)
        self._file = os.open(path, flags, 0o644)
        if create and hasattr(os, "posix_fallocate"):
            # A disk that is full is better found out about before the work.
            try:
                os.posix_fallocate(self._file, 0, max(1, self.layout.offsets[-1]))
            except BaseException:
                self.close()  # until then it takes room, also when it is removed
                raise

    def write(self, block: int, arrays: Sequence[NDArray[Any]]) -> None:
        """Write the rows of one block: one array per tensor, rows first."""
        checksums = []
        for (offset, length), array in zip(
            self.layout.spans(block), arrays, strict=True
        ):
            data = np.ascontiguousarray(array).view(np.uint8).reshape(-1).data
            if len(data) != length:
                raise ValueError(
                    f"A block must hold {length} bytes. Received: {len(data)}."
                )
            _write_all(self._file, data, offset)
            checksums.append(xxhash.xxh3_128_hexdigest(data))
        self.checksums[block] = checksums

    def finish(self, key: Key, about: dict[str, Any]) -> None:
        """Write what describes the rows.

        Raises:
            ValueError: a block was not written.
        """
        layout = self.layout
        missing = set(range(layout.blocks)) - set(self.checksums)
        if missing:
            raise ValueError(
                f"All {layout.blocks} blocks must be written. "
                f"Received: none of number {min(missing)}."
            )
        checksums = [self.checksums[block] for block in range(layout.blocks)]
        os.ftruncate(self._file, layout.offsets[-1])
        end = memoryview(entry_ending(layout, key, checksums, about))
        _write_all(self._file, end, layout.offsets[-1])

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


def read_features(path: Path, key: Key | None = None) -> Features:
    """Return the rows of an entry's file, every byte of it checked.

    Args:
        path: the file.
        key: what it must be addressed by, if that is known.

    Raises:
        DamagedEntryError: it is not what was written.
        OSError: it cannot be read, or there is none.
    """
    with path.open("rb", buffering=0) as file:
        document, layout = read_document(file)
        for block, checksums in enumerate(document["checksums"]):
            spans = layout.spans(block)
            for (offset, length), checksum in zip(spans, checksums, strict=True):
                data = _read_at(file, offset, length)
                if xxhash.xxh3_128_hexdigest(data) != checksum:
                    raise DamagedEntryError(
                        f"{path}: block {block} is not what was written."
                    )
        images = _read_at(file, layout.offsets[-1], layout.rows * _DIGEST_BYTES)
        if xxhash.xxh3_128_hexdigest(images) != document["images"]:
            raise DamagedEntryError(
                f"{path}: its list of images is not what was written."
            )
        names, digits = images.hex(), 2 * _DIGEST_BYTES
        found = Key(
            document["prefix"],
            tuple(names[at : at + digits] for at in range(0, len(names), digits)),
        )
        if key is not None and key != found:
            raise DamagedEntryError(f"{path}: it belongs to another name.")
        # The same open file: one of that name may have taken its place meanwhile.
        return Features(file, layout.tensors, found)


def entry_ending(
    layout: EntryLayout, key: Key, checksums: list[list[str]], about: dict[str, Any]
) -> bytes:
    """Return what follows the rows in the file of an entry."""
    images = bytes.fromhex("".join(key.images))
    document = json.dumps(
        {
            "schema": SCHEMA,
            "prefix": key.prefix,
            "rows": layout.rows,
            "tensors": [asdict(tensor) for tensor in layout.tensors],
            "images": xxhash.xxh3_128_hexdigest(images),
            "checksums": checksums,
            "about": about,
        }
    ).encode()
    tail = _TAIL.pack(xxhash.xxh3_128_digest(document), len(document), _MAGIC)
    return images + document + tail


def read_document(file: BinaryIO) -> tuple[dict[str, Any], EntryLayout]:
    """Return the document of an entry and its layout, both checked."""
    size = os.fstat(file.fileno()).st_size
    if size < _TAIL.size:
        raise DamagedEntryError(f"{file.name}: it is cut off.")
    tail = _TAIL.unpack(_read_at(file, size - _TAIL.size, _TAIL.size))
    checksum, length, magic = tail
    start = size - _TAIL.size - length
    if magic != _MAGIC or start < 0:
        raise DamagedEntryError(f"{file.name}: it does not end as an entry does.")
    text = _read_at(file, start, length)
    if xxhash.xxh3_128_digest(text) != checksum:
        raise DamagedEntryError(
            f"{file.name}: its description is not what was written."
        )
    document = json.loads(text)
    if document["schema"] != SCHEMA:
        raise DamagedEntryError(
            f"{file.name}: its schema must be {SCHEMA}. "
            f"Received: schema={document['schema']}."
        )
    tensors = tuple(
        Tensor(t["name"], tuple(t["shape"]), t["dtype"]) for t in document["tensors"]
    )
    layout = EntryLayout(tensors, document["rows"])
    if layout.offsets[-1] + layout.rows * _DIGEST_BYTES != start:
        raise DamagedEntryError(f"{file.name}: it is not as long as it says.")
    return document, layout


def _read_at(file: BinaryIO, offset: int, length: int) -> bytearray:
    data = bytearray(length)
    view, done = memoryview(data), 0
    while done < length:
        count = os.preadv(file.fileno(), [view[done:]], offset + done)
        if not count:
            raise DamagedEntryError(f"{file.name}: it is cut off.")
        done += count
    return data


def _write_all(file: int, data: memoryview, offset: int) -> None:
    done = 0
    while done < len(data):
        done += os.pwrite(file, data[done:], offset + done)


def _dtype(name: str) -> np.dtype[Any]:
    import ml_dtypes  # noqa: F401 - has NumPy know bfloat16

    return np.dtype(name)
