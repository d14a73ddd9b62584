"""Progress: what a person sees while a run trains, on standard error.

Owns a bar per epoch on a terminal, and one line per epoch elsewhere. Nothing here
changes or measures training.
"""

from types import TracebackType
from typing import Any, Self

from rich.console import Console

from tlcore.terminal.characters import visible
from tlcore.terminal.progress import PassBar, new_bars


class LastingConsole(Console):
    """A console that survives a closed pipe; rich would exit, and end the run."""

    def on_broken_pipe(self) -> None:
        """Say nothing from now on."""
        self.quiet = True


class Progress:
    """Shows lines and epochs. A context manager, so that the terminal is restored.

    Attributes:
        features: shows how far a pass through frozen layers is.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or LastingConsole(stderr=True, highlight=False)
        self._bars = new_bars(self._console)
        self.features = PassBar(self._bars)

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bars.stop()

    def say(self, line: str) -> None:
        """Print one line."""
        shown = visible(line, lines=True)
        self._console.print(shown, soft_wrap=True, markup=False, emoji=False)

    def callbacks(self) -> list[Any]:
        """Return the Keras callback that shows one phase of training."""
        import keras

        task = self._bars.add_task("", total=None)

        def on_epoch_begin(epoch: int, _: Any) -> None:
            steps, epochs = shown.params["steps"], shown.params["epochs"]
            label = f"epoch {epoch + 1}/{epochs}"
            self._bars.reset(task, total=steps, description=label)

        def on_train_batch_end(batch: int, logs: Any) -> None:  # noqa: ARG001
            self._bars.advance(task)

        def on_epoch_end(epoch: int, logs: dict[str, float]) -> None:
            figures = ", ".join(
                f"{name} {value:.1f}" if name == "seconds" else f"{name} {value:.4f}"
                for name, value in logs.items()
            )
            self.say(f"epoch {epoch + 1}/{shown.params['epochs']}: {figures}")

        def on_train_end(_: Any) -> None:
            self._bars.remove_task(task)

        on_batch = {"on_train_batch_end": on_train_batch_end}
        shown = keras.callbacks.LambdaCallback(
            on_epoch_begin=on_epoch_begin,
            on_epoch_end=on_epoch_end,
            on_train_end=on_train_end,
            # Any callback for batches makes Keras wait for the device after each step;
            # without a bar there is no need to.
            **(on_batch if self._console.is_terminal else {}),
        )
        return [shown]
