"""Processes: whether one runs, and how our own programs end.

Owns the check of a process by its number, and an exit that a thread of TensorFlow can
neither abort nor hold up. It starts no process.
"""

import atexit
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress


def is_alive(process: int) -> bool:
    """Return whether a process with this number runs on this machine."""
    try:
        os.kill(process, 0)  # signal 0 only checks
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # it runs and belongs to another user
    return True


@contextmanager
def whole_program() -> Iterator[None]:
    """Run what this process is for; afterwards the process ends with its exit code.

    While Python finalizes it ends every thread that asks for the interpreter lock,
    wherever that thread is (CPython up to 3.13 calls `pthread_exit`). A thread of
    `tf.data` is in C++ that must not be unwound: the process aborts with SIGABRT, or
    waits for the thread for ever. So the process ends before Python finalizes, after
    all that a program may expect: threads joined, exit handlers run, output flushed.
    """
    code = 1  # of an exception, which Python prints
    try:
        yield
        code = 0
    except SystemExit as ending:
        given = ending.code
        code = given if isinstance(given, int) else int(given is not None)
        raise
    except KeyboardInterrupt:
        code = 128 + signal.SIGINT
        raise
    finally:
        # Exit handlers run in reverse order: the one registered last runs first, and
        # runs the others before it leaves.
        atexit.register(_leave, code)


def _leave(code: int) -> None:
    atexit.unregister(_leave)
    try:
        atexit._run_exitfuncs()  # noqa: SLF001 - it has no public name
        for stream in filter(None, (sys.stdout, sys.stderr)):
            with suppress(OSError, ValueError):  # the disk is full, or the reader gone
                stream.flush()
    finally:
        os._exit(code)
