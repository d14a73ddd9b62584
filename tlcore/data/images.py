"""Image files: found, checked, decoded, made RGB and resized.

Owns the only decoder there is, so that what was checked before training is what
training reads, and the check of many files in parallel. It knows neither classes nor
datasets and imports no TensorFlow.
"""

import hashlib
import io
import os
import stat
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from tlcore.progress import bar

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".webp")
"""How the names of image files end, in any case."""

MAX_PIXELS = 89_478_485
"""Larger images are taken for decompression bombs; Pillow's own default."""

RGB = "RGB"
"""The kind of image that needs no conversion."""

_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "WEBP")
_KINDS = {
    "1": "black and white",
    "I": "16-bit grey",  # how Pillow before 11.3 opens some 16-bit PNGs
    "I;16": "16-bit grey",
    "I;16B": "16-bit grey",
    "L": "grey",
    "LA": "grey with alpha",
    "P": "palette",
}
"""What to call a Pillow mode; the others name themselves."""
_FILES_AT_ONCE = 256
"""Files handed to the threads at a time; an interrupt waits for no more than these."""


@dataclass(frozen=True, slots=True)
class CheckedImage:
    """What the check of one file found.

    Attributes:
        path: the file.
        digest: sha256 of its bytes, in hex; empty where they cannot be read.
        kind: "RGB", or what it is converted to RGB from: "grey", "palette", "RGBA",
            "CMYK", "16-bit grey" and so on; empty for a bad file.
        reason: why it cannot be used; None for a good one.
    """

    path: str
    digest: str
    kind: str
    reason: str | None = None


def is_image(name: str) -> bool:
    """Return whether a file of this name is taken for an image: suffix, not hidden."""
    return not name.startswith(".") and name.lower().endswith(SUFFIXES)


def find_images(folder: Path) -> list[str]:
    """Return the images at any depth of a folder, hidden folders left out.

    Returns:
        Their paths from the folder on, with forward slashes, sorted.

    Raises:
        OSError: a folder cannot be read.
    """
    names = []
    walk = os.walk(folder, onerror=_raise, followlinks=True)
    for root, folders, files in walk:
        here = Path(root).resolve()
        # A link to a folder above would be followed round and round.
        folders[:] = [
            name
            for name in folders
            if not name.startswith(".")
            and not here.is_relative_to((here / name).resolve())
        ]
        relative = Path(root).relative_to(folder)
        names += [(relative / name).as_posix() for name in files if is_image(name)]
    return sorted(names)


def decode_image(
    data: bytes, image_size: tuple[int, int]
) -> tuple[NDArray[np.uint8], str]:
    """Decode the bytes of an image file.

    Like `keras.utils.load_img` with bilinear interpolation: the first frame, alpha
    dropped, EXIF orientation ignored, antialiased when it gets smaller. Unlike it, 16
    bits of grey become the upper 8, as `tf.io.decode_png` makes them.

    Args:
        data: a JPEG, PNG, GIF, BMP or WebP file, whatever its name says.
        image_size: (height, width) to resize to, in pixels; the shape is not kept.

    Returns:
        RGB values in [0, 255], of shape (height, width, 3), and the kind of the image
        as in `CheckedImage`.

    Raises:
        ValueError: the reason why the bytes are no image that can be used.
    """
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            _check_pixels(image)
            image.load()
            kind = _KINDS.get(image.mode, image.mode)
            height, width = image_size
            resized = _to_rgb(image).resize((width, height), Image.Resampling.BILINEAR)
            return np.asarray(resized), kind
    except MemoryError:
        raise  # no fault of the image
    except Exception as error:  # Pillow raises all sorts on damaged files.
        raise ValueError(_reason(data, error)) from error


def read_image(path: str | Path, image_size: tuple[int, int]) -> NDArray[np.uint8]:
    """Read and decode an image file, as training does.

    Args:
        path: a JPEG, PNG, GIF, BMP or WebP file.
        image_size: (height, width) to resize to, in pixels.

    Returns:
        RGB values in [0, 255], of shape (height, width, 3).

    Raises:
        ValueError: the file cannot be read or is no image.
    """
    try:
        pixels, _ = decode_image(_read(path), image_size)
    except ValueError as error:
        raise ValueError(
            "An image must be a whole JPEG, PNG, GIF, BMP or WebP file. "
            f"Received: {str(path)!r} ({error})."
        ) from error
    return pixels


def check_image(path: str, image_size: tuple[int, int]) -> CheckedImage:
    """Read a file once, hash it and decode it in full; damage is an answer, no error.

    Beside what `decode_image` refuses, a PNG with a wrong checksum is bad: Pillow
    leaves those of the pixels aside when it decodes.
    """
    digest = ""
    try:
        data = _read(path)
        digest = hashlib.sha256(data).hexdigest()
        _, kind = decode_image(data, image_size)
        _check_checksums(data)
    except ValueError as error:
        return CheckedImage(path, digest, "", str(error))
    return CheckedImage(path, digest, kind)


def check_images(
    paths: Sequence[str], image_size: tuple[int, int]
) -> list[CheckedImage]:
    """Check files in parallel threads, in order, with progress where it takes long.

    Args:
        paths: the files.
        image_size: (height, width) that training resizes to, in pixels.

    Returns:
        What was found, file by file.
    """

    def found() -> Iterator[CheckedImage]:
        for start in range(0, len(paths), _FILES_AT_ONCE):
            some = paths[start : start + _FILES_AT_ONCE]
            yield from pool.map(lambda path: check_image(path, image_size), some)

    with warnings.catch_warnings(), ThreadPoolExecutor() as pool:
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with bar("Checking images", len(paths), patience_seconds=1.0) as advance:
            checked = []
            for image in found():
                checked.append(image)
                advance(1)
            return checked


def _raise(error: OSError) -> NoReturn:
    raise error


def _read(path: str | Path) -> bytes:
    path = Path(path)
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # A pipe would be waited for.
            raise ValueError("not a file")
        return path.read_bytes()
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror or error}") from error


def _check_pixels(image: Image.Image) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise Image.DecompressionBombError


def _to_rgb(image: Image.Image) -> Image.Image:
    # Left in place it makes Pillow warn, and changes nothing once alpha is dropped.
    image.info.pop("transparency", None)
    if image.mode == RGB:
        return image
    if image.mode.startswith("I"):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    return image.convert(RGB)


def _check_checksums(data: bytes) -> None:
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            image.verify()
    except Exception as error:
        raise ValueError(_reason(data, error)) from error


def _reason(data: bytes, error: Exception) -> str:
    if not data:
        return "empty file"
    if isinstance(error, UnidentifiedImageError):
        return "not a JPEG, PNG, GIF, BMP or WebP image"
    bombs = (Image.DecompressionBombError, Image.DecompressionBombWarning)
    if isinstance(error, bombs):
        return f"too large: over {MAX_PIXELS:,} pixels"
    return f"damaged: {error or type(error).__name__}"
