"""Runner: trains a recipe on a data folder and writes the run folder.

Owns the order of a run. It refuses wrong input before anything is written, trains phase
by phase with the history on disk after every epoch, checks that frozen weights did not
change, and ends in `finishing`. Training a phase is in `training`, the format of
`run.json` in `run`.
"""

import os
import platform
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlcore.arguments import require_whole
from tlcore.backbones.catalogue import find_entry
from tlcore.backend import seam
from tlcore.data.image_folder import ImageFolder
from tlcore.data.reading import DEFAULT, Reading
from tlcore.runs.finishing import finish
from tlcore.runs.recipes import FEATURE_EXTRACTION, Phase, Recipe
from tlcore.runs.recording import first_pictures, recorders
from tlcore.runs.run import CHECKPOINTS, Run, check_writable, start_run
from tlcore.runs.run_data import RunData, load_data
from tlcore.runs.states import resume_line, states_of
from tlcore.runs.tracked import RunTracking, connected
from tlcore.terminal.progress import PassProgress

if TYPE_CHECKING:
    import keras

    from tlcore.checkpoints.keeping import Interruption, Keeping
    from tlcore.checkpoints.state_folder import SavedState


@dataclass(frozen=True)
class RunOptions:
    """How to run a recipe.

    Attributes:
        out: the folder of all runs.
        seed: of initial weights, shuffling, augmentation, Dropout and subsets.
        skip_bad: leave out images that cannot be read, and record which.
        split: how images without splits are divided, such as "80/10/10"; None expects
            splits.
        root: the folder that the paths of a table start from.
        reading: how image files become pixels.
        deterministic: use operations that give the same bits each time.
        early_stopping: epochs without improvement before a phase stops; None trains
            all epochs.
        cache: where outputs of frozen layers are stored: "auto", "off" or a folder.
        views: augmented views of each image; None augments again in every epoch.
        workers: processes that share a pass through the frozen layers.
        trust: whether the SavedModel of the recipe may do more than compute, as in
            `HubLayer`.
        trackers: where the run is logged, by "mlflow" (an address or a folder) or
            "wandb" (a project); None as a value is the default of the tracker, and None
            for all of it goes on without those that the run has.
        track_model: whether the trackers get the trained model too.
        callbacks: returns additional Keras callbacks for a phase.
        say: called with each line for the user.
        progress: what a pass through the frozen layers reports to.
        interruption: what may ask the run to end; it waits for the end of a step.
    """

    out: Path = Path("runs")
    seed: int = 42
    skip_bad: bool = False
    split: str | None = None
    root: Path | None = None
    reading: Reading = DEFAULT
    deterministic: bool = False
    early_stopping: int | None = None
    cache: str | Path = "auto"
    views: int | None = None
    workers: int = 1
    trust: bool = False
    trackers: Mapping[str, str | None] | None = field(default_factory=dict)
    track_model: bool = False
    callbacks: Callable[[], list[Any]] = list
    say: Callable[[str], None] = print
    progress: PassProgress | None = None
    interruption: "Interruption | None" = None


def run_recipe(recipe: Recipe, data: str | Path, options: RunOptions) -> Run:
    """Train a recipe on a data folder and return the finished run.

    However the run ends, `run.json` records it: "done", "failed", "interrupted" after
    Ctrl-C or "terminated" after SystemExit.

    Args:
        recipe: what to train, including the user's changes.
        data: as `load_splits` takes it: a folder with `train` and `validation` and/or
            `test`, each with one folder of images per class; an archive; or a table.
        options: how to run it.

    Returns:
        The run; its folder holds run.json, history.csv, predictions.csv, pictures,
        checkpoints/, tensorboard/ and model.keras.

    Raises:
        ValueError: recipe, data or options cannot be used; nothing was written.
        FloatingPointError: the loss became NaN or infinite; the run says "failed" and
            keeps the last good checkpoint.

    Example:
        >>> recipe = tl.RECIPES["model_0"].changed(
        ...     backbone="sample_net", image_size=32, percent=100.0, epochs=1
        ... )
        >>> run = run_recipe(recipe, "photos", RunOptions(say=lambda line: None))
        >>> run.status, sorted(run.document["final"])[:2]
        ('done', ['test_accuracy', 'test_loss'])
    """
    check_writable(options.out / recipe.name)
    check_options(recipe, options)
    tracking = connected(options.trackers, options.say, model=options.track_model)
    folders = load_data(recipe, data, options)
    model = seeded_model(recipe, folders.train, options)
    _check_fine_tuning(recipe, model)
    document = _document(recipe, data, options, folders, model)
    run = start_run(options.out, recipe.name, document, now=datetime.now())
    with run.locked(), recorded_ending(run, options.say, tracking):
        options.say(f"run: {run.path}")
        tracking.begin(run)
        folders.write_split(run)
        train(run, recipe, options, folders, model, tracking=tracking)
    return run


