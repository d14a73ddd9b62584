"""Ranking picture: backbones by accuracy, with what each costs."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tlcore.choosing.ranking import Ranked
from tlcore.plotting.figures import (
    BLUE,
    GREY,
    add_title,
    checked_path,
    new_figure,
    save_figure,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_ranking(
    ranked: Sequence[Ranked], *, path: str | Path | None = None
) -> "Figure":
    """Draw the accuracy of ranked backbones, and return the figure.

    The best is on top. A point has its 95 % interval; it is grey where the backbone is
    worse than the best one beyond chance.

    Args:
        ranked: what `rank` returned.
        path: where to save the figure; its folder must exist.

    Raises:
        ValueError: matplotlib cannot write files with the suffix of `path`.
        OSError: the figure cannot be written.

    Example:
        >>> ranked = tl.rank("photos", ["sample_net"], image_size=32, folds=2)
        >>> plot_ranking(ranked).axes[0].get_xlabel()
        'accuracy of a linear head, cross-validated'
    """
    target = checked_path(path)
    figure = new_figure(1.2 + 0.45 * len(ranked), width=8.0)
    axes = figure.subplots()
    for place, row in enumerate(ranked):
        value = row.accuracy
        error = [[value.value - value.low], [value.high - value.value]]
        colour = GREY if row.worse else BLUE
        axes.errorbar(
            value.value, place, xerr=error, color=colour, marker="o", capsize=3
        )
    labels = [
        f"{row.backbone}\n{row.params / 1e6:.1f} M parameters, {row.image_size} px"
        for row in ranked
    ]
    axes.set_yticks(range(len(ranked)), labels, fontsize=9)
    axes.set_ylim(len(ranked) - 0.5, -0.5)
    axes.set_xlabel("accuracy of a linear head, cross-validated")
    axes.grid(axis="x", alpha=0.3)
    add_title(figure, f"{ranked[0].accuracy.n} images")
    save_figure(figure, target)
    return figure
