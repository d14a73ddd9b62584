"""Tensors: their bytes for one image."""

import pytest

from tlcore.splitting.tensors import Tensor


@pytest.mark.parametrize(
    ("dtype", "itemsize"),
    [
        ("float32", 4),
        ("float16", 2),
        ("bfloat16", 2),
        ("float8_e4m3fn", 1),
        ("int64", 8),
        ("uint8", 1),
        ("int4", 1),
        ("bool", 1),
    ],
)
def test_bytes_follow_shape_and_type(dtype, itemsize):
    assert Tensor("x", (7, 7, 192), dtype).nbytes == 7 * 7 * 192 * itemsize
    assert Tensor("x", (), dtype).nbytes == itemsize
    assert Tensor("x", (None, 3), dtype).nbytes == 3 * itemsize
