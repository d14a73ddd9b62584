"""The fixture `benchmark` of pytest-benchmark: what it timed, and how often.

Owns every name of pytest-benchmark that is relied on. It is not imported: another
plugin may own a fixture of that name, and a session may go without.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tlbench.meter import Meter, Metered
from tlbench.unrecorded import Switch

_METER = "_tlbench_meter"
"""The attribute of a fixture that holds its meter."""

_WALL = (time.perf_counter, time.time, time.monotonic)
"""The timers that are wall clocks."""


@dataclass(frozen=True, kw_only=True)
class Timed:
    """What the fixture timed in one case.

    Attributes:
        seconds: of each round, the mean of its iterations; no warm-up rounds.
        iterations: how often a round did the work.
        timer: the name of the clock.
        metered: the processor time of an iteration; None if it was not measured.
    """

    seconds: Sequence[float]
    iterations: int
    timer: str
    metered: Metered | None = None


def timed(fixture: Any) -> Timed | None:
    """Return what a fixture timed; None if nothing, or if it is of another plugin."""
    stats = getattr(fixture, "stats", None)
    seconds = getattr(getattr(stats, "stats", None), "data", None)
    if stats is None or not seconds:
        return None  # under pytest-xdist for instance
    timer = getattr(stats.options.get("timer"), "__name__", "")
    meter = getattr(fixture, _METER, None)
    return Timed(
        seconds=seconds,
        iterations=stats.iterations,
        timer=timer,
        metered=meter and meter.read(seconds, iterations=stats.iterations),
    )


def measure_processor_time(fixture: Any) -> None:
    """Have a fixture's rounds measured by the clock of the processor too.

    A fixture with a timer that is no wall clock is left alone: whoever chose the timer
    chose what is measured.
    """
    make = getattr(fixture, "_make_runner", None)
    if make is None or getattr(fixture, "_timer", None) not in _WALL:
        return
    meter = Meter()
    setattr(fixture, _METER, meter)
    fixture._make_runner = lambda *args: meter.around(make(*args))  # noqa: SLF001


def keep_iterations(fixture: Any, known: Callable[[], int | None]) -> None:
    """Have `benchmark(...)` do a known number of iterations instead of calibrating.

    Calibration depends on the load of a moment, and a mean of 300 iterations cannot be
    compared with a single one. pytest-benchmark has no option for the number. What
    `benchmark(...)` asks is `_calibrate_timer`, which runs the work and returns the
    seconds of a round, its iterations and its loop; `benchmark.pedantic(...)` is given
    a number and does not ask.

    Args:
        fixture: any object; what does not calibrate is left alone.
        known: returns the number, None to calibrate after all.
    """
    calibrate = getattr(fixture, "_calibrate_timer", None)
    if calibrate is None:
        return

    def kept(runner: Callable[[range], float]) -> tuple[float, int, range]:
        count = known()
        seconds = runner(range(count)) if count else 0.0
        # A round of no measurable length needs more iterations after all.
        if not count or seconds <= 0:
            calibrated: tuple[float, int, range] = calibrate(runner)
            return calibrated
        return seconds, count, range(count)

    fixture._calibrate_timer = kept  # noqa: SLF001 - see above


def owner(item: Any) -> str:
    """Return the module of a case's fixture `benchmark`, "" for pytest-benchmark's."""
    # pytest says in no public place which plugin a fixture comes from. The last
    # definition is the one that the case gets.
    info = getattr(item, "_fixtureinfo", None)
    known = getattr(info, "name2fixturedefs", {}).get("benchmark", ())
    module = str(known[-1].func.__module__) if known else ""
    return "" if module.partition(".")[0] == "pytest_benchmark" else module


def switch(config: Any) -> Switch:
    """Return what keeps pytest-benchmark from timing in a session."""

    def given(name: str) -> bool:
        return bool(config.getoption(name, default=False))

    if given("benchmark_enable"):
        return ""
    # As pytest-benchmark decides it: `--benchmark-only` wins over skipping.
    if given("benchmark_skip") and not given("benchmark_only"):
        return "--benchmark-skip"
    if given("benchmark_disable"):
        return "--benchmark-disable"
    workers = config.getoption("dist", default="no") != "no"
    return "xdist" if workers or hasattr(config, "workerinput") else ""
