"""The feature cache: bit for bit, whole or absent, whatever happens to its files."""

import errno
import hashlib
import itertools
import json
import os
import pickle
import random
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import ml_dtypes  # noqa: F401 - has NumPy know bfloat16
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tlcore.caching import entry as entry_module
from tlcore.caching import store
from tlcore.caching.entry import (
    BLOCK_ROWS,
    Builder,
    DamagedEntryError,
    Features,
    Key,
    read_features,
)
from tlcore.caching.store import (
    FOLDER_VARIABLE,
    LIMIT_BYTES,
    LIMIT_VARIABLE,
    FeatureCache,
    default_cache,
)
from tlcore.files import readable
from tlcore.splitting.tensors import Tensor

TENSORS = {
    "float32": Tensor("conv", (3, 5, 2), "float32"),
    "float16": Tensor("half", (7,), "float16"),
    "bfloat16": Tensor("brain", (2, 3), "bfloat16"),
    "uint8": Tensor("picture", (4, 3, 1), "uint8"),
    "scalar": Tensor("pooled", (), "float32"),
    "unknown size": Tensor("wide", (None, 3), "float32"),
}
TWO = (Tensor("conv", (3, 5), "float16"), Tensor("pooled", (), "float32"))
ABOUT = {"cut": "block_1", "images": 70}

UNHURRIED = settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def sha256(text):
    return hashlib.sha256(text.encode()).hexdigest()


def key_of(count, *, prefix="prefix", images="image"):
    digests = sorted(sha256(f"{images} {number}") for number in range(count))
    return Key(sha256(prefix), tuple(digests))


def random_rows(tensors, count, seed=0):
    """Return rows of any bits, those that are not a number included."""
    random_bytes = np.random.default_rng(seed).bytes
    return [
        np.frombuffer(random_bytes(count * t.nbytes), t.dtype).reshape(
            count, *(n or 1 for n in t.shape)
        )
        for t in tensors
    ]


def block_of(rows, block):
    return [array[block * BLOCK_ROWS : (block + 1) * BLOCK_ROWS] for array in rows]


def build(cache, key, tensors, rows, about=ABOUT, blocks=None):
    """Build an entry; return its file."""
    with cache.locked(key), cache.building(key, tensors, about) as builder:
        for block in range(builder.layout.blocks) if blocks is None else blocks:
            builder.write(block, block_of(rows, block))
    return cache.folder / f"{key.name}.features"


def interrupted(blocks):
    yield from blocks
    raise KeyboardInterrupt


def names(folder):
    return sorted(path.name for path in folder.glob("*") if path.name != ".locks")


def assert_same(taken, expected):
    for one, other in zip(taken, expected, strict=True):
        assert (one.shape, one.dtype) == (other.shape, other.dtype)
        assert one.tobytes() == other.tobytes()


def assert_holds(features, rows):
    assert_same(features.take(np.arange(len(features))), rows)


@pytest.fixture
def cache(tmp_path):
    return FeatureCache(tmp_path / "features")


