"""The command `tlbench sync`: its arguments, and what it prints.

What it does is in `syncing`.
"""

from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import get_args

import click

from tlbench.arguments import RESULTS
from tlbench.output import echo
from tlbench.prune import pruned
from tlbench.refusal import refusing
from tlbench.storage.retention import check_days
from tlbench.syncing import syncing
from tlbench.syncing.branch import Place
from tlbench.syncing.merging import Take


@click.command()
@click.option(
    "--remote",
    default="origin",
    show_default=True,
    metavar="NAME",
    help="The remote that has the branch.",
)
@click.option(
    "--no-push",
    is_flag=True,
    help="Only fetch and merge: for a pull request of a fork, which may not write.",
)
@click.option(
    "--take",
    type=click.Choice(get_args(Take)),
    help="Which side stays where both changed the same; without it that is refused.",
)
@RESULTS
@click.option(
    "--keep-days",
    type=int,
    metavar="N",
    help="Fold runs that are older into one line per case and month, unless they are "
    "accepted.",
)
@click.argument("branch")
def sync(
    branch: str,
    results: Path,
    remote: str,
    take: Take | None,
    keep_days: int | None,
    *,
    no_push: bool,
) -> None:
    """Exchange baselines and histories with BRANCH, a git branch of their own.

    The branch is fetched, merged with the results folder, committed and pushed; it is
    made if there is none. Histories are unions of their lines; of two acceptances the
    newest stays. The working tree, its index and its branch are not touched, and files
    that the checked-out branch tracks are left alone.
    """
    place = Place(folder=Path.cwd(), remote=remote, branch=branch)
    with refusing():
        if keep_days is not None:
            check_days(keep_days)
        now = datetime.now(UTC)
        done = syncing.sync(
            results,
            place,
            push=not no_push,
            take=take,
            fold=partial(pruned, results, days=keep_days, now=now)
            if keep_days is not None
            else None,
            say=lambda sentence: echo(sentence, err=True),
        )
    for word, paths in (("received", done.received), ("sent", done.sent)):
        for path in paths:
            echo(f"{word:<8} {path}")
    if done.left:
        echo(
            f"left to the checked-out branch, which tracks them: {', '.join(done.left)}"
        )
    if done.pushed:
        echo(f"pushed {done.commit[:12]} to {place}")
    elif done.commit:
        echo(f"nothing was pushed to {place}, which is at {done.commit[:12]}")
    else:
        echo(f"there is no {place} yet, and nothing was pushed")
