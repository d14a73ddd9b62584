"""Signals: a run that is ended from outside says so, and exits with their code."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from tlcore.checkpoints.state_folder import StateFolder
from tlcore.cli import main as cli
from tlcore.cli.signals import Signals

# A thread of tf.data that is in Python when the command ends, and stays there: if
# Python were finalized, it would wait for that thread or abort with it.
STUCK = """
import os, signal, sys, threading, time
import tensorflow as tf
from tlcore.cli import main as cli

inside = threading.Event()

def second(number):
    if number:
        inside.set()
        time.sleep(3600)
    return number

numbers = tf.data.Dataset.range(2)
numbers = numbers.map(lambda n: tf.numpy_function(second, [n], n.dtype))
iterator = iter(numbers.prefetch(1))
next(iterator)
inside.wait()

@cli.tlcore.command()
def done():
    print("done")

@cli.tlcore.command()
def wrong():
    raise ValueError("wrong")

@cli.tlcore.command()
def terminated():
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(60)

cli.program()
"""


class TestSignals:
    @pytest.mark.parametrize(
        ("number", "code", "status"),
        [
            pytest.param(signal.SIGINT, 130, "interrupted", marks=pytest.mark.matrix),
            (signal.SIGTERM, 143, "terminated"),
            pytest.param(signal.SIGHUP, 129, "terminated", marks=pytest.mark.matrix),
        ],
    )
    def test_a_signal_ends_a_run_that_says_so(
        self, data, tmp_path, number, code, status, small, command
    ):
        process = subprocess.Popen(
            [
                *(*command, "run", "model_0", *small[:2]),
                *("--percent=100", "--epochs=10000"),
                *(f"--data={data}", f"--out={tmp_path}"),
            ],
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        )
        try:
            history = None
            for _ in range(3000):  # five minutes, on a machine that is busy
                history = next(tmp_path.glob("model_0/*/history.csv"), None)
                if history or process.poll() is not None:
                    break
                time.sleep(0.1)
            process.send_signal(number)
            _, err = process.communicate(timeout=240)
        finally:
            process.kill()
            process.communicate()
        assert process.returncode == code, err
        assert "Traceback" not in err
        document = json.loads((history.parent / "run.json").read_text())
        assert document["status"] == status
        assert "ending after this step" in err
        assert f"to go on: tlcore run --resume {document['id']}" in err
        # Of the step that it waited for, or of the epoch that ended with it.
        (*_, state) = StateFolder(
            history.parent / "checkpoints/feature_extraction.states"
        ).files()
        assert state.stat().st_mtime >= history.stat().st_mtime - 1

    @pytest.mark.matrix
    @pytest.mark.parametrize(
        ("command", "code", "out", "err"),
        [
            pytest.param("done", 0, "done\n", "", marks=pytest.mark.matrix),
            pytest.param(
                *("wrong", 2, "", "tlcore: error: wrong\n"), marks=pytest.mark.matrix
            ),
            ("terminated", 143, "", ""),
        ],
    )
    @pytest.mark.tensorflow
    def test_a_thread_of_tensorflow_neither_aborts_the_end_nor_holds_it_up(
        self, command, code, out, err
    ):
        ended = subprocess.run(
            [sys.executable, "-c", STUCK, command],
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        )
        assert (ended.returncode, ended.stdout) == (code, out), ended.stderr
        # TensorFlow writes a line when it is loaded, before any log level applies.
        assert ended.stderr.endswith(err)
        for word in ("Fatal", "terminate called", "Traceback"):
            assert word not in ended.stderr

    @pytest.mark.parametrize(
        ("number", "error"),
        [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)],
    )
    def test_a_signal_that_python_forgets_is_remembered(self, capsys, number, error):
        class Finalized:
            def __del__(self):
                os.kill(os.getpid(), number)
                sum(range(10))  # the handler runs between two of these

        # A job that a shell sent to the background has Ctrl-C ignored.
        inherited = signal.signal(number, signal.default_int_handler)
        try:
            with Signals() as signals:
                signals.check()
                Finalized()
                with pytest.raises(error):
                    signals.check()
            assert signal.getsignal(number) is signal.default_int_handler
        finally:
            signal.signal(number, inherited)
        assert capsys.readouterr().err == ""

    def test_a_signal_waits_while_it_is_held_and_a_second_one_does_not(self, capsys):
        with Signals() as signals:
            signals.hold()
            os.kill(os.getpid(), signal.SIGTERM)
            sum(range(10))
            assert signals.asked
            with pytest.raises(SystemExit):
                signal.raise_signal(signal.SIGTERM)
            assert signals.release().code == 143
        assert capsys.readouterr().err.count("ending after this step") == 1

    def test_what_was_held_is_given_when_it_is_released(self):
        with Signals() as signals:
            signals.hold()
            assert signals.release() is None
            signals.hold()
            os.kill(os.getpid(), signal.SIGINT)
            assert isinstance(signals.release(), KeyboardInterrupt)

    def test_a_signal_that_is_ignored_stays_so(self, monkeypatch):
        monkeypatch.setattr(signal, "getsignal", lambda _: signal.SIG_IGN)
        watched = []
        monkeypatch.setattr(signal, "signal", lambda *item: watched.append(item))
        with Signals():
            assert watched == []

    def test_another_error_while_finalizing_is_reported_as_ever(self, monkeypatch):
        reported = []
        monkeypatch.setattr("sys.unraisablehook", reported.append)

        class Finalized:
            def __del__(self):
                raise ValueError

        with Signals():
            Finalized()
        assert [type(x.exc_value) for x in reported] == [ValueError]

    @pytest.mark.matrix
    def test_a_signal_that_was_forgotten_ends_training_after_the_next_step(
        self, data, tmp_path, monkeypatch, small
    ):
        monkeypatch.setattr(Signals, "check", lambda self: sys.exit(143))
        # Features that are found are no steps.
        cache = f"--cache={tmp_path / 'features'}"
        options = (*small, f"--data={data}", f"--out={tmp_path}", cache)
        with pytest.raises(SystemExit) as ended:
            cli.main(["run", "model_0", *options])
        assert ended.value.code == 143
        (run,) = tmp_path.glob("model_0/*/run.json")
        assert json.loads(run.read_text())["status"] == "terminated"
