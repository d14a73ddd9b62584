"""Files: written whole or not at all, sizes that are read, processes that run."""

import os
import stat

import pytest

from tlcore.files import readable, replacing, write_bytes, write_text


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
