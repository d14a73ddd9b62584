"""Pitfalls: ten ways in which a gate is green, or red, and has seen nothing.

The second half of the selftest. Each pitfall is set up as in a real session, in a
folder of its own, and what the gate makes of it is compared with what it should.
"""

import fnmatch
import math
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from tlbench import acceptance, baseline, selftest
from tlbench.options import Options
from tlbench.record import CaseRecord
from tlbench.recorder import Recorder
from tlbench.selftest import IDENTITY, Planted, Records, case_name, records_of
from tlbench.session import Session
from tlbench.storage import history
from tlbench.storage.baselines import Acceptance, read_accepted, read_figures
from tlbench.storage.last_run import LastRun
from tlbench.suite_root import suite_root
from tlbench.unrecorded import Use
from tlbench.verdicts.figures import Accepted, Figures
from tlbench.verdicts.judge import judge
from tlbench.verdicts.verdict import Case

_HOW = Acceptance(by="selftest", when="", reason="planted", evidence="")
_TONIGHT = selftest.RUNS
"""The number of the run that is judged; the runs before it are accepted."""


def run() -> Iterator[Planted]:
    """Set up every pitfall, one at a time."""
    for name, pitfall in _PITFALLS.items():
        with tempfile.TemporaryDirectory() as aside:
            found, seen = pitfall(Path(aside))
        yield Planted(name=name, found=found, seen=seen)


_Found = tuple[bool, str]


def _lost_options(folder: Path) -> _Found:
    """Twice the work by an option that the fresh processes do not get."""
    records = _changed(3, timings={"epoch": 2.0}, exact={"size": 2})
    alone = _changed(3, exact={"size": 1})[case_name(3)]
    cases = _judged(folder, records, {case_name(3): [alone]})
    return _says(cases, 3, "did not repeat what the session measured: size 2, then 1")


def _nothing_recorded(folder: Path) -> _Found:
    session = _session(folder, gate=True)
    session.uses.choose({"test_a.py::test_b": Use()}, collected=1)
    session.uses.end("test_a.py::test_b", "passed")
    ending = session.finish()
    said = "; ".join(text for text, _ in session.lines())
    return ending == "findings" and "nothing was recorded" in said, said


def _blind_pass(_folder: Path) -> _Found:
    """Accepted runs that vary so much that nothing could be seen."""
    wild = {f"r{n}": 0.1 * math.exp((-1) ** n * (1 + n / 10)) for n in range(8)}
    one = selftest.record_of(0, _TONIGHT)
    figures = Figures(version="1", series={"epoch": wild}, anchor={"epoch": wild})
    only = replace(one, exact={}, costs={}, metrics={})
    (case,) = judge({one.case: only}, Accepted(figures={one.case: figures}))
    said = "; ".join(map(str, case.findings))
    return case.verdict == "inconclusive" and "could be seen" in said, said


def _mixed_level(folder: Path) -> _Found:
    """An accepted doubling, a night that is like it, and then 5 % more."""
    here = _accepted(folder)
    path = history.history_path(folder, here.name)
    twice = _changed(3, timings={"epoch": 2.0})
    for night in range(5):
        history.append(path, _entries(twice, f"twice-{night}"))
    last = LastRun(when="", versions={}, cases=twice, machine=here.name)
    before = read_figures(folder, here.name)
    entries = history.read(path).entries
    figures = acceptance.accept_figures(before, last, entries, _HOW).figures
    known = {case: one.figures for case, one in figures.items()}
    accepted = replace(_baseline(folder), figures=known)
    alarmed, said = _says(judge(twice, accepted), 3, "regression: epoch ")
    if alarmed:
        return False, said
    again = _changed(3, timings={"epoch": 2.1})
    return _says(judge(again, accepted), 3, "regression: epoch ")


def _swapped_timer(folder: Path) -> _Found:
    records = records_of(_TONIGHT)
    timing = records[case_name(3)].timings["epoch"]
    accepted = _baseline_after(folder)
    known = accepted.figures[case_name(3)]
    timed = replace(known, timers={"epoch": "perf_counter"})
    other = replace(timing, timer="process_time")
    records[case_name(3)] = replace(records[case_name(3)], timings={"epoch": other})
    figures = {**accepted.figures, case_name(3): timed}
    return _says(
        judge(records, replace(accepted, figures=figures)), 3, "not_comparable"
    )


def _moved_ids(folder: Path) -> _Found:
    """Results outside of the suite, which are there from the second session on."""
    suite, results = folder / "suite", folder / "elsewhere" / "results"
    suite.mkdir()
    first = suite_root(suite, [])
    results.mkdir(parents=True)
    second = suite_root(suite, [])
    return first == second, f"cases are relative to {second.name}, then and now"


