"""Held lines: what libraries write to file descriptor 2, kept until something fails.

Owns where such lines go. TensorFlow's C++ code writes notes there that say nothing to
most people (oneDNN, features of the processor, missing GPUs, the end of a dataset) and
a few without which a failure cannot be understood. While a command runs, descriptor 2
leads to a process that keeps what it reads; `sys.stderr`, where the command's own lines
and tracebacks go, leads to the terminal as before. The kept lines are printed where the
command fails, and also where it is killed or crashes: the keeper outlives it.
"""

import atexit
import logging
import os
import selectors
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

HEADER = b"tlcore: lines of TensorFlow and other libraries until it failed:\n"

LEVEL_VARIABLE = "TF_CPP_MIN_LOG_LEVEL"
"""What TensorFlow writes: from 0, notes, to 3, fatal errors only."""

_MAX_BYTES = 1 << 20
"""How much is kept; of more, the end."""
_CHUNK_BYTES = 1 << 16
_FINE = b"k"
"""What the command writes to its keeper when it ends as it should."""


@contextmanager
def held_back() -> Iterator[None]:
    """Hold back what libraries write to descriptor 2; print it if the program fails.

    A program fails if an exception other than SystemExit and KeyboardInterrupt leaves
    the `with` block, or if it ends in any way without leaving it.

    Where a process cannot be forked (Windows), or standard error is closed or is
    another descriptor, nothing is held back.
    """
    if not hasattr(os, "fork") or not _writes_to_2():
        yield
        return
    # As nobody sees them otherwise: warnings too, which may explain a failure.
    os.environ.setdefault(LEVEL_VARIABLE, "1")
    keeper = _Keeper()
    keeper.take_over()
    try:
        yield
    except (SystemExit, KeyboardInterrupt):
        keeper.forget()
        raise
    else:
        keeper.forget()


def _writes_to_2() -> bool:
    try:
        return sys.stderr.fileno() == 2
    except (AttributeError, OSError, ValueError):  # closed, or not a file
        return False


class _Keeper:
    """A process that reads lines and outlives this one, to print them or not."""

    def __init__(self) -> None:
        self._fine = False
        lines, self._lines = os.pipe()
        word, self._word = os.pipe()
        shown = os.dup(2)
        # Before any library has started a thread: a fork copies only this one.
        self._process = os.fork()
        if not self._process:
            try:
                # It must not hold open what the program closes. Where a standard
                # stream was closed before, a pipe may have its number.
                mine = {lines, word, shown}
                for descriptor in {0, 1, 2, self._lines, self._word} - mine:
                    with suppress(OSError):
                        os.close(descriptor)
                _keep(lines, word, shown)
            finally:
                os._exit(0)
        os.close(lines)
        os.close(word)
        self._shown = shown

    def take_over(self) -> None:
        """Lead descriptor 2 to the keeper, and `sys.stderr` to where 2 led."""
        stream = sys.stderr
        stream.flush()
        sys.stderr = os.fdopen(self._shown, "w", 1, stream.encoding, stream.errors)
        # rich asks this one for the width of the terminal.
        sys.__stderr__ = sys.stderr  # type: ignore[misc]
        # Children inherit it, and so does what they write.
        os.dup2(self._lines, 2)
        os.close(self._lines)
        # What libraries log in Python is of the same kind. A handler of the root keeps
        # TensorFlow from adding one of its own.
        logging.basicConfig(stream=os.fdopen(2, "w", 1, closefd=False))
        # The first to register is the last to run: an exit handler may crash as well.
        atexit.register(self._end)

    def forget(self) -> None:
        """Drop the lines when the program ends."""
        self._fine = True

    def _end(self) -> None:
        """Say how it ended; return when the keeper has printed what it prints."""
        with suppress(OSError):
            if self._fine:
                os.write(self._word, _FINE)
            os.close(self._word)
            os.waitpid(self._process, 0)


def _keep(lines: int, word: int, shown: int) -> None:
    """Read lines until the program has ended; print them unless it ended as it should.

    Args:
        lines: what the program and its children write to descriptor 2.
        word: closed when the program ends, whatever ends it.
        shown: where to print.
    """
    for number in ("SIGINT", "SIGTERM", "SIGHUP"):  # they are for the program
        signal.signal(getattr(signal, number), signal.SIG_IGN)
    kept = b""
    os.set_blocking(lines, False)
    with selectors.DefaultSelector() as ready:
        ready.register(lines, selectors.EVENT_READ)
        ready.register(word, selectors.EVENT_READ)
        ended = False
        while not ended:
            ended = any(key.fd == word for key, _ in ready.select())
            # All of it, also after the end: a crash writes and is gone.
            while data := _read(lines):
                kept = (kept + data)[-_MAX_BYTES:]
    if kept and os.read(word, 1) != _FINE:
        with suppress(OSError):
            os.write(shown, HEADER + kept)


def _read(lines: int) -> bytes:
    try:
        return os.read(lines, _CHUNK_BYTES)
    except BlockingIOError:
        return b""
