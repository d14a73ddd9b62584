"""Documents: damaged, newer and hand-edited ones are refused; writes are whole."""

import json
import os

import pytest

from tlbench.record import SCHEMA
from tlbench.storage import baselines, documents
from tlbench.storage.baselines import (
    Baseline,
    Baselines,
    accepted_path,
    read_accepted,
    write_accepted,
)
from tlbench.storage.last_run import read_last_run


def fail(*_):
    raise OSError("no space left on device")


ACCEPTED = '"accepted": {"by": "", "when": "", "reason": "", "evidence": ""}'


def one_case(entry):
    return '{"schema": 1, "cases": {"a.py::t": {' + entry + "}}}"


@pytest.mark.parametrize(
    ("read", "file"),
    [
        (read_accepted, "any/accepted.json"),
        (read_last_run, "last-run.json"),
    ],
)
@pytest.mark.parametrize("schema", [SCHEMA + 1, 99])
def test_a_newer_schema_is_refused(tmp_path, read, file, schema):
    path = tmp_path / file
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"schema": schema, "of": "the future"}))
    message = (
        rf"{path.name} must have schema {SCHEMA} or older\. "
        rf"Received: schema={schema}\. Install a newer tlbench"
    )
    with pytest.raises(ValueError, match=message):
        read(tmp_path)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "Expecting value"),
        ('{"schema": 1', "delimiter"),
        ("[]", "list indices"),
        ("{}", "no 'schema'"),
        ('{"schema": 0, "cases": {}}', "schema=0"),
        ('{"schema": "1", "cases": {}}', "schema='1'"),
        ('{"schema": 1}', "no 'cases'"),
        ('{"schema": 1, "cases": []}', "'list' object has no attribute"),
        (one_case('"exact": {}'), "no 'accepted'"),
        (one_case(ACCEPTED), "no 'exact'"),
        (one_case('"exact": {"x": NaN}, ' + ACCEPTED), "x=nan"),
        (one_case('"exact": {"x": null}, ' + ACCEPTED), "x=None"),
        (one_case('"exact": {"x": 1, "x": 2}, ' + ACCEPTED), "'x' is there twice"),
        (one_case('"exact": {}, "accepted": {"by": 1}'), "1 is not a string"),
        ("[" * 200_000, "recursion"),
        ('{"schema": true, "cases": {}}', "schema=True"),
    ],
)
def test_damaged_baselines_are_refused(tmp_path, text, why):
    (tmp_path / "any").mkdir()
    (tmp_path / "any" / "accepted.json").write_text(text)
    message = r"accepted\.json must be a whole tlbench file\. Received: a damaged one "
    with pytest.raises(ValueError, match=rf"{message}\(.*{why}.*\)\. Restore it"):
        read_accepted(tmp_path)


def test_conflict_markers_are_named_with_a_way_out(tmp_path):
    (tmp_path / "any").mkdir()
    text = "{\n<<<<<<< HEAD\n=======\n>>>>>>> theirs\n}\n"
    (tmp_path / "any" / "accepted.json").write_text(text)
    message = "with the conflict markers of a merge.*git checkout --ours"
    with pytest.raises(ValueError, match=message):
        read_accepted(tmp_path)


@pytest.mark.parametrize("step", ["write", "replace"])
def test_a_write_that_fails_leaves_the_old_file_whole(
    tmp_path, acceptance, monkeypatch, step
):
    baseline = Baseline(exact={"n": 1}, accepted=acceptance)
    old = Baselines(cases={"a.py::t": baseline})
    write_accepted(tmp_path, old)
    if step == "write":  # a lone surrogate cannot be encoded
        monkeypatch.setattr(
            baselines, "accepted_json", lambda _: "x" * 100_000 + "\ud800"
        )
    else:
        monkeypatch.setattr("pathlib.Path.replace", fail)
    with pytest.raises((OSError, UnicodeEncodeError)):
        write_accepted(tmp_path, Baselines())
    monkeypatch.undo()
    assert read_accepted(tmp_path) == old
    assert [path.name for path in (tmp_path / "any").iterdir()] == ["accepted.json"]


def test_the_file_appears_only_when_it_is_whole(tmp_path, monkeypatch, acceptance):
    write_accepted(tmp_path, Baselines())
    before = (tmp_path / "any" / "accepted.json").read_bytes()
    at_the_move = []

    class Watched(type(tmp_path)):
        def replace(self, target):
            at_the_move.append((target.read_bytes(), json.loads(self.read_bytes())))
            return super().replace(target)

    baselines = {"a.py::t": Baseline(exact={"n": 1}, accepted=acceptance)}
    write_accepted(Watched(tmp_path), Baselines(cases=baselines))
    ((old, new),) = at_the_move
    assert old == before
    assert new["cases"]["a.py::t"]["exact"] == {"n": 1}


@pytest.mark.parametrize(("old", "new"), [('"n": 1', '"n": 2'), ("first", "fine")])
def test_baselines_that_were_changed_by_hand_are_refused(
    tmp_path, acceptance, old, new
):
    baseline = Baseline(exact={"n": 1}, accepted=acceptance)
    write_accepted(tmp_path, Baselines(cases={"a.py::t": baseline}))
    path = accepted_path(tmp_path)
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(ValueError, match=r"'a.py::t' was changed by hand"):
        read_accepted(tmp_path)
    path.write_text(text, encoding="utf-8")
    assert read_accepted(tmp_path).cases == {"a.py::t": baseline}


def test_a_file_is_flushed_before_its_name_and_its_folder_after(tmp_path, monkeypatch):
    done = []
    fsync, rename = os.fsync, os.replace

    def flushed(file):
        done.append("folder" if os.path.isdir(file) else "file")  # noqa: PTH112 - open
        fsync(file)

    def renamed(one, other):
        done.append("renamed")
        rename(one, other)

    monkeypatch.setattr(os, "fsync", flushed)
    monkeypatch.setattr(os, "replace", renamed)
    documents.write_text(tmp_path / "any" / "a.json", "{}")
    assert done == ["file", "renamed", "folder"]
