"""Callbacks: state machines with scripted logs; one real fit proves the wiring."""

from datetime import datetime
from pathlib import Path

import keras
import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tlcore.callbacks import (
    BestCheckpoint,
    EpochClock,
    EpochEvents,
    LossGuard,
    checkpoint_callback,
    early_stopping_callback,
    tensorboard_callback,
)


def tiny():
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model.compile("sgd", "mse", metrics=["mae"])
    return model


def fit(model, *callbacks, epochs=2):
    x, y = np.ones((4, 3), "float32"), np.ones((4, 2), "float32")
    return model.fit(x, y, epochs=epochs, callbacks=list(callbacks), verbose=0)


class TestTensorBoard:
    moment = datetime(2026, 1, 2, 3, 4, 5)

    def test_it_logs_to_folder_experiment_and_moment(self, tmp_path):
        callback = tensorboard_callback(tmp_path, "model_1", now=lambda: self.moment)
        assert callback.log_dir == str(tmp_path / "model_1" / "20260102-030405")
        assert getattr(callback, "histogram_freq", 0) == 0

    @pytest.mark.tensorflow
    def test_histograms_come_on_request(self, tmp_path):
        callback = tensorboard_callback(tmp_path, "model_1", histograms=True)
        assert callback.histogram_freq == 1

    def test_a_real_fit_leaves_event_files(self, tmp_path):
        callback = tensorboard_callback(tmp_path, "model_1", now=lambda: self.moment)
        fit(tiny(), callback)
        assert list(tmp_path.glob("model_1/20260102-030405/train/*tfevents*"))

    def test_histograms_are_refused_on_other_backends(self, tmp_path, monkeypatch):
        monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
        message = "Histograms for TensorBoard need the TensorFlow backend. Received: ba"
        with pytest.raises(ValueError, match=message):
            tensorboard_callback(tmp_path, "model_1", histograms=True)

    @pytest.mark.parametrize("name", ["", "../elsewhere", "/elsewhere"])
    def test_an_experiment_outside_the_folder_is_refused(self, tmp_path, name):
        with pytest.raises(ValueError, match="dir_name. Received: exp.*Write a name"):
            tensorboard_callback(tmp_path, name)


class TestEpochEvents:
    """What TensorBoard's own reader finds, whatever Keras's backend."""

    def scalars(self, folder):
        events = EventAccumulator(str(folder)).Reload()
        return {tag: events.Scalars(tag) for tag in events.Tags()["scalars"]}

    def test_each_epoch_has_its_figures(self, tmp_path):
        history = fit(tiny(), EpochEvents(tmp_path), epochs=3)
        found = self.scalars(tmp_path / "train")
        assert set(found) == {"epoch_loss", "epoch_mae", "epoch_learning_rate"}
        losses = found["epoch_loss"]
        assert [event.step for event in losses] == [0, 1, 2]
        expected = pytest.approx(history.history["loss"])
        assert [event.value for event in losses] == expected
        assert not (tmp_path / "validation").exists()

    def test_validation_has_a_folder_of_its_own(self, tmp_path):
        x, y = np.ones((4, 3), "float32"), np.ones((4, 2), "float32")
        callback = EpochEvents(tmp_path)
        data = {"validation_data": (x, y), "callbacks": [callback], "verbose": 0}
        tiny().fit(x, y, epochs=2, **data)
        assert set(self.scalars(tmp_path / "validation")) == {"epoch_loss", "epoch_mae"}

    def test_a_second_fit_goes_on(self, tmp_path):
        model, callback = tiny(), EpochEvents(tmp_path)
        fit(model, callback, epochs=1)
        x, y = np.ones((4, 3), "float32"), np.ones((4, 2), "float32")
        model.fit(x, y, initial_epoch=1, epochs=2, callbacks=[callback], verbose=0)
        steps = [event.step for event in self.scalars(tmp_path / "train")["epoch_loss"]]
        assert steps == [0, 1]


