"""Selftest: known defects are planted, and each must be found.

Owns a scripted suite of cases, its accepted runs, and what is done to it. Everything
goes the way of a real night: recorded, appended to a history, accepted, read back and
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
from tlbench.verdicts.verdict import Case, Verdict

_CASES = 12
_NIGHTS = 20
_FIRST = datetime(2026, 1, 1, 2, tzinfo=UTC)
_NOISE = 0.0055
"""The median coefficient of variation from run to run of a quiet machine."""
_IMAGES, _ACCURACY, _SEED_SPREAD = 2500, 0.85, 0.005

_IDENTITY: machine.Identity = {
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
    """A defect, and what was said of it.

    Attributes:
        name: of the defect.
        found: whether it was found, and nothing that is not there.
        told: the sentence, or what was found in its place.
    """

    name: str
    found: bool
    told: str


@dataclass(frozen=True, kw_only=True)
class _Night:
    """A night that is judged."""

    records: Records
    identity: machine.Identity
    now: datetime


@dataclass(frozen=True, kw_only=True)
class _Defect:
    """What is done to a night, and what must be said of which case then."""

    name: str
    plant: Callable[[_Night], _Night]
    case: str
    verdict: Verdict
    why: str
    concerns_all: bool = False


def run() -> Iterator[Planted]:
    """Plant every defect, one at a time, beginning with none at all."""
    with tempfile.TemporaryDirectory() as aside:
        results = Path(aside)
        _accept_nights(results)
        night = _Night(
            records=_records(_NIGHTS),
            identity=_IDENTITY,
            now=_FIRST + timedelta(days=_NIGHTS, hours=1),
        )
        told = _judge(results, night)
        yield Planted(
            name="nothing",
            found=not told,
            told="; ".join(f"{x[0]}: {x[2]}" for x in told) or "nothing was found",
        )
        for defect in _DEFECTS:
            yield _look(defect, _judge(results, defect.plant(night)))


def _look(defect: _Defect, told: list[tuple[str, Verdict, str]]) -> Planted:
    hits = [
        why
        for case, word, why in told
        if case == defect.case and word == defect.verdict and defect.why in why
    ]
    others = [
        f"{case}: {why}"
        for case, _, why in told
        if case not in {defect.case, _case(99)} and not defect.concerns_all
    ]
    return Planted(
        name=defect.name,
        found=bool(hits) and not others,
        told="; ".join(hits or others) or "nothing was found",
    )


def _case(number: int) -> str:
    return f"bench/suites/bench_selftest.py::bench_case[{number}]"


def _records(night: int) -> Records:
    """Return what all cases leave in a night."""
    return {_case(number): _record(number, night) for number in range(_CASES)}


def _record(number: int, night: int) -> CaseRecord:
    noise = random.Random(1000 * night + number)  # noqa: S311 - no secret
    recorder = Recorder(_case(number), version="1")
    recorder.exact("trainable_tensors", 2 + 2 * number)
    recorder.exact("frozen_fingerprint", f"{number:064x}")
    recorder.cost("optimizer_slots", 2 * (2 + 2 * number))
    recorder.cost("train_step_flops", 1_000_000 * (1 + number))
    level = math.exp(noise.gauss(0, _NOISE))
    epochs = [0.1 * (1 + number) * level * noise.uniform(1, 1.004) for _ in range(6)]
    recorder.timing("epoch", epochs)
    recorder.metric("val_loss", value=0.4 + noise.gauss(0, 0.005), better="lower")
    for seed in range(3):
        share = random.Random(100 * number + 10 * night + seed)  # noqa: S311
        correct = round(_IMAGES * share.gauss(_ACCURACY, _SEED_SPREAD))
        recorder.metric(
            "val_accuracy", correct=correct, n=_IMAGES, seed=3 * night + seed
        )
    return history.rounded(recorder.snapshot("passed"))


def _accept_nights(results: Path) -> None:
    here = baseline.Machine.of(_IDENTITY)
    path = history.history_path(results, here.name)
    for night in range(_NIGHTS):
        when = (_FIRST + timedelta(days=night)).isoformat(timespec="seconds")
        history.append(
            path,
            [
                history.Entry(
                    run=f"night-{night}",
                    when=when,
                    record=record,
                    verdict="pass",
                    structure=history.structure_of(record),
                )
                for record in _records(night).values()
            ],
        )
    last = LastRun(
        when=when,
        versions={},
        cases=_records(_NIGHTS - 1),
        run=f"night-{_NIGHTS - 1}",
        machine=here.name,
        frameworks=here.versions,
    )
    how = Acceptance(by="selftest", when=when, reason="planted", evidence="")
    exact = acceptance.accept(Baselines(), last, how)
    figures = acceptance.accept_figures({}, last, history.read(path).entries, how)
    write_machine(results, here.name, _IDENTITY)
    write_accepted(results, exact.baselines)
    write_figures(results, here.name, figures.figures)


def _judge(results: Path, night: _Night) -> list[tuple[str, Verdict, str]]:
    """Return everything that is found: the case, the verdict, the sentence."""
    here = baseline.Machine.of(night.identity)
    accepted = baseline.gather(results, here, read_accepted(results))
    # What was recorded so far again is what fresh runs of suspects leave.
    again: Mapping[str, list[CaseRecord]] = {
        case: [record] for case, record in night.records.items()
    }
    cases: list[Case] = list(judge(night.records, accepted, again))
    cases += [
        verdict.absent(case, "its file has no such case")
        for case in sorted(accepted.cases - set(night.records))
    ]
    found = [
        (case.case, finding.verdict, finding.why)
        for case in cases
        for finding in case.findings
        if verdict.is_finding(finding.verdict)
    ]
    entries = history.read(history.history_path(results, here.name)).entries
    figures = read_figures(results, here.name)
    late = staleness.stale(figures, entries, night.now)
    return found + [(one.case, "missing", one.why) for one in late]


def _changed(number: int, **changes: object) -> Callable[[_Night], _Night]:
    """Return what replaces values of a case's record."""

    def plant(night: _Night) -> _Night:
        record = night.records[_case(number)]
        merged = {
            kind: {**getattr(record, kind), **values}  # type: ignore[dict-item]
            for kind, values in changes.items()
        }
        changed = replace(record, **merged)  # type: ignore[arg-type]
        return replace(night, records={**night.records, _case(number): changed})

    return plant


