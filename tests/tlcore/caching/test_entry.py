"""An entry: bit for bit what was written, or refused."""

import json
import random
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlcore.caching import entry as entry_module
from tlcore.caching.entry import (
    BLOCK_ROWS,
    Builder,
    DamagedEntryError,
    Features,
    read_features,
)
from tlcore.splitting.tensors import Tensor

from .children import run
from .entries import (
    ABOUT,
    TENSORS,
    TWO,
    UNHURRIED,
    assert_holds,
    assert_same,
    block_of,
    build,
    key_of,
    names,
    random_rows,
)


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
            sent = json.loads(json.dumps(other.checksums))
            builder.checksums.update({int(block): sent[block] for block in sent})
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
        with pytest.raises(
            IndexError, match=r"must be from 0 to 2.*Received: rows=-?\d to"
        ):
            cache.find(key).take(np.array(wanted))

    def test_a_block_of_another_size_is_an_error(self, cache):
        rows = random_rows(TWO, 70)
        with (
            pytest.raises(
                ValueError, match="must hold 960 bytes.*Received: 180.*Pass 32"
            ),
            cache.locked(key_of(70)),
            cache.building(key_of(70), TWO, ABOUT) as builder,
        ):
            builder.write(0, block_of(rows, 2))
        assert names(cache.folder) == []

    def test_a_block_that_was_not_written_is_an_error(self, cache):
        rows = random_rows(TWO, 70)
        sentence = "All 3 blocks must be written.*Received: no block 1.*before `finish`"
        with pytest.raises(ValueError, match=sentence):
            build(cache, key_of(70), TWO, rows, blocks=(2, 0))
        assert names(cache.folder) == []


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


class TestFiles:
    @pytest.mark.parametrize(
        "other", [key_of(40, prefix="other"), key_of(40, images="other"), key_of(41)]
    )
    def test_a_file_under_the_name_of_another_is_refused(self, cache, other):
        path = build(cache, key_of(40), TWO, random_rows(TWO, 40))
        path.rename(cache.folder / f"{other.name}.features")
        with pytest.raises(
            DamagedEntryError, match="its key is not the one of its name"
        ):
            cache.find(other)

    def test_an_entry_of_a_newer_schema_is_refused(self, cache, monkeypatch):
        key = key_of(40)
        with monkeypatch.context() as patch:
            patch.setattr(entry_module, "SCHEMA", 2)
            build(cache, key, TWO, random_rows(TWO, 40))
        with pytest.raises(
            DamagedEntryError,
            match=r"must be 1\. Received: schema=2 in .*remove the file",
        ):
            cache.find(key)
        assert cache.related(key_of(41)) == []
        assert [entry.about for entry in cache.entries()] == [None]


class TestDamage:
    @pytest.mark.parametrize(
        "times", [100, pytest.param(2_000, marks=pytest.mark.matrix)]
    )
    @pytest.mark.parametrize(
        "damage", [flipped, cut_off, cut_off_in_front, longer, swapped, zeroed]
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
        tensors = Tensor("a", (), "uint8"), Tensor("b", (), "uint8")
        key = key_of(BLOCK_ROWS + 1)
        path = build(cache, key, tensors, random_rows(tensors, len(key.images)))
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
            (0, "block 0 is wrong"),
            (2_999, "block 3 is wrong"),
            (3_000, "block 0 is wrong"),
            (3_400, "the checksum of its list of images is wrong"),
            (-33, "the checksum of its document is wrong"),
            (-32, "the checksum of its document is wrong"),
            (-9, "it does not end with the tail of an entry"),
            (-1, "it does not end with the tail of an entry"),
        ],
    )
    def test_says_where_it_is(self, cache, at, sentence):
        key = key_of(100)
        path = build(cache, key, TWO, random_rows(TWO, 100))
        data = bytearray(path.read_bytes())
        data[at] ^= 255
        path.write_bytes(data)
        received = (
            f"Received: {re.escape(str(path))}, but .*{sentence}.*Remove the file"
        )
        with pytest.raises(DamagedEntryError, match=received):
            cache.find(key)

    @pytest.mark.parametrize("length", [0, 1, 31])
    def test_a_file_without_a_tail_is_cut_off(self, cache, length):
        key = key_of(1)
        path = build(cache, key, TWO, random_rows(TWO, 1))
        path.write_bytes(path.read_bytes()[:length])
        with pytest.raises(DamagedEntryError, match="it is shorter than its tail"):
            cache.find(key)

    def test_rows_cut_out_of_the_middle_are_missed(self, cache):
        key = key_of(100)
        path = build(cache, key, TWO, random_rows(TWO, 100))
        path.write_bytes(path.read_bytes()[960:])
        with pytest.raises(DamagedEntryError, match="it has not the length"):
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


MEMORY = """
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
