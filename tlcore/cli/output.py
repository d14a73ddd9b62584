"""Output: everything that the command prints, on either stream.

Owns that text of others (names of files and classes, documents, messages about them) is
shown and not obeyed by a terminal. No other module of the command line prints.
"""

import json
from typing import Any

import click

from tlcore.terminal.characters import visible


def echo(
    text: object = "", *, err: bool = False, nl: bool = True, **style: Any
) -> None:
    """Print text with its control characters shown, in a style of `click.style`.

    Args:
        text: what to print; line ends stay as they are.
        err: print it to standard error.
        nl: end with a line end.
        style: colour and the like, as `click.style` takes them.
    """
    shown = visible(text, lines=True)
    click.echo(click.style(shown, **style) if style else shown, err=err, nl=nl)


def echo_json(document: Any) -> None:
    """Print a document as JSON, in ASCII."""
    # JSON escapes every control character but one.
    click.echo(json.dumps(document, indent=2).replace("\x7f", "\\u007f"))