def seeded_model(
    recipe: Recipe, images: ImageFolder, options: RunOptions
) -> "keras.Model":
    """Return the model of a recipe as every run of the same seed begins with it."""
    from tlcore.determinism import make_deterministic, set_seed

    if options.deterministic:
        make_deterministic()
    set_seed(options.seed)
    return _build(recipe, images, trust=options.trust)


def check_options(recipe: Recipe, options: RunOptions) -> None:
    """Refuse options that are nothing to a recipe.

    Raises:
        ValueError: there is one.
    """
    if options.trust and not recipe.from_hub:
        raise ValueError(
            "trust is for a recipe with a SavedModel. Received: trust=True for "
            f"recipe={recipe.name!r} with backbone={recipe.backbone!r}. Leave trust "
            "out, or name a SavedModel with --handle."
        )
    if options.views is not None and recipe.augmentation is None:
        raise ValueError(
            "views needs a recipe with augmentation. Received: "
            f"views={options.views} for recipe={recipe.name!r}. Leave views out."
        )
    if options.early_stopping is not None:
        meaning = ", the epochs without improvement before a phase stops"
        require_whole(
            "early_stopping", options.early_stopping, least=1, meaning=meaning
        )


def _check_fine_tuning(recipe: Recipe, model: "keras.Model") -> None:
    """Refuse before the first phase what the second one would refuse."""
    # A SavedModel, for one, may hold nothing that can be trained. Without this check
    # that error would come after hours of feature extraction.
    from tlcore.freezing import freeze, unfreeze

    last = recipe.phases[-1].last  # the most
    if last:
        unfreeze(model, last)
        freeze(model)


def _build(recipe: Recipe, train: ImageFolder, *, trust: bool) -> "keras.Model":
    from tlcore.backend.precision import precision
    from tlcore.hub.layer import HubLayer
    from tlcore.models import create_model

    backbone = HubLayer(recipe.backbone, trust=True) if trust else recipe.backbone
    binary = train.label_mode == "binary"
    weights = None if recipe.weights == "none" else recipe.weights
    options: dict[str, Any] = {} if recipe.brings_weights else {"weights": weights}
    with precision(recipe.precision):
        return create_model(
            backbone,
            1 if binary else train.num_classes,
            input_shape=(recipe.image_size, recipe.image_size, 3),
            augmentation=recipe.augmentation,
            head=recipe.head,
            dropout=recipe.dropout,
            style=recipe.style,
            **options,
        )


