"""Learning curves: the metrics of a run by epoch, and several runs compared.

Owns the panels, the curves, the marks where phases start, and the legend. Which metrics
a history holds is in `histories`; how a figure is created and saved is in `figures`. It
does not know folders of runs: `tlcore.runs` reads them and calls this module.
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tlcore.arguments import counted
from tlcore.plotting.figures import (
    BLUE,
    GREY,
    ORANGE,
    PALETTE,
    WIDTH_INCHES,
    add_title,
    checked_path,
    new_figure,
    save_figure,
    wrapped,
)
from tlcore.plotting.histories import (
    DrawnRun,
    History,
    drawn_run,
    metric_curves,
    recorded_name,
    shared_metrics,
)

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

MAX_COLUMNS = 4
"""The most runs drawn side by side; more are drawn in the same panel."""
START = "start"
"""The id of the lines that mark starts of phases; they are not in the legend."""
LINE_STYLES = ("-", "--", ":", "-.")
PANEL_INCHES = 3.6
LEGEND_ROW_INCHES = 0.22
PHASE_ROW_POINTS = 12
MARKED_EPOCHS = 40
"""With more epochs, only values without a neighbour have a marker."""


def plot_history(
    *histories: History,
    labels: Sequence[str] | None = None,
    path: str | Path | None = None,
    title: str | None = None,
) -> Figure:
    """Draw the loss and accuracy curves of one run and return the figure.

    Training and validation have a curve each; epochs are counted from 1. A value that
    is not a finite number leaves a gap. A metric that was not recorded has no panel.

    Args:
        histories: the phases of the run in order, each a keras `History` or a mapping
            of metrics to values. A mapping may hold "epoch" (counted from 0); without
            it, its epochs follow on from the phase before. The start of each phase
            after the first is marked.
        labels: the names of the phases; by default the second is "fine-tuning".
        path: where to save the figure; its folder must exist.
        title: of the figure.

    Raises:
        ValueError: there is no history; a history is empty, has metrics of different
            lengths or does not follow on from the one before; none holds a loss or an
            accuracy; there is not one label per history; or matplotlib cannot write
            files with the suffix of `path`.
        OSError: the figure cannot be written.

    Example:
        >>> head = {"loss": [3.0, 2.0], "accuracy": [0.3, 0.5]}
        >>> tuned = {"loss": [1.0], "accuracy": [0.7]}
        >>> figure = tl.plot_history(head, tuned)
        >>> [axes.get_ylabel() for axes in figure.axes]
        ['loss', 'accuracy']
    """
    target = checked_path(path)
    run = drawn_run(histories, "histories")
    if labels is not None and len(labels) != len(histories):
        raise ValueError(
            "labels must hold one name per history. "
            f"Received: {counted(len(labels), 'label')}, "
            f"{counted(len(histories), 'history', 'histories')}. "
            "Leave labels out, or name every phase."
        )
    metrics = shared_metrics([run], None)
    figure = new_figure(PANEL_INCHES + 0.4)
    grid = figure.subplots(1, len(metrics), squeeze=False)
    for axes, metric in zip(grid[0], metrics, strict=True):
        _draw_run(axes, run, metric)
        _set_epochs(axes, run.epochs)
        _mark_phases(axes, run, labels, width=WIDTH_INCHES / len(metrics))
        axes.set_xlabel("epoch")
        axes.set_ylabel(recorded_name(run, metric))
        _bound_accuracy(axes, metric)
    _legend(figure, grid.flat)
    add_title(figure, title)
    save_figure(figure, target)
    return figure


def compare_histories(
    histories: Mapping[str, History | Sequence[History]],
    *,
    metric: str | None = None,
    path: str | Path | None = None,
    title: str | None = None,
) -> Figure:
    """Draw several runs for comparison and return the figure.

    Up to 4 runs have a column each, loss above accuracy, on shared axes. More runs are
    drawn in one panel per metric, with one curve each: validation, or training (named
    so in the legend) for a run without validation.

    Args:
        histories: maps the name of each run to its history, or to the histories of its
            phases in order, as `plot_history` takes them. The start of fine-tuning is
            marked.
        metric: the only metric to draw, for training and validation, or `val_...` for
            validation alone; by default the loss and the accuracy.
        path: where to save the figure; its folder must exist.
        title: of the figure.

    Raises:
        ValueError: there is no run; no run recorded `metric`; `plot_history` would
            refuse a history; or matplotlib cannot write files with the suffix of
            `path`.
        OSError: the figure cannot be written.

    Example:
        >>> runs = {"10 %": {"loss": [3.0, 2.0]}, "100 %": {"loss": [2.0, 1.0]}}
        >>> figure = tl.compare_histories(runs, metric="loss")
        >>> [axes.get_title() for axes in figure.axes]
        ['10 %', '100 %']
    """
    target = checked_path(path)
    if not isinstance(histories, Mapping) or not histories:
        raise ValueError(
            "histories must map the name of at least 1 run to its history. "
            f"Received: histories={reprlib.repr(histories)}. "
            "Write compare_histories({'name': history})."
        )
    runs = {
        str(name): drawn_run(
            value if isinstance(value, Sequence) else (value,), f"histories[{name!r}]"
        )
        for name, value in histories.items()
    }
    metrics = shared_metrics(list(runs.values()), metric)
    draw = _side_by_side if len(runs) <= MAX_COLUMNS else _overlaid
    figure = draw(runs, metrics)
    add_title(figure, title)
    save_figure(figure, target)
    return figure


def _side_by_side(runs: Mapping[str, DrawnRun], metrics: Sequence[str]) -> Figure:
    """Draw a column of panels per run; the panels of a metric share their scale."""
    figure = new_figure(PANEL_INCHES * max(len(metrics), 1.25) * 0.8 + 0.4)
    grid = figure.subplots(
        len(metrics), len(runs), squeeze=False, sharex="all", sharey="row"
    )
    width = WIDTH_INCHES / len(runs)
    all_epochs = np.concatenate([run.epochs for run in runs.values()])
    for column, run in zip(grid.T, runs.values(), strict=True):
        for axes, metric in zip(column, metrics, strict=True):
            _draw_run(axes, run, metric)
            _set_epochs(axes, all_epochs)
        for axes in column[1:]:
            for start in run.starts:
                _draw_start(axes, start, color=GREY)
        column[-1].set_xlabel("epoch")
    # The names of phases are above the panels, and the names of runs above those, at
    # the same height in every column.
    rows = max(
        _mark_phases(axes, run, None, width=width)
        for axes, run in zip(grid[0], runs.values(), strict=True)
    )
    for axes, name in zip(grid[0], runs, strict=True):
        axes.set_title(
            wrapped(name, int(width * 10)),
            fontsize=11,
            pad=6 + PHASE_ROW_POINTS * rows,
            parse_math=False,
        )
    for row, metric in zip(grid, metrics, strict=True):
        row[0].set_ylabel(metric)
        _bound_accuracy(row[0], metric)
    _legend(figure, grid.flat)
    return figure


def _overlaid(runs: Mapping[str, DrawnRun], metrics: Sequence[str]) -> Figure:
    """Draw one curve per run in each panel."""
    from matplotlib.lines import Line2D

    # About 100 characters fit below the panels, 8 of them taken by each line sample.
    columns = max(1, min(4, 100 // (max(map(len, runs)) + 8)))
    rows = math.ceil((len(runs) + 1) / columns)
    figure = new_figure(PANEL_INCHES + 0.6 + LEGEND_ROW_INCHES * rows)
    grid = figure.subplots(1, len(metrics), squeeze=False)
    all_epochs = np.concatenate([run.epochs for run in runs.values()])
    for axes, metric in zip(grid[0], metrics, strict=True):
        kind = _draw_runs(axes, runs, metric)
        _mark_starts(axes, runs)
        _set_epochs(axes, all_epochs)
        axes.set_xlabel("epoch")
        axes.set_ylabel(f"{kind} {metric.removeprefix('val_')}")
        _bound_accuracy(axes, metric)
    marks = [Line2D([], [], color=GREY, linestyle="--", label="start of fine-tuning")]
    started = any(run.starts for run in runs.values())
    _legend(figure, grid.flat, extra=marks if started else [], columns=columns)
    return figure


def _draw_runs(axes: Axes, runs: Mapping[str, DrawnRun], metric: str) -> str:
    """Draw one curve per run.

    Returns:
        "training" if all curves show training, else "validation".
    """
    drawn = {name: metric_curves(run, metric) for name, run in runs.items()}
    for index, (name, curves) in enumerate(drawn.items()):
        if curves:
            validated = "validation" in curves
            _draw_curve(
                axes,
                runs[name],
                curves["validation" if validated else "training"],
                label=name if validated else f"{name} (training)",
                color=PALETTE[index % len(PALETTE)],
                linestyle=LINE_STYLES[index // len(PALETTE) % len(LINE_STYLES)],
            )
    validated = any("validation" in curves for curves in drawn.values())
    return "validation" if validated else "training"


def _mark_starts(axes: Axes, runs: Mapping[str, DrawnRun]) -> None:
    """Mark the starts of phases, in the colour of the run if only one starts there."""
    owners: dict[float, list[int]] = {}
    for index, run in enumerate(runs.values()):
        for start in run.starts:
            owners.setdefault(start, []).append(index)
    for start, indices in owners.items():
        lone = PALETTE[indices[0] % len(PALETTE)]
        _draw_start(axes, start, color=lone if len(indices) == 1 else GREY)


def _draw_run(axes: Axes, run: DrawnRun, metric: str) -> None:
    """Draw the training and validation curves of a metric."""
    looks: dict[str, dict[str, Any]] = {
        "training": {"color": ORANGE, "marker": "o"},
        "validation": {"color": BLUE, "marker": "s"},
    }
    curves = metric_curves(run, metric)
    for kind, name in curves.items():
        _draw_curve(axes, run, name, label=kind, **looks[kind])
    if not curves:
        axes.text(
            0.5,
            0.5,
            "not recorded",
            transform=axes.transAxes,
            ha="center",
            va="center",
            color=GREY,
        )


def _draw_curve(
    axes: Axes, run: DrawnRun, name: str, *, label: str, **look: Any
) -> None:
    values = run.curve(name)
    there = np.isfinite(values)
    # A value between two gaps is part of no line; without a marker it would not show.
    padded = np.concatenate([[False], there, [False]])
    lone = there & ~padded[:-2] & ~padded[2:]
    axes.plot(
        run.epochs,
        values,
        label=label,
        markersize=4,
        linewidth=1.8,
        markevery=there if len(values) <= MARKED_EPOCHS else lone,
        **{"marker": "o", **look},
    )


def _draw_start(axes: Axes, start: float, *, color: str) -> None:
    axes.axvline(start, color=color, linestyle="--", linewidth=1.2, zorder=1, gid=START)


def _mark_phases(
    axes: Axes, run: DrawnRun, labels: Sequence[str] | None, *, width: float
) -> int:
    """Mark the starts of phases and write their names above the axes.

    Args:
        axes: a panel whose epochs are set.
        run: the run drawn in it.
        labels: of all phases; by default the first has none.
        width: of the panel in inches.

    Returns:
        The number of rows that the names need so that none overlaps another.
    """
    count = len(run.starts)
    if labels is None:
        more = [f"fine-tuning {n}" for n in range(2, count + 1)]
        labels = ["", "fine-tuning", *more][: count + 1]
    left, right = axes.get_xlim()
    # The width of a character in epochs, estimated: at 9 points at most 0.085 inches,
    # and the axes take 85 % of the panel. To measure it, the figure must be drawn.
    letter = 0.085 / (width * 0.85) * (right - left)
    ends: list[float] = []
    for x, label in zip((left, *run.starts), labels, strict=True):
        if x != left:
            _draw_start(axes, x, color=GREY)
        if not label:
            continue
        length = len(label) * letter
        fits = x + length <= right or x - length < left
        begin = x if fits else x - length
        row = next((r for r, end in enumerate(ends) if end < begin), len(ends))
        ends[row : row + 1] = [begin + length]
        axes.annotate(
            label,
            xy=(x, 1),
            xycoords=axes.get_xaxis_transform(),
            xytext=(0, 4 + PHASE_ROW_POINTS * row),
            textcoords="offset points",
            ha="left" if fits else "right",
            fontsize=9,
            color=GREY,
            parse_math=False,
        )
    return len(ends)


def _set_epochs(axes: Axes, epochs: NDArray[np.int64]) -> None:
    """Let the x axis span these epochs, with ticks at whole numbers only."""
    from matplotlib.ticker import MaxNLocator

    axes.set_xlim(epochs.min() - 0.5, epochs.max() + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True, min_n_ticks=1))
    axes.grid(visible=True, color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _bound_accuracy(axes: Axes, metric: str) -> None:
    """Keep the scale of an accuracy within [0, 1], as wide as its values need."""
    if "acc" not in metric:
        return
    # A row shares its scale: a value out of range in one column, such as an accuracy in
    # percent, must stay in view.
    panels = axes.get_shared_y_axes().get_siblings(axes)
    low = min(panel.dataLim.y0 for panel in panels)
    high = max(panel.dataLim.y1 for panel in panels)
    if low >= 0 and high <= 1:
        bottom, top = axes.get_ylim()
        margin = 0.02 * (min(top, 1) - max(bottom, 0))
        axes.set_ylim(max(bottom, -margin), min(top, 1 + margin))


def _legend(
    figure: Figure,
    panels: Iterable[Axes],
    *,
    extra: Sequence[Any] = (),
    columns: int = 2,
) -> None:
    """Name every curve once, below the panels."""
    lines = {
        str(line.get_label()): line
        for axes in panels
        for line in axes.get_lines()
        if line.get_gid() != START
    }
    handles = [*lines.values(), *extra]
    legend = figure.legend(
        handles=handles,
        labels=["" for _ in handles],
        loc="outside lower center",
        ncols=columns,
        frameon=False,
    )
    # Set afterwards: matplotlib 3.9 leaves out a label that starts with an underscore.
    for text, line in zip(legend.get_texts(), handles, strict=True):
        text.set_text(wrapped(str(line.get_label()), 100))
        text.set_parse_math(False)
