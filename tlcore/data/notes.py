"""Notes: what is said and recorded of an opened image folder, and of bad images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tlcore.arguments import counted, listed
from tlcore.data.formats import left_out_note

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tlcore.data.image_folder import ImageFolder
    from tlcore.data.images import CheckedImage

_LISTED_FILES = 20
"""The most bad files that an error lists."""


def notes(folder: ImageFolder) -> str:
    """Return one line: how many images, what is done to them, what is left out.

    Example:
        >>> notes(tl.image_folder("photos/train", percent=50))
        '6 images in 3 classes (50 % subset)'
    """
    subset = "" if folder.percent == 100 else f" ({folder.percent:g} % subset)"
    said = [
        f"{counted(folder.num_images, 'image')} in "
        f"{counted(folder.num_classes, 'class', 'classes')}{subset}"
    ]
    if folder.converted:
        counts = [f"{count} {kind}" for kind, count in folder.converted.items()]
        plural = "" if sum(folder.converted.values()) == 1 else "s"
        said.append(f"{listed(counts)} image{plural} converted to RGB")
    if folder.rotated:
        said.append(f"{counted(folder.rotated, 'image')} turned upright")
    if folder.composed:
        transparent = counted(folder.composed, "transparent image")
        said.append(f"{transparent} put on {folder.reading.colour}")
    if folder.first_frames:
        files = counted(folder.first_frames, "file")
        said.append(f"of {files} with several frames the first is read")
    if folder.left_out:
        said.append(left_out_note(folder.left_out))
    if folder.skipped:
        said.append(f"{counted(len(folder.skipped), 'bad image')} skipped")
    return "; ".join(said)


def record(folder: ImageFolder) -> dict[str, Any]:
    """Return the same as counts, with the fingerprint, for a JSON file.

    Example:
        >>> record(tl.image_folder("photos/train"))["images"]
        12
    """
    return {
        "images": folder.num_images,
        "fingerprint": folder.fingerprint,
        "converted": dict(folder.converted),
        "rotated": folder.rotated,
        "composed": folder.composed,
        "first_frames": folder.first_frames,
        "left_out": dict(folder.left_out),
        "skipped": [list(item) for item in folder.skipped],
    }


def bad_images_message(bad: Sequence[CheckedImage]) -> str:
    """Return the error that lists bad images and says how to leave them out."""
    lines = [f"  {image.path}: {image.reason}" for image in bad[:_LISTED_FILES]]
    if len(bad) > _LISTED_FILES:
        lines.append(f"  and {len(bad) - _LISTED_FILES} more")
    files = "\n".join(lines)
    return (
        f"Every image must be readable. Received: {len(bad)} that cannot be used:\n"
        f"{files}\nRemove them, or leave them out with skip_bad=True (on the command "
        "line --skip-bad)."
    )
