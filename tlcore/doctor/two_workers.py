"""Two workers: one fit under MultiWorkerMirroredStrategy, in processes of their own.

Owns starting both workers on the loopback interface, what they answer, and their end:
none outlives the process that started it. `python -m tlcore.doctor.two_workers` is one
of them. What the answer means to a user is in `questions`.
"""

import json
import os
import socket
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import IO, Any, Self

from tlcore.arguments import require_tensorflow
from tlcore.processes import whole_program

WORKERS = 2
COMMAND = (sys.executable, "-m", "tlcore.doctor.two_workers")
"""The program that each worker runs."""

_POLL_SECONDS = 0.05

_TEXT = 120
"""Characters of an error that are kept."""


class TwoWorkers:
    """Workers that train together. A context manager: on exit they are gone.

    Args:
        command: what each runs. It prints a line of JSON: "loss", the loss of its
            epoch, or "error", what `fit` raised.
        seconds: how long they may take, from their start.
        clock: seconds from any origin.
    """

    def __init__(
        self,
        command: Sequence[str] = COMMAND,
        *,
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._command, self._seconds, self._clock = command, seconds, clock
        self._stack = ExitStack()
        self._started: list[tuple[subprocess.Popen[str], IO[str]]] = []
        self._end = 0.0

    def __enter__(self) -> Self:
        self._end = self._clock() + self._seconds
        with ExitStack() as stack:
            addresses = _free_addresses()
            for index in range(WORKERS):
                errors = stack.enter_context(tempfile.TemporaryFile("w+"))
                process = subprocess.Popen(  # noqa: S603 - our own module, or a test's
                    self._command,
                    env={**os.environ, **_environment(addresses, index)},
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    text=True,
                )
                stack.enter_context(process)
                stack.callback(process.kill)
                self._started.append((process, errors))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def observe(self) -> tuple[bool, str]:
        """Return whether training together fails, and the evidence; wait for both.

        Raises:
            TimeoutError: they took too long.
            RuntimeError: one ended without an answer.
        """
        answers: list[dict[str, Any]] = []
        waiting = list(self._started)
        while waiting:
            for worker in [one for one in waiting if one[0].poll() is not None]:
                waiting.remove(worker)
                answers.append(_answer(*worker))
                if "error" in answers[-1]:  # the other one waits for it for ever
                    return True, f"fit raised {answers[-1]['error']}"
            if waiting and self._clock() > self._end:
                raise TimeoutError(
                    f"the two workers were not done after {self._seconds:.0f} s"
                )
            time.sleep(_POLL_SECONDS if waiting else 0)
        losses = [answer["loss"] for answer in answers]
        shown = " and ".join(f"{loss:.6g}" for loss in losses)
        return len(set(losses)) > 1, f"the workers' losses were {shown}"


def _answer(process: subprocess.Popen[str], errors: IO[str]) -> dict[str, Any]:
    lines = process.stdout.read().splitlines() if process.stdout else []
    if process.returncode == 0 and lines:
        answer: dict[str, Any] = json.loads(lines[-1])
        return answer
    errors.seek(0)
    last = [line for line in errors.read().splitlines() if line.strip()][-1:]
    raise RuntimeError(
        f"a worker ended with exit code {process.returncode}: {''.join(last)}"
    )


def _free_addresses() -> list[str]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(WORKERS)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]


def _environment(addresses: list[str], index: int) -> dict[str, str]:
    cluster = {"worker": addresses}
    task = {"type": "worker", "index": index}
    return {
        "TF_CONFIG": json.dumps({"cluster": cluster, "task": task}),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "CUDA_VISIBLE_DEVICES": "-1",  # each would take all memory of the same GPUs
        "no_proxy": "127.0.0.1",
    }


def main() -> None:
    """Train as the worker that TF_CONFIG names, and print the result.

    Raises:
        ValueError: the backend of Keras is not TensorFlow.
    """
    import tensorflow as tf

    require_tensorflow("A strategy needs")
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    with strategy.scope():
        model = tf.keras.Sequential([tf.keras.Input((4,)), tf.keras.layers.Dense(1)])
        model.compile("sgd", "mse")
    rows = tf.reshape(tf.range(32.0), (8, 4)) / 32
    data = tf.data.Dataset.from_tensor_slices((rows, rows[:, :1])).batch(4)
    try:
        history = model.fit(data, epochs=1, verbose=0)
    except (ValueError, TypeError, NotImplementedError) as error:
        text = textwrap.shorten(str(error), _TEXT, placeholder=" ...")
        _say(error=f"{type(error).__name__}: {text}")
    else:
        _say(loss=history.history["loss"][-1])


def _end_with_parent() -> None:
    """End this process when the one that started it is gone, however it ended."""
    # Not by `sys.stdin`: a thread that holds its lock while Python finalizes makes the
    # process abort.
    while os.read(0, 1):
        pass
    os._exit(1)


def _say(**answer: Any) -> None:
    print(json.dumps(answer), flush=True)  # noqa: T201 - its parent reads it


if __name__ == "__main__":
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with whole_program():
        main()
