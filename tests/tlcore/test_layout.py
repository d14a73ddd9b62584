"""Layout: which module may import which, and what importing the package loads.

The order of the wings is a contract of import-linter in `pyproject.toml`.
"""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from importlinter.cli import lint_imports

import tlcore

PACKAGE = Path(tlcore.__file__).parent
PROJECT = Path(__file__).parents[2]
MODULES = sorted(PACKAGE.rglob("[a-z]*.py"))
WINGS = sorted(PACKAGE.glob("*/__init__.py"))

FRAMEWORK_FREE = (
    "tlcore.backbones.catalogue",
    "tlcore.hub.handles",
    "tlcore.runs.recipes",
    "tlcore.runs.collection",
    "tlcore.cli.experiments",
    "tlcore.publishing.publication",
    "tlcore.runs.overview",
    "tlcore.runs.event_files",
    "tlcore.cli.tensorboard",
    "tlcore.compat",
    "tlcore.doctor.examination",
    "tlcore.cli.main",
)

MAY_IMPORT_A_FRAMEWORK = {
    "tlcore.backend.on_jax",
    "tlcore.backend.on_tensorflow",
    "tlcore.backend.on_torch",
    "tlcore.exporting.quantizing",  # it edits what the next one's converters write
    "tlcore.exporting.targets",  # its converters are TensorFlow's
    "tlcore.data.dataset_orders",  # it reads `tf.data` pipelines of the user's
    "tlcore.hub.handles",
    "tlcore.hub.saved_models",
    "tlcore.doctor.two_workers",  # it probes a distribution strategy of TensorFlow
}


def dotted(path: Path) -> str:
    return ".".join(("tlcore", *path.relative_to(PACKAGE).with_suffix("").parts))


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module)
    return found


def test_imports_go_one_way_and_in_no_circle():
    assert lint_imports(str(PROJECT / "pyproject.toml"), no_cache=True) == 0


@pytest.mark.parametrize("path", WINGS, ids=lambda path: path.parent.name)
def test_a_wing_opens_with_a_docstring_and_nothing_else(path):
    (only,) = ast.parse(path.read_text(encoding="utf-8")).body
    assert ast.get_docstring(ast.Module([only], []))


def test_the_root_is_a_small_core_and_eighteen_wings():
    assert len(WINGS) == 18
    assert len(list(PACKAGE.glob("*.py"))) <= 16


def test_no_module_is_longer_than_500_lines():
    lines = {path: len(path.read_text("utf-8").splitlines()) for path in MODULES}
    assert {dotted(path): n for path, n in lines.items() if n > 500} == {}


@pytest.mark.parametrize("path", MODULES, ids=dotted)
def test_modules_speak_keras_and_not_one_of_its_backends(path):
    frameworks = {"tensorflow", "jax", "torch"}
    named = {name for name in imports(path) if name.partition(".")[0] in frameworks}
    assert not named or dotted(path) in MAY_IMPORT_A_FRAMEWORK


def loaded_after(statement: str) -> set[str]:
    code = f"{statement}\nimport sys; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


@pytest.mark.parametrize("module", ["tlcore", *FRAMEWORK_FREE])
def test_what_lists_and_checks_names_loads_no_framework(module):
    heavy = {"tensorflow", "jax", "torch", "keras", "matplotlib", "numpy"}
    heavy |= {"tensorboard", "jinja2"}
    assert not heavy & loaded_after(f"import {module}")


@pytest.mark.parametrize(
    "module",
    [
        "tlcore.data.image_folder",
        "tlcore.data.spec",
        "tlcore.plotting.learning_curves",
        "tlcore.data.archives",
        "tlcore.data.sample_images",
    ],
)
def test_modules_that_read_and_draw_load_their_framework_late(module):
    heavy = {"tensorflow", "jax", "torch", "keras", "matplotlib"}
    assert not heavy & loaded_after(f"import {module}")


def test_every_public_name_is_there_and_an_unknown_one_is_not():
    assert all(getattr(tlcore, name) is not None for name in tlcore.__all__)
    assert set(tlcore.__all__) <= set(dir(tlcore))
    with pytest.raises(AttributeError, match="no attribute 'creat_model'"):
        tlcore.creat_model  # noqa: B018
