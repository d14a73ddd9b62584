"""Git as a program: which branch a run is of, and what a failure is called."""

import subprocess

import pytest

from tlbench import git


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for name in git.LOCATIONS:
        monkeypatch.delenv(name, raising=False)
    words = ["git", "-c", "init.defaultBranch=main", "init", "--quiet", str(tmp_path)]
    subprocess.run(words, check=True)
    return tmp_path


def detach(folder):
    who = ["-c", "user.name=Ada", "-c", "user.email=a@example.org"]
    for words in (
        ["commit", "-qm", "x", "--allow-empty"],
        ["checkout", "-q", "--detach"],
    ):
        subprocess.run(["git", *who, *words], cwd=folder, check=True)


def test_the_branch_is_that_of_git_where_one_is_checked_out(folder):
    assert git.branch(folder, {"GITHUB_REF_NAME": "other"}) == "main"


@pytest.mark.parametrize(
    ("environ", "branch"),
    [
        ({}, ""),
        ({"GITHUB_HEAD_REF": "change", "GITHUB_REF_NAME": "12/merge"}, "change"),
        ({"GITHUB_HEAD_REF": "", "GITHUB_REF_NAME": "main"}, "main"),
        ({"CI_COMMIT_BRANCH": "main"}, "main"),
        ({"CI_MERGE_REQUEST_SOURCE_BRANCH_NAME": "change"}, "change"),
    ],
)
def test_of_a_commit_that_is_checked_out_the_ci_knows_the_branch(
    folder, environ, branch
):
    detach(folder)
    assert git.branch(folder, environ) == branch


def test_without_a_repository_or_git_there_is_no_branch(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    known = {"GITHUB_REF_NAME": "main"}
    assert git.branch(tmp_path, known) == ""
    assert git.branch(tmp_path / "nowhere", known) == ""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git.branch(tmp_path, known) == ""
    with pytest.raises(git.AbsentError, match=r"no program 'git' on PATH\. Install it"):
        git.call(tmp_path, "status")


def test_a_failure_is_called_by_what_is_fatal(folder):
    done = git.call(folder, "ls-remote", "nowhere")
    assert git.reason(done).startswith("fatal: 'nowhere' does not appear")
    with pytest.raises(ValueError, match=r"^`git frob` must work in .*git status"):
        git.need(folder, "frob")
