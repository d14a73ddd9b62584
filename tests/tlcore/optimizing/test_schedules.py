"""Schedules: rates by their formulas, in `fit`, from the cache, and broken off."""

import math

import keras
import numpy as np
import pytest

import tlcore as tl
from tlcore.optimizing.compiling import new_optimizer, smoothed_loss
from tlcore.optimizing.schedules import OneCycle, new_schedule


def fastai(step, peak, steps):
    """Return the rate of `fit_one_cycle`: its `combined_cos` by its formula."""

    def cosine(start, end, part):
        return start + (1 + math.cos(math.pi * (1 - part))) * (end - start) / 2

    place = step / steps
    if place < 0.3:
        return cosine(peak / 25, peak, place / 0.3)
    return cosine(peak, peak / 1e4, (place - 0.3) / 0.7)


@pytest.mark.parametrize("steps", [10, 97])
def test_one_cycle_is_that_of_fastai(steps):
    rates = OneCycle(0.02, steps)
    for step in range(steps + 1):
        expected = fastai(step, 0.02, steps)
        assert float(rates(step)) == pytest.approx(expected, rel=1e-3, abs=1e-7)


def test_of_one_step_it_is_a_number():
    assert 0 < float(OneCycle(1.0, 1)(0)) <= 1
    assert float(OneCycle(1.0, 1)(5)) < 1e-3


@pytest.mark.parametrize("name", ["constant", "cosine", "one_cycle"])
def test_a_schedule_survives_saving(name):
    warm_up = 0 if name == "one_cycle" else 3
    rates = new_schedule(name, 0.1, 20, warm_up=warm_up)
    config = keras.saving.serialize_keras_object(rates)
    again = keras.saving.deserialize_keras_object(config)
    for step in range(25):
        assert float(again(step)) == float(rates(step))


def test_the_rates_of_training_are_those_of_the_steps(tiny, train):
    model, rates = tiny(), new_schedule("cosine", 0.01, 10, warm_up=2)
    seen = []

    class Note(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            seen.append(float(self.model.optimizer.learning_rate))

    tl.feature_extract(
        model, train, epochs=2, learning_rate=rates, callbacks=[Note()], verbose=0
    )
    np.testing.assert_allclose(seen, [float(rates(i)) for i in range(10)], rtol=1e-6)


def options(model):
    rates = new_schedule("one_cycle", 0.02, 20)
    return {
        "optimizer": new_optimizer("adamw", rates, default=1.0, weight_decay=0.01),
        "loss": smoothed_loss(0.1, binary=model.output_shape[-1] == 1),
        "class_weight": "balanced",
        "epochs": 4,
        "verbose": 0,
    }


def trained(tiny, train, **more):
    keras.utils.set_random_seed(3)
    model = tiny(dropout=0.2)
    tl.feature_extract(model, train, **{**options(model), **more})
    return [w.copy() for w in model.get_weights()]


def test_all_of_them_train_to_the_same_bits_from_the_cache(
    tiny, train, deterministic_operations
):
    cached, end_to_end = (trained(tiny, train, cache=x) for x in ("auto", "off"))
    for one, other in zip(cached, end_to_end, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.matrix
def test_and_go_on_from_the_middle_of_a_schedule(
    tiny, train, tmp_path, deterministic_operations
):
    whole = trained(tiny, train)

    class Stop(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                raise InterruptedError

    with pytest.raises(InterruptedError):
        trained(tiny, train, state=tmp_path / "s", callbacks=[Stop()])
    keras.utils.set_random_seed(8)
    model = tiny(dropout=0.2)
    given = options(model)
    model.compile(given.pop("optimizer"), given.pop("loss"), metrics=["accuracy"])
    tl.freeze(model)
    model.compile(model.optimizer, model.loss, metrics=["accuracy"])
    tl.resume(model, tmp_path / "s", train, **given)
    for one, other in zip(whole, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_weight_decay_is_apart_from_the_gradient():
    optimizer = new_optimizer("adamw", 0.1, default=1.0, weight_decay=0.5)
    weight = keras.Variable(np.ones(2, "float32"))
    optimizer.build([weight])
    optimizer.apply([keras.ops.zeros(2)], [weight])
    np.testing.assert_allclose(keras.ops.convert_to_numpy(weight), 0.95)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("cosin", 0.1, 10), r"schedule must be one of.*Did you mean 'cosine'"),
        (("cosine", 0.0, 10), r"positive number.*learning_rate=0.0"),
        (("cosine", 0.1, 0), r"steps must .* at least 1"),
    ],
)
def test_what_is_no_schedule_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        new_schedule(*arguments)


def test_a_warm_up_must_leave_steps():
    with pytest.raises(ValueError, match=r"warm_up must .* at most 9"):
        new_schedule("cosine", 0.1, 10, warm_up=10)
    with pytest.raises(ValueError, match=r"warms up by itself.*warm_up=2"):
        new_schedule("one_cycle", 0.1, 10, warm_up=2)
