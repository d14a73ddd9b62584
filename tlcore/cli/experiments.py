"""Experiments: the commands `tlcore experiments list`, `show`, `compare` and so on.

Owns their arguments and what they print. What they do is in the wings `runs` and
`publishing`.
"""

import shlex
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from tlcore.cli import tables
from tlcore.cli.output import echo, echo_json
from tlcore.runs.formatting import estimate_cell

_OUT = click.option(
    "--out",
    default=Path("runs"),
    show_default=True,
    type=click.Path(path_type=Path),
    help="Folder of all runs.",
)
_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def experiments() -> None:
    """List, show, compare, delete and publish runs.

    A run is named by <recipe>/<moment>, or by the path of its folder.
    """


@experiments.command("list")
@_OUT
@_JSON
def list_(out: Path, as_json: bool) -> None:
    """List every run, the oldest first, damaged ones included."""
    from tlcore.runs.collection import list_runs

    rows = list_runs(out)
    if as_json:
        echo_json(rows)
    elif not rows:
        echo(_empty(out))
    else:
        tables.print_rows([_listed(row) for row in rows])
        for row in rows:
            if row["reason"]:
                echo(f"{row['id']}: {row['reason']}")
            if row["resume"]:
                echo(f"{row['id']} is {row['status']}; to go on: {row['resume']}")


@experiments.command()
@click.argument("run")
@_OUT
@_JSON
def show(run: str, out: Path, as_json: bool) -> None:
    """Print all that is known about RUN."""
    from tlcore.runs.collection import file_sizes, find_run
    from tlcore.runs.overview import overview
    from tlcore.runs.publications import publications
    from tlcore.runs.run import read_run

    found = read_run(find_run(run, out))
    sections = overview(found, public=False)
    files, published = file_sizes(found.path), publications(found.path)
    if as_json:
        more = {"status": found.status, "files": files, "publications": published}
        echo_json({**found.document, **more})
        return
    for section in sections:
        echo(section.title)
        tables.print_rows(section.rows)
    if published:
        echo("Published")
        tables.print_rows(published)
    echo("Files")
    tables.print_rows([{"file": name, "bytes": n} for name, n in files.items()])


@experiments.command()
@click.argument("runs", nargs=-1)
@_OUT
@_JSON
def compare(runs: tuple[str, ...], out: Path, as_json: bool) -> None:
    """Print the summary table of RUNS, by default of all."""
    from tlcore.runs.collection import compare_runs

    paths = _chosen(runs, out)
    rows = compare_runs(paths)
    if rows or as_json:
        tables.show_comparison(rows, as_json=as_json)
    else:
        echo(_empty(out))


@experiments.command()
@click.argument("runs", nargs=-1, required=True)
@_OUT
@click.option("--yes", is_flag=True, help="Do not ask.")
def delete(runs: tuple[str, ...], out: Path, yes: bool) -> None:
    """Delete RUNS with all their files, after asking."""
    from tlcore.files import readable
    from tlcore.runs.collection import check_removal, find_run, remove_run

    paths = {path.absolute(): path for path in (find_run(name, out) for name in runs)}
    removals = [check_removal(path) for path in paths.values()]
    for one in removals:
        echo(f"{one.path}: {one.files} files, {readable(one.nbytes)}")
    if not yes:
        if not sys.stdin.isatty():
            raise ValueError(
                "Deleting must be confirmed. Received: no terminal to ask on, and no "
                "--yes. Nothing was deleted; add --yes."
            )
        many = f"these {len(removals)} runs" if len(removals) > 1 else "this run"
        if not click.confirm(f"Delete {many}?"):
            echo("nothing was deleted")
            return
    for one in removals:
        remove_run(one)
        echo(f"deleted: {one.path}")


@experiments.command()
@click.argument("runs", nargs=-1)
@_OUT
@click.option("--name", help='Title of the page.  [the one it has, or "Experiments"]')
@click.option("--description", help="What the page says below its title.")
@click.option("--one-shot", is_flag=True, help="Write once; wait for no run.")
@click.option(
    "--to",
    type=click.Path(path_type=Path),
    help="Folder of the page.  [published/NAME]",
)
@_JSON
def publish(
    runs: tuple[str, ...],
    out: Path,
    name: str | None,
    description: str | None,
    one_shot: bool,
    to: Path | None,
    as_json: bool,
) -> None:
    """Write RUNS, by default all, as one page that can be given to anyone.

    A folder for TensorBoard is written next to it. While one of the runs goes on, the
    page is written again whenever that run has changed, until Ctrl-C.
    """
    from tlcore.publishing import publication

    def now() -> datetime:
        return datetime.now(UTC)

    paths = _chosen(runs, out)
    if not paths:
        raise ValueError(
            f"A publication needs a run. Received: out={str(out)!r}, and "
            f"{_empty(out)}. Choose another with --out."
        )
    chosen = publication.prepare(to, name=name, description=description, now=now)
    page = publication.publish(
        chosen,
        paths,
        one_shot=one_shot,
        now=now,
        sleep=time.sleep,
        say=lambda line: echo(line, err=True),
    )
    log_dir = chosen.folder / publication.LOG_DIR
    if as_json:
        about = {"id": chosen.id, "name": chosen.name, "page": str(page)}
        echo_json({**about, "log_dir": str(log_dir)})
        return
    echo(f"page: {page}")
    echo(f"to compare in TensorBoard: tensorboard --logdir {shlex.quote(f'{log_dir}')}")


def _chosen(names: tuple[str, ...], out: Path) -> list[Path]:
    """Return the folders of these runs, or of all that can be read."""
    from tlcore.publishing.page import check_run
    from tlcore.runs.collection import find_run, find_runs
    from tlcore.runs.run import read_run

    if names:
        return [find_run(name, out) for name in names]
    whole = []
    for path in find_runs(out):
        try:
            check_run(read_run(path))
        except (ValueError, OSError) as error:
            echo(f"left out: {error}", err=True)
        else:
            whole.append(path)
    return whole


def _empty(out: Path) -> str:
    return f"{out} holds no run; `tlcore run RECIPE --data DIR` makes one"


def _listed(row: dict[str, Any]) -> dict[str, Any]:
    from tlcore.files import readable

    cells = {
        "id": row["id"],
        "name": ", ".join(note["name"] for note in row["publications"]),
        "status": row["status"],
        "created": _minutes(row["created"]),
        "updated": _minutes(row["updated"]),
        "epochs": row["epochs"],
        "scalars": row["scalars"],
        "size": readable(row["bytes"]),
    }
    for name in ("val_accuracy", "test_accuracy"):
        final = row["final"].get(name)
        cells[name] = "" if final is None else estimate_cell(final)
    return cells


def _minutes(moment: str) -> str:
    """Return a moment as people write it: "2026-01-02 03:04"."""
    return moment[:16].replace("T", " ")
