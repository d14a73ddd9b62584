import hashlib
import json

import pytest

from tlbench import store
from tlbench.record import SCHEMA, CaseRecord, Metric


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
    written = store.Baselines(
        cases=baselines, renamed={"old": store.Alias(to="a.py::t", accepted=acceptance)}
    )
    store.write_accepted(tmp_path / "results", written)
    assert store.read_accepted(tmp_path / "results") == written
    assert written.aliases == {"old": "a.py::t"}


def test_baselines_are_written_for_small_diffs(tmp_path, acceptance):
    baselines = {
        name: store.Baseline(exact={"b": 1, "a": 2}, accepted=acceptance)
        for name in ("z.py::t", "a.py::t")
    }
    store.write_accepted(tmp_path, store.Baselines(cases=baselines))
    text = (tmp_path / "any" / "accepted.json").read_text(encoding="utf-8")
    assert text.endswith("}\n")
    assert text.index("a.py::t") < text.index("z.py::t")
    assert text.index('"a": 2') < text.index('"b": 1')
    assert max(map(len, text.splitlines())) < 88
    document = json.loads(text)
    assert document["schema"] == SCHEMA
    assert document["cases"]["a.py::t"]["accepted"]["by"] == "Ada"


def test_a_missing_file_holds_no_baselines(tmp_path):
    assert store.read_accepted(tmp_path) == store.Baselines()


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
    store.write_run(store.last_run_path(tmp_path), run)
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
    baseline = store.Baseline(exact={"n": 1}, accepted=acceptance)
    old = store.Baselines(cases={"a.py::t": baseline})
    store.write_accepted(tmp_path, old)
    if step == "write":  # a lone surrogate cannot be encoded
        monkeypatch.setattr(store, "accepted_json", lambda _: "x" * 100_000 + "\ud800")
    else:
        monkeypatch.setattr("pathlib.Path.replace", fail)
    with pytest.raises((OSError, UnicodeEncodeError)):
        store.write_accepted(tmp_path, store.Baselines())
    monkeypatch.undo()
    assert store.read_accepted(tmp_path) == old
    assert [path.name for path in (tmp_path / "any").iterdir()] == ["accepted.json"]


def test_the_file_appears_only_when_it_is_whole(tmp_path, monkeypatch, acceptance):
    store.write_accepted(tmp_path, store.Baselines())
    before = (tmp_path / "any" / "accepted.json").read_bytes()
    at_the_move = []

    class Watched(type(tmp_path)):
        def replace(self, target):
            at_the_move.append((target.read_bytes(), json.loads(self.read_bytes())))
            return super().replace(target)

    baselines = {"a.py::t": store.Baseline(exact={"n": 1}, accepted=acceptance)}
    store.write_accepted(Watched(tmp_path), store.Baselines(cases=baselines))
    ((old, new),) = at_the_move
    assert old == before
    assert new["cases"]["a.py::t"]["exact"] == {"n": 1}


# Hand-edited baselines


@pytest.fixture
def figures(acceptance):
    return store.Figures(
        version="1",
        accepted=acceptance,
        series={"epoch": {"r1": 1.0, "r2": 1.25}},
        metrics={"accuracy": (("seed 1", 0.5, 10),)},
        anchor={"epoch": {"r1": 1.0}},
        anchored=acceptance,
        units={"epoch": "s"},
    )


def test_figures_survive_writing_and_reading(tmp_path, figures):
    assert store.read_figures(tmp_path, "m") == {}
    store.write_figures(tmp_path, "m", {"a.py::t": figures})
    assert store.read_figures(tmp_path, "m") == {"a.py::t": figures}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("1.25", "1.75"),
        ('"seed 1"', '"seed 2"'),
        ("a.py::t", "b.py::t"),
        ('"version": "1"', '"version": "2"'),
        ("Ada", "Eve"),
    ],
)
def test_figures_that_were_changed_by_hand_are_refused(tmp_path, figures, old, new):
    store.write_figures(tmp_path, "m", {"a.py::t": figures})
    path = store.figures_path(tmp_path, "m")
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(ValueError, match=r"a damaged one \('.*' was changed by hand\)"):
        store.read_figures(tmp_path, "m")


@pytest.mark.parametrize(("old", "new"), [('"n": 1', '"n": 2'), ("first", "fine")])
def test_baselines_that_were_changed_by_hand_are_refused(
    tmp_path, acceptance, old, new
):
    baseline = store.Baseline(exact={"n": 1}, accepted=acceptance)
    store.write_accepted(tmp_path, store.Baselines(cases={"a.py::t": baseline}))
    path = store.accepted_path(tmp_path)
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(ValueError, match=r"'a.py::t' was changed by hand"):
        store.read_accepted(tmp_path)
    path.write_text(text, encoding="utf-8")
    assert store.read_accepted(tmp_path).cases == {"a.py::t": baseline}


def test_white_space_and_order_are_no_change(tmp_path, figures):
    store.write_figures(tmp_path, "m", {"a.py::t": figures, "b.py::t": figures})
    path = store.figures_path(tmp_path, "m")
    document = json.loads(path.read_text(encoding="utf-8"))
    turned = {"cases": dict(reversed(document["cases"].items())), "schema": SCHEMA}
    path.write_text(json.dumps(turned), encoding="utf-8")
    assert len(store.read_figures(tmp_path, "m")) == 2


def test_baselines_of_the_first_schema_are_read(tmp_path, acceptance):
    accepted = {"by": "Ada", "when": "w", "reason": "r", "evidence": "e"}
    cases = {"a.py::t": {"exact": {"n": 1}, "accepted": accepted}}
    store.write_text(
        store.accepted_path(tmp_path), json.dumps({"schema": 1, "cases": cases})
    )
    assert store.read_accepted(tmp_path).cases["a.py::t"].exact == {"n": 1}


@pytest.mark.parametrize("value", ["NaN", "Infinity", "true", '"1"', "null"])
def test_figures_that_are_no_numbers_are_refused(tmp_path, figures, value, monkeypatch):
    store.write_figures(tmp_path, "m", {"a.py::t": figures})
    path = store.figures_path(tmp_path, "m")
    text = path.read_text(encoding="utf-8").replace("1.25", value)
    path.write_text(text, encoding="utf-8")
    monkeypatch.setattr(store, "_check_digests", lambda _: None)
    with pytest.raises(ValueError, match="must be a whole tlbench file"):
        store.read_figures(tmp_path, "m")


def test_machines_survive_and_are_written_once(tmp_path):
    store.write_machine(tmp_path, "m", {"cpu": "A"})
    store.write_machine(tmp_path, "m", {"cpu": "B"})
    assert store.read_machines(tmp_path) == {"m": {"cpu": "A"}}


def test_published_figures_need_their_source(tmp_path):
    assert store.read_published(tmp_path) == []
    figure = {"work": "w", "figure": "f", "value": "v"}
    path = tmp_path / "any" / "published.json"
    text = json.dumps({"schema": 2, "figures": [{**figure, "source": "s"}]})
    store.write_text(path, text)
    assert store.read_published(tmp_path)[0]["source"] == "s"
    store.write_text(path, json.dumps({"schema": 2, "figures": [figure]}))
    with pytest.raises(ValueError, match="no 'source'"):
        store.read_published(tmp_path)
