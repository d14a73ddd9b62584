"""tlbench as a distribution of its own: what it needs, and what it brings."""

import ast
import re
import sys
import tomllib
from importlib import metadata
from pathlib import Path

from click.testing import CliRunner

import tlbench
from tlbench.cli import main

ROOT = Path(__file__).parents[2]


def project(path):
    return tomllib.loads(path.read_text(encoding="utf-8"))["project"]


def roots(path):
    """Yield the top-level names that a module imports."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module.partition(".")[0]


def test_everything_that_is_imported_is_declared_and_nothing_else():
    modules = Path(tlbench.__file__).parent.rglob("*.py")
    imported = {name for path in modules for name in roots(path)}
    imported -= {"tlbench", *sys.stdlib_module_names}
    requirements = project(ROOT / "bench" / "pyproject.toml")["dependencies"]
    declared = {re.match(r"[\w-]+", one)[0].replace("-", "_") for one in requirements}
    assert declared == imported


def test_the_two_distributions_share_nothing():
    ours, theirs = (
        project(ROOT / "bench/pyproject.toml"),
        project(ROOT / "pyproject.toml"),
    )
    assert ours["scripts"] == {"tlbench": "tlbench.cli:main"}
    assert theirs["scripts"] == {"tlcore": "tlcore.cli.main:program"}
    assert "entry-points" not in theirs


def test_the_plugin_and_the_command_are_those_of_tlbench():
    installed = metadata.distribution("tlbench")
    entries = {entry.group: entry.value for entry in installed.entry_points}
    assert entries == {
        "console_scripts": "tlbench.cli:main",
        "pytest11": "tlbench.plugin",
    }
    done = CliRunner().invoke(main, ["--version"])
    assert done.output == f"tlbench, version {installed.version}\n"
