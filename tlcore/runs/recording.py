"""Recording: what a phase of a run writes while it trains.

Owns the callbacks that leave the history, the counts, a checkpoint and pictures of
images in the run folder after every epoch, and the check that frozen weights stay what
they are. The order of a run is in `runner`, the format of `run.json` in `run`.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from tlcore.data.image_folder import ImageFolder
from tlcore.plotting.image_grid import plot_images
from tlcore.runs.run import Run


def recorders(
    run: Run, phase: str, rate: float, columns: dict[str, Any], caching: list[str]
) -> list[Any]:
    """Return the callbacks that record a phase, in the order in which they act.

    Args:
        run: the run.
        phase: the name of the phase.
        rate: its learning rate.
        columns: the history of the run so far, by column; each epoch is added to it.
        caching: the lines that say how the images are read.
    """
    from tlcore import callbacks

    return [
        callbacks.EpochClock(),  # first: it adds "seconds" to the logs of the others
        callbacks.checkpoint_callback(run.path / f"checkpoints/{phase}.weights.h5"),
        _board(run.path / "tensorboard"),
        _recorder(run, phase, rate, columns, caching),
    ]


def _board(folder: Path) -> Any:
    """Return the callback that logs for TensorBoard."""
    import keras

    from tlcore.callbacks import EpochEvents

    if keras.backend.backend() == "tensorflow":
        return keras.callbacks.TensorBoard(folder, write_graph=False)
    return EpochEvents(folder)


def first_pictures(run: Run, train: ImageFolder, seed: int) -> Any:
    """Return a callback that draws some of the images after the run's first epoch."""
    # Not before: drawing takes a tenth of the time from the start to the first step.
    import keras

    path = run.path / "images.png"

    def on_epoch_end(_epoch: int, _logs: Any) -> None:
        if not path.exists():
            plot_images(train, seed=seed, path=path)

    return keras.callbacks.LambdaCallback(on_epoch_end=on_epoch_end)


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
