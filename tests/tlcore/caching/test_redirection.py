"""Redirection: what looks at the model during training sees the whole model."""

import keras
import numpy as np
import pytest

from tlcore.caching.redirection import _CUT, Side, redirected
from tlcore.callbacks import EpochClock, checkpoint_callback, tensorboard_callback
from tlcore.evaluation import evaluate
from tlcore.models import load_model
from tlcore.training import feature_extract, fine_tune

from .networks import tiny


class Watching(keras.callbacks.Callback):
    """Uses the model as user callbacks do."""

    def __init__(self, batch, labels):
        super().__init__()
        self.batch, self.labels = batch, labels
        self.models, self.outputs, self.losses = set(), [], []

    def on_epoch_end(self, epoch, logs=None):
        self.models.add(id(self.model))
        self.outputs.append(self.model.predict(self.batch, verbose=0))
        outputs = self.model(self.batch)
        self.outputs.append(keras.ops.convert_to_numpy(outputs))
        results = self.model.evaluate(
            self.batch, self.labels, return_dict=True, verbose=0
        )
        self.losses.append(results["loss"])


class TestCallbacks:
    @pytest.mark.matrix
    def test_see_the_whole_model_on_images(self, tmp_path, train, held_out):
        batch, labels = next(iter(held_out.dataset()))
        watched = []
        for cache in ("off", tmp_path):
            keras.utils.set_random_seed(3)
            model, watching = tiny(), Watching(np.asarray(batch), np.asarray(labels))
            fine_tune(
                model,
                train,
                held_out,
                last=1,
                epochs=2,
                cache=cache,
                callbacks=[watching],
                verbose=0,
            )
            assert watching.models == {id(model)}
            watched.append(watching)
        np.testing.assert_array_equal(watched[0].outputs, watched[1].outputs)
        assert watched[0].losses == watched[1].losses

    @pytest.mark.matrix
    def test_checkpoints_hold_and_load_the_whole_model(self, tmp_path, train, held_out):
        whole, weights = tmp_path / "whole.keras", tmp_path / "epoch.weights.h5"
        model = tiny()
        feature_extract(
            model,
            train,
            held_out,
            epochs=2,
            cache=tmp_path / "cache",
            callbacks=[
                keras.callbacks.ModelCheckpoint(whole),
                checkpoint_callback(weights),
            ],
            verbose=0,
        )
        figures = evaluate(model, held_out)
        other = tiny()
        other.load_weights(weights)
        for again in (load_model(whole), other):
            for a, b in zip(model.get_weights(), again.get_weights(), strict=True):
                np.testing.assert_array_equal(a, b)
            assert evaluate(again, held_out) == figures

    @pytest.mark.matrix
    def test_stop_restore_and_lower_the_rate_as_end_to_end(
        self, tmp_path, train, held_out
    ):
        ends = []
        for cache in ("off", tmp_path / "cache"):
            keras.utils.set_random_seed(3)
            model = tiny()
            history = feature_extract(
                model,
                train,
                held_out,
                epochs=12,
                learning_rate=0.5,
                cache=cache,
                callbacks=[
                    keras.callbacks.ReduceLROnPlateau(patience=1, factor=0.3),
                    keras.callbacks.EarlyStopping(
                        patience=3, restore_best_weights=True
                    ),
                    tensorboard_callback(tmp_path, f"logs-{cache == 'off'}"),
                    EpochClock(),
                ],
                verbose=0,
            )
            history.history.pop("seconds")
            ends.append((model.get_weights(), history.history))
        (plain, end_to_end), (cached, history) = ends
        assert history == end_to_end
        assert len(history["loss"]) < 12
        for a, b in zip(plain, cached, strict=True):
            np.testing.assert_array_equal(a, b)
        assert list((tmp_path / "logs-False").rglob("events.*"))

    def test_an_error_in_one_leaves_the_model_as_it_was(self, tmp_path, train):
        def fail(*_):
            raise RuntimeError("planted")

        model = tiny()
        planted = keras.callbacks.LambdaCallback(on_epoch_end=fail)
        with pytest.raises(RuntimeError, match="planted"):
            feature_extract(
                model,
                train,
                epochs=1,
                cache=tmp_path,
                callbacks=[planted],
                verbose=0,
            )
        assert not {"train_step", "test_step"} & set(vars(model))


def test_the_model_is_its_own_again_after_training(tmp_path, train):
    model = tiny()
    feature_extract(model, train, epochs=1, cache=tmp_path, verbose=0)
    assert not {"train_step", "test_step"} & set(vars(model))
    # What Keras compiled from the redirected steps is gone, too.
    assert model.train_function is model.test_function is None
    before = model.predict(train.dataset(), verbose=0)
    model.fit(train.dataset(), epochs=1, shuffle=False, verbose=0)
    assert not np.array_equal(model.predict(train.dataset(), verbose=0), before)


def test_nothing_is_redirected_where_nothing_is_cached():
    model = tiny()
    with redirected(model, train=Side(), test=Side()):
        assert "train_step" not in vars(model)


def test_the_marker_of_a_cut_is_no_name_that_a_model_would_use():
    assert _CUT.startswith("tlcore_")
