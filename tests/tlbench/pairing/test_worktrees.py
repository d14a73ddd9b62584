"""Checkouts: what they hold, and that the user's repository stays as it was."""

import os
import subprocess
from pathlib import Path

import pytest

from tlbench.pairing import worktrees


@pytest.fixture
def tree(tmp_path):
    return tmp_path / "wörk" / "head"


@pytest.fixture
def said():
    return []


@pytest.fixture
def checkout(project, tree, said):
    """Return a function that makes a checkout of the working tree."""
    repositories = []

    def make(folder=None):
        repositories.append(worktrees.find_repository(folder or project.top))
        worktrees.add_working_tree(repositories[-1], tree, said.append)
        return tree

    yield make
    for repository in repositories:
        worktrees.remove(repository, tree)


def files_of(folder):
    """Return what is in a folder, by path: text, or where a link leads to."""
    return {
        path.relative_to(folder).as_posix(): str(path.readlink())
        if path.is_symlink()
        else path.read_text()
        for path in folder.rglob("*")
        if (path.is_symlink() or path.is_file()) and ".git" not in path.parts
    }


def test_a_clean_tree_is_its_commit(project, checkout):
    assert files_of(checkout()) == files_of(project.top)


def modify(project):
    project.write("pack/__init__.py", "VALUE = 3\n")


def stage(project):
    project.write("pack/__init__.py", "VALUE = 3\n")
    project.git("add", "--all")
    project.write("pack/__init__.py", "VALUE = 4\n")


def delete(project):
    (project.top / "pack" / "__init__.py").unlink()


def delete_from_the_index_too(project):
    project.git("rm", "--quiet", "pack/__init__.py")


def add(project):
    project.write("pack/nëw/a b.py", "new\n")


def rename(project):
    project.git("mv", "pack", "package")


def rename_without_the_index(project):
    (project.top / "pack").rename(project.top / "package")


def link(project):
    (project.top / "link").symlink_to("pack")
    (project.top / "broken").symlink_to("nowhere")


def file_to_link(project):
    (project.top / "pack" / "__init__.py").unlink()
    (project.top / "pack" / "__init__.py").symlink_to("../pyproject.toml")


def folder_to_link(project):
    (project.top / "pack").rename(project.top / "other")
    (project.top / "pack").symlink_to("other")


def folder_to_file(project):
    delete(project)
    (project.top / "pack").rmdir()
    project.write("pack", "a file\n")


def file_to_folder(project):
    (project.top / "pyproject.toml").unlink()
    project.write("pyproject.toml/x", "in a folder\n")


@pytest.mark.parametrize(
    "change",
    [
        modify,
        stage,
        delete,
        delete_from_the_index_too,
        add,
        rename,
        rename_without_the_index,
        link,
        file_to_link,
        folder_to_link,
        folder_to_file,
        file_to_folder,
    ],
)
def test_a_changed_tree_is_copied_and_stays_untouched(project, checkout, change):
    change(project)
    before = project.state()
    files = files_of(checkout())
    assert files == files_of(project.top)
    after = project.state()
    assert {path: after[path] for path in before} == before
    assert worktrees.find_changes(project.top)


def test_ignored_files_are_not_copied_and_are_no_change(project, checkout):
    project.write("run.log", "ignored\n")
    assert not (checkout() / "run.log").exists()
    assert not worktrees.find_changes(project.top)


def test_no_empty_folder_is_left_to_be_imported(project, checkout):
    project.write("space/deep/module.py", "")
    project.commit("three")
    (project.top / "space" / "deep" / "module.py").unlink()
    tree = checkout()
    assert not (tree / "space").exists()
    assert (tree / "pack").exists()


def test_modes_are_kept(project, checkout):
    project.write("run.sh", "").chmod(0o755)
    (project.top / "pyproject.toml").chmod(0o755)
    tree = checkout()
    assert os.access(tree / "run.sh", os.X_OK)
    assert os.access(tree / "pyproject.toml", os.X_OK)


def test_line_endings_are_those_of_the_working_tree(project, checkout):
    project.git("config", "core.autocrlf", "true")
    (project.top / "pack" / "__init__.py").unlink()
    project.git("checkout", "--", "pack")
    project.write("benchmarks/new.py", "a\n")
    tree = checkout()
    assert (tree / "pack" / "__init__.py").read_bytes() == b"VALUE = 2\r\n"
    assert (tree / "benchmarks" / "new.py").read_bytes() == b"a\n"


