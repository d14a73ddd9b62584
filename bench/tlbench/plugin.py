"""The pytest side: options, the fixture `record`, and hooks that delegate.

Owns what only pytest knows: when and how a case ends. The bookkeeping is in `session`.
Of the other modules only `interface` and `pairing.worker` import pytest. A session in
which no case uses `record` is left alone, unless `--tl-results` is given: then every
case that uses the fixture `benchmark` is recorded.
"""

import argparse
import json
import os
import shlex
from collections.abc import Generator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import pytest

from tlbench import interface
from tlbench.benchmark_fixture import (
    keep_iterations,
    measure_processor_time,
    owner,
    switch,
    timed,
)
from tlbench.characters import visible
from tlbench.invocation import handed_on
from tlbench.options import Options
from tlbench.record import CaseRecord, Outcome, record_from_json, record_to_json
from tlbench.recorder import BENCHMARK, Recorder, version_of
from tlbench.session import Ending, Session
from tlbench.suite_root import renamed, suite_root
from tlbench.unrecorded import Use

_PARCEL = "tlbench-record"
"""The key of everything that travels between the processes of pytest-xdist."""

_RECORD = "tlbench_record"
"""The attribute of a report that carries the record within one process."""

# Results that could not be written end even an ungated session with an error: nobody
# could accept or compare what it found.
_STATUS: Mapping[Ending, pytest.ExitCode] = {
    "passed": pytest.ExitCode.OK,
    "findings": pytest.ExitCode.TESTS_FAILED,
    "unwritten": pytest.ExitCode.USAGE_ERROR,
}


class _Worker(Protocol):
    """The part of a pytest-xdist worker that is used in the controlling process."""

    workerinput: dict[str, str]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of the group `tlbench`."""
    interface.add_options(parser)


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Add the hooks that suites may implement."""
    pluginmanager.add_hookspecs(interface.Specification)


def pytest_configure(config: pytest.Config) -> None:
    """Start watching the session."""
    # In the stash for the fixture, registered for the hooks: one object is both.
    config.stash[_HOOKS] = hooks = _Hooks(config)
    config.pluginmanager.register(hooks, "tlbench-session")


@pytest.fixture
def record(request: pytest.FixtureRequest) -> Recorder:
    """Record the exact values, costs, metrics, timings and memory of this case."""
    request.config.stash[_HOOKS].load()
    recorder = _recorder(request.node)
    request.node.stash[_RECORDER] = recorder
    return recorder


