"""Going on: a run that was broken off, or is to have more epochs, in the same folder.

Owns which run that is, what it takes over from its `run.json`, what may be changed, and
what is refused because the run would become another one. Training is in `runner`.
"""

import shutil
import socket
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from tlcore.data.reading import Reading
from tlcore.runs.collection import find_run, find_runs
from tlcore.runs.recipes import RECIPES, Recipe
from tlcore.runs.run import Run, read_run, reading
from tlcore.runs.run_data import RunData, load_data
from tlcore.runs.runner import RunOptions, recorded_ending, seeded_model, train
from tlcore.runs.states import is_broken_off, states_of
from tlcore.runs.tracked import connected

ALLOWED = ("versions", "data", "machine")
"""What may have changed since, on request."""


@dataclass(frozen=True)
class Changes:
    """What a run that goes on does otherwise; None leaves it as it was.

    Attributes:
        epochs: of feature extraction.
        fine_tune_epochs: of fine-tuning.
        data: where the images are now.
        workers: processes that share a pass through the frozen layers.
        cache: where outputs of frozen layers are stored.
        allowed: what may have changed since, of `ALLOWED`.
    """

    epochs: int | None = None
    fine_tune_epochs: int | None = None
    data: Path | None = None
    workers: int | None = None
    cache: str | Path | None = None
    allowed: frozenset[str] = frozenset()


def newest_broken_off(out: str | Path, recipe: str | None = None) -> Path:
    """Return the folder of the newest run that was broken off and can go on.

    Args:
        out: the folder of all runs.
        recipe: of this recipe; None takes any.

    Raises:
        ValueError: there is none.
    """
    for path in reversed(find_runs(out)):
        if recipe is not None and path.parent.name != recipe:
            continue
        try:
            if is_broken_off(read_run(path)):
                return path
        except (ValueError, OSError):
            continue  # a damaged run; `tlcore experiments list` says so
    of = "" if recipe is None else f" of {recipe}"
    raise ValueError(
        f"There must be a run{of} that was broken off. Received: out={str(out)!r}, "
        "which holds none. `tlcore experiments list` shows all; name one to give it "
        "more epochs: --resume RUN --epochs N."
    )


def run_to_resume(name: str | None, out: str | Path) -> Path:
    """Return the folder of a run by its name, its recipe's name, or None: the newest.

    Raises:
        ValueError: there is none.
    """
    if name is None or name in RECIPES:
        return newest_broken_off(out, name)
    return find_run(name, out)


def resume_run(path: str | Path, options: RunOptions, changes: Changes) -> Run:
    """Go on with a run, as if it had not been broken off.

    Args:
        path: its folder.
        options: what shows and ends it: `callbacks`, `say`, `progress`, `interruption`
            and `trackers`, beside those that it has. All else is taken from the run.
        changes: what it does otherwise.

    Returns:
        The run, whose figures are those of a run that was not broken off.

    Raises:
        ValueError: the run goes on elsewhere or cannot go on, or something has changed
            that decides what comes out.

    Example:
        >>> from tlcore.runs.runner import run_recipe
        >>> recipe = tl.RECIPES["model_0"].changed(
        ...     backbone="sample_net", image_size=32, percent=100.0, epochs=1
        ... )
        >>> quiet = RunOptions(out=Path("longer"), say=lambda line: None)
        >>> run = run_recipe(recipe, "photos", quiet)
        >>> run = resume_run(run.path, quiet, Changes(epochs=2))
        >>> run.document["history"]["epoch"]
        [0, 1]
    """
    run = read_run(path)
    with run.locked():
        _check_ended(run, changes.allowed)
        before = _recipe_of(run)
        recipe = before.changed(
            epochs=changes.epochs, fine_tune_epochs=changes.fine_tune_epochs
        )
        _check_longer(before, recipe)
        if run.status == "done" and recipe == before:
            raise ValueError(
                f"A run that is done goes on only to more epochs. Received: "
                f"run={run.name!r}, done after {before.epochs} + "
                f"{before.fine_tune_epochs}. Give more with --epochs or "
                "--fine-tune-epochs."
            )
        options, data = _taken_over(run, options, changes)
        folders = load_data(recipe, data, options)
        model = seeded_model(recipe, folders.train, options)
        _check_unchanged(run, folders, model, changes.allowed)
        tracking = connected(
            options.trackers, options.say, model=options.track_model, run=run
        )
        run.go_on(recipe=recipe.as_dict())
        with recorded_ending(run, options.say, tracking):
            options.say(f"run: {run.path}")
            discarded = _discard_later(run, before, recipe, options)
            tracking.begin(run, anew=discarded)
            train(
                run,
                recipe,
                options,
                folders,
                model,
                tracking=tracking,
                allowed=changes.allowed,
            )
    return run


def load_run_data(path: str | Path) -> RunData | None:
    """Return the images of a run, opened as it did; None if they are not there.

    Args:
        path: the run's folder.

    Raises:
        ValueError: there is no such run, or its images are refused today.
    """
    run = read_run(path)
    if "options" not in run.document:
        return None  # an earlier version of tlcore did not record how
    options, data = _taken_over(run, RunOptions(say=lambda _line: None), Changes())
    return load_data(_recipe_of(run), data, options) if data.exists() else None


