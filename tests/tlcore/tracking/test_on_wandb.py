"""On Weights & Biases: errors without it; what it writes on this machine offline."""

import json
import socket
import struct
import sys

import pytest

import tlcore as tl
from tlcore.tracking import tracker as seam
from tlcore.tracking.on_wandb import WandbTracker
from tlcore.tracking.wandb_files import epochs_in, records


@pytest.fixture
def wandb(monkeypatch, tmp_path):
    """Skip without the package; let it know nothing of who runs the tests."""
    for name in ("DIR", "CACHE_DIR", "CONFIG_DIR", "DATA_DIR"):
        monkeypatch.setenv(f"WANDB_{name}", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    for name in ("WANDB_PROJECT", "WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    with seam.answering():
        found = pytest.importorskip("wandb")
    yield found
    with seam.answering():
        found.teardown()


@pytest.fixture
def offline(wandb, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")


def read(path):
    """Return the configuration, the history and the exit code in a file of a run."""
    from wandb.proto.wandb_internal_pb2 import Record

    config, history, code = {}, [], None
    for content in records(path.read_bytes()):
        record = Record.FromString(content)
        kind = record.WhichOneof("record_type")
        if kind in {"run", "config"}:
            update = record.run.config if kind == "run" else record.config
            for item in update.update:
                key = item.key or "/".join(item.nested_key)
                config[key] = json.loads(item.value_json)
        elif kind == "history":
            items = record.history.item
            row = {(x.key or x.nested_key[0]): json.loads(x.value_json) for x in items}
            history.append((record.history.step.num, row))
        elif kind == "exit":
            code = record.exit.exit_code
    return config, history, code


def files_of(folder, key="*"):
    with seam.answering():
        sys.modules[
            "wandb"
        ].teardown()  # what its process still holds is on the disk then
    return sorted(folder.glob(f"wandb/offline-run-*-{key}/run-*.wandb"))


def test_without_the_package_the_line_that_installs_it_is_given(monkeypatch):
    monkeypatch.setattr(seam, "_is_there", lambda module: False)
    message = r'no wandb\. Run: pip install "tlcore\[wandb\]"'
    with pytest.raises(ValueError, match=message):
        tl.wandb_callback("flowers")


def test_records_end_where_a_file_was_torn_off_and_go_over_blocks():
    whole, block = b"x" * 40_000, 32 * 1024
    first = block - 7 - 7
    content = bytes(7)
    content += struct.pack("<IHB", 0, first, 2) + whole[:first]
    content += struct.pack("<IHB", 0, len(whole) - first, 4) + whole[first:]
    content += struct.pack("<IHB", 0, 2, 1) + b"ab"
    assert list(records(content)) == [whole, b"ab"]
    assert list(records(content[:-1])) == [whole]
    assert list(records(b"")) == []


def test_two_phases_are_one_run_that_is_as_the_history(
    offline, tmp_path, tiny, train, capfd
):
    model, options = tiny(), {"verbose": 0, "cache": "off"}
    lines, params = [], {"dropout": 0.2, "recipe": {"a": 1}}
    with tl.wandb_callback("flowers", params=params, say=lines.append) as tracking:
        options["callbacks"] = [tracking]
        first = tl.feature_extract(model, train, epochs=2, **options)
        second = tl.fine_tune(model, train, history=first, last=1, epochs=1, **options)
    assert tracking.complete
    (file,) = files_of(tmp_path)
    config, history, code = read(file)
    assert config["dropout"] == 0.2
    assert config["recipe"] == {"a": 1}
    assert code == 0
    losses = first.history["loss"] + second.history["loss"]
    assert [(step, row["loss"]) for step, row in history] == list(enumerate(losses))
    assert [row["phase"] for _, row in history] == [
        *["feature_extraction"] * 2,
        "fine_tuning",
    ]
    assert lines == [f"Weights & Biases: offline; to send it: wandb sync {file.parent}"]
    assert "wandb" not in "".join(capfd.readouterr())


def test_a_run_is_found_again_with_its_epochs(offline, tmp_path):
    file = tmp_path / "run.json"
    for epochs in ([0, 1], [2]):
        tracker = WandbTracker("flowers")
        tracker.connect()
        assert tracker.open("abc") == set(range(epochs[0]))
        tracker.describe({"epochs": len(epochs)}, {"versions": {"keras": "3"}})
        for epoch in epochs:
            # More than a block of the file in all.
            tracker.log(epoch, 1.0, "x" * 20_000, {"loss": 0.5})
        tracker.conclude({"final_accuracy": 0.5})
        for content in ("{}", '{"a": 1}'):
            file.unlink(missing_ok=True)
            file.write_text(content)
            tracker.attach(file)
        tracker.end("killed")
    one, other = files_of(tmp_path, "abc*")
    assert [epochs_in(path) for path in (one, other)] == [{0, 1}, {2}]
    config, _, code = read(other)
    assert config["epochs"] == 1
    assert config["versions"] == {"keras": "3"}
    assert code == 255
    assert (other.parent / "files" / "run.json").read_text() == '{"a": 1}'


def test_a_run_is_found_again_from_another_folder(offline, tmp_path, monkeypatch):
    for folder, epochs in ((None, set()), (tmp_path, {0})):
        tracker = WandbTracker("flowers", folder=folder)
        tracker.connect()
        assert tracker.open("abc") == epochs
        tracker.log(len(epochs), 1.0, "fit", {"loss": 0.5})
        tracker.end("failed")
        assert len(files_of(tmp_path, "abc*")) == 1 + len(epochs)
        monkeypatch.setenv("WANDB_DIR", str(tmp_path / "elsewhere"))


def test_neither_the_command_nor_the_host_is_written(offline, tmp_path, monkeypatch):
    monkeypatch.setattr(socket, "gethostname", lambda: "name_of_a_host")
    monkeypatch.setattr(sys, "argv", ["train.py", "--data", "secret_folder"])
    tracker = WandbTracker()
    tracker.connect()
    tracker.open("abc")
    tracker.log(0, 1.0, "fit", {"loss": 0.5})
    tracker.end("finished")
    (file,) = files_of(tmp_path)
    for path in [file, *(file.parent / "files").iterdir()]:
        assert b"secret_folder" not in path.read_bytes()
        assert b"name_of_a_host" not in path.read_bytes()


def test_without_a_key_it_refuses_and_asks_nothing(wandb):
    message = r"no API key\. Run `wandb login`, .* WANDB_MODE=offline"
    with pytest.raises(ValueError, match=message):
        tl.wandb_callback("flowers")


def test_a_service_that_does_not_answer_is_refused(wandb, monkeypatch):
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    with pytest.raises(ValueError, match=r"Biases must answer .*: http://127\.0"):
        tl.wandb_callback("flowers")


def test_disabled_it_says_so(wandb, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "disabled")
    tracker = WandbTracker("flowers")
    tracker.connect()
    assert tracker.open("abc") == set()
    tracker.log(0, 1.0, "fit", {"loss": 0.5})
    tracker.end("finished")
    assert tracker.look == "disabled by WANDB_MODE, nothing is kept"
