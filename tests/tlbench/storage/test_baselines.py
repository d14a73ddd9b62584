"""Baselines and figures: what is written is read, and nothing else."""

import json
from dataclasses import replace

import pytest

from tlbench.record import SCHEMA
from tlbench.storage import documents
from tlbench.storage.baselines import (
    Alias,
    Baseline,
    Baselines,
    MachineBaseline,
    PortableBaseline,
    accepted_path,
    figures_path,
    read_accepted,
    read_figures,
    write_accepted,
    write_figures,
)
from tlbench.verdicts.figures import Figures, Portable


def test_baselines_survive_writing_and_reading(tmp_path, acceptance):
    exact = {"params": 3, "shape": (1, 2), "flag": True}
    baselines = {"a.py::t": Baseline(exact=exact, accepted=acceptance)}
    written = Baselines(
        cases=baselines, renamed={"old": Alias(to="a.py::t", accepted=acceptance)}
    )
    write_accepted(tmp_path / "results", written)
    assert read_accepted(tmp_path / "results") == written
    assert written.aliases == {"old": "a.py::t"}


def test_baselines_are_written_for_small_diffs(tmp_path, acceptance):
    baselines = {
        name: Baseline(exact={"b": 1, "a": 2}, accepted=acceptance)
        for name in ("z.py::t", "a.py::t")
    }
    write_accepted(tmp_path, Baselines(cases=baselines))
    text = (tmp_path / "any" / "accepted.json").read_text(encoding="utf-8")
    assert text.endswith("}\n")
    assert text.index("a.py::t") < text.index("z.py::t")
    assert text.index('"a": 2') < text.index('"b": 1')
    assert max(map(len, text.splitlines())) < 88
    document = json.loads(text)
    assert document["schema"] == SCHEMA
    assert document["cases"]["a.py::t"]["accepted"]["by"] == "Ada"


def test_a_missing_file_holds_no_baselines(tmp_path):
    assert read_accepted(tmp_path) == Baselines()


def test_baselines_of_the_first_schema_are_read(tmp_path, acceptance):
    accepted = {"by": "Ada", "when": "w", "reason": "r", "evidence": "e"}
    cases = {"a.py::t": {"exact": {"n": 1}, "accepted": accepted}}
    documents.write_text(
        accepted_path(tmp_path), json.dumps({"schema": 1, "cases": cases})
    )
    assert read_accepted(tmp_path).cases["a.py::t"].exact == {"n": 1}


@pytest.fixture
def figures(acceptance):
    return MachineBaseline(
        figures=Figures(
            version="1",
            series={"epoch": {"r1": 1.0, "r2": 1.25}},
            metrics={"accuracy": (("seed 1", 0.5, 10),)},
            anchor={"epoch": {"r1": 1.0}},
            units={"epoch": "s"},
            iterations={"epoch": 300},
            timers={"epoch": "perf_counter"},
        ),
        accepted=acceptance,
        anchored=acceptance,
    )


def test_figures_survive_writing_and_reading(tmp_path, figures):
    assert read_figures(tmp_path, "m") == {}
    write_figures(tmp_path, "m", {"a.py::t": figures})
    assert read_figures(tmp_path, "m") == {"a.py::t": figures}


def test_figures_of_before_know_no_iterations_and_no_timer(tmp_path, figures):
    bare = replace(figures, figures=replace(figures.figures, iterations={}, timers={}))
    write_figures(tmp_path, "m", {"a.py::t": bare})
    path = figures_path(tmp_path, "m")
    document = json.loads(path.read_text())
    entry = document["cases"]["a.py::t"]
    del entry["iterations"], entry["timers"], entry["digest"]
    document["cases"] = documents.with_digests({"a.py::t": entry})
    path.write_text(json.dumps(document))
    assert read_figures(tmp_path, "m") == {"a.py::t": bare}


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
    write_figures(tmp_path, "m", {"a.py::t": figures})
    path = figures_path(tmp_path, "m")
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(ValueError, match=r"a damaged one \('.*' was changed by hand\)"):
        read_figures(tmp_path, "m")


def test_white_space_and_order_are_no_change(tmp_path, figures):
    write_figures(tmp_path, "m", {"a.py::t": figures, "b.py::t": figures})
    path = figures_path(tmp_path, "m")
    document = json.loads(path.read_text(encoding="utf-8"))
    turned = {"cases": dict(reversed(document["cases"].items())), "schema": SCHEMA}
    path.write_text(json.dumps(turned), encoding="utf-8")
    assert len(read_figures(tmp_path, "m")) == 2


@pytest.mark.parametrize("value", ["NaN", "Infinity", "true", '"1"', "null"])
def test_figures_that_are_no_numbers_are_refused(tmp_path, figures, value, monkeypatch):
    write_figures(tmp_path, "m", {"a.py::t": figures})
    path = figures_path(tmp_path, "m")
    text = path.read_text(encoding="utf-8").replace("1.25", value)
    path.write_text(text, encoding="utf-8")
    monkeypatch.setattr(documents, "check_digests", lambda _: None)
    with pytest.raises(ValueError, match="must be a whole tlbench file"):
        read_figures(tmp_path, "m")


PORTABLE = Portable(
    version="1",
    values={"speedup": {"0a1b": 8.0, "1b2c": 9.5}},
    shares={"accuracy": {"0a1b": {"1": 0.95, "2": 0.96}}},
    samples={"accuracy": 100},
    spreads={"speedup": (0.1, 4.0)},
)


def test_portable_figures_survive_with_an_acceptance_of_their_own(tmp_path, acceptance):
    portable = PortableBaseline(figures=PORTABLE, accepted=acceptance)
    written = Baselines(
        cases={
            "a.py::t": Baseline(exact={}, accepted=acceptance, portable=portable),
            "a.py::u": Baseline(exact={"n": 1}, accepted=acceptance),
        }
    )
    write_accepted(tmp_path, written)
    assert read_accepted(tmp_path) == written
    document = json.loads(accepted_path(tmp_path).read_text(encoding="utf-8"))
    assert "portable" not in document["cases"]["a.py::u"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("values", {"speedup": {"0a1b": "fast"}}),
        ("shares", {"accuracy": {"0a1b": {"1": None}}}),
        ("samples", {"accuracy": 0}),
        ("version", 1),
    ],
)
def test_damaged_portable_figures_are_refused(tmp_path, acceptance, name, value):
    portable = PortableBaseline(figures=PORTABLE, accepted=acceptance)
    case = Baseline(exact={}, accepted=acceptance, portable=portable)
    write_accepted(tmp_path, Baselines(cases={"a.py::t": case}))
    path = accepted_path(tmp_path)
    document = json.loads(path.read_text(encoding="utf-8"))
    document["cases"]["a.py::t"]["portable"]["figures"][name] = value
    document["schema"] = 1  # which had no digests
    path.write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(ValueError, match="damaged"):
        read_accepted(tmp_path)
