"""Learning curves: the metrics of a run by epoch, and several runs compared.

Owns where curves stand, where a phase starts, and the legend. It neither trains nor
knows folders of runs. How a figure is made and saved is in `figures`.
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

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
"""Runs drawn side by side; more are laid over one another."""
START = "start"
"""The id of a line that marks where a phase starts."""
LINE_STYLES = ("-", "--", ":", "-.")
PANEL_INCHES = 3.6
LEGEND_ROW_INCHES = 0.22
PHASE_ROW_POINTS = 12
MARKED_EPOCHS = 40
"""Epochs up to which every value has a marker; beyond, only lone values have one."""


def plot_history(
    *histories: History,
    labels: Sequence[str] | None = None,
    path: str | Path | None = None,
    title: str | None = None,
) -> Figure:
    """Draw the loss and accuracy curves of one run and return the figure.

    Training and validation, epochs counted from 1. A value that is no finite number
    leaves a gap, and a metric that was not recorded has no panel.

    Args:
        histories: the phases of the run in order, each a keras `History` or a mapping
            of metric to values, with "epoch" (counted from 0) or without: then its
            epochs follow on from the phase before. The start of each phase after the
            first is marked.
        labels: the names of the phases; by default the second is "fine-tuning".
        path: where to save the figure; its folder must exist.
        title: of the figure.

    Raises:
        ValueError: there is no history, one is empty or uneven or does not follow on
            from the one before, none holds a loss or an accuracy, `labels` are not one
            per history, or the suffix of `path` is none matplotlib writes.
        OSError: the figure cannot be written.
    """
    target = checked_path(path)
    run = drawn_run(histories, "histories")
    if labels is not None and len(labels) != len(histories):
        raise ValueError(
            "labels must hold one name per history. "
            f"Received: {len(labels)} labels, {len(histories)} histories."
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
    """Draw several runs to be compared and return the figure.

    Up to 4 runs have a column each, loss above accuracy, on shared axes. More are laid
    over one another: the validation curve of each run, or the training curve, so named
    in the legend, of a run without validation.

    Args:
        histories: the name of each run, and its history or the histories of its phases
            in order, as `plot_history` takes them. The start of fine-tuning is marked.
        metric: the only metric to draw, training and validation, or `val_...` for its
            validation alone; by default the loss and the accuracy.
        path: where to save the figure; its folder must exist.
        title: of the figure.

    Raises:
        ValueError: there is no run, no run recorded `metric`, a history is one that
            `plot_history` refuses, or the suffix of `path` is none matplotlib writes.
        OSError: the figure cannot be written.
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
    """Draw a column of panels per run, each metric on one scale."""
    figure = new_figure(PANEL_INCHES * max(len(metrics), 1.25) * 0.8 + 0.4)
    grid = figure.subplots(
        len(metrics), len(runs), squeeze=False, sharex="all", sharey="row"
    )
    width = WIDTH_INCHES / len(runs)
    everything = np.concatenate([run.epochs for run in runs.values()])
    for column, run in zip(grid.T, runs.values(), strict=True):
        for axes, metric in zip(column, metrics, strict=True):
            _draw_run(axes, run, metric)
            _set_epochs(axes, everything)
        for axes in column[1:]:
            for start in run.starts:
                _draw_start(axes, start, color=GREY)
        column[-1].set_xlabel("epoch")
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

    columns = max(1, min(4, 100 // (max(map(len, runs)) + 8)))
    rows = math.ceil((len(runs) + 1) / columns)
    figure = new_figure(PANEL_INCHES + 0.6 + LEGEND_ROW_INCHES * rows)
    grid = figure.subplots(1, len(metrics), squeeze=False)
    everything = np.concatenate([run.epochs for run in runs.values()])
    for axes, metric in zip(grid[0], metrics, strict=True):
        kind = _draw_runs(axes, runs, metric)
        _mark_starts(axes, runs)
        _set_epochs(axes, everything)
        axes.set_xlabel("epoch")
        axes.set_ylabel(f"{kind} {metric.removeprefix('val_')}")
        _bound_accuracy(axes, metric)
    marks = [Line2D([], [], color=GREY, linestyle="--", label="start of fine-tuning")]
    started = any(run.starts for run in runs.values())
    _legend(figure, grid.flat, extra=marks if started else [], columns=columns)
    return figure


def _draw_runs(axes: Axes, runs: Mapping[str, DrawnRun], metric: str) -> str:
    """Draw one curve per run; return "validation", or "training" if all are that."""
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
    """Draw where phases start, in a run's colour where that run alone starts there."""
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
    beside = np.concatenate([[False], there, [False]])
    lone = there & ~beside[:-2] & ~beside[2:]
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
    """Draw where phases start, their names above the axes, none over another.

    Args:
        axes: a panel whose epochs are set.
        run: what is drawn in it.
        labels: of all phases; by default the first has none.
        width: of the panel in inches.

    Returns:
        The rows that the names take.
    """
    count = len(run.starts)
    if labels is None:
        more = [f"fine-tuning {n}" for n in range(2, count + 1)]
        labels = ["", "fine-tuning", *more][: count + 1]
    left, right = axes.get_xlim()
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
    """Number the x axis in whole epochs."""
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
    # Set afterwards: matplotlib 3.9 leaves out a label that begins with an underscore.
    for text, line in zip(legend.get_texts(), handles, strict=True):
        text.set_text(wrapped(str(line.get_label()), 100))
        text.set_parse_math(False)