class TestRows:
    @pytest.mark.parametrize("count", [1, 31, 32, 33, 100])
    def test_come_back_bit_for_bit(self, cache, count):
        key, tensors = key_of(count), tuple(TENSORS.values())
        rows = random_rows(tensors, count)
        build(cache, key, tensors, rows)
        features = cache.find(key)
        assert (len(features), features.images) == (count, key.images)
        assert features.tensors == tensors
        assert_holds(features, rows)

    @UNHURRIED
    @given(
        tensors=st.lists(st.sampled_from(list(TENSORS.values())), min_size=1),
        count=st.integers(1, 100),
        seed=st.integers(0, 2**32),
        data=st.data(),
    )
    def test_come_back_in_any_order_and_again(self, cache, tensors, count, seed, data):
        key, rows = key_of(count), random_rows(tensors, count, seed)
        build(cache, key, tensors, rows)
        wanted = data.draw(st.lists(st.integers(0, count - 1), max_size=150))
        wanted = np.array(wanted, np.int64)
        expected = [array[wanted] for array in rows]
        assert_same(cache.find(key).take(wanted), expected)

    @UNHURRIED
    @given(data=st.data(), count=st.integers(1, 200))
    def test_are_written_in_any_order_and_by_any_process(self, cache, data, count):
        key, rows = key_of(count), random_rows(TWO, count)
        with cache.locked(key), cache.building(key, TWO, ABOUT) as builder:
            blocks = data.draw(st.permutations(range(builder.layout.blocks)))
            mine = data.draw(st.integers(0, len(blocks)))
            other = Builder(builder.path, TWO, count, create=False)
            for block in blocks[mine:]:
                other.write(block, block_of(rows, block))
            other.close()
            for block in blocks[:mine]:
                builder.write(block, block_of(rows, block))
            told = json.loads(json.dumps(other.checksums))
            builder.checksums.update({int(block): told[block] for block in told})
        assert_holds(cache.find(key), rows)

    def test_are_copies(self, cache):
        key, rows = key_of(3), random_rows(TWO, 3)
        build(cache, key, TWO, rows)
        features = cache.find(key)
        for array in features.take(np.arange(3)):
            array[...] = 0
        assert_holds(features, rows)

    @pytest.mark.parametrize("wanted", [[-1], [0, 3], [2, -3, 1]])
    def test_that_do_not_exist_are_an_error(self, cache, wanted):
        key = key_of(3)
        build(cache, key, TWO, random_rows(TWO, 3))
        with pytest.raises(IndexError, match="Rows must be 0 to 2. Received: "):
            cache.find(key).take(np.array(wanted))

    def test_a_block_of_another_size_is_an_error(self, cache):
        rows = random_rows(TWO, 70)
        with (
            pytest.raises(ValueError, match="must hold 960 bytes. Received: 180."),
            cache.locked(key_of(70)),
            cache.building(key_of(70), TWO, ABOUT) as builder,
        ):
            builder.write(0, block_of(rows, 2))
        assert names(cache.folder) == []

    def test_a_block_that_was_not_written_is_an_error(self, cache):
        rows = random_rows(TWO, 70)
        sentence = "All 3 blocks must be written. Received: none of number 1."
        with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
            build(cache, key_of(70), TWO, rows, blocks=(2, 0))
        assert names(cache.folder) == []


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

    @pytest.mark.parametrize(
        "other", [key_of(40, prefix="other"), key_of(40, images="other"), key_of(41)]
    )
    def test_a_file_under_the_name_of_another_is_refused(self, cache, other):
        path = build(cache, key_of(40), TWO, random_rows(TWO, 40))
        path.rename(cache.folder / f"{other.name}.features")
        with pytest.raises(DamagedEntryError, match="it belongs to another name"):
            cache.find(other)

    def test_a_file_under_the_name_of_another_prefix_is_not_related(self, cache):
        path = build(cache, key_of(40), TWO, random_rows(TWO, 40))
        other = key_of(40, prefix="other")
        path.rename(cache.folder / f"{other.name}.features")
        assert cache.related(key_of(50, prefix="other")) == []

    def test_an_entry_of_a_newer_schema_is_refused(self, cache, monkeypatch):
        key = key_of(40)
        with monkeypatch.context() as patch:
            patch.setattr(entry_module, "SCHEMA", 2)
            build(cache, key, TWO, random_rows(TWO, 40))
        with pytest.raises(
            DamagedEntryError, match="schema must be 1. Received: schema=2"
        ):
            cache.find(key)
        assert cache.related(key_of(41)) == []
        assert [entry.about for entry in cache.entries()] == [None]

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


def flipped(data, chance):
    at = chance.randrange(len(data))
    return data[:at] + bytes([data[at] ^ chance.randrange(1, 256)]) + data[at + 1 :]


def cut_off(data, chance):
    return data[: chance.randrange(len(data))]


