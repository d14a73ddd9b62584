"""Images: image files found, checked, decoded, converted to RGB and resized.

Owns the only decoder in the package, so that training reads exactly what was checked
before it, and the check of many files in parallel. It knows neither classes (`layout`)
nor datasets (`image_folder`) and does not import TensorFlow.
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
"""The endings of the names of image files, in upper or lower case."""

MAX_PIXELS = 89_478_485
"""Larger images are treated as decompression bombs; this is Pillow's default."""

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
"""Names of Pillow's modes for people; a mode that is not listed is its own name."""
_FILES_AT_ONCE = 256
"""Files queued for the threads at a time: all that Ctrl-C has to wait for."""


@dataclass(frozen=True, slots=True)
class CheckedImage:
    """The result of checking one file.

    Attributes:
        path: the file.
        digest: sha256 of its bytes, in hex; empty if they cannot be read.
        kind: "RGB", or what it is converted from: "grey", "palette", "RGBA", "CMYK",
            "16-bit grey" and so on; empty for a bad file.
        reason: why the file cannot be used; None for a good one.
        treatments: what else is done to it, such as "rotated".
        levels: what `levels_of` says of its pixels.
    """

    path: str
    digest: str
    kind: str
    reason: str | None = None
    treatments: tuple[str, ...] = ()
    levels: tuple[int, int] = (255, 255)


def is_image(name: str) -> bool:
    """Return whether a file of this name counts as an image.

    Example:
        >>> is_image("cat.JPG"), is_image(".cat.jpg"), is_image("notes.txt")
        (True, False, False)
    """
    return not name.startswith(".") and name.lower().endswith(SUFFIXES)


def find_images(folder: Path) -> list[str]:
    """Return the images at any depth of a folder, except in hidden folders.

    Returns:
        Their paths relative to the folder, with forward slashes, sorted.

    Raises:
        OSError: a folder cannot be read.

    Example:
        >>> find_images(Path("photos/train"))[:2]
        ['checked_ring/000.png', 'checked_ring/001.png']
    """
    names = []
    walk = os.walk(folder, onerror=_raise, followlinks=True)
    for root, folders, files in walk:
        here = Path(root).resolve()
        # os.walk does not notice that a link leads to a folder above it, and would
        # follow it in circles.
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

    As `keras.utils.load_img` with bilinear interpolation does: the first frame of an
    animation, without alpha, EXIF orientation ignored, antialiased when shrunk. Unlike
    there, 16-bit grey keeps its upper 8 bits, as with `tf.io.decode_png`.

    Args:
        data: a JPEG, PNG, GIF, BMP or WebP file; the content decides, not a name.
        image_size: (height, width) to resize to, in pixels; the aspect ratio is not
            kept.

    Returns:
        RGB values in [0, 255], of shape (height, width, 3), and the kind of the image
        as in `CheckedImage`.

    Raises:
        ValueError: the bytes are not an image that can be used; the message is the
            reason.

    Example:
        >>> data = Path("photos/train/checked_ring/000.png").read_bytes()
        >>> pixels, kind = decode_image(data, (24, 36))
        >>> pixels.shape, kind
        ((24, 36, 3), 'RGB')
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
        raise  # not the fault of the image: skip_bad must not drop it
    except Exception as error:
        # On damaged files Pillow raises OSError, SyntaxError, struct.error, IndexError
        # and others, and documents none of them.
        raise ValueError(_reason(data, error)) from error


def read_image(path: str | Path, image_size: tuple[int, int]) -> NDArray[np.uint8]:
    """Read and decode an image file, as training does.

    Args:
        path: a JPEG, PNG, GIF, BMP or WebP file.
        image_size: (height, width) to resize to, in pixels.

    Returns:
        RGB values in [0, 255], of shape (height, width, 3).

    Raises:
        ValueError: the file cannot be read or is not an image.

    Example:
        >>> read_image("photos/train/checked_ring/000.png", (32, 32)).shape
        (32, 32, 3)
    """
    try:
        pixels, _ = decode_image(_read(path), image_size)
    except ValueError as error:
        raise ValueError(
            "An image must be a whole JPEG, PNG, GIF, BMP or WebP file. "
            f"Received: {str(path)!r} ({error}). Replace or remove it."
        ) from error
    return pixels


def check_image(path: str, image_size: tuple[int, int]) -> CheckedImage:
    """Read a file once, hash it and decode it in full.

    A damaged file is reported in the result, not raised. The check is stricter than
    `decode_image`: a PNG with a wrong checksum is bad.

    Example:
        >>> Path("empty.png").write_bytes(b"")
        0
        >>> check_image("empty.png", (32, 32)).reason
        'empty file'
    """
    digest = ""
    try:
        data = _read(path)
        digest = hashlib.sha256(data).hexdigest()
        pixels, kind = decode_image(data, image_size)
        _check_checksums(data)
    except ValueError as error:
        return CheckedImage(path, digest, "", str(error))
    return CheckedImage(path, digest, kind, levels=levels_of(pixels))


def levels_of(pixels: NDArray[np.uint8]) -> tuple[int, int]:
    """Return how far the values of a channel are apart, and the largest value of all.

    The first is exact where it is below 16, and at least 16 otherwise: then it comes
    from a part of the pixels, which is all that tells a flat image from others.

    Args:
        pixels: of shape (height, width, channels).

    Example:
        >>> levels_of(np.full((8, 8, 3), [0, 7, 200], np.uint8))
        (0, 200)
    """
    spread = 0
    for step in (8, 1):
        # One row per channel: NumPy is 50 times slower along two axes of pixels.
        some = np.ascontiguousarray(pixels[::step, ::step].transpose(2, 0, 1))
        spread = int(np.ptp(some.reshape(len(some), -1), axis=1).max())
        if spread >= 16:
            break
    return spread, int(pixels.max())


def check_images(
    paths: Sequence[str], image_size: tuple[int, int]
) -> list[CheckedImage]:
    """Check files in parallel threads; a progress bar appears after a second.

    Args:
        paths: the files.
        image_size: (height, width) that training resizes to, in pixels.

    Returns:
        The result for each file, in the order of `paths`.

    Example:
        >>> paths = ["photos/train/checked_ring/000.png", "gone.png"]
        >>> [image.reason for image in check_images(paths, (32, 32))]
        [None, 'cannot be read: No such file or directory']
    """

    def found() -> Iterator[CheckedImage]:
        for start in range(0, len(paths), _FILES_AT_ONCE):
            some = paths[start : start + _FILES_AT_ONCE]
            yield from pool.map(lambda path: check_image(path, image_size), some)

    # Pillow warns of a bomb before `decode_image` can look at its size. The filter is
    # set here, not in each thread, because it changes the state of the whole process.
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
        # Opening a named pipe would block until someone writes to it.
        if not stat.S_ISREG(path.stat().st_mode):
            raise ValueError("not a file")
        return path.read_bytes()
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror or error}") from error


def _check_pixels(image: Image.Image) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise Image.DecompressionBombError


def _to_rgb(image: Image.Image) -> Image.Image:
    # Pillow warns about transparency in a palette; without alpha it has no effect.
    image.info.pop("transparency", None)
    if image.mode == RGB:
        return image
    # Pillow's own conversion of 16 bits clips at 255: most pixels would become white.
    if image.mode.startswith("I"):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    return image.convert(RGB)


def _check_checksums(data: bytes) -> None:
    # `verify` needs an image that was not loaded, so the data is opened a second time.
    # Decoding alone ignores the checksums of the chunks that hold the pixels.
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
