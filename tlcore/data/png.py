"""PNG: pixels as the bytes of a file, the same ones everywhere.

Not Pillow: its bytes differ by version and by the zlib that it was built with. Here the
pixels are stored uncompressed, so that the bytes of a generated image never change.
"""

import struct
import zlib

import numpy as np
from numpy.typing import NDArray


def encode_png(image: NDArray[np.uint8]) -> bytes:
    """Return `image` as a PNG whose data is stored, since zlib versions differ."""
    height, width, _ = image.shape
    # Each row starts with its filter, 0 for none.
    rows = np.zeros((height, 1 + 3 * width), dtype=np.uint8)
    rows[:, 1:] = image.reshape(height, 3 * width)
    data = rows.tobytes()
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            _png_chunk(b"IHDR", header),
            _png_chunk(b"IDAT", _stored_zlib(data)),
            _png_chunk(b"IEND", b""),
        )
    )


def _png_chunk(kind: bytes, data: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(kind + data))
    return struct.pack(">I", len(data)) + kind + data + checksum


def _stored_zlib(data: bytes) -> bytes:
    """Return `data` as a zlib stream of stored blocks (RFC 1950 and 1951)."""
    parts = [b"\x78\x01"]
    for start in range(0, len(data), 0xFFFF):
        block = data[start : start + 0xFFFF]
        is_last = start + 0xFFFF >= len(data)
        parts.append(struct.pack("<BHH", is_last, len(block), 0xFFFF - len(block)))
        parts.append(block)
    parts.append(struct.pack(">I", zlib.adler32(data)))
    return b"".join(parts)
