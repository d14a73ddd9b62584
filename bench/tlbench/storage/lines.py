"""Lines of a history: JSON with a checksum, whatever the line holds.

Owns how a line is written and how its checksum is checked. What the lines say is in
`history` and `summaries`.
"""

import json
import zlib
from collections.abc import Mapping
from typing import Any

LINE_BYTES = 2048
"""The most that a line holds, its newline included.

The file is committed and grows by every case of every run: 2 kB keep a year of a suite
in megabytes. It is also how far back an append looks for the end of the last line.
"""


def encoded(document: Mapping[str, Any]) -> bytes:
    """Return a document as a line, with its checksum."""
    # The checksum is the last key, and covers the text before it was added.
    text = _text(document)
    return f'{text[:-1]},"crc":"{_checksum(text)}"}}\n'.encode()


def decoded(data: bytes) -> dict[str, Any]:
    """Return the document in a line, without its checksum, which is not checked yet."""
    document: dict[str, Any] = json.loads(data.decode("utf-8"))
    return document


def check(document: dict[str, Any]) -> None:
    """Take the checksum from a document and compare it.

    Raises:
        KeyError, ValueError: there is none, or it does not match.
    """
    checksum = document.pop("crc")
    # Dumped again rather than cut from the line, so that white space does not count;
    # JSON keeps the order of keys and floats survive it exactly.
    if checksum != _checksum(_text(document)):
        raise ValueError("its checksum does not match")


def _text(document: Mapping[str, Any]) -> str:
    return json.dumps(
        document, ensure_ascii=False, allow_nan=False, separators=(",", ":")
    )


def _checksum(text: str) -> str:
    # CRC-32 of the rest of the line: it detects any single flipped bit and costs eight
    # characters. It does not protect against intent; version control does.
    return f"{zlib.crc32(text.encode()):08x}"
