"""Run: the command `tlcore run`.

Owns its options, the progress it shows and the TensorBoard next to it. Training is in
`runs.runner`.
"""

import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tlcore.arguments import ALL
from tlcore.cli import tables
from tlcore.cli.output import echo, echo_json
from tlcore.cli.signals import Signals

if TYPE_CHECKING:
    from tlcore.runs.run import Run
    from tlcore.runs.runner import RunOptions

NEWEST = "newest"
DEFAULT_PLACE = ""
"""What an option of a tracker is that stands alone."""
_TRACKERS = ("mlflow", "wandb")
_CHANGES = {"epochs", "fine_tune_epochs", "data", "workers", "cache"}
"""Options that a run may be given anew when it goes on."""
_WITH_RESUME = {
    *(*_CHANGES, "recipe", "resume", "out", "allow_changed"),
    *("tensorboard", "as_json", *_TRACKERS, "track_model", "untracked"),
}


def _stages(
    _context: click.Context, _option: click.Parameter, text: str | None
) -> tuple[int | str, ...] | None:
    """Return the numbers of layers of the option --stages."""
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() or part == ALL for part in parts):
        raise ValueError(
            "stages must be numbers of layers with commas between them, and all at the "
            f"end. Received: stages={text!r}. Write --stages 10,50,all."
        )
    return tuple(ALL if part == ALL else int(part) for part in parts)


@click.command()
@click.argument("recipe", required=False)
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="Folder with train and validation and/or test, one folder per class in each; "
    "a .zip or .tar.gz of it; or a table (CSV) of paths and labels.",
)
@click.option(
    "--split",
    help="Divide images without splits: 80/10/10 (train, validation, test), 80/20 "
    "(train, test); validation=10 holds a part out of a train that is there.",
)
@click.option(
    "--root",
    type=click.Path(path_type=Path),
    help="Folder that the paths of a table start from.",
)
@click.option(
    "--backbone", help="Another backbone of the catalogue, or kerashub:PRESET."
)
@click.option(
    "--handle", help="A SavedModel instead: a folder, .tar.gz, address, Kaggle handle."
)
@click.option("--trust", is_flag=True, help="The SavedModel may do more than compute.")
@click.option("--weights", help='"imagenet", "none" or the path of a weights file.')
@click.option("--image-size", type=int, help="Height and width in pixels.")
@click.option("--percent", type=float, help="Percent of the training images used.")
@click.option("--epochs", type=int, help="Epochs of feature extraction.")
@click.option("--fine-tune-epochs", type=int, help="Epochs of fine-tuning; 0: none.")
@click.option("--last", type=int, help="Layers that fine-tuning unfreezes.")
@click.option(
    "--stages",
    callback=_stages,
    metavar="10,50,all",
    help="Fine-tuning in stages that unfreeze more and more, each of these epochs.",
)
@click.option(
    "--layer-rates",
    type=float,
    help="Factor of the rate of fine-tuning at the lowest layer; 1 at the head.",
)
@click.option("--learning-rate", type=float, help="Fine-tuning takes a tenth of it.")
@click.option("--dropout", type=float, help="Of features, before the last layer.")
@click.option("--optimizer", help='"adam", "adamw", "rmsprop" or "sgd".')
@click.option("--weight-decay", type=float, help="Of the optimizer.")
@click.option(
    "--schedule", help='Of the learning rate: "constant", "cosine" or "one_cycle".'
)
@click.option("--warm-up", type=int, help="Epochs in which the learning rate rises.")
@click.option("--label-smoothing", type=float, help="In [0, 1).")
@click.option("--class-weight", help='"balanced" weighs each class the same.')
@click.option("--batch-size", type=int, help="Images per step.")
@click.option(
    "--precision", help='"float32", "mixed_bfloat16" or "mixed_float16": 16 bits.'
)
@click.option(
    "--mixed-precision",
    "precision",
    flag_value="mixed_bfloat16",
    help="The same as --precision mixed_bfloat16.",
)
@click.option("--early-stopping", type=int, help="Epochs without improvement to stop.")
@click.option("--seed", default=42, show_default=True)
@click.option(
    "--out",
    default=Path("runs"),
    show_default=True,
    type=click.Path(path_type=Path),
    help="Folder of all runs.",
)
@click.option(
    "--cache",
    default="auto",
    show_default=True,
    help='Where outputs of frozen layers are kept: "auto", "off" or a folder.',
)
@click.option(
    "--views", type=int, help="Views of each image; default: a new one every epoch."
)
@click.option("--workers", default=1, show_default=True, help="Processes per pass.")
@click.option(
    "--fit",
    default="squash",
    show_default=True,
    help='How the image size is reached: "squash", "crop" or "pad".',
)
@click.option(
    "--background",
    default="white",
    show_default=True,
    help="Colour behind transparent pixels and of the border of --fit pad.",
)
@click.option(
    "--orientation",
    default="apply",
    show_default=True,
    help='"apply" turns images upright, "ignore" leaves them as stored.',
)
@click.option("--skip-bad", is_flag=True, help="Leave out images that cannot be read.")
@click.option("--deterministic", is_flag=True, help="The same bits each time; slower.")
@click.option(
    "--resume",
    is_flag=False,
    flag_value=NEWEST,
    metavar="[RUN]",
    help="Go on with a run that was broken off, by default the newest; with --epochs "
    "or --fine-tune-epochs with one that is done.",
)
@click.option(
    "--allow-changed",
    multiple=True,
    help='What may have changed since: "versions", "data", or the "machine" that '
    "the run says it still runs on.",
)
@click.option("--tensorboard", is_flag=True, help="Show the runs in TensorBoard.")
@click.option(
    "--mlflow",
    is_flag=False,
    flag_value=DEFAULT_PLACE,
    metavar="[URI]",
    help="Log to MLflow: an address, or a folder; by default MLFLOW_TRACKING_URI, or "
    "mlflow.db in this folder.",
)
@click.option(
    "--wandb",
    is_flag=False,
    flag_value=DEFAULT_PLACE,
    metavar="[PROJECT]",
    help="Log to Weights & Biases: a project; by default WANDB_PROJECT, or tlcore. "
    "With WANDB_MODE=offline to a folder.",
)
@click.option("--track-model", is_flag=True, help="They get the trained model too.")
@click.option(
    "--untracked",
    is_flag=True,
    help="Go on without the trackers that the run has.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the run's run.json.")
