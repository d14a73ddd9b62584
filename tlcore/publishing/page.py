"""Page: curves, tables and pictures of runs as one HTML file for any reader.

Owns the contents of the page, with the template `page.html.j2`. The page loads nothing
from elsewhere and contains no script. It does not reveal who ran a run, or where: what
`run.json` says comes through `runs.overview`, which leaves that out. It writes no file
(that is `publication`).
"""

import base64
import io
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from tlcore import __version__
from tlcore.publishing import charts
from tlcore.runs.formatting import cell, columns, numbers
from tlcore.runs.overview import Section, hyperparameters, overview
from tlcore.runs.recipes import FINE_TUNING
from tlcore.runs.run import (
    CALIBRATION,
    CONFUSION,
    CURVES,
    IMAGES,
    MISTAKES,
    NO_SCALARS,
    Run,
    reading,
    summary,
)

PICTURE_PIXELS = 1200
"""The longest side of a picture in the page."""

_PICTURES = {
    CURVES: "The curves of {}, as drawn by the run",
    CONFUSION: "Truth and predictions of {}, in numbers of images",
    MISTAKES: "The mistakes of {}, the most confident first",
    CALIBRATION: "The accuracy of {} by its confidence",
    IMAGES: "Some of the images that {} was trained on",
}
_RELOAD_SECONDS = 10
"""Seconds after which a browser reloads a page whose runs are still training."""


@dataclass(frozen=True, kw_only=True)
class _RunView:
    """Everything that the page shows of one run."""

    run: Run
    key: str
    place: int
    status: str
    row: Mapping[str, Any]
    hyperparameters: Mapping[str, Any]
    fine_tuning: int | None
    history: Mapping[str, Sequence[float | None]]
    epochs: Sequence[int]
    sections: Sequence[Section]

    @property
    def name(self) -> str:
        """Return the id of the run."""
        return self.run.name

    @cached_property
    def pictures(self) -> list[tuple[str, str]]:
        """Return the caption and the data URL of each picture."""
        return list(_pictures(self.run))


def render(
    publication: Mapping[str, str], runs: Sequence[Run], *, moment: str, live: bool
) -> str:
    """Return the HTML page of one or more runs.

    Args:
        publication: its "name" and "description".
        runs: in the order of the page.
        moment: when the runs were read, UTC.
        live: whether browsers reload the page because runs are still training.

    Raises:
        ValueError: a `run.json` does not have the structure that a run writes.

    Example:
        >>> run = Run(Path("runs/model_3/20260102-030405"), {
        ...     "recipe": {"name": "model_3", "backbone": "sample_net"},
        ...     "status": "done",
        ...     "process": {"pid": 1, "host": "a"},
        ... })
        >>> about = {"name": "Food", "description": ""}
        >>> page = render(about, [run], moment="2026-01-02T03:04:05", live=False)
        >>> "<title>Food</title>" in page, "<script" in page
        (True, False)
    """
    import jinja2  # late: the commands that publish nothing need no templates

    views = [_view(place, run) for place, run in enumerate(runs)]
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("tlcore.publishing", ""),
        autoescape=True,  # class names and descriptions are anyone's text
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,  # a misspelt name is an error, not a gap
    )
    environment.filters |= {"cell": _cell, "columns": columns, "numbers": numbers}
    names = sorted({n for one in views for n in one.row["final"]}, key=_metric_order)
    same, differing = _split_hyperparameters(views)
    return environment.get_template("page.html.j2").render(
        publication=publication,
        runs=views,
        moment=moment,
        version=__version__,
        refresh=_RELOAD_SECONDS if live else None,
        training=[one.name for one in views if one.status == "running"],
        final_names=names,
        samples=[charts.sample(one.place) for one in views],
        charts=list(_charts(views)),
        intervals=list(_intervals(views, names)),
        same=same,
        differing=differing,
    )


def check_run(run: Run) -> None:
    """Refuse a run that a page cannot show.

    Raises:
        ValueError: its `run.json` does not have the structure that a run writes.
    """
    _view(0, run)


def slug(name: str) -> str:
    """Return a name as part of a URL: lower case, with dashes between words.

    Example:
        >>> slug("Food: 10 %, three ways!")
        'food-10-three-ways'
    """
    return re.sub(r"[\W_]+", "-", name.casefold()).strip("-")[:80]


def _view(place: int, run: Run) -> _RunView:
    with reading(run):
        document = run.document
        history = document.get("history", {})
        return _RunView(
            run=run,
            key=charts.letter(place),
            place=place,
            status=run.status,
            row=summary(run),
            hyperparameters=hyperparameters(document),
            fine_tuning=_fine_tuning(document),
            history={
                name: [_number(value) for value in column]
                for name, column in history.items()
                if name not in NO_SCALARS
            },
            epochs=[_epoch(epoch) for epoch in history.get("epoch", [])],
            sections=overview(run, public=True),
        )


def _fine_tuning(document: Mapping[str, Any]) -> int | None:
    """Return the first epoch of fine-tuning, from 1."""
    for phase in document.get("phases", []):
        if str(phase.get("name")).startswith(FINE_TUNING):
            return int(phase["first_epoch"]) + 1
    return None


