"""Depth: images of more than 8 bits per sample, scaled to 8.

Owns the rule. Cameras and scanners store 10, 12 or 14 bits in samples of 16, and by the
upper 8 bits such an image would be near black. So the highest sample of a file decides:
the smallest of 8, 10, 12, 14, 16, 24 and 32 bits that holds it is the file's range, and
of that the upper 8 bits are kept. The rule sees one file at a time, so that an image
has the same pixels in every folder.
"""

import sys
from collections.abc import Callable
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

_RANGES = (8, 10, 12, 14, 16, 24, 32)
"""Bits; what a file of deep samples may be meant to hold."""

_BITS_PER_SAMPLE, _PHOTOMETRIC, _PLANAR = 258, 262, 284
"""Tags of TIFF."""
_WHITE_IS_ZERO = 0
_SEPARATE_PLANES = 2

_OVERSHOOT = 2
"""Below it, floats are meant to be in [0, 1]: resizing and denoising may exceed 1."""

_NAMES = {"LA": "grey with alpha", "RGBa": "RGBA", "RGBX": "RGB"}
_NATIVE = {"little": "L", "big": "B"}[sys.byteorder]
_OTHER = {"L": "B", "B": "L"}


class UnusableError(ValueError):
    """Why a whole file is no image that can be used; the message is the reason."""


def is_deep_grey(image: Image.Image) -> bool:
    """Return whether the samples of a grey image have more than 8 bits."""
    return image.mode.startswith(("I", "F"))


def shallow_grey(image: Image.Image) -> tuple[Image.Image, str]:
    """Return a grey image with samples of 8 bits, and its kind.

    Args:
        image: one of 16 or 32 bits, or of floats, which are in [0, 1] or else in the
            range of a number of bits. Read or not.

    Raises:
        ValueError: a sample is below 0, not finite or beyond 32 bits.

    Example:
        >>> twelve = Image.fromarray(np.array([[0, 2048, 4095]], np.uint16))
        >>> grey, kind = shallow_grey(twelve)
        >>> np.asarray(grey).tolist(), kind
        ([[0, 128, 255]], '12-of-16-bit grey')
    """
    rawmode = _rawmode(image)
    if rawmode and image.mode in {"I", "F"} and _tile(image)[0] == "libtiff":
        # libtiff swaps bytes into the order of the machine, and Pillow forgets it.
        _read_as(image, rawmode.replace("B", "N"))
    samples = np.asarray(image)
    floats = samples.dtype.kind == "f"
    if floats and not np.isfinite(samples).all():
        raise UnusableError("holds samples that are NaN or infinite")
    lowest, highest = float(samples.min()), float(samples.max())
    if lowest < 0:
        raise UnusableError("holds samples below 0, which are no brightness")
    if highest >= 1 << _RANGES[-1]:
        raise UnusableError(f"holds samples beyond {_RANGES[-1]} bits")
    if floats and highest < _OVERSHOOT:
        scaled = np.rint(samples.clip(max=1) * 255).astype(np.uint8)
        return _grey(image, scaled), "floating-point grey"
    bits = _range(int(highest))
    scaled = (samples.astype(np.uint32) >> (bits - 8)).astype(np.uint8)
    if _tag(image, _PHOTOMETRIC) == _WHITE_IS_ZERO and not floats:
        scaled = 255 - scaled  # Pillow does so for 8 bits only
    kind = "floating-point grey" if floats else _kind("grey", bits, _stored(image))
    return _grey(image, scaled), kind


def is_deep_colour(image: Image.Image) -> bool:
    """Return whether an unread PNG or TIFF has colours of 16 bits per sample."""
    deep = _tag(image, _BITS_PER_SAMPLE) == 16 or ";16" in _rawmode(image)
    return deep and not is_deep_grey(image)


