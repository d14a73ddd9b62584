"""Opening: the images of folders checked together, and what an `ImageFolder` stores.

Owns the refusal of bad images, all in one message, and what leaving them out means.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from tlcore.arguments import listed
from tlcore.data.images import CheckedImage, check_images
from tlcore.data.layout import Layout
from tlcore.data.notes import bad_images_message
from tlcore.data.options import check_label_mode


def check_folders(
    wanted: Sequence[tuple[Layout, dict[str, Any]]], *, skip_bad: bool
) -> list[dict[str, Any]]:
    """Check the images of all layouts together; return the fields of each folder.

    Args:
        wanted: each layout with the result of `folder_options` for it.
        skip_bad: leave out images that cannot be read, instead of raising.

    Raises:
        ValueError: images cannot be read, or labels cannot have the form asked for.
    """
    for layout, options in wanted:
        check_label_mode(options["label_mode"], tuple(layout.names))
    subsets = [layout.subset(o["percent"], o["seed"]) for layout, o in wanted]
    paths = [path for paths, _ in subsets for path in paths]
    found = check_images(paths, wanted[0][1]["reading"])
    bad = [image for image in found if image.reason is not None]
    if bad and not skip_bad:
        raise ValueError(bad_images_message(bad))
    images = iter(found)
    return [
        _without_bad(layout, options, [(next(images), label) for label in labels])
        for (layout, options), (_, labels) in zip(wanted, subsets, strict=True)
    ]


def _without_bad(
    layout: Layout,
    options: dict[str, Any],
    found: Iterable[tuple[CheckedImage, int]],
) -> dict[str, Any]:
    """Return the fields of the folder of the good images, given with labels."""
    good, skipped = [], []
    for image, label in found:
        if image.reason is None:
            good.append((image, label))
        else:
            skipped.append((image.path, image.reason))
    class_names = tuple(layout.names)
    empty = set(range(len(class_names))) - {label for _, label in good}
    if empty:
        raise ValueError(
            "Every class must hold a good image. Received: "
            f"directory={str(layout.directory)!r}, where all images of "
            f"{listed(class_names[i] for i in sorted(empty))} are bad. Replace them."
        )
    return dict(
        directory=layout.directory,
        class_names=class_names,
        paths=tuple(image.path for image, _ in good),
        labels=np.array([label for _, label in good], dtype=np.int64),
        digests=tuple(image.digest for image, _ in good),
        kinds=tuple(image.kind for image, _ in good),
        treatments=tuple(image.treatments for image, _ in good),
        skipped=tuple(skipped),
        left_out=layout.left_out,
        **options,
    )
