"""Output: no command and no session sends a terminal what others wrote to steer it."""

import ast
import json
import re
import shutil
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import tlbench
from tlbench import baseline, machine, selftest
from tlbench.cli import main
from tlbench.output import echo, echo_json
from tlbench.record import CaseRecord, Metric, Timing
from tlbench.reporting import summary
from tlbench.storage import history
from tlbench.storage.baselines import (
    Acceptance,
    Alias,
    Baseline,
    Baselines,
    write_accepted,
)
from tlbench.storage.last_run import LastRun, last_run_path, write_run
from tlbench.storage.machines import write_machine
from tlbench.verdicts import verdict
from tlbench.verdicts.verdict import Case, Comparison, Finding

NASTY = "\x1b[31mred\x1b]0;title\x07\x9b2J\u202egnp\u2066\u2028\x7f\r"
STEERING = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
CASE = f"a.py::t[{NASTY}]"
WHEN = "2025-01-02T12:00:00+00:00"
FOLDER = Path(tlbench.__file__).parent


@pytest.fixture
def results(tmp_path):
    """Return results in which every name and every word is steering."""
    results = tmp_path / f"results{NASTY}"
    how = Acceptance(by=NASTY, when=WHEN, reason=NASTY, evidence=NASTY)
    exact = {NASTY: NASTY, "lost": NASTY}
    accepted = Baseline(exact=exact, accepted=how)
    write_accepted(
        results,
        Baselines(
            cases={CASE: accepted, f"gone{NASTY}": accepted},
            renamed={f"old{NASTY}": Alias(to=CASE, accepted=how)},
        ),
    )
    identity = {**selftest.IDENTITY, "cpu": NASTY, NASTY: NASTY, "settings": {NASTY: 1}}
    name = machine.machine_id(identity)
    write_machine(results, name, identity)
    record = CaseRecord(
        case=CASE,
        outcome="passed",
        exact={NASTY: "other"},
        metrics={NASTY: (Metric(value=0.5),)},
        timings={NASTY: Timing(seconds=(1.0,), median=1.0, count=1)},
    )
    found = Case(
        case=CASE,
        findings=(Finding("regression", NASTY),),
        comparison=Comparison(equal=(), differing=(NASTY,), new=(), lost=(NASTY,)),
        record=record,
    )
    write_run(
        last_run_path(results),
        LastRun(
            when=WHEN,
            versions={NASTY: NASTY},
            cases={CASE: record},
            gone=(f"gone{NASTY}",),
            run=f"run{NASTY}",
            machine=name,
            frameworks=NASTY,
            verdicts={CASE: verdict.to_json(found)},
            branch=NASTY,
        ),
    )
    entry = history.Entry(
        run=f"run{NASTY}",
        when=WHEN,
        record=record,
        verdict="pass",
        structure="ab",
        branch=NASTY,
        context={"governor": NASTY},
    )
    history.append(history.history_path(results, name), [entry])
    with history.history_path(results, name).open("ab") as file:
        file.write(f'{{"schema": 1, "when": "{NASTY}"}}\n'.encode())
    return results


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("status", 1),
        ("status --json", 1),
        ("machine", 0),
        ("machine --json", 0),
        ("compare", 1),
        ("compare --json", 1),
        ("accept", 2),
        ("accept --reason {nasty}", 2),
        ("accept --reason {nasty} {nasty}", 2),
        ("accept --reason a --alias {nasty} {nasty}", 2),
        ("report --out {tmp}/page{nasty}", 0),
        ("prune --keep-days 1", 0),
        ("prune --keep-days {nasty}", 2),
        ("import {tmp}/none{nasty}", 2),
        ("import {odd}", 2),
        ("sync {nasty}", 2),
        ("ab {nasty}", 2),
        ("import \ud800", 2),
        ("selftest {nasty}", 2),
        ("{nasty}", 2),
    ],
)
def test_a_command_shows_what_others_wrote_as_text(
    results, tmp_path, monkeypatch, words, code
):
    monkeypatch.chdir(tmp_path)
    odd = tmp_path / f"odd{NASTY}.json"
    odd.write_text(json.dumps({"machine_info": NASTY}))
    given = [
        word.format(nasty=NASTY, tmp=tmp_path, odd=odd) for word in words.split(" ")
    ]
    if given[0] not in {"selftest", "ab", NASTY}:
        given += ["--results", str(results)]
    done = CliRunner().invoke(main, given)
    assert STEERING.search(done.output) is None
    assert done.exit_code == code, done.output
    assert done.exception is None or isinstance(done.exception, SystemExit)
    if words in {"status", "compare"}:
        assert r"\x1b[31mred" in done.output


def test_a_session_shows_them_too(results, pytester):
    source = """
        def test_t(record):
            record.exact({name!r}, "a" + chr(27) + "[31mb")
    """
    pytester.makepyfile(source.format(name=NASTY))
    shutil.copytree(results, pytester.path / "results")
    how = Acceptance(by="a", when=WHEN, reason="a", evidence="")
    case = "test_a_session_shows_them_too.py::test_t"
    accepted = Baseline(exact={NASTY: NASTY}, accepted=how)
    write_accepted(pytester.path / "results", Baselines(cases={case: accepted}))
    done = pytester.runpytest_inprocess("-q", "--tl-results", "results", "--tb=short")
    assert r"\x1b[31mred" in done.stdout.str()
    assert STEERING.search(done.stdout.str()) is None


def test_a_session_that_cannot_read_its_baselines_shows_why(pytester):
    pytester.makepyfile("def test_t(record):\n    record.exact('n', 1)\n")
    path = pytester.path / f"r{NASTY}" / "any" / "accepted.json"
    path.parent.mkdir(parents=True)
    path.write_text("{")
    done = pytester.runpytest_inprocess("-q", "--tl-results", f"r{NASTY}")
    text = done.stdout.str() + done.stderr.str()
    assert "must be a whole tlbench file" in text
    assert STEERING.search(text) is None


def test_columns_are_as_wide_as_what_is_shown():
    case = Case(
        case="a\x1b[m",
        findings=(),
        record=CaseRecord(case="", outcome="passed"),
        comparison=Comparison(equal=("n",), differing=(), new=(), lost=()),
    )
    headings, row = (text for text, _ in summary.table([case]))
    assert row.index("1 equal") == headings.index("exact")


def test_only_two_modules_print():
    loud = {
        "click.echo",
        "click.secho",
        "print",
        "sys.stdout.write",
        "sys.stderr.write",
    }
    found = {
        path.relative_to(FOLDER).as_posix()
        for path in FOLDER.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in loud
    }
    assert found <= {"output.py", "pairing/worker.py"}


def test_a_style_is_sent_and_what_is_styled_is_shown(capsys):
    echo("\x1b[32m", fg="red")
    assert capsys.readouterr().out == "\\x1b[32m\n"  # no terminal: without the style
    assert click.style(r"\x1b[32m", fg="red").startswith("\x1b[31m")


def test_json_is_ascii_and_whole(capsys):
    echo_json(json.dumps({NASTY: "\x7f"}))
    text = capsys.readouterr().out
    assert json.loads(text) == {NASTY: "\x7f"}
    assert STEERING.search(text) is None


def test_the_machine_at_hand_is_found_among_odd_ones(results):
    assert baseline.Machine.at(results, selftest.IDENTITY).name
