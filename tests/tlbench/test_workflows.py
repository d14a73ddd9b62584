"""Workflows, ours and those to copy: their schema, and the commands they name."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest
from ruamel.yaml import YAML

from tlbench import interface
from tlbench.cli import main

TOP = Path(__file__).parents[2]
TOX = (TOP / "tox.ini").read_text("utf-8")
PAGE = TOP / "docs" / "continuous_integration.md"
FENCED = re.compile(r"^```yaml\n(.*?)^```$", re.MULTILINE | re.DOTALL)
RECIPES = FENCED.findall(PAGE.read_text("utf-8"))
WORKFLOWS = {
    path.stem: path.read_text("utf-8")
    for path in sorted((TOP / ".github" / "workflows").glob("*.yml"))
} | {f"recipe {number}": text for number, text in enumerate(RECIPES, 1)}
workflows = pytest.mark.parametrize("text", WORKFLOWS.values(), ids=WORKFLOWS)


def check(*paths):
    return subprocess.run(
        [
            *(sys.executable, "-m", "check_jsonschema"),
            *("--builtin-schema", "vendor.github-workflows", *map(str, paths)),
        ],
        capture_output=True,
        text=True,
        check=False,
    )


def commands(text):
    """Return the words of each command line that a workflow runs."""
    jobs = YAML(typ="safe").load(text)["jobs"].values()
    lines = [
        line
        for job in jobs
        for step in job["steps"]
        for line in step.get("run", "").splitlines()
    ]
    return [shlex.split(line.partition(" >")[0]) for line in lines]


class Group:
    """Takes the options that the plugin declares, as the parser of pytest would."""

    def __init__(self):
        self.options = {}

    def getgroup(self, *_):
        return self

    def addoption(self, name, **settings):
        self.options[name] = settings


def check_words(words):
    """Refuse a command, an option or an environment of tox that does not exist."""
    program, *rest = words
    if Path(program).name == "tlbench":
        name, *arguments = rest
        if name not in main.commands:
            raise ValueError(f"no command {name!r}")
        main.commands[name].make_context(name, arguments)
    elif program == "pytest":
        group = Group()
        interface.add_options(group)
        for place, word in enumerate(rest):
            if word.startswith("--tl-"):
                settings = group.options[word]
                choices = settings.get("choices")
                if choices and rest[place + 1] not in choices:
                    raise ValueError(f"{word} {rest[place + 1]}")
    elif program == "tox":
        name = rest[rest.index("-e") + 1]
        if f"[testenv:{name}]" not in TOX and name not in {"test", "${{"}:
            raise ValueError(f"no environment {name!r}")


def test_the_page_has_the_recipe_of_a_pull_request_and_that_of_a_night():
    ran = [" ".join(words) for text in RECIPES for words in commands(text)]
    for start in ("tlbench ab ", "pytest benchmarks ", "tlbench sync tlbench-results"):
        assert any(line.startswith(start) for line in ran)


def test_a_workflow_is_what_the_schema_asks_for(tmp_path):
    for name, text in WORKFLOWS.items():
        (tmp_path / f"{name}.yml").write_text(text, encoding="utf-8")
    # One process for all: it starts slowly.
    done = check(*tmp_path.glob("*.yml"))
    assert done.returncode == 0, done.stdout


def test_a_workflow_that_is_not_one_is_found_out(tmp_path):
    path = tmp_path / "bad.yml"
    path.write_text("on: push\njobs:\n  a:\n    runs: ubuntu\n")
    assert check(path).returncode == 1


@workflows
def test_the_commands_and_options_of_a_workflow_exist(text):
    for words in commands(text):
        check_words(words)


def test_the_commands_of_tox_exist():
    lines = re.findall(r"^    ((?:tlbench|pytest) .*)$", TOX, re.MULTILINE)
    assert len(lines) > 3
    for line in lines:
        check_words(shlex.split(line.replace("{posargs}", "")))


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("tlbench sink x", ValueError),
        ("tlbench sync x --no-pull", click.UsageError),
        ("tlbench sync", click.UsageError),
        ("tlbench ab main --budget soon", click.UsageError),
        ("pytest x --tl-resluts results", KeyError),
        ("pytest x --tl-unknown shrug", ValueError),
        ("tox -e nigthly", ValueError),
    ],
)
def test_a_command_that_does_not_exist_is_found_out(line, error):
    with pytest.raises(error):
        check_words(shlex.split(line))


def test_the_nightly_run_saves_confirms_gates_and_keeps_its_history():
    section = TOX.partition("[testenv:nightly]")[2].partition("[testenv:")[0]
    for option in ("--tl-save", "--tl-gate", "--tl-confirm 3", "--tl-report"):
        assert option in section
    ran = [" ".join(words) for words in commands(WORKFLOWS["nightly"])]
    sync = [place for place, line in enumerate(ran) if line.startswith("tlbench sync")]
    (gate,) = [place for place, line in enumerate(ran) if line == "tox -e nightly"]
    assert min(sync) < gate < max(sync)
