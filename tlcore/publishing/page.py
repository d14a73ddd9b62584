"""The page of a publication: curves, tables and pictures of runs as one file of HTML.

Owns what stands on it, by the template `page.html.j2`. It needs nothing from
elsewhere and no script. It is for anyone, and says nothing of who ran what where:
`overview` leaves that out. It writes no file (that is `publication`).
"""

import base64
import io
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

from tlcore.publishing import charts
from tlcore.runs.formatting import cell, numbers
from tlcore.runs.overview import Section, hyperparameters, overview
from tlcore.runs.run import NO_SCALARS, Run, reading, summary

PICTURE_PIXELS = 1200
"""The longest side of a picture in the page."""

_PICTURES = {
    "curves.png": "The curves of {}, as the run drew them",
    "images.png": "Some of the images that {} was trained on",
}
_READ_AGAIN_SECONDS = 10
"""How often a browser loads a page anew while its runs go on."""


@dataclass(frozen=True, kw_only=True)
class _Shown:
    """One run as the page shows it."""

    run: Run
    key: str
    place: int
    status: str
    row: Mapping[str, Any]
    asked: Mapping[str, Any]
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
        """Return what each picture shows, and an address that holds it."""
        return list(_pictures(self.run))


def render(
    publication: Mapping[str, str], runs: Sequence[Run], *, moment: str, live: bool
) -> str:
    """Return the page of some runs, as HTML.

    Args:
        publication: its "name" and "description".
        runs: in the order of the page.
        moment: as of when, UTC.
        live: whether a browser is to load it anew, as its runs go on.

    Raises:
        ValueError: a `run.json` is not of the form that a run writes.
    """
    import jinja2  # late: nothing else here needs templates

    shown = [_shown(place, run) for place, run in enumerate(runs)]
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("tlcore.publishing", ""),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {"cell": _cell, "numbers": numbers}
    names = sorted({n for one in shown for n in one.row["final"]}, key=_order)
    same, differing = _compared(shown)
    return environment.get_template("page.html.j2").render(
        publication=publication,
        runs=shown,
        moment=moment,
        version=metadata.version("tlcore"),
        refresh=_READ_AGAIN_SECONDS if live else None,
        going=[one.name for one in shown if one.status == "running"],
        final_names=names,
        samples=[charts.sample(one.place) for one in shown],
        charts=list(_charts(shown)),
        intervals=list(_intervals(shown, names)),
        same=same,
        differing=differing,
    )


def check_run(run: Run) -> None:
    """Refuse a run that a page cannot show.

    Raises:
        ValueError: its `run.json` is not of the form that a run writes.
    """
    _shown(0, run)


def slug(name: str) -> str:
    """Return a name as a part of an address: lower case, dashes between words."""
    return re.sub(r"[\W_]+", "-", name.casefold()).strip("-")[:80]


def _shown(place: int, run: Run) -> _Shown:
    with reading(run):
        document = run.document
        history = document.get("history", {})
        return _Shown(
            run=run,
            key=charts.letter(place),
            place=place,
            status=run.status,
            row=summary(run),
            asked=hyperparameters(document),
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
        if phase.get("name") == "fine_tuning":
            return int(phase["first_epoch"]) + 1
    return None


def _epoch(index: Any) -> int:
    """Return an epoch as people count, from 1."""
    if not 0 <= int(index) < 10**9:
        raise ValueError(f"epoch {index} is none")
    return int(index) + 1


def _number(value: Any) -> float | None:
    """Return a value that can be drawn; a loss of 1e100 is none."""
    if value is None or not math.isfinite(value) or abs(value) > 1e100:
        return None
    return float(value)


def _compared(
    shown: Sequence[_Shown],
) -> tuple[list[tuple[str, Any]], list[tuple[str, list[Any]]]]:
    """Divide the hyperparameters: one value for all runs, or one for each."""
    names = dict.fromkeys(name for one in shown for name in one.asked)
    rows = [(name, [one.asked.get(name) for one in shown]) for name in names]
    return (
        [(name, values[0]) for name, values in rows if _equal(values)],
        [(name, values) for name, values in rows if not _equal(values)],
    )


def _equal(values: Sequence[Any]) -> bool:
    return all(value == values[0] for value in values)


def _charts(shown: Sequence[_Shown]) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Yield each metric with its charts: training and validation on the same scale."""
    columns = dict.fromkeys(name for one in shown for name in one.history)
    metrics = dict.fromkeys(name.removeprefix("val_") for name in columns)
    for metric in sorted(metrics, key=_order):
        sides = {"training": metric, "validation": f"val_{metric}"}
        if metric == "seconds":
            sides = {"seconds of an epoch": metric}
        curves = {
            side: [
                _curve(one, name)
                for one in shown
                if any(value is not None for value in one.history.get(name, ()))
            ]
            for side, name in sides.items()
        }
        together = [curve for side in curves.values() for curve in side]
        if not together:
            continue
        span = charts.extremes(together)
        drawn = []
        for side, some in curves.items():
            title, name = f"{metric}, {side}", f"chart-{slug(sides[side])}"
            if some:
                chart = charts.chart(some, title=title, name=name, span=span)
                drawn.append((side, chart))
        yield metric, drawn


def _curve(one: _Shown, name: str) -> charts.Curve:
    return charts.Curve(
        key=one.key,
        name=one.name,
        place=one.place,
        epochs=one.epochs,
        values=one.history[name],
        fine_tuning=one.fine_tuning,
    )


def _intervals(
    shown: Sequence[_Shown], names: Sequence[str]
) -> Iterator[tuple[str, str]]:
    for name in names:
        found = [(one, one.row["final"].get(name)) for one in shown]
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


def _order(name: str) -> tuple[int, str]:
    """Sort what people look at first before the rest."""
    first = ("test_accuracy", "val_accuracy", "accuracy", "test_loss", "val_loss")
    wanted = (*first, "loss")
    if name == "seconds":
        return len(wanted) + 1, name
    return wanted.index(name) if name in wanted else len(wanted), name


def _cell(value: Any) -> str:
    return "none" if value is None else cell(value)


def _pictures(run: Run) -> Iterator[tuple[str, str]]:
    """Yield what each picture of a run shows, and an address that holds it."""
    for name, words in _PICTURES.items():
        path = run.path / name
        try:
            about = path.stat()
            yield words.format(run.name), _picture(path, about.st_mtime_ns)
        except FileNotFoundError:
            continue  # the run has not got there, or never did
        except (OSError, SyntaxError, ValueError):  # as Pillow has it
            yield f"{name} of {run.name} cannot be read", ""


@lru_cache(maxsize=256)
def _picture(path: Path, _: int) -> str:
    """Return a picture, no larger than a page needs, without what it says of itself."""
    from PIL import Image

    with Image.open(path) as image:
        image.thumbnail((PICTURE_PIXELS, PICTURE_PIXELS))
        pixels = image.convert("RGBA")
    plain = Image.new("RGB", pixels.size, "white")
    plain.paste(pixels, mask=pixels.getchannel("A"))
    drawing, photograph = io.BytesIO(), io.BytesIO()
    plain.quantize(128).save(drawing, "PNG", optimize=True)
    plain.save(photograph, "JPEG", quality=82, optimize=True)
    name, written = min(
        ("png", drawing.getvalue()),
        ("jpeg", photograph.getvalue()),
        key=lambda kind: len(kind[1]),
    )
    return f"data:image/{name};base64,{base64.b64encode(written).decode()}"
