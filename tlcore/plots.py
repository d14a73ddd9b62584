"""Plots: grids of images, the curves of a run, several runs compared.

Owns what is drawn and how a figure is saved. It neither trains nor knows folders of
runs, and shows nothing on a screen: every function returns a matplotlib `Figure` of its
own, drawn by Agg without pyplot, so that it works without a display and in threads.
A PNG carries no date and no program's name: the same input gives the same bytes.
"""

from __future__ import annotations

import math
import reprlib
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from tlcore.files import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_CLASSES = 20
"""Rows of a grid of images; of more classes, this many are drawn at random."""
MAX_COLUMNS = 4
"""Runs drawn side by side; more are laid over one another."""

# Okabe & Ito, "Color Universal Design" (2008), without the yellow, pale on white.
BLUE, VERMILLION, GREEN, ORANGE, SKY, PURPLE, BLACK = PALETTE = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#E69F00",
    "#56B4E9",
    "#CC79A7",
    "#000000",
)
GREY = "#666666"
START = "start"
"""The id of a line that marks where a phase starts."""
LINE_STYLES = ("-", "--", ":", "-.")

DPI = 100
WIDTH_INCHES = 10.0
PANEL_INCHES = 3.6
LEGEND_ROW_INCHES = 0.22
TITLE_ROW_INCHES = 0.18
GAP_INCHES = 0.08
PHASE_ROW_POINTS = 12
THUMBNAIL_PIXELS = 320
MARKED_EPOCHS = 40
"""Epochs up to which every value has a marker; beyond, only lone values have one."""

Values = Sequence[Any] | NDArray[Any]
T = TypeVar("T")


@runtime_checkable
class ImagePaths(Protocol):
    """Images in files, such as an `ImageFolder`: one label, from 0, for each path."""

    @property
    def class_names(self) -> Sequence[str]:
        """The name of every class."""

    @property
    def paths(self) -> Sequence[str | Path]:
        """The files."""

    @property
    def labels(self) -> Values:
        """The class of every file."""


@runtime_checkable
class EpochHistory(Protocol):
    """What training left, such as a `keras.callbacks.History`."""

    @property
    def epoch(self) -> Sequence[int]:
        """The epochs, counted from 0."""

    @property
    def history(self) -> Mapping[str, Values]:
        """The values of each metric, one per epoch."""


Images = ImagePaths | Iterable[Any]
"""An `ImageFolder`, a `tf.data.Dataset` or any iterable of (images, labels) batches."""
History = EpochHistory | Mapping[str, Values]
"""A keras `History`, or the values of each metric with, at will, "epoch" from 0."""


def plot_images(
    images: Images,
    *,
    class_names: Sequence[str] | None = None,
    per_class: int = 4,
    seed: int = 42,
    path: str | Path | None = None,
) -> Figure:
    """Draw a grid of random images, one row per class, and return the figure.

    The choice depends on `seed` and on the order of the images alone. A dataset is read
    once, to its end: `take` some batches of a large one.

    Args:
        images: an image folder, whose files are drawn as they are, undistorted; or a
            `tf.data.Dataset` or iterable of batches (images, labels), the images in
            [0, 255] of shape (batch, height, width, 1, 3 or 4), the labels one-hot,
            whole numbers or a binary column.
        class_names: the names of the classes; by default the `class_names` of `images`,
            or else the indices.
        per_class: images in a row, at most.
        seed: of the choice; of more than 20 classes it chooses those drawn too.
        path: where to save the figure; its folder must exist.

    Raises:
        ValueError: there is no image, an option is out of range, the batches are not of
            the form above, or the suffix of `path` is none matplotlib writes.
        OSError: an image cannot be read, or the figure cannot be written.
    """
    target = _checked(path)
    if per_class < 1:
        raise ValueError(f"per_class must be at least 1. Received: {per_class=}.")
    if seed < 0:
        raise ValueError(f"seed must be at least 0. Received: {seed=}.")
    names = class_names
    if names is None:
        names = getattr(images, "class_names", None)
    chosen = _sample(_labelled(images), per_class, seed)
    if not chosen:
        raise ValueError(
            "images must hold at least one image. "
            f"Received: images={reprlib.repr(images)}. Check its folder or filter."
        )
    if names is not None and max(chosen) >= len(names):
        raise ValueError(
            "class_names must name every class. "
            f"Received: {len(names)} names, label {max(chosen)} (counted from 0)."
        )
    labels = _some_classes(sorted(chosen), seed)
    figure = _grid(
        [str(label if names is None else names[label]) for label in labels],
        [[_pixels(image) for image in chosen[label]] for label in labels],
        total=len(chosen if names is None else names),
    )
    _save(figure, target)
    return figure


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
    target = _checked(path)
    run = _run(histories, "histories")
    if labels is not None and len(labels) != len(histories):
        raise ValueError(
            "labels must hold one name per history. "
            f"Received: {len(labels)} labels, {len(histories)} histories."
        )
    metrics = _metrics([run], None)
    figure = _figure(PANEL_INCHES + 0.4)
    grid = figure.subplots(1, len(metrics), squeeze=False)
    for axes, metric in zip(grid[0], metrics, strict=True):
        _draw_run(axes, run, metric)
        _set_epochs(axes, run.epochs)
        _mark_phases(axes, run, labels, width=WIDTH_INCHES / len(metrics))
        axes.set_xlabel("epoch")
        axes.set_ylabel(_recorded(run, metric))
        _bound_accuracy(axes, metric)
    _legend(figure, grid.flat)
    _title(figure, title)
    _save(figure, target)
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
    target = _checked(path)
    if not isinstance(histories, Mapping) or not histories:
        raise ValueError(
            "histories must map the name of at least 1 run to its history. "
            f"Received: histories={reprlib.repr(histories)}. "
            "Write compare_histories({'name': history})."
        )
    runs = {
        str(name): _run(
            value if isinstance(value, Sequence) else (value,), f"histories[{name!r}]"
        )
        for name, value in histories.items()
    }
    metrics = _metrics(list(runs.values()), metric)
    draw = _side_by_side if len(runs) <= MAX_COLUMNS else _overlaid
    figure = draw(runs, metrics)
    _title(figure, title)
    _save(figure, target)
    return figure


