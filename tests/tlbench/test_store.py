import hashlib
import json
from dataclasses import replace

import pytest

from tlbench import store
from tlbench.record import CaseRecord, Metric


@pytest.fixture
def later(acceptance):
    return replace(acceptance, by="Grace", reason="another head")


def run_of(*records, gone=()):
    return store.LastRun(
        when="2025-01-02T12:00:00+00:00",
        versions={"python": "3.11"},
        cases={record.case: record for record in records},
        gone=gone,
    )


def fail(*_):
    raise OSError("no space left on device")


def case(name, outcome="passed", **exact):
    return CaseRecord(case=name, outcome=outcome, exact=exact)


def test_baselines_survive_writing_and_reading(tmp_path, acceptance):
    exact = {"params": 3, "shape": (1, 2), "flag": True}
    baselines = {"a.py::t": store.Baseline(exact=exact, accepted=acceptance)}
    store.write_accepted(tmp_path / "results", baselines)
    assert store.read_accepted(tmp_path / "results") == baselines


def test_baselines_are_written_for_small_diffs(tmp_path, acceptance):
    baselines = {
        name: store.Baseline(exact={"b": 1, "a": 2}, accepted=acceptance)
        for name in ("z.py::t", "a.py::t")
    }
    store.write_accepted(tmp_path, baselines)
    text = (tmp_path / "any" / "accepted.json").read_text(encoding="utf-8")
    assert text.endswith("}\n")
    assert text.index("a.py::t") < text.index("z.py::t")
    assert text.index('"a": 2') < text.index('"b": 1')
    assert max(map(len, text.splitlines())) < 88
    document = json.loads(text)
    assert document["schema"] == 1
    assert document["cases"]["a.py::t"]["accepted"]["by"] == "Ada"


def test_a_missing_file_holds_no_baselines(tmp_path):
    assert store.read_accepted(tmp_path) == {}


def test_the_last_run_survives_with_its_digest(tmp_path):
    run = run_of(
        CaseRecord(
            case="a.py::t",
            outcome="regression",
            exact={"n": 1},
            metrics={"loss": Metric(value=0.5)},
        ),
        gone=("a.py::old",),
    )
    store.write_last_run(tmp_path, run)
    again, digest = store.read_last_run(tmp_path)
    assert again == run
    content = (tmp_path / "last-run.json").read_bytes()
    assert digest == hashlib.sha256(content).hexdigest()


def test_a_missing_last_run_is_refused(tmp_path):
    message = r"A last run is needed\. Received: no file .*last-run\.json\. Run pytest"
    with pytest.raises(FileNotFoundError, match=message):
        store.read_last_run(tmp_path)


@pytest.mark.parametrize(
    ("read", "file"),
    [
        (store.read_accepted, "any/accepted.json"),
        (store.read_last_run, "last-run.json"),
    ],
)
@pytest.mark.parametrize("schema", [2, 99])
def test_a_newer_schema_is_refused(tmp_path, read, file, schema):
    path = tmp_path / file
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"schema": schema, "of": "the future"}))
    message = (
        rf"{path.name} must have schema 1 or older\. Received: schema={schema}\. "
        "Install a newer tlbench"
    )
    with pytest.raises(ValueError, match=message):
        read(tmp_path)


ACCEPTED = '"accepted": {"by": "", "when": "", "reason": "", "evidence": ""}'


def one_case(entry):
    return '{"schema": 1, "cases": {"a.py::t": {' + entry + "}}}"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "Expecting value"),
        ('{"schema": 1', "delimiter"),
        ("<<<<<<< HEAD\n", "Expecting value"),
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
        (one_case('"exact": {"x": 1, "x": 2}, ' + ACCEPTED), "'x' stands twice"),
        (one_case('"exact": {}, "accepted": {"by": 1}'), "1 is no text"),
        ("[" * 200_000, "recursion"),
        ('{"schema": true, "cases": {}}', "schema=True"),
    ],
)
def test_damaged_baselines_are_refused(tmp_path, text, why):
    (tmp_path / "any").mkdir()
    (tmp_path / "any" / "accepted.json").write_text(text)
    message = r"accepted\.json must be a whole tlbench file\. Received: a damaged one "
    with pytest.raises(ValueError, match=rf"{message}\(.*{why}.*\)\. Restore it"):
        store.read_accepted(tmp_path)


def test_a_damaged_last_run_is_refused(tmp_path):
    (tmp_path / "last-run.json").write_text('{"schema": 1, "when": 3}')
    with pytest.raises(ValueError, match=r"whole tlbench file.*3 is no text"):
        store.read_last_run(tmp_path)


