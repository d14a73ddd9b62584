"""The gate on a project in git: history suspects, the pair with its commit convicts.

The seconds are scripted, so that nothing here depends on how long anything takes.
"""

import shutil
import sys

import pytest
from click.testing import CliRunner

from tlbench.cli import main
from tlbench.storage import history

CONFIG = """
[project]
name = "pack"
version = "1"

[tool.pytest.ini_options]
python_files = ["bench_*.py"]
python_functions = ["bench_*"]
"""

CASES = """
import os
import random

import pack
import pytest

NOISE = random.Random(os.environ.get("RUN", "0"))
FACTOR = float(os.environ.get("FACTOR", "1"))

@pytest.mark.parametrize("number", range(6))
def bench_epoch(record, number):
    own = pack.SECONDS if number == 3 else 1.0
    noise = 1 + NOISE.uniform(-0.004, 0.004)
    record.timing("epoch", [own * FACTOR * noise] * 2)
"""


SLOWER = "SECONDS = 1.30\n"
"""Of another length than before: Python takes bytecode for current if the source has
the same size and second."""


@pytest.fixture
def gate(project, created, install, monkeypatch, pytester):
    """Return a function that runs the gate; five runs of the project are accepted."""
    project.write("pyproject.toml", CONFIG)
    project.write("benchmarks/bench_pack.py", CASES)
    project.write(".gitignore", "__pycache__/\nresults/\n")
    project.write("pack/__init__.py", "SECONDS = 1.0\n")
    project.commit("cases")
    monkeypatch.chdir(project.top)
    monkeypatch.syspath_prepend(project.top)
    words = ["benchmarks", "-p", "no:cacheprovider", "--tl-results", "results"]

    def run(*more, **variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, str(value))
        sys.modules.pop("pack", None)
        return pytester.runpytest_inprocess(*words, *more)

    for number in range(5):
        run("--tl-save", RUN=number)
    reason = ["accept", "--reason", "first", "--results", "results"]
    assert CliRunner().invoke(main, reason).exit_code == 0
    return lambda *more, **variables: run(
        "--tl-gate", "--tl-install", install, *more, RUN=9, **variables
    )


def test_what_the_code_made_slower_is_convicted_by_the_pair(gate, project):
    project.write("pack/__init__.py", SLOWER)
    commit = project.git("rev-parse", "--short=12", "HEAD")
    before = project.git("status", "--porcelain"), project.git("stash", "list")
    done = gate()
    assert done.ret == 1
    done.stdout.fnmatch_lines(
        f"*bench_epoch[[]3]: regression: by the code: epoch is 3*% slower*{commit}"
    )
    # Nothing of the user's repository is touched.
    after = project.git("status", "--porcelain"), project.git("stash", "list")
    assert after == before
    assert len(project.git("worktree", "list").splitlines()) == 1


@pytest.mark.matrix
def test_what_the_environment_made_slower_is_said_and_fails_nothing(gate):
    done = gate(FACTOR=1.3)
    assert done.ret == 0, done.outlines
    done.stdout.fnmatch_lines("*(machine): machine_shift: by the environment: 0 of*")


def test_a_suspect_whose_commit_cannot_be_built_is_judged_by_the_history(gate, project):
    project.write("pack/__init__.py", SLOWER)
    done = gate("--tl-install", f"{sys.executable} -c 'raise SystemExit(3)'")
    assert done.ret == 1
    done.stdout.fnmatch_lines("*could not be compared with the accepted commit*")
    done.stdout.fnmatch_lines(
        "*bench_epoch[[]3]: regression: epoch *slower than the 5*"
    )


def test_a_project_can_do_without(gate, project):
    project.write("pyproject.toml", f"{CONFIG}\n[tool.tlbench]\nconvict = false\n")
    project.write("pack/__init__.py", SLOWER)
    done = gate()
    assert done.ret == 1
    done.stdout.no_fnmatch_line("*in turn*")


@pytest.mark.matrix
def test_on_a_known_machine_a_case_without_a_baseline_is_not_excused(gate, project):
    project.write("benchmarks/bench_new.py", CASES.replace("epoch", "step"))
    done = gate("--tl-unknown", "warn")
    assert done.ret == 1
    done.stdout.fnmatch_lines("6 cases: missing: no baseline for this machine, *")
    # And the runs know their branch.
    (path,) = (project.top / "results").glob("*/history.jsonl")
    assert {entry.branch for entry in history.read(path).entries} == {"main"}


@pytest.fixture
def newcomer(gate, project):
    """Return a function that runs the gate on a branch, where nothing was accepted."""
    shutil.rmtree(project.top / "results")
    project.git("update-ref", "refs/remotes/origin/main", "HEAD")
    project.git("checkout", "--quiet", "-b", "change")
    return gate


@pytest.mark.matrix
def test_on_an_unknown_machine_the_pair_with_the_base_is_the_gate(newcomer, project):
    project.write("pack/__init__.py", SLOWER)
    project.commit("slower")
    base = project.git("rev-parse", "--short=12", "origin/main")
    done = newcomer()
    assert done.ret == 1
    done.stdout.fnmatch_lines(
        f"*bench_epoch[[]3]: regression: by the code: epoch is 3*% slower*{base})"
    )
    done.stdout.fnmatch_lines(
        f"*bench_epoch[[]2]: missing: *; compared in turn with the merge base *{base})*"
    )
    fails = [line for line in done.outlines if ": regression: " in line]
    assert len(fails) == 1


@pytest.mark.matrix
def test_on_an_unknown_machine_a_change_that_costs_nothing_passes(newcomer, project):
    project.write("pack/other.py", "")
    project.commit("another file")
    done = newcomer()
    assert done.ret == 0, done.outlines


def test_on_an_unknown_machine_a_warning_fails_nothing(newcomer, project):
    report = str(project.top / "report")
    done = newcomer("--tl-unknown", "warn", "--tl-report", report)
    assert done.ret == 0, done.outlines
    done.stdout.fnmatch_lines("*missing: *; it fails nothing (--tl-unknown warn)")
    done.stdout.fnmatch_lines("no figure was ever accepted for this machine: *of 6*")
    for name in ("report.md", "report.html"):
        page = (project.top / "report" / name).read_text(encoding="utf-8")
        assert "it fails nothing (--tl-unknown warn)" in page


def test_a_base_that_does_not_exist_is_refused_before_a_case_runs(newcomer):
    done = newcomer("--tl-unknown", "ab", "--tl-base", "nowhere")
    assert done.ret == 4
    done.stderr.fnmatch_lines("*Received: base='nowhere'*")