@click.pass_obj
def run(
    signals: Signals,
    /,
    recipe: str | None,
    data: Path | None,
    split: str | None,
    root: Path | None,
    seed: int,
    out: Path,
    fit: str,
    background: str,
    orientation: str,
    skip_bad: bool,
    deterministic: bool,
    early_stopping: int | None,
    cache: str,
    views: int | None,
    workers: int,
    resume: str | None,
    allow_changed: tuple[str, ...],
    tensorboard: bool,
    mlflow: str | None,
    wandb: str | None,
    track_model: bool,
    untracked: bool,
    as_json: bool,
    handle: str | None,
    trust: bool,
    **changes: Any,
) -> None:
    """Train RECIPE on a data folder and leave a run folder."""
    from tlcore.cli.progress import Progress
    from tlcore.data.reading import Reading
    from tlcore.runs.runner import RunOptions

    def features(name: str, done: int, total: int) -> None:
        signals.check()
        progress.features(name, done, total)

    reading = Reading.of(fit=fit, background=background, orientation=orientation)
    changes |= backbone_of(changes["backbone"], handle)
    trackers = _trackers(recipe, mlflow=mlflow, wandb=wandb)
    if untracked and (trackers or track_model or resume is None):
        raise click.UsageError(
            "--untracked is for a run that goes on without its trackers: --resume "
            "--untracked, without --mlflow, --wandb and --track-model."
        )
    with Progress() as progress:
        options = RunOptions(
            out=out,
            seed=seed,
            skip_bad=skip_bad,
            split=split,
            root=root,
            reading=reading,
            deterministic=deterministic,
            early_stopping=early_stopping,
            cache=cache,
            views=views,
            workers=workers,
            trust=trust,
            trackers=None if untracked else trackers,
            track_model=track_model,
            callbacks=progress.callbacks,
            say=progress.say,
            progress=features,
            interruption=signals,
        )
        if resume is None:
            trains = _begun(recipe, data, options, changes, allow_changed)
        else:
            trains = _resumed(recipe, resume, options, allow_changed)
        with _board(out, progress.say) if tensorboard else nullcontext():
            finished = trains()
    if as_json:
        echo_json(finished.document)
        return
    from tlcore.runs.collection import compare_runs

    tables.show_comparison(compare_runs([finished.path]))
    echo(f"run folder: {finished.path}")


