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
from tlcore.runs.run import CHECKPOINTS, IMAGES, Run


def recorders(
    run: Run, entry: dict[str, Any], columns: dict[str, Any], caching: list[str]
) -> list[Any]:
    """Return the callbacks that record a phase, in the order in which they act.

    Args:
        run: the run.
        entry: what `run.json` is to say of the phase: its "name", "first_epoch" and
            "learning_rate"; the rest is added.
        columns: the history of the run so far, by column; each epoch is added to it.
        caching: the lines that say how the images are read.
    """
    from tlcore import callbacks

    weights = run.path / CHECKPOINTS / f"{entry['name']}.weights.h5"
    return [
        callbacks.EpochClock(),  # first: it adds "seconds" to the logs of the others
        callbacks.checkpoint_callback(weights),
        _board(run.path / "tensorboard"),
        _recorder(run, entry, columns, caching),
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

    path = run.path / IMAGES

    def on_epoch_end(_epoch: int, _logs: Any) -> None:
        if not path.exists():
            plot_images(train, seed=seed, path=path)

    return keras.callbacks.LambdaCallback(on_epoch_end=on_epoch_end)


def _recorder(
    run: Run, entry: dict[str, Any], columns: dict[str, Any], caching: list[str]
) -> Any:
    """Return a callback that writes the history and checks the frozen weights."""
    import keras

    from tlcore.freezing import frozen_fingerprint, trainable_summary

    class Recorder(keras.callbacks.Callback):
        # When training begins: only then is the phase compiled, its layers frozen and
        # the line on caching known.
        def on_train_begin(self, _: Any = None) -> None:
            entry["caching"] = "; ".join(caching)
            entry["counts"] = asdict(trainable_summary(self.model))
            entry["frozen_fingerprint"] = frozen_fingerprint(self.model)
            # A run that goes on has begun this phase before, and perhaps a later one.
            before = [
                phase
                for phase in run.document["phases"]
                if phase["first_epoch"] < entry["first_epoch"]
            ]
            run.update(phases=[*before, entry])

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            values = {"epoch": epoch, "phase": entry["name"], **(logs or {})}
            for name, value in values.items():
                columns.setdefault(name, []).append(value)
            run.write_history(columns)

        def on_train_end(self, _: Any = None) -> None:
            if frozen_fingerprint(self.model) != entry["frozen_fingerprint"]:
                raise RuntimeError(
                    "Frozen weights must not change. Received: changed weights in "
                    f"{entry['name']} of {run.path}. This is a defect of tlcore or "
                    "Keras: do not use the run's figures, and report it."
                )

        def state_dict(self) -> dict[str, Any]:
            return {name: list(column) for name, column in columns.items()}

        def load_state_dict(self, state: dict[str, Any]) -> None:
            columns.clear()
            columns.update(state)

    return Recorder()
