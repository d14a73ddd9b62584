"""What the modules may import."""

import ast
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


@pytest.mark.parametrize(
    ("module", "below"),
    [("record", set()), ("store", {"record"}), ("cli", {"record", "store"})],
)
def test_imports_go_one_way(module, below):
    path = next(path for path in MODULES if path.stem == module)
    own = {name.split(".")[1] for name in imported(path) if name.startswith("tlbench.")}
    assert own <= below