class TestCheckpoint:
    def test_every_epoch_leaves_its_weights(self, tmp_path):
        model = tiny()
        fit(model, checkpoint_callback(tmp_path / "e{epoch:02d}.weights.h5"))
        names = sorted(path.name for path in tmp_path.iterdir())
        assert names == ["e01.weights.h5", "e02.weights.h5"]

    def test_the_file_brings_the_weights_back(self, tmp_path):
        model, other = tiny(), tiny()
        path = tmp_path / "deep" / "model.weights.h5"
        fit(model, checkpoint_callback(path))
        other.set_weights([w + 1 for w in other.get_weights()])
        other.load_weights(path)
        for a, b in zip(model.get_weights(), other.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)
        assert [p.name for p in path.parent.iterdir()] == ["model.weights.h5"]

    def test_a_write_that_dies_leaves_the_checkpoint_before(self, tmp_path):
        path = tmp_path / "model.weights.h5"
        callback = checkpoint_callback(path)
        callback.set_model(tiny())
        callback.on_epoch_end(0, {})
        good = path.read_bytes()

        class Dying:
            def save_weights(self, file, **_):
                Path(file).write_bytes(b"half")
                raise MemoryError("killed")

        callback.set_model(Dying())
        with pytest.raises(MemoryError, match="killed"):
            callback.on_epoch_end(1, {})
        assert path.read_bytes() == good
        assert callback.filepath == str(path)

    def test_a_write_that_fails_leaves_nothing(self, tmp_path, monkeypatch):
        model = tiny()

        def fill_the_disk(path, **_):
            Path(path).write_bytes(b"half")
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(model, "save_weights", fill_the_disk)
        callback = checkpoint_callback(tmp_path / "last.weights.h5")
        callback.set_model(model)
        with pytest.raises(OSError, match="No space left"):
            callback.on_epoch_end(0, {})
        assert not list(tmp_path.iterdir())

    def test_with_a_monitor_only_the_best_epoch_is_kept(self, tmp_path):
        path = tmp_path / "best-{epoch}.weights.h5"
        callback = checkpoint_callback(path, monitor="val_loss", mode="min")
        callback.set_model(tiny())
        for epoch, loss in enumerate([3.0, 1.0, 2.0]):
            callback.on_epoch_end(epoch, {"val_loss": loss})
        names = sorted(p.name for p in tmp_path.iterdir())
        assert names == ["best-1.weights.h5", "best-2.weights.h5"]

    @pytest.mark.parametrize(
        ("path", "form"),
        [
            ("ten_percent/checkpoint.ckpt", "ten_percent/checkpoint.weights.h5"),
            ("model.h5", "model.weights.h5"),
            ("model", "model.weights.h5"),
        ],
    )
    def test_a_path_of_the_old_form_is_answered_with_the_form_needed(self, path, form):
        with pytest.raises(
            ValueError, match=rf"Received: path='{path}'. Write '{form}'"
        ):
            checkpoint_callback(path)


class TestEarlyStopping:
    def test_it_stops_after_patience_and_restores_the_best_weights(self):
        model = tiny()
        model.stop_training = False
        callback = early_stopping_callback("val_loss", patience=2)
        callback.set_model(model)
        callback.on_train_begin()
        best = None
        for epoch, loss in enumerate([3.0, 1.0, 2.0, 2.0]):
            if epoch == 1:
                best = model.get_weights()
            callback.on_epoch_end(epoch, {"val_loss": loss})
            model.set_weights([w + 1 for w in model.get_weights()])
        assert model.stop_training
        callback.on_train_end()
        for a, b in zip(model.get_weights(), best, strict=True):
            np.testing.assert_array_equal(a, b)

    @pytest.mark.parametrize("patience", [0, 1.5])
    def test_patience_below_one_epoch_is_refused(self, patience):
        message = f"patience must .* at least 1 epoch. Received: patience={patience}"
        with pytest.raises(ValueError, match=message):
            early_stopping_callback(patience=patience)

    def test_an_unknown_mode_is_refused(self, tmp_path):
        message = "mode must be one of: auto, min, max. Received: mode='maximum'"
        with pytest.raises(ValueError, match=message):
            early_stopping_callback(mode="maximum")
        with pytest.raises(ValueError, match=message):
            checkpoint_callback(tmp_path / "a.weights.h5", mode="maximum")


