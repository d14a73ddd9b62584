import json
import subprocess
import sys
from dataclasses import replace

import pytest
from click.testing import CliRunner

from tlbench.cli import main
from tlbench.record import CaseRecord
from tlbench.storage.baselines import read_accepted
from tlbench.storage.last_run import LastRun, last_run_path, read_last_run, write_run


@pytest.fixture
def results(tmp_path, monkeypatch):
    """A results folder whose last run has one case, in the current folder."""
    monkeypatch.chdir(tmp_path)
    for name, value in {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "user.name",
        "GIT_CONFIG_VALUE_0": "Ada Lovelace",
    }.items():
        monkeypatch.setenv(name, value)
    leave_run(tmp_path / "results", {"n": 1})
    return tmp_path / "results"


def leave_run(results, exact, outcome="passed", gone=()):
    left = CaseRecord(case="a.py::t", outcome=outcome, exact=exact)
    run = LastRun(when="", versions={}, cases={"a.py::t": left}, gone=gone)
    write_run(last_run_path(results), run)


def tlbench(*arguments):
    return CliRunner().invoke(main, arguments)


def test_accept_writes_who_when_why_and_from_which_evidence(results):
    done = tlbench("accept", "--reason", " first baseline ")
    assert (done.exit_code, done.output) == (
        0,
        "new      a.py::t\n1 new, 0 changed, 0 unchanged, 0 dropped\n",
    )
    _, digest = read_last_run(results)
    entry = read_accepted(results).cases["a.py::t"]
    assert entry.exact == {"n": 1}
    assert entry.accepted.by == "Ada Lovelace"
    assert entry.accepted.reason == "first baseline"
    assert entry.accepted.evidence == digest
    assert entry.accepted.when.endswith("+00:00")


def test_accept_says_that_the_last_run_is_of_another_branch(results):
    for words in (
        ["init", "--quiet", "--initial-branch=main"],
        ["symbolic-ref", "HEAD"],
    ):
        subprocess.run(["git", *words], check=True, capture_output=True)
    run, _ = read_last_run(results)
    for branch, said in (("change", 1), ("main", 0), ("", 0)):
        write_run(last_run_path(results), replace(run, branch=branch))
        done = tlbench("accept", "--reason", "first")
        line = "the last run is of the branch change, not of main"
        assert done.output.splitlines().count(line) == said


def test_accepting_the_same_values_again_changes_no_byte(results):
    tlbench("accept", "--reason", "first")
    before = (results / "any" / "accepted.json").read_bytes()
    done = tlbench("accept", "--reason", "again")
    assert done.output == "0 new, 0 changed, 1 unchanged, 0 dropped\n"
    assert (results / "any" / "accepted.json").read_bytes() == before


def test_accepting_nothing_writes_nothing(results):
    leave_run(results, {})
    done = tlbench("accept", "--reason", "first")
    assert (done.exit_code, done.output) == (
        0,
        "0 new, 0 changed, 0 unchanged, 0 dropped\n",
    )
    assert not (results / "any").exists()


@pytest.mark.parametrize("prune", [(), ("--prune",)])
def test_prune_drops_the_cases_that_are_gone(results, prune):
    leave_run(results, {"n": 1})
    tlbench("accept", "--reason", "first")
    renamed = CaseRecord(case="a.py::renamed", outcome="passed", exact={"n": 1})
    run = LastRun(
        when="", versions={}, cases={renamed.case: renamed}, gone=("a.py::t",)
    )
    write_run(last_run_path(results), run)
    done = tlbench("accept", "--reason", "renamed", *prune)
    assert ("dropped  a.py::t\n" in done.output) == bool(prune)
    kept = {"a.py::renamed"} if prune else {"a.py::renamed", "a.py::t"}
    assert read_accepted(results).cases.keys() == kept