def shallow_colour(
    image: Image.Image, reopen: Callable[[], Image.Image]
) -> tuple[Image.Image, str]:
    """Return an image of 16 bits per colour with 8 bits, and its kind.

    Pillow reads the upper 8 bits only. Where the file holds fewer than 16, it is read a
    second time for the lower ones.

    Args:
        image: opened and not read yet; `is_deep_colour` is true for it.
        reopen: opens the same file again.
    """
    if _tag(image, _PLANAR) == _SEPARATE_PLANES:
        # Pillow takes one byte of two for the next sample.
        raise UnusableError(
            "holds colours of 16 bits in separate planes, which cannot be read"
        )
    layout, _, order = _rawmode(image).partition(";16")
    image.load()
    high = np.asarray(image)
    name = _NAMES.get(layout, layout)
    colours = 4 if layout == "CMYK" else 3
    bits = _range(int(high[..., :colours].max()) << 8)
    key = image.info.get("transparency")
    # Premultiplied samples are divided by alpha as they are read: no lower 8 bits.
    if (bits == 16 and key is None) or layout == "RGBa":
        return image, _kind(name, 16, 16)
    with reopen() as again:
        if layout == "LA":
            _read_as(again, "RGBA")  # four bytes: upper and lower, grey and alpha
            pairs = np.asarray(again)
            low = pairs[..., [1, 1, 1, 3]]
        else:
            order = _NATIVE if order == "N" else order
            _read_as(again, f"{layout};16{_OTHER[order]}")
            low = np.asarray(again)
    samples = high.astype(np.uint16) << 8 | low
    parts = [_upper(samples[..., :colours], bits)]
    mode = image.mode
    if high.shape[-1] > colours:
        alpha = samples[..., colours:]
        parts.append(_upper(alpha, _range(int(alpha.max()))))
    elif isinstance(key, tuple):
        clear = (samples == np.array(key)).all(axis=-1, keepdims=True)
        parts.append(np.where(clear, 0, 255).astype(np.uint8))
        mode = "RGBA"
    pixels = np.concatenate(parts, axis=-1).tobytes()
    return Image.frombytes(mode, image.size, pixels), _kind(name, bits, 16)


def _range(highest: int) -> int:
    return next(bits for bits in _RANGES if highest < 1 << bits)


def _upper(samples: NDArray[np.uint16], bits: int) -> NDArray[np.uint8]:
    return (samples >> (bits - 8)).astype(np.uint8)


def _grey(image: Image.Image, scaled: NDArray[np.uint8]) -> Image.Image:
    grey = Image.fromarray(scaled)
    key = image.info.get("transparency")
    if isinstance(key, int):
        # Compared with the samples as they are stored, before they lose bits.
        clear = np.asarray(image) == key
        grey.putalpha(Image.fromarray(np.where(clear, 0, 255).astype(np.uint8)))
    return grey


def _stored(image: Image.Image) -> int:
    """Return how many bits the file stores per sample."""
    return _tag(image, _BITS_PER_SAMPLE) or 16


def _tag(image: Image.Image, number: int) -> int | None:
    """Return the first value of a tag of a TIFF, None in other formats."""
    value = getattr(image, "tag_v2", {}).get(number)
    return value[0] if isinstance(value, tuple) else value


def _kind(name: str, bits: int, stored: int) -> str:
    depth = f"{bits}-bit" if bits == stored else f"{bits}-of-{stored}-bit"
    return f"{depth} {name}"


def _tile(image: Image.Image) -> Any:
    """Return how the first part of an image will be read, None if it is read."""
    tiles = getattr(image, "tile", None)  # only an image in a file has them
    return tiles[0] if tiles else None


def _rawmode(image: Image.Image) -> str:
    """Return how Pillow will read an image, "" if it is already read."""
    tile = _tile(image)
    if tile is None:
        return ""
    arguments: Any = tile[3]
    rawmode = arguments if isinstance(arguments, str) else (arguments or ("",))[0]
    return rawmode if isinstance(rawmode, str) else ""


def _read_as(image: Image.Image, rawmode: str) -> None:
    """Read an image whose samples are laid out in another way than its header says."""
    opened = cast("ImageFile.ImageFile", image)
    opened.tile = [
        type(tile)(*_renamed(tile, rawmode))
        if hasattr(tile, "_fields")  # a plain tuple before Pillow 11
        else _renamed(tile, rawmode)
        for tile in opened.tile
    ]
    opened.load()


def _renamed(tile: Any, rawmode: str) -> Any:
    codec, box, offset, arguments = tile
    if isinstance(arguments, str):
        return codec, box, offset, rawmode
    return codec, box, offset, (rawmode, *arguments[1:])