def _begun(
    recipe: str | None,
    data: Path | None,
    options: "RunOptions",
    changes: dict[str, Any],
    allow_changed: tuple[str, ...],
) -> "Callable[[], Run]":
    """Return what trains a recipe."""
    from tlcore.runs.recipes import find_recipe
    from tlcore.runs.runner import run_recipe

    if recipe is None or data is None:
        missing = "RECIPE" if recipe is None else "--data"
        raise click.UsageError(
            f"A run needs a recipe and its images: {missing} is missing. Write tlcore "
            "run RECIPE --data DIR; or tlcore run --resume, to go on with a run."
        )
    if allow_changed:
        raise click.UsageError("--allow-changed is for a run that goes on: --resume.")
    chosen = find_recipe(recipe).changed(**changes)
    return partial(run_recipe, chosen, data, options)


def _resumed(
    recipe: str | None,
    name: str,
    options: "RunOptions",
    allow_changed: tuple[str, ...],
) -> "Callable[[], Run]":
    """Return what goes on with a run."""
    from tlcore.arguments import require_one_of
    from tlcore.runs.going_on import ALLOWED, Changes, resume_run, run_to_resume

    given = _given()
    other = sorted(given.keys() - _WITH_RESUME)
    if other:
        names = ", ".join(f"--{x.replace('_', '-')}" for x in other)
        raise ValueError(
            "A run that goes on is as it was. Received: --resume with "
            f"{names}. Leave it out, or run the recipe anew."
        )
    for kind in allow_changed:
        require_one_of("allow_changed", kind, ALLOWED)
    chosen = recipe if name == NEWEST else name
    changes = Changes(
        allowed=frozenset(allow_changed),
        **{x: given[x] for x in _CHANGES & given.keys()},
    )
    path = run_to_resume(chosen, options.out)
    return partial(resume_run, path, options, changes)


def _trackers(recipe: str | None, **places: str | None) -> dict[str, str | None]:
    """Return where to log, by tracker; None is its default."""
    from tlcore.runs.recipes import RECIPES

    for name, place in places.items():
        if recipe is None and place in RECIPES:
            raise click.UsageError(
                f"--{name} takes what follows it: {place!r}, which is a recipe. Write "
                f"the recipe first: tlcore run {place} --{name}."
            )
    return {name: x or None for name, x in places.items() if x is not None}


def _given() -> dict[str, Any]:
    """Return the options that stand on the command line."""
    context = click.get_current_context()
    written = click.core.ParameterSource.COMMANDLINE
    return {
        name: value
        for name, value in context.params.items()
        if context.get_parameter_source(name) == written
    }


def backbone_of(backbone: str | None, handle: str | None) -> dict[str, str]:
    """Return what --handle changes in a recipe."""
    if handle is None:
        return {}
    from tlcore.hub.handles import absolute

    if backbone is not None:
        raise ValueError(
            "A recipe has one backbone. Received: "
            f"backbone={backbone!r} with handle={handle!r}. Leave one of them out."
        )
    return {"backbone": absolute(handle)}


@contextmanager
def _board(out: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Show a folder of runs in TensorBoard; say where, and how to open it later."""
    from tlcore.cli.tensorboard import local_board

    with local_board(out) as address:
        say(f"TensorBoard: {address}")
        try:
            yield
        finally:
            again = f"tensorboard --logdir {shlex.quote(str(out))}"
            say(f"TensorBoard ends with the run; to open it again: {again}")
