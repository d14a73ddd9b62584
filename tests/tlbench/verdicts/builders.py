"""Records, accepted figures and their verdicts, as the tests here want them."""

import math

from tlbench.recorder import Recorder
from tlbench.verdicts import noise
from tlbench.verdicts.figures import Accepted, Figures
from tlbench.verdicts.judge import judge as judge_all
from tlbench.verdicts.limits import DEFAULT, Limits, Policy

CASE, VERSIONS = "bench_a.py::bench_b", "keras 3.15.1"

WIGGLE = [0.0, 0.01, -0.01, 0.005, -0.005, 0.002, -0.002, 0.008, -0.008, 0.0]
"""How accepted runs differ, as logarithms."""


def left(case=CASE, *, outcome="passed", version="1", **kinds):
    recorder = Recorder(case, version)
    for name, value in kinds.get("exact", {}).items():
        recorder.exact(name, value)
    for name, value in kinds.get("costs", {}).items():
        recorder.cost(name, value)
    for name, seconds in kinds.get("timings", {}).items():
        recorder.timing(name, [seconds], warmup=0)
    for name, nbytes in kinds.get("memory", {}).items():
        recorder.memory(name, nbytes)
    for name, entries in kinds.get("metrics", {}).items():
        for entry in entries:
            recorder.metric(name, **entry)
    return recorder.snapshot(outcome)


def runs(centre, count=10, wiggle=WIGGLE):
    return {f"r{i}": centre * math.exp(wiggle[i % len(wiggle)]) for i in range(count)}


def figures(case=CASE, *, version="1", anchor=None, metrics=None, **series):
    values = {name: x if isinstance(x, dict) else runs(x) for name, x in series.items()}
    return {
        case: Figures(
            version=version,
            series=values,
            metrics=metrics or {},
            anchor=values if anchor is None else anchor,
        )
    }


def limited(**limits):
    """The policy of a project that sets some limits."""
    return Policy(Limits(**limits))


def judge(record, again=None, *, now=None, policy=DEFAULT, **accepted):
    (case,) = judge_all(
        {record.case: record},
        Accepted(versions=VERSIONS, **accepted),
        again,
        now=now,
        policy=policy,
    )
    return case


def said(case):
    return [str(finding) for finding in case.findings]


def seeds(count, value, n=2500, first=0):
    return [
        (f"seed {first + i}", value + 0.004 * WIGGLE[i % 10] / 0.01, n)
        for i in range(count)
    ]


def entries(value, count=3, n=2500):
    return [{"correct": round(value * n), "n": n, "seed": i} for i in range(count)]


def limit_of(name, known, *, fresh=1, series=1):
    """The limit and the error of a series whose runs are compared alone."""
    scaled = {run: math.log(value) for run, value in known.items()}
    expected = noise.compare_run({name: scaled}, {}).expectations[name]
    alpha = noise.FALSE_ALARMS / series
    return expected, expected.limit(alpha, fresh=fresh)
