"""Every planted defect is found, and a gate that is blind is found out."""

import time
from functools import partial

import pytest

from tlbench import levels, pitfalls, selftest
from tlbench.storage import documents
from tlbench.verdicts import exact, noise, straying
from tlbench.verdicts import judge as judging
from tlbench.verdicts.limits import Limits, Policy


def test_every_planted_defect_is_found_within_a_minute():
    start = time.process_time()
    planted = list(selftest.run())
    assert [x.name for x in planted if not x.found] == []
    assert len(planted) == 11  # ten defects, and none at all
    assert time.process_time() - start < 60  # of this process, whatever else runs


def test_every_pitfall_is_found():
    seen = list(pitfalls.run())
    assert [x for x in seen if not x.found] == []
    assert len(seen) == 10


@pytest.mark.parametrize(
    ("home", "name", "broken", "missed"),
    [
        (judging, "unlike", lambda *_: "", "lost options"),
        (noise, "BLIND_FROM", 1e9, "a pass that could not have seen"),
        (levels, "at_level", lambda _, x, **__: list(x), "two levels in one baseline"),
        (documents, "is_marker", lambda _: False, "conflict markers of a merge"),
    ],
)
def test_a_gate_that_falls_into_one_is_found_out(
    monkeypatch, home, name, broken, missed
):
    monkeypatch.setattr(home, name, broken)
    if name == "BLIND_FROM":  # the default of an argument
        blind = partial(judging.judge, policy=Policy(Limits(largest_detectable=broken)))
        monkeypatch.setattr(pitfalls, "judge", blind)
    assert missed in [x.name for x in pitfalls.run() if not x.found]


@pytest.mark.parametrize(
    ("name", "value", "missed"),
    [
        ("FEWEST_RUNS", 100, "nothing"),
        ("FALSE_ALARMS", 1e-300, "10 % more time"),
    ],
)
def test_a_gate_that_cannot_fire_is_found_out(monkeypatch, name, value, missed):
    monkeypatch.setattr(noise, name, value)
    assert missed in [x.name for x in selftest.run() if not x.found]


def test_the_defects_are_judged_by_the_limits_of_the_project():
    blunt = Policy(Limits(practical_size=0.4))
    assert [x.name for x in selftest.run(blunt) if not x.found] == ["10 % more time"]


def test_a_gate_that_lets_lost_values_pass_is_found_out(monkeypatch):
    monkeypatch.setattr(exact, "_lost_figures", lambda *_: [])
    assert "a lost metric" in [x.name for x in selftest.run() if not x.found]


def test_a_gate_that_fires_at_nothing_is_found_out(monkeypatch):
    monkeypatch.setattr(noise, "FALSE_ALARMS", 0.999)
    monkeypatch.setattr(noise, "SCREENING", 0.4)
    monkeypatch.setattr(straying, "reach", lambda *_, **__: 0.0)
    policy = Policy(Limits(practical_size=0.0))
    assert "nothing" in [x.name for x in selftest.run(policy) if not x.found]
