"""The meter: how much processor time the rounds of a case took.

A round may be shorter than it takes to read the clock of the processor, so that short
rounds are measured in blocks, and a round took as large a share of its seconds as the
processor worked in its block. What else the machine does is in the seconds of a round,
but hardly in its processor time.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from tlbench import devices
from tlbench.clocks import Clock, Span, Stopwatch, judged_by, processor_time

BLOCK = 0.001
"""How long rounds are gathered, in seconds: a reading costs a thousandth of it."""

WATCHED = 16
"""How many blocks say whether the thread works or waits: that takes longer to read."""

Runner: TypeAlias = Callable[..., Any]
"""Runs one round; returns its seconds, or these and a result."""


@dataclass(frozen=True, kw_only=True)
class Metered:
    """What the meter found.

    Attributes:
        cpu: the median processor time of a round, in seconds; 0 if there was none.
        clocks: those that the rounds are judged by.
    """

    cpu: float
    clocks: tuple[Clock, ...]


class Meter:
    """Measures the rounds of one case.

    Example:
        >>> def one_round():
        ...     start = time.perf_counter()
        ...     _ = sum(range(100_000))
        ...     return time.perf_counter() - start
        >>> meter = Meter()
        >>> metered = meter.around(one_round)
        >>> seconds = [metered() for _ in range(5)]
        >>> 0 < meter.read(rounds=5).cpu
        True
    """

    def __init__(self) -> None:
        # Alive children are not looked for: that reads a file of every process.
        self._watch = Stopwatch(children=False)
        self._spans: list[Span] = []
        self._shortest = BLOCK
        # The blocks that are closed: rounds, their seconds, and the processor's share.
        self._blocks: list[tuple[int, float, float | None]] = []
        self._rounds = 0
        self._seconds = 0.0
        self._since = self._cpu = 0.0

    def around(self, runner: Runner) -> Runner:
        """Return a runner that does the same and is measured."""

        def metered(*loops: Any) -> Any:
            if not self._rounds:
                self._open()
            result = runner(*loops)
            self._rounds += 1
            self._seconds += result[0] if isinstance(result, tuple) else result
            if time.perf_counter() - self._since >= self._shortest:
                self._close()
            return result

        return metered

    def read(self, *, rounds: int) -> Metered:
        """Return what the last rounds took; those before are warm-up."""
        if self._rounds:
            self._close()
        clocks = judged_by(self._spans, device=devices.waiting() is not None)
        kept: list[float] = []
        left = rounds
        for count, seconds, share in reversed(self._blocks):
            left -= count
            # A block that also holds rounds of the warm-up is the last resort.
            if left < 0 and kept:
                break
            if share is not None:
                kept.append(share * seconds / count)
            if left <= 0:
                break
        return Metered(cpu=statistics.median(kept) if kept else 0.0, clocks=clocks)

    def _open(self) -> None:
        if len(self._spans) < WATCHED:
            self._watch.start()
        self._cpu = processor_time()
        self._since = time.perf_counter()

    def _close(self) -> None:
        wall = time.perf_counter() - self._since
        cpu = processor_time() - self._cpu
        if len(self._spans) < WATCHED:
            self._spans.append(self._watch.stop())
        share: float | None = cpu / wall if wall > 0 else None
        # Between the rounds is more than between two calls: what prepares each round
        # is in the share. From now on each round is measured by itself.
        if self._rounds > 1 and self._seconds < wall / 2:
            self._shortest, share = 0.0, None
        self._blocks.append((self._rounds, self._seconds, share))
        self._rounds, self._seconds = 0, 0.0
