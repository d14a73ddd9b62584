"""Old runs become summaries: which, what is kept of them, and that nothing is lost."""

import signal
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tlbench.recorder import Recorder
from tlbench.storage import history, lines, retention, summaries, union
from tlbench.storage.baselines import Acceptance, MachineBaseline
from tlbench.storage.history import Entry
from tlbench.storage.summaries import Fold
from tlbench.verdicts.figures import Figures

NOW = datetime(2026, 6, 1, tzinfo=UTC)


def entry(number, case="a.py::t", *, seconds=1.0, outcome="passed", verdict="pass"):
    """Return a run of a day in 2026."""
    recorder = Recorder(case, "1")
    recorder.timing("epoch", [seconds], warmup=0)
    recorder.memory("host", 1000)
    recorder.metric("accuracy", correct=9, n=10, seed=1)
    when = datetime(2026, 1, 1, 2, tzinfo=UTC) + timedelta(days=number)
    return Entry(
        run=f"r{number}",
        when=when.isoformat(timespec="seconds"),
        record=recorder.snapshot(outcome),
        verdict=verdict,
    )


def text(*entries):
    return b"".join(map(history.line, entries))


def read(data, tmp_path):
    path = tmp_path / "m" / "history.jsonl"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    found = history.read(path)
    assert not found.damage
    return found


def fold(data, kept=None, days=30, now=NOW):
    return retention.folded(data, kept or {}, days=days, now=now)


YEAR = [entry(n, seconds=1.0 + n / 100) for n in range(150)]  # to May 30


def test_old_runs_are_one_line_for_each_case_and_month(tmp_path):
    other = [entry(n, "b.py::t") for n in range(150)]
    both = [x for pair in zip(YEAR, other, strict=True) for x in pair]
    found = read(fold(text(*both)), tmp_path)
    months = [(one.case, one.month) for one in found.summaries]
    wanted = [
        (case, f"2026-0{month}")
        for month in range(1, 6)
        for case in ("a.py::t", "b.py::t")
    ]
    assert sorted(months) == sorted(wanted)
    # 30 days before June: May 2, and later.
    assert [x.run for x in found.entries if x.case == "a.py::t"] == [
        f"r{n}" for n in range(121, 150)
    ]


def test_a_summary_has_the_median_the_spread_and_the_number_of_its_runs(tmp_path):
    bad = [
        entry(28, seconds=99.0, outcome="failed", verdict="missing"),
        entry(29, seconds=1.3, verdict="regression"),
    ]
    runs = [*YEAR[:5], *bad, YEAR[140]]
    (one,) = read(fold(text(*runs)), tmp_path).summaries
    assert (one.since, one.when) == (runs[0].when, runs[6].when)
    assert (one.runs, one.verdicts) == (7, {"pass": 5, "missing": 1, "regression": 1})
    assert one.series["epoch"] == Fold(median=1.025, spread=0.022239, runs=6, unit="s")
    assert one.series["host"] == Fold(median=1000, spread=0, runs=6, unit="bytes")
    assert one.series["accuracy"] == Fold(median=0.9, spread=0, runs=6)
    assert one.folded == {lines.decoded(history.line(x))["crc"] for x in runs[:7]}


def baseline(series, anchor=(), metrics=()):
    how = Acceptance(by="", when="", reason="", evidence="")
    figures = Figures(
        version="1",
        series={"epoch": dict.fromkeys(series, 1.0)},
        anchor={"epoch": dict.fromkeys(anchor, 1.0)},
        metrics={"accuracy": [(run, 0.9, 10) for run in metrics]},
    )
    return MachineBaseline(figures=figures, accepted=how, anchored=how)


def test_accepted_runs_and_anchors_stay_also_of_a_case_with_another_name(tmp_path):
    figures = {"new": baseline(["r3", "r4"], anchor=["r1"], metrics=["r5"])}
    kept = retention.pinned(figures, {"a.py::t": "new"})
    assert kept["new"] == kept["a.py::t"] == {"r1", "r3", "r4", "r5"}
    found = read(fold(text(*YEAR), kept), tmp_path)
    assert [x.run for x in found.entries][:5] == ["r1", "r3", "r4", "r5", "r121"]
    assert found.summaries[0].runs == 27


def test_the_newest_good_run_of_a_case_stays(tmp_path):
    last = [entry(60, outcome="failed", verdict="missing")]
    found = read(fold(text(*YEAR[:50], *last)), tmp_path)
    assert [x.run for x in found.entries] == ["r49"]
    assert sum(one.runs for one in found.summaries) == 50


