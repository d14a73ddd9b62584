"""An archive that is given as data is unpacked once."""

import shutil

import pytest

from tlcore.data import archive_cache
from tlcore.data.archive_cache import is_archive, unpacked


@pytest.fixture
def archive(folder, tmp_path):
    """Return what packs the images of `folder`, below some folders, into an archive."""

    def pack(kind="zip", below="", name="all"):
        root = tmp_path / "pack"
        shutil.copytree(folder, root / below if below else root)
        return tmp_path / shutil.make_archive(tmp_path / name, kind, root)

    return pack


@pytest.mark.parametrize("name", ["a.zip", "A.ZIP", "a.tar", "a.tar.gz", "a.b.tgz"])
def test_an_archive_is_known_by_its_name(tmp_path, name):
    assert is_archive(tmp_path / name)
    assert not is_archive(tmp_path / f"{name}.csv")


@pytest.mark.parametrize("kind", ["zip", "tar", "gztar"])
@pytest.mark.parametrize("below", ["", "photos", "one/two"])
def test_it_is_unpacked_to_the_folder_that_holds_everything(
    archive, tmp_path, kind, below
):
    path, lines = archive(kind, below), []
    found = [unpacked(path, lines.append, home=tmp_path / "home") for _ in range(2)]
    assert sorted(x.name for x in found[0].iterdir()) == ["a", "b", "c"]
    assert found[0] == found[1]
    assert lines == [
        f"{path.name}: unpacked in {str(found[0])!r}; delete it to free the space",
        f"{path.name}: read as unpacked before in {str(found[0])!r}; "
        "delete it to free the space",
    ]


def test_a_lone_train_is_a_split_and_no_wrapping(archive, tmp_path):
    found = unpacked(archive(below="photos/train"), print, home=tmp_path / "home")
    assert [x.name for x in found.iterdir()] == ["train"]


def test_another_archive_of_the_same_name_is_another_folder(archive, folder, tmp_path):
    first = unpacked(archive(), print, home=tmp_path / "home")
    shutil.rmtree(tmp_path / "pack")
    shutil.rmtree(folder / "c")
    assert unpacked(archive(), print, home=tmp_path / "home") != first


def test_a_damaged_one_leaves_nothing(archive, tmp_path):
    path = archive()
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="must be whole.*Received: archive="):
        unpacked(path, print, home=tmp_path / "home")
    assert not (tmp_path / "home").exists()


def test_the_home_is_a_cache_of_the_user(archive, tmp_path, monkeypatch):
    path = archive()
    monkeypatch.setenv(archive_cache.FOLDER_VARIABLE, str(tmp_path / "mine"))
    assert unpacked(path, print).is_relative_to(tmp_path / "mine")
    monkeypatch.delenv(archive_cache.FOLDER_VARIABLE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert unpacked(path, print).is_relative_to(tmp_path / "cache/tlcore/data")
