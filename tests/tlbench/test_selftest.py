"""Every planted defect is found, and a gate that is blind is found out."""

import time

import pytest

from tlbench import selftest
from tlbench.verdicts import exact, noise


def test_every_planted_defect_is_found_within_a_minute():
    start = time.process_time()
    planted = list(selftest.run())
    assert [x.name for x in planted if not x.found] == []
    assert len(planted) == 11  # ten defects, and none at all
    assert time.process_time() - start < 60  # of this process, whatever else runs


@pytest.mark.parametrize(
    ("name", "value", "missed"),
    [
        ("PRACTICAL_SIZE", 0.5, "10 % more time"),
        ("FEWEST_RUNS", 100, "nothing"),
        ("FALSE_ALARMS", 1e-300, "10 % more time"),
    ],
)
def test_a_gate_that_cannot_fire_is_found_out(monkeypatch, name, value, missed):
    monkeypatch.setattr(noise, name, value)
    assert missed in [x.name for x in selftest.run() if not x.found]


def test_a_gate_that_lets_lost_values_pass_is_found_out(monkeypatch):
    monkeypatch.setattr(exact, "_lost_figures", lambda *_: [])
    assert "a lost metric" in [x.name for x in selftest.run() if not x.found]


def test_a_gate_that_fires_at_nothing_is_found_out(monkeypatch):
    monkeypatch.setattr(noise, "FALSE_ALARMS", 0.999)
    monkeypatch.setattr(noise, "SCREENING", 0.4)
    monkeypatch.setattr(noise, "PRACTICAL_SIZE", 0.0)
    assert "nothing" in [x.name for x in selftest.run() if not x.found]
