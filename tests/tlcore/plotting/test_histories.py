"""Histories as callers have them become the phases and curves of a run."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tlcore.plotting.histories import drawn_run, metric_curves, shared_metrics

HEAD = {"epoch": [0, 1, 2], "loss": [3.0, 2.0, 1.5], "val_loss": [3.1, 2.2, 1.7]}


@settings(deadline=None)
@given(data=st.data())
def test_a_run_cut_into_phases_draws_the_curves_of_the_whole(data):
    values = data.draw(st.lists(st.floats(0, 9), min_size=2, max_size=12))
    cut = data.draw(st.integers(1, len(values) - 1))
    phases = [
        {"epoch": list(range(cut)), "loss": values[:cut]},
        {"epoch": list(range(cut, len(values))), "loss": values[cut:]},
    ]

    whole = drawn_run([{"loss": values}], "whole")
    parts = drawn_run(phases, "parts")

    assert parts.epochs.tolist() == whole.epochs.tolist()
    assert parts.curve("loss").tolist() == whole.curve("loss").tolist() == values
    assert parts.starts == (cut + 0.5,)


def test_a_phase_that_did_not_record_a_metric_has_nan_for_it():
    run = drawn_run([HEAD, {"loss": [1.0]}], "histories")

    assert run.names == ("loss", "val_loss")
    assert run.epochs.tolist() == [1, 2, 3, 4]
    np.testing.assert_array_equal(run.curve("val_loss"), [3.1, 2.2, 1.7, np.nan])


@pytest.mark.parametrize(
    ("history", "metric", "curves"),
    [
        (HEAD, "loss", {"training": "loss", "validation": "val_loss"}),
        (HEAD, "val_loss", {"validation": "val_loss"}),
        ({"val_loss": [1]}, "loss", {"validation": "val_loss"}),
        ({"acc": [1]}, "accuracy", {"training": "acc"}),
        ({"binary_accuracy": [1]}, "accuracy", {"training": "binary_accuracy"}),
        (HEAD, "accuracy", {}),
    ],
)
def test_the_curves_of_a_metric_are_found_by_its_names(history, metric, curves):
    assert metric_curves(drawn_run([history], "histories"), metric) == curves


@pytest.mark.parametrize(
    ("histories", "message"),
    [
        ([], r"histories must hold at least 1 history.*Received: none.*what fit"),
        ([{}], r"Received: histories with 0 metrics, 0 epochs\. Train before"),
        ([{"loss": []}], r"Received: histories with 1 metric, 0 epochs"),
        ([HEAD, {"epoch": [3]}], r"Received: histories\[1\] with 0 metrics, 1 epoch\."),
        (
            [SimpleNamespace(history={}, epoch=[])],
            r"Received: histories with 0 metrics, 0 epochs",
        ),
        ([None], r"keras History or a mapping .* Received: histories=None"),
        ([[1, 2]], r"Received: histories=\[1, 2\]"),
        (
            [HEAD, HEAD],
            r"follow on .*Expected: epoch=\[3, 4, 5\]\. "
            r"Received: histories\[1\] with epoch=\[0, 1, 2\]\. .*initial_epoch=",
        ),
        (
            [{"epoch": [0, 1, 3], "loss": [1, 1, 1]}],
            r"Expected: epoch=\[0, 1, 2\]\. Received: histories with epoch=\[0, 1, 3\]",
        ),
        (
            [{"epoch": [-1], "loss": [1]}],
            r"Expected: epoch=\[0\]\. Received: histories with epoch=\[-1\]",
        ),
        (
            [{"loss": [1, 2], "val_loss": [1]}],
            r"one value per epoch.*histories\['val_loss'\]: 1 value, 2 epochs",
        ),
        (
            [{"epoch": [0, 1], "loss": [1]}],
            r"Received: histories\['loss'\]: 1 value, 2 epochs.*NaN",
        ),
        ([{"loss": 0.5}], r"list of numbers.* Received: histories\['loss'\]=0\.5"),
        ([{"loss": ["a"]}], r"Received: histories\['loss'\]=\['a'\]"),
    ],
)
def test_histories_that_are_not_a_run_are_refused(histories, message):
    with pytest.raises(ValueError, match=message):
        drawn_run(histories, "histories")


def test_a_run_without_loss_and_accuracy_is_refused():
    run = drawn_run([{"seconds": [1], "lr": [1]}], "histories")
    message = r"a loss or an accuracy.*Received: metrics seconds, lr\..*metric="
    with pytest.raises(ValueError, match=message):
        shared_metrics([run], None)


def test_a_metric_that_no_run_recorded_is_refused():
    run = drawn_run([HEAD], "histories")
    message = r"one of: loss, val_loss\. Received: metric='los'\. Did you mean 'loss'"
    with pytest.raises(ValueError, match=message):
        shared_metrics([run], "los")
