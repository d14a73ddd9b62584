"""Comparison: pairs of processes until every case is decided or the time is up.

Owns the sequence of pairs, the budget, what is told while it runs, and what both sides
must have in common. The processes are in `pairs`, the verdicts in `judging`.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tlbench.pairing.channel import GoneError
from tlbench.pairing.judging import Judge, Row
from tlbench.pairing.pairs import (
    NAMES,
    TURN_SECONDS,
    Ended,
    Launch,
    Loaded,
    Measured,
    Name,
    Pair,
    Suite,
    open_pair,
)
from tlbench.verdicts.limits import DEFAULT, Policy, unmatched_notes
from tlbench.verdicts.ratios import LOOKS
from tlbench.verdicts.verdict import Finding

_PLANNED_PAIRS = 12
"""For how many pairs the budget should do, whatever the number of cases."""

_LEAST_TURN_SECONDS = 0.1
"""How long the turns of one side may take however many cases there are."""

NEW = "it is on the head only"
"""Why a case that the base has not is not compared."""

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What came of comparing two sides.

    Attributes:
        base: what the base is, for readers.
        head: likewise.
        rows: the verdict on each case, in the order of the suite.
        pairs: how many pairs of processes were started.
        seconds: how long they took.
        notes: what explains the verdicts, or limits them.
        interrupted: whether the user ended it.
    """

    base: str
    head: str
    rows: tuple[Row, ...]
    pairs: int
    seconds: float
    notes: tuple[str, ...] = ()
    interrupted: bool = False

    @property
    def has_findings(self) -> bool:
        """Whether any case has a verdict that fails."""
        return any(row.is_finding for row in self.rows)


def compare(
    launch: Launch,
    *,
    say: Say,
    budget: float,
    only: Sequence[str] = (),
    foreign: Mapping[Name, Sequence[Path]] | None = None,
    policy: Policy = DEFAULT,
) -> Comparison:
    """Compare the two sides of a launch.

    Args:
        launch: how their processes are started.
        say: called with a line for each step.
        budget: the seconds that all pairs may take together.
        only: the cases to compare; all that both sides have if empty.
        foreign: by side, folders that it must load no module from.
        policy: the limits of each case.

    Raises:
        ValueError: a side cannot collect its suite, the sides have no case in common,
            one loads the code of the other, or the budget ended within the first pair.
    """
    return _Loop(launch, say, budget, only, foreign or {}, policy=policy).run()


