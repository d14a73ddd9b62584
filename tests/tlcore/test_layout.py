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
    "documents": 0,
    "estimates": 0,
    "files": 0,
    "images": 0,
    "names": 0,
    "probes": 0,
    "processes": 0,
    "sample_net": 0,
    "tables": 0,
    "tensors": 0,
    "two_workers": 0,
    "archives": 1,
    "catalogue": 1,
    "notes": 1,
    "saved_models": 1,
    "feature_cache": 1,
    "augmentation": 2,
    "callbacks": 2,
    "datasets": 2,
    "sample_images": 2,
    "backbones": 2,
    "handles": 2,
    "hub": 3,
    "models": 4,
    "freezing": 4,
    "graph": 4,
    "compilation": 5,
    "rewriting": 5,
    "splitting": 6,
    "views": 7,
    "feature_pass": 8,
    "caching": 9,
    "pass_worker": 9,
    "ceiling": 10,
    "training": 10,
    "doctor": 11,
    "recipes": 11,
    "experiments": 11,
    "plots": 11,
    "compat": 12,
    "overview": 12,
    "event_files": 13,
    "page": 13,
    "publication": 14,
    "prediction": 12,
    "progress": 12,
    "removal": 12,
    "runner": 14,
    "experiment_commands": 15,
    "cli": 16,
}

FRAMEWORK_FREE = (
    "catalogue",
    "handles",
    "recipes",
    "experiments",
    "experiment_commands",
    "publication",
    "overview",
    "event_files",
    "board",
    "estimates",
    "compat",
    "doctor",
    "cli",
)

MAY_IMPORT_TENSORFLOW = {
    "compilation",
    "costs",
    "datasets",
    "determinism",
    "handles",
    "saved_models",
    "two_workers",  # the strategy that it tries is TensorFlow's own
}


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
