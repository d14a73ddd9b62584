"""Keys, rows and entries of the cache, as the tests here want them."""

import hashlib

import ml_dtypes  # noqa: F401 - registers bfloat16 with NumPy
import numpy as np
from hypothesis import HealthCheck, settings

from tlcore.caching.entry import BLOCK_ROWS, Key
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
