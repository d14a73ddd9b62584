"""Contents: whether the values of a batch are what a model is trained on.

Owns the rules for pixels (finite, in [0, 255]), for labels (what each kind of head can
learn from) and for weights, and the sentence for each that is broken. The first batch
is looked at before step 1, later ones as they come. What a dataset contains beyond its
values, shapes and length, is asked in `checks`.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tlcore.arguments import require_one_of

VALUE_RANGES = ("[0, 255]", "as is")
"""What images are expected to be: [0, 255], or whatever the model was built for."""

_OVERSHOOT = 64
"""How far bicubic and Lanczos resizing leave [0, 255] at most, with some room."""

_STANDARDIZED = 16
"""Standardized pixels are within a few units of 0, and no photograph is that dark."""

_SUM_TOLERANCE = 1e-3
"""Rounding of the sum of soft labels in half precision."""


class Batch(NamedTuple):
    """A batch in memory.

    Attributes:
        images: (n, height, width, channels).
        labels: (n,) or (n, columns).
        weights: a factor of the loss for each image, None for 1.
    """

    images: NDArray[Any]
    labels: NDArray[Any]
    weights: NDArray[Any] | None = None


@dataclass(frozen=True)
class Expected:
    """What a model can be trained on.

    Attributes:
        outputs: the number of its outputs.
        multi_label: whether each output stands for itself.
        value_range: one of `VALUE_RANGES`.
        image_shape: of one image, None where a size may vary; () allows all.
        label_rank: the rank of a batch of labels; None allows all.
        weighted: whether batches hold weights; None allows both.

    Example:
        >>> Expected(outputs=3).multi_label
        False
    """

    outputs: int
    multi_label: bool = False
    value_range: str = VALUE_RANGES[0]
    image_shape: tuple[int | None, ...] = ()
    label_rank: int | None = None
    weighted: bool | None = None

    def __post_init__(self) -> None:
        require_one_of("value_range", self.value_range, VALUE_RANGES)


def check_range(images: NDArray[Any], name: str, expected: Expected) -> None:
    """Refuse images that are not in [0, 255] but in a range that is often met.

    An image may be dark, so that single values prove nothing: what is refused is all
    within [0, 1] (or [-1, 1], or standardized), or far beyond [0, 255].

    Args:
        images: of the first batch.
        name: of the data, such as "train".
        expected: what the model expects; with "as is" everything is allowed.

    Raises:
        ValueError: the images are in another range.

    Example:
        >>> images = np.full((2, 4, 4, 3), 0.5)
        >>> check_range(images, "train", Expected(outputs=3))
        Traceback (most recent call last):
        ValueError: Images must be in [0, 255], and the model ... Received: train, ...
    """
    if expected.value_range == "as is" or not images.size:
        return
    low, high = float(images.min()), float(images.max())
    if low >= 0 and 0 < high <= 1:
        found, remedy = "[0, 1]", "x * 255"
    elif -1 <= low < 0 and high <= 1:
        found, remedy = "[-1, 1]", "(x + 1) * 127.5"
    elif low < 0 and high <= _STANDARDIZED:
        found, remedy = "no range of pixels, as if standardized", "x * std + mean"
    elif low < -_OVERSHOOT:
        found, remedy = "no range of pixels, as if a mean was subtracted", "x + mean"
    elif high > 255 + _OVERSHOOT:
        most = next((m for m in (1023, 4095, 65535) if high <= m), high)
        found, remedy = f"[0, {most:g}]", f"x * (255 / {most:g})"
    else:
        return
    raise ValueError(
        "Images must be in [0, 255], and the model converts them to what its backbone "
        f"expects. Received: {name}, whose first batch is in {found} "
        f"({low:.4g} to {high:.4g}). Leave the conversion out, or undo it, for a "
        f"dataset with map(lambda x, y: ({remedy}, y)). For images that are meant to "
        'be like this write value_range="as is".'
    )


def check_batch(batch: Batch, where: str, expected: Expected) -> None:
    """Refuse a batch with values that a model cannot learn from.

    Args:
        batch: the batch.
        where: which one it is, such as "train, epoch 2, step 3".
        expected: what the model expects.

    Raises:
        ValueError: images or weights are not finite numbers, their numbers differ, or
            labels are not those of the model's outputs.

    Example:
        >>> batch = Batch(np.zeros((2, 4, 4, 3)), np.array([1, 3]))
        >>> check_batch(batch, "train, epoch 1, step 1", Expected(outputs=3))
        Traceback (most recent call last):
        ValueError: Labels must be ... from 0 to 2. Received: train, epoch 1, ... 3...
    """
    counts = [len(x) for x in batch if x is not None]
    if len(set(counts)) > 1:
        raise ValueError(
            "A batch must hold a label, and a weight if any, for each image. "
            f"Received: {where}, with {' and '.join(map(str, counts))}. Make them as "
            "long as the images."
        )
    if batch.images.dtype.kind not in "uifb":
        raise ValueError(
            f"Images must be numbers. Received: {where}, of type {batch.images.dtype}."
            " Decode them, for files with tf.io.decode_image."
        )
    _check_form(batch, where, expected)
    _check_finite(batch.images, "Images", where)
    _check_labels(batch.labels, where, expected)
    if batch.weights is not None:
        _check_finite(batch.weights, "Weights", where)
        if batch.weights.ndim != 1 or (batch.weights < 0).any():
            raise ValueError(
                "Weights must be one factor of at least 0 for each image, (n,). "
                f"Received: {where}, with weights of shape {batch.weights.shape} from "
                f"{batch.weights.min():g}. Leave images out by a weight of 0."
            )


def _check_form(batch: Batch, where: str, expected: Expected) -> None:
    found = batch.images.shape[1:]
    wanted = expected.image_shape or found
    sizes = zip(found, wanted, strict=False)
    if len(found) != len(wanted) or any(n not in {m, None} for m, n in sizes):
        raise ValueError(
            f"Every image must have the shape that the model takes, {wanted}. "
            f"Received: {where}, with images of {found}. Resize them to one size."
        )
    weighted = batch.weights is not None
    if expected.label_rank not in {None, batch.labels.ndim} or (
        expected.weighted not in {None, weighted}
    ):
        raise ValueError(
            "Every batch must have the form of the first. Received: "
            f"{where}, with labels of shape {batch.labels.shape} and "
            f"{'' if weighted else 'no '}weights. Give all batches alike."
        )


def _check_finite(values: NDArray[Any], what: str, where: str) -> None:
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        count = int(np.count_nonzero(~np.isfinite(values)))
        raise ValueError(
            f"{what} must be finite. Received: {where}, with {count} values that are "
            "NaN or infinite. Replace them, or leave out what they belong to."
        )


def _check_labels(labels: NDArray[Any], where: str, expected: Expected) -> None:
    if labels.dtype.kind not in "uifb":
        shown = next(iter(labels.reshape(-1)[:1].tolist()), None)
        raise ValueError(
            "Labels must be numbers, the index of a class or one column per output. "
            f"Received: {where}, with labels such as {shown!r}. Write "
            "names.index(label), with the names of the classes in a fixed order."
        )
    _check_finite(labels, "Labels", where)
    numbers = labels.astype(np.float64)
    if expected.outputs == 1:
        _check_binary(numbers, where)
    elif numbers.ndim == 1:
        _check_indices(numbers, where, expected)
    elif numbers.ndim == 2 and numbers.shape[1] == expected.outputs:
        _check_rows(numbers, where, expected)
    else:
        raise ValueError(
            f"Labels must be indices, (n,), or one column per output, (n, "
            f"{expected.outputs}). Received: {where}, with labels of shape "
            f"{labels.shape}. Use the shape that the first batch has."
        )


def _check_binary(labels: NDArray[np.float64], where: str) -> None:
    low, high = labels.min(initial=0), labels.max(initial=0)
    if low < 0 or high > 1:
        remedy = "(y + 1) / 2" if set(np.unique(labels)) <= {-1, 0, 1} else "y - 1"
        raise ValueError(
            "Labels of one output must be 0 or 1, or a probability. "
            f"Received: {where}, with labels from {low:g} to {high:g}. Write "
            f"map(lambda x, y: (x, {remedy})), or build the model with num_classes of "
            "at least 2."
        )


def _check_indices(labels: NDArray[np.float64], where: str, expected: Expected) -> None:
    last = expected.outputs - 1
    if expected.multi_label:
        raise ValueError(
            "Labels of a multi-label model must be rows of 0 and 1, one column per "
            f"output, (n, {expected.outputs}). Received: {where}, with labels of shape "
            f"{labels.shape}. Build the model without multi_label, or encode them."
        )
    odd = labels[(labels != np.round(labels)) | (labels < 0) | (labels > last)]
    if not odd.size:
        return
    if labels.min() >= 1 and labels.max() == expected.outputs:
        remedy = "Count from 0: map(lambda x, y: (x, y - 1))"
    elif set(np.unique(labels)) <= {-1, 1}:
        remedy = "Write map(lambda x, y: (x, (y + 1) // 2))"
    else:
        remedy = "Encode the classes as 0, 1, 2 and so on, or raise num_classes"
    raise ValueError(
        f"Labels must be whole numbers, the classes from 0 to {last}. "
        f"Received: {where}, with a label {odd[0]:g}. {remedy}."
    )


def _check_rows(labels: NDArray[np.float64], where: str, expected: Expected) -> None:
    outside = (labels < 0) | (labels > 1)
    if outside.any():
        raise ValueError(
            "Labels in columns must be from 0 to 1. "
            f"Received: {where}, with a label {labels[outside][0]:g}. Scale them, or "
            "give the index of each class instead."
        )
    sums = labels.sum(axis=1)
    off = np.abs(sums - 1) > _SUM_TOLERANCE
    if off.any() and not expected.multi_label:
        raise ValueError(
            "The columns of a label must sum to 1: an image has one class, or shares "
            f"of several. Received: {where}, with the row "
            f"{labels[off][0].tolist()!r}, which sums to {sums[off][0]:g}. For images "
            "of several classes build the model with create_model(..., "
            "multi_label=True)."
        )


def shape_remedy(shape: tuple[int | None, ...], expected: tuple[Any, ...]) -> str:
    """Return the line that makes images of one shape fit another.

    Example:
        >>> shape_remedy((28, 28, 1), (28, 28, 3))
        'Make them RGB: map(lambda x, y: (tf.image.grayscale_to_rgb(x), y)).'
    """
    if len(shape) != 3:
        return "Give images of one size, decoded."
    if shape[0] == expected[-1] and shape[-1] != expected[-1]:
        return "The channels come last: images.permute(0, 2, 3, 1) in PyTorch."
    if shape[-1] == 1:
        return "Make them RGB: map(lambda x, y: (tf.image.grayscale_to_rgb(x), y))."
    if shape[-1] == 4:
        return "Leave alpha out: map(lambda x, y: (x[..., :3], y))."
    size = tuple(expected[:2])
    return f"Resize them: map(lambda x, y: (tf.image.resize(x, {size}), y))."
