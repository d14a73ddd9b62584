"""Publications: chosen runs as one page, and as a folder for TensorBoard.

Owns `index.html`, which needs nothing from elsewhere and no script, the folder
`tensorboard/` beside it, and `published.json`, which says what was published and by
which name. The page is for anyone: it says nothing of who ran what where (`overview`).
"""

import base64
import io
import json
import math
import re
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from tlcore import __version__, curves, event_files, tables
from tlcore.experiments import NO_SCALARS, Run, read_run, reading, summary
from tlcore.files import write_bytes, write_text
from tlcore.notes import PUBLICATION_FILE, note_publication
from tlcore.overview import Section, hyperparameters, overview

PAGE, LOG_DIR = "index.html", "tensorboard"
FOLDER = Path("published")
"""Where publications go, each in a folder of its own."""
DEFAULT_NAME = "Experiments"
POLL_SECONDS = 5.0
PICTURE_PIXELS = 1200
"""The longest side of a picture in the page."""
REMOVED = "removed"
"""The status of a run that was deleted while it was followed."""
SCHEMA = 1
# History of the format of published.json:
# 1  the first.

_PICTURES = {
    "curves.png": "The curves of {}, as the run drew them",
    "images.png": "Some of the images that {} was trained on",
}
_READ_AGAIN_SECONDS = 10
"""How often a browser loads a page anew while its runs go on."""


@dataclass(frozen=True, kw_only=True)
class Publication:
    """What is published under which name.

    Attributes:
        folder: where.
        id: stays the same however often it is published again.
        name: of the publication.
        description: in words.
        created: when it was published first, UTC.
    """

    folder: Path
    id: str
    name: str
    description: str
    created: str


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
    pictures: Sequence[tuple[str, str]]

    @property
    def name(self) -> str:
        """Return the id of the run."""
        return self.run.name


def prepare(
    to: Path | None,
    *,
    name: str | None,
    description: str | None,
    now: Callable[[], datetime],
) -> Publication:
    """Return the publication that a folder holds or is to hold; nothing is written.

    Args:
        to: the folder; by default one of that name in `published`.
        name: of the publication; by default the one it has.
        description: of the publication; by default the one it has.
        now: the moment of the first publication.

    Raises:
        ValueError: the name says nothing, the folder holds something else, or a
            publication that is damaged or of a newer version.
    """
    if name is not None and not _slug(name):
        raise ValueError(
            "A publication's name must hold a letter or a digit. "
            f"Received: name={name!r}."
        )
    folder = to or FOLDER / _slug(name or DEFAULT_NAME)
    kept = _read(folder)
    if kept is None:
        moment = _said(now())
        kept = Publication(
            folder=folder,
            id=secrets.token_hex(8),
            name=DEFAULT_NAME,
            description="",
            created=moment,
        )
    return replace(
        kept,
        name=kept.name if name is None else name.strip(),
        description=kept.description if description is None else description.strip(),
    )


def publish(
    publication: Publication,
    paths: Sequence[Path],
    *,
    one_shot: bool,
    now: Callable[[], datetime],
    sleep: Callable[[float], None],
    say: Callable[[str], None],
) -> Path:
    """Write the page, and again whenever a run of it has changed until all have ended.

    Args:
        publication: where, and under which name.
        paths: the folders of the runs, in the order of the page.
        one_shot: whether to write once, and wait for no run.
        now: the moment that the page tells.
        sleep: waits some seconds.
        say: what to do with a line for the user.

    Returns:
        The path of the page.

    Raises:
        ValueError: a run cannot be read, or two have the same name.
        OSError: something cannot be written.
        KeyboardInterrupt, SystemExit: while it waited; the page is whole, and says
            what it knew.
    """
    runs = [read_run(path) for path in dict.fromkeys(p.resolve() for p in paths)]
    _require_names_of_their_own(runs)
    written: list[Any] = []
    try:
        while True:
            going = [run.name for run in runs if run.status == "running"]
            live = bool(going) and not one_shot
            states = [(run.document, run.status) for run in runs]
            if states != written:
                _write(publication, runs, now(), live=live)
            if live and not written:
                say(f"waiting for {', '.join(going)}; Ctrl-C ends the updates")
            written = states
            if not live:
                break
            sleep(POLL_SECONDS)
            runs = [_again(run, say) for run in runs]
    except (KeyboardInterrupt, SystemExit):
        _write(publication, [_again(run, say) for run in runs], now(), live=False)
        raise
    finally:
        _note(publication, runs, now(), say)
    return publication.folder / PAGE


def _read(folder: Path) -> Publication | None:
    """Return the publication in a folder, None where there is nothing yet."""
    file = folder / PUBLICATION_FILE
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return None
    if not file.is_file():
        raise ValueError(
            "A publication needs a folder of its own. "
            f"Received: to={str(folder)!r}, which holds something else. "
            "Choose another with --to."
        )
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
        schema = int(document["schema"])
        texts = {n: str(document[n]) for n in ("id", "name", "description", "created")}
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise ValueError(
            f"A {PUBLICATION_FILE} must be whole. Received: {str(file)!r}, which "
            f"cannot be read ({type(error).__name__}: {error}). Remove the "
            "publication, or choose another folder with --to."
        ) from error
    if schema > SCHEMA:
        raise ValueError(
            f"This version reads {PUBLICATION_FILE} up to schema {SCHEMA}. "
            f"Received: schema={schema} in {str(file)!r}. Install a newer tlcore."
        )
    return Publication(folder=folder, **texts)


