"""The command `tlbench`.

Owns the words of the command line, its exit codes (0 done, 2 wrong input) and finding
out who accepts and when. What accepting means is `store.accept`.
"""

import getpass
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import click

from tlbench import store


class _Refusal(click.ClickException):
    exit_code = 2


_RESULTS = click.option(
    "--results",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("results"),
    show_default=True,
    metavar="DIR",
    help="Folder of the baselines.",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="tlcore", prog_name="tlbench")
def main() -> None:
    """Accept and list the baselines that pytest compares recorded values with."""


@main.command()
@click.option("--reason", default="", metavar="TEXT", help="Why they are right.")
@click.option("--prune", is_flag=True, help="Drop cases their files no longer have.")
@_RESULTS
@click.argument("cases", nargs=-1, metavar="[CASE]...")
def accept(reason: str, results: Path, *, prune: bool, cases: tuple[str, ...]) -> None:
    """Take the exact values of the last run as baseline.

    Without CASE, all cases of the last run. A case that failed is refused, unless an
    exact value that differs from its baseline is all that failed.
    """
    try:
        run, evidence = store.read_last_run(results)
        done = store.accept(
            store.read_accepted(results),
            run,
            store.Acceptance(
                by=_who(),
                when=datetime.now(UTC).isoformat(timespec="seconds"),
                reason=reason.strip(),
                evidence=evidence,
            ),
            cases=cases,
            prune=prune,
        )
        if done.new or done.changed or done.dropped:
            store.write_accepted(results, done.baselines)
    except (ValueError, OSError) as error:
        raise _Refusal(str(error)) from error
    for word in ("new", "changed", "dropped"):
        for case in getattr(done, word):
            click.echo(f"{word:<8} {case}")
    click.echo(
        f"{len(done.new)} new, {len(done.changed)} changed, "
        f"{len(done.unchanged)} unchanged, {len(done.dropped)} dropped"
    )


@main.command()
@_RESULTS
def status(results: Path) -> None:
    """List the accepted cases, each with its date and reason."""
    if not results.is_dir():
        raise _Refusal(
            f"The results must be a folder. Received: --results {results}. "
            "Name the folder, or make it with a first `tlbench accept`."
        )
    try:
        baselines = store.read_accepted(results)
    except (ValueError, OSError) as error:
        raise _Refusal(str(error)) from error
    width = max(map(len, baselines), default=0)
    for case, baseline in sorted(baselines.items()):
        accepted = baseline.accepted
        click.echo(
            f"{case:<{width}}  {accepted.when[:10]}  {accepted.by}: {accepted.reason}"
        )
    click.echo(f"{len(baselines)} accepted cases in {results}")


def _who() -> str:
    """Give git's name of the user, else the login."""
    try:
        git = subprocess.run(
            ["git", "config", "user.name"],  # noqa: S607 - git is found by PATH
            capture_output=True,
            text=True,
            check=False,
        )
        name = git.stdout.strip()
    except OSError:
        name = ""
    try:
        return name or getpass.getuser()
    except (OSError, KeyError):  # KeyError before Python 3.13
        raise ValueError(
            "Accepting a baseline needs a name. Received: no git user.name, no login. "
            "Set one with `git config user.name NAME`."
        ) from None
