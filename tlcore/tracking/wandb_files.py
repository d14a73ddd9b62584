"""Wandb files: which epochs the files of Weights & Biases on this machine hold.

Owns reading them. Weights & Biases writes every 15 seconds: of a process that was
killed the last epochs may be missing, and nobody else can say which. A file is a log of
LevelDB (blocks of 32 KiB of chunks, each with checksum, length and type) that begins
with seven bytes; its records are protocol buffers of the package `wandb`.
"""

import struct
from collections.abc import Iterator
from pathlib import Path

_HEADER_BYTES = 7
_BLOCK_BYTES = 32 * 1024
_CHUNK = struct.Struct("<IHB")
_FULL, _FIRST, _LAST = 1, 2, 4


def kept_epochs(folder: Path, run_id: str, *, but: Path | None = None) -> set[int]:
    """Return the epochs that the files of a run hold.

    Args:
        folder: the folder `wandb`.
        run_id: of the run; each process that went on with it left a folder.
        but: a folder that is left out.
    """
    found: set[int] = set()
    for path in sorted(folder.glob(f"*run-*-{run_id}*/run-{run_id}.wandb")):
        if path.parent != but:
            found |= epochs_in(path)
    return found


def epochs_in(path: Path) -> set[int]:
    """Return the steps of the records of history in a file."""
    from wandb.proto.wandb_internal_pb2 import Record

    found = set()
    for content in records(path.read_bytes()):
        record = Record.FromString(content)
        if record.WhichOneof("record_type") == "history":
            found.add(record.history.step.num)
    return found


def records(content: bytes) -> Iterator[bytes]:
    """Yield the whole records of a file; where it was torn off, it ends.

    Example:
        >>> head = b":W&B" + bytes(3)
        >>> list(records(head + struct.pack("<IHB", 0, 2, 1) + b"ab" + b"torn"))
        [b'ab']
    """
    at, parts = _HEADER_BYTES, b""
    while at + _CHUNK.size <= len(content):
        left = _BLOCK_BYTES - at % _BLOCK_BYTES
        if left < _CHUNK.size:  # the rest of a block is empty
            at += left
            continue
        _, length, kind = _CHUNK.unpack_from(content, at)
        start = at + _CHUNK.size
        at = start + length
        if not kind or at > len(content):
            return
        chunk = content[start:at]
        parts = chunk if kind in {_FULL, _FIRST} else parts + chunk
        if kind in {_FULL, _LAST}:
            yield parts
