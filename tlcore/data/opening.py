"""Opening: the images of folders checked together, and what an `ImageFolder` stores.

Owns the refusal of bad images, all in one message, and what leaving them out means.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlcore.arguments import listed
from tlcore.data.images import CheckedImage, check_images
from tlcore.data.layout import Listing
from tlcore.data.notes import bad_images_message
from tlcore.data.options import check_label_mode


def check_folders(
    wanted: Sequence[tuple[Listing, dict[str, Any]]], *, skip_bad: bool
) -> list[dict[str, Any]]:
    """Check the images of all layouts together; return the fields of each folder.

    Args:
        wanted: each layout, or the rows of a table, with the result of `folder_options`
            for it.
        skip_bad: leave out images that cannot be read, instead of raising.

    Raises:
        ValueError: images cannot be read, or labels cannot have the form asked for.
    """
    subsets = [layout.subset(o["percent"], o["seed"]) for layout, o in wanted]
    for (layout, options), (_, labels) in zip(wanted, subsets, strict=True):
        rows = np.ndim(labels) == 2
        check_label_mode(options["label_mode"], layout.class_names, rows=rows)
    paths = [path for paths, _ in subsets for path in paths]
    found = check_images(paths, wanted[0][1]["reading"])
    bad = [image for image in found if image.reason is not None]
    if bad and not skip_bad:
        raise ValueError(bad_images_message(bad))
    images = iter(found)
    return [
        _without_bad(layout, options, [next(images) for _ in labels], labels)
        for (layout, options), (_, labels) in zip(wanted, subsets, strict=True)
    ]


def _without_bad(
    layout: Listing,
    options: dict[str, Any],
    found: Sequence[CheckedImage],
    labels: Any,
) -> dict[str, Any]:
    """Return the fields of the folder of the good images, given with labels."""
    good = [image for image in found if image.reason is None]
    given = np.asarray(labels)
    kept = given[np.array([image.reason is None for image in found], dtype=bool)]
    class_names = layout.class_names
    empty = _classes_in(given) - _classes_in(kept)
    if empty:
        raise ValueError(
            "Every class must hold a good image. Received: "
            f"directory={str(layout.directory)!r}, where all images of "
            f"{listed(class_names[i] for i in sorted(empty))} are bad. Replace them."
        )
    return dict(
        directory=layout.directory,
        class_names=class_names,
        paths=tuple(image.path for image in good),
        labels=kept if kept.ndim == 2 else kept.astype(np.int64),
        digests=tuple(image.digest for image in good),
        kinds=tuple(image.kind for image in good),
        treatments=tuple(image.treatments for image in good),
        levels=np.array([image.levels for image in good], dtype=np.uint8),
        skipped=tuple(
            (image.path, image.reason) for image in found if image.reason is not None
        ),
        left_out=layout.left_out,
        **options,
    )


def _classes_in(labels: NDArray[Any]) -> set[int]:
    rows = labels.ndim == 2
    found = np.flatnonzero(labels.any(axis=0)) if rows else np.unique(labels)
    return set(found.tolist())
