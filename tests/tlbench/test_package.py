"""What the modules may import, and how the package is laid out."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import tlbench

PACKAGE = Path(tlbench.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
FOLDERS = sorted({path.parent for path in MODULES})
MOST_LINES = 500

# A room is a folder, or a module next to them. A room may import from the rows above
# its own, and a module of a folder from its own folder too.
ROWS = (
    ("characters", "kinds"),
    (
        *("arguments", "clocks", "devices", "git", "interface", "inventory"),
        "invocation",
        *("machine", "output", "refusal", "suite_root", "units", "unrecorded"),
    ),
    ("meter", "record"),
    ("benchmark_fixture", "recorder", "verdicts"),
    ("settings", "storage"),
    (
        *("baseline", "confirmation", "levels", "pairing", "renames", "staleness"),
        *("options", "prune", "syncing"),
    ),
    ("acceptance",),
    ("conviction", "unknown"),
    ("reporting", "selftest"),
    ("ab", "session", "sync"),
    ("pitfalls", "plugin"),
    ("cli",),
    ("__main__",),
)
FLOOR = {room: number for number, row in enumerate(ROWS) for room in row}


def name_of(path):
    """Return the dotted name of a module below `tlbench`."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


NAMES = {name_of(path) for path in MODULES if path.stem != "__init__"}
modules = pytest.mark.parametrize("path", MODULES, ids=name_of)


def room(name):
    return name.partition(".")[0]


def imported(path):
    """Yield what a module imports, wherever in it: late imports count as well."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def own(path):
    """Return the modules of `tlbench` that a module imports."""
    found = set()
    for name in imported(path):
        root, _, rest = name.partition(".")
        if root == "tlbench":
            outer = rest.rpartition(".")[0]
            found |= {x for x in (rest, outer) if x in NAMES}
    return found


@modules
def test_a_module_imports_no_framework_and_only_the_pytest_side_imports_pytest(path):
    roots = {name.partition(".")[0] for name in imported(path)}
    assert not roots & {"tensorflow", "keras", "tlcore"}
    pytest_side = {"interface", "pairing.worker", "plugin"}
    assert name_of(path) in pytest_side or not roots & {"pytest", "_pytest", "xdist"}


def test_every_room_stands_in_a_row():
    assert {room(name) for name in NAMES} == set(FLOOR)


@modules
def test_imports_go_one_way_between_rooms(path):
    here = room(name_of(path))
    others = {name for name in own(path) if room(name) != here}
    assert not {x for x in others if FLOOR[room(x)] >= FLOOR.get(here, -1)}


def test_no_modules_import_each_other_in_a_circle():
    graph = {name_of(path): own(path) for path in MODULES}
    TopologicalSorter(graph).prepare()  # raises CycleError


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_a_folder_opens_with_a_docstring_and_nothing_else(folder):
    (only,) = ast.parse((folder / "__init__.py").read_text(encoding="utf-8")).body
    assert isinstance(only, ast.Expr)
    assert isinstance(only.value, ast.Constant)
    assert isinstance(only.value.value, str)


@modules
def test_a_module_opens_with_its_contract_and_can_be_read_at_a_sitting(path):
    text = path.read_text(encoding="utf-8")
    assert ast.get_docstring(ast.parse(text))
    assert text.count("\n") <= MOST_LINES


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
