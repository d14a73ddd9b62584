"""Runner: trains a recipe on a data folder and writes the run folder.

Owns the order of a run. It refuses wrong input before anything is written, trains phase
by phase with the history on disk after every epoch, checks that frozen weights did not
change, and ends with figures on complete splits and with pictures. Training a phase is
in `training`, the format of `run.json` in `run`.
"""

import os
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlcore.arguments import require_whole
from tlcore.backbones.catalogue import find_entry
from tlcore.data.image_folder import ImageFolder
from tlcore.data.splits import Splits, load_splits
from tlcore.files import replacing
from tlcore.plotting.image_grid import plot_images
from tlcore.progress import PassProgress
from tlcore.runs.event_files import write_events
from tlcore.runs.recipes import TENTH, Recipe
from tlcore.runs.run import Run, check_writable, start_run

if TYPE_CHECKING:
    import keras

HELD_OUT_PERCENT = 10
"""Percent of `train` that selects the best epoch if there is no `validation`."""

FEATURE_EXTRACTION = "feature_extraction"
FINE_TUNING = "fine_tuning"


@dataclass(frozen=True)
class RunOptions:
    """How to run a recipe.

    Attributes:
        out: the folder of all runs.
        seed: of initial weights, shuffling, augmentation, Dropout and subsets.
        skip_bad: leave out images that cannot be read, and record which.
        deterministic: use operations that give the same bits each time.
        early_stopping: epochs without improvement before a phase stops; None trains
            all epochs.
        cache: where outputs of frozen layers are stored: "auto", "off" or a folder.
        views: augmented views of each image; None augments again in every epoch.
        workers: processes that share a pass through the frozen layers.
        callbacks: returns additional Keras callbacks for a phase.
        say: called with each line for the user.
        progress: what a pass through the frozen layers reports to.
    """

    out: Path = Path("runs")
    seed: int = 42
    skip_bad: bool = False
    deterministic: bool = False
    early_stopping: int | None = None
    cache: str | Path = "auto"
    views: int | None = None
    workers: int = 1
    callbacks: Callable[[], list[Any]] = list
    say: Callable[[str], None] = print
    progress: PassProgress | None = None


@dataclass(frozen=True)
class _Data:
    """The folders of a run.

    Attributes:
        splits: as loaded.
        train: the images to train on.
        validation: the images that every epoch is evaluated on.
        validated_on: the name of those images.
        selected_on: the name of the images that select the best epoch; None if the
            last epoch is the result.
    """

    splits: Splits
    train: ImageFolder
    validation: ImageFolder
    validated_on: str
    selected_on: str | None


