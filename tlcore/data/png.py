"""PNG: pixels as the bytes of a PNG file, identical on every machine.

Owns the encoding of generated images. Pillow's bytes depend on its version and on the
zlib it was built with, and the digests of generated images would change with them. Here
the pixels are stored uncompressed. Reading images is in `images`.
"""

import struct
import zlib

import numpy as np
from numpy.typing import NDArray


def encode_png(image: NDArray[np.uint8]) -> bytes:
    """Return an RGB image of shape (height, width, 3) as an uncompressed PNG.

    Example:
        >>> encode_png(np.zeros((16, 16, 3), np.uint8))[1:4]
        b'PNG'
    """
    height, width, _ = image.shape
    # Each row starts with the number of its filter, 0 for none.
    rows = np.zeros((height, 1 + 3 * width), dtype=np.uint8)
    rows[:, 1:] = image.reshape(height, 3 * width)
    data = rows.tobytes()
    # 8 bits per channel, colour type 2 (RGB), default methods, not interlaced.
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
    # Not zlib.compress(data, 0): builds of zlib, and zlib-ng, cut blocks differently.
    parts = [b"\x78\x01"]
    for start in range(0, len(data), 0xFFFF):  # a stored block holds no more
        block = data[start : start + 0xFFFF]
        is_last = start + 0xFFFF >= len(data)
        parts.append(struct.pack("<BHH", is_last, len(block), 0xFFFF - len(block)))
        parts.append(block)
    parts.append(struct.pack(">I", zlib.adler32(data)))
    return b"".join(parts)
