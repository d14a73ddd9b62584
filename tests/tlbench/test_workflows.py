"""The workflows, against the schema that is published for them."""

import subprocess
import sys
from pathlib import Path

import pytest

WORKFLOWS = Path(__file__).parents[2] / ".github" / "workflows"


def check(path):
    return subprocess.run(
        [
            *(sys.executable, "-m", "check_jsonschema"),
            *("--builtin-schema", "vendor.github-workflows", str(path)),
        ],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("name", ["ci", "nightly"])
def test_a_workflow_is_what_the_schema_asks_for(name):
    done = check(WORKFLOWS / f"{name}.yml")
    assert done.returncode == 0, done.stdout


def test_a_workflow_that_is_not_one_is_found_out(tmp_path):
    path = tmp_path / "bad.yml"
    path.write_text("on: push\njobs:\n  a:\n    runs: ubuntu\n")
    assert check(path).returncode == 1


def test_the_nightly_run_saves_confirms_and_gates():
    tox = (Path(__file__).parents[2] / "tox.ini").read_text("utf-8")
    section = tox.partition("[testenv:nightly]")[2].partition("[testenv:")[0]
    for option in ("--tl-save", "--tl-gate", "--tl-confirm 3", "--tl-report"):
        assert option in section
