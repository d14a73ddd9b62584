"""Event files: what TensorBoard's own reader finds in them."""

import struct

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2

from tlcore.runs.event_files import write_events

STARTED, FINISHED = "2026-01-02T03:04:05+00:00", "2026-01-02T03:05:05+00:00"
DOCUMENT = {
    "started": STARTED,
    "recipe": {
        "name": "model_3",
        "title": "a title",
        "backbone": "sample_net",
        "weights": "/home/someone/w.weights.h5",
        "augmentation": None,
        "steps_per_epoch": None,
        "binary": False,
        "learning_rate": 0.01,
    },
    "seed": 42,
    "history": {
        "epoch": [0, 1, 2],
        "phase": ["feature_extraction"] * 3,
        "loss": [2.0, None, 0.5],
        "val_accuracy": [0.25, 0.5, 0.75],
        "seconds": [10.0, 2.0, 3.0],
    },
    "final": {"val_accuracy": {"value": 0.75, "n": 4}, "val_loss": {"value": None}},
}
ENDED = {**DOCUMENT, "finished": FINISHED}


def read(folder):
    found = EventAccumulator(str(folder), size_guidance={"tensors": 0, "scalars": 0})
    return found.Reload()


def write(folder, document=ENDED, status="done", *, by_epoch=True):
    return write_events(folder, "model_3/x", document, status=status, by_epoch=by_epoch)


def plugin_data(events, tag):
    content = events.SummaryMetadata(tag).plugin_data.content
    return plugin_data_pb2.HParamsPluginData.FromString(content)


def test_every_figure_has_its_epoch_and_the_moment_it_was_known(tmp_path):
    write(tmp_path)
    events = read(tmp_path)
    assert set(events.Tags()["scalars"]) == {
        "loss/train",
        "accuracy/validation",
        "epoch/seconds",
        "final/val_accuracy",
    }
    start = events.FirstEventTimestamp()
    points = events.Scalars("accuracy/validation")
    assert [(e.step, e.value, e.wall_time - start) for e in points] == [
        (1, 0.25, 10),
        (2, 0.5, 12),
        (3, 0.75, 15),
    ]
    # A value that is not a number has no point.
    assert [(e.step, e.value) for e in events.Scalars("loss/train")] == [
        (1, 2.0),
        (3, 0.5),
    ]
    (final,) = events.Scalars("final/val_accuracy")
    assert (final.step, final.value, final.wall_time - start) == (3, 0.75, 60)


def test_the_hyperparameters_are_those_of_the_run_without_a_path(tmp_path):
    write(tmp_path)
    data = plugin_data(read(tmp_path), metadata.SESSION_START_INFO_TAG)
    start = data.session_start_info
    assert start.group_name == "model_3/x"
    given = {
        name: getattr(value, value.WhichOneof("kind"))
        for name, value in start.hparams.items()
    }
    assert given == {
        "recipe": "model_3",
        "backbone": "sample_net",
        "weights": "w.weights.h5",
        "augmentation": "none",
        "binary": False,
        "learning_rate": 0.01,
        "seed": 42,
    }


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("done", api_pb2.STATUS_SUCCESS),
        ("failed", api_pb2.STATUS_FAILURE),
        ("killed", api_pb2.STATUS_FAILURE),
    ],
)
def test_the_session_says_how_the_run_ended(tmp_path, status, expected):
    write(tmp_path, status=status)
    end = plugin_data(read(tmp_path), metadata.SESSION_END_INFO_TAG).session_end_info
    assert end.status == expected
    assert end.end_time_secs - read(tmp_path).FirstEventTimestamp() == 60


def test_a_running_run_has_no_end(tmp_path):
    write(tmp_path, DOCUMENT, "running")
    tags = read(tmp_path).Tags()["tensors"]
    assert metadata.SESSION_START_INFO_TAG in tags
    assert metadata.SESSION_END_INFO_TAG not in tags


def test_a_run_that_was_killed_ended_with_its_last_epoch(tmp_path):
    write(tmp_path, DOCUMENT, "killed")
    end = plugin_data(read(tmp_path), metadata.SESSION_END_INFO_TAG).session_end_info
    assert end.end_time_secs - read(tmp_path).FirstEventTimestamp() == 15


def test_next_to_files_of_keras_only_final_figures_are_written(tmp_path):
    keras = tmp_path / "events.out.tfevents.1767323045.host.1.0.v2"
    keras.touch()
    write(tmp_path, by_epoch=False)
    assert read(tmp_path).Tags()["scalars"] == ["final/val_accuracy"]
    assert keras.exists()


def test_each_write_replaces_the_file_by_one_whose_name_sorts_later(tmp_path):
    short = {name: column[:2] for name, column in DOCUMENT["history"].items()}
    older = write(tmp_path, {**DOCUMENT, "history": short, "final": {}}, "running")
    longer = write(tmp_path, {**DOCUMENT, "final": {}}, "running")
    ended = write(tmp_path)
    assert older.name < longer.name < ended.name
    assert list(tmp_path.iterdir()) == [ended]


def test_the_same_run_gives_the_same_bytes_that_name_no_host(tmp_path):
    import socket

    first, second = write(tmp_path / "a"), write(tmp_path / "b")
    assert first.read_bytes() == second.read_bytes()
    assert first.name == second.name
    assert socket.gethostname() not in first.name.split(".")
    (length,) = struct.unpack("<Q", first.read_bytes()[:8])
    assert b"brain.Event:2" in first.read_bytes()[12 : 12 + length]
