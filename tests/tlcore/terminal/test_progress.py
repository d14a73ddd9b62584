"""Progress: bars for long work, on a terminal only."""

import io

import pytest
from rich.console import Console

from tlcore.terminal.progress import bar, pass_progress


class Clock:
    def __init__(self, step):
        self.now, self.step = 0.0, step

    def __call__(self):
        self.now += self.step
        return self.now


@pytest.mark.parametrize(
    ("terminal", "step", "shown"),
    [(True, 0.3, True), (True, 0.01, False), (False, 0.3, False)],
)
def test_a_bar_is_shown_on_a_terminal_when_the_work_takes_long(terminal, step, shown):
    console = Console(file=io.StringIO(), force_terminal=terminal, width=80)
    with bar(
        "Checking [images]",
        9,
        patience_seconds=1.0,
        console=console,
        clock=Clock(step),
    ) as advance:
        for _ in range(9):
            advance(1)
    assert ("Checking [images]" in console.file.getvalue()) is shown


def test_an_error_leaves_the_terminal_as_it_was():
    console = Console(file=io.StringIO(), force_terminal=True, width=80)
    with pytest.raises(OSError, match="full"), bar("a", 2, console=console):
        raise OSError("full")
    assert console.file.getvalue().endswith("\x1b[?25h\r\x1b[1A\x1b[2K")


def test_a_pass_reports_to_the_function_given_and_otherwise_to_none():
    calls = []
    given = lambda *call: calls.append(call)  # noqa: E731
    with pass_progress(given, show=True) as report:
        report("train", 1, 2)
    assert calls == [("train", 1, 2)]
    with pass_progress(None, show=False) as report:
        assert report is None
