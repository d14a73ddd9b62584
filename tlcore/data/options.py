"""Options: what `image_folder` and `load_splits` accept, checked.

Owns the valid values of the size of images and batches, of label modes, percentages and
seeds. What they do is in `image_folder` and `pipeline`.
"""

import numbers
from collections.abc import Sequence
from typing import Any

from tlcore.arguments import is_whole, require_one_of, require_whole
from tlcore.data.images import MAX_PIXELS

LABEL_MODES = ("categorical", "int", "binary", "multi")
_MAX_BATCH_SIZE = 1_000_000
"""A larger one is a mistake, which tf.data would report as a lack of memory."""


def folder_options(
    *,
    image_size: int | tuple[int, int],
    batch_size: int,
    label_mode: str,
    percent: float,
    shuffle: bool,
    seed: int,
) -> dict[str, Any]:
    """Return the options that an `ImageFolder` stores, checked.

    Raises:
        ValueError: an option is out of range. `label_mode` depends on the classes and
            is checked later, by `check_label_mode`.

    Example:
        >>> options = folder_options(
        ...     image_size=96, batch_size=32, label_mode="int", percent=10,
        ...     shuffle=True, seed=42,
        ... )
        >>> options["image_size"]
        (96, 96)
    """
    size = image_size if isinstance(image_size, Sequence) else (image_size, image_size)
    whole = len(size) == 2 and all(is_whole(n, least=1) for n in size)
    if not whole or size[0] * size[1] > MAX_PIXELS:
        raise ValueError(
            "image_size must be a height and a width of at least 1 pixel, or one "
            f"number for both, and at most {MAX_PIXELS:,} pixels in all. "
            f"Received: image_size={image_size!r}. Write image_size=(224, 224)."
        )
    require_whole("batch_size", batch_size, least=1, most=_MAX_BATCH_SIZE)
    require_whole("seed", seed)
    check_percent(percent)
    return {
        "image_size": (int(size[0]), int(size[1])),
        "batch_size": int(batch_size),
        "label_mode": label_mode,
        "percent": percent,
        "shuffle": shuffle,
        "seed": int(seed),
    }


def check_label_mode(label_mode: str, class_names: Sequence[str]) -> None:
    """Refuse a form of labels that is unknown or that these classes cannot have.

    Example:
        >>> check_label_mode("binary", ["cat", "dog", "eel"])
        Traceback (most recent call last):
        ValueError: Binary labels need exactly two classes. Received: ...
    """
    require_one_of("label_mode", label_mode, LABEL_MODES)
    if label_mode == "binary" and len(class_names) != 2:
        raise ValueError(
            "Binary labels need exactly two classes. Received: label_mode='binary' "
            f"with {len(class_names)}: {', '.join(class_names)}. Use 'categorical'."
        )


def check_percent(percent: float, *, all_allowed: bool = True) -> None:
    """Refuse a percentage of images that takes none, or all where some must remain."""
    number = isinstance(percent, numbers.Real)
    if not (number and 0 < percent <= 100) or (percent == 100 and not all_allowed):
        most = "at most" if all_allowed else "below"
        raise ValueError(
            f"percent must be above 0 and {most} 100. Received: percent={percent!r}."
        )
