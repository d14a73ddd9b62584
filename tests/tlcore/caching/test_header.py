"""Header: a document of other values is refused although its checksum is right."""

import json
import re

import pytest
import xxhash

from tlcore.caching import entry
from tlcore.caching.entry import DamagedEntryError, read_features
from tlcore.caching.header import Header
from tlcore.caching.store import FeatureCache

from .entries import TWO, build, key_of, random_rows

WHOLE = {
    "schema": 1,
    "prefix": "ab" * 32,
    "rows": 1,
    "tensors": [{"name": "pool", "shape": [2, None], "dtype": "bfloat16"}],
    "images": "cd" * 16,
    "checksums": [["ef" * 16]],
    "about": {},
}
TENSOR = WHOLE["tensors"][0]


def test_a_document_becomes_a_header():
    header = Header.from_document(WHOLE)
    assert header.tensors[0].shape == (2, None)
    assert header.checksums == (("ef" * 16,),)


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"rows": -1}, "rows must be a whole number"),
        ({"rows": True}, "rows must be a whole number"),
        ({"prefix": "AB" * 32}, "prefix must be 64 hexadecimal digits"),
        ({"tensors": {}}, "tensors must be a list"),
        ({"tensors": [{"name": "a"}]}, "tensors[0] must be an object with 'shape'"),
        ({"tensors": [{**TENSOR, "shape": [-1]}]}, "tensors[0].shape[0] must be a"),
        ({"tensors": [{**TENSOR, "dtype": "object"}]}, "tensors[0].dtype must be a"),
        ({"tensors": [{**TENSOR, "dtype": "f4,f4"}]}, "tensors[0].dtype must be a"),
        ({"tensors": [{**TENSOR, "dtype": "str"}]}, "tensors[0].dtype must be a type"),
        ({"tensors": [{**TENSOR, "dtype": 3}]}, "tensors[0].dtype must be text"),
        ({"checksums": [[None]]}, "checksums[0][0] must be text"),
        ({"about": []}, "about must be an object"),
    ],
)
def test_another_value_is_refused_by_its_field(more, field):
    with pytest.raises(ValueError, match=f"^{re.escape(field)}.* Received: "):
        Header.from_document({**WHOLE, **more})


def rewritten(path, change):
    """Change the document of an entry, and the tail so that it fits."""
    data = path.read_bytes()
    size = entry._TAIL.size
    _, length, magic = entry._TAIL.unpack(data[-size:])
    start = len(data) - size - length
    document = change(json.loads(data[start:-size]))
    text = document if isinstance(document, bytes) else json.dumps(document).encode()
    tail = entry._TAIL.pack(xxhash.xxh3_128_digest(text), len(text), magic)
    path.write_bytes(data[:start] + text + tail)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda d: b"[" * 100_000, "nested too deeply"),
        (lambda d: b"\xff", "in its document .*utf-8"),
        (lambda d: [], "in its document it must be an object"),
        (lambda d: {**d, "schema": "1"}, "schema must be a whole number"),
        (lambda d: {**d, "rows": "40"}, "rows must be a whole number"),
        (lambda d: {**d, "rows": 2**62}, "not the length"),
        (lambda d: {**d, "checksums": d["checksums"][:1]}, "not one checksum for each"),
        (lambda d: {**d, "checksums": [["0" * 32]] * 2}, "not one checksum for each"),
    ],
)
def test_an_odd_document_with_the_right_checksum_is_damage(tmp_path, change, sentence):
    cache = FeatureCache(tmp_path)
    path = build(cache, key_of(40), TWO, random_rows(TWO, 40))
    rewritten(path, change)
    with pytest.raises(DamagedEntryError, match=f"{sentence}.*Remove the file"):
        read_features(path)
    assert [one.about for one in cache.entries()] == [None]
    assert cache.related(key_of(41)) == []