class _Hooks:
    """The hooks of one session, in each of its processes."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._session = Session(
            _options(config),
            identity=self._identity,
            versions={"pytest": pytest.__version__},
            say=self._say,
        )

    def load(self) -> None:
        """Read the baselines, once; UsageError if they cannot be used."""
        try:
            if self._worker is None:
                self._session.load()
            else:
                self._session.load_parcel(self._worker[_PARCEL])
        except (ValueError, OSError) as error:
            raise pytest.UsageError(visible(error, lines=True)) from None

    @property
    def _worker(self) -> dict[str, str] | None:
        """What the controlling process gave this worker; None if it is not a worker."""
        return getattr(self._config, "workerinput", None)

    def _identity(self) -> dict[str, Any]:
        # Several conftests may know something; the hook returns one answer of each.
        extra: dict[str, Any] = {}
        for known in self._config.hook.pytest_tlbench_identity(config=self._config):
            extra |= known
        return extra

    def _say(self, sentence: str) -> None:
        # None under `-p no:terminal`, for instance inside an IDE.
        reporter = self._config.pluginmanager.get_plugin("terminalreporter")
        if reporter is not None:
            reporter.ensure_newline()
            reporter.write_line(visible(f"tlbench: {sentence}", lines=True))

    def _named(self, node: str) -> str:
        return renamed(node, self._config.rootpath, self._session.options.root)

    # Collecting

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self) -> None:
        # The controlling process collects nothing, so it cannot know whether a case
        # will record; it must refuse bad baselines before there are workers.
        if self._config.pluginmanager.hasplugin("dsession"):
            self.load()

    def pytest_itemcollected(self, item: pytest.Item) -> None:
        # Taken early: pytest-xdist may append the name of a group to the node id.
        item.stash[_CASE] = case = self._named(item.nodeid)
        self._session.inventory.cases.add(case)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        inventory = self._session.inventory
        files = inventory.skipped if report.skipped else inventory.files
        files.add(self._named(report.nodeid))

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        options = self._session.options
        fixtures = {"record", "benchmark"} if options.takes_all else {"record"}
        recording = any(fixtures & _fixtures(item) for item in session.items)
        # Only now: a damaged baseline must not stop sessions that record nothing.
        if recording or options.gate:
            self.load()
        self._session.uses.choose(
            {_case(item): _use(item) for item in session.items},
            collected=len(self._session.inventory.cases),
        )
        if session.testsfailed:
            return  # after an error in collecting, a missing case proves nothing
        start = self._config.invocation_params.dir
        self._session.take_inventory(
            map(_case, session.items),
            searched=[(start / arg).resolve() for arg in self._config.args],
            # Under --last-failed a file that is reported may have been narrowed.
            narrowed=self._config.getoption("lf", default=False),
        )
        output = getattr(self._config, "workeroutput", None)
        if output is not None:
            output[_PARCEL] = self._session.found()

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(
        self, fixturedef: "pytest.FixtureDef[object]", request: pytest.FixtureRequest
    ) -> Generator[None, object, object]:
        fixture = yield
        if fixturedef.argname == BENCHMARK and isinstance(request.node, pytest.Item):
            # Also if the case asks for it late, by `request.getfixturevalue`.
            request.node.stash[_BENCHMARK] = fixture
            self._prepare(fixture, request.node)
        return fixture

    def _prepare(self, fixture: object, item: pytest.Item) -> None:
        """Have a case measured by both clocks, and keep its number of iterations."""
        takes = self._session.options.takes_all or "record" in _fixtures(item)
        if not takes or self._worker is not None:
            return
        self.load()

        def known() -> int | None:
            # As late as this, because the case may set its version itself.
            recorder = item.stash.get(_RECORDER, None) or _recorder(item)
            version = recorder.snapshot("passed").version
            return self._session.iterations(_case(item), version)

        known()  # so that what it reads is read before the clock runs
        keep_iterations(fixture, known)
        measure_processor_time(fixture)

    # Running: judge exact values at the end of the call, and send the record along.

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, object, object]:
        try:
            result = yield
            self._take_benchmark(item)
        finally:
            # Whatever a fixture recorded later, in its teardown, would not be judged.
            recorder = item.stash.get(_RECORDER, None)
            if recorder:
                recorder.close()
        if recorder:
            wrong = self._session.differences(recorder.snapshot("passed"))
            if wrong:
                regression = pytest.fail.Exception(
                    f"{visible('; '.join(wrong))}\nin {visible(recorder.case)}, "
                    "compared with its accepted baseline. If the change is intended: "
                    f"{self._session.options.remedy}",
                    pytrace=False,  # which would show this file, not the case
                )
                item.stash[_REGRESSION] = regression
                raise regression
        return result

    def _take_benchmark(self, item: pytest.Item) -> None:
        """Record what the fixture `benchmark` timed, unless the case did so itself."""
        found = timed(item.stash.get(_BENCHMARK, None))
        recorder = item.stash.get(_RECORDER, None)
        takes_all = self._session.options.takes_all
        if found is None or (recorder is None and not takes_all):
            return
        if recorder is None:
            self.load()
            recorder = item.stash[_RECORDER] = _recorder(item)
        if not recorder.has_timings:
            recorder.timing(
                BENCHMARK,
                found.seconds,
                warmup=0,
                iterations=found.iterations,
                timer=found.timer,
            )
            if found.metered and found.metered.cpu > 0:
                recorder.metered(
                    BENCHMARK,
                    cpu=found.metered.cpu,
                    clocks=found.metered.clocks,
                )

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        recorder = item.stash.get(_RECORDER, None)
        if recorder is None and self._session.has_baseline(_case(item)):
            # A case with a baseline that no longer records anything: without a record
            # it would read as a case that did not run.
            recorder = _recorder(item)
        # The setup and teardown of a case add nothing unless they fail.
        if recorder and (report.when == "call" or not report.passed):
            # A failure until the finished report says otherwise: other plugins may
            # still change the outcome.
            regression = item.stash.get(_REGRESSION, None)
            own = regression and call.excinfo and call.excinfo.value is regression
            self._attach(report, recorder.snapshot("regression" if own else "failed"))
        if report.when == "teardown" and _RECORDER in item.stash:
            del item.stash[_RECORDER]
        return report

    def _attach(self, report: pytest.TestReport, left: CaseRecord) -> None:
        """Attach a record to a report; as JSON if it leaves this process."""
        # execnet carries a report to the controlling process as plain values; an object
        # would not get through. Tied to the report, not to the order of reports:
        # plugins that retry a case make all its reports first and log them later.
        if self._worker is None:
            setattr(report, _RECORD, left)
        else:
            parcel = json.dumps({"case": left.case, **record_to_json(left)})
            report.user_properties.append((_PARCEL, parcel))

    # trylast: pytest fails a case for its failed subtests only while reporting it.
    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "setup":  # also the start of another attempt
            self._session.begin(report.nodeid)
        self._session.uses.end(self._named(report.nodeid), report.outcome)
        for left in _attached(report):
            outcome = _outcome(report, left.outcome)
            self._session.take(report.nodeid, replace(left, outcome=outcome))

    # pytest-xdist: baselines to the workers, inventories back.

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: _Worker) -> None:
        node.workerinput[_PARCEL] = self._session.parcel()

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: _Worker) -> None:
        # A worker that crashed has no output. Every worker collects all cases, so that
        # those it did not finish are missed by the inventories of the others.
        output = getattr(node, "workeroutput", {})
        if _PARCEL in output:
            self._session.add_found(output[_PARCEL])

    # Ending

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self._worker is not None or self._config.getoption("collectonly"):
            return
        status = _STATUS[self._session.finish()]
        # A failed case, an interruption or an internal error says more. That nothing
        # was collected is a finding of the gate itself.
        weaker = {pytest.ExitCode.OK}
        if status == pytest.ExitCode.TESTS_FAILED:
            weaker.add(pytest.ExitCode.NO_TESTS_COLLECTED)
        if session.exitstatus in weaker:
            session.exitstatus = status

    def pytest_terminal_summary(
        self,
        terminalreporter: "pytest.TerminalReporter",  # a public name since pytest 8.4
    ) -> None:
        if self._session.has_verdicts:
            terminalreporter.write_sep("=", "tlbench")
        for line, colour in self._session.lines():
            terminalreporter.write_line(visible(line, lines=True), **colour)


_HOOKS = pytest.StashKey[_Hooks]()
_CASE = pytest.StashKey[str]()
_BENCHMARK = pytest.StashKey[object]()
_RECORDER = pytest.StashKey[Recorder]()
_REGRESSION = pytest.StashKey[BaseException]()


def _options(config: pytest.Config) -> Options:
    """Return the options of a session, with folders relative to where it started."""
    start = config.invocation_params.dir
    results = config.getoption("--tl-results")
    report, records = config.getoption("--tl-report"), config.getoption("--tl-records")
    repeat = config.getoption("--tl-repeat")
    root = _root(config)
    folder = start / results if results else root / "results"
    return Options(
        root=root,
        results=folder,
        folder=os.path.relpath(folder, start),
        takes_all=bool(results),
        switch=switch(config),
        gate=config.getoption("--tl-gate"),
        save=config.getoption("--tl-save"),
        confirm=config.getoption("--tl-confirm"),
        report=start / report if report else None,
        records=Path(records) if records else None,
        repeat=Path(repeat) if repeat else None,
        start=start,
        again=_again(config, root) if config.getoption("--tl-confirm") else (),
        handed_on=_handed_on(config) if config.getoption("--tl-gate") else (),
        install=config.getoption("--tl-install"),
        unknown=config.getoption("--tl-unknown"),
        base=config.getoption("--tl-base"),
    )


def _root(config: pytest.Config) -> Path:
    """Return the folder that the names of cases are relative to."""
    if config.inipath is not None or config.getoption("rootdir"):
        return config.rootpath
    return suite_root(config.invocation_params.dir, config.args)


def _handed_on(config: pytest.Config) -> tuple[str, ...]:
    """Return the session's own options, which another process of it gets too."""
    # In pytest's own order. Those of the suite and of the environment are given with
    # the others and not read once more: a `-k` or `-n 2` there would meet the case too.
    words = [
        *config.getini("addopts"),
        *shlex.split(os.environ.get("PYTEST_ADDOPTS", "")),
        *map(str, config.invocation_params.args),
    ]
    return handed_on(words, _parser(config))


