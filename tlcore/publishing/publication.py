"""Publications: chosen runs as one page, and as a folder for TensorBoard.

Owns the folder of a publication: `index.html`, which `page` makes, the folder
`tensorboard/` beside it, and `published.json`, which says what was published and by
which name; and following runs that still train.
"""

import json
import secrets
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tlcore.files import write_bytes, write_text
from tlcore.publishing import page
from tlcore.runs import event_files
from tlcore.runs.documents import read_document
from tlcore.runs.publications import PUBLICATION_FILE, note_publication
from tlcore.runs.run import Run, read_run, reading

PAGE, LOG_DIR = "index.html", "tensorboard"
FOLDER = Path("published")
"""Where publications go, each in a folder of its own."""
DEFAULT_NAME = "Experiments"
POLL_SECONDS = 5.0
REMOVED, DAMAGED = "removed", "damaged"
"""The status of a run that was deleted, or cannot be read, while it was followed."""
SCHEMA = 1
# History of the format of published.json:
# 1  the first.


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
    if name is not None and not page.slug(name):
        raise ValueError(
            "A publication's name must hold a letter or a digit. "
            f"Received: name={name!r}."
        )
    folder = to or FOLDER / page.slug(name or DEFAULT_NAME)
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

    def parse(document: Any) -> Publication:
        names = ("id", "name", "description", "created")
        return Publication(folder=folder, **{n: str(document[n]) for n in names})

    remedy = "Remove the publication, or choose another folder with --to."
    return read_document(file, parse, newest=SCHEMA, remedy=remedy)


def _require_names_of_their_own(runs: Sequence[Run]) -> None:
    names = [run.name for run in runs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(
            "The runs of a publication must have names of their own. "
            f"Received: {', '.join(twice)} more than once. Publish them apart."
        )


def _again(run: Run, say: Callable[[str], None]) -> Run:
    """Return the run as it is now, or as it was if nothing can be read any more."""
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
    text = page.render(about, runs, moment=_said(moment), live=live)
    folder = publication.folder
    folder.mkdir(parents=True, exist_ok=True)
    document = {"schema": SCHEMA, **about, "updated": _said(moment)}
    document |= {"runs": [run.name for run in runs]}
    # First, so that what a killed process leaves is known as a publication.
    write_text(folder / PUBLICATION_FILE, json.dumps(document, indent=2) + "\n")
    _write_log_dir(folder / LOG_DIR, runs)
    write_bytes(folder / PAGE, text.encode("utf-8", "replace"))


def _write_log_dir(folder: Path, runs: Sequence[Run]) -> None:
    """Write a logdir with one folder per run, and remove those of other runs."""
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


def _said(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds")
