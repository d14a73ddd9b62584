"""Stages: what they unfreeze, their epochs and rates, and what is refused."""

import keras
import pytest

import tlcore as tl
from tlcore.optimizing.stages import Stage, plan_stages


def test_without_stages_there_is_one():
    assert plan_stages(None, 10, 5, 1e-4) == (Stage(10, 5, 1e-4),)


def test_each_may_have_its_epochs_and_its_rate():
    plan = plan_stages([1, 2, "all"], 10, [3, 2, 1], [1e-3, 1e-4, 1e-5])
    assert plan == (Stage(1, 3, 1e-3), Stage(2, 2, 1e-4), Stage("all", 1, 1e-5))


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (([], 10, 1, None), r"stages must be a list of numbers.*stages=\[\]"),
        ((10, 10, 1, None), r"stages must be a list of numbers.*stages=10"),
        (("all", 10, 1, None), r"stages must be a list of numbers.*stages='all'"),
        (([5, 5], 10, 1, None), r"must unfreeze more layers than the one before"),
        ((["all", 5], 10, 1, None), r"must unfreeze more.*stages=\['all', 5\]"),
        (([0, 5], 10, 1, None), r"stages\[0\] must be a whole number of at least 1"),
        (([5, "most"], 10, 1, None), r"stages\[1\] must be .* or \"all\".*'most'"),
        (([5, 6], 10, [1], None), r"epochs must be one value, or one for each stage"),
        (([5, 6], 10, [1, 0], None), r"epochs must be a whole number of at least 1"),
        (([5, 6], 10, 1, [1, 2, 3]), r"learning_rate must be one value.* 2 stages"),
        ((None, 10, [1, 2], None), r"epochs must be a whole number.*\[1, 2\]"),
    ],
)
def test_what_are_no_stages_is_refused(arguments, match):
    with pytest.raises(ValueError, match=match):
        plan_stages(*arguments)


def test_more_and_more_layers_train_and_epochs_go_on(tiny, train):
    model = tiny()
    first = tl.feature_extract(model, train, epochs=1, verbose=0)
    seen = []

    class Note(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            count = tl.trainable_summary(self.model).trainable_tensors
            rate = float(self.model.optimizer.learning_rate)
            seen.append((epoch, count, round(rate, 6)))

    history = tl.fine_tune(
        model,
        train,
        train,
        history=first,
        stages=[2, "all"],
        epochs=[2, 1],
        learning_rate=[1e-3, 1e-4],
        callbacks=[Note()],
        verbose=0,
    )
    assert [epoch for epoch, _, _ in seen] == [1, 2, 3]
    assert [rate for _, _, rate in seen] == [1e-3, 1e-3, 1e-4]
    counts = [count for _, count, _ in seen]
    assert counts[0] == counts[1] < counts[2]
    assert history.epoch == [1, 2, 3]
    assert {len(column) for column in history.history.values()} == {3}
    assert model.history is history


def test_all_is_a_number_of_layers_for_unfreeze_as_well(tiny):
    model = tiny()
    plan = tl.unfreeze(model, last="all")
    assert plan.last == plan.layers
    with pytest.raises(ValueError, match=r"last must be .*; or \"all\".*'most'"):
        tl.unfreeze(model, last="most")