def test_a_named_case_and_another_folder_are_taken(results, tmp_path):
    results.rename(tmp_path / "elsewhere")
    done = tlbench("accept", "a.py::t", "--reason", "first", "--results", "elsewhere")
    assert done.exit_code == 0
    assert read_accepted(tmp_path / "elsewhere").cases.keys() == {"a.py::t"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "Received: reason=''."),
        (("--reason", "  "), "Received: reason=''."),
        (("--reason", "x", "a.py::u"), "Received: a.py::u. The last run has: a.py::t."),
        (("--reason", "x", "--results", "no"), "Received: no file no"),
    ],
)
def test_accept_refuses_wrong_input_with_a_sentence(results, arguments, message):
    done = tlbench("accept", *arguments)
    assert done.exit_code == 2
    assert message in done.output
    assert "Traceback" not in done.output
    assert not (results / "any").exists()


def test_accept_refuses_a_case_that_failed(results):
    leave_run(results, {"n": 1}, outcome="failed")
    done = tlbench("accept", "--reason", "x")
    assert done.exit_code == 2
    assert "Received: a.py::t (failed). Fix it" in done.output
    assert not (results / "any").exists()


def test_accept_takes_a_case_that_only_differs(results):
    tlbench("accept", "--reason", "first")
    leave_run(results, {"n": 2}, outcome="regression")
    done = tlbench("accept", "--reason", "another head")
    assert done.output.startswith("changed  a.py::t\n0 new, 1 changed")
    entry = read_accepted(results).cases["a.py::t"]
    assert (entry.exact, entry.accepted.reason) == ({"n": 2}, "another head")


@pytest.mark.parametrize("command", [("accept", "--reason", "x"), ("status",)])
@pytest.mark.parametrize(
    ("text", "message"),
    [('{"schema": 99}', "Received: schema=99"), ("<<<", "Received: a damaged one")],
)
def test_baselines_that_cannot_be_read_are_refused(results, command, text, message):
    (results / "any").mkdir()
    (results / "any" / "accepted.json").write_text(text)
    done = tlbench(*command)
    assert done.exit_code == 2
    assert message in done.output
    assert (results / "any" / "accepted.json").read_text() == text


def test_without_git_the_login_accepts(results, monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("LOGNAME", "ada")
    tlbench("accept", "--reason", "first")
    assert read_accepted(results).cases["a.py::t"].accepted.by == "ada"


def test_nobody_cannot_accept(results, monkeypatch):
    def nobody():
        raise KeyError("getpwuid(): uid not found: 12345")

    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "")
    monkeypatch.setattr("getpass.getuser", nobody)
    done = tlbench("accept", "--reason", "first")
    assert done.exit_code == 2
    assert "Received: no git user.name, no login. Set one with" in done.output


def test_status_lists_the_accepted_cases(results):
    done = tlbench("status")
    assert (done.exit_code, done.output) == (0, "0 accepted cases in results\n")
    tlbench("accept", "--reason", "first baseline")
    date = read_accepted(results).cases["a.py::t"].accepted.when[:10]
    done = tlbench("status")
    assert (done.exit_code, done.output) == (
        0,
        f"a.py::t  {date}  Ada Lovelace: first baseline\n1 accepted cases in results\n",
    )


def test_status_refuses_a_missing_folder(results):
    done = tlbench("status", "--results", "no")
    assert done.exit_code == 2
    assert "Received: no. Name another" in done.output


def test_the_command_is_light():
    heavy = ["pytest", "numpy", "tensorflow", "keras", "tlcore", "matplotlib"]
    code = (
        "import sys, json, tlbench, tlbench.cli\n"
        f"print(json.dumps([m for m in {heavy!r} if m in sys.modules]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == []


def test_a_session_its_acceptance_and_the_next_session_agree(pytester, monkeypatch):
    source = "def test_n(record):\n    record.exact('n', {})\n"
    monkeypatch.setenv("LOGNAME", "ada")
    path = pytester.makepyfile(test_n=source.format(1))
    assert pytester.runpytest("--tl-gate").ret == 1
    assert tlbench("accept", "--reason", "first").exit_code == 0
    assert pytester.runpytest("--tl-gate").ret == 0
    path.write_text(source.format(22))  # another length: no stale bytecode
    assert pytester.runpytest("--tl-gate").ret == 1
    assert tlbench("accept", "--reason", "twenty-two").exit_code == 0
    assert pytester.runpytest("--tl-gate").ret == 0
