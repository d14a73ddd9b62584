"""Refusals: errors in the input become one sentence and exit code 2.

What is required, what was received and the remedy are in the message of the error,
which is raised where the input is checked.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import click

from tlbench.characters import visible


class _Refusal(click.ClickException):
    exit_code = 2


@contextmanager
def refusing() -> Iterator[None]:
    """Turn errors in the input into one sentence and exit code 2."""
    try:
        yield
    except (ValueError, OSError) as error:
        raise _Refusal(visible(error, lines=True)) from error
