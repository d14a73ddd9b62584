"""Sweep: the command `tlcore sweep`.

Owns its options and the form of its output. What sweeps is in `choosing.sweep`.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tlcore.cli import tables
from tlcore.cli.as_run import (
    line_of_run,
    options_of_run,
    recipe_of,
    take_options_of_run,
)
from tlcore.cli.output import echo, echo_json

if TYPE_CHECKING:
    from tlcore.choosing.sweep import Candidate, Sweep

_ROWS = 12
"""Heads in the table."""


def _numbers(kind: type) -> Callable[..., Any]:
    """Return what reads numbers with commas between them."""

    def read(_context: click.Context, option: click.Parameter, text: str | None) -> Any:
        if text is None:
            return None
        try:
            return tuple(kind(part) for part in text.split(","))
        except ValueError:
            name = option.opts[0]
            raise ValueError(
                f"{name} must be numbers with commas between them. Received: "
                f"{text!r}. Write {name} {'5,10' if kind is int else '0.001,0.01'}."
            ) from None

    return read


@click.command()
@click.argument("recipe")
@click.option(
    "--data", type=click.Path(path_type=Path), required=True, help="As in tlcore run."
)
@click.option(
    "--learning-rates", callback=_numbers(float), help="With commas.  [1e-4 to 3e-2]"
)
@click.option("--dropouts", callback=_numbers(float), help="The same.  [0,0.2,0.5]")
@click.option("--weight-decays", callback=_numbers(float), help="The same.  [0,0.1,1]")
@click.option(
    "--lasts",
    callback=_numbers(int),
    help="Fine-tune the best head with so many layers, each in turn.  [none]",
)
@click.option(
    "--picture",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Draw what was tried to this file.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def sweep(
    context: click.Context,
    /,
    recipe: str,
    data: Path,
    learning_rates: tuple[float, ...] | None,
    dropouts: tuple[float, ...] | None,
    weight_decays: tuple[float, ...] | None,
    lasts: tuple[int, ...] | None,
    picture: Path | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Try many heads of RECIPE at once, and choose one by the validation images.

    All are trained together on features that are computed once, and each ends as
    tlcore run would train it. The chosen one is tested once. The other options are
    those of tlcore run.
    """
    from tlcore.choosing.sweep import Grid
    from tlcore.choosing.sweep import sweep as swept_of
    from tlcore.choosing.sweep_picture import plot_sweep
    from tlcore.plotting.figures import checked_path

    checked_path(picture)
    default = Grid()
    grid = Grid(
        learning_rates or default.learning_rates,
        dropouts or default.dropouts,
        weight_decays or default.weight_decays,
        lasts or default.lasts,
    )
    chosen = recipe_of(recipe, given)
    with options_of_run(context.obj, given) as options:
        found = swept_of(chosen, data, options, grid=grid)
    if picture is not None:
        plot_sweep(found, path=picture)
    line = line_of_run(context, data, _changes(found.best))
    if as_json:
        echo_json({"recipe": chosen.name, "command": line, **found.as_dict()})
        return
    _print(found)
    if picture is not None:
        echo(f"written: {picture}")
    echo(line)


take_options_of_run(
    sweep, leave={"learning_rate", "dropout", "weight_decay", "last", "stages"}
)


def _changes(best: "Candidate") -> dict[str, Any]:
    """Return the options of `tlcore run` that make a recipe that of the best."""
    recipe = best.recipe
    tuned = recipe.fine_tune_epochs > 0
    return {
        "learning_rate": recipe.learning_rate,
        "dropout": recipe.dropout,
        "weight_decay": recipe.weight_decay,
        "last": recipe.last if tuned else None,
        "fine_tune_epochs": recipe.fine_tune_epochs,
        "layer_rates": recipe.layer_rates,
    }


def _print(found: "Sweep") -> None:
    shown = [
        one
        for place, one in enumerate(found.candidates)
        if place < _ROWS or one.recipe.fine_tune_epochs
    ]
    tables.print_rows([_row(one) for one in shown])
    count, best = len(found.candidates), found.best.accuracy
    more = f"; the best {_ROWS} heads are shown" if count > _ROWS else ""
    diverged = sum(one.accuracy is None for one in found.candidates)
    if diverged:
        more += f"; {diverged} diverged"
    echo(f"{count} tried{more}")
    echo(f"validation: {best}")
    echo(f"validation, corrected for having chosen the best: {found.corrected}")
    if found.test is not None:
        echo(f"test: {found.test['accuracy']}")


def _row(one: "Candidate") -> dict[str, Any]:
    recipe, accuracy, loss = one.recipe, one.accuracy, one.loss
    return {
        "learning rate": f"{recipe.learning_rate:g}",
        "dropout": f"{recipe.dropout:g}",
        "weight decay": f"{recipe.weight_decay or 0:g}",
        "last": recipe.last if recipe.fine_tune_epochs else "",
        "accuracy": "diverged"
        if accuracy is None
        else f"{accuracy.value:.4f} ({accuracy.low:.3f}-{accuracy.high:.3f})",
        "loss": "" if loss is None else f"{loss.value:.4f}",
        "against the best": {None: "", True: "worse", False: "not told apart"}[
            one.worse
        ],
    }
