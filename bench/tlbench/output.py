"""Output: everything that the command prints, on either stream.

Owns that text of others (names of cases, files of other machines, messages about them)
is shown and not obeyed by a terminal. No other module of the command line prints; what
pytest's terminal gets goes through `characters` in `plugin`.
"""

from typing import Any

import click

from tlbench.characters import visible


def echo(text: object = "", *, err: bool = False, **style: Any) -> None:
    """Print text with its control characters shown, in a style of `click.style`."""
    shown = visible(text, lines=True)
    click.echo(click.style(shown, **style) if style else shown, err=err)


def echo_json(text: str) -> None:
    """Print a JSON document in ASCII, as `json.dumps` writes it."""
    # JSON escapes every control character but one.
    click.echo(text.replace("\x7f", "\\u007f"))
