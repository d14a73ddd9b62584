"""Images: image files checked, decoded to RGB and resized.

Owns the only decoder in the package, so that training reads exactly what was checked
before it, and the check of many files in parallel. Which files are images is in
`formats` and `finding`, what is done to their pixels in `pixels`. It knows neither
classes (`layout`) nor datasets (`image_folder`) and does not import TensorFlow.
"""

import hashlib
import io
import stat
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from tlcore.data.depth import UnusableError
from tlcore.data.formats import HEAD_BYTES, NAMES, format_of, formats_of
from tlcore.data.pixels import Picture, fitted, picture_of
from tlcore.data.reading import DEFAULT, Reading
from tlcore.terminal.progress import bar

MAX_PIXELS = 89_478_485
"""Larger images are treated as decompression bombs; this is Pillow's default."""

_PNG = b"\x89PNG"
_SKETCH_PIXELS = 64
"""Enough to see whether an image is flat or dark, without noise and single pixels."""

_FILES_AT_ONCE = 256
"""Files queued for the threads at a time: all that Ctrl-C has to wait for."""


@dataclass(frozen=True, slots=True)
class CheckedImage:
    """The result of checking one file.

    Attributes:
        path: the file.
        digest: sha256 of its bytes, in hex; empty if they cannot be read.
        kind: "RGB", or what it is converted from: "grey", "palette", "RGBA", "CMYK",
            "12-of-16-bit grey" and so on; empty for a bad file.
        reason: why the file cannot be used; None for a good one.
        treatments: what else is done to it: "rotated", "composed", "first frame".
        levels: what `levels_of` says of its pixels, averaged over small squares.
    """

    path: str
    digest: str
    kind: str
    reason: str | None = None
    treatments: tuple[str, ...] = ()
    levels: tuple[int, int] = (255, 255)


