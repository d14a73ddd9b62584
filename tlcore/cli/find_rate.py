"""Find rate: the command `tlcore find-rate`.

Owns its options, those of `tlcore run` that say what is trained among them, the form of
its output, and the line of `tlcore run` that takes what was found. What searches is in
`runs.recipe_rate`.
"""

import shlex
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tlcore.cli import tables
from tlcore.cli.output import echo, echo_json
from tlcore.cli.run import backbone_of, run
from tlcore.cli.signals import Signals
from tlcore.runs.recipes import FEATURE_EXTRACTION, Recipe, find_recipe

if TYPE_CHECKING:
    from tlcore.optimizing.rate_curve import RateSearch

_OF_RECIPE = {field.name for field in fields(Recipe)}
_OF_READING = {"fit", "background", "orientation"}
_OF_RUN = {
    *("seed", "skip_bad", "split", "root", "deterministic", "early_stopping"),
    *("cache", "views", "workers", "trust"),
}
_SHARED = _OF_RECIPE | _OF_READING | _OF_RUN | {"handle"}
"""The options of `tlcore run` that say what is trained, and on what."""

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
    from tlcore.plotting.figures import checked_path
    from tlcore.runs.rate_picture import plot_learning_rates
    from tlcore.runs.recipe_rate import phase_of, rate_for_run

    checked_path(picture)
    changes = {name: given[name] for name in _OF_RECIPE & given.keys()}
    changes |= backbone_of(changes["backbone"], given["handle"])
    chosen = find_recipe(recipe).changed(**changes)
    wanted = phase_of(chosen, phase)
    limits = {"lowest": lowest, "highest": highest, "steps": steps}
    search = _searched(context.obj, chosen, data, given, {"phase": phase, **limits})
    line = None
    if search.suggestion is not None:
        line = _line(context, data, rate_for_run(wanted, search.suggestion))
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


# Here, so that whatever `run` can train can be searched, under the same names.
find_rate.params += [
    option for option in run.params if option.name in _SHARED - {"recipe"}
]


def _searched(
    signals: Signals, recipe: Recipe, data: Path, given: dict[str, Any], how: Any
) -> "RateSearch":
    """Return what a search finds, and show how far it is."""
    from tlcore.cli.progress import Progress
    from tlcore.data.reading import Reading
    from tlcore.runs.recipe_rate import find_recipe_rate
    from tlcore.runs.runner import RunOptions

    def report(name: str, done: int, total: int) -> None:
        signals.check()
        progress.features(name, done, total)

    reading = Reading.of(**{name: given[name] for name in _OF_READING})
    with Progress() as progress:
        options = RunOptions(
            reading=reading,
            callbacks=progress.callbacks,
            say=progress.say,
            progress=report,
            **{name: given[name] for name in _OF_RUN},
        )
        return find_recipe_rate(recipe, data, options, **how)


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


def _line(context: click.Context, data: Path, rate: float) -> str:
    """Return the line of `tlcore run` that trains with a learning rate."""
    words = ["tlcore", "run", context.params["recipe"], "--data", str(data)]
    written = click.core.ParameterSource.COMMANDLINE
    for option in run.params:
        name = option.name or ""
        value = context.params.get(name)
        if (
            name not in _SHARED - {"recipe", "learning_rate"}
            or context.get_parameter_source(name) != written
            or option.opts[0] in words
        ):
            continue
        if isinstance(option, click.Option) and option.is_flag:
            # --mixed-precision is one more name of --precision.
            if value is True:
                words.append(option.opts[0])
            continue
        values = value if isinstance(value, tuple) else (value,)
        shown = (f"{x:g}" if isinstance(x, float) else str(x) for x in values)
        words += [option.opts[0], ",".join(shown)]
    return shlex.join([*words, "--learning-rate", f"{rate:.2g}"])
