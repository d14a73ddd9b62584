"""Levels: an accepted change starts the baseline anew, with the spread of before."""

import math
import random

import pytest

from tlbench import acceptance as accepting
from tlbench import levels
from tlbench.recorder import Recorder
from tlbench.storage.baselines import read_figures, write_figures
from tlbench.storage.history import Entry, rounded, structure_of
from tlbench.storage.last_run import LastRun
from tlbench.verdicts.figures import Accepted, Figures
from tlbench.verdicts.judge import judge

CASE = "bench_a.py::bench_b"
NOISE = 0.01


def record(seconds, *, version="1", layers=1):
    recorder = Recorder(CASE, version)
    recorder.exact("layers", layers)
    recorder.timing("epoch", [seconds], warmup=0)
    return rounded(recorder.snapshot("passed"))


class Nights:
    """A case over many nights: saved, accepted and judged."""

    def __init__(self, acceptance):
        self._how = acceptance
        self._draw = random.Random(1)
        self.entries = []
        self.figures = {}

    def save(self, level, **options):
        """Save a run at a level, and return it."""
        left = record(level * math.exp(self._draw.gauss(0, NOISE)), **options)
        entry = Entry(
            run=f"r{len(self.entries)}",
            when="2026-01-01T00:00:00+00:00",
            record=left,
            verdict="pass",
            structure=structure_of(left),
        )
        self.entries.append(entry)
        return left

    def accept(self):
        newest = self.entries[-1].record
        run = LastRun(when="", versions={}, cases={CASE: newest})
        done = accepting.accept_figures(self.figures, run, self.entries, self._how)
        self.figures = dict(done.figures)
        return done

    def judge(self, level, **options):
        left = self.save(level, **options)
        known = {case: one.figures for case, one in self.figures.items()}
        exact = {CASE: left.exact}
        accepted = Accepted(exact=exact, figures=known)
        (case,) = judge({CASE: left}, accepted)
        return case


@pytest.fixture
def nights(acceptance):
    one = Nights(acceptance)
    for _ in range(8):
        one.save(1.0)
    one.accept()
    return one


def accepted(nights):
    return list(nights.figures[CASE].figures.series["epoch"])


def test_after_an_accepted_doubling_the_next_doubling_is_found_the_first_night(nights):
    assert nights.judge(2.0).verdict == "regression"
    done = nights.accept()
    assert accepted(nights) == ["r8"]
    assert done.anchored == (CASE,)
    assert nights.judge(2.0).verdict == "pass"
    found = nights.judge(4.0)
    assert found.verdict == "regression"
    assert "slower than the accepted run (limit" in str(found.findings[0])


def test_the_limit_of_one_run_is_honest(nights):
    nights.save(2.0)
    nights.accept()
    (one,) = nights.judge(2.0).judgements
    # About two runs of 1 % each: wider than with eight runs, and far from blind.
    assert 0.03 < one.detectable < 0.15


def test_runs_at_the_new_level_join_it_and_older_ones_do_not(nights):
    for level in (2.0, 2.0, 2.0):
        nights.save(level)
    nights.accept()
    assert accepted(nights) == ["r8", "r9", "r10"]
    for _ in range(4):
        nights.save(2.0)
    nights.accept()
    assert accepted(nights) == [f"r{n}" for n in range(8, 15)]
    assert nights.figures[CASE].figures.spreads == {}


def test_two_steps_before_an_acceptance_are_two_levels(nights):
    nights.save(2.0)
    nights.save(4.0)
    nights.accept()
    assert accepted(nights) == ["r9"]


def test_an_improvement_is_a_level_too(nights):
    nights.save(0.5)
    nights.accept()
    assert accepted(nights) == ["r8"]
    assert nights.judge(1.0).verdict == "regression"


def test_noise_starts_no_level(nights):
    for _ in range(6):
        nights.save(1.0)
    nights.accept()
    assert accepted(nights) == [f"r{n}" for n in range(14)]


def test_small_steps_start_no_level_and_drift_stays_visible(nights):
    for step in range(1, 6):
        nights.save(1.0 + 0.004 * step)
    nights.accept()
    assert len(accepted(nights)) == 13
    assert nights.figures[CASE].figures.anchor["epoch"].keys() == {
        f"r{n}" for n in range(8)
    }


def test_another_structure_keeps_the_spread_and_another_version_does_not(nights):
    nights.save(1.5, layers=2)
    nights.accept()
    assert "epoch" in nights.figures[CASE].figures.spreads
    nights.save(1.5, version="2")
    nights.accept()
    assert nights.figures[CASE].figures.spreads == {}
    assert nights.judge(1.5, version="2").verdict == "inconclusive"


def test_the_spread_of_before_survives_its_file(nights, tmp_path):
    nights.save(2.0)
    nights.accept()
    write_figures(tmp_path, "a-machine", nights.figures)
    assert read_figures(tmp_path, "a-machine") == nights.figures


def test_a_change_below_the_practical_size_starts_no_level():
    calm = {f"r{n}": 1.0 + n / 10_000 for n in range(6)}
    before = Figures(version="1", series={"epoch": calm})
    three, one = (
        Figures(version="1", series={"epoch": {"new": value}}) for value in (1.03, 1.01)
    )
    assert levels.moved(before, three)
    assert not levels.moved(before, three, smallest=0.05)
    assert not levels.moved(before, one)
    assert levels.moved(before, one, smallest=0.005)
