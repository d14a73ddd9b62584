"""The house: which module may import which, and what importing the package costs."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import tlcore

PACKAGE = Path(tlcore.__file__).parent

FLOORS = {
    "board": 0,
    "costs": 0,
    "curves": 0,
    "determinism": 0,
    "estimates": 0,
    "files": 0,
    "images": 0,
    "names": 0,
    "sample_net": 0,
    "tables": 0,
    "tensors": 0,
    "catalogue": 1,
    "feature_cache": 1,
    "archives": 2,
    "augmentation": 2,
    "callbacks": 2,
    "datasets": 2,
    "sample_images": 2,
    "backbones": 2,
    "models": 3,
    "freezing": 3,
    "graph": 3,
    "compilation": 4,
    "rewriting": 4,
    "splitting": 5,
    "views": 6,
    "feature_pass": 7,
    "caching": 8,
    "pass_worker": 8,
    "ceiling": 9,
    "training": 9,
    "recipes": 10,
    "experiments": 10,
    "plots": 10,
    "overview": 11,
    "prediction": 11,
    "progress": 11,
    "event_files": 12,
    "publication": 13,
    "runner": 13,
    "experiment_commands": 14,
    "cli": 15,
}

FRAMEWORK_FREE = (
    *("catalogue", "recipes", "experiments", "estimates", "cli"),
    *("experiment_commands", "publication", "overview", "event_files", "board"),
)

MAY_IMPORT_TENSORFLOW = {"compilation", "costs", "datasets", "determinism"}


def imports(module: str) -> set[str]:
    tree = ast.parse((PACKAGE / f"{module}.py").read_text(encoding="utf-8"))
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == "tlcore":
            found |= {f"tlcore.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module)
    return found


def test_every_module_has_a_floor():
    modules = {path.stem for path in PACKAGE.glob("[a-z]*.py")}
    assert modules == set(FLOORS)


@pytest.mark.parametrize("module", FLOORS)
def test_a_module_imports_only_from_floors_below(module):
    names = {name.split(".")[1] for name in imports(module) if "tlcore." in name}
    above = {n for n in names & set(FLOORS) if FLOORS[n] >= FLOORS[module]}
    assert not above


@pytest.mark.parametrize("module", sorted(set(FLOORS) - MAY_IMPORT_TENSORFLOW))
def test_core_modules_speak_keras_and_not_tensorflow(module):
    assert not {name for name in imports(module) if name.startswith("tensorflow")}


def loaded_after(statement: str) -> set[str]:
    code = f"{statement}\nimport sys; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "statement",
    ["import tlcore", *(f"import tlcore.{name}" for name in FRAMEWORK_FREE)],
)
def test_what_lists_and_checks_names_loads_no_framework(statement):
    heavy = {"tensorflow", "keras", "matplotlib", "numpy", "tensorboard", "jinja2"}
    assert not heavy & loaded_after(statement)


@pytest.mark.parametrize("module", ["datasets", "plots", "archives", "sample_images"])
def test_modules_that_read_and_draw_load_their_framework_late(module):
    heavy = {"tensorflow", "keras", "matplotlib"}
    assert not heavy & loaded_after(f"import tlcore.{module}")


def test_every_public_name_is_there_and_an_unknown_one_is_not():
    assert all(getattr(tlcore, name) is not None for name in tlcore.__all__)
    assert set(tlcore.__all__) <= set(dir(tlcore))
    with pytest.raises(AttributeError, match="no attribute 'creat_model'"):
        tlcore.creat_model  # noqa: B018