@dataclass(frozen=True)
class _Phase:
    """Epochs `first` to `first + count - 1`, counted from 0, and what they recorded."""

    first: int
    count: int
    metrics: Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True)
class _Run:
    phases: tuple[_Phase, ...]

    @property
    def epochs(self) -> NDArray[np.int64]:
        """Every epoch, counted from 1."""
        last = self.phases[-1]
        return np.arange(self.phases[0].first, last.first + last.count) + 1

    @property
    def names(self) -> tuple[str, ...]:
        """What any phase recorded."""
        return tuple(dict.fromkeys(n for phase in self.phases for n in phase.metrics))

    @property
    def starts(self) -> tuple[float, ...]:
        """Where each phase after the first begins on the x axis: between two epochs."""
        return tuple(phase.first + 0.5 for phase in self.phases[1:])

    def curve(self, name: str) -> NDArray[np.float64]:
        """One value per epoch, NaN where a phase did not record it."""
        return np.concatenate(
            [p.metrics.get(name, np.full(p.count, np.nan)) for p in self.phases]
        )


def _run(histories: Sequence[History], where: str) -> _Run:
    if not histories:
        raise ValueError(f"{where} must hold at least 1 history. Received: none.")
    phases: list[_Phase] = []
    for index, history in enumerate(histories):
        before = phases[-1] if phases else None
        phases.append(
            _phase(
                history,
                where if len(histories) == 1 else f"{where}[{index}]",
                follows=before.first + before.count if before else None,
            )
        )
    return _Run(tuple(phases))


def _phase(history: History, where: str, *, follows: int | None) -> _Phase:
    if isinstance(history, EpochHistory):
        recorded: Mapping[str, Values] = history.history
        epochs: Values | None = history.epoch
    elif isinstance(history, Mapping):
        recorded = {name: v for name, v in history.items() if name != "epoch"}
        epochs = history.get("epoch")
    else:
        raise ValueError(
            "A history must be a keras History or a mapping of metric to values. "
            f"Received: {where}={reprlib.repr(history)}."
        )
    arrays = {name: _array(v, f"{where}[{name!r}]") for name, v in recorded.items()}
    count = (
        len(epochs) if epochs is not None else max(map(len, arrays.values()), default=0)
    )
    if not arrays or not count:
        raise ValueError(
            "A history must hold at least one metric and one epoch. "
            f"Received: {where} with {len(arrays)} metrics, {count} epochs. "
            "Train before plotting."
        )
    for name, array in arrays.items():
        if len(array) != count:
            raise ValueError(
                "A metric must have one value per epoch. "
                f"Received: {where}[{name!r}]: {len(array)} values, {count} epochs. "
                "Validate every epoch, or put NaN where there was none."
            )
    # A value per class, as of an unaveraged F1 score, is no curve.
    curves = {name: array for name, array in arrays.items() if array.ndim == 1}
    return _Phase(_first(epochs, count, where, follows), count, curves)


