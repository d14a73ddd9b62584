"""Turns: who begins, how long a block is, and what a case does in between."""

import math

import pytest

from tlbench.clocks import Span
from tlbench.pairing.channel import GoneError
from tlbench.pairing.pairs import BLOCK_SECONDS, MOST_TURNS, TURNS, Pair, Suite

CASE = "bench_a.py::bench_b"
FAR = math.inf


class Scripted:
    """A side that answers as a worker would; its calls take scripted seconds."""

    def __init__(self, log, name, *, call=1e-5, rounds=None, work=1.0, fails=False):
        self.log, self.name, self.call, self.work = log, name, call, work
        self.left, self.calls, self.fails = rounds, 0, fails
        self.cores, self.state = [], "start"

    def ask(self, message, *, deadline):
        assert deadline == FAR
        return getattr(self, f"at_{self.state}")(message)

    def at_start(self, message):
        assert message == {"run": [CASE]}
        self.state = "waiting"
        return {"at": CASE}

    def at_waiting(self, message):
        assert message == {}
        self.log.append(f"{self.name} sets up")
        if self.fails:
            return self.finished("failed", "boom")
        self.state = "measuring"
        mode = "calls" if self.left is None else "rounds"
        return {"ready": mode, "left": self.left}

    def at_measuring(self, message):
        count = message["n"]
        self.cores.append(message["core"])
        if count == 0 or self.left == 0:
            return self.finished("passed", "")
        self.log.append(self.name)
        self.calls += count
        if self.left is not None:
            self.left -= count
            assert self.left >= 0, "more rounds than the case has"
        wall = count * self.call
        block = Span(wall=wall, cpu=wall, own=wall * self.work, all=wall)
        names = ("wall", "cpu", "own", "all")
        return {
            "block": {name: getattr(block, name) for name in names},
            "count": count,
            "left": self.left,
        }

    def finished(self, outcome, why):
        self.state = "ended"
        return {
            "finished": CASE,
            "outcome": outcome,
            "why": why,
            "record": None,
            "device": False,
        }

    def at_ended(self, message):
        assert message == {}
        self.log.append(f"{self.name} is done")
        return {"loaded": [f"{self.name}.py"], "versions": {}}


def run(*, base=None, head=None, base_first=True, **options):
    log = []
    sides = [
        Scripted(log, name, **(options or {}))
        for name, options in (("base", base), ("head", head))
    ]
    pair = Pair(*sides, base_first=base_first)
    suite = Suite(
        cases=(CASE,), others=0, broken={}, rootdir="/", python="3", cores=(4, 7)
    )
    pair.suites = {"base": suite, "head": suite}
    (one,) = pair.run([CASE], deadline=FAR, **options)
    return one, log, sides, pair


def test_the_sides_take_turns_and_who_begins_alternates():
    one, _, _, _ = run()
    assert [turn.base_first for turn in one.turns[:4]] == [True, False, True, False]
    one, log, _, _ = run(base_first=False)
    assert [turn.base_first for turn in one.turns[:2]] == [False, True]
    assert log[0] == "head sets up"


def test_each_side_begins_as_often_as_the_other():
    one, _, _, _ = run()
    assert sum(turn.base_first for turn in one.turns) * 2 == len(one.turns) == TURNS


@pytest.mark.parametrize("call", [1e-7, 1e-5, 1e-3])
def test_a_block_is_long_next_to_a_switch_of_processes(call):
    one, _, _, _ = run(base={"call": call}, head={"call": call})
    for turn in one.turns:
        assert turn.base.count == turn.head.count
        assert 0.4 * BLOCK_SECONDS < turn.base.span.wall < 2.1 * BLOCK_SECONDS


def test_a_call_that_takes_seconds_is_alternated_whole_twice():
    one, _, _, _ = run(base={"call": 2.0}, head={"call": 2.0})
    assert [turn.base.count for turn in one.turns] == [1, 1]


def test_of_many_cases_each_has_fewer_turns():
    one, _, _, _ = run(turn_seconds=2.5 * BLOCK_SECONDS)
    assert len(one.turns) == 4


def test_the_first_blocks_are_warm_up():
    one, log, _, _ = run()
    assert log.count("base") > len(one.turns)


def test_a_pedantic_case_runs_exactly_its_rounds_and_the_first_warms_up():
    one, _, sides, _ = run(base={"rounds": 7}, head={"rounds": 7})
    assert [side.calls for side in sides] == [7, 7]
    assert sum(turn.base.count for turn in one.turns) == 6


def test_many_short_rounds_are_measured_in_some_ten_blocks():
    one, _, sides, _ = run(base={"rounds": 1000}, head={"rounds": 1000})
    assert [side.calls for side in sides] == [1000, 1000]
    assert 10 <= len(one.turns) <= 60


def test_a_case_without_help_is_kept_on_one_core_in_each_turn():
    _, _, (base, head), _ = run()
    assert base.cores == head.cores
    kept = [core for core in base.cores if core is not None]
    # Two turns on each, so that either side begins on either core.
    assert kept[-10:-1] == [4, 4, 7, 7, 4, 4, 7, 7, 4]


def test_a_case_with_threads_may_use_all_cores():
    _, _, (base, head), _ = run(base={"work": 0.3}, head={"work": 0.3})
    assert set(base.cores) == set(head.cores) == {None}


def test_a_case_that_fails_on_one_side_is_not_measured_on_the_other():
    one, _, (base, _), _ = run(head={"fails": True})
    assert one.turns == ()
    assert (one.base.outcome, one.head.outcome) == ("passed", "failed")
    assert base.calls == 0


def test_a_side_with_fewer_rounds_ends_alone():
    one, _, sides, _ = run(base={"rounds": 6}, head={"rounds": 4})
    assert [side.calls for side in sides] == [6, 4]
    assert one.base.outcome == one.head.outcome == "passed"


def test_the_last_case_tells_what_was_loaded():
    _, _, _, pair = run()
    assert pair.loaded["head"].files == frozenset({"head.py"})


def test_a_noisy_pair_gets_more_turns():
    class Noisy(Scripted):
        def at_measuring(self, message):
            answer = super().at_measuring(message)
            if "block" in answer:
                wild = 1.3 if len(self.cores) % 3 else 1.0
                block = {name: x * wild for name, x in answer["block"].items()}
                return {**answer, "block": block}
            return answer

    log = []
    pair = Pair(Noisy(log, "base"), Scripted(log, "head"), base_first=True)
    suite = Suite(cases=(CASE,), others=0, broken={}, rootdir="/", python="3")
    pair.suites = {"base": suite, "head": suite}
    (one,) = pair.run([CASE], deadline=FAR)
    assert len(one.turns) == MOST_TURNS


def test_the_side_that_was_asked_last_is_known_when_it_is_gone():
    class Dying(Scripted):
        def at_measuring(self, message):
            raise GoneError("Segmentation fault")

    log = []
    pair = Pair(Scripted(log, "base"), Dying(log, "head"), base_first=True)
    suite = Suite(cases=(CASE,), others=0, broken={}, rootdir="/", python="3")
    pair.suites = {"base": suite, "head": suite}
    with pytest.raises(GoneError, match="Segmentation fault"):
        list(pair.run([CASE], deadline=FAR))
    assert pair.asked == "head"
