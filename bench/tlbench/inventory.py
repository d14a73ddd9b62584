"""The inventory: which cases with a baseline a session should have met.

Owns what was collected, and which cases were chosen, are gone, or were never looked
for. It reads no baseline and runs no case.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Inventory:
    """What a session found while collecting.

    Attributes:
        root: the folder that the names of cases are relative to.
        files: those that were collected whole.
        skipped: files that skip all their cases, and so show none.
        cases: the collected cases.
        chosen: those with a baseline that will run.
        gone: those with a baseline that are no longer in the files.
        is_full: whether all cases of the suites were looked for.
    """

    root: Path
    files: set[str] = field(default_factory=set)
    skipped: set[str] = field(default_factory=set)
    cases: set[str] = field(default_factory=set)
    chosen: set[str] = field(default_factory=set)
    gone: set[str] = field(default_factory=set)
    is_full: bool = False

    def take(
        self,
        known: Iterable[str],
        chosen: Iterable[str],
        *,
        searched: Sequence[Path],
        narrowed: bool,
    ) -> None:
        """Compare the collected cases with those that have a baseline.

        Args:
            known: the cases that have a baseline.
            chosen: the cases that will run.
            searched: the files and folders that pytest was given.
            narrowed: whether files may have been collected only in part.
        """
        # The cases of a skipped file are not collected, but were asked for.
        known = set(known)
        self.chosen = known & set(chosen)
        self.chosen |= {case for case in known if _file(case) in self.skipped}
        # Files and node ids leave out cases that a pattern may be meant for.
        self.is_full = not narrowed and all(path.is_dir() for path in searched)
        if not narrowed:
            self.gone = {case for case in known if self._is_gone(case, searched)}

    def to_json(self) -> str:
        """Return what a worker of pytest-xdist found."""
        found = {"chosen": sorted(self.chosen), "gone": sorted(self.gone)}
        found["collected"] = sorted(self.cases) if self.is_full else []
        return json.dumps(found)

    def add_json(self, text: str) -> None:
        """Add what a worker found."""
        found = json.loads(text)
        self.chosen.update(found["chosen"])
        self.gone.update(found["gone"])
        self.cases.update(found["collected"])
        self.is_full = self.is_full or bool(found["collected"])

    def _is_gone(self, case: str, searched: Sequence[Path]) -> bool:
        """Tell whether the session searched the case's file and did not find the case.

        pytest reports a file as collected if it collected all of it, but not if a node
        id on the command line narrowed it to some cases.
        """
        if case in self.cases:
            return False
        if _file(case) in self.files:
            return True
        # pytest reports no file that is not there: it is gone if its folder was
        # searched.
        path = (self.root / _file(case)).resolve()
        return any(one in path.parents for one in searched) and not path.exists()


def _file(case: str) -> str:
    return case.partition("::")[0]
