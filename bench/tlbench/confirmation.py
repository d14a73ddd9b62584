"""Confirmation: cases run again, each in a process of its own.

A case that looks slower once is a suspect; what fresh processes say is the verdict.
Owns the processes and what they leave; which cases are suspects is in `verdicts.judge`.
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
    """Run cases again in fresh processes, all once before any twice.

    Args:
        cases: node ids.
        times: how often.
        folder: where pytest starts; node ids are relative to it.
        options: further words for pytest.
        say: told what is about to run, and what did not.

    Returns:
        By case, the records of the runs in which it passed.
    """
    found: dict[str, list[CaseRecord]] = {case: [] for case in cases}
    with tempfile.TemporaryDirectory() as aside:
        for turn in range(1, times + 1):
            for case in cases:
                say(f"again, {turn} of {times}: {case}")
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
                    last = (done.stdout.strip().splitlines() or ["it said nothing"])[-1]
                    say(f"it did not pass: {last}")
                else:
                    found[case].append(record)
    return found


def _record(path: Path, case: str) -> CaseRecord | None:
    try:
        return read_run(path)[0].cases.get(case)
    except (FileNotFoundError, ValueError):
        return None  # the process ended before it could write
