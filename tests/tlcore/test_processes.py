"""Processes: whether one runs, and how our own programs end."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tlcore import processes
from tlcore.processes import is_alive, process_mark

PROGRAM = """
import atexit, sys, threading, time
from tlcore.processes import whole_program

class Late:
    def __del__(self):
        print("Python was finalized")

def work():
    time.sleep(0.2)
    print("the thread is done")

atexit.register(print, "registered first")
sys.modules["late"] = Late()
with whole_program():
    atexit.register(print, "registered last", end=", ")
    threading.Thread(target=work).start()
    {ending}
"""
SAID = "the thread is done\nregistered last, registered first\n"


@pytest.mark.parametrize(
    ("ending", "code", "error"),
    [
        ("pass", 0, ""),
        ("sys.exit()", 0, ""),
        ("sys.exit(143)", 143, ""),
        ("sys.exit('a word')", 1, "a word\n"),
        ("raise KeyError('lost')", 1, "KeyError: 'lost'\n"),
        ("raise KeyboardInterrupt", 130, "KeyboardInterrupt\n"),
    ],
)
def test_a_program_ends_as_it_would_without_the_finalization_of_python(
    ending, code, error
):
    program = [sys.executable, "-c", PROGRAM.format(ending=ending)]
    ended = subprocess.run(
        program, capture_output=True, text=True, timeout=60, check=False
    )
    assert (ended.returncode, ended.stdout) == (code, SAID)
    assert ended.stderr.endswith(error)
    assert ended.stderr.startswith("Traceback") == ("raise" in ending)


def test_an_exit_handler_that_fails_changes_nothing():
    program = PROGRAM.format(ending="atexit.register(sys.exit, 3); sys.exit(2)")
    ended = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (2, SAID)


def test_output_that_nobody_reads_changes_nothing():
    program = """
import sys
from tlcore.processes import whole_program
with whole_program():
    print("a word")
    sys.exit(143)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": ""},
    )
    process.stdout.close()
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (143, "")


def test_a_process_is_alive_until_it_has_ended():
    assert is_alive(os.getpid())
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait()
    assert not is_alive(ended.pid)


def test_a_process_that_nobody_waited_for_is_not_alive():
    with subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE) as ended:
        ended.stdout.read()  # it has ended when its output has
        for _ in range(500):
            if process_mark(ended.pid) is None:
                break
            time.sleep(0.01)
        assert not is_alive(ended.pid)


def test_a_later_process_with_its_number_is_another_one():
    mark = process_mark(os.getpid())
    assert is_alive(os.getpid(), mark)
    assert not is_alive(os.getpid(), f"{mark}0")


def test_without_a_mark_the_number_counts(monkeypatch):
    monkeypatch.setattr(processes, "Path", lambda _: Path("/nowhere"))
    assert process_mark(os.getpid()) == ""
    assert is_alive(os.getpid(), "a mark of another system")


def test_the_process_of_another_user_is_alive(monkeypatch):
    def refuse(*_):
        raise PermissionError

    monkeypatch.setattr(os, "kill", refuse)
    assert is_alive(1)
