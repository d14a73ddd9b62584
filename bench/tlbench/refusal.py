"""Refusals: errors in the input become one sentence and exit code 2.

What is required, what was received and the remedy are in the message of the error,
which is raised where the input is checked.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from tlbench.characters import visible


class _Refusal(click.ClickException):
    exit_code = 2


class Commands(click.Group):
    """A group of commands whose errors show the words that were typed as text."""

    def make_context(self, *args: Any, **options: Any) -> click.Context:
        """Parse what was typed before the command."""
        with _shown():
            return super().make_context(*args, **options)

    def invoke(self, ctx: click.Context) -> Any:
        """Parse the rest, and run the command."""
        with _shown():
            return super().invoke(ctx)


@contextmanager
def _shown() -> Iterator[None]:
    try:
        yield
    except click.UsageError as error:
        raise click.UsageError(
            visible(error.format_message(), lines=True), ctx=error.ctx
        ) from error
    except UnicodeEncodeError as error:
        # click looks for files by words that no file can be named by.
        raise click.UsageError(
            "Words must be text that can be encoded. Received: "
            f"{visible(error.object)}. Write it in UTF-8."
        ) from error


@contextmanager
def refusing() -> Iterator[None]:
    """Turn errors in the input into one sentence and exit code 2."""
    try:
        yield
    except (ValueError, OSError) as error:
        raise _Refusal(visible(error, lines=True)) from error