def train(
    run: Run,
    recipe: Recipe,
    options: RunOptions,
    folders: RunData,
    model: "keras.Model",
    *,
    tracking: RunTracking,
    allowed: frozenset[str] = frozenset(),
) -> None:
    """Train the phases of a run, or what is left of them, and write its figures.

    Args:
        run: the run; the states in its folder say what is done.
        recipe: what to train.
        options: how to run it.
        folders: the images.
        model: as it is built, whatever is done.
        tracking: its trackers, which have begun.
        allowed: what may have changed since, as in `resume`.
    """
    from tlcore.callbacks import BestCheckpoint

    columns: dict[str, list[Any]] = {}
    best = None
    if options.early_stopping is not None:
        best = BestCheckpoint(run.path / CHECKPOINTS / "best.weights.h5")
    keepings = [_keeping(run, phase, options, allowed) for phase in recipe.phases]
    # What is done of the phases before is in the newest state.
    begun = [i for i, keeping in enumerate(keepings) if keeping.resumed is not None]
    first = max(begun, default=0)
    history = _epochs_before(keepings[first].resumed)
    for phase, keeping in zip(recipe.phases[first:], keepings[first:], strict=True):
        entry = {
            "name": phase.name,
            "first_epoch": history.epoch[-1] + 1 if history.epoch else 0,
            "learning_rate": phase.learning_rate,
        }
        caching: list[str] = []
        history = fit_phase(
            model,
            recipe,
            phase,
            (folders.train, folders.validation),
            options,
            history=history,
            callbacks=[
                *recorders(run, entry, columns, caching),
                *_selection(options, best),
                *tracking.callbacks,
                *options.callbacks(),
                first_pictures(run, folders.train, options.seed),
            ],
            say=partial(_say, options.say, caching),
            state=keeping,
        )
        if phase.name == FEATURE_EXTRACTION:
            _probe(run, options, folders, model)
    if best is not None:
        best.restore()
        run.update(selected_epoch=best.epoch)
        options.say(f"selected: epoch {best.epoch + 1}, val_loss {best.best:.4f}")
    finish(run, options, folders, model, columns)


def fit_phase(
    model: "keras.Model",
    recipe: Recipe,
    phase: Phase,
    images: tuple[ImageFolder, ...],
    options: RunOptions,
    *,
    history: Any = None,
    **more: Any,
) -> Any:
    """Train a phase of a recipe as a run does; return its history.

    Args:
        model: as the phase before left it.
        recipe: what to train.
        phase: one of its phases.
        images: those of training, and of validation after every epoch.
        options: how a run would be run.
        history: of the phase before, None for none.
        more: further arguments of `fit`.
    """
    from tlcore import training

    shared = {
        "epochs": phase.epochs,
        "optimizer": phase_optimizer(recipe, phase, len(images[0])),
        **fit_options(recipe, options, model),
        **more,
    }
    if phase.name == FEATURE_EXTRACTION:
        return training.feature_extract(model, *images, **shared)
    return training.fine_tune(
        model,
        *images,
        history=history,
        last=phase.last,
        layer_rates=recipe.layer_rates,
        **shared,
    )


def _say(say: Callable[[str], None], lines: list[str], line: str) -> None:
    lines.append(line)
    say(line)


def _epochs_before(state: "SavedState | None") -> Any:
    """Return a history of the epochs before the phase of a state, or of none."""
    import keras

    history = keras.callbacks.History()
    history.epoch = list(range(0 if state is None else state.document["first_epoch"]))
    return history


def _keeping(
    run: Run, phase: Phase, options: RunOptions, allowed: frozenset[str]
) -> "Keeping":
    """Return where the states of a phase are kept, and the one it goes on from."""
    from tlcore.checkpoints.keeping import Keeping

    folder = states_of(run, phase.name)
    return Keeping(
        folder,
        frozen=False,  # the recipe builds them
        resumed=folder.newest(options.say) if folder.files() else None,
        allowed=allowed,
        interruption=options.interruption,
    )


def phase_optimizer(recipe: Recipe, phase: Phase, batches: int) -> Any:
    """Return the optimizer of a phase, with its schedule of learning rates."""
    from tlcore.optimizing.compiling import new_optimizer
    from tlcore.optimizing.schedules import new_schedule

    steps, rate = recipe.steps_per_epoch or batches, phase.learning_rate
    rates = new_schedule(
        recipe.schedule, rate, phase.epochs * steps, warm_up=recipe.warm_up * steps
    )
    decay = recipe.weight_decay
    return new_optimizer(recipe.optimizer, rates, default=rate, weight_decay=decay)


