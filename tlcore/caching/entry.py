"""Entry: the file that holds the outputs of one prefix for a set of images.

Owns the layout of the file, its checksums, reading rows through a memory map and
writing blocks in any order. An entry is addressed by what it was computed from and
never changes. Nothing here knows models or images, only keys, rows and tensors. Which
folder the files are in, and which of them are deleted, is decided in `store`.

The file holds the rows of each tensor, one tensor after the other; the sha256 of each
row's image; a JSON document that describes both; and a tail of fixed size that locates
the document.
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

# One number for both, so that whoever computes a batch writes a whole block: blocks go
# to the file in any order and from several processes, and none is checksummed twice.
BLOCK_ROWS = 32
"""Rows under one checksum, and images in one batch."""
_MAGIC = b"TLFEATS\x01"
# At the end, where the checksums are known, and where a file that was cut off lacks it.
_TAIL = struct.Struct("<16sQ8s")
"""Checksum of the document, its length, and the magic bytes that end the file."""
_DIGEST_BYTES = 32
_RESIDENT_BYTES = 16 << 20
"""How much may be read through the map before its pages are released."""
_FAULT_BYTES = 64 << 10
"""What Linux maps around the first byte that is read (`fault_around_bytes`)."""


class DamagedEntryError(ValueError):
    """A file that does not hold what was written, or has another version's format."""


@dataclass(frozen=True)
class Key:
    """What an entry is addressed by.

    Attributes:
        prefix: sha256, in hex, of what computed the rows.
        images: sha256, in hex, of each row's image, sorted, each once.

    Example:
        >>> Key("ab" * 32, ("00" * 32, "01" * 32)).name
        'abababababababababababababababab-6d3817e296c34233d36ae158b5c1bbfb'
    """

    prefix: str
    images: tuple[str, ...] = field(repr=False)

    @cached_property
    def name(self) -> str:
        """Return the name of the entry's file, without the suffix."""
        digest = xxhash.xxh3_128("".join(self.images).encode())
        return f"{self.prefix[:32]}-{digest.hexdigest()}"


@dataclass(frozen=True)
class EntryLayout:
    """Where everything is in the file of an entry.

    Attributes:
        tensors: what a row consists of.
        rows: how many there are.

    Example:
        >>> tensors = Tensor("conv", (2, 2), "float32"), Tensor("pool", (), "float16")
        >>> layout = EntryLayout(tensors, rows=40)
        >>> layout.offsets, layout.blocks
        ((0, 640, 720), 2)
        >>> list(layout.spans(1))  # offset and length of the last 8 rows, by tensor
        [(512, 128), (704, 16)]
    """

    tensors: tuple[Tensor, ...]
    rows: int

    @cached_property
    def offsets(self) -> tuple[int, ...]:
        """Return where each tensor starts, and where the last one ends."""
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
    """The rows of an entry, memory-mapped until this object is collected.

    Attributes:
        tensors: what a row consists of.
        key: what the entry is addressed by.
        images: sha256, in hex, of each row's image, sorted.
        path: the file.
    """

    def __init__(self, file: BinaryIO, tensors: Sequence[Tensor], key: Key) -> None:
        self.path = Path(file.name)
        self.tensors = tuple(tensors)
        self.key = key
        self.images = key.images
        layout = EntryLayout(self.tensors, len(self.images))
        # The map outlives `file`, and the entry's name: one that is deleted to make
        # room, or built again, stays readable to whoever has it open.
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
            IndexError: a row is negative, or there are not so many.
        """
        # NumPy would read row -1 as the last one, which is another image's.
        if len(rows) and not 0 <= rows.min() <= rows.max() < len(self):
            raise IndexError(
                f"rows must be from 0 to {len(self) - 1}. "
                f"Received: rows={rows.min()} to {rows.max()}. Look the row of an "
                "image up in `images`."
            )
        taken = []
        for tensor, array in zip(self.tensors, self._arrays, strict=True):
            part = array[rows]
            # An estimate from above: every row may fault its own surroundings in.
            self._resident += len(part) * (tensor.nbytes + _FAULT_BYTES)
            shape = (len(part), *(n or 1 for n in tensor.shape))
            taken.append(part.view(dtype_of(tensor.dtype)).reshape(shape))
        if self._resident > _RESIDENT_BYTES and hasattr(mmap, "MADV_DONTNEED"):
            # Without it the resident memory of training grows to the size of the
            # entry, and a container's limit kills the process. The pages remain in
            # the page cache: to read them again costs a fault and no disk access.
            self._map.madvise(mmap.MADV_DONTNEED)
            self._resident = 0
        return taken


class Builder:
    """The file of an entry while it is written, block by block, in any order.

    Args:
        path: where to write.
        tensors: what a row consists of.
        rows: how many there will be.
        create: whether to create the file; a worker writes to its parent's.

    Raises:
        OSError: there is no room for it, or no permission.

    Example:
        >>> key = Key("ab" * 32, ("00" * 32, "01" * 32))
        >>> builder = Builder(Path("rows"), [Tensor("pool", (2,), "float32")], rows=2)
        >>> builder.write(0, [np.array([[1, 2], [3, 4]], "float32")])
        >>> builder.finish(key, about={"cut": "pool"})
        >>> builder.close()
        >>> read_features(Path("rows"), key).take(np.array([1]))
        [array([[3., 4.]], dtype=float32)]
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
            # A sparse file would meet a full disk only after hours of computing.
            try:
                # It refuses a length of 0; `finish` truncates to the true one.
                os.posix_fallocate(self._file, 0, max(1, self.layout.offsets[-1]))
            except BaseException:
                self.close()  # a file that is open takes room even after it is removed
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
                    f"Block {block} must hold {length} bytes of each tensor's rows. "
                    f"Received: {len(data)} bytes. Pass {BLOCK_ROWS} rows, fewer only "
                    "in the last block."
                )
            _write_all(self._file, data, offset)
            # It guards against bad disks and interrupted copies, not against forgery,
            # and is some ten times as fast as sha256.
            checksums.append(xxhash.xxh3_128_hexdigest(data))
        self.checksums[block] = checksums

    def finish(self, key: Key, about: dict[str, Any]) -> None:
        """Write the images, the document and the tail behind the rows.

        Raises:
            ValueError: a block was not written.
        """
        layout = self.layout
        missing = set(range(layout.blocks)) - set(self.checksums)
        if missing:
            raise ValueError(
                f"All {layout.blocks} blocks must be written. Received: no block "
                f"{min(missing)}. Write it before `finish`."
            )
        checksums = [self.checksums[block] for block in range(layout.blocks)]
        os.ftruncate(self._file, layout.offsets[-1])
        end = memoryview(entry_ending(layout, key, checksums, about))
        _write_all(self._file, end, layout.offsets[-1])

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