def _check_ended(run: Run, allowed: frozenset[str]) -> None:
    process = run.document.get("process", {})
    elsewhere = process.get("host") != socket.gethostname()
    if run.status == "running" and not (elsewhere and "machine" in allowed):
        remedy = "End it first"
        if elsewhere:
            remedy += "; if that machine is gone, add --allow-changed machine"
        raise ValueError(
            "A run must have ended to go on. Received: "
            f"run={run.name!r}, running as process {process['pid']} on "
            f"{process['host']!r}. {remedy}."
        )
    if "options" not in run.document:
        raise ValueError(
            "A run goes on from its states. Received: "
            f"run={run.name!r}, which an earlier version of tlcore wrote, without any. "
            "Run the recipe again."
        )


def _recipe_of(run: Run) -> Recipe:
    with reading(run):
        document = run.document["recipe"]
        known = {field.name for field in fields(Recipe)}
        values = {name: x for name, x in document.items() if name in known}
        values["stages"] = tuple(values.get("stages", ()))  # of JSON
        return Recipe(**values)


def _taken_over(
    run: Run, options: RunOptions, changes: Changes
) -> tuple[RunOptions, Path]:
    """Return the options of the run, with what shows and ends it of today; its data."""
    with reading(run):
        recorded = run.document["options"]
        cache, root = changes.cache or recorded["cache"], recorded["root"]
        taken = replace(
            options,
            out=run.path.parent.parent,
            seed=run.document["seed"],
            deterministic=run.document["deterministic"],
            early_stopping=run.document["early_stopping"],
            reading=Reading.recorded(run.document["data"]["reading"]),
            skip_bad=recorded["skip_bad"],
            split=recorded["split"],
            root=None if root is None else Path(root),
            cache=cache if cache in {"auto", "off"} else Path(cache),
            views=recorded["views"],
            workers=changes.workers or recorded["workers"],
            trust=recorded["trust"],
        )
        return taken, changes.data or Path(recorded["data"])


def _check_longer(before: Recipe, recipe: Recipe) -> None:
    for name in ("epochs", "fine_tune_epochs"):
        then, now = getattr(before, name), getattr(recipe, name)
        if now < then:
            raise ValueError(
                "A run goes on to more epochs, not to fewer. Received: "
                f"{name}={now}, where it had {then}. Run the recipe anew."
            )
        if now > then > 0 and before.schedule != "constant":
            # From its first step on it would have had other learning rates.
            raise ValueError(
                "A phase whose learning rates are planned over its epochs cannot get "
                f"more of them. Received: {name}={now}, where it had {then} and "
                f"schedule={before.schedule!r}. Run the recipe anew."
            )


def _check_unchanged(
    run: Run, folders: RunData, model: Any, allowed: frozenset[str]
) -> None:
    """Refuse images or weights other than those of the run.

    The states say the same of what they hold; here it is said before anything is
    written, of the test images too, and where no state is left.
    """
    from tlcore.backbones.weights import fingerprint
    from tlcore.freezing import find_backbone

    with reading(run):
        data, weights = run.document["data"], run.document["weights"]["fingerprint"]
        then = {name: x["fingerprint"] for name, x in data["splits"].items()}
    now = {name: x.fingerprint for name, x in folders.splits.folders.items()}
    other = [
        name
        for name in sorted(then.keys() | now.keys())
        if then.get(name) != now.get(name)
    ]
    if other and "data" not in allowed:
        raise ValueError(
            "A run goes on with the images that it had. Received: "
            f"run={run.name!r}, of which {', '.join(other)} has changed. Put the "
            "images back, name their folder with --data, or add --allow-changed data: "
            "the figures are then not those of a run that was not broken off."
        )
    _, network = find_backbone(model)
    if fingerprint(network.weights) != weights:
        raise ValueError(
            "A run goes on with the weights that it had. Received: "
            f"run={run.name!r}, whose backbone now begins with others. Put the weights "
            "file back, or run the recipe anew."
        )


def _discard_later(
    run: Run, before: Recipe, recipe: Recipe, options: RunOptions
) -> bool:
    """Remove the states of the phases after one that gets more epochs.

    They trained the model of fewer. One of `before` and `recipe` may lack the last.

    Returns:
        Whether anything was removed.
    """
    for i, (then, now) in enumerate(zip(before.phases, recipe.phases, strict=False)):
        states = states_of(run, now.name)
        later = [states_of(run, phase.name) for phase in recipe.phases[i + 1 :]]
        done = [folder for folder in later if folder.files()]
        if now.epochs == then.epochs or not done:
            continue
        name = now.name.replace("_", " ")
        if states.newest(options.say).stopped:
            options.say(f"{name} had stopped early, so that more epochs change nothing")
            continue
        options.say(f"what follows begins again, after the longer {name}")
        for folder in done:
            shutil.rmtree(folder.path)
        return True
    return False
