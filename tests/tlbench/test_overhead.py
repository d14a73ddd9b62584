"""What the harness itself costs: nothing within an epoch, microseconds next to it."""

import json
import time
from statistics import median

import pytest

ROUNDS = 200
SUITE = """
    import json, time
    from pathlib import Path

    def test_epochs(benchmark, record):
        lasting = [0.001 * (1 + i % 7) for i in range({rounds})]
        epochs = iter(lasting)

        def epoch():
            time.sleep(next(epochs))

        benchmark.pedantic(epoch, rounds={rounds}, iterations=1, warmup_rounds=0)
        taken = benchmark.stats.stats.data
        record.timing("epoch", taken, warmup=1)
        left = list(epochs)
        Path(__file__).with_name("epochs.json").write_text(
            json.dumps([lasting, taken, left])
        )
"""


@pytest.fixture
def epochs(pytester, scripted_clock):
    """How long epochs lasted, as long as they were measured, and those not run."""
    pytester.makepyfile(test_epochs=SUITE.format(rounds=ROUNDS))
    result = pytester.runpytest("--tl-results", "results", scripted_clock)
    result.assert_outcomes(passed=1)
    return json.loads((pytester.path / "epochs.json").read_text())


def test_as_many_epochs_run_as_were_asked_for(epochs):
    lasting, taken, left = epochs
    assert (len(lasting), len(taken), left) == (ROUNDS, ROUNDS, [])


def test_an_epoch_is_measured_as_long_as_it_is(epochs):
    lasting, taken, _ = epochs
    assert taken == pytest.approx(lasting, abs=1e-8)


def test_no_hook_of_the_harness_runs_within_a_case(pytester, monkeypatch):
    """Nothing of tlbench is called between the first line of a case and its last."""
    pytester.makepyfile(
        test_within="""
        import sys

        def test_within(record):
            called = []

            def trace(frame, event, arg):
                if event == "call" and "tlbench" in frame.f_code.co_filename:
                    called.append(frame.f_code.co_name)

            sys.setprofile(trace)
            for _ in range(1000):
                sum(range(10))
            sys.setprofile(None)
            assert called == []
            record.exact("calls", len(called))
        """
    )
    pytester.runpytest().assert_outcomes(passed=1)


def test_recording_takes_microseconds_of_a_batch():
    from tlbench.recorder import Recorder

    # Of the time of this thread: what else the machine does is not counted.
    def epoch(steps):
        start = time.thread_time()
        for _ in range(steps):
            sum(range(1000))
        return time.thread_time() - start

    seconds = [epoch(1000) for _ in range(21)]

    def recording():
        recorder = Recorder("c")
        start = time.thread_time()
        recorder.timing("epoch", seconds, warmup=1)
        recorder.snapshot("passed")
        return time.thread_time() - start

    # Half a percent of the epochs; the best of some.
    assert min(recording() for _ in range(5)) < 0.005 * 21 * median(seconds)