def test_a_worktree_of_the_user_can_be_compared(project, checkout, tmp_path):
    other = tmp_path / "other"
    project.git("worktree", "add", "--quiet", "-b", "side", path=other)
    (other / "new.py").write_text("new\n")
    assert files_of(checkout(other)) == files_of(other)


def test_a_subfolder_knows_its_place(project):
    project.write("sub/föl der/a.py", "")
    repository = worktrees.find_repository(project.top / "sub" / "föl der")
    assert (repository.top, repository.prefix) == (project.top, "sub/föl der")


def test_everything_is_removed_again(project, tree, said):
    before = project.state()
    repository = worktrees.find_repository(project.top)
    worktrees.add_commit(repository, tree, repository.head, said.append)
    assert project.state() != before
    worktrees.remove(repository, tree)
    assert project.state() == before
    assert not tree.exists()
    worktrees.remove(repository, tree)  # there is none: no error


def test_what_a_killed_run_left_is_removed(project, tree, said):
    before = project.state()
    repository = worktrees.find_repository(project.top)
    worktrees.add_commit(repository, tree, repository.head, said.append)
    project.git("worktree", "lock", path=tree)  # as while git makes one
    (tree / ".git").unlink()  # as when removing was interrupted
    worktrees.remove(repository, tree)
    assert project.state() == before
    assert not tree.exists()


def test_worktrees_of_the_user_on_a_disk_that_is_away_stay_known(
    project, tree, said, tmp_path
):
    project.git("worktree", "add", "--quiet", "--detach", path=tmp_path / "away")
    (tmp_path / "away").rename(tmp_path / "unmounted")
    repository = worktrees.find_repository(project.top)
    worktrees.add_commit(repository, tree, repository.head, said.append)
    worktrees.remove(repository, tree)
    assert "away" in project.git("worktree", "list")


def test_hooks_do_not_run(project, checkout, script, tmp_path):
    ran = tmp_path / "ran"
    code = f"open({str(ran)!r}, 'w')"
    script("post-checkout", code, project.top / ".git" / "hooks")
    checkout()
    assert not ran.exists()
    project.git("checkout", "--quiet", "--detach")
    assert ran.exists()  # by hand it does