def _array(values: Values, where: str) -> NDArray[np.float64]:
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        array = np.empty(())
    if array.ndim == 0:
        raise ValueError(
            "A metric must be a list of numbers, one per epoch. "
            f"Received: {where}={reprlib.repr(values)}."
        )
    return np.where(np.isfinite(array), array, np.nan)


def _first(epochs: Values | None, count: int, where: str, follows: int | None) -> int:
    """Return the first epoch, having checked that all follow on."""
    if epochs is None:
        return follows or 0
    first = max(int(epochs[0]), 0) if follows is None else follows
    expected = list(range(first, first + count))
    received = list(epochs)
    if received != expected:
        raise ValueError(
            "Epochs must be contiguous, and successive histories follow on. Expected: "
            f"epoch={reprlib.repr(expected)}. "
            f"Received: {where} with epoch={reprlib.repr(received)}. "
            "Train a further phase with initial_epoch=history.epoch[-1] + 1, as "
            "fine_tune(history=...) does."
        )
    return first


def _metrics(runs: Sequence[_Run], metric: str | None) -> list[str]:
    """Return the metrics to draw, one row or column of panels each."""
    valid = dict.fromkeys(name for run in runs for name in run.names)
    if metric is not None:
        if not any(_recorded(run, metric) for run in runs):
            raise ValueError(
                f"metric must be one of: {', '.join(valid)}. Received: {metric=}."
            )
        return [metric]
    metrics = [m for m in ("loss", "accuracy") if any(_recorded(r, m) for r in runs)]
    if not metrics:
        raise ValueError(
            "A history must hold a loss or an accuracy. "
            f"Received: metrics {', '.join(valid)}."
        )
    return metrics


def _recorded(run: _Run, metric: str) -> str | None:
    """Return the name under which a run recorded a metric, training or validation."""
    names = dict.fromkeys(name.removeprefix("val_") for name in run.names)
    if metric in names or metric in run.names:
        return metric
    if metric == "accuracy":
        return next((n for n in names if n == "acc" or n.endswith("_accuracy")), None)
    return None


def _curves(run: _Run, metric: str) -> dict[str, str]:
    """Return what is drawn of a metric: "training" and "validation" to their names."""
    name = _recorded(run, metric)
    if name is None:
        return {}
    if name.startswith("val_"):
        return {"validation": name}
    both = {"training": name, "validation": f"val_{name}"}
    return {kind: name for kind, name in both.items() if name in run.names}


def _side_by_side(runs: Mapping[str, _Run], metrics: Sequence[str]) -> Figure:
    """Draw a column of panels per run, each metric on one scale."""
    figure = _figure(PANEL_INCHES * max(len(metrics), 1.25) * 0.8 + 0.4)
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
            _wrapped(name, int(width * 10)),
            fontsize=11,
            pad=6 + PHASE_ROW_POINTS * rows,
            parse_math=False,
        )
    for row, metric in zip(grid, metrics, strict=True):
        row[0].set_ylabel(metric)
        _bound_accuracy(row[0], metric)
    _legend(figure, grid.flat)
    return figure


