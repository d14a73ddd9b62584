"""The pytest side: options, the fixture `record`, hooks and the summary.

Owns when a case is judged (at the end of its call), which baseline cases a session
should have met, what travels from pytest-xdist workers, and the words printed. It is
the only importer of pytest. What a record is and how it compares is `record`; the files
are `store`. A session in which no case asks for `record` is left alone.
"""

import json
import os
import platform
import shlex
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib import metadata
from itertools import zip_longest
from typing import Protocol

import pytest

from tlbench import store
from tlbench.record import (
    CaseRecord,
    Comparison,
    Exact,
    Finding,
    Metric,
    Outcome,
    Recorder,
    Timing,
    Verdict,
    compare,
    differences,
    findings,
    record_from_json,
    record_to_json,
    verdict_of,
)

# The name under which records travel in reports, and baselines and inventories
# between the processes of pytest-xdist.
_PARCEL = "tlbench-record"

_HEADINGS = ("case", "exact", "metrics", "median", "verdict")
_COLOURS: Mapping[Verdict, dict[str, bool]] = {
    "pass": {"green": True},
    "regression": {"red": True},
    "missing": {"yellow": True},
}


class _Worker(Protocol):
    """What is used of a pytest-xdist worker, seen from the controlling process."""

    workerinput: dict[str, str]


@dataclass(frozen=True)
class _Row:
    """One case in the summary; without a record, a baseline case that left none."""

    case: str
    findings: tuple[Finding, ...]
    record: CaseRecord | None = None
    comparison: Comparison | None = None

    @property
    def verdict(self) -> Verdict:
        return verdict_of(self.findings)

    def cells(self) -> tuple[list[str], ...]:
        """Give the lines of each cell, in the order of the headings."""
        verdict = [str(finding) for finding in self.findings] or ["pass"]
        if self.record is None or self.comparison is None:
            return [self.case], [], [], [], verdict
        return (
            [self.case],
            _counts(self.comparison),
            [_metric(name, metric) for name, metric in self.record.metrics.items()],
            [_median(name, timing) for name, timing in self.record.timings.items()],
            verdict,
        )


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of the group `tlbench`."""
    group = parser.getgroup("tlbench", "recorded values and their baselines (tlbench)")
    group.addoption(
        "--tl-results",
        metavar="DIR",
        help="folder of the baselines (default: results, in the rootdir)",
    )
    group.addoption(
        "--tl-gate",
        action="store_true",
        help="a finding, such as a case without a baseline, makes the session fail",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Start watching the session."""
    config.stash[_BENCH] = bench = _Bench(config)
    config.pluginmanager.register(bench, "tlbench-session")


