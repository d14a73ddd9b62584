"""Pixels: an opened image as RGB, upright, on a background, in the size of the model.

Owns what is done to an image between Pillow's decoder and the batch, and the names by
which that is counted. Samples of more than 8 bits are scaled in `depth`; which choices
there are is in `reading`.
"""

from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image, ImageOps

from tlcore.data.depth import (
    is_deep_colour,
    is_deep_grey,
    shallow_colour,
    shallow_grey,
)
from tlcore.data.reading import Reading

RGB = "RGB"
"""The kind of image that needs no conversion."""

ROTATED, COMPOSED, FIRST_FRAME = "rotated", "composed", "first frame"
"""What else may be done to an image: it was stored turned or mirrored; parts of it are
transparent; it has several frames or pages, of which the first is read."""

_KINDS = {"1": "black and white", "L": "grey", "LA": "grey with alpha", "P": "palette"}
"""Names of Pillow's modes for people; a mode that is not listed is its own name."""

_ORIENTATION_TAG = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What turns an image of an EXIF orientation upright."""
_AS_STORED = {
    **_UPRIGHT,
    6: Image.Transpose.ROTATE_90,
    8: Image.Transpose.ROTATE_270,
}
"""What turns it back."""


@dataclass(frozen=True)
class Picture:
    """An image in its own size.

    Attributes:
        image: as RGB.
        kind: "RGB", or what it was converted from: "grey", "palette", "RGBA", "CMYK",
            "16-bit grey", "12-of-16-bit RGB" and so on.
        treatments: what else was done to it: "rotated", "composed", "first frame".
    """

    image: Image.Image
    kind: str
    treatments: tuple[str, ...]


def picture_of(
    image: Image.Image, reading: Reading, reopen: Callable[[], Image.Image]
) -> Picture:
    """Return the picture in an image file that Pillow opened.

    Args:
        image: opened and not read yet.
        reading: how to read it; its `fit` does not matter.
        reopen: opens the same file again.

    Raises:
        ValueError: it is no image that can be used; the message is the reason.
        Exception: whatever Pillow raises on damaged files.
    """
    turned = image.format == "TIFF"  # by Pillow, while it reads the file
    orientation = _orientation(image) if turned else 1
    if is_deep_colour(image):
        flat, kind = shallow_colour(image, reopen)
    elif is_deep_grey(image):
        flat, kind = shallow_grey(image)
    else:
        image.load()
        flat, kind = image, _KINDS.get(image.mode, image.mode)
    if not turned:
        orientation = _orientation(image)
    rgb, composed = _on_background(flat, reading)
    treatments = [COMPOSED] if composed else []
    if reading.orientation == "apply":
        if orientation != 1:
            treatments.append(ROTATED)
        if not turned and orientation in _UPRIGHT:
            rgb = rgb.transpose(_UPRIGHT[orientation])
    elif turned and orientation in _AS_STORED:
        rgb = rgb.transpose(_AS_STORED[orientation])
    if _has_several_frames(image):
        treatments.append(FIRST_FRAME)
    return Picture(rgb, kind, tuple(treatments))


def fitted(
    image: Image.Image, image_size: tuple[int, int], reading: Reading
) -> Image.Image:
    """Return an RGB image resized to (height, width), antialiased when shrunk.

    Example:
        >>> wide = Image.new("RGB", (40, 10), "red")
        >>> padded = fitted(wide, (20, 20), Reading.of(fit="pad", background="blue"))
        >>> padded.getpixel((10, 0)), padded.getpixel((10, 10))
        ((0, 0, 255), (255, 0, 0))
    """
    height, width = image_size
    if reading.fit == "crop":
        return ImageOps.fit(image, (width, height), Image.Resampling.BILINEAR)
    if reading.fit == "squash":
        return image.resize((width, height), Image.Resampling.BILINEAR)
    # Not `ImageOps.pad`: it fails where a side of a long image would round to 0 pixels.
    scale = min(width / image.width, height / image.height)
    inner = (
        min(width, max(1, round(image.width * scale))),
        min(height, max(1, round(image.height * scale))),
    )
    canvas = Image.new(RGB, (width, height), reading.background)
    resized = image.resize(inner, Image.Resampling.BILINEAR)
    canvas.paste(resized, ((width - inner[0]) // 2, (height - inner[1]) // 2))
    return canvas


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation of an image, 1 to 8; 1 is upright."""
    try:
        # pillow-heif turns images upright as it reads them, and keeps this note.
        stored = image.info.get("original_orientation")
        value = image.getexif().get(_ORIENTATION_TAG) if stored is None else stored
        return int(value) if value in _UPRIGHT else 1
    except Exception:  # noqa: BLE001 - damaged EXIF data; the pixels are sound
        return 1


def _on_background(image: Image.Image, reading: Reading) -> tuple[Image.Image, bool]:
    """Return an image as RGB, and whether a part of it was transparent."""
    if image.has_transparency_data:
        layered = image.convert("RGBA")
        if layered.getchannel("A").getextrema()[0] == 255:
            return layered.convert(RGB), False
        canvas = Image.new("RGBA", image.size, (*reading.background, 255))
        return Image.alpha_composite(canvas, layered).convert(RGB), True
    return image if image.mode == RGB else image.convert(RGB), False


def _has_several_frames(image: Image.Image) -> bool:
    try:
        return bool(getattr(image, "is_animated", False))
    except Exception:  # noqa: BLE001 - a damaged second frame; the first is sound
        return False
