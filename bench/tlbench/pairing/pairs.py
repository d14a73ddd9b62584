"""Pairs: two fresh processes, one of each side, that run the same cases in turns.

Owns the order of the turns: who begins alternates from turn to turn and from pair to
pair, and while one process works the other waits. A case is measured in short blocks of
calls; one that can only be run whole, such as an epoch, is alternated whole. What the
blocks say about a change is in `verdicts.ratios`.
"""

import math
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

from tlbench.clocks import Clock, Span
from tlbench.pairing.channel import GoneError, Message, Process
from tlbench.pairing.sides import Side
from tlbench.record import CaseRecord, record_from_json
from tlbench.verdicts.ratios import pair_ratio

BLOCK_SECONDS = 0.008
"""How long a block of calls takes: long next to a switch of processes, and short next
to the moments in which a machine is busy with something else."""

TURNS = 10
"""How often each side has its turn in a pair, on a quiet machine."""

MOST_TURNS = 40
"""The same, on a busy one: until the ratio of the pair is known to `TURNS_ERROR`."""

TURNS_ERROR = 0.005
"""The standard error of a pair's ratio from its turns. Below the spread between pairs,
more turns would gain nothing."""

TURN_SECONDS = 0.5
"""How long the turns of one side may take in a pair, at most; two are always taken."""

START_SECONDS = 600
"""How long a side may take to import its suite."""

Name: TypeAlias = Literal["base", "head"]
NAMES: tuple[Name, Name] = ("base", "head")


@dataclass(frozen=True, kw_only=True)
class Block:
    """Some calls, or rounds, of one side.

    Attributes:
        span: what they took together.
        count: how many there were.
    """

    span: Span
    count: int

    def seconds(self, clock: Clock) -> float:
        """Return the seconds of one call."""
        return (self.span.cpu if clock == "cpu" else self.span.wall) / self.count


@dataclass(frozen=True, kw_only=True)
class Turn:
    """A block of each side, one right after the other."""

    base: Block
    head: Block
    base_first: bool

    def ratio(self, clock: Clock) -> float:
        """Return the logarithm of head over base; NaN if a clock did not move."""
        base, head = self.base.seconds(clock), self.head.seconds(clock)
        return math.log(head / base) if base > 0 and head > 0 else math.nan


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a case ended in one process."""

    outcome: str
    why: str = ""
    record: CaseRecord | None = None
    device: bool = False


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One case in one pair."""

    case: str
    turns: tuple[Turn, ...]
    base: Ended
    head: Ended

    @property
    def passed(self) -> bool:
        """Whether it passed on both sides."""
        return self.base.outcome == self.head.outcome == "passed"

    def ratio(self, clock: Clock) -> float | None:
        """Return the log ratio of the pair; None if this clock says nothing."""
        ratios = [(turn.base_first, turn.ratio(clock)) for turn in self.turns]
        kept = [(first, ratio) for first, ratio in ratios if not math.isnan(ratio)]
        if not kept:
            return None
        return pair_ratio(
            [ratio for first, ratio in kept if first],
            [ratio for first, ratio in kept if not first],
        )

    def seconds(self, side: Name, clock: Clock) -> float:
        """Return the median seconds of a call."""
        blocks = [turn.base if side == "base" else turn.head for turn in self.turns]
        return statistics.median(block.seconds(clock) for block in blocks)


@dataclass(frozen=True, kw_only=True)
class Suite:
    """What a side says of its suite before anything runs.

    Attributes:
        cases: the cases that use `benchmark` or `record`, in their order.
        others: how many cases use neither.
        broken: by file, why it cannot be collected.
        rootdir: what the ids are relative to.
        python: the version of the interpreter.
        cores: the processor cores that its process may use.
    """

    cases: tuple[str, ...]
    others: int
    broken: Mapping[str, str]
    rootdir: str
    python: str
    cores: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """What a side had loaded at its end: the files, and the installed versions."""

    files: frozenset[str] = frozenset()
    versions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Launch:
    """How the processes of a pair are started.

    Attributes:
        sides: base and head.
        paths: the paths of the suite, relative to the folders of the sides.
        options: further arguments for pytest.
        tool: a folder from which a side imports tlbench.
        aside: a folder for what the processes print.
    """

    sides: tuple[Side, Side]
    paths: tuple[str, ...]
    options: tuple[str, ...]
    tool: Path
    aside: Path