def decode_image(
    data: bytes, image_size: tuple[int, int], reading: Reading = DEFAULT
) -> tuple[NDArray[np.uint8], str]:
    """Decode the bytes of an image file.

    By default as `keras.utils.load_img` with bilinear interpolation does (the first
    frame of an animation, antialiased when shrunk), and unlike there upright, with
    white behind transparent pixels, and with samples of more than 8 bits scaled by the
    range that the file holds.

    Args:
        data: a JPEG, PNG, GIF, BMP, WebP, TIFF or PPM file, or an AVIF or HEIC file if
            it can be read here; the content decides, not a name.
        image_size: (height, width) to resize to, in pixels.
        reading: how it is read.

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
    picture = _picture(data, reading)
    return np.asarray(fitted(picture.image, image_size, reading)), picture.kind


def read_image(
    path: str | Path,
    image_size: tuple[int, int],
    *,
    fit: str = "squash",
    background: str | Sequence[int] = "white",
    orientation: str = "apply",
) -> NDArray[np.uint8]:
    """Read and decode an image file, as training does.

    Args:
        path: an image file.
        image_size: (height, width) to resize to, in pixels.
        fit: "squash" changes the proportions, "crop" cuts a part out of the middle,
            "pad" adds a border.
        background: the colour behind transparent pixels and of the border.
        orientation: "apply" turns the image upright, "ignore" leaves it as it is
            stored.

    Returns:
        RGB values in [0, 255], of shape (height, width, 3).

    Raises:
        ValueError: the file cannot be read or is not an image, or an option is wrong.

    Example:
        >>> read_image("photos/train/checked_ring/000.png", (32, 32)).shape
        (32, 32, 3)
    """
    reading = Reading.of(fit=fit, background=background, orientation=orientation)
    return np.asarray(fitted(read_picture(path, reading), image_size, reading))


def read_picture(
    path: str | Path, reading: Reading = DEFAULT, *, about: int | None = None
) -> Image.Image:
    """Read an image file as RGB, in its own size.

    Args:
        path: an image file.
        reading: how it is read.
        about: a number of pixels that either side may be shrunk to, for a thumbnail. A
            JPEG is decoded at a fraction of its size, which is much faster.

    Raises:
        ValueError: the file cannot be read or is not an image.

    Example:
        >>> read_picture("photos/train/checked_ring/000.png").mode
        'RGB'
    """
    try:
        return _picture(_read(path), reading, about).image
    except ValueError as error:
        raise ValueError(
            f"An image must be a whole {NAMES} file. "
            f"Received: path={str(path)!r} ({error}). Replace or remove it."
        ) from error


def read_checked_image(
    path: str, digest: str, image_size: tuple[int, int], reading: Reading = DEFAULT
) -> NDArray[np.uint8]:
    """Read and decode an image file that was checked before, if it is still the same.

    What is computed from an image is kept under its digest, so no other bytes than
    those may be decoded.

    Args:
        path: the file.
        digest: the sha256 that `check_image` found.
        image_size: (height, width) to resize to, in pixels.
        reading: how it is read.

    Raises:
        ValueError: the file changed or cannot be read any more.

    Example:
        >>> path = "photos/train/checked_ring/000.png"
        >>> read_checked_image(path, check_image(path).digest, (32, 32)).shape
        (32, 32, 3)
    """
    try:
        data = _read(path)
        problem = "its bytes have changed"
        if hashlib.sha256(data).hexdigest() == digest:
            picture = _picture(data, reading).image
            return np.asarray(fitted(picture, image_size, reading))
    except ValueError as error:
        problem = str(error)
    raise ValueError(
        "An image must stay as it was when its folder was opened. Received: "
        f"path={path!r} ({problem}). Put the file back, or open the folder again."
    )


def check_image(path: str, reading: Reading = DEFAULT) -> CheckedImage:
    """Read a file once, hash it and decode it in full.

    A damaged file is reported in the result, not raised. The check is stricter than
    `decode_image`: a PNG with a wrong checksum is bad.

    Example:
        >>> Path("empty.png").write_bytes(b"")
        0
        >>> check_image("empty.png").reason
        'empty file'
    """
    digest = ""
    try:
        data = _read(path)
        digest = hashlib.sha256(data).hexdigest()
        picture = _picture(data, reading)
        _check_checksums(data)
    except ValueError as error:
        return CheckedImage(path, digest, "", str(error))
    levels = levels_of(_sketch(picture.image))
    return CheckedImage(path, digest, picture.kind, None, picture.treatments, levels)


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


def _sketch(image: Image.Image) -> NDArray[np.uint8]:
    """Return an RGB image in about `_SKETCH_PIXELS` a side, or smaller as it is."""
    squares = image.width // _SKETCH_PIXELS, image.height // _SKETCH_PIXELS
    return np.asarray(image.reduce((max(1, squares[0]), max(1, squares[1]))))


def check_images(
    paths: Sequence[str], reading: Reading = DEFAULT
) -> list[CheckedImage]:
    """Check files in parallel threads; a progress bar appears after a second.

    Args:
        paths: the files.
        reading: how training will read them.

    Returns:
        The result for each file, in the order of `paths`.

    Example:
        >>> paths = ["photos/train/checked_ring/000.png", "gone.png"]
        >>> [image.reason for image in check_images(paths)]
        [None, 'cannot be read: No such file or directory']
    """

    def found() -> Iterator[CheckedImage]:
        for start in range(0, len(paths), _FILES_AT_ONCE):
            some = paths[start : start + _FILES_AT_ONCE]
            yield from pool.map(lambda path: check_image(path, reading), some)

    # Pillow warns of a bomb before `decode_image` can look at its size. The filter is
    # set here, not in each thread, because it changes the state of the whole process.
    with warnings.catch_warnings(), ThreadPoolExecutor() as pool:
        # Of damaged EXIF data and the like: the pixels are sound, or the file is bad.
        warnings.filterwarnings("ignore", module=r"PIL\.")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with bar("Checking images", len(paths), patience_seconds=1.0) as advance:
            checked = []
            for image in found():
                checked.append(image)
                advance(1)
            return checked


def _read(path: str | Path) -> bytes:
    path = Path(path)
    try:
        # Opening a named pipe would block until someone writes to it.
        if not stat.S_ISREG(path.stat().st_mode):
            raise ValueError("not a file")
        return path.read_bytes()
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror or error}") from error


def _picture(data: bytes, reading: Reading, about: int | None = None) -> Picture:
    def opened() -> Image.Image:
        return Image.open(io.BytesIO(data), formats=formats)

    try:
        formats = formats_of(data[:HEAD_BYTES])
    except ValueError as error:
        raise UnusableError(str(error)) from error
    try:
        with opened() as image:
            _check_pixels(image)
            if about is not None:
                image.draft("RGB", (about, about))
            return picture_of(image, reading, opened)
    except MemoryError:
        raise  # not the fault of the image: skip_bad must not drop it
    except Exception as error:
        # On damaged files Pillow raises OSError, SyntaxError, struct.error, IndexError
        # and others, and documents none of them.
        raise ValueError(_reason(data, error)) from error


def _check_pixels(image: Image.Image) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise Image.DecompressionBombError


def _check_checksums(data: bytes) -> None:
    if not data.startswith(_PNG):
        return  # Pillow verifies no other format
    # `verify` needs an image that was not loaded, so the data is opened a second time.
    # Decoding alone ignores the checksums of the chunks that hold the pixels.
    try:
        with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
            image.verify()
    except Exception as error:
        raise ValueError(_reason(data, error)) from error


def _reason(data: bytes, error: Exception) -> str:
    if not data:
        return "empty file"
    if isinstance(error, UnidentifiedImageError):
        name = format_of(data[:HEAD_BYTES])
        if name is None:
            return f"not a {NAMES} image"
        return f"damaged, or a {name} of a kind that cannot be read"
    if isinstance(error, UnusableError):
        return str(error)
    bombs = (Image.DecompressionBombError, Image.DecompressionBombWarning)
    if isinstance(error, bombs):
        return f"too large: over {MAX_PIXELS:,} pixels"
    return f"damaged: {error or type(error).__name__}"
