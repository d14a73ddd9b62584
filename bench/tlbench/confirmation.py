"""Confirmation: suspects are run again, each in a fresh process.

A case that looks slower once is a suspect; it is judged by its fresh runs. A fresh
process shares no warm cache, no memory layout and no bad moment with the session. Owns
the processes and the files they leave; which cases are suspects is in `verdicts.judge`.
"""

import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from tlbench.record import CaseRecord
from tlbench.storage.last_run import read_run

Say = Callable[[str], None]


def run_again(
    cases: Sequence[str],
    *,
    times: int,
    folder: Path,
    options: Sequence[str],
    say: Say,
) -> dict[str, list[CaseRecord]]:
    """Run cases again in fresh processes.

    Args:
        cases: node ids.
        times: how often to run each.
        folder: where pytest is started; node ids are relative to it.
        options: further arguments for pytest.
        say: called with a line about each run, and about each that did not pass.

    Returns:
        By case, the records of the runs in which it passed.
    """
    found: dict[str, list[CaseRecord]] = {case: [] for case in cases}
    with tempfile.TemporaryDirectory() as aside:
        # All once before any twice: the runs of a case are spread over time, so that
        # one bad moment does not meet all of them.
        for turn in range(1, times + 1):
            for case in cases:
                say(f"again, {turn} of {times}: {case}")
                # A process that dies must not leave the record of the one before it.
                left = Path(aside, f"{turn}.json")
                left.unlink(missing_ok=True)
                done = subprocess.run(  # noqa: S603 - this interpreter, pytest
                    [
                        *(sys.executable, "-m", "pytest", case),
                        *("--tl-records", str(left), *options),
                    ],
                    cwd=folder,
                    capture_output=True,
                    text=True,
                    check=False,
                )
                record = _record(left, case)
                if record is None or record.outcome != "passed":
                    lines = done.stdout.strip().splitlines() or ["it printed nothing"]
                    say(f"it did not pass: {lines[-1]}")
                else:
                    found[case].append(record)
    return found


def _record(path: Path, case: str) -> CaseRecord | None:
    try:
        return read_run(path)[0].cases.get(case)
    except (FileNotFoundError, ValueError):
        return None  # the process ended before it could write