def _overlaid(runs: Mapping[str, _Run], metrics: Sequence[str]) -> Figure:
    """Draw one curve per run in each panel."""
    from matplotlib.lines import Line2D

    columns = max(1, min(4, 100 // (max(map(len, runs)) + 8)))
    rows = math.ceil((len(runs) + 1) / columns)
    figure = _figure(PANEL_INCHES + 0.6 + LEGEND_ROW_INCHES * rows)
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


def _draw_runs(axes: Axes, runs: Mapping[str, _Run], metric: str) -> str:
    """Draw one curve per run; return "validation", or "training" if all are that."""
    drawn = {name: _curves(run, metric) for name, run in runs.items()}
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


def _mark_starts(axes: Axes, runs: Mapping[str, _Run]) -> None:
    """Draw where phases start, in a run's colour where that run alone starts there."""
    owners: dict[float, list[int]] = {}
    for index, run in enumerate(runs.values()):
        for start in run.starts:
            owners.setdefault(start, []).append(index)
    for start, indices in owners.items():
        lone = PALETTE[indices[0] % len(PALETTE)]
        _draw_start(axes, start, color=lone if len(indices) == 1 else GREY)


def _draw_run(axes: Axes, run: _Run, metric: str) -> None:
    """Draw the training and validation curves of a metric."""
    looks: dict[str, dict[str, Any]] = {
        "training": {"color": ORANGE, "marker": "o"},
        "validation": {"color": BLUE, "marker": "s"},
    }
    curves = _curves(run, metric)
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


def _draw_curve(axes: Axes, run: _Run, name: str, *, label: str, **look: Any) -> None:
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
    axes: Axes, run: _Run, labels: Sequence[str] | None, *, width: float
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


def _grid(
    names: Sequence[str], rows: Sequence[Sequence[NDArray[np.uint8]]], *, total: int
) -> Figure:
    """Draw rows of images under the names of their classes."""
    columns = max(map(len, rows))
    cell = max(0.6, min(1.6, WIDTH_INCHES / columns - GAP_INCHES))
    wide = max(4.0, columns * (cell + GAP_INCHES) + GAP_INCHES)
    titles = [_wrapped(name, int(wide * 10)) for name in names]
    room = 0.16 + TITLE_ROW_INCHES * max(title.count("\n") + 1 for title in titles)
    high = 0.25 + len(rows) * (cell + room) + GAP_INCHES
    # Every size is known: a layout engine would make room for the width of a title.
    figure = _figure(high, width=wide, layout=None)
    grid = figure.subplots(
        len(rows),
        columns,
        squeeze=False,
        gridspec_kw={
            "left": GAP_INCHES / wide,
            "right": (columns * (cell + GAP_INCHES)) / wide,
            "top": (high - 0.25 - room) / high,
            "bottom": GAP_INCHES / high,
            "wspace": GAP_INCHES / cell,
            "hspace": room / cell,
        },
    )
    for axes, title, images in zip(grid, titles, rows, strict=True):
        for place in axes:
            place.set_axis_off()
        for place, image in zip(axes, images, strict=False):
            place.imshow(image, cmap="gray", vmin=0, vmax=255)
            # A square cell, whatever the shape of the image in its upper left corner.
            side = max(image.shape[:2])
            place.set(xlim=(-0.5, side - 0.5), ylim=(side - 0.5, -0.5))
        axes[0].set_title(title, loc="left", fontsize=10, parse_math=False)
    some = f"{len(rows)} of {total}" if len(rows) < total else str(total)
    text = f"{some} {'class' if total == 1 else 'classes'}"
    figure.suptitle(text, y=1 - GAP_INCHES / high, fontsize=12)
    return figure


def _some_classes(labels: Sequence[int], seed: int) -> list[int]:
    if len(labels) <= MAX_CLASSES:
        return list(labels)
    generator = np.random.default_rng(seed)
    return sorted(generator.choice(labels, MAX_CLASSES, replace=False).tolist())


def _sample(
    images: Iterable[tuple[int, T]], per_class: int, seed: int
) -> dict[int, list[T]]:
    """Choose images of each class uniformly, in one pass (Vitter's algorithm R)."""
    kept: dict[int, list[T]] = {}
    seen: dict[int, int] = {}
    generators: dict[int, np.random.Generator] = {}
    for label, image in images:
        mine = kept.setdefault(label, [])
        seen[label] = seen.get(label, 0) + 1
        if len(mine) < per_class:
            mine.append(image)
            continue
        if label not in generators:
            generators[label] = np.random.default_rng((seed, label))
        place = int(generators[label].integers(seen[label]))
        if place < per_class:
            mine[place] = image
    return kept


def _labelled(images: Images) -> Iterator[tuple[int, Any]]:
    """Yield (class, path or pixels) of every image."""
    if isinstance(images, ImagePaths):
        labels = _classes(images.labels)
        if len(labels) != len(images.paths):
            raise ValueError(
                "Every image must have one label. "
                f"Received: {len(images.paths)} images, {len(labels)} labels."
            )
        yield from zip(labels, images.paths, strict=True)
        return
    cardinality: Callable[[], Any] | None = getattr(images, "cardinality", None)
    if cardinality is not None and int(cardinality()) == -1:
        raise ValueError(
            "images must end. Received: an infinite dataset. "
            "Leave out its repeat(), or take(n) batches."
        )
    highest = 0.0
    for batch in images:
        pixels, labels = _unpacked(batch)
        if pixels.dtype.kind == "f":
            highest = np.maximum(highest, np.max(np.abs(pixels), initial=0))
        whole = np.rint(np.clip(np.nan_to_num(pixels), 0, 255)).astype(np.uint8)
        # Copies, because a view that is kept keeps its whole batch.
        yield from zip(labels, (image.copy() for image in whole), strict=True)
    if 0 < highest <= 1:
        raise ValueError(
            "images must be in [0, 255]. "
            f"Received: no value beyond {highest:g}. Multiply them by 255."
        )


def _unpacked(batch: Any) -> tuple[NDArray[Any], list[int]]:
    """Return the pixels, (batch, height, width) or with colours, and their classes."""
    if not isinstance(batch, (tuple, list)) or len(batch) not in {2, 3}:
        raise ValueError(
            "images must yield batches (images, labels). "
            f"Received: batch={reprlib.repr(batch)}."
        )
    pixels = np.asarray(batch[0])
    labels = _classes(batch[1])
    if pixels.ndim != 4 or pixels.shape[-1] not in {1, 3, 4}:
        raise ValueError(
            "A batch of images must have shape (batch, height, width, 1, 3 or 4). "
            f"Received: shape={pixels.shape}."
        )
    if len(labels) != len(pixels):
        raise ValueError(
            "Every image must have one label. "
            f"Received: {len(pixels)} images, {len(labels)} labels."
        )
    if pixels.dtype.kind not in "iu":
        pixels = pixels.astype(np.float32)
    if pixels.shape[-1] == 1:
        pixels = pixels[..., 0]
    return pixels, labels


def _classes(labels: Any) -> list[int]:
    """Return the class of each label: one-hot, whole number or binary column."""
    array = np.asarray(labels)
    if array.ndim == 2 and array.shape[1] > 1 and array.dtype.kind in "biuf":
        return [int(label) for label in array.argmax(axis=1)]
    flat = array.reshape(-1) if array.ndim == 2 else array
    if (
        flat.ndim != 1
        or (flat.size and flat.dtype.kind not in "biuf")
        or any(label < 0 or label != int(label) for label in flat)
    ):
        raise ValueError(
            "Labels must be one-hot, whole numbers from 0 or a binary column. "
            f"Received: labels={reprlib.repr(array.tolist())}."
        )
    return [int(label) for label in flat]


def _pixels(image: NDArray[np.uint8] | str | Path) -> NDArray[np.uint8]:
    """Return an image no larger than a figure can show, its proportions kept."""
    if isinstance(image, np.ndarray):
        return image
    from PIL import Image

    try:
        with Image.open(image) as opened:
            opened.draft("RGB", (THUMBNAIL_PIXELS, THUMBNAIL_PIXELS))
            pixels = opened.convert("RGB")
    except (OSError, SyntaxError, ValueError) as error:
        raise OSError(
            "Every path must hold an image that Pillow reads. "
            f"Received: path={str(image)!r} ({error}). Remove or replace it."
        ) from error
    pixels.thumbnail((THUMBNAIL_PIXELS, THUMBNAIL_PIXELS))
    return np.asarray(pixels)


def _figure(
    height: float,
    *,
    width: float = WIDTH_INCHES,
    layout: Literal["constrained"] | None = "constrained",
) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure((width, height), DPI, facecolor="white", layout=layout)
    FigureCanvasAgg(figure)
    return figure


def _title(figure: Figure, title: str | None) -> None:
    if title is not None:
        width = int(figure.get_figwidth() * 10)
        figure.suptitle(_wrapped(title, width), fontsize=12, parse_math=False)


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
        text.set_text(_wrapped(str(line.get_label()), 100))
        text.set_parse_math(False)


def _wrapped(text: str, width: int) -> str:
    # Names of files that are no UTF-8 hold surrogates, which no font has.
    text = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return textwrap.fill(text, max(width, 8)) or text


def _checked(path: str | Path | None) -> Path | None:
    """Refuse, before anything is drawn, a path that no figure can be saved to."""
    if path is None:
        return None
    from matplotlib.backend_bases import FigureCanvasBase

    target = Path(path)
    valid = [f".{suffix}" for suffix in FigureCanvasBase.get_supported_filetypes()]
    if target.suffix.lower() not in valid:
        raise ValueError(
            f"path must end in one of: {', '.join(sorted(valid))}. "
            f"Received: path={str(path)!r}."
        )
    if not target.parent.is_dir():
        raise FileNotFoundError(
            "path must lie in a folder that exists. "
            f"Received: path={str(path)!r}. Create {str(target.parent)!r} first."
        )
    return target


def _save(figure: Figure, path: Path | None) -> None:
    if path is None:
        return
    suffix = path.suffix.lower().removeprefix(".")
    metadata = {"Software": None} if suffix == "png" else None
    try:
        with replacing(path) as aside:
            figure.savefig(aside, format=suffix, dpi=DPI, metadata=metadata)
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(
            error.errno,
            "path must be a file that can be written. "
            f"Received: path={str(path)!r} ({error.strerror}). Choose another folder.",
        ) from error
