"""Doctor: the command `tlcore doctor`.

Owns how findings are printed. What is asked, and how, is in the wing `doctor`.
"""

import shutil
import sys
import textwrap
from typing import TYPE_CHECKING

import click

from tlcore.cli.output import echo, echo_json

if TYPE_CHECKING:
    from tlcore.doctor.examination import Finding


@click.command()
@click.argument("questions", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor(questions: tuple[str, ...], as_json: bool) -> None:
    """Check the installed stack for known defects, and print what to write.

    QUESTIONS are ids such as A4; by default all are asked. Small models are trained for
    some seconds. The exit code is 0 whatever is found: "affected" describes what is
    installed; it is not a failure of this command.
    """
    from rich.console import Console

    from tlcore.doctor.examination import (
        PATIENT_WORKER_SECONDS,
        WORKER_SECONDS,
        examine,
        installed_stack,
    )

    seconds = PATIENT_WORKER_SECONDS if questions else WORKER_SECONDS
    with Console(stderr=True).status("loading Keras") as status:
        findings = examine(
            questions,
            worker_seconds=seconds,
            say=lambda probe: status.update(f"{probe.id}: {probe.fact}"),
        )
        stack = installed_stack()
    if as_json:
        found = [finding.as_dict() for finding in findings]
        echo_json({**stack.as_dict(), "findings": found})
        return
    versions = [f"{name} {v or 'not installed'}" for name, v in stack.versions.items()]
    echo("\n".join(_folded(", ".join(versions), indent=0)))
    echo(f"backend: {stack.backend}; devices: {', '.join(stack.devices)}")
    for finding in findings:
        echo()
        _show_finding(finding)


def _show_finding(finding: "Finding") -> None:
    """Print the answer; where affected, what is done here and what to write."""
    colours = {"affected": "yellow", "not affected": "green", "cannot tell": "magenta"}
    probe = finding.probe
    source = f"; {probe.source}" if probe.source else ""
    text = f"{finding.status}: {probe.fact} ({finding.evidence}{source})"
    lines = _folded(text, indent=5)
    echo(f"{probe.id:<5}", nl=False)
    echo(finding.status, nl=False, fg=colours[finding.status])
    echo(lines[0].removeprefix(finding.status))
    details = lines[1:]
    if finding.status == "affected":
        for name, folded in (
            ("here:  ", _folded(probe.here, indent=12)),
            ("write: ", probe.remedy.splitlines()),
        ):
            details += [f"{name}{folded[0]}", *(f"{'':7}{x}" for x in folded[1:])]
    for line in details:
        echo(f"{'':5}{line}".rstrip())


def _folded(text: str, *, indent: int) -> list[str]:
    """Return text folded to the width of the terminal; a pipe is not folded."""
    if not sys.stdout.isatty():
        return [text]
    # The last column stays free: some terminals wrap after writing into it.
    width = shutil.get_terminal_size().columns - indent - 1
    return textwrap.wrap(text, max(width, 30), break_long_words=False)
