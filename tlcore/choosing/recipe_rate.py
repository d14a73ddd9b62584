"""Recipe rate: the learning rate of a phase of a recipe, searched before a run.

Owns `find_recipe_rate`. The model is the one that the run would have at the beginning
of that phase, on the same images in the same order; no run folder is written. The
search itself is in `rate_search`.
"""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tlcore.arguments import require_one_of
from tlcore.optimizing.rate_curve import RateSearch, growing_rates
from tlcore.runs.recipes import FEATURE_EXTRACTION, TENTH, Phase, Recipe
from tlcore.runs.run_data import load_data
from tlcore.runs.runner import (
    RunOptions,
    check_options,
    fit_options,
    fit_phase,
    phase_optimizer,
    seeded_model,
)

if TYPE_CHECKING:
    import keras

    from tlcore.data.image_folder import ImageFolder


def phase_of(recipe: Recipe, name: str) -> Phase:
    """Return a phase of a recipe by its name, with hyphens or underscores.

    Raises:
        ValueError: the recipe has no such phase.

    Example:
        >>> phase_of(tl.RECIPES["model_3"], "fine-tuning").last
        10
    """
    phases = {phase.name: phase for phase in recipe.phases}
    found = phases.get(name.replace("-", "_"))
    if found is None:
        hint = ""
        if len(phases) == 1:
            hint = f" for {recipe.name}; --fine-tune-epochs 5 gives it fine-tuning"
        names = [phase.replace("_", "-") for phase in phases]
        require_one_of("phase", name, names, where=hint)
    assert found is not None  # noqa: S101 - for mypy
    return found


def rate_for_run(phase: Phase, rate: float) -> float:
    """Return the learning rate of a recipe that gives one of its phases a rate.

    Example:
        >>> round(rate_for_run(phase_of(tl.RECIPES["model_3"], "fine-tuning"), 1e-4), 9)
        0.001
    """
    return rate if phase.name == FEATURE_EXTRACTION else rate / TENTH


def find_recipe_rate(
    recipe: Recipe,
    data: str | Path,
    options: RunOptions,
    *,
    phase: str = FEATURE_EXTRACTION,
    lowest: float,
    highest: float,
    steps: int,
) -> RateSearch:
    """Search the learning rate of a phase; nothing but cached features is left.

    Args:
        recipe: what would be trained. Its schedule has no part in the search: its peak
            is what is searched.
        data: as `run_recipe` takes it.
        options: how the recipe would be run.
        phase: its name; the phases before it are trained first, as in a run.
        lowest: as in `find_learning_rate`.
        highest: the same.
        steps: the same.

    Raises:
        ValueError: recipe, data, phase or options cannot be used.
        FloatingPointError: the loss is no number from the start.

    Example:
        >>> recipe = tl.RECIPES["model_0"].changed(
        ...     backbone="sample_net", image_size=32, percent=100.0
        ... )
        >>> options = RunOptions(say=lambda line: None)
        >>> limits = {"lowest": 1e-6, "highest": 10.0, "steps": 20}
        >>> len(find_recipe_rate(recipe, "photos", options, **limits).losses) > 5
        True
    """
    from tlcore.choosing.rate_search import find_learning_rate

    growing_rates(lowest, highest, steps)  # refused before images are read
    wanted = phase_of(recipe, phase)
    check_options(recipe, options)
    folders = load_data(recipe, data, options)
    model = seeded_model(recipe, folders.train, options)
    for before in recipe.phases[: recipe.phases.index(wanted)]:
        options.say(f"{before.name}: {before.epochs} epochs, as in a run")
        shown = {"callbacks": options.callbacks(), "say": options.say}
        fit_phase(model, recipe, before, (folders.train,), options, **shown)
    prepare_phase(model, recipe, wanted, folders.train, options)
    fitting = fit_options(recipe, options, model)
    for name in ("loss", "steps_per_epoch"):  # compiled; as many as the search has
        del fitting[name]
    return find_learning_rate(
        model,
        folders.train,
        lowest=lowest,
        highest=highest,
        steps=steps,
        say=options.say,
        **fitting,
    )


def prepare_phase(
    model: "keras.Model",
    recipe: Recipe,
    phase: Phase,
    images: "ImageFolder",
    options: RunOptions,
) -> None:
    """Freeze and compile a model as the phase would, with a rate that can be set."""
    from tlcore.data.spec import DataSpec
    from tlcore.freezing import freeze, unfreeze
    from tlcore.optimizing.compiling import compile_phase
    from tlcore.optimizing.layer_rates import layer_factors, with_layer_rates

    if phase.last:
        unfreeze(model, phase.last)
    else:
        freeze(model)
    constant = replace(recipe, schedule="constant", warm_up=0)
    optimizer = phase_optimizer(constant, phase, len(images))
    if phase.last and recipe.layer_rates is not None:
        factors = layer_factors(model, recipe.layer_rates)
        optimizer = with_layer_rates(optimizer, factors)
    loss = fit_options(recipe, options, model)["loss"]
    compile_phase(model, DataSpec.of(images, "train"), optimizer, loss, ())
