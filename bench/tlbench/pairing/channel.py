"""Channel: messages between a comparison and the processes of its two sides.

Owns how a process of a side is started, asked and ended. A message is a JSON object,
as the two interpreters may be of different versions. A side only ever answers: of the
two processes of a pair one works and the other waits for its turn.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeAlias

VARIABLE = "TLBENCH_PAIR"
"""The environment variable with the number of a side's end of the channel."""

_LAST_LINES = 3
"""How much of what a process printed is quoted: pytest ends an error with three."""

Message: TypeAlias = dict[str, Any]


class GoneError(Exception):
    """The process of a side ended or did not answer in time."""


def send(connection: Connection, message: Message) -> None:
    """Send a message."""
    connection.send_bytes(json.dumps(message).encode())


def receive(connection: Connection) -> Message:
    """Wait for a message and return it.

    Raises:
        EOFError: the other end is closed.
    """
    message: Message = json.loads(connection.recv_bytes())
    return message


class Process:
    """A process of one side, which works only while it is asked.

    Args:
        words: the command.
        folder: where it is started.
        environ: its environment.
        output: the file that takes what it prints.
    """

    def __init__(
        self,
        words: Sequence[str],
        *,
        folder: Path,
        environ: Mapping[str, str],
        output: Path,
    ) -> None:
        ours, theirs = socket.socketpair()
        self._output = output
        with theirs, output.open("wb") as printed:
            self._process = subprocess.Popen(  # noqa: S603 - an interpreter, pytest
                list(words),
                cwd=folder,
                env={**environ, VARIABLE: f"{theirs.fileno():06d}"},
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=subprocess.STDOUT,
                # A group of its own: Ctrl-C reaches the comparison alone, which ends
                # the processes with all their children.
                start_new_session=True,
            )
        self._connection = Connection(ours.detach())

    def ask(self, message: Message, *, deadline: float) -> Message:
        """Send a message and return the answer.

        Args:
            message: what to do.
            deadline: the moment, by `time.monotonic`, after which nobody waits.

        Raises:
            GoneError: the process ended, or the deadline has passed.
        """
        try:
            send(self._connection, message)
        except OSError as error:
            raise GoneError(self.last_words()) from error
        return self.answer(deadline=deadline)

    def answer(self, *, deadline: float) -> Message:
        """Return the next message; see `ask`."""
        try:
            if not self._connection.poll(max(0.0, deadline - time.monotonic())):
                raise GoneError("it did not answer in time")
            return receive(self._connection)
        except (EOFError, OSError) as error:
            raise GoneError(self.last_words()) from error

    def last_words(self) -> str:
        """Return the last lines that the process printed."""
        text = self._output.read_text(encoding="utf-8", errors="replace")
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        return "; ".join(lines[-_LAST_LINES:]) or "it printed nothing"

    def kill(self) -> None:
        """Kill the process and its children, and wait for it."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._connection.close()