class _Loop:
    """One comparison while it runs."""

    def __init__(
        self,
        launch: Launch,
        say: Say,
        budget: float,
        only: Sequence[str],
        foreign: Mapping[Name, Sequence[Path]],
        *,
        policy: Policy,
    ) -> None:
        self._launch = launch
        self._say = say
        self._budget = budget
        self._only = only
        self._foreign = foreign
        self._begin = time.monotonic()
        self._policy = policy
        self._judge = Judge(policy=policy)
        self._cases: list[str] = []
        self._rows: list[Row] = []
        self._notes: list[str] = []
        self._pairs = 0

    def run(self) -> Comparison:
        interrupted = False
        try:
            while self._goes_on():
                self._pair()
        except KeyboardInterrupt:
            if not self._judge.measured:
                raise
            interrupted = True
            self._notes.append("interrupted: judged as far as it was measured")
        if not self._judge.measured and not self._rows:
            raise ValueError(
                "--budget must be enough for one pair. Received: "
                f"budget={self._budget:g}, after which no case had been measured on "
                "both sides. Pass a larger one, or fewer cases."
            )
        judged = {row.case: row for row in (*self._rows, *self._judge.rows())}
        unmeasured = [case for case in self._cases if case not in judged]
        judged |= {case: _unmeasured(case) for case in unmeasured}
        order = {case: number for number, case in enumerate(self._cases)}
        rows = sorted(judged.values(), key=lambda row: order.get(row.case, -1))
        sides = self._launch.sides
        return Comparison(
            base=sides[0].title,
            head=sides[1].title,
            rows=tuple(rows),
            pairs=self._pairs,
            seconds=time.monotonic() - self._begin,
            notes=tuple(self._notes),
            interrupted=interrupted,
        )

    @property
    def _deadline(self) -> float:
        return self._begin + self._budget

    @property
    def _turn_seconds(self) -> float:
        """How long the turns of one side may take, so that there are enough pairs."""
        # More pairs are worth more than more turns in each.
        share = self._budget / _PLANNED_PAIRS / max(1, len(self._cases)) / len(NAMES)
        return min(TURN_SECONDS, max(_LEAST_TURN_SECONDS, share))

    def _goes_on(self) -> bool:
        if not self._pairs:
            return True
        if self._pairs in LOOKS:
            self._judge.look()
        left = self._judge.open_cases(self._cases)
        if not left or self._pairs >= LOOKS[-1]:
            return False
        if time.monotonic() >= self._deadline:
            undecided = f"{len(left)} of {len(self._cases)} cases were undecided"
            self._notes.append(f"the budget of {self._budget:g} s ended: {undecided}")
            return False
        return True

    def _pair(self) -> None:
        number = self._pairs
        with open_pair(self._launch, number) as pair:
            self._collect(pair)
            if not number:
                self._take_inventory(pair)
            cases = self._judge.open_cases(self._cases)
            word = "case" if len(cases) == 1 else "cases"
            self._say(f"pair {number + 1}: {len(cases)} {word}")
            self._pairs += 1
            self._run(pair, cases)
            if not number:
                self._check_loaded(pair.loaded)

    def _collect(self, pair: Pair) -> None:
        try:
            pair.collect()
        except GoneError as error:
            raise ValueError(
                "Both sides must collect the suite. "
                f"Received: {error}. Run pytest there by hand, or pass --install."
            ) from error

    def _run(self, pair: Pair, cases: Sequence[str]) -> None:
        done: list[str] = []
        try:
            turns = pair.run(
                cases, deadline=self._deadline, turn_seconds=self._turn_seconds
            )
            for one in turns:
                self._judge.add(one)
                done.append(one.case)
        except GoneError as error:
            if time.monotonic() >= self._deadline:
                return
            # A process that crashes takes its case along; the others get new ones.
            case = cases[len(done)]
            self._judge.add(_crashed(case, pair.asked, str(error)))
            self._say(f"{pair.asked}: the process ended in {case}: {error}")

    def _take_inventory(self, pair: Pair) -> None:
        """Find out which cases there are to compare, and what one side lacks."""
        base, head = (pair.suites[name] for name in NAMES)
        both = [case for case in head.cases if case in set(base.cases)]
        unknown = [case for case in self._only if case not in both]
        self._cases = [case for case in both if not self._only or case in self._only]
        if not self._only:
            self._rows += _lacking(base, head)
        self._rows += [
            Row(case=case, findings=(Finding("missing", _absence(case, base, head)),))
            for case in unknown
        ]
        if not both:
            raise ValueError(_nothing_in_common(base, head))
        # Files and node ids leave out cases that a pattern may be meant for.
        head_folder = self._launch.sides[1].folder
        whole = all((head_folder / path).is_dir() for path in self._launch.paths)
        if whole and not self._only:
            where = "that both sides have"
            self._notes += unmatched_notes(self._policy, both, where)
        if base.python != head.python:
            self._notes.append(f"python {base.python} -> {head.python}")

    def _check_loaded(self, loaded: Mapping[Name, Loaded]) -> None:
        """Refuse a side that ran the code of the other, and note other versions."""
        for name, folders in self._foreign.items():
            files = loaded.get(name, Loaded()).files
            wrong = [
                file
                for file in files
                if any(Path(file).is_relative_to(folder) for folder in folders)
            ]
            if wrong:
                raise ValueError(
                    "Each side must import its own code. Received: the "
                    f"{name} imports {min(wrong)}. Look for a PYTHONPATH, a sys.path "
                    "entry or an editable installation that leads there."
                )
        before, after = (loaded.get(name, Loaded()).versions for name in NAMES)
        self._notes += [
            f"{name} {before.get(name, 'none')} -> {after.get(name, 'none')}"
            for name in sorted(before.keys() | after.keys())
            if before.get(name) != after.get(name)
        ]


def _lacking(base: Suite, head: Suite) -> Iterator[Row]:
    """Yield a row for what only one of the sides has."""
    for have, lack, side in ((head, base, "head"), (base, head, "base")):
        for file, why in have.broken.items():
            found = Finding("missing", f"it cannot be collected on the {side}: {why}")
            yield Row(case=file, findings=(found,))
        broken = tuple(lack.broken)
        for case in have.cases:
            # One line for a file that cannot be collected, not one for each case of it.
            if case not in set(lack.cases) and not case.startswith(broken or ("\0",)):
                yield Row(case=case, findings=(Finding("missing", f"{side} only"),))


def _absence(case: str, base: Suite, head: Suite) -> str:
    """Return why a case that was asked for is not compared."""
    for side, suite in (("head", head), ("base", base)):
        for file, why in suite.broken.items():
            if case.startswith(file):
                return f"it cannot be collected on the {side}: {why}"
    if case in head.cases:
        return NEW
    return "it is not on both sides"


def _nothing_in_common(base: Suite, head: Suite) -> str:
    said = [
        f"{name} has {len(suite.cases)} such cases and {suite.others} others"
        + "".join(f", and {file}: {why}" for file, why in suite.broken.items())
        for name, suite in (("base", base), ("head", head))
    ]
    return (
        "Both sides must have cases that use the fixture benchmark or record. "
        f"Received: {'; '.join(said)}. Pass the PATH of a suite that has some."
    )


def _unmeasured(case: str) -> Row:
    why = "it was not measured on both sides before the time was up"
    return Row(case=case, findings=(Finding("inconclusive", why),))


def _crashed(case: str, side: Name, why: str) -> Measured:
    passed, ended = Ended(outcome="passed"), Ended(outcome="failed", why=why)
    return Measured(
        case=case,
        turns=(),
        base=ended if side == "base" else passed,
        head=ended if side == "head" else passed,
    )
