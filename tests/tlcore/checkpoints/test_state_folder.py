"""State folder: the last two states are kept, and the newest whole one is taken."""

import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from tlcore.checkpoints.state_file import write_state_file
from tlcore.checkpoints.state_folder import StateFolder, place

ARRAY = {"model/0": np.arange(4.0)}


def written(tmp_path, *epochs):
    folder = StateFolder(tmp_path / "states")
    for epoch in epochs:
        folder.write({"epoch": epoch, "step": 0}, ARRAY)
    return folder


def names(folder):
    return [path.name for path in folder.files()]


class TestWrite:
    def test_the_last_two_are_kept(self, tmp_path):
        assert names(written(tmp_path, 0, 1, 2, 3)) == [
            "epoch-000002-step-00000000.state",
            "epoch-000003-step-00000000.state",
        ]

    def test_steps_come_between_epochs(self, tmp_path):
        folder = written(tmp_path, 9, 10)
        folder.write({"epoch": 10, "step": 120}, {})
        assert [path.name[6:27] for path in folder.files()] == [
            "000010-step-00000000.",
            "000010-step-00000120.",
        ]

    def test_what_a_killed_writer_left_goes(self, tmp_path):
        folder = written(tmp_path, 1)
        left = folder.path / ".epoch-000002-step-00000000-ab12.state"
        left.write_bytes(b"half")
        folder.write({"epoch": 2, "step": 0}, {})
        assert not left.exists()

    def test_states_after_this_one_go(self, tmp_path):
        folder = written(tmp_path, 4, 5)
        folder.files()[-1].write_bytes(b"damaged")
        folder.write({"epoch": 4, "step": 8}, {})
        assert [path.name[6:27] for path in folder.files()] == [
            "000004-step-00000000.",
            "000004-step-00000008.",
        ]

    def test_other_files_stay(self, tmp_path):
        folder = written(tmp_path, 1)
        (folder.path / "notes.txt").write_text("mine")
        folder.write({"epoch": 2, "step": 0}, {})
        assert (folder.path / "notes.txt").read_text() == "mine"


class TestNewest:
    def test_is_the_last_one(self, tmp_path):
        state = written(tmp_path, 2, 3).newest(pytest.fail)
        assert (state.epoch, state.step, state.where) == (3, 0, "after epoch 3")
        assert state.arrays["model/0"].tolist() == [0, 1, 2, 3]

    def test_is_the_one_before_if_the_last_is_damaged(self, tmp_path):
        folder, said = written(tmp_path, 2, 3), []
        path = folder.files()[-1]
        path.write_bytes(path.read_bytes()[:-1])
        assert folder.newest(said.append).epoch == 2
        assert said == [
            "damaged, so an older state is taken: epoch-000003-step-00000000.state: "
            "its checksum is not that of its content"
        ]

    def test_all_damaged_is_refused_with_each_reason(self, tmp_path):
        folder = written(tmp_path, 2, 3)
        for path in folder.files():
            path.write_bytes(b"")
        with pytest.raises(ValueError, match="damaged.*epoch-000003.*epoch-000002"):
            folder.newest(print)

    @pytest.mark.parametrize("there", [True, False])
    def test_none_is_refused(self, tmp_path, there):
        if there:
            (tmp_path / "states").mkdir()
        with pytest.raises(ValueError, match=r"which holds none\. Name the folder"):
            StateFolder(tmp_path / "states").newest(print)

    def test_a_newer_schema_is_refused(self, tmp_path):
        folder = written(tmp_path, 2)
        document = {"schema": 2, "epoch": 3, "step": 0}
        path = folder.path / "epoch-000003-step-00000000.state"
        write_state_file(path, document, {})
        with pytest.raises(ValueError, match="Install a newer tlcore"):
            folder.newest(print)


class TestFrozen:
    def test_is_written_once(self, tmp_path):
        folder = StateFolder(tmp_path)
        folder.write_frozen("ab" * 32, lambda: ARRAY)
        folder.write_frozen("ab" * 32, pytest.fail)
        assert folder.frozen("ab" * 32)["model/0"].tolist() == [0, 1, 2, 3]
        assert folder.files() == []

    def test_what_is_not_there_is_refused(self, tmp_path):
        with pytest.raises(ValueError, match="Build the model with the weights"):
            StateFolder(tmp_path).frozen("ab" * 32)


def test_a_place_in_words():
    assert place(0, 0) == "before epoch 1"
    assert place(2, 0) == "after epoch 2"
    assert place(2, 9) == "after step 9 of epoch 3"


WRITER = """
import sys, numpy as np
from tlcore.checkpoints.state_folder import StateFolder
folder = StateFolder(sys.argv[1])
epoch = int(sys.argv[2])
while True:
    epoch += 1
    arrays = {f"model/{i}": np.full(20_000, epoch + i, "float32") for i in range(20)}
    folder.write({"epoch": epoch, "step": 0}, arrays)
    print(epoch, flush=True)
"""


def killed_while_writing(folder, epoch, delay):
    """Kill a process that writes states; return the last that it said was written."""
    command = [sys.executable, "-c", WRITER, str(folder.path), str(epoch)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        said = int(process.stdout.readline())
        time.sleep(delay)
        os.kill(process.pid, signal.SIGKILL)
        return int([said, *process.stdout.read().split()][-1])


@pytest.mark.parametrize(
    "kills", [3, pytest.param(300, marks=[pytest.mark.slow, pytest.mark.timeout(900)])]
)
def test_a_kill_at_any_moment_leaves_the_last_whole_state(tmp_path, kills):
    folder, epoch = StateFolder(tmp_path / "states"), 0
    moments = random.Random(1)
    for _ in range(kills):
        said = killed_while_writing(folder, epoch, moments.uniform(0, 0.05))
        state = folder.newest(pytest.fail)  # none is damaged: each was moved into place
        epoch = state.epoch
        assert said <= epoch <= said + 1
        for i in range(20):
            assert (state.arrays[f"model/{i}"] == epoch + i).all()
        assert len(folder.files()) <= 3
