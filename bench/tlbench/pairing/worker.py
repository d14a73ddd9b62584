"""The process of one side: a pytest plugin that runs a suite's cases in turns.

Owns what happens inside a side: it sends which cases there are, runs those that it is
asked for, and measures a case in blocks, each when it is asked for. Between two blocks
the process waits, and the other side has the processor. pytest sets up fixtures as
ever. The other end of the channel is in `pairs`. Loaded by `-p`, in an environment that
need not have tlbench installed: it imports pytest and the standard library.
"""

import os
import sys
from collections.abc import Callable, Generator, Sequence
from functools import partial
from importlib import metadata
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tlbench import devices, interface
from tlbench.clocks import Span, Stopwatch
from tlbench.pairing.channel import VARIABLE, Message, receive, send
from tlbench.record import record_to_json
from tlbench.recorder import Recorder, version_of

_Result = TypeVar("_Result")

_OPTIONS = {
    "continue_on_collection_errors": True,
    "maxfail": 0,
    "benchmark_autosave": False,
    "benchmark_cprofile": None,
    "benchmark_compare": None,
    "benchmark_compare_fail": None,
    "benchmark_disable": False,
    "benchmark_enable": True,
    "benchmark_histogram": None,
    "benchmark_json": None,
    "benchmark_save": None,
    "benchmark_skip": False,
}
"""Options of pytest and of pytest-benchmark that a comparison sets: it writes no files,
and goes on after a case that fails."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the options of tlbench, which the suite's own options may name."""
    interface.add_options(parser)


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Declare the hooks of tlbench, which a conftest may implement."""
    pluginmanager.add_hookspecs(interface.Specification)


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Keep all cases in this process, whatever the suite says about pytest-xdist."""
    if hasattr(config.option, "numprocesses"):
        config.option.numprocesses, config.option.dist = None, "no"
        config.option.tx = []


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Open the channel, and measure what pytest-benchmark would time."""
    # Taken out of the environment: a process that a case starts is no side.
    number = int(os.environ.pop(VARIABLE))
    os.set_inheritable(number, False)  # noqa: FBT003 - it has no other name
    for name, value in _OPTIONS.items():
        if hasattr(config.option, name):
            setattr(config.option, name, value)
    side = _Side(Connection(number))
    config.stash[_SIDE] = side
    config.pluginmanager.register(side, "tlbench-side")
    if config.pluginmanager.hasplugin("benchmark"):
        _measure_benchmarks(side)


@pytest.fixture
def record(request: pytest.FixtureRequest) -> Recorder:
    """Record the exact values, costs, metrics, timings and memory of this case."""
    node = request.node
    recorder = Recorder(node.nodeid, version_of(getattr(node, "function", None)))
    request.config.stash[_SIDE].recorder = recorder
    return recorder


class _Side:
    """One side's end of the channel, and what its present case has left so far."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._broken: dict[str, str] = {}
        affinity = getattr(os, "sched_getaffinity", None)
        self._cores: set[int] = affinity(0) if affinity else set()
        self._begin_case()

    def _begin_case(self) -> None:
        self._watch = Stopwatch()
        self._allowed, self._done = 0, 0
        self._span: Span | None = None
        self._wait_for_device: Callable[[], None] | None = None
        self._outcome, self._why = "passed", ""
        self.recorder: Recorder | None = None

    def ask(self, message: Message) -> Message:
        """Say what was done, and return what to do next."""
        send(self._connection, message)
        try:
            return receive(self._connection)
        except EOFError:
            # The comparison is over, or was killed: nobody reads what comes now.
            os._exit(0)

    # Collecting

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            lines = str(report.longrepr).strip().splitlines()
            errors = [x for x in lines if x.startswith("E ")] or lines[-1:]
            why = errors[-1].removeprefix("E ").strip() if errors else "no reason"
            self._broken[report.nodeid] = why

    # trylast: after whatever deselects.
    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        timed = {"benchmark", "record"}
        items = {
            item.nodeid: item
            for item in session.items
            if timed & set(getattr(item, "fixturenames", ()))
        }
        reply = self.ask(
            {
                "collected": list(items),
                "others": len(session.items) - len(items),
                "broken": self._broken,
                "rootdir": str(session.config.rootpath),
                "python": sys.version.split()[0],
                "cores": sorted(self._cores),
            }
        )
        session.items[:] = [items[case] for case in reply["run"]]

    # Running

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(
        self, item: pytest.Item
    ) -> Generator[None, object, object]:
        self.ask({"at": item.nodeid})
        self._begin_case()
        result = yield
        left = self.recorder and self.recorder.snapshot("passed")
        self.ask(
            {
                "finished": item.nodeid,
                "outcome": self._outcome,
                "why": self._why,
                "record": left and record_to_json(left),
                # Asked again: a case without blocks has not asked yet.
                "device": (self._wait_for_device or devices.waiting()) is not None,
            }
        )
        return result

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed or (report.skipped and self._outcome == "passed"):
            self._outcome = "failed" if report.failed else "skipped"
            self._why = _reason(report)

    def pytest_sessionfinish(self) -> None:
        self.ask({"loaded": _loaded_files(), "versions": _versions()})

    # Measuring: a block is as many calls, or rounds, as the comparison asks for.

    def begin(self, mode: str, *, rounds: int | None = None) -> int:
        """Return how many calls or rounds to run before the next question."""
        self._wait_for_device = devices.waiting()
        self._allowed = self._next({"ready": mode, "left": rounds})
        return self._allowed

    def block(self, work: Callable[[], _Result], *, count: int) -> tuple[_Result, int]:
        """Measure a block; return its result and the number for the next one."""
        result, span = self._measured(work)
        return result, self._report(span, count, left=None)

    def round(self, work: Callable[[], _Result], *, left: int) -> _Result:
        """Measure one round, after which `left` are left."""
        result, span = self._measured(work)
        self._span = span if self._span is None else self._span + span
        self._done += 1
        if self._done >= self._allowed or left == 0:
            done, self._done = self._done, 0
            whole, self._span = self._span, None
            self._allowed = self._report(whole, done, left=left)
        return result

    def _measured(self, work: Callable[[], _Result]) -> tuple[_Result, Span]:
        self._watch.start()
        result = work()
        if self._wait_for_device is not None:
            self._wait_for_device()
        return result, self._watch.stop()

    def _report(self, span: Span, count: int, *, left: int | None) -> int:
        block = {"wall": span.wall, "cpu": span.cpu, "own": span.own, "all": span.all}
        return self._next({"block": block, "count": count, "left": left})

    def _next(self, message: Message) -> int:
        """Say what was done; return how many calls or rounds come next, and where."""
        reply = self.ask(message)
        if self._cores:
            # Of this thread alone: those that a case starts inherit it, which is why
            # only cases that have no others are kept on one core.
            core = reply.get("core")
            os.sched_setaffinity(0, self._cores if core is None else {core})
        return int(reply["n"])


