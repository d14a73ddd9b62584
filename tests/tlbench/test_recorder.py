"""The recorder: what it takes, keeps apart and refuses."""

import math

import numpy as np
import pytest

from tlbench.record import Metric, record_from_json, record_to_json
from tlbench.recorder import Recorder, version_of


@pytest.fixture
def recorder():
    return Recorder("test_a.py::test_a")


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (True, True),
        (3, 3),
        (0.5, 0.5),
        ("sha256", "sha256"),
        ([1, 2], (1, 2)),
        ((), ()),
        (np.int64(3), 3),
        (np.float64(0.5), 0.5),
        (np.str_("a"), "a"),
        ((np.int32(1), True), (1, True)),
    ],
)
def test_an_exact_value_is_kept_as_a_plain_python_value(recorder, value, kept):
    recorder.exact("x", value)
    (found,) = recorder.snapshot("passed").exact.values()
    assert found == kept
    assert type(found) is type(kept)
    if isinstance(found, tuple):
        assert list(map(type, found)) == list(map(type, kept))


@pytest.mark.parametrize(
    "value",
    [math.nan, math.inf, None, {}, 1j, [[1]], [1, math.nan], b"x", np.zeros(2)],
)
def test_a_value_that_cannot_be_exact_is_refused(recorder, value):
    message = r"bool, int, str or finite float.*Received: x=.*record\.metric"
    with pytest.raises(ValueError, match=message):
        recorder.exact("x", value)
    assert recorder.snapshot("passed").exact == {}


def test_a_metric_of_counts_has_its_share_and_wilson_interval(recorder):
    recorder.metric("val_accuracy", correct=np.int64(141), n=150, seed=1)
    metric = recorder.snapshot("passed").metrics["val_accuracy"][0]
    assert metric == Metric(value=0.94, n=150, correct=141, seed=1, better="higher")
    assert type(metric.correct) is int
    assert metric.interval == pytest.approx((0.8899, 0.9681), abs=5e-5)


def test_a_metric_of_a_value_has_no_interval(recorder):
    recorder.metric("loss", value=0.25, n=150)
    metric = recorder.snapshot("passed").metrics["loss"][0]
    assert metric == Metric(value=0.25, n=150, better=None)
    assert metric.interval is None


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "either correct= with n=, or value="),
        ({"correct": 1}, "either correct= with n=, or value="),
        ({"n": 1}, "either correct= with n=, or value="),
        ({"correct": 1, "n": 2, "value": 0.5}, "either correct= with n=, or value="),
        ({"correct": 3, "n": 2}, r"between 0 and n.*correct=3, n=2"),
        ({"correct": -1, "n": 2}, r"between 0 and n.*correct=-1, n=2"),
        ({"correct": 0, "n": 0}, "n at least 1.*n=0"),
        ({"value": 0.5, "n": -1}, "n at least 1.*n=-1"),
        ({"correct": 0.5, "n": 2}, "must be integers.*correct=0.5"),
        ({"correct": True, "n": 2}, "must be integers.*correct=True"),
        ({"correct": 1, "n": 2, "seed": "a"}, "must be integers.*seed='a'"),
        ({"value": math.nan}, "finite number.*value=nan"),
        ({"value": math.inf}, "finite number.*value=inf"),
        ({"value": "0.5"}, "finite number.*value='0.5'"),
    ],
)
def test_a_metric_that_contradicts_itself_is_refused(recorder, given, message):
    with pytest.raises(ValueError, match=rf"{message}|Received: m: {message}"):
        recorder.metric("m", **given)
    assert recorder.snapshot("passed").metrics == {}


@pytest.mark.parametrize(
    ("warmup", "kept_apart", "timed", "median"),
    [
        ({}, (9.0,), (1.0, 3.0, 2.0), 2.0),
        ({"warmup": 0}, (), (9.0, 1.0, 3.0, 2.0), 2.5),
        ({"warmup": 3}, (9.0, 1.0, 3.0), (2.0,), 2.0),
    ],
)
def test_the_warm_up_is_kept_apart(recorder, warmup, kept_apart, timed, median):
    recorder.timing("epoch", np.array([9, 1, 3, 2]), **warmup)
    timing = recorder.snapshot("passed").timings["epoch"]
    assert (timing.warmup, timing.seconds) == (kept_apart, timed)
    assert timing.median == median


