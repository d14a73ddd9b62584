"""Confirmation: suspects are run again, each in a fresh process.

A case that looks slower once is a suspect; it is judged by its fresh runs. A fresh
process shares no warm cache, no memory layout and no bad moment with the session. Owns
the processes and the files they leave; which cases are suspects, and what their fresh
runs say, is in `verdicts`.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tlbench.record import CaseRecord
from tlbench.storage.last_run import LastRun, read_run, write_run

Say = Callable[[str], None]


def run_again(
    records: Mapping[str, CaseRecord],
    *,
    times: int,
    root: Path,
    start: Path,
    options: Sequence[str],
    say: Say,
) -> dict[str, list[CaseRecord]]:
    """Run cases again in fresh processes.

    Args:
        records: by node id, what the session recorded of the cases to run.
        times: how often to run each.
        root: the folder that node ids are relative to.
        start: where pytest is started, as the session was: paths in `options` are
            relative to it.
        options: further arguments for pytest.
        say: called with a line about each run, and about each that did not pass.

    Returns:
        By case, a record of every run: a failed one where a process left none.
    """
    found: dict[str, list[CaseRecord]] = {case: [] for case in records}
    with tempfile.TemporaryDirectory() as aside:
        first = Path(aside, "session.json")
        write_run(first, LastRun(when="", versions={}, cases=records))
        # All once before any twice: the runs of a case are spread over time, so that
        # one bad moment does not meet all of them.
        for turn in range(1, times + 1):
            for case in records:
                say(f"again, {turn} of {times}: {case}")
                # A process that dies must not leave the record of the one before it.
                left = Path(aside, f"{turn}.json")
                left.unlink(missing_ok=True)
                done = subprocess.run(  # noqa: S603 - this interpreter, pytest
                    [
                        *(sys.executable, "-m", "pytest", _node(root, case)),
                        *("--tl-records", str(left), "--tl-repeat", str(first)),
                        *options,
                    ],
                    cwd=start,
                    env=_environment(Path(aside)),
                    capture_output=True,
                    text=True,
                    check=False,
                )
                record = _record(left, case)
                if record.outcome != "passed":
                    text = done.stdout.strip() or done.stderr.strip()
                    lines = text.splitlines() or ["it printed nothing"]
                    say(f"it did not pass: {lines[-1]}")
                found[case].append(record)
    return found


def _node(root: Path, case: str) -> str:
    """Return the node id of a case with an absolute path, for any working folder."""
    file, mark, rest = case.partition("::")
    return f"{root / file}{mark}{rest}"


def _environment(aside: Path) -> dict[str, str]:
    # The options of PYTEST_ADDOPTS that concern a fresh process are among `options`.
    # Coverage would write over the data of the session.
    own = {"PYTEST_ADDOPTS": "", "COVERAGE_FILE": str(aside / "coverage")}
    return {**os.environ, **own}


def _record(path: Path, case: str) -> CaseRecord:
    failed = CaseRecord(case=case, outcome="failed")
    try:
        return read_run(path)[0].cases.get(case, failed)
    except (FileNotFoundError, ValueError):
        return failed  # the process ended before it could write
