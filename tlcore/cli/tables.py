"""Tables: rows on a terminal.

Owns how rows of named cells are printed (a table where it fits, else row by row, or
JSON) and which columns a comparison of runs shows. It knows no command.
"""

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from tlcore.cli.output import echo, echo_json
from tlcore.runs.formatting import Rows, cell, columns, estimate_cell, numbers
from tlcore.terminal.characters import visible

if TYPE_CHECKING:
    from rich.table import Table

_UNLIMITED = 10_000
"""A width in characters that no table reaches, to measure how wide one would be."""


def show(rows: Rows, *, as_json: bool) -> None:
    """Print rows as a table or as JSON."""
    if as_json:
        echo_json(rows)
    else:
        print_rows(rows)


def show_comparison(rows: Rows, *, as_json: bool = False) -> None:
    """Print the rows of `compare_runs`."""
    show(rows if as_json else [_compared(row) for row in rows], as_json=as_json)


def print_rows(rows: Rows) -> None:
    """Print rows as a table, or row by row where it is too wide.

    A column with nothing in it is left out; a row without a name has nothing there.
    """
    from rich.console import Console

    # A file or a pipe has no width; rich would fold at 80 columns, and a script that
    # reads the output would see broken lines.
    width = None if sys.stdout.isatty() else 240
    console = Console(width=width, highlight=False)
    table = _table(rows)
    unlimited = console.options.update(max_width=_UNLIMITED)
    if console.measure(table, options=unlimited).maximum <= console.width:
        console.print(table)
        return
    for row in rows:
        print_pairs(row)
        echo()


def print_pairs(pairs: Mapping[str, Any]) -> None:
    """Print one row, a line for each name and its value."""
    named = [(visible(name), cell(value)) for name, value in pairs.items()]
    longest = max(len(name) for name, _ in named)
    for name, value in named:
        echo(f"{name:<{longest}}  {value}".rstrip())


def _compared(row: Mapping[str, Any]) -> dict[str, Any]:
    seconds = row["epoch_seconds"]
    cells = {
        "run": row["run"],
        "backbone": row["backbone"],
        "status": row["status"],
        "parameters": row["total_params"],
        "trainable": row["trainable_params"],
        "epochs": row["epochs"],
        "s/epoch": "" if seconds is None else f"{seconds:.2f}",
    }
    for name in ("val_accuracy", "test_accuracy", "val_loss", "test_loss"):
        final = row["final"].get(name)
        cells[name] = (
            "" if final is None else estimate_cell(final, interval="accuracy" in name)
        )
    return cells


def _table(rows: Rows) -> "Table":
    from rich import box
    from rich.table import Table
    from rich.text import Text

    names = [n for n in columns(rows) if any(row.get(n, "") != "" for row in rows)]
    table = Table(box=box.SIMPLE_HEAD)
    right = numbers(rows)
    for name in names:
        justify: Literal["left", "right"] = "right" if name in right else "left"
        table.add_column(Text(visible(name)), justify=justify, overflow="fold")
    for row in rows:
        # As Text, or rich would read a name in brackets as markup.
        table.add_row(*(Text(cell(row.get(name))) for name in names))
    return table
