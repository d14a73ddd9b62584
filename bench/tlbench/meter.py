"""The meter: how much processor time the rounds of a case took.

A round may be shorter than it takes to read the clock of the processor, so that short
rounds are measured in blocks, and a round took as large a share of its seconds as the
processor worked in its block. What else the machine does is in the seconds of a round,
but hardly in its processor time.
"""

import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from tlbench import devices
from tlbench.clocks import Clock, Span, Stopwatch, judged_by, processor_time

BLOCK = 0.002
"""How long rounds are gathered, in seconds: to read the clocks takes microseconds."""

APART = 3
"""How many blocks in a row must be mostly time between rounds, before each round is
measured by itself: one of them may just have been interrupted."""

Runner: TypeAlias = Callable[[Any], Any]
"""Runs one round of a loop; returns its seconds, or these and a result."""


@dataclass(frozen=True, kw_only=True)
class Metered:
    """What the meter found.

    Attributes:
        cpu: the median processor time of an iteration, in seconds; 0 if there was none.
        clocks: those that the rounds are judged by.
    """

    cpu: float
    clocks: tuple[Clock, ...]


@dataclass(frozen=True, slots=True)
class _Block:
    """Rounds that were measured together, with the seconds from first to last."""

    rounds: int
    wall: float
    cpu: float

    def is_mostly_between(self, seconds: float) -> bool:
        """Tell whether rounds of so many seconds in all are less than half of it.

        What prepares each round is then in the share of the processor.
        """
        return self.rounds > 1 and seconds < self.wall / 2


class Meter:
    """Measures the rounds of one case.

    Example:
        >>> def one_round(_):
        ...     start = time.perf_counter()
        ...     _ = sum(range(100_000))
        ...     return time.perf_counter() - start
        >>> meter = Meter()
        >>> metered = meter.around(one_round)
        >>> seconds = [metered() for _ in range(5)]
        >>> 0 < meter.read(seconds).cpu
        True
    """

    def __init__(self) -> None:
        # Alive children are not looked for: that reads a file of every process.
        self._watch = Stopwatch(children=False)
        self._watching = False
        self._spans: list[Span] = []
        self._blocks: list[_Block] = []
        self._size = 1  # rounds in a block
        self._left = 0  # rounds that the open block still lacks, 0 if none is open
        self._largest = sys.maxsize
        self._apart = 0  # blocks of several rounds, in a row, mostly time between them
        self._since = self._cpu = 0.0

    def around(self, runner: Runner) -> Runner:
        """Return a runner that does the same and is measured."""

        # Most rounds end in the first branch. A round may take microseconds, so that
        # there is nothing in it but a counter.
        def metered(loops: Any = None) -> Any:
            if self._left > 1:
                self._left -= 1
                return runner(loops)
            if not self._left:
                self._open()
            result = runner(loops)
            self._left -= 1
            if not self._left:
                self._close(result[0] if isinstance(result, tuple) else result)
            return result

        return metered

    def read(self, seconds: Sequence[float], *, iterations: int = 1) -> Metered:
        """Return what the last rounds took; those before are warm-up.

        Args:
            seconds: of each of these rounds, the mean of its iterations.
            iterations: how often a round did the work.
        """
        if self._left:
            self._end()
        clocks = judged_by(self._spans, device=devices.waiting() is not None)
        kept: list[float] = []
        end = len(seconds)
        for block in reversed(self._blocks):
            start = end - block.rounds
            # A block that also holds rounds of the warm-up is the last resort.
            if end <= 0 or (start < 0 and kept):
                break
            mean = statistics.fmean(seconds[max(0, start) : end])
            between = block.is_mostly_between(mean * iterations * block.rounds)
            if block.wall > 0 and not between:
                kept.append(mean * block.cpu / block.wall)
            end = start
        return Metered(cpu=statistics.median(kept) if kept else 0.0, clocks=clocks)

    def _open(self) -> None:
        # What says whether the thread works or waits takes longer to read: only at the
        # first, second, fourth, ... block.
        count = len(self._blocks) + 1
        self._watching = count & (count - 1) == 0
        if self._watching:
            self._watch.start()
        self._left = self._size
        self._cpu = processor_time()
        self._since = time.perf_counter()

    def _close(self, last: float) -> None:
        """End a block that is full, and choose the size of the next one.

        Args:
            last: the seconds of its last round.
        """
        block = self._end()
        if block.rounds > 1:
            between = block.is_mostly_between(last * block.rounds)
            self._apart = self._apart + 1 if between else 0
        if self._apart >= APART:
            self._largest = 1
        # Twice as many at most: calibration begins with rounds that are far too short.
        wanted = int(BLOCK * block.rounds / block.wall) if block.wall > 0 else 1
        self._size = max(1, min(wanted, 2 * self._size, self._largest))

    def _end(self) -> _Block:
        block = _Block(
            rounds=self._size - self._left,
            wall=time.perf_counter() - self._since,
            cpu=processor_time() - self._cpu,
        )
        if self._watching:
            self._spans.append(self._watch.stop())
        self._blocks.append(block)
        self._left = 0
        return block