def read_features(path: Path, key: Key | None = None) -> Features:
    """Return the rows of an entry's file, after every byte of it is checked.

    Args:
        path: the file.
        key: what the entry must be addressed by, if that is known.

    Raises:
        DamagedEntryError: the file does not hold what was written.
        OSError: the file does not exist or cannot be read.
    """
    with path.open("rb", buffering=0) as file:
        document, layout = read_document(file)
        for block, checksums in enumerate(document["checksums"]):
            spans = layout.spans(block)
            for (offset, length), checksum in zip(spans, checksums, strict=True):
                data = _read_at(file, offset, length)
                if xxhash.xxh3_128_hexdigest(data) != checksum:
                    raise _damaged(path, f"the checksum of block {block} is wrong")
        images = _read_at(file, layout.offsets[-1], layout.rows * _DIGEST_BYTES)
        if xxhash.xxh3_128_hexdigest(images) != document["images"]:
            raise _damaged(path, "the checksum of its list of images is wrong")
        names, digits = images.hex(), 2 * _DIGEST_BYTES
        found = Key(
            document["prefix"],
            tuple(names[at : at + digits] for at in range(0, len(names), digits)),
        )
        if key is not None and key != found:
            raise _damaged(path, "its key is not the one of its name")
        # The file that was checked, not its path: another process may have replaced
        # what the path names since.
        return Features(file, layout.tensors, found)


def entry_ending(
    layout: EntryLayout, key: Key, checksums: list[list[str]], about: dict[str, Any]
) -> bytes:
    """Return the bytes that follow the rows in the file of an entry."""
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
    """Return the document of an entry and its layout, both checked.

    Raises:
        DamagedEntryError: the file has no whole document, or one of another schema.
    """
    size = os.fstat(file.fileno()).st_size
    if size < _TAIL.size:
        raise _damaged(file.name, "it is shorter than its tail")
    tail = _TAIL.unpack(_read_at(file, size - _TAIL.size, _TAIL.size))
    checksum, length, magic = tail
    start = size - _TAIL.size - length
    if magic != _MAGIC or start < 0:
        raise _damaged(file.name, "it does not end with the tail of an entry")
    text = _read_at(file, start, length)
    if xxhash.xxh3_128_digest(text) != checksum:
        raise _damaged(file.name, "the checksum of its document is wrong")
    document = json.loads(text)
    if document["schema"] != SCHEMA:
        raise DamagedEntryError(
            f"The schema of an entry must be {SCHEMA}. Received: "
            f"schema={document['schema']!r} in {file.name}. Use the tlcore that wrote "
            "it, or remove the file."
        )
    tensors = tuple(
        Tensor(t["name"], tuple(t["shape"]), t["dtype"]) for t in document["tensors"]
    )
    layout = EntryLayout(tensors, document["rows"])
    if layout.offsets[-1] + layout.rows * _DIGEST_BYTES != start:
        raise _damaged(file.name, "it has not the length that its document states")
    return document, layout


def _damaged(path: str | Path, finding: str) -> DamagedEntryError:
    return DamagedEntryError(
        "An entry of the cache must hold what was written. "
        f"Received: {path}, but {finding}. Remove the file; `fit` computes it again."
    )


def _read_at(file: BinaryIO, offset: int, length: int) -> bytearray:
    data = bytearray(length)
    view, done = memoryview(data), 0
    # Linux moves at most 2 GiB in one call, and may move less.
    while done < length:
        count = os.preadv(file.fileno(), [view[done:]], offset + done)
        if not count:
            raise _damaged(file.name, "it ends too early")
        done += count
    return data


def _write_all(file: int, data: memoryview, offset: int) -> None:
    done = 0
    while done < len(data):
        done += os.pwrite(file, data[done:], offset + done)


def dtype_of(name: str) -> np.dtype[Any]:
    """Return the NumPy type of a tensor's type, "bfloat16" included.

    Example:
        >>> dtype_of("float32")
        dtype('float32')
    """
    import ml_dtypes  # noqa: F401 - importing it registers bfloat16 with NumPy

    return np.dtype(name)
