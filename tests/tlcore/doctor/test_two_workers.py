"""Two workers: what they answer, and that none is left."""

import os
import subprocess
import sys

import pytest

from tlcore.doctor.questions import PROBES
from tlcore.doctor.two_workers import COMMAND, TwoWorkers, main

pytestmark = pytest.mark.tensorflow

INDEX = 'import json, os; i = json.loads(os.environ["TF_CONFIG"])["task"]["index"]\n'


def program(code):
    return (sys.executable, "-c", INDEX + code)


def observe(code, *, seconds=60.0, **options):
    with TwoWorkers(program(code), seconds=seconds, **options) as workers:
        return workers.observe()


class TestAnswers:
    def test_equal_losses_are_well(self):
        assert observe('print(json.dumps({"loss": 0.5}))') == (
            False,
            "the workers' losses were 0.5 and 0.5",
        )

    def test_different_losses_are_not(self):
        assert observe('print(json.dumps({"loss": 0.5 + i}))')[0]

    def test_what_fit_raised_is_told_while_the_other_waits_in_vain(self):
        code = """
import time
if i == 0: time.sleep(600)
print(json.dumps({"error": "ValueError: PerReplica"}))
"""
        assert observe(code) == (True, "fit raised ValueError: PerReplica")

    def test_a_worker_without_an_answer_is_no_answer(self):
        with pytest.raises(RuntimeError, match="exit code 1: RuntimeError: no port"):
            observe('raise RuntimeError("no port")')

    def test_a_worker_that_says_nothing_is_no_answer(self):
        with pytest.raises(RuntimeError, match="exit code 0"):
            observe("pass")

    def test_they_may_not_take_for_ever(self):
        times = iter([0.0, 61.0])
        with pytest.raises(TimeoutError, match="not done after 60 s"):
            observe("import time; time.sleep(600)", clock=lambda: next(times))

    def test_what_is_done_is_told_however_late_it_is_asked(self):
        times = iter([0.0])
        workers = TwoWorkers(
            program('print(json.dumps({"loss": 1.0}))'),
            seconds=60,
            clock=lambda: next(times),
        )
        with workers:
            for process, _ in workers._started:
                process.wait()
            assert not workers.observe()[0]


class TestTheirEnd:
    def test_none_outlives_who_started_it(self):
        workers = TwoWorkers(program("import time; time.sleep(600)"), seconds=60)

        def interrupted():
            with workers:
                assert {process.poll() for process, _ in workers._started} == {None}
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            interrupted()
        assert None not in {process.poll() for process, _ in workers._started}

    def test_a_program_that_cannot_be_started_leaves_none(self):
        workers = TwoWorkers(("/no/such/program",), seconds=60)
        with pytest.raises(FileNotFoundError), workers:
            pass
        assert workers._started == []

    def test_a_worker_ends_with_the_process_that_started_it(self):
        done = subprocess.run(
            COMMAND, stdin=subprocess.DEVNULL, timeout=60, check=False
        )
        assert done.returncode == 1


def test_a_strategy_needs_tensorflow(monkeypatch):
    monkeypatch.setattr("keras.backend.backend", lambda: "jax")
    with pytest.raises(
        ValueError, match="needs the TensorFlow backend. Received: backend='jax'"
    ):
        main()


@pytest.mark.slow
class TestTensorFlow:
    def test_two_workers_cannot_fit(self):
        with TwoWorkers(seconds=120) as workers:
            affected, evidence = workers.observe()
        assert affected
        assert "PerReplica" in evidence

    def test_they_can_with_what_is_prescribed(self, monkeypatch):
        monkeypatch.setenv("TF_USE_LEGACY_KERAS", "0")
        exec(PROBES["A11"].remedy, {"os": os})
        with TwoWorkers(seconds=120) as workers:
            affected, evidence = workers.observe()
        assert not affected, evidence