@pytest.fixture
def record(request: pytest.FixtureRequest) -> Recorder:
    """Take the exact values, metrics and timings of this case."""
    request.config.stash[_BENCH].load()
    recorder = Recorder(_case(request.node))
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
        self.remedy = "tlbench accept --reason TEXT"
        folder = os.path.relpath(self.results, here)
        if folder != "results":
            self.remedy += f" --results {shlex.quote(folder)}"
        self.baselines: dict[str, store.Baseline] | None = None
        self.collected_files: set[str] = set()
        self.skipped_files: set[str] = set()
        self.collected_cases: set[str] = set()
        # Baseline cases that the session should have met, and those it proved gone.
        self.chosen: set[str] = set()
        self.gone: set[str] = set()
        self.records: dict[str, CaseRecord] = {}
        self.failed: set[str] = set()
        self.rows: list[_Row] = []
        self.problem = ""

    @property
    def worker(self) -> dict[str, str] | None:
        """What the controlling process gave this worker; None if this is no worker."""
        return getattr(self.config, "workerinput", None)

    def load(self) -> None:
        """Read the baselines, once; UsageError if they cannot be used."""
        if self.baselines is not None:
            return
        try:
            if self.worker is None:
                self.baselines = store.read_accepted(self.results)
            else:
                path = store.accepted_path(self.results)
                self.baselines = store.parse_accepted(
                    self.worker[_PARCEL].encode(), path
                )
        except (ValueError, OSError) as error:
            raise pytest.UsageError(str(error)) from None

    def accepted(self, case: str) -> Mapping[str, Exact] | None:
        """Give the accepted exact values of a case, None without a baseline."""
        baseline = (self.baselines or {}).get(case)
        return baseline.exact if baseline else None

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
        recording = any(
            "record" in getattr(item, "fixturenames", ()) for item in session.items
        )
        if recording or self.config.getoption("--tl-gate"):
            self.load()
        if session.testsfailed:
            return  # an error while collecting fails the session and proves nothing
        known = set(self.baselines or {})
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
        recorder = item.stash.get(_RECORDER, None)
        try:
            result = yield
        finally:
            if recorder:
                recorder.close()
        if recorder:
            exact = recorder.snapshot("passed").exact
            wrong = differences(exact, self.accepted(recorder.case))
            if wrong:
                regression = pytest.fail.Exception(
                    f"{'; '.join(wrong)}\nin {recorder.case}, against the accepted "
                    f"baseline. If the change is meant: {self.remedy}",
                    pytrace=False,
                )
                item.stash[_REGRESSION] = regression
                raise regression
        return result

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        case = _case(item)
        recorder = item.stash.get(_RECORDER, None)
        if recorder is None and self.accepted(case) is not None:
            recorder = Recorder(case)  # a case with a baseline that records nothing
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
        node.workerinput[_PARCEL] = store.accepted_json(self.baselines or {})

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: _Worker) -> None:
        output = getattr(node, "workeroutput", {})
        if _PARCEL in output:
            inventory = json.loads(output[_PARCEL])
            self.chosen.update(inventory["chosen"])
            self.gone.update(inventory["gone"])

    # Ending: judge, write, print.

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.worker is not None or self.config.getoption("collectonly"):
            return
        self.rows = sorted(self._judge(), key=lambda row: row.case)
        status = pytest.ExitCode.OK
        if self.config.getoption("--tl-gate") and any(r.findings for r in self.rows):
            status = pytest.ExitCode.TESTS_FAILED
        try:
            if self.records or self.gone:
                store.write_last_run(self.results, self._last_run())
        except OSError as error:
            self.problem = f"the last run could not be written: {error}"
            status = pytest.ExitCode.USAGE_ERROR
        if session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = status

    def _judge(self) -> Iterator[_Row]:
        for case, left in self.records.items():
            accepted = self.accepted(case)
            comparison = compare(left.exact, accepted)
            yield _Row(case, findings(left, accepted), left, comparison)
        for case in self.chosen - set(self.records):
            yield _Row(case, (Finding("missing", "the case did not run"),))
        for case in self.gone:
            yield _Row(case, (Finding("missing", "its file has no such case"),))

    def _last_run(self) -> store.LastRun:
        return store.LastRun(
            when=datetime.now(UTC).isoformat(timespec="seconds"),
            versions={
                "python": platform.python_version(),
                "pytest": pytest.__version__,
                "tlbench": self.version,
            },
            cases=self.records,
            gone=tuple(sorted(self.gone)),
        )

    def pytest_terminal_summary(
        self,
        terminalreporter: "pytest.TerminalReporter",  # a public name since pytest 8.4
    ) -> None:
        if not self.rows:
            return
        terminalreporter.write_sep("=", "tlbench")
        for line, colour in _table(self.rows):
            terminalreporter.write_line(line, **colour)
        verdicts = [row.verdict for row in self.rows]
        counts = [f"{verdicts.count(v)} {v}" for v in _COLOURS if v in verdicts]
        cases = "1 case" if len(verdicts) == 1 else f"{len(verdicts)} cases"
        terminalreporter.write_line(f"{cases}: {', '.join(counts)}")
        if verdicts.count("pass") < len(verdicts):
            terminalreporter.write_line(f"to accept exact values: {self.remedy}")
            if self.config.getoption("--tl-gate"):
                terminalreporter.write_line("--tl-gate: a finding fails the session")
        if self.problem:
            terminalreporter.write_line(self.problem, red=True)


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


def _table(rows: list[_Row]) -> Iterator[tuple[str, dict[str, bool]]]:
    """Give the lines of the summary, each with its colour."""
    cells = [row.cells() for row in rows]
    widths = [
        max(len(line) for line in (heading, *(one for row in cells for one in row[i])))
        for i, heading in enumerate(_HEADINGS)
    ]

    def aligned(texts: tuple[str, ...]) -> str:
        padded = [text.ljust(width) for text, width in zip(texts, widths, strict=True)]
        return "  ".join(padded).rstrip()

    yield aligned(_HEADINGS), {"bold": True}
    for row, columns in zip(rows, cells, strict=True):
        for texts in zip_longest(*columns, fillvalue=""):
            yield aligned(texts), _COLOURS[row.verdict]


def _counts(comparison: Comparison) -> list[str]:
    counts = {
        "equal": comparison.equal,
        "differs": comparison.differing,
        "new": comparison.new,
        "lost": comparison.lost,
    }
    told = [f"{len(names)} {word}" for word, names in counts.items() if names]
    return [", ".join(told)] if told else []


def _metric(name: str, metric: Metric) -> str:
    text = f"{name} {metric.value:.4g}"
    if metric.interval:
        low, high = metric.interval
        text += f" [{low:.4f}, {high:.4f}]"
    return text if metric.n is None else f"{text} n={metric.n}"


def _median(name: str, timing: Timing) -> str:
    seconds = timing.median
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{name} {seconds / size:.3f} {unit}"
    return f"{name} {seconds / 1e-6:.3f} us"
