"""The last run: whole, or refused with a reason."""

import hashlib

import pytest

from tlbench.record import CaseRecord, Metric
from tlbench.storage.last_run import LastRun, last_run_path, read_last_run, write_run


def run_of(*records, gone=()):
    return LastRun(
        when="2025-01-02T12:00:00+00:00",
        versions={"python": "3.11"},
        cases={record.case: record for record in records},
        gone=gone,
    )


def test_the_last_run_survives_with_its_digest(tmp_path):
    run = run_of(
        CaseRecord(
            case="a.py::t",
            outcome="regression",
            exact={"n": 1},
            metrics={"loss": (Metric(value=0.5),)},
        ),
        gone=("a.py::old",),
    )
    write_run(last_run_path(tmp_path), run)
    again, digest = read_last_run(tmp_path)
    assert again == run
    content = (tmp_path / "last-run.json").read_bytes()
    assert digest == hashlib.sha256(content).hexdigest()


def test_a_missing_last_run_is_refused(tmp_path):
    message = r"Received: no file .*last-run\.json\. .*run pytest"
    with pytest.raises(FileNotFoundError, match=message):
        read_last_run(tmp_path)


def test_a_damaged_last_run_is_refused(tmp_path):
    (tmp_path / "last-run.json").write_text('{"schema": 1, "when": 3}')
    with pytest.raises(
        ValueError, match=r"a damaged one \(3 is not a string\)\. Restore it"
    ):
        read_last_run(tmp_path)
