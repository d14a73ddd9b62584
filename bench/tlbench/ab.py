"""The command `tlbench ab`: its arguments, what it prints, and its exit code.

What it does is in `pairing`, how it is written in `reporting.comparison`.
"""

import contextlib
import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn

import click

from tlbench.output import echo, echo_json
from tlbench.pairing.running import run
from tlbench.pairing.sides import Request
from tlbench.refusal import refusing
from tlbench.reporting import comparison as reporting
from tlbench.settings import read_settings
from tlbench.storage.documents import write_text

PAGE, SUMMARY, DOCUMENT = "comparison.html", "comparison.md", "comparison.json"

_FINDING, _INTERRUPTED, _TERMINATED = 1, 130, 143


@click.command()
@click.option(
    "--base-python",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="INTERPRETER",
    help="Compare with this interpreter and what is installed for it, instead of BASE; "
    "nothing is checked out or installed.",
)
@click.option(
    "--install",
    metavar="COMMAND",
    help="How a side is installed in its environment. [default: pip install -e .]",
)
@click.option(
    "--budget",
    type=float,
    metavar="SECONDS",
    help="How long the measuring may take, without the installing. [default: 300]",
)
@click.option(
    "--pytest-args",
    default="",
    metavar="WORDS",
    help="Further arguments for pytest, such as '-k parse'.",
)
@click.option(
    "--work",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Where the checkouts and environments are. [default: the user's cache]",
)
@click.option(
    "--report",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help=f"Write {PAGE}, {SUMMARY} and {DOCUMENT} there.",
)
@click.option("--json", "as_json", is_flag=True, help="Print plain JSON.")
@click.argument("base", required=False, default="")
@click.argument("paths", nargs=-1, metavar="[PATH]...")
def ab(
    base: str,
    paths: tuple[str, ...],
    *,
    base_python: Path | None,
    install: str | None,
    budget: float | None,
    pytest_args: str,
    work: Path | None,
    report: Path | None,
    as_json: bool,
) -> None:
    """Compare the working tree with BASE: a commit, a tag or a branch.

    Runs the suite at PATH on both sides, in pairs of fresh processes that take turns,
    until every case is decided. Exact values, costs and metrics are compared too. No
    stored baseline is needed. Defaults for PATH, --install and --budget come from
    [tool.tlbench] in pyproject.toml.

    Exit code 1 if a case got slower or has any other finding.
    """
    if base_python is not None and base:
        base, paths = "", (base, *paths)  # all that is left to name is the suite
    with refusing(), _terminable():
        folder = Path.cwd()
        settings = read_settings(folder)
        request = Request(
            folder=folder,
            paths=paths or settings.paths,
            base=base or None,
            base_python=base_python,
            install=install or settings.install,
            work=work,
        )
        seconds = _checked_budget(settings.budget if budget is None else budget)
        try:
            options = shlex.split(pytest_args)
            done = run(
                request, options, budget=seconds, say=_say, policy=settings.policy
            )
        except KeyboardInterrupt:
            _say("interrupted before anything was measured")
            sys.exit(_INTERRUPTED)
        if report is not None:
            write_text(report / PAGE, reporting.page(done))
            write_text(report / SUMMARY, reporting.markdown(done))
            write_text(report / DOCUMENT, reporting.document(done) + "\n")
    if as_json:
        echo_json(reporting.document(done))
    else:
        for text, style in reporting.lines(done):
            colour = next((x for x in ("red", "yellow", "green") if style.get(x)), None)
            echo(text, fg=colour, bold=style.get("bold", False))
    if report is not None:
        _say(f"the page: {report / PAGE}")
    if done.interrupted:
        sys.exit(_INTERRUPTED)
    if done.has_findings:
        sys.exit(_FINDING)


def _checked_budget(budget: float) -> float:
    if not 0 < budget < float("inf"):
        raise ValueError(
            "--budget must be a number of seconds above 0. "
            f"Received: budget={budget!r}. Pass for instance --budget 300."
        )
    return budget


def _say(sentence: str) -> None:
    echo(sentence, err=True)


@contextmanager
def _terminable() -> Iterator[None]:
    """Let SIGTERM end this process as an error would: nothing is left behind."""

    def end(_number: int, _frame: FrameType | None) -> NoReturn:
        sys.exit(_TERMINATED)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        with contextlib.suppress(TypeError):  # None: it was not set by Python
            signal.signal(signal.SIGTERM, before)
