"""Unchanged: random numbers go on, and a model is put back, whatever happened."""

import random

import keras
import numpy as np
import pytest

from tlcore.backend import seam
from tlcore.checkpoints import variables
from tlcore.checkpoints.unchanged import same_random_numbers, unchanged


def drawn():
    """Draw from all that random numbers come from."""
    numbers = np.random.rand()  # noqa: NPY002 - what user code draws from
    kept = keras.random.uniform((), seed=None)
    return random.random(), numbers, float(kept), str(seam.current().random_numbers())


@pytest.mark.parametrize("begun", [True, False], ids=["begun", "new"])
def test_random_numbers_go_on_from_where_they_were(begun):
    keras.utils.set_random_seed(1)
    variables.share_seeds(keras.random.SeedGenerator(3) if begun else None)
    state = variables.shared_seeds().state if begun else None
    before = None if state is None else np.array(state)
    with same_random_numbers():
        first = drawn()
        if state is not None:
            state.assign(before)
    assert drawn() == first


def test_an_error_is_let_through():
    @same_random_numbers()
    def interrupted():
        random.random()
        raise KeyboardInterrupt

    random.seed(1)
    state = random.getstate()
    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert random.getstate() == state


def test_a_model_is_put_back(tiny):
    model = tiny(dropout=0.5)
    attributes, values = set(vars(model)), variables.values(model)
    with unchanged(model):
        for variable in model.variables:
            if "classifier" in variable.path:
                variable.assign(variable + 1)
        model(np.zeros((1, 32, 32, 3)), training=True)
        model.compile("sgd", "mse")
        model.note = 1
    assert set(vars(model)) == attributes
    assert not model.compiled
    after = variables.values(model)
    assert {n: x.tobytes() for n, x in after.items()} == {
        n: x.tobytes() for n, x in values.items()
    }
