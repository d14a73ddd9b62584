"""The history of a machine: lines that are whole, whoever writes and whatever ends."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tlbench.record import SAMPLES, SCHEMA
from tlbench.recorder import Recorder
from tlbench.storage import history
from tlbench.storage.history import Entry

UNHURRIED = settings(
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
"""No example fails for a busy machine, nor by the luck of the draw."""

WRITER = """
import sys
from pathlib import Path
from tlbench.recorder import Recorder
from tlbench.storage.history import Entry, append

path, name, first, count, each = Path(sys.argv[1]), sys.argv[2], *map(int, sys.argv[3:])
for start in range(first, first + count, each):
    entries = []
    for number in range(start, start + each):
        recorder = Recorder(f"bench_{name}.py::bench[{number}]", "1")
        recorder.timing("epoch", [0.1 + number] * 20)
        record = recorder.snapshot("passed")
        run = f"{name}-{start}"
        entries.append(Entry(run=run, when="", record=record, verdict="pass"))
    append(path, entries)
    print(start, flush=True)
"""


def entry(case="bench_a.py::bench_b", **changes):
    recorder = Recorder(case, "1")
    recorder.timing("epoch", [0.2, 0.1, 0.11])
    recorder.timing("round", [0.2], warmup=0, iterations=300, timer="perf_counter")
    recorder.metric("accuracy", correct=9, n=10, seed=1)
    recorder.memory("host", 10**9)
    values = {"run": "r1", "when": "2026-01-01T00:00:00+00:00", "verdict": "pass"}
    return Entry(
        record=recorder.snapshot("passed"), context={"load": 0.5}, **values | changes
    )


@pytest.fixture
def path(tmp_path):
    return tmp_path / "machine" / "history.jsonl"


def writer(path, name, first, count, each):
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, path, name, str(first), str(count), str(each)],
        stdout=subprocess.PIPE,
        text=True,
    )


def test_entries_survive_in_their_order(path):
    first, second = entry(), entry("bench_a.py::bench_ü[/]", commit="abc+")
    history.append(path, [first])
    history.append(path, [second])
    assert history.read(path) == history.History(entries=(first, second))


def test_the_branch_of_a_run_survives_and_lines_without_one_are_read(path):
    old, new = entry(), entry(run="r2", branch="change/ü")
    assert b"branch" not in history.line(old)
    history.append(path, [old, new])
    assert [x.branch for x in history.read(path).entries] == ["", "change/ü"]


def test_a_missing_file_is_an_empty_history(path):
    assert history.read(path) == history.History()


@pytest.mark.parametrize("outcome", ["passed", "failed", "skipped", "regression"])
def test_only_a_case_that_passed_is_good(outcome):
    record = replace(entry().record, outcome=outcome)
    assert entry().is_good is True
    assert replace(entry(), record=record).is_good is (outcome == "passed")


# Damage


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (lambda line: line[: len(line) // 2], "damaged"),
        (lambda line: line.replace(b'"median":0.1', b'"median":0.2'), "checksum"),
        (lambda line: line.replace(b'"schema":', b'"scheme":'), "no 'schema'"),
        (lambda line: b"[" * 5000, "damaged"),
        (lambda line: b"\xff\xfe", "utf-8"),
        (lambda line: b"null", "damaged"),
        (lambda line: b"", "damaged"),
    ],
)
def test_a_damaged_line_is_named_and_the_others_are_read(path, damage, why):
    for number in range(3):
        history.append(path, [entry(run=f"r{number}")])
    lines = path.read_bytes().splitlines()
    lines[1] = damage(lines[1])
    path.write_bytes(b"\n".join(lines) + b"\n")
    found = history.read(path)
    assert [x.run for x in found.entries] == ["r0", "r2"]
    (sentence,) = found.damage
    assert "line 2 is damaged" in sentence
    assert why in sentence
    assert "Restore it" in sentence


@UNHURRIED
@given(st.data())
def test_no_flipped_bit_goes_unseen(data):
    line = history.line(entry())[:-1]
    at = data.draw(st.integers(0, len(line) - 1))
    flipped = bytearray(line)
    flipped[at] ^= 1 << data.draw(st.integers(0, 7))
    try:
        left = history._entry(bytes(flipped), history.Path("x"))
    except (ValueError, KeyError, TypeError, AttributeError):
        return
    assert left == entry()  # white space between two values


def test_a_newer_schema_is_refused(path):
    path.parent.mkdir()
    path.write_text(json.dumps({"schema": SCHEMA + 1}) + "\n", encoding="utf-8")
    with pytest.raises(
        ValueError, match=rf"Received: schema={SCHEMA + 1}\. Install a newer"
    ):
        history.read(path)


@pytest.mark.parametrize("cut", [1, 5, 100, 300])
def test_the_beginning_of_a_line_is_taken_away_by_the_next_append(path, cut):
    history.append(path, [entry(run="r0"), entry(run="r1")])
    whole = path.read_bytes()
    path.write_bytes(whole + history.line(entry(run="r2"))[:cut])
    found = history.read(path)
    assert (len(found.entries), found.damage, found.interrupted) == (2, (), True)
    history.append(path, [entry(run="r3")])
    found = history.read(path)
    assert [x.run for x in found.entries] == ["r0", "r1", "r3"]
    assert (found.damage, found.interrupted) == ((), False)


def test_a_line_without_its_end_is_kept(path):
    history.append(path, [entry(run="r0"), entry(run="r1")])
    path.write_bytes(path.read_bytes().rstrip(b"\n"))
    assert [x.run for x in history.read(path).entries] == ["r0", "r1"]
    history.append(path, [entry(run="r2")])
    assert [x.run for x in history.read(path).entries] == ["r0", "r1", "r2"]


def test_what_is_no_line_of_ours_is_not_taken_away(path):
    path.parent.mkdir()
    path.write_bytes(b"x" * 5000)
    history.append(path, [entry()])
    assert path.read_bytes().startswith(b"x" * 5000 + b"\n")
    assert len(history.read(path).damage) == 1


# Size


def test_a_line_that_is_too_long_keeps_its_figures_and_loses_its_samples(path):
    recorder = Recorder("c", "1")
    for name in range(8):
        recorder.timing(f"part {name}", [0.123456 + i / 1000 for i in range(40)])
    full = replace(entry(), record=history.rounded(recorder.snapshot("passed")))
    history.append(path, [full])
    (left,) = history.read(path).entries
    assert path.stat().st_size <= history.LINE_BYTES
    for name, timing in full.record.timings.items():
        kept = left.record.timings[name]
        assert (kept.median, kept.count) == (timing.median, timing.count)


def test_a_case_that_cannot_fit_is_refused_and_nothing_is_written(path):
    recorder = Recorder("c" * 3000, "1")
    long = replace(entry(), record=recorder.snapshot("passed"))
    with pytest.raises(
        ValueError, match=r"2048 bytes\. Received: \d+ bytes of c+\. Shorten its name"
    ):
        history.append(path, [entry(), long])
    assert not path.exists()


def test_an_ordinary_line_is_short():
    recorder = Recorder("bench/suites/bench_training.py::bench_sample_net[a-1]", "1")
    recorder.timing("epoch", [0.123456789] * SAMPLES)
    for seed in range(3):
        recorder.metric("val_accuracy", correct=2125, n=2500, seed=seed)
    record = history.rounded(recorder.snapshot("passed"))
    assert len(history.line(replace(entry(), record=record))) < history.LINE_BYTES / 2


@UNHURRIED
@given(st.floats(1e-9, 1e6))
def test_six_digits_of_a_duration_are_kept(seconds):
    recorder = Recorder("c")
    recorder.timing("t", [seconds], warmup=0)
    left = history.rounded(recorder.snapshot("passed")).timings["t"]
    assert left.median == pytest.approx(seconds, rel=1e-5)
    assert left.seconds == (left.median,)


# Writers


def test_eight_writers_lose_nothing(path):
    writers = [writer(path, str(name), 0, 400, 10) for name in range(8)]
    assert [process.wait() for process in writers] == [0] * 8
    for process in writers:
        process.stdout.close()
    found = history.read(path)
    assert (len(found.entries), found.damage) == (3_200, ())
    assert len({x.case for x in found.entries}) == 3_200


def test_a_killed_writer_leaves_whole_lines_and_all_it_said_it_wrote(path):
    chance = random.Random(1)
    said = {}
    for name in range(12):
        process = writer(path, str(name), 0, 100_000, 5)
        said[name] = [process.stdout.readline()]
        time.sleep(chance.uniform(0, 0.1))
        os.kill(process.pid, signal.SIGKILL)
        said[name] += process.stdout.readlines()
        process.wait()
        process.stdout.close()
    history.append(path, [entry()])
    found = history.read(path)
    assert (found.damage, found.interrupted) == ((), False)
    cases = {x.case for x in found.entries}
    for name, lines in said.items():
        starts = [int(line) for line in lines if line.endswith("\n")]
        assert starts
        for start in starts:
            for number in range(start, start + 5):
                assert f"bench_{name}.py::bench[{number}]" in cases


def test_a_full_disk_leaves_the_history_as_it_was(path, monkeypatch):
    history.append(path, [entry(run="r0")])
    before, write = path.read_bytes(), os.write

    def full(file, data):
        if len(data) > 10:
            return write(file, bytes(data[:10]))
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space left"):
        history.append(path, [replace(entry(), run="r1", record=entry("x" * 3).record)])
    assert path.read_bytes() == before


# Names


@pytest.mark.parametrize(
    ("aliases", "now"),
    [({}, "a"), ({"a": "b"}, "b"), ({"a": "b", "b": "c"}, "c"), ({"x": "y"}, "a")],
)
def test_a_renamed_case_goes_on_under_its_new_name(path, aliases, now):
    history.append(path, [entry("a")])
    (left,) = history.read(path).renamed(aliases).entries
    assert left.case == now


def test_the_structure_changes_with_any_exact_value_or_cost():
    digests = set()
    for exact, costs in (({}, {}), ({"a": 1}, {}), ({}, {"a": 1}), ({"a": 2}, {})):
        recorder = Recorder("c")
        for name, value in exact.items():
            recorder.exact(name, value)
        for name, value in costs.items():
            recorder.cost(name, value)
        digests.add(history.structure_of(recorder.snapshot("passed")))
    assert len(digests) == 4


def git(folder, *words):
    name = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")
    return subprocess.run(
        ["git", *name, *words], cwd=folder, capture_output=True, text=True, check=False
    )


def test_two_branches_that_append_merge_without_a_conflict(tmp_path):
    path = tmp_path / "a-machine" / "history.jsonl"
    git(tmp_path, "init", "--initial-branch=main")
    for branch, run in (("main", "r0"), ("ours", "r1"), ("theirs", "r2")):
        git(tmp_path, "checkout", "-B", branch, "main")
        history.append(path, [entry(run=run)])
        git(tmp_path, "add", "--all")
        git(tmp_path, "commit", "-m", run)
    assert git(tmp_path, "merge", "ours").returncode == 0
    kept = history.read(path)
    assert {one.run for one in kept.entries} == {"r0", "r1", "r2"}
    assert not kept.damage


def test_attributes_of_the_user_stay(tmp_path):
    path = tmp_path / "history.jsonl"
    (tmp_path / ".gitattributes").write_text("* text\n")
    history.append(path, [entry()])
    assert (tmp_path / ".gitattributes").read_text() == "* text\n"


def test_conflict_markers_are_named_and_the_lines_of_both_sides_are_read(tmp_path):
    path = tmp_path / "history.jsonl"
    one, two = (history.line(entry(run=run)).decode() for run in ("r1", "r2"))
    path.write_text(f"<<<<<<< HEAD\n{one}=======\n{two}>>>>>>> theirs\n")
    kept = history.read(path)
    assert [x.run for x in kept.entries] == ["r1", "r2"]
    assert len(kept.damage) == 3
    assert "line 3 is a conflict marker of a merge" in kept.damage[1]
