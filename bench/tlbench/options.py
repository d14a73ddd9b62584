"""Options: what a session was asked to do, as one value.

Owns no parsing: `plugin` reads them from pytest, `session` acts on them.
"""

import shlex
from dataclasses import dataclass
from pathlib import Path

from tlbench.settings import Answer
from tlbench.unrecorded import Switch


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options of a session.

    Attributes:
        root: the rootdir, which the names of cases are relative to.
        results: the folder of the baselines.
        folder: the same folder, as a user would write it on the command line.
        takes_all: whether every case that uses the fixture `benchmark` is recorded.
        switch: what keeps pytest-benchmark from timing.
        gate: whether a finding fails the session.
        save: whether the run is appended to the history of the machine.
        confirm: how often a suspect is run again.
        report: the folder of the report; None for no report.
        records: the file that a fresh process writes, instead of judging.
        repeat: the file of the records that it repeats.
        start: the folder that the session was started in.
        again: further arguments for pytest when a case of this session is run again.
        handed_on: those of them that are the session's own options.
        install: how a side of a comparison is installed; "" is the project's setting.
        unknown: what the gate does on an unknown machine; "" is the project's setting.
        base: the commit to compare with there; "" finds one.
    """

    root: Path
    results: Path
    folder: str = "results"
    takes_all: bool = False
    switch: Switch = ""
    gate: bool = False
    save: bool = False
    confirm: int = 0
    report: Path | None = None
    records: Path | None = None
    repeat: Path | None = None
    start: Path = Path()
    again: tuple[str, ...] = ()
    handed_on: tuple[str, ...] = ()
    install: str = ""
    unknown: Answer = ""
    base: str = ""

    @property
    def remedy(self) -> str:
        """The command that accepts an intended change."""
        words = "tlbench accept --reason TEXT"
        if self.folder == "results":
            return words
        return f"{words} --results {shlex.quote(self.folder)}"