class TestBestCheckpoint:
    def test_it_keeps_the_best_epoch_of_several_fits(self, tmp_path):
        model = tiny()
        best = BestCheckpoint(tmp_path / "best.weights.h5")
        best.set_model(model)
        kept = None
        # Fine-tuning starts at epoch 3, where other weights train.
        for epoch, loss in enumerate([3.0, 1.0, 2.0, 5.0, 1.5]):
            if epoch == 3:
                best.on_train_end()
                model.layers[0].trainable = False
                best.on_train_begin()
            if epoch == 1:
                kept = model.get_weights()
            best.on_epoch_end(epoch, {"val_loss": loss})
            model.set_weights([w + 1 for w in model.get_weights()])
        assert best.epoch == 1
        best.restore()
        restored = model.get_weights()
        model.load_weights(tmp_path / "best.weights.h5")
        for a, b, c in zip(kept, restored, model.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)
            np.testing.assert_array_equal(a, c)


class TestEpochClock:
    def test_it_counts_each_epoch_on_the_clock_it_is_given(self):
        clock = iter([10.0, 12.5, 20.0, 21.0])
        callback = EpochClock(lambda: next(clock))
        logs = [{}, {}]
        for epoch in range(2):
            callback.on_epoch_begin(epoch)
            callback.on_epoch_end(epoch, logs[epoch])
        assert callback.seconds == [2.5, 1.0]
        assert logs == [{"seconds": 2.5}, {"seconds": 1.0}]

    def test_the_history_of_a_fit_has_the_seconds(self):
        history = fit(tiny(), EpochClock())
        assert len(history.history["seconds"]) == 2


class TestLossGuard:
    @pytest.mark.parametrize("loss", [float("nan"), float("inf")])
    def test_a_loss_that_is_no_number_stops_the_step_it_appears_in(self, loss):
        guard = LossGuard()
        guard.set_model(tiny())
        guard.on_epoch_begin(3)
        guard.on_train_batch_end(0, {"loss": 1.0})
        with pytest.raises(
            FloatingPointError, match=r"at epoch 4, step 2, learning_rate=0\.01"
        ):
            guard.on_train_batch_end(1, {"loss": loss})

    @pytest.mark.parametrize("name", ["loss", "val_loss"])
    def test_a_loss_that_is_no_number_at_the_end_of_an_epoch_stops_too(self, name):
        guard = LossGuard()
        guard.set_model(tiny())
        guard.on_epoch_end(0, {"loss": 1.0, "val_loss": 1.0})
        with pytest.raises(FloatingPointError, match=f"Received: {name}=nan at epoch"):
            guard.on_epoch_end(1, {"loss": 1.0, "val_loss": 1.0, name: float("nan")})

    def test_weights_that_the_last_step_of_an_epoch_broke_are_not_saved(self, tmp_path):
        # The loss of the only step is that of the weights before it.
        path = tmp_path / "last.weights.h5"
        model = tiny()
        fit(model, LossGuard(), checkpoint_callback(path), epochs=1)
        good = path.read_bytes()
        model.optimizer.learning_rate = float("inf")
        with pytest.raises(FloatingPointError, match="with NaN or infinite values at"):
            fit(model, LossGuard(), checkpoint_callback(path), epochs=1)
        assert path.read_bytes() == good

    def test_it_acts_before_the_checkpoint_of_the_epoch(self, tmp_path):
        path = tmp_path / "last.weights.h5"
        model = tiny()
        checkpoint = checkpoint_callback(path)
        fit(model, LossGuard(), checkpoint, epochs=1)
        good = path.read_bytes()
        model.set_weights([w * np.nan for w in model.get_weights()])
        with pytest.raises(FloatingPointError, match="earlier epochs are untouched"):
            fit(model, LossGuard(), checkpoint, epochs=1)
        assert path.read_bytes() == good
