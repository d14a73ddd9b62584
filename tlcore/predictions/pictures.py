"""Pictures: the predictions of many images as people look at them.

Owns the picture of the confusion matrix, of the worst mistakes, and of calibration. How
a figure is created and saved is in `plotting.figures`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tlcore.arguments import counted, require_whole
from tlcore.data.images import read_picture
from tlcore.data.reading import DEFAULT, Reading
from tlcore.plotting.figures import (
    BLUE,
    GAP_INCHES,
    GREY,
    WIDTH_INCHES,
    add_title,
    checked_path,
    new_figure,
    save_figure,
    wrapped,
)
from tlcore.predictions.calibration import calibration
from tlcore.predictions.class_report import confusion_matrix

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from tlcore.predictions.values import Predictions

MAX_NUMBERED = 20
"""The most classes whose confusion matrix has a number in each cell."""
_NAME_LETTERS = 24
_COLUMNS = 5
_HEAD_INCHES, _LINES_INCHES = 0.35, 0.62
"""Room for the title, and for the lines above an image."""
_THUMBNAIL_PIXELS = 240


def plot_confusion(
    predictions: Predictions,
    *,
    path: str | Path | None = None,
    title: str | None = None,
) -> Figure:
    """Draw the confusion matrix and return the figure.

    A row is a class, its cells are coloured by its share that was said to be of each
    class. A cell has its number of images, up to 20 classes.

    Args:
        predictions: of images whose truth is known, one class for each.
        path: where to save the figure; its folder must exist.
        title: of the figure; by default the accuracy.

    Raises:
        ValueError: the truth is not known, an image can have several classes, or
            matplotlib cannot write files with the suffix of `path`.
        OSError: the figure cannot be written.

    Example:
        >>> from tlcore.predictions.values import Predictions
        >>> rows = np.array([[0.9, 0.1], [0.4, 0.6], [0.3, 0.7]])
        >>> found = Predictions(("cat", "dog"), rows, np.array([0, 0, 1]))
        >>> [text.get_text() for text in tl.plot_confusion(found).axes[0].texts]
        ['1', '1', '1']
    """
    target = checked_path(path)
    counts = confusion_matrix(predictions)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    classes = len(counts)
    side = min(max(3.0, 0.45 * classes), 12.0)
    figure = new_figure(side + 2.0, width=side + 3.0)
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    if classes <= MAX_NUMBERED:
        for row, column in np.argwhere(counts):
            colour = "white" if shares[row, column] > 0.5 else "black"
            number = str(counts[row, column])
            axes.text(column, row, number, ha="center", va="center", color=colour)
    names = [wrapped(name, _NAME_LETTERS) for name in predictions.class_names]
    size = 10 if classes <= MAX_NUMBERED else max(4, 200 // classes)
    for axis, rotation in ((axes.yaxis, 0), (axes.xaxis, 90)):
        axis.set_ticks(range(classes))
        axis.set_ticklabels(names, fontsize=size, rotation=rotation, parse_math=False)
    axes.set(xlabel="predicted", ylabel="truth")
    add_title(figure, title or f"accuracy {predictions.accuracy}")
    save_figure(figure, target)
    return figure


def plot_mistakes(
    predictions: Predictions,
    *,
    count: int = 20,
    reading: Reading = DEFAULT,
    path: str | Path | None = None,
) -> Figure:
    """Draw the images that are wrong, the most confident mistake first.

    Args:
        predictions: of image files whose truth is known.
        count: the most images.
        reading: how the files were read.
        path: where to save the figure; its folder must exist.

    Raises:
        ValueError: the truth is not known, the images are not in files, `count` is
            below 1, or matplotlib cannot write files with the suffix of `path`.
        OSError: an image cannot be read any more, or the figure cannot be written.

    Example:
        >>> test = tl.image_folder("photos/test", image_size=32)
        >>> model = tl.create_model("sample_net", 3, input_shape=(32, 32, 3))
        >>> figure = tl.plot_mistakes(tl.predict(model, test), count=2)
        >>> len(figure.axes)
        2
    """
    target = checked_path(path)
    require_whole("count", count, least=1)
    if predictions.paths is None:
        raise ValueError(
            "Mistakes are drawn from image files. Received: predictions of images in "
            "memory. predictions.mistakes() has their numbers."
        )
    wrong = predictions.mistakes()
    shown = wrong[:count]
    total = f"{len(wrong)} of {counted(len(predictions), 'image')} wrong"
    columns = max(1, min(_COLUMNS, len(shown)))
    rows = max(1, -(-len(shown) // columns))
    figure, places = _cells(rows, columns)
    for place, index in zip(places, shown, strict=False):
        _draw_mistake(place, predictions, int(index), reading)
    for place in places[len(shown) :]:
        place.remove()
    add_title(figure, total + (f", the worst {count}" if len(wrong) > count else ""))
    save_figure(figure, target)
    return figure


def plot_calibration(
    predictions: Predictions,
    *,
    bins: int = 10,
    path: str | Path | None = None,
) -> Figure:
    """Draw the accuracy of predictions by their confidence, and return the figure.

    A point is the images of a range of confidence, with the 95 % interval of their
    accuracy. On the line a probability of 0.9 is right nine times in ten; below it the
    model is too sure.

    Args:
        predictions: of images whose truth is known, one class for each.
        bins: how many ranges of equal width [0, 1] is divided into.
        path: where to save the figure; its folder must exist.

    Raises:
        ValueError: as `calibration`, or matplotlib cannot write files with the suffix
            of `path`.
        OSError: the figure cannot be written.

    Example:
        >>> from tlcore.predictions.values import Predictions
        >>> rows = np.array([[0.9, 0.1], [0.1, 0.9], [0.3, 0.7]])
        >>> found = Predictions(("cat", "dog"), rows, np.array([0, 0, 1]))
        >>> tl.plot_calibration(found).axes[0].get_ylabel()
        'accuracy'
    """
    target = checked_path(path)
    found = calibration(predictions, bins=bins)
    figure = new_figure(6.5, width=6.0)
    axes, below = figure.subplots(2, 1, height_ratios=[4, 1], sharex=True)
    x = [each.confidence for each in found.bins]
    y = [each.accuracy.value for each in found.bins]
    low = [each.accuracy.value - each.accuracy.low for each in found.bins]
    high = [each.accuracy.high - each.accuracy.value for each in found.bins]
    axes.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1)
    axes.errorbar(x, y, [low, high], color=BLUE, marker="o", capsize=3)
    axes.set(xlim=(0, 1), ylim=(-0.02, 1.02), ylabel="accuracy")
    widths = [each.high - each.low for each in found.bins]
    centres = [(each.high + each.low) / 2 for each in found.bins]
    below.bar(
        centres, [x.accuracy.n for x in found.bins], widths, color=BLUE, alpha=0.6
    )
    below.set(xlabel="probability of the predicted class", ylabel="images")
    error = f"expected calibration error {found.error:.3f} (n={found.n})"
    add_title(figure, error)
    save_figure(figure, target)
    return figure


def _cells(rows: int, columns: int) -> tuple[Figure, list[Axes]]:
    """Return a figure of square cells, each with room for three lines above it."""
    cell = WIDTH_INCHES / _COLUMNS - GAP_INCHES
    wide = max(4.0, columns * (cell + GAP_INCHES) + GAP_INCHES)
    high = _HEAD_INCHES + rows * (cell + _LINES_INCHES) + GAP_INCHES
    # All sizes are known; to find them, the constrained layout takes a second.
    figure = new_figure(high, width=wide, layout=None)
    grid = figure.subplots(
        rows,
        columns,
        squeeze=False,
        gridspec_kw={
            "left": GAP_INCHES / wide,
            "right": columns * (cell + GAP_INCHES) / wide,
            "top": 1 - (_HEAD_INCHES + _LINES_INCHES) / high,
            "bottom": GAP_INCHES / high,
            "wspace": GAP_INCHES / cell,
            "hspace": _LINES_INCHES / cell,
        },
    )
    return figure, list(grid.flat)


def _draw_mistake(
    axes: Axes, predictions: Predictions, index: int, reading: Reading
) -> None:
    path = predictions.name_of(index)
    try:
        picture = read_picture(path, reading, about=_THUMBNAIL_PIXELS)
    except ValueError as error:
        raise OSError(str(error)) from error
    picture.thumbnail((_THUMBNAIL_PIXELS, _THUMBNAIL_PIXELS))
    axes.imshow(np.asarray(picture))
    # All cells are square, with the image at the top, so that the names stand in line.
    side = max(picture.size)
    left = (picture.width - side) / 2 - 0.5
    axes.set(xlim=(left, left + side), ylim=(side - 0.5, -0.5))
    axes.set_axis_off()
    truth = predictions.said_of(predictions.require_truth()[index])
    said = predictions.said_of(predictions.predicted[index])
    lines = (
        f"said {said} ({predictions.confidence[index]:.2f})",
        f"is {truth}",
        Path(path).name,
    )
    text = "\n".join(wrapped(line, _NAME_LETTERS) for line in lines)
    # To find the place, matplotlib would make all ticks, which takes most of the time.
    axes.set_title(text, fontsize=8, y=1.0, parse_math=False)
