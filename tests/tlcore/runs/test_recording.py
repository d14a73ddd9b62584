"""Recording: what a phase leaves in the run folder while it trains."""

import pytest

from tlcore.models import create_model
from tlcore.runs import recording


def test_frozen_weights_that_changed_fail_the_run(start, tmp_path, monkeypatch):
    fingerprints = iter(["a", "a", "a", "b"])
    monkeypatch.setattr(
        "tlcore.freezing.frozen_fingerprint", lambda _: next(fingerprints)
    )
    run = start(tmp_path, phases=[])
    entry = {"name": "feature_extraction", "first_epoch": 0, "learning_rate": 0.1}
    *_, recorder = recording.recorders(run, entry, {}, ["a note"])
    recorder.set_model(create_model("sample_net", 3, input_shape=(32, 32, 3)))
    recorder.on_train_begin({})
    recorder.on_train_end({})
    recorder.on_train_begin({})
    message = "Frozen weights must not change.*Received: changed.*report it"
    with pytest.raises(RuntimeError, match=message):
        recorder.on_train_end({})


def test_images_are_drawn_after_the_first_epoch_and_only_once(start, tmp_path, train):
    run = start(tmp_path, phases=[])
    callback = recording.first_pictures(run, train, seed=1)
    callback.on_train_begin({})
    assert not (run.path / "images.png").exists()
    callback.on_epoch_end(0, {})
    drawn = (run.path / "images.png").read_bytes()
    assert drawn.startswith(b"\x89PNG")
    (run.path / "images.png").write_bytes(b"mine")
    callback.on_epoch_end(1, {})
    recording.first_pictures(run, train, seed=1).on_epoch_end(2, {})
    assert (run.path / "images.png").read_bytes() == b"mine"
