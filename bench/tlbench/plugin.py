"""The pytest side: options, the fixture `record`, hooks and the summary.

Owns when a case is judged (exact values and costs at the end of its call, figures at
the end of the session), which baseline cases a session should have met, what travels
from pytest-xdist workers, and what is written at the end. It is the only importer of
pytest. A session in which no case asks for `record` is left alone, unless it was told
`--tl-results`: then every case that uses the fixture `benchmark` is timed by it.
"""

import json
import os
import platform
import secrets
import shlex
from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol

import pytest

from tlbench import baseline, confirmation, machine
from tlbench.record import CaseRecord, Outcome, record_from_json, record_to_json
from tlbench.recorder import Recorder, version_of
from tlbench.reporting import report, summary
from tlbench.storage import history
from tlbench.storage.baselines import (
    Baselines,
    accepted_json,
    accepted_path,
    parse_accepted,
    read_accepted,
)
from tlbench.storage.last_run import LastRun, last_run_path, write_run
from tlbench.storage.machines import write_machine
from tlbench.verdicts import verdict
from tlbench.verdicts.exact import differences
from tlbench.verdicts.figures import Accepted, Figures
from tlbench.verdicts.judge import judge, suspects

# The name under which records travel in reports, and baselines and inventories
# between the processes of pytest-xdist.
_PARCEL = "tlbench-record"


class _Worker(Protocol):
    """What is used of a pytest-xdist worker, seen from the controlling process."""

    workerinput: dict[str, str]


class Hooks:
    """The hooks that suites may implement."""

    @pytest.hookspec
    def pytest_tlbench_identity(self, config: pytest.Config) -> Mapping[str, Any]:
        """Return what else must match for the figures of two runs to be compared."""
        raise NotImplementedError


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of the group `tlbench`."""
    group = parser.getgroup("tlbench", "recorded values and their baselines (tlbench)")
    group.addoption(
        "--tl-results",
        metavar="DIR",
        help="folder of the baselines (default: results, in the rootdir); every case "
        "that uses the fixture benchmark is recorded",
    )
    group.addoption(
        "--tl-gate",
        action="store_true",
        help="a finding, such as a case without a baseline, makes the session fail",
    )
    group.addoption(
        "--tl-save",
        action="store_true",
        help="append this run to the history of the machine",
    )
    group.addoption(
        "--tl-confirm",
        metavar="N",
        type=_times,
        default=0,
        help="run a case that looks worse N times again in fresh processes, and judge "
        "it by those (default: 0)",
    )
    group.addoption(
        "--tl-report",
        metavar="DIR",
        help="write report.html and report.md there",
    )
    group.addoption("--tl-records", metavar="FILE", help="for tlbench itself")


def _times(text: str) -> int:
    if not text.isdigit():
        raise ValueError(f"--tl-confirm must be 0 or more. Received: {text!r}.")
    return int(text)


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Add the hooks that suites may implement."""
    pluginmanager.add_hookspecs(Hooks)


def pytest_configure(config: pytest.Config) -> None:
    """Start watching the session."""
    config.stash[_BENCH] = bench = _Bench(config)
    config.pluginmanager.register(bench, "tlbench-session")


@pytest.fixture
def record(request: pytest.FixtureRequest) -> Recorder:
    """Take the exact values, costs, metrics, timings and memory of this case."""
    request.config.stash[_BENCH].load()
    recorder = Recorder(_case(request.node), _version(request.node))
    request.node.stash[_RECORDER] = recorder
    return recorder


