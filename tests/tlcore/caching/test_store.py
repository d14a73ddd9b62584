"""The store: an entry whole or absent, whatever happens to its process."""

import errno
import itertools
import os
import random
import re
import signal
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlcore.caching.entry import DamagedEntryError
from tlcore.caching.store import (
    FOLDER_VARIABLE,
    LIMIT_BYTES,
    LIMIT_VARIABLE,
    FeatureCache,
    TooLargeError,
    default_cache,
)
from tlcore.files import readable

from .children import describe_job, run, start
from .entries import (
    ABOUT,
    TWO,
    UNHURRIED,
    assert_holds,
    block_of,
    build,
    interrupted,
    key_of,
    names,
    random_rows,
)


def test_what_is_not_there_is_not_found(cache):
    assert cache.find(key_of(3)) is None
    assert cache.related(key_of(3)) == cache.entries() == []
    assert cache.clear() == 0
    cache.remove(key_of(3))
    assert not cache.folder.exists()


class TestKeys:
    def test_another_prefix_or_other_images_are_another_entry(self, cache):
        keys = [
            key_of(40),
            key_of(40, prefix="other"),
            key_of(40, images="other"),
            key_of(41),
        ]
        for seed, key in enumerate(keys):
            build(cache, key, TWO, random_rows(TWO, len(key.images), seed))
        assert len(names(cache.folder)) == len(keys)
        for seed, key in enumerate(keys):
            rows = random_rows(TWO, len(key.images), seed)
            assert_holds(cache.find(key), rows)

    def test_a_file_under_the_name_of_another_prefix_is_not_related(self, cache):
        path = build(cache, key_of(40), TWO, random_rows(TWO, 40))
        other = key_of(40, prefix="other")
        path.rename(cache.folder / f"{other.name}.features")
        assert cache.related(key_of(50, prefix="other")) == []

    def test_a_refused_entry_can_be_built_again(self, cache):
        key, rows = key_of(40), random_rows(TWO, 40)
        path = build(cache, key, TWO, rows)
        path.write_bytes(path.read_bytes()[:-1])
        with pytest.raises(DamagedEntryError):
            cache.find(key)
        build(cache, key, TWO, rows)
        assert_holds(cache.find(key), rows)

    def test_an_entry_can_be_removed(self, cache):
        for key in (key_of(40), key_of(41)):
            build(cache, key, TWO, random_rows(TWO, len(key.images)))
        cache.remove(key_of(40))
        assert cache.find(key_of(40)) is None
        assert cache.find(key_of(41)) is not None


# It forks for every line it reads: nothing is as cheap to kill.
FORKS = """
def build_forever(seed):
    chance = random.Random(seed)
    while True:
        with cache.locked(key):
            cache.remove(key)
            build(lambda: time.sleep(chance.uniform(0, 0.004)))

def build_until(number):
    numbers = itertools.count()
    def trace(frame, event, argument):
        if frame.f_code.co_filename not in (entry.__file__, store.__file__):
            return None
        if event == "line" and next(numbers) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return trace
    sys.settrace(trace)
    with cache.locked(key):
        build()
    os._exit(0)

for line in sys.stdin:
    how, number = line.split()
    child = os.fork()
    if not child:
        {"time": build_forever, "line": build_until}[how](int(number))
    print(child, flush=True)
    print(os.waitpid(child, 0)[1], flush=True)
"""


