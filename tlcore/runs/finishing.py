"""Finishing: what a run writes when its model is trained.

Owns the final figures on complete splits, the saved model, the predictions of each
image and the pictures. The order of everything before is in `runner`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlcore.files import replacing
from tlcore.runs.event_files import write_events
from tlcore.runs.run import (
    CALIBRATION,
    CONFUSION,
    CURVES,
    MISTAKES,
    PREDICTIONS_FILE,
    Run,
)
from tlcore.runs.run_data import RunData

if TYPE_CHECKING:
    import keras

    from tlcore.predictions.values import Predictions
    from tlcore.runs.runner import RunOptions


def finish(
    run: Run,
    options: "RunOptions",
    folders: RunData,
    model: "keras.Model",
    columns: dict[str, list[Any]],
) -> None:
    """Write the final figures, the model, its predictions and the pictures of a run.

    Args:
        run: the run; it is done afterwards.
        options: how it is run.
        folders: its images; predictions are of the test images, or else of those that
            every epoch was validated on.
        model: trained.
        columns: the history of all epochs.
    """
    from tlcore.backbones.weights import fingerprint
    from tlcore.plotting import learning_curves as plots
    from tlcore.predictions.report import report

    final, found = _final(options, folders, model)
    with replacing(run.path / "model.keras") as aside:
        model.save(aside)
    plots.plot_history(*_histories(columns), path=run.path / CURVES)
    found.write_csv(run.path / PREDICTIONS_FILE)
    _draw(run.path, found, folders, options)
    # Keras's own files next to it hold the epochs but no hyperparameters.
    write_events(
        run.path / "tensorboard",
        run.name,
        {**run.document, "final": final},
        status="done",
        by_epoch=False,
    )
    run.finish(
        "done",
        final=final,
        predictions={"split": folders.last[0], **report(found)},
        final_weights=fingerprint(model.weights),
    )


def _final(
    options: "RunOptions", folders: RunData, model: "keras.Model"
) -> "tuple[dict[str, Any], Predictions]":
    """Return the figures of each split, and the predictions of the last one."""
    from tlcore.caching.feeds import CacheOptions
    from tlcore.evaluation import score
    from tlcore.predictions.predicting import predictions_of

    caching = CacheOptions(options.cache, None, options.workers, options.progress)
    # Without `validation` both names are `test`, which is read once.
    scores = {}
    final: dict[str, Any] = {}
    for prefix, (split, folder) in folders.scored.items():
        if split not in scores:
            scores[split] = score(model, folder, caching)
        also = folders.also_in(split)
        for metric, estimate in scores[split].figures.items():
            figure = {**estimate.as_dict(), "split": split, **also}
            final[f"{prefix}_{metric}"] = figure
    split, folder = folders.last
    found = predictions_of(
        model,
        scores[split].outputs,
        folder.class_names,
        truth=scores[split].truth,
        paths=tuple(folder.unshuffled().paths),
    )
    return final, found


def _draw(
    path: Path, found: "Predictions", folders: RunData, options: "RunOptions"
) -> None:
    from tlcore.predictions import pictures

    if not found.several:
        pictures.plot_confusion(found, path=path / CONFUSION)
        pictures.plot_calibration(found, path=path / CALIBRATION)
    try:
        reading = folders.train.reading
        pictures.plot_mistakes(found, reading=reading, path=path / MISTAKES)
    except OSError as error:
        # The model is trained; an image that has gone since must not fail its run.
        options.say(f"{MISTAKES} is not drawn: {error}")


def _histories(columns: dict[str, list[Any]]) -> Sequence[dict[str, list[Any]]]:
    """Return one history per phase."""
    drawn = {name: c for name, c in columns.items() if name not in {"phase", "seconds"}}
    return [
        {
            name: [v for v, p in zip(c, columns["phase"], strict=True) if p == phase]
            for name, c in drawn.items()
        }
        for phase in dict.fromkeys(columns["phase"])
    ]
