"""Handles: folders, archives, addresses, and what is refused when one is not whole."""

import gzip
import hashlib
import io
import os
import shutil
import socket
import subprocess
import sys
import tarfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest

from tlcore.data import unpacking
from tlcore.hub import handles
from tlcore.hub.handles import FORMS, absolute, fingerprint, is_handle, resolve

pytestmark = pytest.mark.tensorflow


def packed(files, *, mode="w:gz"):
    """Return an archive of files by name."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


# What cannot be compressed, so that half of the archive is half of the files.
GRAPH = os.urandom(60_000)
FILES = {
    "saved_model.pb": GRAPH,
    "variables/variables.index": b"index",
    "assets/vocabulary.txt": b"a b c",
}


@pytest.fixture
def cache(monkeypatch, tmp_path):
    folder = tmp_path / "cache"
    monkeypatch.setenv(handles.CACHE_VARIABLE, str(folder))
    return folder


def left_in(cache):
    """Return the entries of the cache, without locks and descriptions."""
    kept = {".txt", ".lock"}
    return (
        [x for x in cache.iterdir() if x.suffix not in kept] if cache.exists() else []
    )


def write_model(folder, files=FILES):
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


class TestForms:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("efficientnet_b0", False),
            ("https://tfhub.dev/google/x/1", True),
            ("google/resnet-v2/tensorFlow2/50-feature-vector/2", True),
            ("models/mine", True),
            ("mine.tar.gz", True),
            (".", True),
        ],
    )
    def test_a_handle_is_distinguished_from_a_name(self, text, expected):
        assert is_handle(text) is expected

    def test_paths_become_absolute_and_addresses_stay(self, monkeypatch, tmp_path):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "mine").mkdir()
        assert absolute("mine") == absolute(Path("mine")) == str(tmp_path / "mine")
        for text in ("https://a.b/c", "gs://a/b", "a/b/tensorFlow2/c/1", "a/b/TF/c"):
            kept = text if "TF/" not in text else str(tmp_path / text)
            assert absolute(text) == kept


class TestFolders:
    def test_a_folder_is_itself(self, tmp_path):
        assert resolve(write_model(tmp_path / "m")) == tmp_path / "m"

    def test_a_folder_around_the_only_one_is_opened(self, tmp_path):
        write_model(tmp_path / "around/inner")
        assert resolve(tmp_path / "around") == tmp_path / "around/inner"

    def test_a_text_graph_will_do(self, tmp_path):
        write_model(tmp_path, {"saved_model.pbtxt": b"x"})
        assert resolve(tmp_path) == tmp_path

    @pytest.mark.parametrize("handle", ["", None, 0, "a\0b", b"m"])
    def test_what_is_no_handle_is_refused(self, handle):
        with pytest.raises(ValueError, match="must be the folder .*Received: handle="):
            resolve(handle)

    def test_the_home_of_nobody_is_not_there(self):
        with pytest.raises(FileNotFoundError, match="handle='~nobody-of-this-name/m'"):
            resolve("~nobody-of-this-name/m")

    def test_what_is_not_there_is_answered_with_the_forms(self):
        with pytest.raises(FileNotFoundError) as caught:
            resolve("no/such")
        assert FORMS in str(caught.value)
        assert "Received: handle='no/such', and there is no such" in str(caught.value)

    def test_a_folder_without_a_saved_model_is_refused(self, tmp_path):
        with pytest.raises(ValueError, match=r"there is no saved_model\.pb in .*Pass"):
            resolve(tmp_path)

    def test_a_module_of_tensorflow_1_is_refused(self, tmp_path):
        write_model(tmp_path, {**FILES, "tfhub_module.pb": b"x"})
        with pytest.raises(ValueError, match="TensorFlow 1.*Take the TensorFlow2 var"):
            resolve(tmp_path)


class TestFingerprint:
    def test_it_is_of_graph_and_assets_and_not_of_weights(self, tmp_path):
        folder = write_model(tmp_path)
        first = fingerprint(folder)
        (folder / "variables/variables.index").write_bytes(b"others")
        assert fingerprint(folder) == first
        (folder / "assets/vocabulary.txt").write_bytes(b"a b d")
        assert fingerprint(folder) != first
        (folder / "assets/vocabulary.txt").write_bytes(b"a b c")
        assert fingerprint(folder) == first
        (folder / "saved_model.pb").write_bytes(GRAPH[:-1])
        assert fingerprint(folder) != first


class TestArchivesOnDisk:
    @pytest.mark.parametrize("top", ["", "model/"])
    def test_it_is_unpacked_once_into_the_cache(self, tmp_path, cache, top):
        path = tmp_path / "model.tar.gz"
        path.write_bytes(packed({top + name: data for name, data in FILES.items()}))
        folder = resolve(path)
        assert cache in folder.parents
        assert (folder / "saved_model.pb").read_bytes() == GRAPH
        (folder / "mark").touch()
        assert resolve(path) == folder
        assert (folder / "mark").exists()

    def test_another_archive_of_that_name_is_another_model(self, tmp_path, cache):
        path = tmp_path / "model.tar.gz"
        path.write_bytes(packed(FILES))
        first = resolve(path)
        path.write_bytes(packed({**FILES, "saved_model.pb": b"other"}))
        assert resolve(path) != first

    def test_half_an_archive_leaves_nothing(self, tmp_path, cache):
        path = tmp_path / "model.tar.gz"
        whole = packed(FILES)
        path.write_bytes(whole[: len(whole) // 2])
        with pytest.raises(ValueError, match="whole and of a known compression"):
            resolve(path)
        assert not left_in(cache)


class TestAddresses:
    def test_it_is_asked_for_once_and_then_found_without_a_server(self, server, cache):
        url = server.serve("/google/model/1", packed(FILES))
        folder = resolve(url)
        assert folder.parent == cache
        assert (folder / "saved_model.pb").read_bytes() == GRAPH
        server.stop()
        assert resolve(url) == folder
        assert server.asked == ["/google/model/1?tf-hub-format=compressed"]

    def test_the_cache_is_that_of_tf_hub(self, server, cache, monkeypatch):
        url = server.serve("/google/model/1", packed(FILES))
        folder = resolve(url)
        import tensorflow_hub

        assert tensorflow_hub.resolve(url) == str(folder)
        assert os.environ[handles.CACHE_VARIABLE] == str(cache)

    def test_a_cache_that_is_not_named_outlives_a_reboot(self, monkeypatch, tmp_path):
        monkeypatch.delenv(handles.CACHE_VARIABLE)
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        assert handles._cache_folder() == tmp_path / "tlcore/hub"

    @pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
    @pytest.mark.parametrize("known", [True, False], ids=["size known", "size unknown"])
    def test_a_download_cut_short_leaves_no_entry(self, server, cache, share, known):
        whole = packed(FILES)
        half = whole[: int(len(whole) * share)]
        url = server.serve("/m/1", half, announced=len(whole) if known else None)
        match = f"must be whole.*Received: .*{url}.*Fetch it again"
        with pytest.raises(ConnectionError, match=match):
            resolve(url)
        assert not left_in(cache)
        server.serve("/m/1", whole)
        assert (resolve(url) / "saved_model.pb").read_bytes() == GRAPH

    def test_what_is_no_archive_leaves_no_entry(self, server, cache):
        for data in (b"<html>no model</html>" * 99, gzip.compress(b"no archive" * 99)):
            url = server.serve("/page", data)
            match = f"must be a zip, tar or tar.gz file.*{url}.*Check that the address"
            with pytest.raises(ValueError, match=match):
                resolve(url)
            assert not left_in(cache)

    def test_an_archive_without_a_model_says_so(self, server, cache):
        url = server.serve("/other", packed({"notes.txt": b"x"}))
        with pytest.raises(ValueError, match=r"there is no saved_model\.pb"):
            resolve(url)

    def test_a_missing_page_and_a_missing_network_get_a_sentence(self, server, cache):
        url = server.serve("/there", b"")
        with pytest.raises(ConnectionError, match="answered by 404"):
            resolve(url.replace("there", "nowhere"))
        server.stop()
        with pytest.raises(ConnectionError, match="connection failed.*Connect to a ne"):
            resolve(url)
        assert not left_in(cache)

    def test_a_cache_that_cannot_be_written_to_is_refused(
        self, server, tmp_path, monkeypatch
    ):
        (tmp_path / "file").touch()
        monkeypatch.setenv(handles.CACHE_VARIABLE, str(tmp_path / "file/cache"))
        with pytest.raises(OSError, match="TFHUB_CACHE_DIR='.*file/cache': .*Set "):
            resolve(server.serve("/m/1", packed(FILES)))

    def test_a_kaggle_handle_is_an_address_of_kaggle(self, server, cache, monkeypatch):
        path = "/owner/model/tensorFlow2/vector/1"
        url = server.serve(path, packed(FILES))
        monkeypatch.setattr(handles, "KAGGLE", url.removesuffix(path[1:]))
        folder = resolve("owner/model/tensorFlow2/vector/1")
        assert (folder / "saved_model.pb").is_file()
        assert server.asked == [f"{path}?tf-hub-format=compressed"]

    def test_a_lock_left_by_a_dead_process_is_not_waited_for_long(
        self, server, cache, monkeypatch
    ):
        assert handles.LOCK_SECONDS <= 60  # TF Hub itself waits ten minutes
        handles._tensorflow_hub()
        from tensorflow_hub import resolver

        slept = []
        clock = SimpleNamespace(time=lambda: 50.0 * len(slept), sleep=slept.append)
        monkeypatch.setattr(resolver, "time", clock)
        url = server.serve("/m/1", packed(FILES))
        cache.mkdir()
        name = hashlib.sha1(url.encode()).hexdigest()
        (cache / f"{name}.lock").write_text("host.1.dead")
        assert (resolve(url) / "saved_model.pb").read_bytes() == GRAPH
        assert slept

    def test_what_a_killed_download_left_is_removed_at_once(self, server, cache):
        url = server.serve("/m/1", packed(FILES))
        name = hashlib.sha1(url.encode()).hexdigest()
        with subprocess.Popen([sys.executable, "-c", ""]) as gone:
            pass
        cache.mkdir()
        (cache / f"{name}.lock").write_text(f"{socket.gethostname()}.{gone.pid}.dead")
        (cache / f"{name}.dead.tmp/.download-x").mkdir(parents=True)
        (cache / f"{name}.dead.tmp/.download-x/archive").write_bytes(b"half")
        folder = resolve(url)
        assert [x.name for x in left_in(cache)] == [folder.name]

    def test_two_processes_at_once_download_once(self, server, cache, monkeypatch):
        # Even if the download is so slow that its lock of TF Hub seems abandoned.
        handles._tensorflow_hub()
        from tensorflow_hub import resolver

        clock = SimpleNamespace(time=time.time, sleep=lambda _: time.sleep(0.01))
        monkeypatch.setattr(resolver, "time", clock)
        monkeypatch.setattr(handles, "LOCK_SECONDS", 0)
        url = server.serve("/m/1", packed(FILES), seconds=0.3)
        with ThreadPoolExecutor() as pool:
            folders = list(pool.map(resolve, [url, url]))
        assert folders[0] == folders[1]
        assert len(server.asked) == 1

    def test_a_cache_that_holds_it_need_not_be_written_to(self, server, cache):
        url = server.serve("/m/1", packed(FILES))
        folder = resolve(url)
        before = sorted(cache.iterdir())
        assert resolve(url) == folder
        assert sorted(cache.iterdir()) == before

    @pytest.mark.parametrize("scheme", ["ftp", "file", "s3", "gs"])
    def test_an_address_of_another_kind_is_refused(self, scheme, cache):
        with pytest.raises(FileNotFoundError, match="addresses are https, http or gs"):
            resolve(f"{scheme}://host/model")
        assert not left_in(cache)

    def test_members_that_lead_elsewhere_are_refused(self, server, cache):
        url = server.serve("/m/1", packed({**FILES, "../outside": b"x"}))
        match = r"must have relative paths.*member='\.\./outside'.*source you trust"
        with pytest.raises(ValueError, match=match):
            resolve(url)
        assert not left_in(cache)

    def test_a_folder_around_the_files_of_an_archive_is_left_out(self, server, cache):
        url = server.serve("/m/1", packed({f"top/{k}": v for k, v in FILES.items()}))
        folder = resolve(url)
        assert folder.parent == cache
        assert (folder / "saved_model.pb").read_bytes() == GRAPH

    def test_a_bomb_is_refused_and_leaves_no_entry(self, server, cache, monkeypatch):
        monkeypatch.setattr(unpacking, "MAX_UNPACKED_BYTES", 10**6)
        url = server.serve("/m/1", packed({**FILES, "zeros": bytes(10**6)}))
        with pytest.raises(ValueError, match="must unpack to at most 1,000,000 bytes"):
            resolve(url)
        assert not left_in(cache)

    def test_an_interrupted_download_leaves_no_entry(self, server, cache, monkeypatch):
        def interrupt(*_, **__):
            raise KeyboardInterrupt

        monkeypatch.setattr(handles, "unpack", interrupt)
        with pytest.raises(KeyboardInterrupt):
            resolve(server.serve("/m/1", packed(FILES)))
        assert not left_in(cache)
        assert all(".tlcore." in lock.name for lock in cache.glob("*.lock"))

    def test_a_bucket_of_google_is_read_by_tensorflow(
        self, tmp_path, cache, monkeypatch
    ):
        import tensorflow as tf

        (tmp_path / "model.tar.gz").write_bytes(packed(FILES))

        def copy(source, target):
            assert source == "gs://bucket/model.tar.gz"
            shutil.copyfile(tmp_path / "model.tar.gz", target)

        monkeypatch.setattr(tf.io.gfile, "copy", copy)
        folder = resolve("gs://bucket/model.tar.gz")
        assert (folder / "saved_model.pb").read_bytes() == GRAPH

    def test_the_mirror_of_tf_hub_is_asked_where_it_keeps_archives(self):
        handles._tensorflow_hub()
        address = handles._archive_address("https://hub.tensorflow.google.cn/g/m/1")
        expected = "https://gcs.tensorflow.google.cn/tfhub-modules/g/m/1.tar.gz"
        assert address == expected


IMPORT = """
import sys

