"""Find rate: the command `tlcore find-rate`.

Owns its options, those of `tlcore run` that say what is trained among them, the form of
its output, and the line of `tlcore run` that takes what was found. What searches is in
`choosing.recipe_rate`.
"""

from collections.abc import Iterator
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
from tlcore.runs.recipes import FEATURE_EXTRACTION

if TYPE_CHECKING:
    from tlcore.optimizing.rate_curve import RateSearch

_ROWS = 16
"""Rows of the table, besides those of the rates that were found."""


@click.command("find-rate")
@click.argument("recipe")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    required=True,
    help="As in tlcore run.",
)
@click.option(
    "--phase",
    default=FEATURE_EXTRACTION.replace("_", "-"),
    show_default=True,
    help="Phase of the recipe, such as fine-tuning; those before it are trained first.",
)
@click.option("--lowest", type=float, default=1e-7, help="First rate.  [1e-7]")
@click.option("--highest", type=float, default=10.0, help="Last rate.  [10]")
@click.option("--steps", default=100, show_default=True, help="Steps between them.")
@click.option(
    "--picture",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Draw the loss over the learning rate to this file.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def find_rate(
    context: click.Context,
    /,
    recipe: str,
    data: Path,
    phase: str,
    lowest: float,
    highest: float,
    steps: int,
    picture: Path | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Search the learning rate of RECIPE on some images, before it is run.

    Trains some steps with a rate that grows, as tlcore run would begin, and shows where
    the loss falls and where it diverges. No run is left. The other options are those of
    tlcore run.
    """
    from tlcore.choosing.rate_picture import plot_learning_rates
    from tlcore.choosing.recipe_rate import find_recipe_rate, phase_of, rate_for_run
    from tlcore.plotting.figures import checked_path

    checked_path(picture)
    chosen = recipe_of(recipe, given)
    wanted = phase_of(chosen, phase)
    with options_of_run(context.obj, given) as options:
        search = find_recipe_rate(
            chosen,
            data,
            options,
            phase=phase,
            lowest=lowest,
            highest=highest,
            steps=steps,
        )
    line = None
    if search.suggestion is not None:
        rate = float(f"{rate_for_run(wanted, search.suggestion):.2g}")
        line = line_of_run(context, data, {"learning_rate": rate})
    if picture is not None:
        plot_learning_rates(search, picture)
    if as_json:
        about = {"recipe": chosen.name, "phase": wanted.name, "command": line}
        echo_json({**about, **search.as_dict()})
        return
    tables.print_rows(list(_rows(search)))
    echo(search.sentence)
    if picture is not None:
        echo(f"written: {picture}")
    if line is not None:
        if wanted.last:
            echo("--learning-rate is that of feature extraction, ten times as high:")
        echo(line)


# No validation: nothing stops early.
take_options_of_run(find_rate, leave={"early_stopping"})


def _rows(search: "RateSearch") -> Iterator[dict[str, Any]]:
    """Yield rates at even distances, and those that were found, with their losses."""
    rates, count = search.rates, len(search.rates)
    found = {
        "suggested": search.suggestion,
        "falls fastest": search.steepest,
        "diverged": search.diverged_at,
    }
    notes: dict[int, list[str]] = {}
    for name, rate in found.items():
        if rate is not None:
            # The suggestion is a tenth of a rate, and may lie between two.
            near = min(range(count), key=lambda i: abs(rates[i] / rate - 1))
            notes.setdefault(near, []).append(name)
    even = range(0, count, max(1, count // _ROWS))
    for i in sorted({*even, *notes}):
        yield {
            "learning rate": f"{rates[i]:.2g}",
            "loss": f"{search.losses[i]:.4f}",
            "smoothed": f"{search.smoothed[i]:.4f}",
            "": ", ".join(notes.get(i, [])),
        }