def cut_off_in_front(data, chance):
    return data[chance.randrange(1, len(data) + 1) :]


def longer(data, chance):
    more = chance.choice([bytes, chance.randbytes, lambda n: data[-n:]])
    return data + more(chance.randrange(1, 100))


def swapped(data, chance):
    """Swap two pieces of the same length, often whole blocks of the first tensor."""
    size = chance.choice([960, 30, 128, 32, 4, 1])
    last = len(data) // size - 1
    one, other = sorted(chance.sample(range(last + 1), 2))
    one, other = one * size, other * size
    return b"".join(
        [
            data[:one],
            data[other : other + size],
            data[one + size : other],
            data[one : one + size],
            data[other + size :],
        ]
    )


def zeroed(data, chance):
    first, last = sorted(chance.sample(range(len(data) + 1), 2))
    return data[:first] + bytes(last - first) + data[last:]


class TestDamage:
    @pytest.mark.parametrize(
        ("damage", "times"),
        [
            (flipped, 6_000),
            (cut_off, 1_000),
            (cut_off_in_front, 500),
            (longer, 500),
            (swapped, 1_000),
            (zeroed, 1_000),
        ],
    )
    def test_every_one_is_detected(self, cache, damage, times):
        key, rows, chance = key_of(100), random_rows(TWO, 100), random.Random(42)
        path = build(cache, key, TWO, rows)
        whole = path.read_bytes()
        done = 0
        while done < times:
            damaged = damage(whole, chance)
            if damaged == whole:
                continue
            path.write_bytes(damaged)
            with pytest.raises(DamagedEntryError, match=path.name):
                cache.find(key) if done % 2 else read_features(path)
            done += 1
        path.write_bytes(whole)
        assert_holds(cache.find(key), rows)

    def test_every_byte_of_a_file_is_looked_at(self, cache):
        key = key_of(33)
        path = build(cache, key, TWO, random_rows(TWO, 33))
        whole = bytearray(path.read_bytes())
        for at in range(len(whole)):
            whole[at] ^= 1
            path.write_bytes(whole)
            with pytest.raises(DamagedEntryError):
                cache.find(key)
            whole[at] ^= 1

    @pytest.mark.parametrize(
        ("at", "sentence"),
        [
            (0, "block 0 is not what was written"),
            (2_999, "block 3 is not what was written"),
            (3_000, "block 0 is not what was written"),
            (3_400, "its list of images is not what was written"),
            (-33, "its description is not what was written"),
            (-32, "its description is not what was written"),
            (-9, "it does not end as an entry does"),
            (-1, "it does not end as an entry does"),
        ],
    )
    def test_says_where_it_is(self, cache, at, sentence):
        key = key_of(100)
        path = build(cache, key, TWO, random_rows(TWO, 100))
        data = bytearray(path.read_bytes())
        data[at] ^= 255
        path.write_bytes(data)
        with pytest.raises(DamagedEntryError, match=re.escape(f"{path}: {sentence}")):
            cache.find(key)

    @pytest.mark.parametrize("length", [0, 1, 31])
    def test_a_file_without_a_tail_is_cut_off(self, cache, length):
        key = key_of(1)
        path = build(cache, key, TWO, random_rows(TWO, 1))
        path.write_bytes(path.read_bytes()[:length])
        with pytest.raises(DamagedEntryError, match="it is cut off"):
            cache.find(key)

    def test_rows_cut_out_of_the_middle_are_missed(self, cache):
        key = key_of(100)
        path = build(cache, key, TWO, random_rows(TWO, 100))
        path.write_bytes(path.read_bytes()[960:])
        with pytest.raises(DamagedEntryError, match="it is not as long as it says"):
            cache.find(key)

    def test_what_is_read_is_what_was_checked(self, cache, tmp_path, monkeypatch):
        key, rows = key_of(100), random_rows(TWO, 100)
        path = build(cache, key, TWO, rows)
        aside = tmp_path / "another"
        aside.write_bytes(bytes(path.stat().st_size))

        class Late(Features):
            def __init__(self, *args):
                aside.replace(path)
                super().__init__(*args)

        monkeypatch.setattr(entry_module, "Features", Late)
        assert_holds(cache.find(key), rows)


