"""Progress: bars on a terminal, lines elsewhere."""

import io

import keras
import numpy as np
import pytest
from rich.console import Console

from tlcore.cli.progress import LastingConsole, Progress


def trained(*, terminal):
    output = io.StringIO()
    console = Console(
        file=output,
        force_terminal=terminal,
        width=100,
        no_color=True,
        highlight=False,
    )
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    with Progress(console) as progress:
        progress.say("run: here [/x]")
        callbacks = progress.callbacks()
        model.fit(
            np.ones((8, 2)),
            np.ones((8, 1)),
            batch_size=2,
            initial_epoch=3,
            epochs=5,
            callbacks=callbacks,
            verbose=0,
        )
    return output.getvalue()


@pytest.mark.parametrize("terminal", [True, False])
def test_every_epoch_leaves_a_line(terminal):
    text = trained(terminal=terminal)
    assert "run: here [/x]" in text
    assert "epoch 4/5: loss " in text
    assert "epoch 5/5: loss " in text


@pytest.mark.parametrize("terminal", [True, False])
def test_a_pass_shows_how_far_it_is_on_a_terminal_alone(terminal):
    output = io.StringIO()
    console = Console(file=output, force_terminal=terminal, width=100, no_color=True)
    with Progress(console) as progress:
        for _ in range(2):
            for done in (32, 64):
                progress.features("train", done, 64)
                progress._bars.refresh()
    assert ("features of train" in output.getvalue()) == terminal


def test_a_reader_that_goes_away_does_not_end_the_run():
    class Gone(io.StringIO):
        def write(self, _):
            raise BrokenPipeError

    console = LastingConsole(file=Gone())
    console.print("one")
    console.print("two")


def test_a_terminal_has_a_bar_of_steps_and_a_file_has_none():
    assert "/4" in trained(terminal=True)
    assert "/4" not in trained(terminal=False)
    assert trained(terminal=False).count("\n") == 3