class _Bench:
    """Gathers what the cases of one session recorded, and judges it.

    With pytest-xdist there is one in each worker, which judges exact values and tells
    which cases it collected, and one in the controlling process, which does the rest.
    """

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.version = metadata.version("tlcore")  # the distribution tlbench is in
        given, here = config.getoption("--tl-results"), config.invocation_params.dir
        self.results = here / given if given else config.rootpath / "results"
        self.takes_all = bool(given)
        self.remedy = "tlbench accept --reason TEXT"
        folder = os.path.relpath(self.results, here)
        if folder != "results":
            self.remedy += f" --results {shlex.quote(folder)}"
        self.baselines: Baselines | None = None
        # What exact values and costs are compared with, and what figures are too.
        self.accepted = Accepted()
        self.collected_files: set[str] = set()
        self.skipped_files: set[str] = set()
        self.collected_cases: set[str] = set()
        # Baseline cases that the session should have met, and those it proved gone.
        self.chosen: set[str] = set()
        self.gone: set[str] = set()
        self.records: dict[str, CaseRecord] = {}
        self.failed: set[str] = set()
        self.cases: Sequence[verdict.Case] = ()
        self.notes: list[str] = []
        self.context: machine.Context = {}

    @property
    def worker(self) -> dict[str, str] | None:
        """What the controlling process gave this worker; None if this is no worker."""
        return getattr(self.config, "workerinput", None)

    @cached_property
    def _ask(self) -> machine.Query | None:
        return machine.nvidia_smi()

    @cached_property
    def here(self) -> baseline.Machine:
        """The machine, with what the suites know of it."""
        extra: dict[str, Any] = {}
        for told in self.config.hook.pytest_tlbench_identity(config=self.config):
            extra |= told
        found = machine.identity(extra, ask=self._ask)
        return baseline.Machine.of(found)

    def load(self) -> None:
        """Read the baselines, once; UsageError if they cannot be used."""
        if self.baselines is not None:
            return
        try:
            if self.worker is None:
                self.baselines = read_accepted(self.results)
                self.accepted = baseline.gather(self.results, self.here, self.baselines)
                self.context = machine.context(ask=self._ask)
            else:
                path = accepted_path(self.results)
                parcel = json.loads(self.worker[_PARCEL])
                content = json.dumps(parcel["accepted"]).encode()
                self.baselines = parse_accepted(content, path)
                self.accepted = baseline.judged(self.baselines, parcel["versions"])
                self.accepted = replace(
                    self.accepted,
                    figures={case: Figures(version="") for case in parcel["figures"]},
                )
        except (ValueError, OSError) as error:
            raise pytest.UsageError(str(error)) from None

    def has_baseline(self, case: str) -> bool:
        """Tell whether anything was accepted of a case."""
        return case in self.accepted.cases

    # Collecting: which baseline cases should this session meet?

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self) -> None:
        # The controlling process collects nothing, so it cannot know whether a case
        # will record; it must refuse bad baselines before there are workers.
        if self.config.pluginmanager.hasplugin("dsession"):
            self.load()

    def pytest_itemcollected(self, item: pytest.Item) -> None:
        # Taken early: pytest-xdist may append the name of a group to the node id.
        item.stash[_CASE] = item.nodeid
        self.collected_cases.add(item.nodeid)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        files = self.skipped_files if report.skipped else self.collected_files
        files.add(report.nodeid)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        recorded = {"record", "benchmark"} if self.takes_all else {"record"}
        recording = any(
            recorded & set(getattr(item, "fixturenames", ())) for item in session.items
        )
        if recording or self.config.getoption("--tl-gate"):
            self.load()
        if session.testsfailed:
            return  # an error while collecting fails the session and proves nothing
        known = self.accepted.cases
        self.chosen = known & {_case(item) for item in session.items}
        self.chosen |= {case for case in known if _file(case) in self.skipped_files}
        self.gone = {case for case in known if self._is_gone(case)}
        output = getattr(self.config, "workeroutput", None)
        if output is not None:
            inventory = {"chosen": sorted(self.chosen), "gone": sorted(self.gone)}
            output[_PARCEL] = json.dumps(inventory)

    def _is_gone(self, case: str) -> bool:
        """Tell whether the session looked through the case's file and did not find it.

        pytest reports a file as collected when it collects all of it, not when a node
        id on the command line narrows it to some cases. Under --last-failed, a file
        that is reported may have been narrowed all the same.
        """
        if case in self.collected_cases or self.config.getoption("lf", default=False):
            return False
        if _file(case) in self.collected_files:
            return True
        path = (self.config.rootpath / _file(case)).resolve()
        here = self.config.invocation_params.dir
        asked = any((here / arg).resolve() in path.parents for arg in self.config.args)
        return asked and not path.exists()

    # Running: judge exact values at the end of the call, and send the record along.

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, object, object]:
        try:
            result = yield
            self._take_benchmark(item)
        finally:
            recorder = item.stash.get(_RECORDER, None)
            if recorder:
                recorder.close()
        if recorder:
            wrong = self._differences(recorder.snapshot("passed"))
            if wrong:
                regression = pytest.fail.Exception(
                    f"{'; '.join(wrong)}\nin {recorder.case}, against the accepted "
                    f"baseline. If the change is meant: {self.remedy}",
                    pytrace=False,
                )
                item.stash[_REGRESSION] = regression
                raise regression
        return result

    def _take_benchmark(self, item: pytest.Item) -> None:
        """Record what the fixture `benchmark` timed, unless the case did so itself."""
        fixture = getattr(item, "funcargs", {}).get("benchmark")
        stats = getattr(getattr(fixture, "stats", None), "stats", None)
        recorder = item.stash.get(_RECORDER, None)
        if stats is None or not stats.data or (recorder is None and not self.takes_all):
            return
        if recorder is None:
            self.load()
            recorder = Recorder(_case(item), _version(item))
            item.stash[_RECORDER] = recorder
        if not recorder.has_timings:
            recorder.timing("benchmark", stats.data, warmup=0)

    def _differences(self, record: CaseRecord) -> tuple[str, ...]:
        costs = self.accepted.costs.get(record.case, {}).get(self.accepted.versions)
        return (
            *differences(record.exact, self.accepted.exact.get(record.case)),
            *differences(record.costs, costs),
        )

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        case = _case(item)
        recorder = item.stash.get(_RECORDER, None)
        if recorder is None and self.has_baseline(case):
            # A case with a baseline that records nothing.
            recorder = Recorder(case, _version(item))
        if recorder and (report.when == "call" or not report.passed):
            # Failed until the finished report says otherwise.
            regression = item.stash.get(_REGRESSION, None)
            own = regression and call.excinfo and call.excinfo.value is regression
            left = recorder.snapshot("regression" if own else "failed")
            parcel = {"case": case, **record_to_json(left)}
            report.user_properties.append((_PARCEL, json.dumps(parcel)))
        if report.when == "teardown" and _RECORDER in item.stash:
            del item.stash[_RECORDER]
        return report

    # trylast: pytest fails a case for its failed subtests only while reporting it.
    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "setup":  # also the start of another attempt
            self.failed.discard(report.nodeid)
        for name, parcel in report.user_properties:
            if name != _PARCEL:
                continue
            data = json.loads(str(parcel))
            left = record_from_json(data["case"], data)
            outcome = _outcome(report, left.outcome)
            if outcome == "failed":
                self.failed.add(report.nodeid)
            if report.nodeid in self.failed:
                outcome = "failed"
            self.records[left.case] = replace(left, outcome=outcome)

    # pytest-xdist: baselines to the workers, inventories back.

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: _Worker) -> None:
        parcel = {
            "accepted": json.loads(accepted_json(self.baselines or Baselines())),
            "figures": sorted(self.accepted.figures),
            "versions": self.accepted.versions,
        }
        node.workerinput[_PARCEL] = json.dumps(parcel)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: _Worker) -> None:
        output = getattr(node, "workeroutput", {})
        if _PARCEL in output:
            inventory = json.loads(output[_PARCEL])
            self.chosen.update(inventory["chosen"])
            self.gone.update(inventory["gone"])

    # Ending: judge, run suspects again, write, print.

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.worker is not None or self.config.getoption("collectonly"):
            return
        records = self.config.getoption("--tl-records")
        if records:
            write_run(Path(records), self._run())
            return
        if not (self.records or self.gone or self.chosen):
            return
        self.cases = self._judge()
        status = pytest.ExitCode.OK
        if self.config.getoption("--tl-gate") and self._has_findings():
            status = pytest.ExitCode.TESTS_FAILED
        try:
            self._write()
        except (OSError, ValueError) as error:
            self.notes.append(f"the results could not be written: {error}")
            status = pytest.ExitCode.USAGE_ERROR
        if session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = status

    def _judge(self) -> Sequence[verdict.Case]:
        cases = judge(self.records, self.accepted)
        suspected = suspects(cases)
        times = self.config.getoption("--tl-confirm")
        if suspected and times:
            again = confirmation.run_again(
                suspected,
                times=times,
                folder=self.config.rootpath,
                options=self._options_again(),
                say=self._say,
            )
            cases = judge(self.records, self.accepted, again)
        missing = [
            verdict.absent(case, "the case did not run")
            for case in self.chosen - set(self.records)
        ]
        missing += [
            verdict.absent(case, f"its file has no such case{self._renamed(case)}")
            for case in self.gone
        ]
        return sorted([*cases, *missing], key=lambda case: case.case)

    def _renamed(self, gone: str) -> str:
        """Say which new case left the same values as one that is gone, if one did."""
        exact = self.accepted.exact.get(gone)
        alike = [
            case
            for case, record in self.records.items()
            if exact and not self.has_baseline(case) and record.exact == exact
        ]
        if len(alike) != 1:
            return ""
        words = f"--alias {shlex.quote(gone)} {shlex.quote(alike[0])}"
        return f"; if it was renamed: {self.remedy} {words}"

    def _options_again(self) -> list[str]:
        """Return what pytest must be told to run a case of this session again."""
        options = ["--rootdir", str(self.config.rootpath)]
        options += ["--tl-results", str(self.results)] if self.takes_all else []
        if self.config.inipath is not None:
            options += ["-c", str(self.config.inipath)]
        options += ["-m", self.config.getoption("markexpr", default="")]
        if self.config.pluginmanager.hasplugin("xdist"):
            options += ["-n", "0"]
        return options

    def _say(self, sentence: str) -> None:
        reporter = self.config.pluginmanager.get_plugin("terminalreporter")
        if reporter is not None:
            reporter.ensure_newline()
            reporter.write_line(f"tlbench: {sentence}")

    def _has_findings(self) -> bool:
        return any(
            verdict.is_finding(finding.verdict)
            for case in self.cases
            for finding in case.findings
        )

    def _write(self) -> None:
        run = self._run()
        if self.records or self.gone:
            write_run(last_run_path(self.results), run)
        if self.config.getoption("--tl-save"):
            write_machine(self.results, self.here.name, self.here.identity)
            history.append(
                history.history_path(self.results, self.here.name), self._entries(run)
            )
        folder = self.config.getoption("--tl-report")
        if folder:
            path = self.config.invocation_params.dir / folder
            self.notes.append(f"the report: {report.write(self.results, path)}")

    def _entries(self, run: LastRun) -> list[history.Entry]:
        commit = machine.commit(self.config.rootpath)
        return [
            history.Entry(
                run=run.run,
                when=run.when,
                record=history.rounded(case.record),
                verdict=case.verdict,
                structure=history.structure_of(case.record),
                commit=commit,
                context=self.context,
            )
            for case in self.cases
            if case.record is not None
        ]

    @cached_property
    def _name(self) -> tuple[str, str]:
        """The name of this run and its end, in ISO 8601."""
        now = datetime.now(UTC)
        name = f"{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
        return name, now.isoformat(timespec="seconds")

    def _run(self) -> LastRun:
        name, when = self._name
        return LastRun(
            when=when,
            versions={
                "python": platform.python_version(),
                "pytest": pytest.__version__,
                "tlbench": self.version,
                **self.here.identity["frameworks"],
            },
            cases=self.records,
            gone=tuple(sorted(self.gone)),
            run=name,
            machine=self.here.name,
            frameworks=self.here.versions,
            verdicts={case.case: verdict.to_json(case) for case in self.cases},
        )

    def pytest_terminal_summary(
        self,
        terminalreporter: "pytest.TerminalReporter",  # a public name since pytest 8.4
    ) -> None:
        if self.cases:
            terminalreporter.write_sep("=", "tlbench")
            for line, colour in summary.table(self.cases):
                terminalreporter.write_line(line, **colour)
            found = [*summary.findings(self.cases), *summary.blind(self.cases)]
            if found:
                terminalreporter.write_line("")
            for line, colour in found:
                terminalreporter.write_line(line, **colour)
            terminalreporter.write_line(summary.count(self.cases))
            if self._has_findings():
                terminalreporter.write_line(f"to accept: {self.remedy}")
                if self.config.getoption("--tl-gate"):
                    terminalreporter.write_line(
                        "--tl-gate: a finding fails the session"
                    )
        for note in self.notes:
            terminalreporter.write_line(note, bold=True)


_BENCH = pytest.StashKey[_Bench]()
_CASE = pytest.StashKey[str]()
_RECORDER = pytest.StashKey[Recorder]()
_REGRESSION = pytest.StashKey[BaseException]()


def _case(item: pytest.Item) -> str:
    return item.stash.get(_CASE, item.nodeid)


def _file(case: str) -> str:
    return case.partition("::")[0]


def _outcome(report: pytest.TestReport, failure: Outcome) -> Outcome:
    """Give the outcome that a finished report tells, `failure` if it is a failure."""
    if report.passed:
        return "passed"
    if report.skipped:
        return "xfailed" if hasattr(report, "wasxfail") else "skipped"
    return failure


def _version(item: pytest.Item) -> str:
    return version_of(getattr(item, "function", None))