class Pair:
    """Two processes that wait for their turns; see `open_pair`."""

    def __init__(self, base: Process, head: Process, *, base_first: bool) -> None:
        self._sides: dict[Name, Process] = {"base": base, "head": head}
        self._base_first = base_first
        self.asked: Name = "base"
        self.suites: dict[Name, Suite] = {}
        self.loaded: dict[Name, Loaded] = {}

    def collect(self) -> None:
        """Wait until both sides have collected their suites.

        Raises:
            GoneError: a side ended before; the message starts with its name.
        """
        deadline = time.monotonic() + START_SECONDS
        for name, side in self._sides.items():
            try:
                said = side.answer(deadline=deadline)
            except GoneError as error:
                raise GoneError(f"{name}: {error}") from error
            self.suites[name] = Suite(
                cases=tuple(said["collected"]),
                others=said["others"],
                broken=said["broken"],
                rootdir=said["rootdir"],
                python=said["python"],
                cores=tuple(said["cores"]),
            )

    def run(
        self,
        cases: Sequence[str],
        *,
        deadline: float,
        turn_seconds: float = TURN_SECONDS,
    ) -> Iterator[Measured]:
        """Run cases that both sides have, in turns; yield each when it has ended.

        Args:
            cases: node ids, in the order of the suite.
            deadline: the moment, by `time.monotonic`, after which nobody waits.
            turn_seconds: how long the turns of one side of a case may take.

        Raises:
            GoneError: a side ended or the deadline passed; what was yielded stands.
        """
        for name in NAMES:
            self.ask(name, {"run": list(cases)}, deadline)
        for number, case in enumerate(cases):
            last = number + 1 == len(cases)
            yield self._case(case, turn_seconds, last=last, deadline=deadline)

    def _case(
        self, case: str, turn_seconds: float, *, last: bool, deadline: float
    ) -> Measured:
        order = NAMES if self._base_first else NAMES[::-1]
        said: dict[Name, Message] = {}
        for name in order:
            # What comes first is what the side said last: that it is at this case.
            said[name] = self.ask(name, {}, deadline)
        turns = _Turns(self, said, order, self.cores, deadline)
        ready = all("ready" in one for one in said.values())
        blocks = turns.run(turn_seconds) if ready else ()
        ended = {name: turns.finish(name) for name in order}
        for name in order:
            self._move_on(name, last=last, deadline=deadline)
        return Measured(
            case=case, turns=tuple(blocks), base=ended["base"], head=ended["head"]
        )

    def _move_on(self, name: Name, *, last: bool, deadline: float) -> None:
        said = self.ask(name, {}, deadline)
        if last:
            self.loaded[name] = Loaded(
                files=frozenset(said["loaded"]), versions=said["versions"]
            )

    @property
    def cores(self) -> tuple[int, ...]:
        """The cores that both sides may use."""
        base, head = (self.suites[name].cores for name in NAMES)
        return tuple(core for core in base if core in head)

    def ask(self, name: Name, message: Message, deadline: float) -> Message:
        """Ask one side, and remember which: it may be its end."""
        self.asked = name
        return self._sides[name].ask(message, deadline=deadline)


