"""Held lines: what libraries write to descriptor 2, and when it is seen."""

import os
import signal
import subprocess
import sys

import pytest

from tlcore.cli.held_lines import HEADER, LEVEL_VARIABLE

PROGRAM = """
import atexit, ctypes, logging, os, signal, subprocess, sys, time
from tlcore.processes import whole_program
from tlcore.cli.held_lines import held_back
with whole_program(), held_back():
    os.write(2, b"of a library\\n")
    logging.getLogger("tensorflow").warning("of its Python")
    subprocess.run([sys.executable, "-c", "import os; os.write(2, b'of a child, ')"])
    print("of the command", file=sys.stderr)
    {ending}
"""
MATRIX = pytest.mark.matrix
OWN = "of the command\n"
HELD = HEADER.decode() + (
    "of a library\nWARNING:tensorflow:of its Python\nof a child, "
)


def run(ending, program=PROGRAM, shell="", **environment):
    words = [sys.executable, "-c", program.replace("{ending}", ending)]
    if shell:
        words = ["sh", "-c", f'exec "$0" "$@" {shell}', *words]
    environment = {**os.environ, **environment}
    return subprocess.run(
        words,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=environment,
    )


@pytest.mark.parametrize(
    ("ending", "code"),
    [
        pytest.param("pass", 0, marks=MATRIX),
        ("sys.exit(2)", 2),
        ("os.kill(os.getpid(), signal.SIGINT) or time.sleep(9)", 130),
    ],
)
def test_a_program_that_ends_as_it_should_shows_its_own_lines_only(ending, code):
    ended = run(ending)
    assert ended.returncode == code
    assert ended.stderr.startswith(OWN)
    assert "of a " not in ended.stderr


@pytest.mark.parametrize(
    ("ending", "code"),
    [
        ("raise KeyError('lost')", 1),
        ("os.abort()", -signal.SIGABRT),
        pytest.param("ctypes.string_at(0)", -signal.SIGSEGV, marks=MATRIX),
        ("os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL),
        pytest.param("atexit.register(os.abort)", -signal.SIGABRT, marks=MATRIX),
    ],
)
def test_one_that_fails_is_killed_or_crashes_shows_them_all(ending, code):
    ended = run(ending)
    assert ended.returncode == code
    assert ended.stderr.startswith(OWN)
    assert ended.stderr.endswith(HELD)
    assert ("KeyError: 'lost'\n" + HELD in ended.stderr) == ("Key" in ending)


def test_the_last_words_of_a_crash_are_among_them():
    ended = run("os.write(2, b'F check failed'), os.abort()")
    assert ended.stderr.endswith(HELD + "F check failed")


def test_nothing_is_said_where_nothing_was_held():
    program = PROGRAM.replace('os.write(2, b"of a library\\n")', "{ending}")
    ended = run("print('own', file=sys.stderr), os._exit(3)", program)
    assert (ended.returncode, ended.stderr) == (3, "own\n")


def test_of_very_many_lines_the_end_is_shown():
    ended = run("[os.write(2, b'%07d\\n' % i) for i in range(400_000)], os.abort()")
    _, lines = ended.stderr.split(HEADER.decode())
    assert len(lines) == 1 << 20
    assert lines.endswith("0399998\n0399999\n")


@pytest.mark.parametrize(
    "shell", ["<&- >&-", *(pytest.param(x, marks=MATRIX) for x in ("<&-", ">&-"))]
)
def test_standard_streams_may_be_closed(shell):
    ended = run("os.abort()", shell=shell)
    assert (ended.returncode, ended.stderr) == (-signal.SIGABRT, OWN + HELD)


def test_without_standard_error_nothing_is_held():
    program = PROGRAM.replace('os.write(2, b"of a library\\n")', "{ending}")
    ended = run("sys.exit(sys.stderr is not None)", program, shell="2>&-")
    assert (ended.returncode, ended.stderr) == (0, "")


def test_terminals_keep_their_width():
    # rich asks `sys.__stderr__` for its descriptor.
    ended = run("print(sys.__stderr__ is sys.stderr, sys.stderr.fileno() != 2)")
    assert ended.stdout == "True True\n"


COMMAND = """
import os, sys
from tlcore.cli import main as cli

@cli.tlcore.command()
def fails():
    os.write(2, os.environ["TF_CPP_MIN_LOG_LEVEL"].encode())
    raise KeyError("lost")

sys.argv[1:] = ["fails"]
cli.program()
"""


def test_the_command_holds_warnings_too(monkeypatch):
    monkeypatch.delenv(LEVEL_VARIABLE, raising=False)
    ended = run("", COMMAND)
    assert ended.returncode == 1
    assert ended.stderr.endswith(f"KeyError: 'lost'\n{HEADER.decode()}1")


def test_with_tracebacks_asked_for_everything_is_seen_at_once(monkeypatch):
    monkeypatch.delenv(LEVEL_VARIABLE, raising=False)
    ended = run("", COMMAND, TLCORE_TRACEBACK="1")
    assert ended.returncode == 1
    assert ended.stderr.startswith("2Traceback")
    assert HEADER.decode() not in ended.stderr
