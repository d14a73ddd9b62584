"""Selftest: known defects are planted, and each must be found.

Owns a scripted suite of cases, its accepted runs, and the defects. Everything happens
as in a real run: values are recorded, appended to a history, accepted, read back and
judged, in a folder of its own. It needs no framework, no clock and no luck: the noise
is drawn from a seed.
"""

import math
import random
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tlbench import acceptance, baseline, machine, staleness
from tlbench.record import CaseRecord
from tlbench.recorder import Recorder
from tlbench.storage import history
from tlbench.storage.baselines import (
    Acceptance,
    Baselines,
    read_accepted,
    read_figures,
    write_accepted,
    write_figures,
)
from tlbench.storage.last_run import LastRun
from tlbench.storage.machines import write_machine
from tlbench.verdicts import verdict
from tlbench.verdicts.judge import judge
from tlbench.verdicts.limits import DEFAULT, Policy
from tlbench.verdicts.verdict import Case, Verdict

CASES = 12
RUNS = 20
_FIRST = datetime(2026, 1, 1, 2, tzinfo=UTC)
_NOISE = 0.0055
"""The median coefficient of variation from run to run of a quiet machine."""
_IMAGES, _ACCURACY, _SEED_SPREAD = 2500, 0.85, 0.005

IDENTITY: machine.Identity = {
    "system": "Linux x86_64",
    "cpu": "A processor",
    "cpus": 8,
    "memory_gib": 64,
    "gpus": ["A device, 80 GiB"],
    "driver": ["570.1"],
    "python": "3.12",
    "frameworks": {"keras": "3.15.1", "tensorflow": "2.21.0"},
    "settings": {},
}

Records = dict[str, CaseRecord]


