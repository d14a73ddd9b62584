"""Both sides ready to run, and nothing of them left afterwards."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

from tlbench.pairing import environments, worktrees
from tlbench.pairing.sides import Request, two_sides

VALUES = """
import pathlib, pack
print(pack.VALUE, pathlib.Path("benchmarks/bench_pack.py").read_text().strip())
"""


@pytest.fixture
def said():
    return []


@pytest.fixture
def sides(project, created, install, said, tmp_path):
    """Return a function that opens a comparison with HEAD~1."""

    def start(**options):
        given = {
            "folder": project.top,
            "paths": ("benchmarks",),
            "base": "HEAD~1",
            "install": install,
            "work": tmp_path / "wörk",
        }
        return two_sides(Request(**{**given, **options}), said.append)

    return start


def listed(folder):
    return sorted(path.name for path in folder.iterdir())


def test_each_side_has_its_code_and_both_have_the_suite_of_head(
    project, sides, run_python, said, install
):
    commits = [project.git("rev-parse", name) for name in ("HEAD~1", "HEAD")]
    with sides() as (base, head):
        assert run_python(base, VALUES) == "1 SUITE = 2"
        assert run_python(head, VALUES) == "2 SUITE = 2"
    assert [base.name, head.name] == ["base", "head"]
    assert [base.commit, head.commit] == commits
    assert base.title == f"HEAD~1 ({commits[0][:12]})"
    assert head.title == f"the working tree at {commits[1][:12]}"
    assert said == [
        f"base: {base.title}",
        f"head: {head.title}",
        "base: creating an environment",
        f"base: installing ({install})",
        "head: creating an environment",
        f"head: installing ({install})",
    ]


def test_both_sides_have_paths_and_variables_of_equal_length(sides):
    with sides() as (base, head):
        for one, other in (
            (base.python, head.python),
            (base.folder, head.folder),
            (base.tree, head.tree),
        ):
            assert len(str(one)) == len(str(other))
        assert {key: len(text) for key, text in base.environ.items()} == {
            key: len(text) for key, text in head.environ.items()
        }


def test_a_dirty_tree_is_head_with_changes(project, sides, run_python):
    project.write("pack/__init__.py", "from pack.new import VALUE\n")
    project.write("pack/new.py", "VALUE = 3\n")
    project.write("benchmarks/bench_pack.py", "SUITE = 3\n")
    with sides() as (base, head):
        assert run_python(base, VALUES) == "1 SUITE = 3"
        assert run_python(head, VALUES) == "3 SUITE = 3"
    assert head.title.endswith(", with changes")
    assert head.commit == project.git("rev-parse", "HEAD")


def test_conftest_and_options_of_head_count_on_both_sides(project, sides):
    project.write("conftest.py", "NEW = 1\n")
    options = (project.top / "pyproject.toml").read_text() + 'addopts = ["-ra"]\n'
    project.write("pyproject.toml", options)
    with sides() as (base, _):
        assert (base.folder / "conftest.py").read_text() == "NEW = 1\n"
        assert (base.folder / "pyproject.toml").read_text() == options


def test_the_testpaths_are_the_suite_without_a_path(sides, run_python):
    with sides(paths=()) as (base, _):
        assert run_python(base, VALUES) == "1 SUITE = 2"


def test_a_side_starts_in_the_subfolder_of_the_command(
    project, sides, run_python, tmp_path
):
    project.write("nested/söme where/suites/bench.py", "SUITE = 1\n")
    project.commit("three")
    project.write("nested/söme where/suites/bench.py", "SUITE = 2\n")
    folder = project.top / "nested" / "söme where"
    with sides(folder=folder, base="HEAD", paths=("suites/bench.py::a",)) as both:
        for side in both:
            assert side.folder == tmp_path / "wörk" / side.name / "nested/söme where"
            assert (side.folder / "suites/bench.py").read_text() == "SUITE = 2\n"


def test_pytest_runs_on_both_sides(project, sides, monkeypatch):
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    suite = "from pack import VALUE\ndef test_a():\n    assert VALUE == {}\n"
    project.write("benchmarks/test_a.py", suite.format(1))
    with sides() as both:
        codes = [
            subprocess.run(
                [side.python, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
                cwd=side.folder,
                env=side.environ,
                check=False,
                stdout=subprocess.DEVNULL,
            ).returncode
            for side in both
        ]
    assert codes == [0, 1]


def test_the_repository_is_as_it_was(project, sides):
    project.write("new.py", "")
    before = project.state()
    with sides():
        assert len(project.git("worktree", "list").splitlines()) == 3
    assert project.state() == before


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, GeneratorExit])
def test_no_checkout_stays_after_an_error(project, sides, tmp_path, error):
    before = project.state()

    def interrupted():
        with sides() as (base, _):
            (base.tree / "left.txt").touch()
            raise error

    with pytest.raises(error):
        interrupted()
    assert project.state() == before
    assert listed(tmp_path / "wörk") == ["envs", "tlbench-ab.lock"]


def test_no_checkout_stays_when_a_side_does_not_install(project, sides, tmp_path):
    before = project.state()
    command = "python -c 'raise SystemExit(1)'"
    with (
        pytest.raises(ValueError, match="base does not install"),
        sides(install=command),
    ):
        pass
    assert project.state() == before
    assert listed(tmp_path / "wörk") == ["envs", "tlbench-ab.lock"]
    assert not listed(tmp_path / "wörk" / "envs")


def test_what_a_killed_run_left_is_removed_at_the_start(
    project, sides, run_python, monkeypatch, tmp_path
):
    before = project.state()
    with monkeypatch.context() as patch:
        patch.setattr(worktrees, "remove", lambda *_: None)
        with sides() as (base, _):
            (base.tree / "left.txt").touch()
    assert "base" in listed(tmp_path / "wörk")
    with sides() as (base, _):
        assert not (base.tree / "left.txt").exists()
        assert run_python(base, VALUES) == "1 SUITE = 2"
    assert project.state() == before


def test_environments_are_used_again(project, sides, created, said, run_python):
    with sides():
        pass
    project.write("pack/__init__.py", "VALUE = 4\n")
    with sides() as (_, head):
        assert run_python(head, VALUES) == "4 SUITE = 2"
    assert created == ["base", "head"]
    assert "base: the environment of before is used again" in said
    project.write("requirements.txt", "x")
    with sides():
        pass
    assert created == ["base", "head", "head"]


def test_the_work_folder_is_in_the_users_cache_by_default(sides, tmp_path):
    with sides(work=None) as (base, head):
        assert base.tree.parent == head.tree.parent
        assert base.tree.parent.parent == tmp_path / "cache" / "tlbench" / "ab"


def test_the_code_of_the_working_tree_is_not_imported_by_pythonpath(
    project, sides, run_python, monkeypatch
):
    monkeypatch.setenv("PYTHONPATH", str(project.top))
    with sides() as (base, _):
        assert run_python(base, VALUES) == "1 SUITE = 2"


def refused(start, message, **options):
    with pytest.raises(ValueError, match=message), start(**options):
        pass


def test_two_at_once_are_refused(sides, tmp_path):
    (tmp_path / "wörk").mkdir()
    with FileLock(tmp_path / "wörk" / "tlbench-ab.lock"):
        refused(
            sides,
            r"one comparison at a time\. .*another comparison is running in .* Wait "
            r"for it, or pass another folder as --work",
        )
    with sides():
        refused(sides, "another comparison is running")


@pytest.mark.parametrize("inside", ["", "work", ".git/work"])
def test_a_work_folder_in_the_repository_is_refused(project, sides, inside):
    before = project.state()
    refused(
        sides, r"must lie outside of the rep.*work=.*--work", work=project.top / inside
    )
    assert project.state() == before


def test_a_work_folder_with_somebodys_files_is_refused(sides, tmp_path):
    kept = tmp_path / "mine" / "base" / "thesis.txt"
    kept.parent.mkdir(parents=True)
    kept.touch()
    message = r"must be new, empty or .*work=.*has other files.*--work"
    refused(sides, message, work=tmp_path / "mine")
    assert kept.exists()


def test_a_work_folder_that_cannot_be_made_is_refused(sides, tmp_path):
    (tmp_path / "file").touch()
    message = r"must be a folder that can be written\. .*\(Not a directory\).*--work"
    with pytest.raises(OSError, match=message), sides(work=tmp_path / "file" / "work"):
        pass


def test_a_work_folder_that_cannot_be_written_is_refused(sides, monkeypatch):
    def read_only(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(FileLock, "acquire", read_only)
    with (
        pytest.raises(OSError, match=r"can be written\. .*\(Permission denied\)"),
        sides(),
    ):
        pass


def test_a_path_that_is_not_there_is_refused(sides):
    refused(
        sides,
        r"of the working tree\. Received: path='nosuch/a\.py::b', with nothing there",
        paths=("benchmarks", "nosuch/a.py::b"),
    )


def test_a_path_outside_of_the_repository_is_refused(sides, tmp_path):
    for path in ("..", str(tmp_path)):
        refused(sides, r"must be relative and lie in the rep.*path=", paths=(path,))


def test_a_path_that_git_ignores_is_refused(project, sides):
    project.write("suite.log", "")
    refused(sides, r"git does not ignore\. .*'suite\.log'", paths=("suite.log",))


def test_the_package_as_a_suite_is_refused_before_it_is_installed(sides, created):
    refused(sides, r"compared with itself\. .*'pack'", paths=("pack",))
    assert not created


def test_a_folder_that_base_has_not_is_refused(project, sides):
    project.write("added/suites/bench.py", "")
    refused(
        sides,
        r"must be there on both sides\. .*folder='added', which base has not",
        folder=project.top / "added",
        paths=("suites",),
    )


def test_an_unknown_base_is_refused(sides):
    refused(sides, r"BASE must be a commit.*base='nosuch'", base="nosuch")


def test_one_base_is_required_and_one_only(sides):
    message = r"Exactly one of BASE and --base-python .*base={}, base_python={}\. Pass"
    refused(sides, message.format("None", "None"), base=None)
    both = message.format("'HEAD~1'", "'python'")
    refused(sides, both, base_python=Path("python"))


class TestInterpreters:
    """Two interpreters in one folder; no git needed."""

    @pytest.fixture
    def other(self, created, tmp_path):
        environments.create(tmp_path / "another environment")
        return tmp_path / "another environment" / "bin" / "python"

    @pytest.fixture
    def request_of(self, tmp_path):
        (tmp_path / "plain" / "suites").mkdir(parents=True)
        return lambda python: Request(
            folder=tmp_path / "plain", paths=("suites",), base_python=python
        )

    def test_both_sides_run_in_place(self, other, request_of, said, tmp_path):
        with two_sides(request_of(other), said.append) as (base, head):
            for side in (base, head):
                assert side.folder == tmp_path / "plain"
                assert (side.tree, side.commit) == (None, "")
        assert (base.python, head.python) == (other, Path(sys.executable))
        assert (base.title, head.title) == (str(other), sys.executable)
        assert base.environ["VIRTUAL_ENV"] == str(other.parents[1])
        assert said == [f"base: {other}", f"head: {sys.executable}"]

    def test_the_variables_are_of_equal_length(self, other, request_of, said):
        def length(side):
            return sum(len(key) + len(text) for key, text in side.environ.items())

        with two_sides(request_of(other), said.append) as (base, head):
            assert length(base) == length(head)

    @pytest.mark.parametrize("mode", [None, 0o644], ids=["missing", "no program"])
    def test_what_cannot_be_executed_is_refused(self, request_of, tmp_path, mode):
        path = tmp_path / "python"
        if mode:
            path.touch(mode)
        with (
            pytest.raises(
                ValueError, match=r"must be an interpreter\. .* no file that"
            ),
            two_sides(request_of(path), print),
        ):
            pass

    def test_what_is_no_program_is_refused(self, request_of, tmp_path):
        path = tmp_path / "python"
        path.write_text("text")
        path.chmod(0o755)
        with (
            pytest.raises(ValueError, match=r"\(Exec format error\)\. Pass the path"),
            two_sides(request_of(path), print),
        ):
            pass

    def test_an_interpreter_without_pytest_is_refused(self, other, request_of):
        for link in other.parents[1].rglob("ours.pth"):
            link.unlink()
        message = r"base='.*' without pytest and pytest-benchmark\. Run `.* -m pip inst"
        with (
            pytest.raises(ValueError, match=message),
            two_sides(request_of(other), print),
        ):
            pass

    def test_a_relative_interpreter_is_that_of_the_folder(
        self, other, request_of, said, tmp_path
    ):
        relative = Path(os.path.relpath(other, tmp_path / "plain"))
        with two_sides(request_of(relative), said.append) as (base, _):
            assert base.python == other