def test_inside_a_hook_the_worktree_is_not_taken_for_the_repository(
    project, checkout, monkeypatch
):
    modify(project)
    monkeypatch.setenv("GIT_DIR", str(project.top / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(project.top / ".git" / "index"))
    assert files_of(checkout()) == files_of(project.top)


POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"


@pytest.mark.parametrize("content", [POINTER, "content"], ids=["pointer", "content"])
def test_pointers_of_lfs_are_left_alone_where_the_users_tree_has_pointers(
    project, checkout, script, content
):
    project.write(".gitattributes", "*.bin filter=lfs -text\n")
    data = project.write("data.bin", POINTER)
    project.commit("data")
    data.write_text(content)
    smudge = script("smudge", "print('content', end='')")
    clean = script("clean", f"print({POINTER!r}, end='')")
    project.git("config", "filter.lfs.smudge", str(smudge))
    project.git("config", "filter.lfs.clean", str(clean))
    project.git("config", "filter.lfs.required", "true")
    assert (checkout() / "data.bin").read_text() == content


@pytest.fixture
def with_submodule(project, tmp_path):
    """Add a submodule with two commits, the second in the last commit."""
    inner = tmp_path / "inner"
    project.git("init", "--quiet", top=tmp_path, path=inner)
    (inner / "a.txt").write_text("1\n")
    project.git("add", "a.txt", top=inner)
    project.git("commit", "--quiet", "-m", "one", top=inner)
    file = ("-c", "protocol.file.allow=always")
    project.git(*file, "submodule", "--quiet", "add", str(inner), "sub")
    project.commit("with a submodule")
    (project.top / "sub" / "a.txt").write_text("2\n")
    project.git("commit", "--quiet", "-am", "two", top=project.top / "sub")
    project.commit("its second commit")
    # It is not asked for again.
    inner.rename(tmp_path / "away")
    return project


def test_submodules_are_those_of_the_commit(with_submodule, tree, said):
    before = with_submodule.state()
    repository = worktrees.find_repository(with_submodule.top)
    commit = worktrees.find_commit(repository, "HEAD~1")
    worktrees.add_commit(repository, tree, commit, said.append)
    assert (tree / "sub" / "a.txt").read_text() == "1\n"
    worktrees.remove(repository, tree)
    assert with_submodule.state() == before


def test_submodules_are_those_of_the_working_tree(with_submodule, checkout):
    (with_submodule.top / "sub" / "a.txt").write_text("3\n")
    (with_submodule.top / "sub" / "b.txt").write_text("new\n")
    tree = checkout()
    assert (tree / "sub" / "a.txt").read_text() == "3\n"
    assert (tree / "sub" / "b.txt").read_text() == "new\n"


def test_a_submodule_that_is_not_checked_out_stays_empty(with_submodule, tree, said):
    with_submodule.git("submodule", "--quiet", "deinit", "--force", path="sub")
    repository = worktrees.find_repository(with_submodule.top)
    worktrees.add_commit(repository, tree, repository.head, said.append)
    assert not any((tree / "sub").iterdir())
    assert said == [
        f"the submodule {with_submodule.top / 'sub'} is not checked out, "
        "so it stays empty"
    ]
    worktrees.remove(repository, tree)


def test_a_submodule_without_the_commit_is_refused(with_submodule, tree, said):
    commit = "1" * 40
    entry = f"160000,{commit},sub"
    with_submodule.git("update-index", "--cacheinfo", entry)
    with_submodule.git("commit", "--quiet", "-m", "of somebody else")
    repository = worktrees.find_repository(with_submodule.top)
    with pytest.raises(ValueError, match=r"must have its commit 1{12} in .*git fetch"):
        worktrees.add_commit(repository, tree, repository.head, said.append)
    worktrees.remove(repository, tree)


def test_another_repository_in_the_tree_is_left_out(project, checkout, said):
    project.git("init", "--quiet", path=project.top / "foreign")
    project.write("foreign/a.py", "")
    assert not (checkout() / "foreign").exists()
    assert said == ["foreign/ is a repository of its own and is left out"]


def test_a_folder_without_a_repository_is_refused(tmp_path):
    with pytest.raises(
        ValueError, match=r"must start in a git rep.*Received: folder=.*--base-python"
    ):
        worktrees.find_repository(tmp_path)


def test_a_repository_without_commits_is_refused(tmp_path):
    subprocess.run(["git", "init", "--quiet", tmp_path / "new"], check=True)
    with pytest.raises(ValueError, match=r"a repository without commits\. Run `git c"):
        worktrees.find_repository(tmp_path / "new")


def test_a_machine_without_git_is_refused(project, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ValueError, match=r"no program 'git' on PATH\. Install it, or"):
        worktrees.find_repository(project.top)


@pytest.mark.parametrize("base", ["nosuch", "-x", "main..HEAD", "", "HEAD~9"])
def test_an_unknown_base_is_refused(project, base):
    repository = worktrees.find_repository(project.top)
    with pytest.raises(ValueError, match=rf"Received: base='{base}'\. `git log`, "):
        worktrees.find_commit(repository, base)


def test_a_base_that_only_the_remote_has_is_refused_with_its_name(project):
    project.git("update-ref", "refs/remotes/origin/dev", "HEAD~1")
    repository = worktrees.find_repository(project.top)
    with pytest.raises(ValueError, match=r"base='dev'\. .* pass 'origin/dev'\."):
        worktrees.find_commit(repository, "dev")


def test_an_unknown_base_in_a_shallow_clone_is_refused_with_how_to_fetch_it(
    project, tmp_path
):
    url = Path(project.top).as_uri()
    project.git("clone", "--quiet", "--depth=1", url, path=tmp_path / "clone")
    repository = worktrees.find_repository(tmp_path / "clone")
    with pytest.raises(
        ValueError, match=r"shallow .*git fetch --unshallow.*origin HEAD~1.*fetch-depth"
    ):
        worktrees.find_commit(repository, "HEAD~1")


@pytest.mark.parametrize("name", ["branch", "tag", "note"])
def test_branches_and_tags_lead_to_their_commits(project, name):
    project.git("branch", "branch", "HEAD~1")
    project.git("tag", "tag", "HEAD~1")
    project.git("tag", "-a", "-m", "annotated", "note", "HEAD~1")
    repository = worktrees.find_repository(project.top)
    commit = project.git("rev-parse", "HEAD~1")
    assert worktrees.find_commit(repository, name) == commit


def test_a_place_that_git_cannot_check_out_to_is_refused(project, tree, said):
    repository = worktrees.find_repository(project.top)
    tree.mkdir(parents=True)
    (tree / "x").touch()
    with pytest.raises(ValueError, match=r"must be able to check out .*already exists"):
        worktrees.add_commit(repository, tree, repository.head, said.append)


def test_a_damaged_repository_is_refused(project):
    (project.top / ".git" / "index").write_text("damage")
    with pytest.raises(
        ValueError, match=r"`git diff` must work in .*index file .* with `git status`"
    ):
        worktrees.find_changes(project.top)
