"""Progress: how far long work is, as bars on the terminal behind standard error.

Owns the one form that a bar has in this package: title, bar, how much of how much, time
remaining. Where standard error is no terminal nothing is drawn. rich is imported only
where a bar is made.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

Advance = Callable[[int], object]
"""Called with each further count of what is done."""
PassProgress = Callable[[str, int, int], None]
"""Called with the name of the data, how many images are done, and of how many."""


def new_bars(console: "Console", *, in_bytes: bool = False) -> "Progress":
    """Return rich's display of bars, in the form that all of this package have.

    Args:
        console: where they are drawn; nothing is where it is no terminal.
        in_bytes: whether counts are bytes, and read as "3.1/4.0 MiB".
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
        # A title may hold a file's name: brackets in it are no markup.
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
    """Give what to call with each further count; show a bar once the work takes long.

    Args:
        title: what is done.
        total: how much there is to do; None where that is not known.
        in_bytes: whether that is a count of bytes.
        patience_seconds: how long work may take without a bar.
        console: where to draw; standard error by default.
        clock: gives seconds.
    """
    if console is None:
        from rich.console import Console

        console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _count: None
        return
    bars = new_bars(console, in_bytes=in_bytes)
    task = bars.add_task(title, total=total)
    started = clock()

    def advance(count: int) -> None:
        bars.advance(task, count)
        if not bars.live.is_started and clock() - started > patience_seconds:
            bars.start()

    try:
        if not patience_seconds:
            bars.start()
        yield advance
    finally:
        bars.stop()


class PassBar:
    """Shows how far the pass over the images of one data is, then of the next.

    Args:
        bars: the display that it is drawn in.
    """

    def __init__(self, bars: "Progress") -> None:
        self._bars = bars
        self._task: Any = None

    def __call__(self, name: str, done: int, total: int) -> None:
        """Show that `done` of `total` images are done; the last one removes the bar."""
        if self._task is None:
            self._task = self._bars.add_task("", total=total)
        title = f"features of {name}"
        self._bars.update(self._task, description=title, completed=done, total=total)
        if done == total:
            self._bars.remove_task(self._task)
            self._task = None


@contextmanager
def pass_progress(
    given: PassProgress | None, *, show: bool
) -> Iterator[PassProgress | None]:
    """Give what a pass reports to: `given`, else a bar where `show`, else nothing."""
    if given is not None or not show:
        yield given
        return
    from rich.console import Console

    with new_bars(Console(stderr=True)) as bars:
        yield PassBar(bars)