class TestInterruption:
    @contextmanager
    def forks(self, folder):
        with start(FORKS, folder) as process:

            def fork(how, number, delay=None):
                process.stdin.write(f"{how} {number}\n")
                process.stdin.flush()
                child = int(process.stdout.readline())
                if delay is not None:
                    time.sleep(delay)
                    os.kill(child, signal.SIGKILL)
                return int(process.stdout.readline())

            yield fork
            process.stdin.close()

    def assert_unharmed(self, cache, key, rows):
        features = cache.find(key)
        if features is not None:
            assert_holds(features, rows)
        build(cache, key, TWO, rows)
        assert_holds(cache.find(key), rows)
        assert names(cache.folder) == [f"{key.name}.features"]

    def test_a_kill_at_any_moment_leaves_a_whole_entry_or_none(self, cache, tmp_path):
        key, rows = describe_job(tmp_path, 100)
        chance = random.Random(42)
        with self.forks(tmp_path) as fork:
            for number in range(25):
                assert fork("time", number, chance.uniform(0, 0.04)) == signal.SIGKILL
                self.assert_unharmed(cache, key, rows)

    def test_a_kill_at_any_line_leaves_a_whole_entry_or_none(self, cache, tmp_path):
        key, rows = describe_job(tmp_path, 40)
        kinds = {"": "none", ".": "unfinished", key.name[0]: "whole"}
        left = []
        with self.forks(tmp_path) as fork:
            for number in itertools.count():
                status = fork("line", number)
                if status != signal.SIGKILL:
                    break
                left.append(kinds["".join(name[0] for name in names(cache.folder))])
                self.assert_unharmed(cache, key, rows)
                cache.remove(key)
        assert status == 0
        assert [kind for kind, _ in itertools.groupby(left)] == [*kinds.values()]

    def test_an_exception_leaves_the_old_entry_and_nothing_else(self, cache):
        key, rows = key_of(70), random_rows(TWO, 70)
        build(cache, key, TWO, rows)
        with pytest.raises(KeyboardInterrupt):
            build(
                cache, key, TWO, random_rows(TWO, 70, seed=1), blocks=interrupted([0])
            )
        assert names(cache.folder) == [f"{key.name}.features"]
        assert_holds(cache.find(key), rows)

    def test_what_a_killed_process_left_of_any_entry_goes_with_the_next(self, cache):
        key, rows = key_of(40), random_rows(TWO, 40)
        cache.folder.mkdir()
        for other in (key, key_of(41), key_of(42)):
            (cache.folder / f".{other.name}-0123abcd").write_bytes(bytes(1_000))
        build(cache, key, TWO, rows)
        assert names(cache.folder) == [f"{key.name}.features"]

    def test_what_another_process_is_building_stays(self, cache):
        key, other = key_of(40), key_of(41)
        rows = random_rows(TWO, 41)
        with cache.locked(other), cache.building(other, TWO, ABOUT) as builder:
            build(cache, key, TWO, random_rows(TWO, 40))
            for block in range(builder.layout.blocks):
                builder.write(block, block_of(rows, block))
        assert_holds(cache.find(other), rows)
        assert cache.find(key) is not None


RACE = """
print("ready", flush=True)
sys.stdin.readline()
with cache.locked(key):
    if cache.find(key) is None:
        with (folder / "built").open("a") as file:
            file.write("once ")
        build(lambda: time.sleep(0.05))
    taken = cache.find(key).take(np.arange(len(key.images)))
(folder / str(os.getpid())).write_bytes(b"".join(array.tobytes() for array in taken))
"""


def test_two_processes_that_ask_at_once_build_once(cache, tmp_path):
    key, rows = describe_job(tmp_path, 100)
    with start(RACE, tmp_path) as one, start(RACE, tmp_path) as other:
        for process in (one, other):
            assert process.stdout.readline() == "ready\n"
        for process in (one, other):
            process.stdin.write("go\n")
            process.stdin.flush()
    assert (one.returncode, other.returncode) == (0, 0)
    assert (tmp_path / "built").read_text() == "once "
    expected = b"".join(array.tobytes() for array in rows)
    for process in (one, other):
        assert (tmp_path / str(process.pid)).read_bytes() == expected
    assert_holds(cache.find(key), rows)


FULL = """
for size in (1_000, 3_400, 10_000):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    try:
        with cache.locked(key):
            build()
    except OSError as error:
        print(error.errno)
    else:
        print("built")
"""


class TestRoom:
    @pytest.fixture
    def other(self, cache):
        """Return what an entry that is there already looks like."""
        path = build(cache, key_of(40), TWO, random_rows(TWO, 40))
        before = path.stat().st_mtime_ns, path.read_bytes()

        def assert_untouched():
            assert names(cache.folder) == [path.name]
            assert (path.stat().st_mtime_ns, path.read_bytes()) == before

        return assert_untouched

    def test_no_room_for_the_rows_or_for_what_describes_them(
        self, cache, tmp_path, other
    ):
        key, rows = describe_job(tmp_path, 100)
        assert run(FULL, tmp_path).split() == [str(errno.EFBIG)] * 2 + ["built"]
        assert_holds(cache.find(key), rows)
        cache.remove(key)
        other()

    @pytest.mark.parametrize("function", ["posix_fallocate", "pwrite", "ftruncate"])
    def test_a_full_disk_leaves_nothing_behind(
        self, cache, monkeypatch, other, function
    ):
        files = []

        def refuse(file, *args):
            files.append(file)
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(os, function, refuse, raising=False)
            with pytest.raises(OSError, match="No space left on device"):
                build(cache, key_of(100), TWO, random_rows(TWO, 100))
        other()
        assert len(files) == 1
        # An open file takes room, even one that was removed.
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(files[0])

    def test_room_is_asked_for_before_the_work(self, cache, monkeypatch):
        asked = []
        monkeypatch.setattr(
            os, "posix_fallocate", lambda *args: asked.append(args[1:]), raising=False
        )
        with pytest.raises(KeyboardInterrupt):
            build(cache, key_of(100), TWO, [], blocks=interrupted([]))
        assert asked == [(0, 3_400)]

    def test_it_does_without_asking_for_room_where_that_is_unknown(
        self, cache, monkeypatch
    ):
        monkeypatch.delattr(os, "posix_fallocate", raising=False)
        key, rows = key_of(100), random_rows(TWO, 100)
        build(cache, key, TWO, rows)
        assert_holds(cache.find(key), rows)

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
    def test_a_folder_that_cannot_be_written_to_can_be_read(self, cache, other):
        cache.folder.chmod(0o500)
        try:
            with pytest.raises(PermissionError):
                build(cache, key_of(100), TWO, random_rows(TWO, 100))
            other()
            assert_holds(cache.find(key_of(40)), random_rows(TWO, 40))
        finally:
            cache.folder.chmod(0o700)

    def test_a_folder_that_is_a_file_is_an_error(self, tmp_path):
        file = tmp_path / "file"
        file.write_text("mine")
        for folder in (file, file / "features"):
            cache = FeatureCache(folder)
            with pytest.raises(OSError, match=re.escape(str(file))):
                build(cache, key_of(3), TWO, random_rows(TWO, 3))
            with pytest.raises(OSError, match=re.escape(str(file))):
                cache.find(key_of(3))
            assert (cache.entries(), cache.clear()) == ([], 0)
        assert file.read_text() == "mine"


