"""What the modules may import."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import tlbench

MODULES = sorted(Path(tlbench.__file__).parent.glob("*.py"))


def imported(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_a_module_imports_only_what_its_floor_allows(path):
    roots = {name.partition(".")[0] for name in imported(path)}
    assert not roots & {"tensorflow", "keras", "tlcore"}
    assert path.stem == "plugin" or not roots & {"pytest", "_pytest", "xdist"}


FLOORS = {
    "charts": 0,
    "machine": 0,
    "noise": 0,
    "record": 0,
    "history": 1,
    "store": 1,
    "verdict": 1,
    "acceptance": 2,
    "baseline": 2,
    "confirmation": 2,
    "importing": 2,
    "staleness": 2,
    "summary": 2,
    "report": 3,
    "selftest": 3,
    "cli": 4,
    "plugin": 4,
}


def test_every_module_has_a_floor():
    assert {path.stem for path in MODULES} - {"__init__"} == set(FLOORS)


@pytest.mark.parametrize("module", FLOORS)
def test_imports_go_one_way(module):
    path = next(path for path in MODULES if path.stem == module)
    names = [name.split(".") for name in imported(path) if name.startswith("tlbench.")]
    own = {parts[1] for parts in names} & set(FLOORS)
    assert not {name for name in own if FLOORS[name] >= FLOORS[module]}


@pytest.mark.parametrize("module", ["tlbench", "tlbench.plugin", "tlbench.cli"])
def test_importing_loads_nothing_heavy(module):
    heavy = {"tensorflow", "keras", "numpy", "scipy", "jinja2", "matplotlib"}
    code = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert not heavy & set(done.stdout.split())


def test_collecting_the_suites_loads_no_framework(tmp_path):
    suites = Path(__file__).parents[2] / "bench" / "suites"
    code = (
        "import sys, pytest\n"
        f"code = pytest.main(['--collect-only', '-q', r'{suites}'])\n"
        "print('loaded', *({'tensorflow', 'keras'} & set(sys.modules)), int(code))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=suites.parents[1],
    )
    assert done.stdout.splitlines()[-1] == "loaded 0", done.stdout[-500:]