def run_recipe(recipe: Recipe, data: str | Path, options: RunOptions) -> Run:
    """Train a recipe on a data folder and return the finished run.

    However the run ends, `run.json` records it: "done", "failed", "interrupted" after
    Ctrl-C or "terminated" after SystemExit.

    Args:
        recipe: what to train, including the user's changes.
        data: a folder with `train` and `validation` and/or `test`, each with one
            folder of images per class.
        options: how to run it.

    Returns:
        The run; its folder holds run.json, history.csv, curves.png, images.png,
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
    _check_options(recipe, options)
    folders = _load(recipe, data, options)

    from tlcore.determinism import make_deterministic, set_seed

    if options.deterministic:
        make_deterministic()
    set_seed(options.seed)
    model = _build(recipe, folders.train)
    _check_fine_tuning(recipe, model)
    document = _document(recipe, data, options, folders, model)
    run = start_run(options.out, recipe.name, document, now=datetime.now())
    with _recorded_ending(run):
        options.say(f"run: {run.path}")
        history = _train(run, recipe, options, folders, model)
        _finish(run, options, folders, model, history)
    return run


def _check_options(recipe: Recipe, options: RunOptions) -> None:
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

    if recipe.fine_tune_epochs:
        unfreeze(model, recipe.last)
        freeze(model)


def _load(recipe: Recipe, data: str | Path, options: RunOptions) -> _Data:
    size = (recipe.image_size, recipe.image_size)
    splits = load_splits(
        data,
        image_size=size,
        batch_size=recipe.batch_size,
        label_mode="categorical",
        percent=recipe.percent,
        seed=options.seed,
        skip_bad=options.skip_bad,
    )
    if recipe.binary and splits.train.num_classes == 2:
        splits = splits.relabelled("binary")
    validated_on, validation = splits.epochs_on
    train, selected_on = splits.train, None
    if options.early_stopping is not None:
        # The figures of a split that selects the epoch are biased upwards. Without
        # `validation` a part of `train` selects, never `test`.
        selected_on = "validation"
        if splits.validation is None:
            train, validation = splits.train.split_off(HELD_OUT_PERCENT)
            validated_on = selected_on = "held out of train"
    for name, folder in _named(splits).items():
        options.say(f"{name}: {folder.notes()}")
    for name, count in splits.shared_images.items():
        options.say(
            f"warning: {count} of {getattr(splits, name).num_images} images of {name} "
            "are in train as well, and figures on them measure memory"
        )
    options.say(
        f"epochs are validated on: {validated_on} ({validation.num_images} images); "
        + (f"the best is selected on: {selected_on}" if selected_on else "no selection")
    )
    return _Data(splits, train, validation, validated_on, selected_on)


def _build(recipe: Recipe, train: ImageFolder) -> "keras.Model":
    from tlcore.models import create_model

    binary = train.label_mode == "binary"
    weights = None if recipe.weights == "none" else recipe.weights
    options: dict[str, Any] = {} if recipe.from_hub else {"weights": weights}
    return create_model(
        recipe.backbone,
        1 if binary else train.num_classes,
        input_shape=(recipe.image_size, recipe.image_size, 3),
        augmentation=recipe.augmentation,
        head=recipe.head,
        dropout=recipe.dropout,
        style=recipe.style,
        **options,
    )


def _train(
    run: Run, recipe: Recipe, options: RunOptions, folders: _Data, model: "keras.Model"
) -> dict[str, list[Any]]:
    from tlcore import training
    from tlcore.callbacks import BestCheckpoint

    plot_images(folders.train, seed=options.seed, path=run.path / "images.png")
    checkpoints = run.path / "checkpoints"
    checkpoints.mkdir()
    columns: dict[str, list[Any]] = {}
    best = None
    if options.early_stopping is not None:
        best = BestCheckpoint(checkpoints / "best.weights.h5")

    def phase_options(phase: str, rate: float) -> dict[str, Any]:
        caching: list[str] = []

        def say(line: str) -> None:
            caching.append(line)
            options.say(line)

        recorder = _recorder(run, phase, rate, columns, caching)
        return {
            "learning_rate": rate,
            "callbacks": _callbacks(run, phase, options, recorder, best),
            "say": say,
            **_fit_options(recipe, options),
        }

    first = training.feature_extract(
        model,
        folders.train,
        folders.validation,
        epochs=recipe.epochs,
        **phase_options(FEATURE_EXTRACTION, recipe.learning_rate),
    )
    _probe(run, options, folders, model)
    if recipe.fine_tune_epochs:
        training.fine_tune(
            model,
            folders.train,
            folders.validation,
            history=first,
            last=recipe.last,
            epochs=recipe.fine_tune_epochs,
            **phase_options(FINE_TUNING, recipe.learning_rate * TENTH),
        )
    if best is not None:
        best.restore()
        run.update(selected_epoch=best.epoch)
        options.say(f"selected: epoch {best.epoch + 1}, val_loss {best.best:.4f}")
    return columns


def _fit_options(recipe: Recipe, options: RunOptions) -> dict[str, Any]:
    return {
        "optimizer": recipe.optimizer,
        "steps_per_epoch": recipe.steps_per_epoch,
        "cache": options.cache,
        "views": options.views,
        "workers": options.workers,
        "progress": options.progress,
        "verbose": 0,
    }


def _probe(run: Run, options: RunOptions, folders: _Data, model: "keras.Model") -> None:
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


def _callbacks(
    run: Run, phase: str, options: RunOptions, recorder: Any, best: Any | None
) -> list[Any]:
    import keras

    from tlcore import callbacks

    made = [
        callbacks.EpochClock(),  # first: it adds "seconds" to the logs of the others
        callbacks.checkpoint_callback(run.path / f"checkpoints/{phase}.weights.h5"),
        keras.callbacks.TensorBoard(run.path / "tensorboard", write_graph=False),
        recorder,
    ]
    patience = options.early_stopping
    if best is not None and patience is not None:
        made += [best, callbacks.early_stopping_callback(patience=patience)]
    return made + options.callbacks()


def _recorder(
    run: Run, phase: str, rate: float, columns: dict[str, Any], caching: list[str]
) -> Any:
    """Return a callback that writes the history and checks the frozen weights."""
    import keras

    from tlcore.freezing import frozen_fingerprint, trainable_summary

    entry: dict[str, Any] = {"name": phase, "learning_rate": rate}
    phases = [*run.document["phases"], entry]

    # When training begins: only then is the phase compiled, its layers frozen and the
    # line on caching known.
    def on_train_begin(_: Any) -> None:
        entry["first_epoch"] = len(columns.get("epoch", []))
        entry["caching"] = "; ".join(caching)
        entry["counts"] = asdict(trainable_summary(recorder.model))
        entry["frozen_fingerprint"] = frozen_fingerprint(recorder.model)
        run.update(phases=phases)

    def on_epoch_end(epoch: int, logs: dict[str, float]) -> None:
        for name, value in {"epoch": epoch, "phase": phase, **logs}.items():
            columns.setdefault(name, []).append(value)
        run.write_history(columns)

    def on_train_end(_: Any) -> None:
        if frozen_fingerprint(recorder.model) != entry["frozen_fingerprint"]:
            raise RuntimeError(
                "Frozen weights must not change. "
                f"Received: changed weights in {phase} of {run.path}. This is a defect "
                "of tlcore or Keras: do not use the run's figures, and report it."
            )

    recorder = keras.callbacks.LambdaCallback(
        on_train_begin=on_train_begin,
        on_epoch_end=on_epoch_end,
        on_train_end=on_train_end,
    )
    return recorder


def _finish(
    run: Run,
    options: RunOptions,
    folders: _Data,
    model: "keras.Model",
    columns: dict[str, list[Any]],
) -> None:
    from tlcore.evaluation import evaluate
    from tlcore.plotting import learning_curves as plots

    scored = {"val": (folders.validated_on, folders.validation)}
    if folders.splits.test is not None:
        scored["test"] = ("test", folders.splits.test)
    # Without `validation` both names are `test`, which is evaluated once.
    estimates: dict[str, dict[str, Any]] = {}
    final: dict[str, Any] = {}
    for prefix, (split, folder) in scored.items():
        if split not in estimates:
            estimates[split] = evaluate(
                model,
                folder,
                cache=options.cache,
                workers=options.workers,
                progress=options.progress,
            )
        for metric, estimate in estimates[split].items():
            final[f"{prefix}_{metric}"] = {**estimate.as_dict(), "split": split}
    with replacing(run.path / "model.keras") as aside:
        model.save(aside)
    plots.plot_history(*_histories(columns), path=run.path / "curves.png")
    # Keras's own files next to it hold the epochs but no hyperparameters.
    write_events(
        run.path / "tensorboard",
        run.name,
        {**run.document, "final": final},
        status="done",
        by_epoch=False,
    )
    run.finish("done", final=final)


def _histories(columns: dict[str, list[Any]]) -> list[dict[str, list[Any]]]:
    """Return one history per phase."""
    drawn = {name: c for name, c in columns.items() if name not in {"phase", "seconds"}}
    return [
        {
            name: [v for v, p in zip(c, columns["phase"], strict=True) if p == phase]
            for name, c in drawn.items()
        }
        for phase in dict.fromkeys(columns["phase"])
    ]


@contextmanager
def _recorded_ending(run: Run) -> Iterator[None]:
    """Record in the run how it ended, whatever ended it."""
    try:
        yield
    except KeyboardInterrupt:
        run.finish("interrupted")
        raise
    except SystemExit as ending:
        run.finish("terminated", code=ending.code)
        raise
    except BaseException as error:
        # A full disk has no room for this record either; the first error counts.
        with suppress(OSError):
            run.finish("failed", error=f"{type(error).__name__}: {error}")
        raise


def _document(
    recipe: Recipe,
    data: str | Path,
    options: RunOptions,
    folders: _Data,
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
        "data": {
            "folder": str(data),
            "classes": list(folders.train.class_names),
            "validated_on": folders.validated_on,
            "selected_on": folders.selected_on,
            "trained_on": folders.train.num_images,
            "shared_with_train": dict(folders.splits.shared_images),
            "splits": {
                name: _describe(folder)
                for name, folder in _named(folders.splits).items()
            },
        },
        "weights": {
            "source": _weights_source(recipe),
            "fingerprint": fingerprint(network.weights),
        },
        "counts": asdict(trainable_summary(model)),
        "phases": [],
        "versions": {"python": platform.python_version(), **versions()},
        "machine": _machine(),
    }


def _weights_source(recipe: Recipe) -> str:
    if recipe.from_hub:
        return "the SavedModel's own"
    if recipe.weights == "imagenet":
        return find_entry(recipe.backbone).pretrained
    return "random" if recipe.weights == "none" else recipe.weights


def _named(splits: Splits) -> dict[str, ImageFolder]:
    named = {name: getattr(splits, name) for name in ("train", "validation", "test")}
    return {name: folder for name, folder in named.items() if folder is not None}


def _describe(folder: ImageFolder) -> dict[str, Any]:
    return {
        "images": folder.num_images,
        "fingerprint": folder.fingerprint,
        "converted": dict(folder.converted),
        "skipped": [list(item) for item in folder.skipped],
    }


def _machine() -> dict[str, Any]:
    import keras

    return {
        "system": platform.platform(),
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "devices": keras.distribution.list_devices(),
        "backend": keras.backend.backend(),
    }