class TestLimit:
    KEYS = tuple(key_of(40, prefix=f"prefix {number}") for number in range(4))

    @pytest.fixture
    def size(self, cache):
        """Build three entries, the first used last; return the size of one."""
        for seconds, key in zip((300, 100, 200), self.KEYS, strict=False):
            path = build(cache, key, TWO, random_rows(TWO, 40))
            os.utime(path, (seconds, seconds))
        return path.stat().st_size

    def there(self, cache):
        return [
            number
            for number, key in enumerate(self.KEYS)
            if f"{key.name}.features" in names(cache.folder)
        ]

    @pytest.mark.parametrize(
        ("limit", "there"),
        [(4, [0, 1, 2, 3]), (3, [0, 2, 3]), (2.5, [0, 3]), (1, [3])],
    )
    def test_the_least_recently_used_goes_first(self, cache, size, limit, there):
        cache.limit_bytes = int(limit * size)
        build(cache, self.KEYS[3], TWO, random_rows(TWO, 40))
        assert self.there(cache) == there

    def test_what_is_found_is_used(self, cache, size):
        assert cache.find(self.KEYS[1]) is not None
        assert [e.path.stem for e in cache.entries()] == [
            self.KEYS[number].name for number in (2, 0, 1)
        ]
        cache.limit_bytes = 2 * size
        build(cache, self.KEYS[3], TWO, random_rows(TWO, 40))
        assert self.there(cache) == [1, 3]

    def test_an_entry_larger_than_the_limit_is_an_error(self, cache, size):
        cache.limit_bytes = size - 1
        sentence = (
            f"must be at most {readable(size - 1)}.*Received: an entry of "
            f"{readable(size)}.*Set {LIMIT_VARIABLE}"
        )
        with pytest.raises(TooLargeError, match=sentence):
            build(cache, self.KEYS[3], TWO, random_rows(TWO, 40))
        assert self.there(cache) == [0, 1, 2]
        assert len(names(cache.folder)) == 3

    def test_what_is_being_read_stays_readable(self, cache, size):
        cache.limit_bytes = size
        features = cache.find(self.KEYS[0])
        build(cache, self.KEYS[3], TWO, random_rows(TWO, 40, seed=1))
        assert cache.find(self.KEYS[0]) is None
        assert_holds(features, random_rows(TWO, 40))

    @UNHURRIED
    @given(counts=st.lists(st.integers(1, 100), min_size=1, max_size=8))
    def test_is_kept_whatever_is_built(self, tmp_path, counts):
        cache = FeatureCache(tmp_path / "features", limit_bytes=12_000)
        for count in counts:
            build(cache, key_of(count), TWO, random_rows(TWO, count))
            assert cache.find(key_of(count)) is not None
            assert sum(entry.nbytes for entry in cache.entries()) <= 12_000


