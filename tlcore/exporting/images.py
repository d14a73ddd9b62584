"""Images: which an export is compared on, and which its 8 bits are set by.

Owns that no image is both: on images that set its ranges a model in 8 bits may look
better than it is.
"""

import csv
import hashlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tlcore.data.finding import find_images
from tlcore.runs.going_on import load_run_data
from tlcore.runs.run import PREDICTIONS_FILE

MAX_IMAGES = 150
"""Images that an export is compared on, and as many others that 8 bits are set by."""


@dataclass(frozen=True)
class Calibration:
    """The images that 8 bits are set by.

    Attributes:
        source: where they are from.
        files: their paths.
    """

    source: str
    files: tuple[str, ...]


def compared_files(
    run: Path, images: str | Path | None, say: Callable[[str], None] = print
) -> tuple[str, ...]:
    """Return the image files that an export is compared on.

    Args:
        run: the run's folder.
        images: a folder of images; None takes those that the run was tested on.
        say: called with a line if some of these are not there any more.

    Raises:
        ValueError: there are none, or the run's table of them is damaged.
    """
    if images is not None:
        found = _of_folder(images)
        source = f"images={str(images)!r}, a folder without any"
    else:
        known = _tested(run / PREDICTIONS_FILE)
        found = [path for path in known if Path(path).is_file()]
        if len(found) < len(known):
            gone = f"{len(known) - len(found)} of the {len(known)} test images"
            say(f"{gone} are not there any more; compared on the others")
        source = f"run={str(run)!r}, whose test images are not there any more"
    if not found:
        raise ValueError(
            "An export is compared on real images. Received: "
            f"{source}. Name a folder that has some: --images DIR."
        )
    return _spread(found)


def calibration_files(
    run: Path, images: str | Path | None, *, compared: Sequence[str]
) -> Calibration:
    """Return the image files that 8 bits are set by.

    Args:
        run: the run's folder.
        images: a folder of images; None takes those that the run was trained on.
        compared: files that are left out, and all copies of them.

    Raises:
        ValueError: there are none, or none but those.

    Example:
        >>> of = str(next(Path("photos/train").rglob("*.png")))
        >>> len(calibration_files(Path("runs"), "photos/train", compared=[of]).files)
        11
    """
    if images is not None:
        found, source = _of_folder(images), str(images)
        received = f"calibrate={source!r}, a folder without any"
    else:
        found, source = _trained(run), "the images that the run was trained on"
        received = f"run={str(run)!r}, whose training images are not there any more"
    if found:
        known = {_digest(path) for path in compared}
        found = [path for path in found if _digest(path) not in known]
        received = f"{len(known)} images to compare on, and no others"
    if not found:
        raise ValueError(
            "8 bits are set by real images, others than those that the export is "
            f"compared on. Received: {received}. Name a folder that has some: "
            "--calibrate DIR."
        )
    return Calibration(source, _spread(found))


def _of_folder(folder: str | Path) -> list[str]:
    return [str(Path(folder) / name) for name in find_images(Path(folder)).images]


def _tested(table: Path) -> list[str]:
    """Return the paths of the images that a run was tested on."""
    if not table.is_file():
        return []
    text = table.read_bytes().decode("utf-8", "surrogateescape")
    # Not by lines: a path may hold what ends one.
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    if any(not row.get("image") for row in rows):
        raise ValueError(
            "The table of a run's predictions must have a column of images. "
            f"Received: {str(table)!r}, which is damaged. Name images to compare on: "
            "--images DIR."
        )
    return [row["image"] for row in rows]


def _trained(run: Path) -> list[str]:
    data = load_run_data(run)
    return [] if data is None else list(data.train.paths)


def _digest(path: str) -> bytes:
    return hashlib.sha256(Path(path).read_bytes()).digest()


def _spread(files: Sequence[str]) -> tuple[str, ...]:
    """Return at most `MAX_IMAGES`, spread over all files and so over the classes."""
    count = min(len(files), MAX_IMAGES)
    return tuple(files[i * len(files) // count] for i in range(count))