CHILD = """
import itertools, os, pickle, random, resource, signal, sys, time
from pathlib import Path
from tlcore.caching import entry, store
from tlcore.caching.entry import BLOCK_ROWS, Key
from tlcore.caching.store import FeatureCache
from tlcore.splitting.tensors import Tensor

folder = Path(sys.argv[1])
cache = FeatureCache(folder / "features")
if (folder / "job.pickle").exists():
    key, tensors, rows = pickle.loads((folder / "job.pickle").read_bytes())

def build(pause=lambda: None):
    with cache.building(key, tensors, {}) as builder:
        for block in range(builder.layout.blocks):
            part = slice(block * BLOCK_ROWS, (block + 1) * BLOCK_ROWS)
            builder.write(block, [array[part] for array in rows])
            pause()
"""

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


def start(code, folder):
    return subprocess.Popen(
        [sys.executable, "-c", CHILD + code, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(store.__file__).parents[2],
    )


def run(code, folder):
    """Run a child to its end; return what it printed."""
    with start(code, folder) as process:
        printed, _ = process.communicate()
    assert process.returncode == 0
    return printed


def describe_job(folder, count):
    key, rows = key_of(count), random_rows(TWO, count)
    (folder / "job.pickle").write_bytes(pickle.dumps((key, TWO, rows)))
    return key, rows


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
        with pytest.raises(ValueError, match=LIMIT_VARIABLE) as error:
            build(cache, self.KEYS[3], TWO, random_rows(TWO, 40))
        assert str(error.value) == (
            f"A cache must be at most {readable(size - 1)}. Received: an entry of "
            f"{readable(size)}. Set TLCORE_CACHE_LIMIT to more."
        )
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
        """Build three entries, one damaged, beside what is not the cache's."""
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
        message = (
            "TLCORE_CACHE_LIMIT must be a size in bytes, or with a unit as in 20GB. "
            f"Received: TLCORE_CACHE_LIMIT={text!r}."
        )
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            default_cache()


@pytest.mark.parametrize(
    ("nbytes", "text"),
    [
        (0, "0 B"),
        (1, "1 B"),
        (999, "999 B"),
        (1_000, "1000 B"),
        (1_024, "1 KiB"),
        (37 * 1_024, "37 KiB"),
        (1_023 * 1_024, "1023 KiB"),
        (1.5 * 2**20, "1.5 MiB"),
        (LIMIT_BYTES, "18.6 GiB"),
        (2**40, "1 TiB"),
    ],
)
def test_a_size_is_readable(nbytes, text):
    assert readable(nbytes) == text


MEMORY = """
import numpy as np

def resident():
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(l for l in lines if l.startswith("VmRSS:")).split()[1])

tensors, count = (Tensor("conv", (256,), "float32"),), 100_000
key = Key("0" * 64, tuple(f"{number:064x}" for number in range(count)))
with cache.locked(key), cache.building(key, tensors, {}) as builder:
    for block in range(builder.layout.blocks):
        first = block * BLOCK_ROWS
        numbers = np.arange(first, min(first + BLOCK_ROWS, count), dtype="float32")
        builder.write(block, [np.repeat(numbers[:, None], 256, axis=1)])
features = cache.find(key)
before, most = resident(), 0
order = np.random.default_rng(42).permutation(count)
for number, rows in enumerate(np.array_split(order, count // 32)):
    (taken,) = features.take(rows)
    assert (taken == rows[:, None]).all()
    if number % 20 == 0:
        most = max(most, resident())
print(most - before)
"""


@pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="it says how much is resident"
)
def test_a_large_entry_is_read_in_little_memory(cache, tmp_path):
    grown = int(run(MEMORY, tmp_path))
    cache.clear()
    assert grown < 60_000_000
