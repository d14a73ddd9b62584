"""The command `tlbench ab`: a project against a commit, its words and exit codes."""

import html
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from tlbench.cli import main
from tlbench.pairing import comparison

CASES = """
import pack

def bench_value(record):
    record.exact("value", pack.VALUE)

def bench_epoch(record):
    record.timing("epoch", [pack.SECONDS] * 2)
"""

LIGHT = "-p no:hypothesispytest -p no:xdist -p no:timeout"
"""Without plugins that take longer to import than a case here takes."""

CONFIG = """
[project]
name = "pack"
version = "1"

[tool.pytest.ini_options]
python_files = ["bench_*.py"]
python_functions = ["bench_*"]
"""


@pytest.fixture
def tlbench(project, created, install, monkeypatch):
    """Return a function that runs the command in the project's folder."""
    project.write("pyproject.toml", CONFIG)
    project.write("benchmarks/bench_pack.py", CASES)
    project.write("pack/__init__.py", "VALUE, SECONDS = 12_810, 1.0\n")
    project.commit("cases")
    monkeypatch.chdir(project.top)
    # The tests may run under pytest-cov or within a worker.
    for name in [name for name in os.environ if name.startswith("PYTEST")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PYTEST_ADDOPTS", LIGHT)

    def run(*words):
        command = ["ab", *words, "--install", install]
        return CliRunner().invoke(main, command, catch_exceptions=False)

    return run


@pytest.fixture
def one_pair(monkeypatch):
    monkeypatch.setattr(comparison, "LOOKS", (1,))


def test_an_unfrozen_layer_in_the_working_tree_is_one_line(tlbench, project):
    project.write("pack/__init__.py", "VALUE, SECONDS = 906_042, 1.0\n")
    before = project.state()
    done = tlbench("HEAD", "benchmarks", "--pytest-args", "-k value")
    assert done.exit_code == 1
    line = "bench_pack.py::bench_value: regression: value: 12,810 -> 906,042"
    assert line in done.stdout
    assert "1 case: 1 regression (1 pair of processes" in done.stdout
    assert "the working tree" in done.stdout
    assert project.state() == before
    assert len(project.git("worktree", "list").splitlines()) == 1


@pytest.mark.usefixtures("one_pair")
def test_the_suite_of_head_is_run_on_both_sides(tlbench, project):
    case = "def bench_new(record):\n    record.exact('old', pack.VALUE)\n"
    project.write("benchmarks/bench_pack.py", f"import pack\n\n{case}")
    done = tlbench("HEAD", "benchmarks")
    assert done.exit_code == 0
    assert "1 case: 1 pass" in done.stdout


@pytest.mark.matrix
def test_a_report_and_json_say_the_same(tlbench, project, tmp_path):
    project.write("pack/__init__.py", "VALUE, SECONDS = 12_810, 1.2\n")
    report = tmp_path / "report"
    done = tlbench("HEAD", "benchmarks", "--json", "--report", str(report))
    assert done.exit_code == 1
    document = json.loads(done.stdout)
    assert document == json.loads((report / "comparison.json").read_text())
    case = document["cases"]["benchmarks/bench_pack.py::bench_epoch"]
    assert case["verdict"] == "regression"
    assert case["changes"]["epoch"]["change"] == pytest.approx(0.2)
    sentence = "epoch is 20.0% slower: 1 s -> 1.2 s"
    assert sentence in (report / "comparison.md").read_text()
    assert sentence in html.unescape((report / "comparison.html").read_text())


@pytest.mark.usefixtures("one_pair")
def test_settings_of_the_project_are_the_defaults(tlbench, project):
    settings = f'{CONFIG}\n[tool.tlbench]\npaths = ["benchmarks"]\n'
    project.write("pyproject.toml", settings)
    done = tlbench("HEAD", "--pytest-args", "-k value")
    assert "1 case: 1 pass" in done.stdout


@pytest.mark.usefixtures("one_pair")
def test_the_limits_of_the_project_are_those_of_the_comparison(tlbench, project):
    project.write("pack/__init__.py", "VALUE, SECONDS = 12_810, 1.2\n")
    limits = '[tool.tlbench]\nignore = ["*::bench_epoch", "gone*"]\n'
    project.write("pyproject.toml", f"{CONFIG}\n{limits}")
    done = tlbench("HEAD", "benchmarks")
    assert "bench_epoch" in done.stdout
    assert "slower" not in done.stdout
    assert "; timings of 1 ignored (1 pair" in done.stdout
    assert "no case that both sides have matches 'gone*'" in done.stdout
    # A file leaves out cases that a pattern may be meant for.
    assert "gone*" not in tlbench("HEAD", "benchmarks/bench_pack.py").stdout


@pytest.mark.usefixtures("one_pair")
def test_another_interpreter_is_compared_in_place(tlbench, project, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(project.top))
    done = tlbench("--base-python", sys.executable, "benchmarks")
    assert f"base  {sys.executable}" in done.stdout
    assert "bench_value" in done.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["no-such-branch", "benchmarks"], "no-such-branch"),
        (["HEAD", "nowhere"], "path='nowhere'"),
        (["HEAD", "benchmarks", "--budget", "0"], "budget=0"),
        (["HEAD", "benchmarks", "--budget", "nan"], "budget=nan"),
        (["HEAD", "benchmarks", "--pytest-args", "-k 'x"], "No closing quotation"),
        (["benchmarks"], "benchmarks"),
        ([], "Exactly one of BASE and --base-python"),
        (["--base-python", "nowhere", "benchmarks"], "nowhere"),
    ],
)
def test_wrong_input_is_one_sentence_and_exit_code_2(tlbench, words, message):
    done = tlbench(*words)
    assert done.exit_code == 2
    assert message in done.stderr
    assert "Traceback" not in done.output


def test_a_misspelt_setting_is_refused(tlbench, project):
    project.write("pyproject.toml", f"{CONFIG}\n[tool.tlbench]\nbugdet = 3\n")
    done = tlbench("HEAD", "benchmarks")
    assert done.exit_code == 2
    assert "'bugdet'. Did you mean 'budget'?" in done.stderr


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)]
)
def test_a_signal_leaves_nothing_behind(project, install, tmp_path, number, code):
    project.write("pyproject.toml", CONFIG)
    project.write("benchmarks/bench_pack.py", CASES)
    slow = f"open({str(tmp_path / 'started')!r}, 'w')\nimport time; time.sleep(600)\n"
    project.write("benchmarks/conftest.py", slow)
    command = [
        *(sys.executable, "-m", "tlbench", "ab", "--base-python", sys.executable),
        "benchmarks",
    ]
    with subprocess.Popen(command, cwd=project.top, stderr=subprocess.PIPE) as process:
        try:
            while not (tmp_path / "started").exists():
                assert process.poll() is None, process.stderr.read()
                time.sleep(0.05)
            process.send_signal(number)
            process.wait(60)
        finally:
            process.kill()
    assert process.returncode == code
    assert not processes_in(project.top)


def processes_in(folder):
    """Return the processes whose working folder this is."""
    links = {path: _link(path) for path in Path("/proc").glob("[0-9]*/cwd")}
    return [path for path, link in links.items() if link == folder.resolve()]


def _link(path):
    try:
        return path.readlink()
    except OSError:
        return None  # it has just ended, or belongs to somebody else
