"""Clocks: how long something took, how much of it was work, and how much was waiting.

Owns reading the processor time of this process, of its threads and of its children.
Under Linux the kernel also says how long a thread was ready and waited for a processor,
so that waiting for a busy machine is not taken for waiting for a disk, a timer or a
device. Elsewhere that part is 0.

Not `psutil`: it has neither the queueing time nor a processor time in nanoseconds.
"""

import os
import statistics
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

Clock: TypeAlias = Literal["cpu", "wall"]

WORKING = 0.8
"""The share of its time that the thread of a case must be working, or ready to work, so
that the case is judged by its processor time alone."""

_NANO = 1e-9


@dataclass(frozen=True, kw_only=True, slots=True)
class Span:
    """What a stretch of work took, in seconds.

    Attributes:
        wall: from its start to its end.
        cpu: processor time of this process and of its children.
        own: that the calling thread was running, or ready to run.
        all: that any thread or child was running or ready to run, added up.
    """

    wall: float
    cpu: float
    own: float
    all: float

    def __add__(self, other: "Span") -> "Span":
        return Span(
            wall=self.wall + other.wall,
            cpu=self.cpu + other.cpu,
            own=self.own + other.own,
            all=self.all + other.all,
        )


def judged_by(spans: Sequence[Span], *, device: bool) -> tuple[Clock, ...]:
    """Return the clocks that a case is judged by.

    Processor time where its thread works: it does not depend on what else the machine
    does. Wall time where it waits, sleeps, or a device works. Both where other threads
    or processes may be doing the work for it: then either may show a change.

    Args:
        spans: what its stretches of work took.
        device: whether a device may have done its work.
    """
    timed = [span for span in spans if span.wall > 0]
    if device or not timed:
        return ("wall",)
    if statistics.median(span.own / span.wall for span in timed) >= WORKING:
        return ("cpu",)
    if statistics.median(span.all / span.wall for span in timed) >= WORKING:
        return ("cpu", "wall")
    return ("wall",)


class Stopwatch:
    """Measures stretches of work of the calling thread, one after the other.

    Args:
        proc: where the kernel keeps its files on processes.
        children: whether children that are alive count; those that ended always do.

    Example:
        >>> watch = Stopwatch()
        >>> watch.start()
        >>> _ = sum(range(100_000))
        >>> span = watch.stop()
        >>> 0 < span.cpu and 0 < span.wall
        True
    """

    def __init__(self, proc: Path = Path("/proc"), *, children: bool = True) -> None:
        self._proc = proc
        self._me = str(os.getpid())
        # Looking for children reads a file of every process: only until none is found.
        self._children = children
        self._start = Span(wall=0.0, cpu=0.0, own=0.0, all=0.0)

    def start(self) -> None:
        """Begin a stretch."""
        # What takes long to read comes first here and last in `stop`, so that it is
        # not part of the stretch.
        queued_own, queued_all = self._queued()
        children = self._children_cpu()
        own, cpu, wall = time.thread_time(), processor_time(), time.perf_counter()
        self._start = Span(
            wall=wall, cpu=cpu + children, own=own + queued_own, all=queued_all
        )

    def stop(self) -> Span:
        """End the stretch and return what it took."""
        wall, cpu, own = time.perf_counter(), processor_time(), time.thread_time()
        children = self._children_cpu()
        queued_own, queued_all = self._queued()
        self._children = self._children and children > 0
        start = self._start
        # A child that ended and was not waited for takes its processor time along.
        used = max(0.0, cpu + children - start.cpu)
        return Span(
            wall=wall - start.wall,
            cpu=used,
            own=own + queued_own - start.own,
            all=used + queued_all - start.all,
        )

    def _queued(self) -> tuple[float, float]:
        """Return how long this thread, and all threads, waited for a processor."""
        threads = self._schedules(self._me)
        own = threads.get(str(threading.get_native_id()), (0.0, 0.0))[1]
        return own, sum(queued for _, queued in threads.values())

    def _children_cpu(self) -> float:
        """Return the processor time of the children that are alive now."""
        if not self._children:
            return 0.0
        return sum(
            running
            for child in self._descendants()
            for running, _ in self._schedules(child).values()
        )

    def _descendants(self) -> list[str]:
        parents: dict[str, list[str]] = {}
        for path in self._proc.glob("[0-9]*/stat"):
            # The name, in parentheses, may hold anything, also a parenthesis.
            parent = _read(path).rpartition(")")[2].split()[1:2]
            if parent:
                parents.setdefault(parent[0], []).append(path.parent.name)
        found, new = [], [self._me]
        while new:
            new = [child for one in new for child in parents.get(one, ())]
            found += new
        return found

    def _schedules(self, process: str) -> dict[str, tuple[float, float]]:
        """Return, by thread, the seconds it ran and the seconds it was ready to."""
        found = {}
        for path in self._proc.glob(f"{process}/task/[0-9]*/schedstat"):
            ran, queued, *_ = (*_read(path).split(), "0", "0")
            found[path.parent.name] = int(ran) * _NANO, int(queued) * _NANO
        return found


def processor_time() -> float:
    """Return the seconds that processors worked for this process so far.

    Children that ended count too.
    """
    if sys.platform == "win32":
        return time.process_time()
    import resource

    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + ended.ru_utime + ended.ru_stime


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""  # the process or thread has just ended
