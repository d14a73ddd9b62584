"""The suite of head on base: what is copied, and what must not be."""

import json
import sys
from pathlib import Path, PurePosixPath

import pytest

from tlbench.pairing import overlay, packages
from tlbench.pairing.packages import Installed, find_packages, holds_package

ROOT = PurePosixPath()


@pytest.fixture
def tree(tmp_path):
    """Return a function that writes a checkout: texts by path."""

    def write(name, files):
        for path, text in files.items():
            place = tmp_path / name / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text)
        (tmp_path / name).mkdir(exist_ok=True)
        return tmp_path / name

    return write


def lay(head, base, *paths, folder=ROOT, installed=packages.NOTHING):
    suite = overlay.find_suite(head, folder, paths)
    return overlay.overlaid(
        head,
        base,
        suite,
        folder=folder,
        packages=find_packages(head, folder, installed),
    )


def names(paths):
    return sorted(str(path) for path in paths)


def texts(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_folder_is_replaced_whole(tree):
    head = tree("head", {"suites/a.py": "2", "suites/new/b.py": "2", "pack.py": "2"})
    base = tree("base", {"suites/a.py": "1", "suites/old.py": "1", "pack.py": "1"})
    assert names(lay(head, base, "suites")) == ["suites"]
    assert texts(base) == {"suites/a.py": "2", "suites/new/b.py": "2", "pack.py": "1"}


@pytest.mark.parametrize("path", ["suites/a.py", "suites/a.py::test[a/b::c]"])
def test_a_file_brings_what_is_next_to_it(tree, path):
    head = tree("head", {"suites/a.py": "2", "suites/costs.py": "2"})
    base = tree("base", {})
    assert names(lay(head, base, path)) == ["suites"]
    assert texts(base) == texts(head)


def test_a_file_at_the_root_comes_alone(tree):
    head = tree("head", {"bench.py": "2", "other.py": "2"})
    base = tree("base", {"bench.py": "1", "other.py": "1"})
    assert names(lay(head, base, "bench.py")) == ["bench.py"]
    assert texts(base) == {"bench.py": "2", "other.py": "1"}


@pytest.mark.parametrize(
    ("path", "copied"),
    [
        ("src/pack/bench_a.py", "src/pack/bench_a.py"),
        ("src/pack/core/bench_a.py", "src/pack/core/bench_a.py"),
        ("src/pack/benchmarks/bench_a.py", "src/pack/benchmarks"),
        ("src/pack/benchmarks", "src/pack/benchmarks"),
        ("src/pack/core/tests/speed", "src/pack/core/tests/speed"),
    ],
)
def test_within_a_package_only_a_folder_for_suites_is_copied_whole(tree, path, copied):
    files = {
        "pyproject.toml": "[project]\nname = 'pack'",
        "src/pack/core/code.py": "",
        "src/pack/core/tests/speed/bench_b.py": "",
        "src/pack/benchmarks/other.py": "",
    }
    head = tree("head", files | ({path: ""} if path.endswith(".py") else {}))
    assert names(lay(head, tree("base", files), path)) == [copied]


@pytest.mark.parametrize(
    ("path", "holds"),
    [
        (".", "the root of the repository"),
        ("src", "'src'"),
        ("src/pack", "'src'"),
        ("src/pack/core", "'src'"),
        ("./src/../src/pack", "'src'"),
    ],
)
def test_a_folder_with_the_code_under_test_is_refused(tree, path, holds):
    head = tree("head", {"src/pack/core/code.py": ""})
    with pytest.raises(
        ValueError, match=rf"own: .* compared with itself\. .* which holds {holds}\. P"
    ):
        lay(head, tree("base", {}), path)


@pytest.mark.parametrize(
    "declared",
    [
        {"pyproject.toml": "[project]\nname = 'Pa.ck'"},
        {"pyproject.toml": "[tool.hatch.build.targets.wheel]\npackages = ['pa_ck']"},
        {"pyproject.toml": "[tool.setuptools]\npackages = ['pa_ck', 'pa_ck.sub']"},
        {"pyproject.toml": "[[tool.poetry.packages]]\ninclude = 'pa_ck'"},
        {"pyproject.toml": "[tool.poetry]\nname = 'pa-ck'"},
        {"pyproject.toml": "[tool.flit.module]\nname = 'pa_ck'"},
        {"setup.cfg": "[metadata]\nname = pa-ck"},
    ],
    ids=lambda files: " ".join(next(iter(files.values())).split()),
)
def test_a_package_is_known_by_what_its_project_declares(tree, declared):
    head = tree("head", {"pa_ck/code.py": "", "suites/a.py": "", **declared})
    with pytest.raises(ValueError, match=r"path='pa_ck', which holds 'pa_ck'"):
        lay(head, tree("base", {}), "pa_ck")
    assert "suites" in names(lay(head, tree("base", {}), "suites"))


@pytest.mark.parametrize(
    "installed",
    [
        Installed(names=frozenset({"core"})),
        Installed(places=frozenset({PurePosixPath("lib/core")})),
    ],
    ids=["by name", "by place"],
)
def test_a_package_is_known_by_what_is_installed(tree, installed):
    place = "lib/core" if installed.places else "core"
    head = tree("head", {f"{place}/code.py": ""})
    with pytest.raises(ValueError, match=rf"which holds '{place}'"):
        lay(head, tree("base", {}), place.partition("/")[0], installed=installed)


def test_a_folder_for_suites_may_be_installed_as_well(tree):
    installed = Installed(
        names=frozenset({"pack", "tests"}), places=frozenset({PurePosixPath("tests")})
    )
    head = tree("head", {"tests/a.py": "", "pack/code.py": ""})
    done = lay(head, tree("base", {}), "tests", installed=installed)
    assert names(done) == ["tests"]


def test_a_damaged_project_file_declares_nothing(tree):
    head = tree("head", {"pyproject.toml": "[", "setup.cfg": "x", "tool/a.py": ""})
    assert find_packages(head, ROOT) == {ROOT}
    assert holds_package(PurePosixPath("tool"), find_packages(head, ROOT)) is None


def test_the_interpreter_says_what_is_installed_from_a_checkout(tree):
    package = "pack-1.dist-info"
    origin = json.dumps({"url": "file:///x", "dir_info": {"editable": True}})
    head = tree(
        "head",
        {
            "lib/inner/__init__.py": "",
            f"{package}/METADATA": "Name: the-pack\nVersion: 1\n",
            f"{package}/direct_url.json": origin,
            f"{package}/top_level.txt": "inner\n",
        },
    )
    environ = {"PYTHONPATH": f"{head}:{head / 'lib'}"}
    installed = packages.find_installed(Path(sys.executable), environ, head)
    assert {"the_pack", "inner"} <= installed.names
    assert PurePosixPath("lib/inner") in installed.places


def test_an_interpreter_that_fails_says_nothing(tree, script):
    broken = script("python", "raise SystemExit(1)")
    assert packages.find_installed(broken, {}, tree("head", {})) == packages.NOTHING


def test_what_steers_the_suite_comes_along_up_to_the_root(tree):
    head = tree(
        "head",
        {
            "a/b/suites/x.py": "2",
            "a/conftest.py": "2",
            "a/b/conftest.py": "2",
            "conftest.py": "2",
            "pytest.ini": "2",
            "a/tox.ini": "2",
            "pyproject.toml": "same",
            "other/conftest.py": "2",
        },
    )
    base = tree(
        "base",
        {
            "a/b/conftest.py": "1",
            "a/setup.cfg": "only base has it",
            "pyproject.toml": "same",
        },
    )
    folder = PurePosixPath("a/b")
    assert names(lay(head, base, "suites", folder=folder)) == [
        "a/b/conftest.py",
        "a/b/suites",
        "a/conftest.py",
        "a/setup.cfg",
        "a/tox.ini",
        "conftest.py",
        "pytest.ini",
    ]
    kept = {name: text for name, text in texts(head).items() if "other" not in name}
    assert texts(base) == kept


def test_a_link_brings_what_it_leads_to(tree):
    head = tree("head", {"real/a.py": "2"})
    (head / "suites").symlink_to("real")
    base = tree("base", {"real/a.py": "1", "suites/a.py": "1"})
    assert names(lay(head, base, "suites")) == ["real", "suites"]
    assert (base / "suites" / "a.py").read_text() == "2"
    assert (base / "suites").is_symlink()


@pytest.mark.parametrize(
    "files",
    [
        {"pyproject.toml": "[tool.pytest.ini_options]\ntestpaths = ['b', 'a*']"},
        {"pyproject.toml": "[tool.pytest.ini_options]\ntestpaths = 'b a*'"},
        {"pyproject.toml": "[tool.pytest]\ntestpaths = ['b', 'a*']"},
        {"pytest.toml": "[pytest]\ntestpaths = ['b', 'a*']"},
        {"pytest.ini": "[pytest]\ntestpaths = b a*"},
        {"tox.ini": "[pytest]\ntestpaths =\n    b\n    a*\n"},
        {"setup.cfg": "[tool:pytest]\ntestpaths = b a*"},
        {
            "pyproject.toml": "[tool.ruff]",
            "tox.ini": "[tox]",
            "setup.cfg": "[tool:pytest]\ntestpaths = b a* nothing",
        },
    ],
)
def test_without_a_path_the_testpaths_are_the_suite(tree, files):
    head = tree("head", {"b/x.py": "", "a1/x.py": "", "a2/x.py": "", **files})
    suite = overlay.find_suite(head, ROOT, ())
    assert [str(path) for path in suite] == ["b", "a1", "a2"]


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"pyproject.toml": "[project]"},
        # The first file with configuration counts, even without any option in it.
        {"pytest.ini": "", "tox.ini": "[pytest]\ntestpaths = suites"},
        {"pytest.ini": "[pytest]\ntestpaths = elsewhere"},
        {"a/pytest.ini": "[pytest]\ntestpaths = suites"},
    ],
)
def test_without_a_path_and_testpaths_a_path_is_asked_for(tree, files):
    head = tree("head", {"suites/a.py": "", **files})
    with pytest.raises(ValueError, match=r"must be named .* no PATH\. Pass the file"):
        overlay.find_suite(head, ROOT, ())


@pytest.mark.parametrize("name", ["pyproject.toml", "pytest.ini"])
def test_configuration_that_cannot_be_read_is_refused(tree, name):
    head = tree("head", {name: "[["})
    with pytest.raises(ValueError, match=rf"must be readable\. Received: '{name}' \("):
        overlay.find_suite(head, ROOT, ())


def test_a_path_that_git_ignores_is_refused(tree):
    with pytest.raises(ValueError, match=r"does not ignore\. .*path='gone/a\.py', whi"):
        overlay.find_suite(tree("head", {}), ROOT, ["gone/a.py::case"])
