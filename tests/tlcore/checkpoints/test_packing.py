"""Packing: what callbacks remember comes back as what it was."""

import json
import math

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlcore.checkpoints.packing import NotKeptError, Packer

PLAIN = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
)
NESTED = st.recursive(
    PLAIN,
    lambda inner: (
        st.lists(inner)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text() | st.integers() | st.just("~"), inner)
        | st.frozensets(st.integers())
    ),
    max_leaves=12,
)


def there_and_back(value, weights=()):
    arrays = {}
    packed = Packer(lambda: list(weights)).pack(value, arrays)
    again = json.loads(json.dumps(packed))
    return Packer(lambda: list(weights)).unpack(again, arrays), arrays


@given(NESTED)
def test_plain_values(value):
    back, arrays = there_and_back(value)
    assert back == value
    assert type(back) is type(value)
    assert arrays == {}


def test_numbers_that_are_none_of_json():
    back, _ = there_and_back([math.inf, -math.inf, math.nan, -0.0])
    assert back[:2] == [math.inf, -math.inf]
    assert math.isnan(back[2])
    assert math.copysign(1, back[3]) == -1


def test_arrays_and_numbers_of_numpy_keep_their_type():
    value = {"a": np.arange(3, dtype="int8"), "b": np.float32(0.1), "c": np.bool_(True)}
    back, _ = there_and_back(value)
    for name, item in value.items():
        assert type(back[name]) is type(item)
        assert back[name].dtype == item.dtype
        assert back[name].tobytes() == item.tobytes()


def test_a_variable_comes_back_as_an_array():
    back, _ = there_and_back(keras.Variable([1.0, 2.0]))
    assert back.tolist() == [1.0, 2.0]


def test_of_a_copy_of_the_weights_only_what_differs_is_kept():
    weights = [np.zeros((4, 4), "float32"), np.float32([0.0]), np.float32([np.nan])]
    copy = [weights[0].copy(), np.float32([-0.0]), weights[2].copy()]
    back, arrays = there_and_back({"best": copy}, weights)
    assert [a.nbytes for a in arrays.values()] == [4]  # zero has another sign
    assert [a.tobytes() for a in back["best"]] == [a.tobytes() for a in copy]
    back["best"][0][0, 0] = 1
    assert weights[0][0, 0] == 0  # it is a copy again


@pytest.mark.parametrize(
    "value",
    [object(), print, {"file": open}, [np.array([object()])], {1: {2: object()}}],
)
def test_what_cannot_be_kept_is_refused(value):
    with pytest.raises(NotKeptError):
        there_and_back(value)
