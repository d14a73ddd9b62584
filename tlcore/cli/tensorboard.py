"""The board: a local TensorBoard that lives as long as what it shows is made.

Owns its process: started on this machine alone, awaited, and ended however the program
ends, killed or not. It knows a log folder, not what is in it.
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
from contextlib import contextmanager
from pathlib import Path
from socket import AF_INET, SOCK_STREAM, socket
from types import ModuleType
from typing import IO

HOST, PORT = "127.0.0.1", 6006
START_SECONDS = 60.0
END_SECONDS = 5.0
_LOOK_SECONDS = 0.1
_TOLD_LINES = 5
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
    """Start TensorBoard on a folder, give its address, and end it with the block.

    Args:
        log_dir: the folder of all logs; it may come later.
        port: the port to listen at; another one where that is taken.
        clock: seconds from any origin.
        sleep: waits some seconds.
        command: what is started, with the folder and the port behind it.

    Raises:
        OSError: TensorBoard did not start; with the last it said.
    """
    chosen = port if _is_free(port) else _any_port()
    # Appended to: its place for reading is also that for writing.
    with tempfile.TemporaryFile("a+b") as said:
        # Of its own session, so that a Ctrl-C at the terminal is ours to answer.
        process = subprocess.Popen(  # noqa: S603 - our own program
            [*command, str(Path(log_dir).absolute()), str(chosen)],
            stdin=subprocess.PIPE,
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            end = clock() + START_SECONDS
            while (address := _ADDRESS.search(_text(said))) is None:
                if process.poll() is not None or clock() > end:
                    raise ChildProcessError(_why(process.poll(), _text(said)))
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


def _any_port() -> int:
    with socket(AF_INET, SOCK_STREAM) as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _text(said: IO[bytes]) -> str:
    said.seek(0)
    return said.read().decode(errors="replace")


def _why(code: int | None, text: str) -> str:
    how = f"not answered in {START_SECONDS:g} s" if code is None else f"ended ({code})"
    last = " | ".join(text.strip().splitlines()[-_TOLD_LINES:]) or "nothing"
    return (
        f"TensorBoard must start before training does. Received: it has {how} and "
        f"said: {last}. Run without --tensorboard, or mend what "
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
    """Be TensorBoard on LOGDIR at PORT, until ended or until the parent is gone."""
    log_dir, port = arguments
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # TensorBoard asks for this module, and where it is there leaves TensorFlow alone:
    # it starts in a second instead of eight, in an eighth of the memory.
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
    """End this process when the pipe that the parent holds is closed."""
    sys.stdin.buffer.read()
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main(sys.argv[1:])
