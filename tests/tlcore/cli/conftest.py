"""What tests of the command share: a data folder, a finished run, ways to run it."""

import sys

import pytest

from tlcore.cli.main import main
from tlcore.data.sample_images import write_sample_splits

# What a shell sent to the background ignores Ctrl-C, and nohup the end of a terminal;
# both hand that down.
_COMMAND = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
from tlcore.cli.main import program
program()
"""

_SMALL = (
    "--backbone=sample_net",
    "--image-size=32",
    "--epochs=1",
    "--fine-tune-epochs=1",
    "--percent=100",
)


@pytest.fixture(scope="package")
def data(tmp_path_factory):
    directory = tmp_path_factory.mktemp("data") / "images"
    write_sample_splits(
        directory,
        classes=3,
        per_class=8,
        validation_per_class=0,
        test_per_class=4,
        size=32,
    )
    return directory


@pytest.fixture
def tlcore(capsys):
    """Run the command in this process; returns (exit code, output, errors)."""

    def run(*arguments):
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return ended.value.code, out, err

    return run


@pytest.fixture(scope="package")
def run_path(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    with pytest.raises(SystemExit) as ended:
        main(["run", "model_3", *_SMALL, f"--data={data}", f"--out={out}", "--json"])
    assert ended.value.code == 0
    (path,) = (out / "model_3").iterdir()
    return path


@pytest.fixture(scope="session")
def small():
    """Options of a run that takes seconds."""
    return _SMALL


@pytest.fixture(scope="session")
def command():
    """The command as a process of its own, whose signals are not ignored."""
    return (sys.executable, "-c", _COMMAND)