def _slower(night: _Night) -> _Night:
    timing = night.records[_case(3)].timings["epoch"]
    slow = replace(
        timing,
        median=timing.median * 1.1,
        seconds=tuple(x * 1.1 for x in timing.seconds),
    )
    return _changed(3, timings={"epoch": slow})(night)


def _less_accurate(night: _Night) -> _Night:
    entries = night.records[_case(4)].metrics["val_accuracy"]
    worse = tuple(
        replace(x, correct=(x.correct or 0) - 125, value=x.value - 0.05)
        for x in entries
    )
    return _changed(4, metrics={"val_accuracy": worse})(night)


def _not_a_number(night: _Night) -> _Night:
    """Record a loss that is no number, as a case would: recording refuses it."""
    recorder = Recorder(_case(5), version="1")
    try:
        recorder.metric("val_loss", value=math.nan, better="lower")
        outcome = "passed"
    except ValueError:
        outcome = "failed"
    left = recorder.snapshot("failed" if outcome == "failed" else "passed")
    return replace(night, records={**night.records, _case(5): left})


def _lost(night: _Night) -> _Night:
    record = night.records[_case(6)]
    left = {k: v for k, v in record.metrics.items() if k != "val_loss"}
    changed = replace(record, metrics=left)
    return replace(night, records={**night.records, _case(6): changed})


def _renamed(night: _Night) -> _Night:
    records = dict(night.records)
    record = records.pop(_case(7))
    records[_case(99)] = replace(record, case=_case(99))
    return replace(night, records=records)


def _later(night: _Night) -> _Night:
    return replace(night, now=night.now + timedelta(days=1))


def _swapped(night: _Night) -> _Night:
    identity = {**night.identity, "gpus": ["Another device, 24 GiB"]}
    return replace(night, identity=identity)


_DEFECTS = (
    _Defect(
        name="10 % more time",
        plant=_slower,
        case=_case(3),
        verdict="regression",
        why="slower than",
    ),
    _Defect(
        name="5 points less accuracy",
        plant=_less_accurate,
        case=_case(4),
        verdict="regression",
        why="points below",
    ),
    _Defect(
        name="a loss that is no number",
        plant=_not_a_number,
        case=_case(5),
        verdict="missing",
        why="the case failed",
    ),
    _Defect(
        name="a lost metric",
        plant=_lost,
        case=_case(6),
        verdict="missing",
        why="not recorded: val_loss",
    ),
    _Defect(
        name="a renamed case",
        plant=_renamed,
        case=_case(7),
        verdict="missing",
        why="no such case",
    ),
    _Defect(
        name="an unfrozen layer",
        plant=_changed(
            8, exact={"trainable_tensors": 20}, costs={"train_step_flops": 19_000_000}
        ),
        case=_case(8),
        verdict="regression",
        why="trainable_tensors: expected 18, received 20",
    ),
    _Defect(
        name="a moved BatchNorm statistic",
        plant=_changed(9, exact={"frozen_fingerprint": "f" * 64}),
        case=_case(9),
        verdict="regression",
        why="frozen_fingerprint",
    ),
    _Defect(
        name="a dropped optimizer slot",
        plant=_changed(10, costs={"optimizer_slots": 43}),
        case=_case(10),
        verdict="regression",
        why="optimizer_slots: expected 44, received 43",
    ),
    _Defect(
        name="a stale baseline",
        plant=_later,
        case=_case(0),
        verdict="missing",
        why="no good run of",
        concerns_all=True,
    ),
    _Defect(
        name="a swapped device",
        plant=_swapped,
        case=_case(0),
        verdict="not_comparable",
        why="A device, 80 GiB -> Another device, 24 GiB",
        concerns_all=True,
    ),
)