@dataclass(frozen=True, kw_only=True)
class Planted:
    """A defect, and what was found of it.

    Attributes:
        name: the name of the defect.
        found: whether it was found, and nothing that is not there.
        seen: the sentence about it, or what was found instead.
    """

    name: str
    found: bool
    seen: str


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run of the scripted suite that is judged, and when."""

    records: Records
    identity: machine.Identity
    now: datetime


@dataclass(frozen=True, kw_only=True)
class _Defect:
    """What is done to a run, and what must then be found about which case."""

    name: str
    plant: Callable[[Run], Run]
    case: str
    verdict: Verdict
    why: str
    concerns_all: bool = False


def run(policy: Policy = DEFAULT) -> Iterator[Planted]:
    """Plant every defect, one at a time, beginning with none at all.

    Args:
        policy: what the scripted cases are judged by, as those of a project are.
    """
    with tempfile.TemporaryDirectory() as aside:
        results = Path(aside)
        accept_runs(results)
        ordinary = Run(
            records=records_of(RUNS),
            identity=IDENTITY,
            now=_FIRST + timedelta(days=RUNS, hours=1),
        )
        findings = _judge(results, ordinary, policy)
        yield Planted(
            name="nothing",
            found=not findings,
            seen="; ".join(f"{x[0]}: {x[2]}" for x in findings) or "nothing was found",
        )
        for defect in _DEFECTS:
            found = _judge(results, defect.plant(ordinary), policy)
            yield _planted(defect, found)


def _planted(defect: _Defect, findings: list[tuple[str, Verdict, str]]) -> Planted:
    hits = [
        why
        for case, word, why in findings
        if case == defect.case and word == defect.verdict and defect.why in why
    ]
    others = [
        f"{case}: {why}"
        for case, _, why in findings
        if case not in {defect.case, case_name(99)} and not defect.concerns_all
    ]
    return Planted(
        name=defect.name,
        found=bool(hits) and not others,
        seen="; ".join(hits or others) or "nothing was found",
    )


def case_name(number: int) -> str:
    """Return the name of a scripted case."""
    return f"bench/suites/bench_selftest.py::bench_case[{number}]"


def records_of(run: int) -> Records:
    """Return the records of all cases in a run."""
    return {case_name(number): record_of(number, run) for number in range(CASES)}


def record_of(number: int, run: int) -> CaseRecord:
    """Return the record of a case in a run: a function of both numbers."""
    noise = random.Random(1000 * run + number)  # noqa: S311 - no secret
    recorder = Recorder(case_name(number), version="1")
    recorder.exact("trainable_tensors", 2 + 2 * number)
    recorder.exact("frozen_fingerprint", f"{number:064x}")
    recorder.cost("optimizer_slots", 2 * (2 + 2 * number))
    recorder.cost("train_step_flops", 1_000_000 * (1 + number))
    level = math.exp(noise.gauss(0, _NOISE))
    epochs = [0.1 * (1 + number) * level * noise.uniform(1, 1.004) for _ in range(6)]
    recorder.timing("epoch", epochs)
    recorder.metric("val_loss", value=0.4 + noise.gauss(0, 0.005), better="lower")
    for seed in range(3):
        share = random.Random(100 * number + 10 * run + seed)  # noqa: S311
        correct = round(_IMAGES * share.gauss(_ACCURACY, _SEED_SPREAD))
        recorder.metric("val_accuracy", correct=correct, n=_IMAGES, seed=3 * run + seed)
    return history.rounded(recorder.snapshot("passed"))


def accept_runs(results: Path) -> None:
    """Write a history of `RUNS` runs below a folder, and accept it."""
    here = baseline.Machine.of(IDENTITY)
    path = history.history_path(results, here.name)
    for run in range(RUNS):
        when = (_FIRST + timedelta(days=run)).isoformat(timespec="seconds")
        history.append(
            path,
            [
                history.Entry(
                    run=f"run-{run}",
                    when=when,
                    record=record,
                    verdict="pass",
                    structure=history.structure_of(record),
                )
                for record in records_of(run).values()
            ],
        )
    last = LastRun(
        when=when,
        versions={},
        cases=records_of(RUNS - 1),
        run=f"run-{RUNS - 1}",
        machine=here.name,
        frameworks=here.versions,
    )
    how = Acceptance(by="selftest", when=when, reason="planted", evidence="")
    exact = acceptance.accept(Baselines(), last, how)
    figures = acceptance.accept_figures({}, last, history.read(path).entries, how)
    write_machine(results, here.name, IDENTITY)
    write_accepted(results, exact.baselines)
    write_figures(results, here.name, figures.figures)


def _judge(results: Path, run: Run, policy: Policy) -> list[tuple[str, Verdict, str]]:
    """Return every finding: the case, the verdict, the sentence."""
    here = baseline.Machine.of(run.identity)
    accepted = baseline.gather(results, here, read_accepted(results))
    # A fresh run of a suspect records the same again: a planted defect is no accident.
    again: Mapping[str, list[CaseRecord]] = {
        case: [record] for case, record in run.records.items()
    }
    cases: list[Case] = list(judge(run.records, accepted, again, policy=policy))
    cases += [
        verdict.absent(case, "its file has no such case")
        for case in sorted(accepted.cases - set(run.records))
    ]
    found = [
        (case.case, finding.verdict, finding.why)
        for case in cases
        for finding in case.findings
        if finding.fails
    ]
    entries = history.read(history.history_path(results, here.name)).entries
    figures = read_figures(results, here.name)
    late = staleness.stale(figures, entries, run.now)
    return found + [(one.case, "missing", one.why) for one in late]


def _with(number: int, **changes: object) -> Callable[[Run], Run]:
    """Return a defect that replaces values in the record of a case."""

    def plant(run: Run) -> Run:
        record = run.records[case_name(number)]
        merged = {
            kind: {**getattr(record, kind), **values}  # type: ignore[dict-item]
            for kind, values in changes.items()
        }
        changed = replace(record, **merged)  # type: ignore[arg-type]
        return replace(run, records={**run.records, case_name(number): changed})

    return plant


def slower(run: Run) -> Run:
    """Plant a case that takes 10 % more time."""
    timing = run.records[case_name(3)].timings["epoch"]
    slow = replace(
        timing,
        median=timing.median * 1.1,
        seconds=tuple(x * 1.1 for x in timing.seconds),
    )
    return _with(3, timings={"epoch": slow})(run)


def _less_accurate(run: Run) -> Run:
    entries = run.records[case_name(4)].metrics["val_accuracy"]
    worse = tuple(
        replace(x, correct=(x.correct or 0) - 125, value=x.value - 0.05)
        for x in entries
    )
    return _with(4, metrics={"val_accuracy": worse})(run)


def _not_a_number(run: Run) -> Run:
    """Record a loss that is not a number, as a case would: the recorder refuses it."""
    recorder = Recorder(case_name(5), version="1")
    try:
        recorder.metric("val_loss", value=math.nan, better="lower")
        outcome = "passed"
    except ValueError:
        outcome = "failed"
    left = recorder.snapshot("failed" if outcome == "failed" else "passed")
    return replace(run, records={**run.records, case_name(5): left})


def _lost(run: Run) -> Run:
    record = run.records[case_name(6)]
    left = {k: v for k, v in record.metrics.items() if k != "val_loss"}
    changed = replace(record, metrics=left)
    return replace(run, records={**run.records, case_name(6): changed})


def _renamed(run: Run) -> Run:
    records = dict(run.records)
    record = records.pop(case_name(7))
    records[case_name(99)] = replace(record, case=case_name(99))
    return replace(run, records=records)


def _later(run: Run) -> Run:
    return replace(run, now=run.now + timedelta(days=1))


def _swapped(run: Run) -> Run:
    identity = {**run.identity, "gpus": ["Another device, 24 GiB"]}
    return replace(run, identity=identity)


_DEFECTS = (
    _Defect(
        name="10 % more time",
        plant=slower,
        case=case_name(3),
        verdict="regression",
        why="slower than",
    ),
    _Defect(
        name="5 points less accuracy",
        plant=_less_accurate,
        case=case_name(4),
        verdict="regression",
        why="points below",
    ),
    _Defect(
        name="a loss that is not a number",
        plant=_not_a_number,
        case=case_name(5),
        verdict="missing",
        why="the case failed",
    ),
    _Defect(
        name="a lost metric",
        plant=_lost,
        case=case_name(6),
        verdict="missing",
        why="not recorded: val_loss",
    ),
    _Defect(
        name="a renamed case",
        plant=_renamed,
        case=case_name(7),
        verdict="missing",
        why="no such case",
    ),
    _Defect(
        name="an unfrozen layer",
        plant=_with(
            8, exact={"trainable_tensors": 20}, costs={"train_step_flops": 19_000_000}
        ),
        case=case_name(8),
        verdict="regression",
        why="trainable_tensors: expected 18, received 20",
    ),
    _Defect(
        name="a moved BatchNorm statistic",
        plant=_with(9, exact={"frozen_fingerprint": "f" * 64}),
        case=case_name(9),
        verdict="regression",
        why="frozen_fingerprint",
    ),
    _Defect(
        name="a dropped optimizer slot",
        plant=_with(10, costs={"optimizer_slots": 43}),
        case=case_name(10),
        verdict="regression",
        why="optimizer_slots: expected 44, received 43",
    ),
    _Defect(
        name="a stale baseline",
        plant=_later,
        case=case_name(0),
        verdict="missing",
        why="no good run of",
        concerns_all=True,
    ),
    _Defect(
        name="a swapped device",
        plant=_swapped,
        case=case_name(0),
        verdict="not_comparable",
        why="A device, 80 GiB -> Another device, 24 GiB",
        concerns_all=True,
    ),
)