def _slug(name: str) -> str:
    return re.sub(r"[\W_]+", "-", name.casefold()).strip("-")[:80]


def _require_names_of_their_own(runs: Sequence[Run]) -> None:
    names = [run.name for run in runs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(
            "The runs of a publication must have names of their own. "
            f"Received: {', '.join(twice)} more than once. Publish them apart."
        )


def _again(run: Run, say: Callable[[str], None]) -> Run:
    """Return the run as it is now, or as it was if its folder is gone."""
    if run.path.is_dir():
        return read_run(run.path)
    if run.status != REMOVED:
        say(f"{run.name} was removed; the page keeps what was known of it")
    return Run(run.path, {**run.document, "status": REMOVED})


def _write(
    publication: Publication, runs: Sequence[Run], moment: datetime, *, live: bool
) -> None:
    shown = [_shown(place, run) for place, run in enumerate(runs)]
    page = _page(publication, shown, moment, live=live)
    folder = publication.folder
    folder.mkdir(parents=True, exist_ok=True)
    about = {"id": publication.id, "name": publication.name}
    about |= {"description": publication.description, "created": publication.created}
    document = {"schema": SCHEMA, **about, "updated": _said(moment)}
    document |= {"runs": [run.name for run in runs]}
    # First, so that what a killed process leaves is known as a publication.
    write_text(folder / PUBLICATION_FILE, json.dumps(document, indent=2) + "\n")
    _write_log_dir(folder / LOG_DIR, shown)
    write_bytes(folder / PAGE, page.encode("utf-8", "replace"))


def _write_log_dir(folder: Path, shown: Sequence[_Shown]) -> None:
    """Write a logdir with one folder per run, and remove those of other runs."""
    wanted = {folder / one.name for one in shown}
    for path in folder.glob("*/*"):
        if path not in wanted:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
    for one in shown:
        document = one.run.document
        with reading(one.run):
            event_files.write_events(
                folder / one.name, one.name, document, status=one.status, by_epoch=True
            )


def _note(
    publication: Publication,
    runs: Sequence[Run],
    moment: datetime,
    say: Callable[[str], None],
) -> None:
    """Write beside every run that it was published, if it was."""
    if not (publication.folder / PAGE).exists():
        return
    note = {key: str(value) for key, value in asdict(publication).items()}
    note |= {"folder": str(publication.folder.resolve()), "updated": _said(moment)}
    for run in runs:
        if run.path.is_dir():
            try:
                note_publication(run.path, note)
            except (OSError, ValueError) as error:
                say(f"note: {run.name} does not know that it was published: {error}")


# The page


def _shown(place: int, run: Run) -> _Shown:
    with reading(run):
        document = run.document
        history = document.get("history", {})
        return _Shown(
            run=run,
            key=curves.letter(place),
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
            epochs=[int(epoch) + 1 for epoch in history.get("epoch", [])],
            sections=overview(run, public=True),
            pictures=list(_pictures(run)),
        )


def _fine_tuning(document: Mapping[str, Any]) -> int | None:
    """Return the first epoch of fine-tuning, from 1."""
    for phase in document.get("phases", []):
        if phase.get("name") == "fine_tuning":
            return int(phase["first_epoch"]) + 1
    return None


def _number(value: Any) -> float | None:
    """Return a value that can be drawn; a loss of 1e100 is none."""
    if value is None or not math.isfinite(value) or abs(value) > 1e100:
        return None
    return float(value)


def _page(
    publication: Publication, shown: Sequence[_Shown], moment: datetime, *, live: bool
) -> str:
    import jinja2  # late: nothing else here needs templates

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("tlcore", ""),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {"cell": _cell, "numbers": tables.numbers}
    names = dict.fromkeys(n for one in shown for n in one.row["final"])
    same, differing = _compared(shown)
    return environment.get_template("publication.html.j2").render(
        publication=publication,
        runs=shown,
        moment=_said(moment),
        version=__version__,
        refresh=_READ_AGAIN_SECONDS if live else None,
        going=[one.name for one in shown if one.status == "running"],
        final_names=sorted(names, key=_order),
        samples=[curves.sample(one.place) for one in shown],
        charts=list(_charts(shown)),
        intervals=list(_intervals(shown, sorted(names, key=_order))),
        same=same,
        differing=differing,
    )


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
        drawn = {
            side: [
                _curve(one, name)
                for one in shown
                if any(value is not None for value in one.history.get(name, ()))
            ]
            for side, name in sides.items()
        }
        together = [curve for side in drawn.values() for curve in side]
        if not together:
            continue
        span = curves.extremes(together)
        charts = []
        for side, some in drawn.items():
            title, name = f"{metric}, {side}", f"chart-{_slug(sides[side])}"
            if some:
                chart = curves.chart(some, title=title, name=name, span=span)
                charts.append((side, chart))
        yield metric, charts


def _curve(one: _Shown, name: str) -> curves.Curve:
    return curves.Curve(
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
            curves.Whisker(
                key=one.key,
                name=one.name,
                place=one.place,
                **{part: final[part] for part in ("value", "low", "high")},
            )
            for one, final in found
            if final and None not in final.values()
        ]
        if "accuracy" in name and rows:
            drawn = curves.whiskers(
                rows, title=f"Final {name}", name=f"final-{_slug(name)}"
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
    return "none" if value is None else tables.cell(value)


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


def _said(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds")
