"""Clocks: what is work, what is waiting, and what children used."""

import subprocess
import sys
import threading
import time

import pytest

from tlbench.clocks import Span, Stopwatch

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="waiting for a processor is known under Linux only"
)


def work(seconds=0.05):
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


def timed(function):
    watch = Stopwatch()
    watch.start()
    function()
    return watch.stop()


def test_work_is_the_threads_own_also_on_a_busy_machine():
    span = timed(work)
    assert span.cpu >= 0.05
    assert span.own >= 0.8 * span.wall


def test_sleep_is_no_work():
    span = timed(lambda: time.sleep(0.2))
    assert span.cpu < 0.1
    assert span.own < 0.5 * span.wall


def test_the_work_of_another_thread_is_not_the_threads_own():
    def through_a_thread():
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()

    span = timed(through_a_thread)
    assert span.cpu >= 0.05
    assert span.own < span.all


PROGRAM = """
import time
end = time.thread_time() + 0.2
while time.thread_time() < end:
    pass
"""


def test_a_child_that_ended_counts():
    done = timed(lambda: subprocess.run([sys.executable, "-c", PROGRAM], check=True))
    assert done.cpu >= 0.2


def test_a_child_that_lives_on_counts_from_the_start_of_the_stretch():
    program = PROGRAM + "print(1, flush=True); input()\n" + PROGRAM + "print(2)\n"
    with subprocess.Popen(
        [sys.executable, "-uc", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout.readline() == "1\n"

        def second_half():
            child.stdin.write("\n")
            child.stdin.flush()
            assert child.stdout.readline() == "2\n"

        span = timed(second_half)
    # The first 0.2 s of the child are not part of it, in whatever way it ended.
    assert 0.2 <= span.cpu < 0.39


def test_spans_add_up():
    one = Span(wall=1.0, cpu=2.0, own=3.0, all=4.0)
    assert one + one == Span(wall=2.0, cpu=4.0, own=6.0, all=8.0)


def test_without_proc_only_the_processor_time_is_known(tmp_path):
    watch = Stopwatch(proc=tmp_path)
    watch.start()
    work()
    span = watch.stop()
    assert span.cpu >= 0.05
    assert span.own == pytest.approx(span.cpu, rel=0.2, abs=0.01)
