"""Importing what pytest-benchmark itself saved."""

import json

import pytest

from tlbench.storage import history, importing

SAVED = {
    "machine_info": {
        "system": "Linux",
        "machine": "x86_64",
        "processor": "x86_64",
        "python_version": "3.11.7",
        "cpu": {"brand_raw": "AMD EPYC", "count": 2},
    },
    "commit_info": {"id": "0123456789abcdef"},
    "datetime": "2026-01-01T00:00:00+00:00",
    "benchmarks": [
        {
            "fullname": "test_a.py::test_b",
            "options": {"timer": "perf_counter"},
            "stats": {"data": [1.0, 3.0], "median": 2.0, "iterations": 300},
        },
        {"fullname": "test_a.py::test_c", "stats": {"median": 5.0}},
    ],
}


def write(path, document):
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def test_a_file_becomes_a_run_of_a_machine_of_its_own(tmp_path):
    found = importing.read(write(tmp_path / "saved.json", SAVED))
    assert found.machine.startswith("amd-epyc-x2-")
    medians = [x.record.timings["benchmark"].median for x in found.entries]
    assert medians == [2.0, 5.0]
    first, second = (x.record.timings["benchmark"] for x in found.entries)
    assert (first.iterations, first.timer) == (300, "perf_counter")
    assert (second.iterations, second.timer) == (None, "")
    assert {x.commit for x in found.entries} == {"0123456789ab"}
    history.append(tmp_path / "history.jsonl", found.entries)
    assert history.read(tmp_path / "history.jsonl").entries == found.entries


def test_what_pytest_benchmark_writes_today_is_read(pytester):
    pytester.makepyfile("def test_a(benchmark):\n    benchmark(sum, [1, 2])\n")
    pytester.runpytest("--benchmark-json=saved.json", "--benchmark-max-time=0.01")
    (entry,) = importing.read(pytester.path / "saved.json").entries
    assert entry.case.endswith("::test_a")
    assert entry.record.timings["benchmark"].count > 4


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        "null",
        '{"benchmarks": [1]}',
        json.dumps({**SAVED, "benchmarks": [{}]}),
    ],
)
def test_another_file_is_refused(tmp_path, text):
    path = tmp_path / "saved.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"--benchmark-json.*Received: .*saved\.json"):
        importing.read(path)


def test_only_a_file_of_this_machine_can_be_one_of_its_runs(tmp_path):
    path = write(tmp_path / "saved.json", SAVED)
    found = importing.read(path)
    here = {**found.identity, "memory_gib": 64, "frameworks": {"keras": "3"}}
    importing.check_machine(found, here, path)
    other = {**here, "cpu": "Another", "python": "3.12"}
    message = (
        "must be from this machine. Received: .*saved.json, which differs: "
        r"cpu AMD EPYC -> Another; python 3.11 -> 3.12. Leave out --as-machine"
    )
    with pytest.raises(ValueError, match=message):
        importing.check_machine(found, other, path)