def _epoch(index: Any) -> int:
    """Return the number of an epoch, from 1."""
    # A damaged history may hold a number too large for a float. It is refused here,
    # where the error names the run, and not while its chart is drawn.
    if not 0 <= int(index) < 10**9:
        raise ValueError(f"{index} is not the index of an epoch")
    return int(index) + 1


def _number(value: Any) -> float | None:
    """Return a value that can be drawn, else None.

    Values near the largest float overflow while the axis is computed.
    """
    if value is None or not math.isfinite(value) or abs(value) > 1e100:
        return None
    return float(value)


def _split_hyperparameters(
    views: Sequence[_RunView],
) -> tuple[list[tuple[str, Any]], list[tuple[str, list[Any]]]]:
    """Return the hyperparameters that all runs share, and those that differ."""
    names = dict.fromkeys(name for one in views for name in one.hyperparameters)
    rows = [(name, [one.hyperparameters.get(name) for one in views]) for name in names]
    return (
        [(name, values[0]) for name, values in rows if _all_equal(values)],
        [(name, values) for name, values in rows if not _all_equal(values)],
    )


def _all_equal(values: Sequence[Any]) -> bool:
    return all(value == values[0] for value in values)


def _charts(views: Sequence[_RunView]) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Yield each metric with its charts, training and validation on the same axis."""
    columns = dict.fromkeys(name for one in views for name in one.history)
    metrics = dict.fromkeys(name.removeprefix("val_") for name in columns)
    for metric in sorted(metrics, key=_metric_order):
        sides = {"training": metric, "validation": f"val_{metric}"}
        if metric == "seconds":
            sides = {"seconds of an epoch": metric}
        curves = {
            side: [
                _curve(one, name)
                for one in views
                if any(value is not None for value in one.history.get(name, ()))
            ]
            for side, name in sides.items()
        }
        all_curves = [curve for side in curves.values() for curve in side]
        if not all_curves:
            continue
        span = charts.extremes(all_curves)
        drawn = []
        for side, lines in curves.items():
            title, name = f"{metric}, {side}", f"chart-{slug(sides[side])}"
            if lines:
                chart = charts.chart(lines, title=title, name=name, span=span)
                drawn.append((side, chart))
        yield metric, drawn


def _curve(one: _RunView, name: str) -> charts.Curve:
    return charts.Curve(
        key=one.key,
        name=one.name,
        place=one.place,
        epochs=one.epochs,
        values=one.history[name],
        fine_tuning=one.fine_tuning,
    )


def _intervals(
    views: Sequence[_RunView], names: Sequence[str]
) -> Iterator[tuple[str, str]]:
    for name in names:
        found = [(one, one.row["final"].get(name)) for one in views]
        rows = [
            charts.Whisker(
                key=one.key,
                name=one.name,
                place=one.place,
                **{part: final[part] for part in ("value", "low", "high")},
            )
            for one, final in found
            if final and None not in final.values()
        ]
        if "accuracy" in name and rows:
            drawn = charts.whiskers(
                rows, title=f"Final {name}", name=f"final-{slug(name)}"
            )
            yield name, drawn


def _metric_order(name: str) -> tuple[int, str]:
    """Sort accuracies first, then losses, then other metrics, and seconds last."""
    accuracies = ("test_accuracy", "val_accuracy", "accuracy")
    first = (*accuracies, "test_loss", "val_loss", "loss")
    if name == "seconds":
        return len(first) + 1, name
    return first.index(name) if name in first else len(first), name


def _cell(value: Any) -> str:
    return "none" if value is None else cell(value)


def _pictures(run: Run) -> Iterator[tuple[str, str]]:
    """Yield the caption and the data URL of each picture of a run."""
    for name, caption in _PICTURES.items():
        path = run.path / name
        try:
            written = path.stat().st_mtime_ns
            yield caption.format(run.name), _picture(path, written)
        except FileNotFoundError:
            continue  # not drawn yet, or the run ended before
        except (OSError, SyntaxError, ValueError):
            # Pillow raises any of these for a damaged file, SyntaxError for a PNG.
            yield f"{name} of {run.name} cannot be read", ""


@lru_cache(maxsize=256)
def _picture(path: Path, _written: int) -> str:
    """Return a picture as a data URL, scaled down and without metadata."""
    # A followed page is written many times, and its pictures hardly change; the time
    # of writing is part of the key of the cache.
    from PIL import Image

    with Image.open(path) as image:
        image.thumbnail((PICTURE_PIXELS, PICTURE_PIXELS))
        pixels = image.convert("RGBA")
    # Pasting copies pixels only: names of programs and cameras stay behind. JPEG has
    # no transparency.
    plain = Image.new("RGB", pixels.size, "white")
    plain.paste(pixels, mask=pixels.getchannel("A"))
    drawing, photograph = io.BytesIO(), io.BytesIO()
    plain.quantize(128).save(drawing, "PNG", optimize=True)
    plain.save(photograph, "JPEG", quality=82, optimize=True)
    kind, encoded = min(
        ("png", drawing.getvalue()),
        ("jpeg", photograph.getvalue()),
        key=lambda candidate: len(candidate[1]),
    )
    return f"data:image/{kind};base64,{base64.b64encode(encoded).decode()}"