class _Turns:
    """The turns of one case, and what each side said last."""

    def __init__(
        self,
        pair: Pair,
        said: dict[Name, Message],
        order: Sequence[Name],
        cores: Sequence[int],
        deadline: float,
    ) -> None:
        self._pair = pair
        self._said = said
        self._order = tuple(order)
        self._cores = tuple(cores)
        self._single = False
        self._deadline = deadline

    def run(self, seconds: float) -> list[Turn]:
        """Take turns until the case is measured; return the turns that count."""
        if self._said["base"]["ready"] == "calls":
            return self._calls(seconds)
        return self._rounds()

    def finish(self, name: Name) -> Ended:
        """Let a side run the rest of the case, and return how it ended."""
        while "finished" not in self._said[name]:
            left = self._said[name].get("left") or 0
            self._ask(name, left)
        said = self._said[name]
        record = said["record"]
        return Ended(
            outcome=said["outcome"],
            why=said["why"],
            record=record and record_from_json(said["finished"], record),
            device=said["device"],
        )

    def _calls(self, seconds: float) -> list[Turn]:
        # From one call on, tenfold each time: the first calls are the slowest, and one
        # call of a microsecond says little about a thousand.
        count = 1
        turns: list[Turn] = []
        while True:
            turn = self._turn(count, number=0)
            if turn is None:
                return []
            one = max(_work(turn.base), _work(turn.head))
            needed = math.ceil(BLOCK_SECONDS / max(one, 1e-9))
            if count * 2 >= needed:
                break
            count = min(count * 10, needed)
        self._single = _alone(turn)
        while not _enough(turns, seconds):
            turn = self._turn(count, number=len(turns))
            if turn is None:
                break
            turns.append(turn)
        return turns

    def _rounds(self) -> list[Turn]:
        turns: list[Turn] = []
        count = 1
        while all(self._said[name].get("left") for name in self._order):
            left = min(self._said[name]["left"] for name in self._order)
            turn = self._turn(min(count, left), number=len(turns))
            if turn is None:
                break
            turns.append(turn)
            one = max(_work(turn.base), _work(turn.head), 1e-9)
            # At most a tenth of the rounds, so that there are ten turns.
            count = max(1, min(int(BLOCK_SECONDS / one), left // TURNS))
        # The first round warms up, as everywhere.
        return turns[1:] if len(turns) > 2 else turns

    def _turn(self, count: int, *, number: int) -> Turn | None:
        """Let each side run a block; None if a side has ended the case instead."""
        blocks: dict[Name, Block] = {}
        base_first = self._begins(number)
        core = self._core(number)
        for name in NAMES if base_first else NAMES[::-1]:
            said = self._ask(name, count, core=core)
            if "block" not in said:
                return None
            blocks[name] = Block(span=Span(**said["block"]), count=said["count"])
        return Turn(base=blocks["base"], head=blocks["head"], base_first=base_first)

    def _begins(self, number: int) -> bool:
        """Tell whether base begins this turn: A B, B A, A B, ..."""
        return (number % 2 == 0) == (self._order[0] == "base")

    def _core(self, number: int) -> int | None:
        """Return the core of a turn: both sides must have the same.

        Two cores of one machine may differ by half for seconds, if something else, or
        another guest of the same host, keeps one of them busy. Every two turns another
        one, so that each core has both orders.
        """
        if not self._single or not self._cores:
            return None
        return self._cores[number // 2 % len(self._cores)]

    def _ask(self, name: Name, count: int, *, core: int | None = None) -> Message:
        message = {"n": count, "core": core}
        said = self._pair.ask(name, message, self._deadline)
        self._said[name] = said
        return said


def _work(block: Block) -> float:
    """Return the seconds of one call without what it waited for a busy processor."""
    return block.seconds("cpu" if _is_busy(block) else "wall")


def _is_busy(block: Block) -> bool:
    return block.span.own > block.span.wall / 2


def _alone(turn: Turn) -> bool:
    """Tell whether the thread of a case had no help from other threads or children."""
    spans = (turn.base.span, turn.head.span)
    return all(span.all <= span.own * 1.1 + 1e-4 for span in spans)


def _enough(turns: Sequence[Turn], seconds: float) -> bool:
    """Tell whether a pair has had enough turns, which may take so many seconds."""
    # An even number, so that either side begins as often as the other.
    if len(turns) < 2 or len(turns) % 2:
        return False
    taken = sum(turn.base.span.wall for turn in turns)
    if len(turns) >= MOST_TURNS or taken >= seconds:
        return True
    if len(turns) < TURNS:
        return False
    ratios = [turn.ratio("cpu" if _is_busy(turn.base) else "wall") for turn in turns]
    low, _, high = statistics.quantiles(ratios, n=4)
    # Of normal values, the quartiles are 1.35 standard deviations apart, and the error
    # of the median is a quarter larger than that of the mean.
    return 1.25 * (high - low) / 1.35 / math.sqrt(len(turns)) < TURNS_ERROR


@contextmanager
def open_pair(launch: Launch, number: int) -> Iterator[Pair]:
    """Start the two processes of a pair, and end them."""
    processes: list[Process] = []
    base_first = number % 2 == 0
    try:
        for side in launch.sides:
            processes += [_start(launch, side, number)]
        yield Pair(processes[0], processes[1], base_first=base_first)
    finally:
        for process in processes:
            process.kill()


def _start(launch: Launch, side: Side, number: int) -> Process:
    environ = dict(side.environ)
    paths = [str(launch.tool), environ.get("PYTHONPATH", "")]
    environ["PYTHONPATH"] = ":".join(filter(None, paths))
    # The same for both sides, and another one in the next pair: what depends on the
    # order of a set is neither a difference between the sides nor always the same.
    environ.setdefault("PYTHONHASHSEED", str(number))
    return Process(
        [
            *(str(side.python), "-m", "pytest", "-p", "no:tlbench"),
            *("-p", "tlbench.pairing.worker", "-p", "no:cacheprovider"),
            *launch.options,
            *launch.paths,
        ],
        folder=side.folder,
        environ=environ,
        output=launch.aside / f"{side.name}-{number}.txt",
    )