@pytest.mark.parametrize("step", ["write", "replace"])
def test_a_write_that_fails_leaves_the_old_file_whole(
    tmp_path, acceptance, monkeypatch, step
):
    old = {"a.py::t": store.Baseline(exact={"n": 1}, accepted=acceptance)}
    store.write_accepted(tmp_path, old)
    if step == "write":  # a lone surrogate cannot be encoded
        monkeypatch.setattr(store, "accepted_json", lambda _: "x" * 100_000 + "\ud800")
    else:
        monkeypatch.setattr("pathlib.Path.replace", fail)
    with pytest.raises((OSError, UnicodeEncodeError)):
        store.write_accepted(tmp_path, {})
    monkeypatch.undo()
    assert store.read_accepted(tmp_path) == old
    assert [path.name for path in (tmp_path / "any").iterdir()] == ["accepted.json"]


def test_the_file_appears_only_when_it_is_whole(tmp_path, monkeypatch, acceptance):
    store.write_accepted(tmp_path, {})
    before = (tmp_path / "any" / "accepted.json").read_bytes()
    at_the_move = []

    class Watched(type(tmp_path)):
        def replace(self, target):
            at_the_move.append((target.read_bytes(), json.loads(self.read_bytes())))
            return super().replace(target)

    baselines = {"a.py::t": store.Baseline(exact={"n": 1}, accepted=acceptance)}
    store.write_accepted(Watched(tmp_path), baselines)
    ((old, new),) = at_the_move
    assert old == before
    assert new["cases"]["a.py::t"]["exact"] == {"n": 1}


def test_accepting_takes_new_and_changed_values_and_leaves_the_rest(acceptance, later):
    before = {
        name: store.Baseline(exact={"n": 1}, accepted=acceptance)
        for name in ("same", "changed", "absent", "skipped")
    }
    run = run_of(
        case("same", n=1),
        case("changed", "regression", n=2),
        case("new", n=3),
        case("skipped", "skipped", n=9),
        case("timed only"),
    )
    done = store.accept(before, run, later)
    assert done.new == ("new",)
    assert done.changed == ("changed",)
    assert done.unchanged == ("same",)
    assert done.dropped == ()
    assert done.baselines == {
        "same": before["same"],
        "changed": store.Baseline(exact={"n": 2}, accepted=later),
        "absent": before["absent"],
        "skipped": before["skipped"],
        "new": store.Baseline(exact={"n": 3}, accepted=later),
    }


@pytest.mark.parametrize("exact", [{"n": 1, "m": 1}, {"m": 1}, {"n": True}])
def test_a_value_gained_lost_or_of_another_type_is_a_change(acceptance, later, exact):
    before = {"a": store.Baseline(exact={"n": 1}, accepted=acceptance)}
    done = store.accept(before, run_of(case("a", **exact)), later)
    assert done.changed == ("a",)
    assert done.baselines["a"] == store.Baseline(exact=exact, accepted=later)


def test_a_case_that_records_no_exact_value_loses_its_baseline(acceptance, later):
    before = {"a": store.Baseline(exact={"n": 1}, accepted=acceptance)}
    done = store.accept(before, run_of(case("a")), later)
    assert (done.dropped, done.baselines) == (("a",), {})


@pytest.mark.parametrize("prune", [False, True])
def test_only_prune_drops_the_cases_that_are_gone(acceptance, later, prune):
    before = {
        name: store.Baseline(exact={"n": 1}, accepted=acceptance)
        for name in ("gone", "elsewhere")
    }
    run = run_of(case("new", n=1), gone=("gone", "never accepted"))
    done = store.accept(before, run, later, prune=prune)
    assert done.dropped == (("gone",) if prune else ())
    kept = {"elsewhere", "new"} if prune else {"gone", "elsewhere", "new"}
    assert set(done.baselines) == kept


def test_named_cases_alone_are_accepted(later):
    run = run_of(case("a", n=1), case("b", n=2), case("c", "failed", n=3))
    done = store.accept({}, run, later, cases=["b"])
    assert set(done.baselines) == {"b"}


@pytest.mark.parametrize(
    ("cases", "message"),
    [
        ([], r"must pass.*Received: broken \(failed\)\. Mend it and run again"),
        (["broken"], r"must pass.*Received: broken \(failed\)"),
        (["idle"], r"must pass.*Received: idle \(skipped\)"),
        (["awaited"], r"must pass.*Received: awaited \(xfailed\)"),
        (["fien"], r"one of the last run\. Received: fien\. .*has: awaited, .*, fine"),
    ],
)
def test_a_case_that_did_not_pass_cannot_become_a_baseline(later, cases, message):
    run = run_of(
        case("fine", n=1),
        case("broken", "failed", n=1),
        case("idle", "skipped", n=1),
        case("awaited", "xfailed", n=1),
    )
    with pytest.raises(ValueError, match=message):
        store.accept({}, run, later, cases=cases)


@pytest.mark.parametrize("reason", ["", " \n"])
def test_accepting_without_a_reason_is_refused(acceptance, reason):
    with pytest.raises(ValueError, match=r"needs a reason\. Received: reason='"):
        store.accept({}, run_of(), replace(acceptance, reason=reason))
