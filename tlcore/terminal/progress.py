"""Progress: bars for long work, on standard error.

Owns the form of every bar in this package: title, bar, amount done of the total, time
remaining. If standard error is not a terminal, nothing is drawn. rich is imported only
when a bar is created.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tlcore.terminal.characters import visible

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

Advance = Callable[[int], object]
"""Called with the amount done since the last call."""
PassProgress = Callable[[str, int, int], None]
"""Called with the name of the data, the number of images done and that of all."""
STEPS = "steps"
"""The name under which steps are reported, instead of images."""


def new_bars(console: "Console", *, in_bytes: bool = False) -> "Progress":
    """Return a rich display of bars in the form that this package uses.

    Args:
        console: where they are drawn; nothing is drawn if it is not a terminal.
        in_bytes: whether amounts are bytes, printed as "3.1/4.0 MiB".
    """
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    return Progress(
        # A title may contain a file name: rich would take [brackets] for markup.
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(binary_units=True) if in_bytes else MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


@contextmanager
def bar(
    title: str,
    total: int | None,
    *,
    in_bytes: bool = False,
    patience_seconds: float = 0.0,
    console: "Console | None" = None,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Advance]:
    """Show a bar while the block runs, as soon as it takes longer than a given time.

    Args:
        title: what is being done.
        total: the whole amount; None if it is unknown.
        in_bytes: whether amounts are bytes.
        patience_seconds: how long the work may take without a bar.
        console: where to draw; standard error by default.
        clock: returns seconds from any origin.

    Yields:
        A function to call with the amount done since the last call.
    """
    if console is None:
        from rich.console import Console

        console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _count: None
        return
    bars = new_bars(console, in_bytes=in_bytes)
    task = bars.add_task(visible(title), total=total)
    started = clock()

    def advance(count: int) -> None:
        bars.advance(task, count)
        # rich cannot delay a bar: it is started once the work has taken long enough.
        if not bars.live.is_started and clock() - started > patience_seconds:
            bars.start()

    try:
        if not patience_seconds:
            bars.start()
        yield advance
    finally:
        bars.stop()


class PassBar:
    """Shows the progress of a pass over the images of one dataset after another.

    Args:
        bars: the display to draw in.
    """

    def __init__(self, bars: "Progress") -> None:
        self._bars = bars
        self._task: Any = None

    def __call__(self, name: str, done: int, total: int) -> None:
        """Show that `done` of `total` are done; the last removes the bar."""
        if self._task is None:
            self._task = self._bars.add_task("", total=total)
        title = visible(name if name == STEPS else f"features of {name}")
        self._bars.update(self._task, description=title, completed=done, total=total)
        if done == total:
            self._bars.remove_task(self._task)
            self._task = None


@contextmanager
def pass_progress(
    given: PassProgress | None, *, show: bool
) -> Iterator[PassProgress | None]:
    """Yield what a pass reports to: `given`, else a bar if `show`, else None."""
    if given is not None or not show:
        yield given
        return
    from rich.console import Console

    with new_bars(Console(stderr=True)) as bars:
        yield PassBar(bars)