def test_folding_again_changes_nothing_and_later_runs_get_another_line(tmp_path):
    once = fold(text(*YEAR))
    assert fold(once) == once
    later = fold(once, now=NOW + timedelta(days=10))
    found = read(later, tmp_path)
    assert [x.month for x in found.summaries].count("2026-05") == 2
    assert sum(x.runs for x in found.summaries) + len(found.entries) == 150


def test_a_month_with_many_runs_gets_several_lines_that_fit(tmp_path):
    moments = [replace(YEAR[0], run=f"x{n}") for n in range(300)]
    data = fold(text(*moments, YEAR[149]))
    assert max(map(len, data.splitlines())) < lines.LINE_BYTES
    assert [x.runs for x in read(data, tmp_path).summaries] == [128, 128, 44]


def test_damaged_lines_and_those_of_newer_versions_stay():
    odd = [b'{"schema":99,"run":"x"}', b"damaged", b"<<<<<<< ours"]
    data = fold(b"\n".join([*odd, text(*YEAR)]))
    assert data.splitlines()[:3] == odd


def test_with_nothing_to_fold_no_byte_changes():
    data = text(*YEAR[140:]) + b'{"half'
    assert fold(data) == data


def test_a_line_without_a_time_is_never_old():
    data = text(replace(YEAR[0], when="yesterday"), YEAR[140])
    assert fold(data) == data


@pytest.mark.parametrize("days", [0, -1])
def test_less_than_a_day_is_refused(days):
    with pytest.raises(ValueError, match=rf"keep_days={days}\. Pass for instance"):
        retention.check_days(days)


# Merging


def test_what_was_folded_on_one_side_stays_folded():
    all_lines, pruned = text(*YEAR), fold(text(*YEAR))
    assert union.merged(all_lines, pruned) == pruned
    assert sorted(union.lines(union.merged(pruned, all_lines))) == sorted(
        union.lines(pruned)
    )


def test_a_run_that_nobody_had_folded_is_not_lost(tmp_path):
    late = entry(3, seconds=5.0)
    late = replace(late, run="of another runner")
    found = read(union.merged(text(late), fold(text(*YEAR))), tmp_path)
    assert found.entries[0] == late


def test_of_two_summaries_the_one_of_more_runs_stays(tmp_path):
    fewer, more = fold(text(*YEAR[:20], YEAR[140])), fold(text(*YEAR[:25], YEAR[140]))
    for pair in ((fewer, more), (more, fewer)):
        (one,) = read(union.merged(*pair), tmp_path).summaries
        assert one.runs == 25


# Files


def test_a_file_is_folded_whole(tmp_path):
    path = tmp_path / "m" / "history.jsonl"
    history.append(path, YEAR)
    assert retention.fold(path, {}, days=30, now=NOW) == 116
    assert retention.fold(path, {}, days=30, now=NOW) == 0
    history.append(path, [entry(151)])
    found = history.read(path)
    assert (len(found.entries), len(found.summaries), found.damage) == (30, 5, ())


def test_a_process_that_is_killed_while_it_folds_loses_nothing(tmp_path):
    path = tmp_path / "m" / "history.jsonl"
    history.append(path, YEAR)
    before = path.read_bytes()
    code = (
        "import os, signal, sys\n"
        "from datetime import UTC, datetime\n"
        "from pathlib import Path\n"
        "from tlbench.storage import retention\n"
        "Path.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "now = datetime(2026, 6, 1, tzinfo=UTC)\n"
        "retention.fold(Path(sys.argv[1]), {}, days=30, now=now)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, path], check=False)
    assert done.returncode == -signal.SIGKILL
    assert path.read_bytes() == before


def test_summaries_are_read_under_the_present_name_and_in_their_place(tmp_path):
    kept = {"a.py::t": {"r40"}}
    found = read(fold(text(*YEAR), kept), tmp_path).renamed({"a.py::t": "new"})
    assert {one.case for one in found.timeline} == {"new"}
    order = [getattr(one, "run", None) or one.month for one in found.timeline]
    assert order[:4] == ["2026-01", "r40", "2026-02", "2026-03"]


def test_an_older_version_refuses_a_summary_instead_of_calling_it_damaged(tmp_path):
    (line,) = [x for x in fold(text(*YEAR[:9])).splitlines() if b"summary" in x]
    assert lines.decoded(line)["schema"] == summaries.SCHEMA == 3
    broken = line.replace(b'"runs":8', b'"runs":9')
    path = tmp_path / "history.jsonl"
    path.write_bytes(broken + b"\n" + line + b"\n")
    found = history.read(path)
    assert len(found.summaries) == 1
    assert "line 1 is damaged (its checksum" in found.damage[0]
