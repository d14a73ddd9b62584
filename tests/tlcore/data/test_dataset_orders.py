"""Dataset orders: numbers are shuffled and batched as a pipeline's elements are."""

import numpy as np
import pytest

from tlcore.data.dataset_orders import order_of

tf = pytest.importorskip("tensorflow")
pytestmark = pytest.mark.tensorflow

NUMBERS = tf.data.Dataset.range(20)
SLICES = tf.data.Dataset.from_tensor_slices(np.arange(20))


def doubled(x):
    return x * 2


def slowly(x):
    return tf.numpy_function(np.copy, [x], tf.int64)


def halves(elements):
    return [(np.asarray(batch) // 2).tolist() for batch in elements]


@pytest.mark.parametrize(
    "make",
    [
        lambda: SLICES.map(doubled).batch(6),
        lambda: SLICES.shuffle(20, seed=1).map(doubled).batch(6),
        lambda: SLICES.shuffle(5, seed=1).map(doubled).batch(6, drop_remainder=True),
        lambda: NUMBERS.map(doubled).shuffle(7, 1, False).batch(6).prefetch(2),
        lambda: (
            tf.data.Dataset.zip((SLICES, NUMBERS))
            .map(lambda x, y: x + y, num_parallel_calls=2)
            .shuffle(8, seed=3)
            .batch(4)
            .shuffle(3, seed=5)
        ),
    ],
    ids=["plain", "shuffled", "dropped", "once", "twice"],
)
def test_an_order_is_that_of_the_pipeline_in_each_reading(make):
    tf.random.set_seed(11)
    data = make()
    order = order_of(data)
    for number in range(4):
        batches = [batch.tolist() for batch in order.reading(number)]
        assert batches == halves(data.as_numpy_iterator())
    assert order.count == 20
    order.forget(3)
    assert len(order.reading(3)) == len(batches)


@pytest.mark.parametrize(
    "make",
    [
        lambda: NUMBERS.shuffle(20).batch(4),
        lambda: NUMBERS.map(slowly).batch(4),
        lambda: NUMBERS.map(lambda x: tf.random.uniform(())).batch(4),
        lambda: NUMBERS.filter(lambda x: x > 3).batch(4),
        lambda: NUMBERS.repeat(2).batch(4),
        lambda: NUMBERS.shuffle(4, seed=1).take(5).batch(4),
        lambda: [np.zeros(3)],
    ],
    ids=["seedless", "python", "random", "filter", "repeat", "take", "list"],
)
def test_an_order_that_is_not_certain_is_none(make):
    tf.random.set_seed(None)
    assert order_of(make()) is None
