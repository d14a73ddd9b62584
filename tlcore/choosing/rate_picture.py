"""Rate picture: the loss of a rate search, and the rate that it suggests."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tlcore.optimizing.rate_curve import RateSearch
from tlcore.plotting.figures import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    VERMILLION,
    add_title,
    checked_path,
    new_figure,
    save_figure,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_BELOW, _ABOVE = 0.08, 0.3
"""Room in the picture, as parts of the range of the losses before they diverge."""


def plot_learning_rates(search: RateSearch, path: str | Path | None = None) -> "Figure":
    """Draw the loss over the learning rate, and return the figure.

    The loss of each step is grey, the smoothed one blue. Lines mark the rate that is
    suggested, the steepest place and where the loss diverged. Losses far above the
    first ones are cut off.

    Args:
        search: what `find_learning_rate` returned.
        path: where to save the figure; its folder must exist.

    Raises:
        ValueError: matplotlib cannot write files with the suffix of `path`, or there
            is no step to draw.
        OSError: the figure cannot be written.

    Example:
        >>> train = tl.image_folder("photos/train", image_size=32, batch_size=4)
        >>> model = tl.create_model("sample_net", 3, input_shape=(32, 32, 3))
        >>> search = tl.find_learning_rate(model, train, steps=60, verbose=0)
        >>> plot_learning_rates(search).axes[0].get_xscale()
        'log'
    """
    target = checked_path(path)
    figure = new_figure(4.6, width=8.0)
    axes = figure.subplots()
    rates, losses = search.rates, search.losses
    axes.scatter(rates, losses, s=9, color=GREY, alpha=0.55, label="loss of a step")
    axes.plot(rates, search.smoothed, color=BLUE, linewidth=2, label="smoothed")
    _mark(axes, search)
    axes.set_xscale("log")
    axes.set_ylim(*_limits(losses))
    axes.set_xlabel("learning rate")
    axes.set_ylabel("loss")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    # Where the loss is high and the rate low, nothing is below the curve.
    axes.legend(loc="lower left", framealpha=0.9, edgecolor="none", fontsize=9)
    title = search.sentence
    if search.suggestion is not None:
        title = f"suggested learning rate: {search.suggestion:.2g}"
    add_title(figure, title)
    save_figure(figure, target)
    return figure


def _limits(losses: Sequence[float]) -> tuple[float, float]:
    """Return the lowest and highest loss that is shown."""
    first = losses[: max(1, len(losses) // 4)]
    low, high = min(losses), max(first)
    span = (high - low) or abs(high) or 1.0
    return low - _BELOW * span, high + _ABOVE * span


def _mark(axes: "Axes", search: RateSearch) -> None:
    """Mark the rates that were found, where they were."""
    if search.suggestion is not None:
        name = f"suggested: {search.suggestion:.2g}"
        axes.axvline(search.suggestion, color=GREEN, linewidth=2.5, label=name)
    marks = [("falls fastest", search.steepest, "o", ORANGE)]
    if search.suggestion is not None:
        least = search.rates[search.smoothed.index(min(search.smoothed))]
        marks.append(("least", least, "v", BLUE))
    for name, rate, marker, colour in marks:
        if rate is not None:
            loss = search.smoothed[search.rates.index(rate)]
            axes.plot(
                rate, loss, marker, color=colour, markersize=9,
                markeredgecolor="white", label=f"{name}: {rate:.2g}", zorder=3,
            )  # fmt: skip
    if search.diverged_at is not None:
        axes.axvline(
            search.diverged_at, color=VERMILLION, linestyle="--",
            label=f"diverged: {search.diverged_at:.2g}",
        )  # fmt: skip
