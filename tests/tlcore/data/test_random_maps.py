"""Random maps: what draws numbers in a pipeline is found, a shuffle is not."""

import numpy as np
import pytest

from tlcore.data.random_maps import random_operation

tf = pytest.importorskip("tensorflow")
pytestmark = pytest.mark.tensorflow

NUMBERS = tf.data.Dataset.range(4)
IMAGES = NUMBERS.map(lambda x: tf.zeros((8, 8, 3)))


def drawn(_):
    return tf.random.normal(())


@pytest.mark.parametrize(
    "make",
    [
        lambda: NUMBERS.map(lambda x: tf.random.uniform(())),
        lambda: NUMBERS.map(lambda x: tf.random.normal(())).batch(2).prefetch(1),
        lambda: IMAGES.map(tf.image.random_flip_left_right, num_parallel_calls=2),
        lambda: IMAGES.map(lambda x: tf.image.random_crop(x, (4, 4, 3))).shuffle(2),
        lambda: NUMBERS.flat_map(lambda x: NUMBERS.map(lambda y: tf.random.normal(()))),
        lambda: tf.data.Dataset.zip(
            (NUMBERS, NUMBERS.map(lambda x: tf.random.normal(())))
        ),
    ],
)
def test_what_draws_numbers_is_found(make):
    # TensorFlow warns of a global seed, which a test before this one may have set.
    tf.random.set_seed(None)
    assert random_operation(make())


@pytest.mark.parametrize(
    "data",
    [
        NUMBERS.shuffle(4).map(lambda x: x + 1).batch(2).repeat(2),
        IMAGES.map(lambda x: tf.image.resize(x, (4, 4))),
        [np.zeros(3)],
    ],
)
def test_what_does_not_is_not(data):
    assert random_operation(data) is None
