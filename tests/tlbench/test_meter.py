"""How much processor time rounds took, whatever surrounds them."""

import time

import pytest

from tlbench import meter as module
from tlbench.meter import BLOCK, Meter


class Machine:
    """A wall clock and a processor's clock that only work moves."""

    def __init__(self, monkeypatch):
        self.wall = self.cpu = 0.0
        self.readings = 0
        monkeypatch.setattr(module.time, "perf_counter", lambda: self.wall)
        monkeypatch.setattr(module, "processor_time", self.read)

    def read(self):
        self.readings += 1
        return self.cpu

    def works(self, seconds, *, share=1.0):
        self.wall += seconds
        self.cpu += seconds * share

    def round_of(self, seconds, **how):
        """Return a runner of rounds, as pytest-benchmark's return seconds."""

        def runner(_):
            before = self.wall
            self.works(seconds, **how)
            return self.wall - before

        return runner


@pytest.fixture
def machine(monkeypatch):
    return Machine(monkeypatch)


def cpu_of(machine, seconds, *, rounds=40, between=0.0, **how):
    """Return the processor time that the meter reads of some rounds."""
    meter = Meter()
    metered = meter.around(machine.round_of(seconds, **how))
    timed = []
    for _ in range(rounds):
        machine.works(between)
        timed.append(metered())
    return meter.read(timed).cpu


@pytest.mark.parametrize("seconds", [BLOCK / 100, BLOCK * 100])
@pytest.mark.parametrize("share", [1.0, 0.4, 2.0])
def test_it_is_the_share_of_the_seconds_that_processors_worked(machine, seconds, share):
    assert cpu_of(machine, seconds, share=share) == pytest.approx(seconds * share)


@pytest.mark.parametrize("between", [0.3, 3.0, 30.0])
def test_what_happens_between_short_rounds_does_not_count(machine, between):
    seconds = BLOCK / 100
    found = cpu_of(machine, seconds, between=between * seconds, rounds=2_000)
    assert found == pytest.approx(seconds)


@pytest.mark.parametrize("rounds", [4, 12, 100])
def test_what_waits_between_rounds_does_not_count_from_the_first_on(machine, rounds):
    meter = Meter()
    metered = meter.around(machine.round_of(BLOCK / 100))
    timed = []
    for _ in range(rounds):
        machine.works(BLOCK / 10, share=0)
        timed.append(metered())
    assert meter.read(timed).cpu == pytest.approx(BLOCK / 100)


def test_short_rounds_are_measured_in_blocks_also_after_an_interruption(machine):
    meter = Meter()
    metered = meter.around(machine.round_of(BLOCK / 100))
    for at in range(10_000):
        if at % 2_000 == 1_000:
            machine.works(10 * BLOCK, share=0)  # another process, between two rounds
        metered()
    assert machine.readings < 2 * 10_000 / 100 * 1.2


def test_rounds_that_are_far_apart_are_measured_one_by_one(machine):
    meter = Meter()
    metered = meter.around(machine.round_of(BLOCK / 100))
    for _ in range(200):
        machine.works(BLOCK, share=0)  # a setup that waits
        metered()
    assert machine.readings > 2 * 180


def test_the_processor_time_is_that_of_an_iteration(machine):
    meter = Meter()
    first = meter.around(machine.round_of(BLOCK / 10))
    others = meter.around(machine.round_of(BLOCK / 10, share=0.5))
    seconds = [one() / 20 for one in (first, *[others] * 100)]
    found = meter.read(seconds, iterations=20)
    assert found.cpu == pytest.approx(BLOCK / 10 / 20 / 2)


def test_a_round_that_another_process_interrupts_took_no_more(machine):
    meter = Meter()
    quiet, interrupted = (
        meter.around(machine.round_of(seconds, share=0.01 / seconds))
        for seconds in (0.01, 0.07)
    )
    timed = [one() for one in (quiet, interrupted, interrupted, quiet, interrupted)]
    assert meter.read(timed).cpu == pytest.approx(0.01)


def test_rounds_of_the_warm_up_do_not_count(machine):
    meter = Meter()
    slow = meter.around(machine.round_of(5 * BLOCK))
    fast = meter.around(machine.round_of(2 * BLOCK))
    timed = [one() for one in (slow, slow, slow, fast, fast)]
    assert meter.read(timed[3:]).cpu == pytest.approx(2 * BLOCK)


def test_a_block_with_rounds_of_the_warm_up_is_the_last_resort(machine):
    meter = Meter()
    metered = meter.around(machine.round_of(BLOCK / 10, share=0.5))
    timed = [metered() for _ in range(6)]
    assert meter.read(timed[4:]).cpu == pytest.approx(BLOCK / 20)


def test_a_round_of_pedantic_returns_its_result_too(machine):
    meter = Meter()
    inner = machine.round_of(0.01)
    metered = meter.around(lambda loops: (inner(loops), "result"))
    assert metered(None) == (pytest.approx(0.01), "result")
    assert meter.read([0.01]).cpu == pytest.approx(0.01)


def spent(work):
    """Return what the meter reads of real work."""
    meter = Meter()

    def runner(_):
        start = time.perf_counter()
        work()
        return time.perf_counter() - start

    metered = meter.around(runner)
    return meter.read([metered() for _ in range(3)])


def test_work_is_judged_by_processor_time_and_sleep_by_wall_time():
    def work():
        end = time.thread_time() + 0.05
        while time.thread_time() < end:
            pass

    found = spent(work)
    assert found.clocks == ("cpu",)
    assert 0.05 <= found.cpu < 0.2
    assert spent(lambda: time.sleep(0.05)).clocks == ("wall",)
