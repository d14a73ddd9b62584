"""The board: a TensorBoard that answers, and ends however its parent ends."""

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tlcore.cli import tensorboard as board
from tlcore.cli.tensorboard import local_board

PARENT = """
import sys, time
from tlcore.cli.tensorboard import local_board
with local_board(sys.argv[1]) as address:
    print(address, flush=True)
    time.sleep(600)
"""


def answers(address):
    try:
        with urllib.request.urlopen(address + "data/environment", timeout=5) as answer:
            return json.loads(answer.read())
    except (urllib.error.URLError, ConnectionError):
        return None


def children(pid):
    """Return the processes below one, with those below them."""
    below = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid and fields[0] != "Z":
            below += [int(stat.parent.name), *children(int(stat.parent.name))]
    return below


def alive(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def until(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


needs_proc = pytest.mark.skipif(
    not Path("/proc/self/stat").exists(), reason="no /proc to look for orphans in"
)


@needs_proc
def test_it_answers_within_the_block_and_ends_with_it(tmp_path):
    with local_board(tmp_path / "later") as address:
        environment = answers(address)
        assert environment["data_location"] == str(tmp_path / "later")
        # Nothing of TensorFlow is loaded for it.
        names = ("tlcore.cli.tensorboard", str(tmp_path))  # it has a server of its own
        (pid,) = (
            p
            for p in children(os.getpid())
            if all(name in command(p) for name in names)
        )
        below = [pid, *children(pid)]
        loaded = Path(f"/proc/{pid}/maps").read_text()
        assert "tensorflow" not in loaded
    assert answers(address) is None
    until(lambda: not any(map(alive, below)))


def command(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


def standing_in(program=""):
    """Return a command that says what TensorBoard says, and waits."""
    code = (
        f"import sys, time\n{program}\nprint(f'at http://127.0.0.1:{{sys.argv[2]}}/')"
    )
    return sys.executable, "-uc", f"{code}\ntime.sleep(600)"


def test_a_port_that_is_taken_is_left_alone(tmp_path):
    with board.socket(board.AF_INET, board.SOCK_STREAM) as taken:
        taken.bind((board.HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        with local_board(tmp_path, port=port, command=standing_in()) as address:
            assert f":{port}/" not in address
    with local_board(tmp_path, port=port, command=standing_in()) as address:
        assert address == f"http://127.0.0.1:{port}/"


def test_a_port_that_is_taken_meanwhile_is_left_too(tmp_path):
    late = standing_in("if sys.argv[2] != '0': sys.exit('it was already in use')")
    with local_board(tmp_path, port=free_port(), command=late) as address:
        assert address == "http://127.0.0.1:0/"


def test_the_system_chooses_a_port_that_the_address_names(tmp_path):
    with board.socket(board.AF_INET, board.SOCK_STREAM) as taken:
        taken.bind((board.HOST, 0))
        taken.listen()
        with local_board(tmp_path, port=taken.getsockname()[1]) as address:
            assert answers(address)


def test_a_server_that_cannot_start_ends_without_an_abort(tmp_path):
    with board.socket(board.AF_INET, board.SOCK_STREAM) as taken:
        taken.bind((board.HOST, 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        with subprocess.Popen(
            [sys.executable, "-m", "tlcore.cli.tensorboard", tmp_path, port],
            stdin=subprocess.PIPE,  # open: its parent lives
            stderr=subprocess.PIPE,
            text=True,
        ) as server:
            said = server.stderr.read()
            code = server.wait(60)
    assert code > 0, said
    assert "already in use" in said


def free_port():
    with board.socket(board.AF_INET, board.SOCK_STREAM) as probe:
        probe.bind((board.HOST, 0))
        return probe.getsockname()[1]


@needs_proc
def test_an_error_in_the_block_ends_it(tmp_path):
    def fails():
        with local_board(tmp_path, command=standing_in()):
            seen.extend(p for p in children(os.getpid()) if str(tmp_path) in command(p))
            raise ZeroDivisionError

    seen = []
    with pytest.raises(ZeroDivisionError):
        fails()
    assert seen
    assert not any(map(alive, seen))


@needs_proc
def test_a_parent_that_is_killed_leaves_no_orphan(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, tmp_path], stdout=subprocess.PIPE, text=True
    ) as parent:
        try:
            address = parent.stdout.readline().strip()
            below = children(parent.pid)
            assert below
            assert answers(address)
            parent.kill()
            parent.wait(30)
            until(lambda: not any(map(alive, below)))
        finally:
            parent.kill()
    assert answers(address) is None


@pytest.mark.parametrize(
    ("program", "told"),
    [
        ("raise SystemExit('no module named pkg_resources')", r"\(1\).*pkg_resources"),
        ("pass", r"ended \(0\) and said: nothing"),
    ],
)
def test_one_that_does_not_start_says_why(tmp_path, program, told):
    with (
        pytest.raises(OSError, match=rf"must start before training.*Received.*{told}"),
        local_board(tmp_path, command=(sys.executable, "-c", program)),
    ):
        pytest.fail("it did not start")


def test_one_that_says_nothing_is_ended_in_the_end(tmp_path, monkeypatch):
    monkeypatch.setattr(board, "END_SECONDS", 0.1)
    deaf = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print('x', flush=True); time.sleep(600)"
    )
    moments = iter([0.0, *[1.0] * 10, 61.0])
    with (
        pytest.raises(OSError, match="not answered in 60 s and said: x"),
        local_board(
            tmp_path,
            command=(sys.executable, "-c", deaf),
            clock=lambda: next(moments),
        ),
    ):
        pytest.fail("it did not start")
