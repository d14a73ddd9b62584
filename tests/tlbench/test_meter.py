"""How much processor time rounds took, whatever surrounds them."""

import time

import pytest

from tlbench import meter as module
from tlbench.meter import BLOCK, Meter


class Machine:
    """A wall clock and a processor's clock that only work moves."""

    def __init__(self, monkeypatch):
        self.wall = self.cpu = 0.0
        monkeypatch.setattr(module.time, "perf_counter", lambda: self.wall)
        monkeypatch.setattr(module, "processor_time", lambda: self.cpu)

    def works(self, seconds, *, share=1.0):
        self.wall += seconds
        self.cpu += seconds * share

    def round_of(self, seconds, **how):
        """Return a runner of rounds, as pytest-benchmark's return seconds."""

        def runner(*_):
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
    for _ in range(rounds):
        machine.works(between)
        metered()
    return meter.read(rounds=rounds).cpu


@pytest.mark.parametrize("seconds", [BLOCK / 100, BLOCK * 100])
@pytest.mark.parametrize("share", [1.0, 0.4, 2.0])
def test_it_is_the_share_of_the_seconds_that_processors_worked(machine, seconds, share):
    assert cpu_of(machine, seconds, share=share) == pytest.approx(seconds * share)


@pytest.mark.parametrize("between", [0.3, 3.0, 30.0])
def test_what_happens_between_short_rounds_does_not_count(machine, between):
    seconds = BLOCK / 100
    found = cpu_of(machine, seconds, between=between * seconds, rounds=2_000)
    assert found == pytest.approx(seconds)


def test_a_round_that_another_process_interrupts_took_no_more(machine):
    meter = Meter()
    quiet, interrupted = (
        meter.around(machine.round_of(seconds, share=0.01 / seconds))
        for seconds in (0.01, 0.07)
    )
    for one in (quiet, interrupted, interrupted, quiet, interrupted):
        one()
    assert meter.read(rounds=5).cpu == pytest.approx(0.01)


def test_rounds_of_the_warm_up_do_not_count(machine):
    meter = Meter()
    slow = meter.around(machine.round_of(5 * BLOCK))
    fast = meter.around(machine.round_of(2 * BLOCK))
    for one in (slow, slow, slow, fast, fast):
        one()
    assert meter.read(rounds=2).cpu == pytest.approx(2 * BLOCK)


def test_a_block_with_rounds_of_the_warm_up_is_the_last_resort(machine):
    meter = Meter()
    metered = meter.around(machine.round_of(BLOCK / 10, share=0.5))
    for _ in range(6):
        metered()
    assert meter.read(rounds=3).cpu == pytest.approx(BLOCK / 20)


def test_a_round_of_pedantic_returns_its_result_too(machine):
    meter = Meter()
    inner = machine.round_of(0.01)
    metered = meter.around(lambda _: (inner(), "result"))
    assert metered(None) == (pytest.approx(0.01), "result")
    assert meter.read(rounds=1).cpu == pytest.approx(0.01)


def spent(work):
    """Return what the meter reads of real work."""
    meter = Meter()

    def runner():
        start = time.perf_counter()
        work()
        return time.perf_counter() - start

    metered = meter.around(runner)
    for _ in range(3):
        metered()
    return meter.read(rounds=3)


def test_work_is_judged_by_processor_time_and_sleep_by_wall_time():
    def work():
        end = time.thread_time() + 0.05
        while time.thread_time() < end:
            pass

    found = spent(work)
    assert found.clocks == ("cpu",)
    assert 0.05 <= found.cpu < 0.2
    assert spent(lambda: time.sleep(0.05)).clocks == ("wall",)
