"""Sweep picture: what was tried, by learning rate, and what the best is worth."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tlcore.choosing.sweep import Candidate, Sweep
from tlcore.plotting.figures import (
    BLACK,
    GREY,
    PALETTE,
    add_title,
    checked_path,
    new_figure,
    save_figure,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MARKERS = "osD^vP*X"


def plot_sweep(sweep: Sweep, *, path: str | Path | None = None) -> "Figure":
    """Draw the accuracy of all that was tried, and return the figure.

    A line is a dropout and a weight decay. The chosen one has a ring; the dashed line
    and its band are what it is worth without what it owes to having been chosen. Heads
    that diverged are not drawn.

    Args:
        sweep: what `sweep` returned.
        path: where to save the figure; its folder must exist.

    Raises:
        ValueError: matplotlib cannot write files with the suffix of `path`.
        OSError: the figure cannot be written.

    Example:
        >>> from tlcore.choosing.sweep import Grid
        >>> from tlcore.runs.runner import RunOptions
        >>> recipe = tl.RECIPES["model_0"].changed(
        ...     backbone="sample_net", image_size=32, percent=100.0, epochs=1
        ... )
        >>> grid = Grid([1e-3, 1e-2], dropouts=[0.0], weight_decays=[0.0])
        >>> quiet = RunOptions(say=lambda line: None)
        >>> found = tl.sweep(recipe, "photos", quiet, grid=grid)
        >>> plot_sweep(found).axes[0].get_xscale()
        'log'
    """
    target = checked_path(path)
    tuned = [one for one in sweep.candidates if one.recipe.fine_tune_epochs]
    heads = [one for one in sweep.candidates if not one.recipe.fine_tune_epochs]
    figure = new_figure(4.8, width=9.0)
    axes, *others = figure.subplots(
        1,
        2 if tuned else 1,
        squeeze=False,
        sharey=True,
        width_ratios=[4, 1] if tuned else [1],
    )[0]
    _draw_heads(axes, heads, sweep.best)
    for beside in others:
        _draw_tuned(beside, tuned, sweep.best)
    worth = sweep.corrected
    for each in (axes, *others):
        each.axhline(worth.value, color=GREY, linestyle="--", linewidth=1)
        each.axhspan(worth.low, worth.high, color=GREY, alpha=0.12, linewidth=0)
        each.grid(alpha=0.25)
    axes.set_xscale("log")
    axes.set(xlabel="learning rate", ylabel="accuracy on validation")
    axes.legend(fontsize=8, framealpha=0.9, edgecolor="none", loc="lower right")
    add_title(figure, _title(sweep))
    save_figure(figure, target)
    return figure


def _title(sweep: Sweep) -> str:
    """Return what the best is worth on validation, and on test."""
    worth = sweep.corrected
    title = (
        f"the best of {len(sweep.candidates)}, corrected for the choice: "
        f"{worth.value:.3f} ({worth.low:.3f} to {worth.high:.3f})"
    )
    if sweep.test is not None:
        title += f"; on test {sweep.test['accuracy'].value:.3f}"
    return title


def _draw_heads(axes: "Axes", heads: Sequence[Candidate], best: Candidate) -> None:
    drops = sorted({one.recipe.dropout for one in heads})
    decays = sorted({one.recipe.weight_decay or 0.0 for one in heads})
    for drop in drops:
        for decay in decays:
            some = sorted(
                (one.recipe.learning_rate, one.accuracy.value)
                for one in heads
                if one.recipe.dropout == drop
                and (one.recipe.weight_decay or 0.0) == decay
                and one.accuracy is not None
            )
            axes.plot(
                [rate for rate, _ in some],
                [value for _, value in some],
                color=PALETTE[drops.index(drop) % len(PALETTE)],
                marker=_MARKERS[decays.index(decay) % len(_MARKERS)],
                markersize=5,
                linewidth=1,
                alpha=0.8,
                label=f"dropout {drop:g}, weight decay {decay:g}",
            )
    if best in heads and best.accuracy is not None:
        _ring(axes, best.recipe.learning_rate, best.accuracy.value)


def _draw_tuned(axes: "Axes", tuned: Sequence[Candidate], best: Candidate) -> None:
    some = sorted(tuned, key=lambda one: one.recipe.last)
    for place, one in enumerate(some):
        value = one.accuracy
        assert value is not None  # noqa: S101 - fine-tuning that diverges is an error
        error = [[value.value - value.low], [value.high - value.value]]
        axes.errorbar(place, value.value, error, color=GREY, marker="s", capsize=3)
        if one is best:
            _ring(axes, place, value.value)
    names = [f"last {one.recipe.last}" for one in some]
    axes.set_xticks(range(len(some)), names, fontsize=8)
    axes.set_xlim(-0.7, len(some) - 0.3)
    axes.set_xlabel("fine-tuned")


def _ring(axes: "Axes", x: float, y: float) -> None:
    axes.scatter(
        [x], [y], s=170, facecolors="none", edgecolors=BLACK, linewidths=1.5, zorder=4
    )
