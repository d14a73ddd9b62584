"""Locks that leave nothing in version control."""

from tlbench.storage import locks


def test_a_lock_file_is_ignored_by_git(tmp_path):
    path = tmp_path / "machine" / "history.jsonl"
    with locks.alone(path):
        assert (path.parent / ".history.jsonl.lock").exists()
    ignored = (path.parent / ".gitignore").read_text(encoding="utf-8")
    assert ".*.lock" in ignored.splitlines()


def test_a_list_that_is_there_already_is_kept(tmp_path):
    (tmp_path / ".gitignore").write_text("mine\n")
    with locks.alone(tmp_path / "accept"):
        pass
    assert (tmp_path / ".gitignore").read_text() == "mine\n"