@pytest.mark.parametrize(
    ("seconds", "warmup", "message"),
    [
        ([], 0, "at least one repeat after its warm-up.*warmup=0"),
        ([1.0], 1, r"at least one repeat after its warm-up.*t=\[1.0\], warmup=1"),
        ([1.0, math.nan], 1, r"finite seconds, none negative.*t=\[1.0, nan\]"),
        ([1.0, -1.0], 1, "finite seconds, none negative"),
        (["1", "2"], 1, "finite seconds, none negative"),
        (1.5, 0, "finite seconds, none negative.*t=1.5"),
        ([1.0], -1, "0 or more.*warmup=-1"),
        ([1.0, 2.0], 1.0, "0 or more.*warmup=1.0"),
    ],
)
def test_a_timing_without_durations_is_refused(recorder, seconds, warmup, message):
    with pytest.raises(ValueError, match=message):
        recorder.timing("t", seconds, warmup=warmup)
    assert recorder.snapshot("passed").timings == {}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"iterations": 0}, "1 or more.*Received: t: iterations=0, timer=''"),
        ({"iterations": 1.5}, "iterations=1.5"),
        ({"iterations": True}, "iterations=True"),
        ({"timer": None}, "and timer a name.*timer=None"),
    ],
)
def test_iterations_and_timer_of_another_kind_are_refused(recorder, given, message):
    with pytest.raises(ValueError, match=message):
        recorder.timing("t", [1.0], warmup=0, **given)


@pytest.mark.parametrize("name", ["", "  ", 3, None])
def test_a_value_without_a_name_is_refused(recorder, name):
    with pytest.raises(ValueError, match=r"Received: name=.* Say what"):
        recorder.exact(name, 1)


@pytest.mark.parametrize("first", ["exact", "metric", "timing"])
@pytest.mark.parametrize("second", ["exact", "metric", "timing"])
def test_a_name_recorded_twice_is_refused(recorder, first, second):
    calls = {
        "exact": lambda: recorder.exact("x", 1),
        "metric": lambda: recorder.metric("x", value=1.0),
        "timing": lambda: recorder.timing("x", [1.0], warmup=0),
    }
    calls[first]()
    message = rf"Received: name='x'.*record\.{first}\. .*another name"
    with pytest.raises(ValueError, match=message):
        calls[second]()


def test_a_value_after_the_end_of_the_case_is_refused(recorder):
    recorder.close()
    message = "Received: name='late' after the end of test_a.py::test_a. Record it in"
    with pytest.raises(ValueError, match=message):
        recorder.exact("late", 1)


def test_a_metric_is_declared_portable_and_survives_as_json(recorder):
    recorder.metric("accuracy", correct=1, n=2, seed=1, portable=True)
    recorder.metric("speedup", value=8.0, better="higher", portable=True)
    recorder.metric("loss", value=0.5)
    left = recorder.snapshot("passed")
    declared = {k: x[0].portable for k, x in left.metrics.items()}
    assert declared == {"accuracy": True, "speedup": True, "loss": False}
    data = record_to_json(left)
    assert "portable" not in data["metrics"]["loss"][0]
    names = ["value", "n", "correct", "seed", "better", "portable"]
    assert list(data["metrics"]["accuracy"][0]) == names
    assert record_from_json(left.case, data) == left


def test_a_duration_is_refused_as_portable(recorder):
    message = (
        r"portable .* a timing, 'epoch'. Record the ratio .*metric\('epoch', value"
    )
    with pytest.raises(ValueError, match=message):
        recorder.timing("epoch", [1.0, 1.0], portable=True)
    assert recorder.snapshot("passed").timings == {}


def test_portable_is_a_flag_and_the_same_for_all_seeds(recorder):
    with pytest.raises(ValueError, match=r"True or False. .*portable='yes'"):
        recorder.metric("accuracy", value=1.0, portable="yes")
    recorder.metric("accuracy", correct=1, n=2, seed=1, portable=True)
    with pytest.raises(ValueError, match=r"or none. .*portable=False, and True before"):
        recorder.metric("accuracy", correct=1, n=2, seed=2)


def test_the_version_of_a_case_is_the_same_for_every_python():
    """Written down from 3.11, 3.12 and 3.13: portable figures are compared by it."""

    def case(record, *, size=3):
        for name in ("a", None, ...):
            with record as left:
                left.exact(f"{name!r}", [size, *range(2)])

    assert version_of(case) == "82af75fa2c6c"
