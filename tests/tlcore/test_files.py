"""Files: written whole or not at all, sizes that are read, processes that run."""

import os
import stat
from pathlib import Path

import pytest

from tlcore.files import (
    flush_folder,
    put_folder_in_place,
    readable,
    replacing,
    write_bytes,
    write_text,
)


def names(folder):
    return [path.name for path in folder.iterdir()]


def test_a_file_is_replaced_as_a_whole(tmp_path):
    path = tmp_path / "a.json"
    write_text(path, "first")
    write_bytes(path, b"second")
    assert path.read_text() == "second"
    assert names(tmp_path) == ["a.json"]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "model.keras"
    path.write_text("old")

    def write_half():
        with replacing(path) as aside:
            aside.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert path.read_text() == "old"
    assert names(tmp_path) == ["model.keras"]


@pytest.mark.parametrize("name", ["m.keras", "net.weights.h5", "curves.png"])
def test_the_temporary_file_has_the_suffix_that_writers_look_at(tmp_path, name):
    with replacing(tmp_path / name) as aside:
        aside.touch()
        assert aside.name.endswith(name[name.index(".") :])
        assert aside.parent == tmp_path


def test_a_file_can_be_read_by_whom_the_umask_lets(tmp_path):
    old = os.umask(0o022)
    try:
        write_text(tmp_path / "a", "x")
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o644


def test_a_missing_folder_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        write_text(tmp_path / "none" / "a", "x")


@pytest.fixture
def calls(monkeypatch):
    """Return what was flushed and renamed, by name and in order."""
    done = []
    fsync, rename, sync = os.fsync, os.replace, os.sync

    def flushed(file):
        done.append(("flush", os.path.realpath(f"/proc/self/fd/{file}")))
        fsync(file)

    def renamed(one, other):
        done.append(("rename", str(other)))
        rename(one, other)

    def all_flushed():
        done.append(("flush", "everything"))
        sync()

    monkeypatch.setattr(os, "fsync", flushed)
    monkeypatch.setattr(os, "replace", renamed)
    monkeypatch.setattr(os, "sync", all_flushed)
    return done


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="it names open files")
class TestPowerCut:
    def test_content_is_on_the_disk_before_its_name_and_the_name_after(
        self, tmp_path, calls
    ):
        path = tmp_path / "run.json"
        for write, data in ((write_text, "a"), (write_bytes, b"b")):
            calls.clear()
            write(path, data)
            (first, aside), rename, folder = calls
            assert (first, Path(aside).parent) == ("flush", tmp_path)
            assert aside != str(path)
            assert rename == ("rename", str(path))
            assert folder == ("flush", str(tmp_path))

    def test_a_folder_of_files_is_flushed_at_once_before_its_name(
        self, tmp_path, calls
    ):
        (tmp_path / "aside").mkdir()
        put_folder_in_place(tmp_path / "aside", tmp_path / "photos")
        assert calls == [
            ("flush", "everything"),
            ("rename", str(tmp_path / "photos")),
            ("flush", str(tmp_path)),
        ]

    def test_a_file_that_fails_is_not_renamed(self, tmp_path, calls, monkeypatch):
        def full(_):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            write_text(tmp_path / "a", "x")
        assert calls == []
        assert names(tmp_path) == []

    def test_a_folder_that_cannot_be_flushed_is_no_error(self, tmp_path, monkeypatch):
        def refuse(_):
            raise OSError(22, "Invalid argument")

        monkeypatch.setattr(os, "fsync", refuse)
        flush_folder(tmp_path)


@pytest.mark.parametrize(
    ("nbytes", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (1536, "1.5 KiB"),
        (1023 * 1024, "1023 KiB"),
        (5 * 1024**4, "5 TiB"),
    ],
)
def test_a_size_has_three_digits_and_a_unit(nbytes, text):
    assert readable(nbytes) == text
