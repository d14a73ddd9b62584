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
from pathlib import Path


def is_alive(process: int, mark: str = "") -> bool:
    """Return whether a process with this number runs on this machine.

    Args:
        process: its number.
        mark: what `process_mark` said of it when it ran. Numbers come again: in a
            container that was started anew the next run has that of the last one.
    """
    try:
        os.kill(process, 0)  # signal 0 only checks
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # it runs and belongs to another user
    now = process_mark(process)
    return now is not None and (not mark or not now or mark == now)


def process_mark(process: int) -> str | None:
    """Return what tells a process from a later one with its number.

    That is when it was started, and which start of the system that was in. It is ""
    where the system does not say, and None for a process that has ended and was not
    waited for: without an init process in a container, it stays in the table.

    Example:
        >>> import os
        >>> process_mark(os.getpid()) == process_mark(os.getpid())
        True
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
        text = Path(f"/proc/{process}/stat").read_bytes()
    except OSError:
        return ""
    # Its name is in parentheses, and may hold some.
    state, *fields = text.rpartition(b")")[2].split()
    return None if state in {b"Z", b"X"} else f"{boot.strip()}/{fields[18].decode()}"


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
