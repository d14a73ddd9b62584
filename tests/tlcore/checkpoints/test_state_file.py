"""State file: what was written comes back, and anything else is refused."""

import ml_dtypes
import numpy as np
import pytest

from tlcore.checkpoints.state_file import read_state_file, write_state_file

ARRAYS = {
    "kernel": np.arange(6, dtype="float32").reshape(2, 3),
    "half": np.array([1.5, -2.0], ml_dtypes.bfloat16),
    "scale": np.float16([0.1]),
    "iterations": np.array(7, "int64"),
    "seed": np.array([1, 2**32 - 1], "uint32"),
    "mask": np.array([True, False]),
    "none": np.zeros((0, 4), "float32"),
    "column": np.arange(8.0)[::2],
}
DOCUMENT = {"epoch": 3, "best": float("inf"), "name": "größer"}


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "one.state"
    write_state_file(path, DOCUMENT, ARRAYS)
    return path


def test_what_was_written_comes_back_to_the_bit(path):
    document, arrays = read_state_file(path)
    assert document == DOCUMENT
    assert list(arrays) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert arrays[name].dtype == array.dtype
        assert arrays[name].shape == array.shape
        assert arrays[name].tobytes() == array.tobytes()


def test_arrays_can_be_written_to(path):
    _, arrays = read_state_file(path)
    arrays["kernel"] += 1
    assert arrays["kernel"][0, 0] == 1


def test_a_file_cut_anywhere_is_refused(path):
    data = path.read_bytes()
    for length in range(len(data)):
        path.write_bytes(data[:length])
        with pytest.raises(ValueError, match="no state|another version|checksum"):
            read_state_file(path)


def test_a_file_with_any_byte_changed_is_refused(path):
    data = path.read_bytes()
    for at in range(len(data)):
        path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        with pytest.raises(ValueError, match="no state|another version|checksum"):
            read_state_file(path)


def test_a_file_with_more_behind_it_is_refused(path):
    path.write_bytes(path.read_bytes() + b"\0" * 64)
    with pytest.raises(ValueError, match="checksum"):
        read_state_file(path)


@pytest.mark.parametrize("data", [b"", b"\0" * 200, b"PK\x03\x04" + bytes(100)])
def test_what_is_no_state_is_refused(tmp_path, data):
    (tmp_path / "other").write_bytes(data)
    with pytest.raises(ValueError, match="no state"):
        read_state_file(tmp_path / "other")


def test_the_version_of_the_format_is_looked_at(path):
    data = path.read_bytes()
    path.write_bytes(data[:7] + b"\x02" + data[8:])
    with pytest.raises(ValueError, match="another version"):
        read_state_file(path)


def test_an_error_leaves_the_file_that_was_there(path):
    with pytest.raises(TypeError):
        write_state_file(path, {"epoch": object()}, {})
    assert read_state_file(path)[0] == DOCUMENT
    assert [x.name for x in path.parent.iterdir()] == ["one.state"]
