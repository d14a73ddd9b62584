"""Publication: chosen runs as one page, and as a folder for TensorBoard.

Owns the folder of a publication: `index.html`, whose text comes from `page`, the folder
`tensorboard/` next to it, and `published.json`, which records what was published under
which name. It also follows runs that are still training, and notes in each run folder
where the run was published.
"""

import json
import secrets
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tlcore.data import fields
from tlcore.files import write_bytes, write_text
from tlcore.publishing import page
from tlcore.runs import event_files
from tlcore.runs.documents import read_document
from tlcore.runs.publications import PUBLICATION_FILE, note_publication
from tlcore.runs.run import Run, read_run, reading

PAGE, LOG_DIR = "index.html", "tensorboard"
FOLDER = Path("published")
"""The folder of publications; each has its own folder in it."""
DEFAULT_NAME = "Experiments"
POLL_SECONDS = 5.0
REMOVED, DAMAGED = "removed", "damaged"
"""The status of a run that was deleted, or became unreadable, while followed."""
SCHEMA = 1
# History of the format of published.json:
# 1  the first.


@dataclass(frozen=True, kw_only=True)
class Publication:
    """A publication, without its runs.

    Attributes:
        folder: where it is written.
        id: stays the same each time it is published again.
        name: of the publication, the title of the page.
        description: text below the title.
        created: when it was first published, UTC.
    """

    folder: Path
    id: str
    name: str
    description: str
    created: str


def prepare(
    to: Path | None,
    *,
    name: str | None,
    description: str | None,
    now: Callable[[], datetime],
) -> Publication:
    """Return the publication in a folder, or a new one for it; nothing is written.

    Args:
        to: the folder; by default `published/<name>`.
        name: of the publication; by default the present one.
        description: of the publication; by default the present one.
        now: returns the time, which a new publication keeps as its creation.

    Raises:
        ValueError: the name has no letter or digit, the folder holds something else,
            or its publication is damaged or of a newer version.

    Example:
        >>> made = prepare(None, name="Food, 10 %", description=None, now=datetime.now)
        >>> made.name, str(made.folder)
        ('Food, 10 %', 'published/food-10')
    """
    if name is not None and not page.slug(name):
        raise ValueError(
            "A publication's name must hold a letter or a digit. "
            f"Received: name={name!r}."
        )
    folder = to or FOLDER / page.slug(name or DEFAULT_NAME)
    kept = _read(folder)
    if kept is None:
        kept = Publication(
            folder=folder,
            id=secrets.token_hex(8),
            name=DEFAULT_NAME,
            description="",
            created=_iso_utc(now()),
        )
    return replace(
        kept,
        name=kept.name if name is None else " ".join(name.split()),
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
    """Write the page, and write it again after each change until all runs have ended.

    Args:
        publication: the folder and the name.
        paths: the folders of the runs, in the order of the page.
        one_shot: whether to write once, without waiting for running runs.
        now: returns the time, which the page shows.
        sleep: waits for a number of seconds.
        say: called with each line for the user.

    Returns:
        The path of the page.

    Raises:
        ValueError: a run cannot be read, or two have the same name.
        OSError: a file cannot be written.
        KeyboardInterrupt, SystemExit: raised while waiting; the page was written once
            more, with all that is known.
    """
    runs = [read_run(path) for path in dict.fromkeys(p.resolve() for p in paths)]
    _require_unique_names(runs)
    written: list[Any] = []
    try:
        while True:
            running = [run.name for run in runs if run.status == "running"]
            live = bool(running) and not one_shot
            # The status as well: a killed run does not change its run.json.
            states = [(run.document, run.status) for run in runs]
            if states != written:
                _write(publication, runs, now(), live=live)
            if live and not written:
                say(f"waiting for {', '.join(running)}; Ctrl-C ends the updates")
            written = states
            if not live:
                break
            sleep(POLL_SECONDS)
            runs = [_reread(run, say) for run in runs]
    except (KeyboardInterrupt, SystemExit):
        # The page so far asks browsers to reload it; this one does not.
        _write(publication, [_reread(run, say) for run in runs], now(), live=False)
        raise
    finally:
        _note_in_runs(publication, runs, now(), say)
    return publication.folder / PAGE


def _read(folder: Path) -> Publication | None:
    """Return the publication in a folder; None if the folder is missing or empty."""
    file = folder / PUBLICATION_FILE
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return None
    if not file.is_file():
        raise ValueError(
            "A publication needs a folder of its own. "
            f"Received: to={str(folder)!r}, which holds something else. "
            "Choose another with --to."
        )

    def parse(document: Any) -> Publication:
        names = ("id", "name", "description", "created")
        known = dict.fromkeys(names, fields.text)
        fields.record(known, required=names)(document, "")
        return Publication(folder=folder, **{n: document[n] for n in names})

    remedy = "Remove the publication, or choose another folder with --to."
    return read_document(file, parse, newest=SCHEMA, remedy=remedy)


def _require_unique_names(runs: Sequence[Run]) -> None:
    names = [run.name for run in runs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(
            "The runs of a publication must have different names. "
            f"Received: {', '.join(twice)} more than once. Publish them separately."
        )


def _reread(run: Run, say: Callable[[str], None]) -> Run:
    """Return the run as it is now, or as it was if it can no longer be read."""
    status = REMOVED
    if run.path.is_dir():
        try:
            now = read_run(run.path)
            page.check_run(now)
        except ValueError:
            status = DAMAGED
        else:
            return now
    if run.status != status:
        say(f"{run.name} was {status}; the page keeps what was known of it")
    return Run(run.path, {**run.document, "status": status})


def _write(
    publication: Publication, runs: Sequence[Run], moment: datetime, *, live: bool
) -> None:
    about = {"id": publication.id, "name": publication.name}
    about |= {"description": publication.description, "created": publication.created}
    text = page.render(about, runs, moment=_iso_utc(moment), live=live)
    folder = publication.folder
    folder.mkdir(parents=True, exist_ok=True)
    document = {"schema": SCHEMA, **about, "updated": _iso_utc(moment)}
    document |= {"runs": [run.name for run in runs]}
    # First: if the process is killed now, the folder is recognized as a publication
    # and can be published to again.
    write_text(folder / PUBLICATION_FILE, json.dumps(document, indent=2) + "\n")
    _write_log_dir(folder / LOG_DIR, runs)
    write_bytes(folder / PAGE, text.encode("utf-8", "replace"))


def _write_log_dir(folder: Path, runs: Sequence[Run]) -> None:
    """Write a log directory with one folder per run, and remove those of others."""
    wanted = {folder / run.name for run in runs}
    for path in folder.glob("*/*"):
        if path not in wanted:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
    for run in runs:
        with reading(run):
            event_files.write_events(
                folder / run.name,
                run.name,
                run.document,
                status=run.status,
                by_epoch=True,
            )


def _note_in_runs(
    publication: Publication,
    runs: Sequence[Run],
    moment: datetime,
    say: Callable[[str], None],
) -> None:
    """Note in every run folder that the run was published, if a page was written."""
    if not (publication.folder / PAGE).exists():
        return
    note = {key: str(value) for key, value in asdict(publication).items()}
    note |= {"folder": str(publication.folder.resolve()), "updated": _iso_utc(moment)}
    for run in runs:
        if run.path.is_dir():
            try:
                note_publication(run.path, note)
            except (OSError, ValueError) as error:
                say(f"warning: {run.name} has no note of its publication: {error}")


def _iso_utc(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds")