def _again(config: pytest.Config, root: Path) -> tuple[str, ...]:
    """Return the options for pytest that run a case of this session again."""
    options = [*_handed_on(config), "-o", "addopts="]
    options += ["--rootdir", str(root)]
    if config.inipath is not None:
        options += ["-c", str(config.inipath)]
    if config.pluginmanager.hasplugin("xdist"):
        options += ["-n", "0"]
    if config.pluginmanager.hasplugin("pytest_cov"):
        options += ["--cov-report="]
    return tuple(options)


def _parser(config: pytest.Config) -> argparse.ArgumentParser:
    """Return the parser that knows the options of all plugins."""
    parser: Any = config._parser  # noqa: SLF001 - no public name leads to it
    # Built at each parse before pytest 9.
    found: argparse.ArgumentParser = (
        parser.optparser if hasattr(parser, "optparser") else parser._getparser()  # noqa: SLF001
    )
    return found


def _use(item: pytest.Item) -> Use:
    """Return what a case uses of the fixtures that record."""
    names = _fixtures(item)
    return Use(
        record="record" in names, benchmark=BENCHMARK in names, owner=owner(item)
    )


def _fixtures(item: pytest.Item) -> set[str]:
    return set(getattr(item, "fixturenames", ()))


def _case(item: pytest.Item) -> str:
    return item.stash.get(_CASE, item.nodeid)


def _recorder(item: pytest.Item) -> Recorder:
    return Recorder(_case(item), version_of(getattr(item, "function", None)))


def _attached(report: pytest.TestReport) -> list[CaseRecord]:
    """Return the record that a report carries, from this process or another."""
    parcels = [x for name, x in report.user_properties if name == _PARCEL]
    documents = [json.loads(str(parcel)) for parcel in parcels]
    left = [record_from_json(one["case"], one) for one in documents]
    own = getattr(report, _RECORD, None)
    return left if own is None else [*left, own]


def _outcome(report: pytest.TestReport, failure: Outcome) -> Outcome:
    """Return the outcome of a finished report, `failure` if it failed."""
    if report.passed:
        return "passed"
    # A failed case with an xfail mark is reported as skipped.
    if report.skipped:
        return "xfailed" if hasattr(report, "wasxfail") else "skipped"
    return failure