class TestFolder:
    OTHERS = (".notes-2024", "photos.features", "notes.txt", "a-b.features")

    @pytest.fixture
    def keys(self, cache):
        """Build three entries, one damaged, next to files that are not the cache's."""
        keys = key_of(40), key_of(41), key_of(42)
        for seconds, key in zip((300, 100, 200), keys, strict=True):
            about = {**ABOUT, "images": len(key.images)}
            rows = random_rows(TWO, len(key.images))
            path = build(cache, key, TWO, rows, about)
            os.utime(path, (seconds, seconds))
        path.write_bytes(path.read_bytes()[:-1])
        os.utime(path, (seconds, seconds))
        for name in self.OTHERS:
            (cache.folder / name).write_text("mine")
        return keys

    def test_entries_are_listed_the_least_recently_used_first(self, cache, keys):
        entries = cache.entries()
        assert [entry.path.stem for entry in entries] == [
            keys[number].name for number in (1, 2, 0)
        ]
        assert [entry.used for entry in entries] == [100, 200, 300]
        assert [entry.about for entry in entries] == [
            {**ABOUT, "images": 41},
            None,
            {**ABOUT, "images": 40},
        ]
        for entry in entries:
            assert entry.nbytes == entry.path.stat().st_size

    def test_clear_removes_all_that_is_the_cache_s_and_no_more(self, cache, keys):
        (cache.folder / f".{keys[0].name}-0123abcd").write_bytes(bytes(1_000))
        nbytes = sum(entry.nbytes for entry in cache.entries())
        assert cache.clear() == nbytes + 1_000
        assert names(cache.folder) == sorted(self.OTHERS)
        assert cache.entries() == []

    def test_what_is_not_the_cache_s_is_never_thrown_away(self, cache, keys):
        cache.limit_bytes = 10_000
        build(cache, key_of(100), TWO, random_rows(TWO, 100))
        assert {*self.OTHERS} < {*names(cache.folder)}

    def test_related_are_the_other_whole_entries_of_the_prefix(self, cache, keys):
        build(cache, key_of(90), TWO, random_rows(TWO, 90))
        build(cache, key_of(95, prefix="other"), TWO, random_rows(TWO, 95))
        related = cache.related(key_of(41))
        assert [features.images for features in related] == [
            key_of(90).images,
            key_of(40).images,
        ]
        for features in related:
            assert_holds(features, random_rows(TWO, len(features)))


class TestDefaultCache:
    @pytest.fixture(autouse=True)
    def home(self, monkeypatch):
        for name in (FOLDER_VARIABLE, LIMIT_VARIABLE, "XDG_CACHE_HOME"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("HOME", "/home/ada")

    @pytest.mark.parametrize(
        ("variables", "folder", "expected"),
        [
            ({}, None, "/home/ada/.cache/tlcore/features"),
            ({"XDG_CACHE_HOME": "/x"}, None, "/x/tlcore/features"),
            ({"XDG_CACHE_HOME": ""}, None, "/home/ada/.cache/tlcore/features"),
            ({"XDG_CACHE_HOME": "/x", FOLDER_VARIABLE: "/mine"}, None, "/mine"),
            ({FOLDER_VARIABLE: "~/mine"}, None, "/home/ada/mine"),
            ({FOLDER_VARIABLE: ""}, None, "/home/ada/.cache/tlcore/features"),
            ({FOLDER_VARIABLE: "/mine"}, "/given", "/given"),
            ({}, "~/given", "/home/ada/given"),
            ({}, Path("given"), "given"),
        ],
    )
    def test_is_where_the_user_says(self, monkeypatch, variables, folder, expected):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        cache = default_cache(folder)
        assert cache.folder == Path(expected)
        assert cache.limit_bytes == LIMIT_BYTES

    @pytest.mark.parametrize(
        ("text", "nbytes"),
        [
            ("1000", 1_000),
            ("1000B", 1_000),
            ("20GB", 20_000_000_000),
            ("20gb", 20_000_000_000),
            (" 20 GB ", 20_000_000_000),
            ("1.5 G", 1_500_000_000),
            ("500K", 500_000),
            ("7MB", 7_000_000),
            ("2T", 2_000_000_000_000),
        ],
    )
    def test_is_as_large_as_the_user_says(self, monkeypatch, text, nbytes):
        monkeypatch.setenv(LIMIT_VARIABLE, text)
        assert default_cache().limit_bytes == nbytes

    @pytest.mark.parametrize(
        "text",
        ["", "GB", "much", "20XB", "20GiB", "5BB", "0", "0.5", "-1", "nan", "inf GB"],
    )
    def test_a_limit_that_is_no_size_is_an_error(self, monkeypatch, text):
        monkeypatch.setenv(LIMIT_VARIABLE, text)
        received = re.escape(f"Received: {LIMIT_VARIABLE}={text!r}")
        with pytest.raises(ValueError, match=f"must be a number.*{received}.*20GB"):
            default_cache()


def test_an_entry_is_flushed_once_before_its_name_and_its_folder_after(
    cache, monkeypatch
):
    done = []
    fsync, rename = os.fsync, os.replace

    def flushed(file):
        done.append(os.path.realpath(f"/proc/self/fd/{file}"))
        fsync(file)

    def renamed(one, other):
        done.append("renamed")
        rename(one, other)

    monkeypatch.setattr(os, "fsync", flushed)
    monkeypatch.setattr(os, "replace", renamed)
    build(cache, key_of(100), TWO, random_rows(TWO, 100))
    entry, renaming, folder = done
    assert Path(entry).name.startswith(f".{key_of(100).name}-")
    assert (renaming, folder) == ("renamed", str(cache.folder.resolve()))