_SIDE = pytest.StashKey[_Side]()


def _measure_benchmarks(side: _Side) -> None:
    """Let the fixture of pytest-benchmark work in blocks.

    Its options, arguments and results stay its own. `benchmark(f)` calls `f` as often
    as the comparison asks instead of calibrating; `benchmark.pedantic` runs exactly
    its rounds, as what it calls may count them.
    """
    from pytest_benchmark.fixture import BenchmarkFixture

    fixture: Any = BenchmarkFixture
    make_runner = fixture._make_runner  # noqa: SLF001 - see above
    run_pedantic = fixture._raw_pedantic  # noqa: SLF001

    def raw(self: Any, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        runner = make_runner(self, function, args, kwargs)
        stats = self._make_stats(1)
        count = side.begin("calls")
        while count:
            block = partial(runner, range(count))
            seconds, following = side.block(block, count=count)
            stats.update(seconds / count)
            count = following
        return function(*args, **kwargs)

    def pedantic(self: Any, target: Callable[..., Any], **options: Any) -> Any:
        rounds = options.get("warmup_rounds", 0) + options.get("rounds", 1)
        self._tlbench_left = rounds
        side.begin("rounds", rounds=rounds)
        return run_pedantic(self, target, **options)

    def runner_of(self: Any, *args: Any) -> Callable[..., Any]:
        runner = make_runner(self, *args)

        def one_round(*loops: Any) -> Any:
            self._tlbench_left -= 1
            return side.round(partial(runner, *loops), left=self._tlbench_left)

        return one_round

    fixture._raw = raw  # noqa: SLF001
    fixture._raw_pedantic = pedantic  # noqa: SLF001
    fixture._make_runner = runner_of  # noqa: SLF001


def _reason(report: pytest.TestReport) -> str:
    if report.skipped and isinstance(report.longrepr, tuple):
        return str(report.longrepr[2])
    lines = report.longreprtext.strip().splitlines()
    errors = [line for line in lines if line.startswith("E ")] or lines[-1:]
    return errors[0].removeprefix("E ").strip() if errors else report.outcome


def _loaded_files() -> Sequence[str]:
    """Return the files of all loaded modules."""
    modules = list(sys.modules.values())
    files = {getattr(module, "__file__", None) for module in modules}
    return sorted(str(Path(file).resolve()) for file in files if file)


def _versions() -> dict[str, str]:
    """Return the installed distributions with their versions."""
    found = metadata.distributions()
    return {one.metadata["Name"]: one.version for one in found if one.metadata["Name"]}