def fit_options(
    recipe: Recipe, options: RunOptions, model: "keras.Model"
) -> dict[str, Any]:
    """Return the arguments of a phase that are the same in all of them."""
    from tlcore.optimizing.compiling import smoothed_loss

    smoothing, loss = recipe.label_smoothing, None
    if smoothing:
        loss = smoothed_loss(smoothing, binary=model.output_shape[-1] == 1)
    return {
        "loss": loss,
        "class_weight": recipe.class_weight,
        "steps_per_epoch": recipe.steps_per_epoch,
        "cache": options.cache,
        "views": options.views,
        "workers": options.workers,
        "progress": options.progress,
        "verbose": 0,
    }


def _probe(
    run: Run, options: RunOptions, folders: RunData, model: "keras.Model"
) -> None:
    """Report and record the accuracy of a linear probe, where features are cached."""
    from tlcore.caching.feeds import CacheOptions
    from tlcore.runs.linear_probe import linear_probe_accuracy

    caching = CacheOptions(options.cache, None, options.workers, options.progress)
    accuracy = linear_probe_accuracy(model, folders.train, folders.validation, caching)
    if accuracy is not None:
        options.say(
            f"linear probe: a closed-form head on these features reaches {accuracy}"
        )
        run.update(ceiling=accuracy.as_dict())  # the probe's name in the format


def _selection(options: RunOptions, best: Any | None) -> list[Any]:
    """Return the callbacks that keep the best epoch and stop after it."""
    from tlcore.callbacks import early_stopping_callback

    patience = options.early_stopping
    if best is None or patience is None:
        return []
    return [best, early_stopping_callback(patience=patience)]


@contextmanager
def recorded_ending(
    run: Run, say: Callable[[str], None], tracking: RunTracking
) -> Iterator[None]:
    """Record in the run how it ended, whatever ended it, and say how it goes on."""
    from tlcore.tracking.callback import ending_of

    try:
        yield
    except BaseException as error:
        # A full disk has no room for this record either; the first error counts.
        with suppress(OSError):
            if isinstance(error, KeyboardInterrupt):
                run.finish("interrupted")
            elif isinstance(error, SystemExit):
                run.finish("terminated", code=error.code)
            else:
                run.finish("failed", error=f"{type(error).__name__}: {error}")
        with suppress(OSError):
            tracking.finish(run, ending_of(error))
        say(f"to go on: {resume_line(run)}")
        raise
    tracking.finish(run, ending_of(None))


def _document(
    recipe: Recipe,
    data: str | Path,
    options: RunOptions,
    folders: RunData,
    model: "keras.Model",
) -> dict[str, Any]:
    from tlcore.backbones.weights import fingerprint
    from tlcore.determinism import versions
    from tlcore.freezing import find_backbone, trainable_summary

    _, network = find_backbone(model)
    return {
        "recipe": recipe.as_dict(),
        "seed": options.seed,
        "deterministic": options.deterministic,
        "early_stopping": options.early_stopping,
        "options": _options(data, options),
        "data": folders.as_dict(data),
        "weights": {
            "source": _weights_source(recipe),
            "fingerprint": fingerprint(network.weights),
        },
        "counts": asdict(trainable_summary(model)),
        "phases": [],
        "versions": {"python": platform.python_version(), **versions()},
        "machine": _machine(),
    }


def _options(data: str | Path, options: RunOptions) -> dict[str, Any]:
    """Return what a run that goes on takes over, and nothing else records."""
    root, cache = options.root, options.cache
    return {
        "data": str(Path(data).absolute()),
        "root": None if root is None else str(Path(root).absolute()),
        "split": options.split,
        "skip_bad": options.skip_bad,
        "cache": cache if cache in {"auto", "off"} else str(Path(cache).absolute()),
        "views": options.views,
        "workers": options.workers,
        "trust": options.trust,
    }


def _weights_source(recipe: Recipe) -> str:
    if recipe.from_hub:
        return "the SavedModel's own"
    if recipe.brings_weights:
        return "the preset's own"
    if recipe.weights == "imagenet":
        return find_entry(recipe.backbone).pretrained
    return "random" if recipe.weights == "none" else recipe.weights


def _machine() -> dict[str, Any]:
    import keras

    return {
        "system": platform.platform(),
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "devices": seam.current().devices(),
        "backend": keras.backend.backend(),
    }
