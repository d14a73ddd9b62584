"""Main: the command `tlcore`, its exit codes, and the commands it knows.

Owns the exit codes (0 done, 1 a finding, 2 wrong input, 130 interrupted, 143
terminated, 129 by a terminal that closed) and is the one place where commands are
registered. Results go to standard output, progress and errors to standard error. What a
command needs is loaded where it runs, so that help and lists are immediate.
"""

import errno
import io
import os
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import NoReturn

import click

from tlcore.backend.installed import MODULES, missing_backend
from tlcore.cli.check_data import check_data
from tlcore.cli.commands import (
    backbones,
    cache,
    compare,
    fetch,
    recipes,
    sample_images,
)
from tlcore.cli.doctor import doctor
from tlcore.cli.experiments import experiments
from tlcore.cli.export import export
from tlcore.cli.find_rate import find_rate
from tlcore.cli.held_lines import LEVEL_VARIABLE, held_back
from tlcore.cli.output import echo
from tlcore.cli.predict import predict
from tlcore.cli.rank import rank
from tlcore.cli.run import run
from tlcore.cli.signals import Signals
from tlcore.cli.sweep import sweep
from tlcore.processes import whole_program

INTERRUPTED = 130
TRACEBACK_VARIABLE = "TLCORE_TRACEBACK"


def program() -> None:
    """Run the command as a process of its own, and end the process with its code."""
    seen = bool(os.environ.get(TRACEBACK_VARIABLE))
    with whole_program(), nullcontext() if seen else held_back():
        main()


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command and exit: 0, 2 for wrong input, 128 and more for a signal."""
    os.environ.setdefault(LEVEL_VARIABLE, "2")
    sys.stdout = sys.stdout or Path(os.devnull).open("w")  # noqa: SIM115 - was closed
    try:
        with Signals() as signals:
            code = tlcore.main(
                arguments, prog_name="tlcore", standalone_mode=False, obj=signals
            )
    except (click.exceptions.Abort, KeyboardInterrupt):
        _fail("interrupted.", INTERRUPTED)
    except click.ClickException as error:
        shown = io.StringIO()
        error.show(shown)  # with the words that were typed, or that a script passed
        echo(shown.getvalue(), err=True, nl=False)
        sys.exit(error.exit_code)
    except ModuleNotFoundError as error:
        reason = missing_backend()
        if reason is None or error.name not in MODULES.values():
            raise
        _fail(f"error: {reason}", 2)
    except Exception as error:
        if not _is_input(error):
            raise
        if os.environ.get(TRACEBACK_VARIABLE):
            raise
        full = getattr(error, "errno", None) == errno.ENOSPC
        remedy = ". Make room on the disk, or choose another folder." if full else ""
        _fail(f"error: {_sentence(error)}{remedy}", 2)
    sys.exit(code or 0)


def _is_input(error: Exception) -> bool:
    """Tell whether an error is about what the command was given, or has at hand."""
    wrong = (ValueError, OSError, FloatingPointError, MemoryError)
    return isinstance(error, wrong) or _is_of_tensorflow(error)


def _is_of_tensorflow(error: Exception) -> bool:
    # It has errors of its own for a full memory and for files that it cannot read.
    return type(error).__module__.startswith("tensorflow")


def _sentence(error: Exception) -> str:
    said = str(error).strip() or type(error).__name__
    # Behind the first line TensorFlow lists the nodes of its graph.
    return said.splitlines()[0] if _is_of_tensorflow(error) else said


def _fail(message: str, code: int) -> NoReturn:
    echo(f"tlcore: {message}", err=True)
    sys.exit(code)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="tlcore", prog_name="tlcore")
def tlcore() -> None:
    """Transfer learning on Keras that does what it says."""


for command in (
    backbones,
    cache,
    check_data,
    compare,
    doctor,
    experiments,
    export,
    fetch,
    find_rate,
    predict,
    rank,
    recipes,
    run,
    sample_images,
    sweep,
):
    tlcore.add_command(command)
