"""What the tests of runs share: runs on disk, and a process that has ended."""

import subprocess
import sys
from datetime import datetime

import pytest

from tlcore.runs.run import start_run

MOMENT = datetime(2026, 1, 2, 3, 4, 5)


@pytest.fixture(scope="session")
def start():
    """Return a function that starts a run of model_3 with sample_net."""

    def begin(out, recipe="model_3", now=MOMENT, **document):
        about = {"recipe": {"name": "model_3", "backbone": "sample_net"}}
        return start_run(out, recipe, {**about, **document}, now=now)

    return begin


@pytest.fixture(scope="session")
def ended(start):
    """Return a function that writes a run of two epochs that is done."""

    def write(out, recipe="model_3", now=MOMENT, **values):
        run = start(out, recipe, now)
        run.write_history(
            {"epoch": [0, 1], "loss": [2.0, 1.0], "val_loss": [3.0, None]}
        )
        run.finish("done", **values)
        return run.path

    return write


@pytest.fixture(scope="session")
def gone():
    """Return the number of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        pass
    return process.pid
