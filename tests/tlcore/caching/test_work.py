"""Work: what makes features inexact is found."""

from dataclasses import replace
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from tlcore.backend import seam
from tlcore.caching.batch_sizes import ANY, InexactError
from tlcore.caching.entry import BLOCK_ROWS, Key
from tlcore.caching.feeds import CacheOptions, training_feed
from tlcore.caching.work import Source, Work, check_shapes
from tlcore.data.image_folder import image_folder
from tlcore.data.reading import Reading
from tlcore.splitting.split import split
from tlcore.splitting.tensors import Tensor

from .networks import SHAPE, SIZE, Halving, compiled, tiny


@pytest.fixture
def read(tmp_path, train):
    """Return what says how training of a model reads images."""

    def of(model):
        options = CacheOptions(tmp_path)
        return training_feed(compiled(model), train, options, range(1)).sentence

    return of


@pytest.fixture
def sentence(read):
    """Return what says it of a model whose backbone holds a layer, named "own"."""
    return lambda kind: read(tiny(foreign=kind(name="own")))


class TestForeignLayers:
    def test_a_layer_from_elsewhere_is_cached_if_it_proves_itself(self, sentence):
        assert sentence(Halving).startswith("cached at pool")

    def test_one_that_mixes_the_images_of_a_batch_is_not(self, sentence):
        class Mixing(Halving):
            def call(self, inputs):
                return inputs - keras.ops.mean(inputs, axis=0)

        expected = "end to end, features of an image depend on the others"
        assert sentence(Mixing).startswith(expected)

    @pytest.mark.tensorflow
    def test_one_that_is_random_without_saying_so_is_not(self, sentence):
        class Noisy(Halving):
            def call(self, inputs):
                return inputs + keras.random.normal(keras.ops.shape(inputs))

        expected = "end to end, features of an image depend on the others"
        assert sentence(Noisy).startswith(expected)

    def test_one_that_counts_its_calls_in_python_is_not(self, sentence):
        class Drifting(Halving):
            calls = 0

            def call(self, inputs):
                self.calls += 1
                return inputs + float(self.calls)

        # Where nothing is traced, each call gives other numbers.
        assert sentence(Drifting) in {
            "end to end, 'own' may be random",
            "end to end, features of an image depend on the others in its batch",
        }

    def test_one_that_computes_something_else_in_training_is_not(self, read, sentence):
        class Mirroring(Halving):
            def call(self, inputs, training=False):
                return keras.ops.flip(inputs, 1) if training else inputs

        inputs = keras.Input(SHAPE)
        frozen = keras.layers.Conv2D(4, 3, trainable=False)
        pooled = keras.layers.GlobalAveragePooling2D()(
            frozen(Mirroring(name="own")(inputs))
        )
        model = keras.Model(inputs, keras.layers.Dense(3)(pooled))
        expected = "end to end, 'own' may compute something else in training"
        assert read(model) == expected
        # In the backbone, which is always in inference mode, it is exact.
        assert sentence(Mirroring).startswith("cached at pool")

    def test_one_that_changes_a_state_is_not(self, sentence):
        class Counting(Halving):
            def build(self, shape):
                self.count = self.add_weight(shape=(), trainable=False)

            def call(self, inputs):
                self.count.assign_add(1.0)
                return inputs

        expected = "end to end, 'own' may change a state when called"
        assert sentence(Counting) == expected

    def test_one_that_adds_to_the_loss_is_not(self, sentence):
        class Costly(Halving):
            def call(self, inputs):
                self.add_loss(keras.ops.mean(inputs))
                return inputs

        assert sentence(Costly) == "end to end, 'own' may add to the loss"

    def test_a_lambda_is_not(self, sentence):
        def lambda_layer(name):
            return keras.layers.Lambda(lambda x: x, output_shape=lambda s: s, name=name)

        assert sentence(lambda_layer).startswith("end to end, 'own' is a Lambda")


class Sizes:
    """A prefix that notes the size of each batch; the row of an image is its mean."""

    replicas = 1

    def __init__(self, part):
        self.part, self.batches = part, []

    def __call__(self, images):
        self.batches.append(len(images))
        return [np.asarray(images).mean((1, 2))]


class TestBatches:
    @pytest.fixture
    def folder(self, images):
        folder = image_folder(images, image_size=SIZE, percent=73)
        assert folder.num_images == BLOCK_ROWS + 1
        return folder

    def computed(self, folder, *, size):
        """Return the sizes of the batches that compute an entry, and its rows."""
        model = tiny()
        divided = replace(split(model), cut=(Tensor("mean", (3,), "float32"),))
        source = Source(model, folder, divided, size=size)
        work = Work(source, Key("0" * 64, tuple(sorted(folder.digests))), related=())
        prefix, rows = Sizes(source.split.prefix), []

        class Builder:
            def write(self, block, arrays):
                rows.extend(arrays[0])

        work.compute(range(2), Builder(), prefix, None)
        return prefix.batches, rows

    @pytest.mark.tensorflow
    def test_hold_two_images_at_least_unless_each_is_alone(self, folder):
        together, rows = self.computed(folder, size=ANY)
        # The second one tries whether images depend on each other.
        assert together == [BLOCK_ROWS, 2, 2]
        alone, alone_rows = self.computed(folder, size=1)
        assert alone == [1] * folder.num_images
        np.testing.assert_array_equal(rows, alone_rows)

    def test_are_full_where_the_size_matters(self, folder):
        sizes, rows = self.computed(folder, size=5)
        # The second one tries whether images depend on each other.
        tried = 5 if not seam.current().SIZES_ROUND_ALIKE else 2
        assert sizes == [5, tried, *[5] * 6]
        assert len(rows) == folder.num_images


def test_a_shape_that_a_layer_did_not_announce_is_a_reason_not_to_cache():
    divided = SimpleNamespace(cut=(Tensor("tokens", (17, 4), "float32"),))
    check_shapes(divided, [np.zeros((2, 17, 4))])
    with pytest.raises(
        InexactError, match=r"'tokens' returns \(16, 4\) of an image and announces \(17"
    ):
        check_shapes(divided, [np.zeros((2, 16, 4))])


class TestKey:
    @pytest.fixture
    def key(self, train):
        """Return what gives the key of the features of some images of a model."""
        model = tiny()
        divided = split(model)
        return lambda folder: Source(model, folder, divided).fingerprint

    @pytest.mark.parametrize(
        "options", [{"fit": "crop"}, {"background": "red"}, {"orientation": "ignore"}]
    )
    def test_depends_on_how_files_become_pixels(self, key, train, options):
        assert key(train) == key(replace(train, reading=Reading()))
        assert key(train) != key(replace(train, reading=Reading.of(**options)))

    def test_depends_on_the_decoder(self, key, train, monkeypatch):
        before = key(train)
        monkeypatch.setattr("tlcore.data.reading.VERSION", 99)
        other_version = key(train)
        monkeypatch.setattr("PIL.__version__", "99.0.0")
        assert len({before, other_version, key(train)}) == 3

    def test_does_not_depend_on_the_order_of_the_images(self, key, train):
        assert key(train) == key(train.unshuffled()) == key(replace(train, seed=7))