class Gone:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "pkg_resources":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Gone())
try:
    import tensorflow_hub
except ModuleNotFoundError as error:
    print(error)
from tlcore.hub import handles
print(handles._tensorflow_hub().__name__, "pkg_resources" in sys.modules)
"""


# TF Hub itself imports TensorFlow and tf_keras, which takes long.
@pytest.mark.parametrize("own", [False, pytest.param(True, marks=pytest.mark.matrix)])
def test_tf_hub_is_imported_without_what_newer_setuptools_lack(
    own, tmp_path, monkeypatch
):
    if not own:
        (tmp_path / "tensorflow_hub.py").write_text(
            "from pkg_resources import parse_version\n"
            "assert parse_version('2.9') < parse_version('2.18')\n"
        )
        paths = [str(tmp_path), os.environ.get("PYTHONPATH", "")]
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
    done = subprocess.run(
        [sys.executable, "-c", IMPORT], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == [
        "No module named 'pkg_resources'",
        "tensorflow_hub False",
    ]


def test_a_copy_of_a_cleaned_cache_is_named(server, cache):
    url = server.serve("/m/1", packed(FILES))
    folder = resolve(url)
    shutil.rmtree(folder / "variables")
    (folder / "saved_model.pb").unlink()
    with pytest.raises(ValueError, match="in TF Hub's cache, delete it there"):
        resolve(url)
