"""TensorBoard: a local server that runs as long as the block that needs it.

Owns its process: it listens on this machine only, is waited for until it answers, and
ends with the program, however that ends. It knows a log folder, not what is in it.
"""

import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from socket import AF_INET, SOCK_STREAM, socket
from types import ModuleType
from typing import IO

HOST, PORT = "127.0.0.1", 6006
START_SECONDS = 60.0
END_SECONDS = 5.0
_LOOK_SECONDS = 0.1
_SHOWN_LINES = 5
_ADDRESS = re.compile(rf"http://{re.escape(HOST)}:\d+/")


@contextmanager
def local_board(
    log_dir: str | Path,
    *,
    port: int = PORT,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
    command: Sequence[str] = (sys.executable, "-m", "tlcore.cli.tensorboard"),
) -> Iterator[str]:
    """Start TensorBoard on a folder, give its address, and stop it after the block.

    Args:
        log_dir: the folder of all logs; it may be created later.
        port: the port to listen on; if it is taken, a free one.
        clock: seconds from any origin.
        sleep: waits some seconds.
        command: what is started; the folder and the port follow it.

    Raises:
        OSError: TensorBoard did not start; the message has its last lines.
    """
    # Free now, but perhaps taken when TensorBoard gets to it, seconds later. Port 0 is
    # chosen by the system when it is taken.
    ports = (port, 0) if _is_free(port) else (0,)
    with ExitStack() as stack:
        for number in ports:
            words = [*command, str(Path(log_dir).absolute()), str(number)]
            try:
                address = stack.enter_context(_server(words, clock, sleep))
            except _EndedError:
                if number == ports[-1]:
                    raise
            else:
                break
        yield address


class _EndedError(ChildProcessError):
    """TensorBoard ended before it answered."""


@contextmanager
def _server(
    words: Sequence[str], clock: Callable[[], float], sleep: Callable[[float], None]
) -> Iterator[str]:
    # In append mode, because both processes share one file position: reading must not
    # move the place where the child writes next.
    with tempfile.TemporaryFile("a+b") as said:
        # A session of its own: Ctrl-C goes to the whole foreground group of a terminal,
        # and TensorBoard must outlive it until the run has ended.
        process = subprocess.Popen(  # noqa: S603 - our own program
            list(words),
            stdin=subprocess.PIPE,
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            end = clock() + START_SECONDS
            while (address := _ADDRESS.search(_text(said))) is None:
                if (code := process.poll()) is not None:
                    raise _EndedError(_why(code, _text(said)))
                if clock() > end:
                    raise ChildProcessError(_why(None, _text(said)))
                sleep(_LOOK_SECONDS)
            yield address[0]
        finally:
            _end(process)


def _is_free(port: int) -> bool:
    with socket(AF_INET, SOCK_STREAM) as probe:
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _text(said: IO[bytes]) -> str:
    said.seek(0)
    return said.read().decode(errors="replace")


def _why(code: int | None, text: str) -> str:
    how = f"not answered in {START_SECONDS:g} s" if code is None else f"ended ({code})"
    last = " | ".join(text.strip().splitlines()[-_SHOWN_LINES:]) or "nothing"
    return (
        f"TensorBoard must start before training does. Received: it has {how} and "
        f"said: {last}. Run without --tensorboard, or fix what "
        "`python -m tensorboard.main --logdir runs` complains about."
    )


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdin:
        process.stdin.close()


def main(arguments: Sequence[str]) -> None:
    """Serve TensorBoard on LOGDIR and PORT until stopped or without a parent."""
    log_dir, port = arguments
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # Where this module can be imported, TensorBoard uses its own stub of TensorFlow: it
    # starts in one second instead of eight, with an eighth of the memory.
    sys.modules["tensorboard.compat.notf"] = ModuleType("tensorboard.compat.notf")
    from tensorboard.main import run_main

    sys.argv = [
        "tensorboard",
        f"--logdir={log_dir}",
        f"--host={HOST}",
        f"--port={port}",
    ]
    run_main()


def _end_with_parent() -> None:
    """End this process when the parent closes its end of the pipe, or dies."""
    # Not by `sys.stdin`: a thread that holds its lock while Python finalizes makes the
    # process abort.
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main(sys.argv[1:])
