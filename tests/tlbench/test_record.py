"""Records as values: the interval of a proportion, and their JSON form."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tlbench.record import Metric, exact_from_json, record_from_json, record_to_json
from tlbench.recorder import Recorder

UNHURRIED = settings(
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
"""No example fails for a busy machine, nor by the luck of the draw."""

SCALARS = (
    st.booleans()
    | st.integers()
    | st.text()
    | st.floats(allow_nan=False, allow_infinity=False)
)

EXACT = st.dictionaries(
    st.text().filter(str.strip), SCALARS | st.lists(SCALARS).map(tuple)
)


@pytest.fixture
def recorder():
    return Recorder("test_a.py::test_a")


@UNHURRIED
@given(EXACT)
def test_exact_values_survive_json(exact):
    again = exact_from_json(json.loads(json.dumps(exact)))
    assert again == exact
    for name, value in exact.items():
        assert type(again[name]) is type(value)


def test_a_record_survives_json(recorder):
    recorder.exact("a", (1, "x", True, 0.1))
    recorder.metric("accuracy", correct=141, n=150, seed=0)
    recorder.metric("loss", value=0.25)
    recorder.metric("f1", value=0.5, better="higher")
    recorder.timing("epoch", [3.0, 1.0, 2.0])
    recorder.timing("round", [3.0, 1.0], iterations=300, timer="process_time")
    recorder.timing("step", [float(i) for i in range(1000)])
    recorder.timing("work", [3.0, 1.0, 2.0], cpu=[3.0, 0.9, 1.7])
    recorder.metered("step", cpu=0.5, clocks=("cpu",))
    recorder.cost("flops", 12)
    recorder.memory("host", 2**30)
    recorder.version(3)
    left = recorder.snapshot("regression")
    data = json.loads(json.dumps(record_to_json(left)))
    assert record_from_json(left.case, data) == left


def test_a_timing_of_before_has_neither_iterations_nor_timer(recorder):
    recorder.timing("epoch", [3.0, 1.0, 2.0])
    left = recorder.snapshot("passed")
    data = record_to_json(left)
    assert data["timings"]["epoch"].keys() == {"seconds", "median", "count", "warmup"}
    timing = record_from_json(left.case, data).timings["epoch"]
    assert (timing.iterations, timing.timer) == (None, "")
    assert timing.unlike(300, "process_time") is None  # not known is no difference


@pytest.mark.parametrize(
    ("cpu", "median", "clocks"),
    [
        ([9.0, 0.9, 1.9], 1.4, ("cpu", "wall")),
        ([9.0, 0.5, 0.5], 0.5, ("wall",)),
        ([0.0, 0.0, 0.0], 0.0, ("wall",)),
        (None, None, ()),
    ],
)
def test_processor_time_is_judged_where_the_processor_works(
    recorder, cpu, median, clocks
):
    recorder.timing("epoch", [3.0, 1.0, 2.0], cpu=cpu)
    timing = recorder.snapshot("passed").timings["epoch"]
    assert (timing.cpu, timing.clocks) == (median, clocks)


@pytest.mark.parametrize("cpu", [[1.0], 3.0, [1.0, -1.0], [1.0, float("nan")], "ab"])
def test_processor_time_that_is_not_one_for_each_repeat_is_refused(recorder, cpu):
    with pytest.raises(ValueError, match=r"cpu must have .* epoch: 2 repeats, cpu="):
        recorder.timing("epoch", [3.0, 1.0], cpu=cpu)


@pytest.mark.parametrize(
    "damage", [{"cpu": -1.0}, {"cpu": "fast"}, {"cpu": 1.0, "clocks": ["sundial"]}]
)
def test_damaged_processor_time_is_refused(recorder, damage):
    recorder.timing("epoch", [3.0, 1.0, 2.0])
    data = record_to_json(recorder.snapshot("passed"))
    data["timings"]["epoch"] |= damage
    with pytest.raises(ValueError, match="cpu=|clock must be one of cpu, wall"):
        record_from_json("c", data)


def test_an_unknown_outcome_is_refused(recorder):
    data = record_to_json(recorder.snapshot("passed")) | {"outcome": "splendid"}
    message = "one of passed, regression, failed, skipped, xfailed.*outcome='splendid'"
    with pytest.raises(ValueError, match=message):
        record_from_json("c", data)


@pytest.mark.parametrize(("correct", "end"), [(0, 0), (20, 1)])
def test_the_interval_of_none_or_all_ends_there_and_has_a_width(correct, end):
    low, high = Metric(value=end, correct=correct, n=20).interval
    assert (low, high)[end] == pytest.approx(end, abs=1e-12)
    assert 0 <= low < high <= 1
    assert high - low == pytest.approx(0.1611, abs=5e-5)


@UNHURRIED
@given(st.data(), st.integers(1, 10_000))
def test_the_interval_holds_the_share_and_lies_in_0_to_1(data, n):
    correct = data.draw(st.integers(0, n))
    low, high = Metric(value=correct / n, correct=correct, n=n).interval
    assert 0 <= low <= correct / n + 1e-12
    assert correct / n - 1e-12 <= high <= 1
    assert low < high


HUGE = 10**400
"""A whole number that fits into no float; a damaged document may hold one."""


@pytest.mark.parametrize(
    "data",
    [
        {"memory": {"host": HUGE}},
        {"metrics": {"a": [{"value": HUGE}]}},
        {"metrics": {"a": [{"value": 1e308}]}},
        {"metrics": {"a": [{"correct": 1, "n": HUGE}]}},
        {"metrics": {"a": []}},
        {"timings": {"a": {"warmup": [], "seconds": [HUGE]}}},
        {"timings": {"a": {"warmup": [], "seconds": [1.0], "iterations": HUGE}}},
        {"timings": {"a": {"warmup": [], "seconds": [1], "median": 1, "count": HUGE}}},
    ],
)
def test_what_no_run_can_have_recorded_is_refused(data):
    whole = {"outcome": "passed", "exact": {}, "metrics": {}, "timings": {}}
    with pytest.raises(ValueError, match=r"a|host"):
        record_from_json("c", {**whole, **data})
