"""The names of cases do not depend on where the results lie."""

import pytest

from tlbench.storage.last_run import read_last_run
from tlbench.suite_root import renamed, suite_root


@pytest.fixture
def tree(tmp_path):
    for file in ("a/suite/test_x.py", "a/more/test_y.py", "b/test_z.py", "c/setup.py"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    (tmp_path / "c" / "suite").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("start", "arguments", "root"),
    [
        ("a", [], "a"),
        ("a", ["suite"], "a"),
        ("a", ["suite/test_x.py::test_b[::]"], "a"),
        ("a", ["nowhere"], "a"),
        ("a/suite", ["test_x.py", "../more"], "a"),
        ("a", ["../b"], ""),
        ("a", ["../c/suite"], "c"),  # pytest: where the setup.py is
    ],
)
def test_the_root_is_that_of_pytest_without_options(tree, start, arguments, root):
    assert suite_root(tree / start, arguments) == tree / root


def test_a_node_id_is_given_another_root(tree):
    assert renamed("suite/test_x.py::t", tree / "a", tree / "a") == "suite/test_x.py::t"
    assert renamed("a/suite/test_x.py::t[a/b]", tree, tree / "a") == (
        "suite/test_x.py::t[a/b]"
    )


@pytest.mark.parametrize("words", [("--tl-results", "{}"), ("--tl-results={}",)])
def test_a_folder_of_results_elsewhere_changes_no_name(pytester, monkeypatch, words):
    suite = pytester.mkdir("project")
    (suite / "test_n.py").write_text("def test_n(record):\n    record.exact('n', 1)\n")
    kept = pytester.path / "kept"
    options = [word.format(kept) for word in words]
    monkeypatch.chdir(suite)
    for _ in range(2):  # the second time the folder is there
        assert pytester.runpytest(*options).ret == 0
        run, _ = read_last_run(kept)
        assert list(run.cases) == ["test_n.py::test_n"]
        assert run.gone == ()
    # Nor does it for what is found to be gone.
    (suite / "test_n.py").write_text("def test_m(record):\n    record.exact('n', 2)\n")
    from tlbench.cli import main

    with pytest.raises(SystemExit):
        main(["accept", "--reason", "x", "--results", str(kept)])
    pytester.runpytest(*options)
    run, _ = read_last_run(kept)
    assert (list(run.cases), run.gone) == (
        ["test_n.py::test_m"],
        ("test_n.py::test_n",),
    )


def test_a_rootdir_that_is_given_holds(pytester):
    suite = pytester.mkdir("project")
    (suite / "test_n.py").write_text("def test_n(record):\n    record.exact('n', 1)\n")
    pytester.runpytest("--rootdir", str(suite), str(suite), "--tl-results=kept")
    run, _ = read_last_run(pytester.path / "kept")
    assert list(run.cases) == ["test_n.py::test_n"]