def _foreign_lock(folder: Path) -> _Found:
    """A lock file that a process left which is no more."""
    path = folder / "machine" / "history.jsonl"
    path.parent.mkdir()
    lock = path.with_name(f".{path.name}.lock")
    lock.touch()
    history.append(path, _entries(records_of(0), "r0"))
    ignored = (path.parent / ".gitignore").read_text(encoding="utf-8").splitlines()
    kept = len(history.read(path).entries) == selftest.CASES
    out = any(fnmatch.fnmatch(lock.name, pattern) for pattern in ignored)
    return kept and out, "the run was saved, and git ignores the lock"


def _long_id(folder: Path) -> _Found:
    session = _session(folder, save=True)
    session.load()
    for name in ("test_a.py::test_b", f"test_a.py::test_{'é' * 1400}"):
        recorder = Recorder(name, "1")
        recorder.timing("epoch", [1.0, 1.0])
        session.take(name, recorder.snapshot("passed"))
    session.finish()
    (path,) = folder.glob("*/history.jsonl")
    kept = [one.case for one in history.read(path).entries]
    said = [text for text, _ in session.lines() if "it is not saved: " in text]
    why = "".join(said).partition("missing: ")[2]
    return kept == ["test_a.py::test_b"] and len(said) == 1, why


def _merge_markers(folder: Path) -> _Found:
    path = folder / "history.jsonl"
    one, two = (
        b"".join(map(history.line, _entries(records_of(n), f"r{n}"))) for n in (0, 1)
    )
    marked = b"<<<<<<< HEAD\n" + one + b"=======\n" + two + b">>>>>>> theirs\n"
    path.write_bytes(marked)
    kept = history.read(path)
    whole = len(kept.entries) == 2 * selftest.CASES
    named = [one for one in kept.damage if "conflict marker of a merge" in one]
    return whole and len(named) == 3, f"{len(named)} conflict markers were named"


def _unknown_machine(folder: Path) -> _Found:
    _accepted(folder)
    other = baseline.Machine.of({**IDENTITY, "cpu": "Another processor"})
    accepted = baseline.gather(folder, other, read_accepted(folder))
    cases = judge(records_of(_TONIGHT), accepted)
    return _says(cases, 0, "cpu A processor -> Another processor")


_PITFALLS: Mapping[str, Callable[[Path], _Found]] = {
    "lost options": _lost_options,
    "a session that recorded nothing": _nothing_recorded,
    "a pass that could not have seen": _blind_pass,
    "two levels in one baseline": _mixed_level,
    "a swapped timer": _swapped_timer,
    "case ids that move with the results": _moved_ids,
    "the lock of another process": _foreign_lock,
    "an id too long for its line": _long_id,
    "conflict markers of a merge": _merge_markers,
    "an unknown machine": _unknown_machine,
}


def _says(cases: tuple[Case, ...], number: int, words: str) -> _Found:
    """Return whether the case says so, and the other cases say nothing of it."""
    said = {one.case: "; ".join(map(str, one.findings)) for one in cases}
    mine = said[case_name(number)]
    return words in mine, mine or "nothing was found"


def _changed(number: int, **changes: Mapping[str, float]) -> Records:
    """Return tonight's records, one of them with other values."""
    records = records_of(_TONIGHT)
    record = records[case_name(number)]
    timings = {
        name: replace(
            record.timings[name],
            median=record.timings[name].median * factor,
            seconds=tuple(x * factor for x in record.timings[name].seconds),
        )
        for name, factor in changes.get("timings", {}).items()
    }
    records[case_name(number)] = replace(
        record,
        timings={**record.timings, **timings},
        exact={**record.exact, **changes.get("exact", {})},
    )
    return records


def _judged(
    folder: Path, records: Records, again: Mapping[str, list[CaseRecord]]
) -> tuple[Case, ...]:
    return judge(records, _baseline_after(folder), again)


def _accepted(folder: Path) -> baseline.Machine:
    selftest.accept_runs(folder)
    return baseline.Machine.of(IDENTITY)


def _baseline(folder: Path) -> Accepted:
    here = baseline.Machine.of(IDENTITY)
    return baseline.gather(folder, here, read_accepted(folder))


def _baseline_after(folder: Path) -> Accepted:
    _accepted(folder)
    return _baseline(folder)


def _entries(records: Records, run: str) -> list[history.Entry]:
    return [
        history.Entry(
            run=run,
            when="2026-02-01T02:00:00+00:00",
            record=record,
            verdict="pass",
            structure=history.structure_of(record),
        )
        for record in records.values()
    ]


def _session(folder: Path, *, gate: bool = False, save: bool = False) -> Session:
    options = Options(root=folder, results=folder, takes_all=True, gate=gate, save=save)
    return Session(options, identity=dict, versions={}, say=lambda _: None)
