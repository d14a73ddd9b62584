"""Formats: which files are images, by their names and their first bytes.

Owns the formats that are read, how each begins, and what to install where one cannot be
read here. Pixels are decoded in `images`; folders are searched in `finding`.
"""

import importlib
from collections.abc import Mapping
from functools import cache

from PIL import Image

from tlcore.arguments import listed
from tlcore.terminal.characters import visible

SUFFIXES = (
    ".avif",
    ".bmp",
    ".gif",
    ".heic",
    ".heif",
    ".jfif",
    ".jpe",
    ".jpeg",
    ".jpg",
    ".pbm",
    ".pgm",
    ".png",
    ".pnm",
    ".ppm",
    ".tif",
    ".tiff",
    ".webp",
)
"""The endings of the names of image files, in upper or lower case.

A file of another name is an image if it begins like one (`format_of`).
"""

NAMES = "JPEG, PNG, GIF, BMP, WebP, TIFF, AVIF, HEIC or PPM"
"""The formats, for people."""

HEAD_BYTES = 64
"""How much of a file `format_of` wants to see."""

RAW_SUFFIXES = frozenset(
    {".3fr", ".arw", ".cr2", ".dcr", ".dng", ".erf", ".fff", ".gpr", ".iiq", ".kdc"}
    | {".mef", ".mos", ".nef", ".nrw", ".pef", ".rwl", ".sr2", ".srf", ".srw"}
)
"""Sensor data of cameras. It begins like a TIFF, whose first picture is a thumbnail."""

_ALWAYS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
_SIGNATURES = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",  # BigTIFF
    b"MM\0+": "TIFF",
}
_AVIF_BRANDS = {b"avif", b"avis"}
_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
_BMP_HEADERS = {12, 16, 40, 52, 56, 64, 108, 124}
"""The sizes of the second header of a BMP. "BM" alone may begin a text."""


def format_of(head: bytes) -> str | None:
    """Return the format of a file by its first `HEAD_BYTES`, as Pillow names it.

    None if it is no image, or a PPM: that begins like a text, and is known by its name.

    Example:
        >>> format_of(b"GIF89a..."), format_of(b"<html>")
        ('GIF', None)
    """
    for signature, name in _SIGNATURES.items():
        if head.startswith(signature):
            return name
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    if head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in _BMP_HEADERS:
        return "BMP"
    if head[4:8] == b"ftyp":
        end = min(int.from_bytes(head[:4], "big"), HEAD_BYTES)
        brands = {head[8:12], *(head[at : at + 4] for at in range(16, end, 4))}
        # "mif1" is shared, so the brand of AVIF is looked for first.
        if brands & _AVIF_BRANDS:
            return "AVIF"
        if brands & _HEIF_BRANDS:
            return "HEIF"
    return None


def formats_of(head: bytes) -> tuple[str, ...]:
    """Return the names that Pillow may try for a file that begins with these bytes.

    Raises:
        ValueError: nothing here reads the format; the message says what to install.
    """
    name = format_of(head)
    if name not in _INSTALLS:
        return _ALWAYS
    if install := missing_decoder(name):
        raise ValueError(f"{_TITLES[name]}, which needs: {install}")
    return (name,)


def missing_decoder(name: str) -> str | None:
    """Return what to type so that a format can be read, None if it can be.

    Example:
        >>> missing_decoder("JPEG") is None
        True
    """
    readable = {"AVIF": _reads_avif, "HEIF": _reads_heif}.get(name)
    return None if readable is None or readable() else _INSTALLS[name]


def left_out_note(left_out: Mapping[str, int]) -> str:
    """Return what is left out of a folder, for people; "" if nothing is.

    Args:
        left_out: how many files, by suffix.

    Example:
        >>> left_out_note({".csv": 1, ".txt": 3, "": 2})
        'left out: 3 .txt, 2 without a suffix and 1 .csv'
    """
    if not left_out:
        return ""
    most = sorted(left_out, key=lambda suffix: (-left_out[suffix], suffix))
    counts = [
        f"{left_out[s]} {visible(s) or _NO_SUFFIX}" for s in most[:_LISTED_SUFFIXES]
    ]
    if rest := sum(left_out[suffix] for suffix in most[_LISTED_SUFFIXES:]):
        counts.append(f"{rest} others")
    installs = [
        f"{install} to read {suffix}"
        for suffix in sorted(OPTIONAL.keys() & left_out)
        if (install := missing_decoder(OPTIONAL[suffix]))
    ]
    note = f"left out: {listed(counts)}"
    return f"{note} ({', '.join(installs)})" if installs else note


_NO_SUFFIX = "without a suffix"
_LISTED_SUFFIXES = 6
"""The most kinds of files that a note names."""


_INSTALLS = {
    "AVIF": "pip install -U pillow",
    "HEIF": "pip install pillow-heif",
}
_TITLES = {"AVIF": "an AVIF image", "HEIF": "a HEIC image"}
OPTIONAL = {".avif": "AVIF", ".heic": "HEIF", ".heif": "HEIF"}
"""The suffixes of formats that can be read only with the right packages."""


@cache
def _reads_avif() -> bool:
    try:
        plugin = importlib.import_module("PIL.AvifImagePlugin")  # Pillow 11.3
    except ImportError:
        return False
    return bool(plugin.SUPPORTED)


@cache
def _reads_heif() -> bool:
    try:
        importlib.import_module("pillow_heif").register_heif_opener()
    except ImportError:
        return False
    # A plugin that is registered before Pillow's own keeps these from being loaded.
    Image.preinit()
    return True
