"""As run: commands that take the options of `tlcore run`, before anything is run.

Owns which options say what would be trained and on what, the recipe and the options of
a run that they stand for, and the line of `tlcore run` that trains what was found.
"""

import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tlcore.cli.run import backbone_of, run
from tlcore.cli.signals import Signals
from tlcore.runs.recipes import Recipe, find_recipe

if TYPE_CHECKING:
    from tlcore.runs.runner import RunOptions

_OF_RECIPE = {field.name for field in fields(Recipe)}
_OF_READING = {"fit", "background", "orientation"}
_OF_RUN = {
    *("seed", "skip_bad", "split", "root", "deterministic", "early_stopping"),
    *("cache", "views", "workers", "trust"),
}
_SHARED = _OF_RECIPE | _OF_READING | _OF_RUN | {"handle"}


def take_options_of_run(command: click.Command, *, leave: set[str]) -> None:
    """Give a command the options of `tlcore run` that say what is trained.

    Args:
        command: it takes them as keyword arguments, by their names there.
        leave: the names of those that it does not take.
    """
    # From there, so that whatever `run` can train has the same names everywhere.
    names = _SHARED - {"recipe"} - leave
    command.params += [option for option in run.params if option.name in names]


def recipe_of(name: str, given: Mapping[str, Any]) -> Recipe:
    """Return a recipe by its name, changed by what is given on the command line.

    Raises:
        ValueError: there is no such recipe, or a value is out of range.
    """
    changes = {key: given[key] for key in _OF_RECIPE & given.keys()}
    changes |= backbone_of(given["backbone"], given["handle"])
    return find_recipe(name).changed(**changes)


@contextmanager
def options_of_run(
    signals: Signals, given: Mapping[str, Any]
) -> "Iterator[RunOptions]":
    """Give the options of a run, and show how far it is."""
    from tlcore.cli.progress import Progress
    from tlcore.data.reading import Reading
    from tlcore.runs.runner import RunOptions

    def report(name: str, done: int, total: int) -> None:
        signals.check()
        progress.features(name, done, total)

    reading = Reading.of(**{name: given[name] for name in _OF_READING})
    with Progress() as progress:
        yield RunOptions(
            reading=reading,
            callbacks=progress.callbacks,
            say=progress.say,
            progress=report,
            **{name: given[name] for name in _OF_RUN & given.keys()},
        )


def line_of_run(context: click.Context, data: Path, changes: Mapping[str, Any]) -> str:
    """Return the line of `tlcore run` that trains what was found.

    Args:
        context: of the command that found it; options that were written are kept.
        data: the images.
        changes: values of options by their names, None for one that is left out.
    """
    words = ["tlcore", "run", context.params["recipe"], "--data", str(data)]
    written = click.core.ParameterSource.COMMANDLINE
    names = _SHARED - {"recipe"} - changes.keys()
    kept = [name for name in names if context.get_parameter_source(name) == written]
    for options, values in ((kept, context.params), (list(changes), changes)):
        for option in run.params:
            if option.name in options and option.opts[0] not in words:
                words += _words(option, values[option.name])
    return shlex.join(words)


def _words(option: click.Parameter, value: Any) -> list[str]:
    """Return an option as it is written."""
    if isinstance(option, click.Option) and option.is_flag:
        # --mixed-precision is one more name of --precision.
        return [option.opts[0]] if value is True else []
    if value is None:
        return []
    values = value if isinstance(value, tuple) else (value,)
    # All digits: another rate would be another head.
    shown = (str(x).removesuffix(".0") for x in values)
    return [option.opts[0], ",".join(shown)]
