"""Batches: data with a length is read in order, or refused with the line to write."""

import keras
import numpy as np
import pytest

from tlcore.data.batches import Batches
from tlcore.data.contents import Expected


def tf():
    """Return TensorFlow, for the tests that are marked with its name."""
    return pytest.importorskip("tensorflow")


RNG = np.random.default_rng(0)
X = RNG.integers(0, 256, (10, 8, 8, 3)).astype("float32")
Y = np.arange(10) % 3


def dataset(x=X, y=Y):
    return tf().data.Dataset.from_tensor_slices((x, y))


class Numbered(keras.utils.PyDataset):
    """Four batches of two images, which notes what is asked for."""

    def __init__(self, **options):
        super().__init__(**options)
        self.asked = []

    def __len__(self):
        return 4

    def __getitem__(self, index):
        self.asked.append(index)
        return X[2 * index : 2 * index + 2], Y[2 * index : 2 * index + 2]

    def on_epoch_end(self):
        self.asked.append("end")


class Loader:
    """What a DataLoader of PyTorch is to its reader: a length and an iterator."""

    def __init__(self, batches):
        self.batches = batches

    def __len__(self):
        return len(self.batches)

    def __iter__(self):
        return iter(self.batches)


class Tensor:
    """An array that NumPy has to ask for, as a tensor of PyTorch."""

    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        return np.array(self.array, dtype)


def labels_of(epoch):
    return [batch.labels.tolist() for batch in epoch]


class TestReading:
    def test_a_dataset_is_read_in_its_order_as_keras_reads_it(self):
        # Keras begins a reading between two epochs and drops it.
        data = dataset().shuffle(10, seed=3).batch(4)
        orders = [[y.tolist() for _, y in data.as_numpy_iterator()] for _ in range(5)]
        batches = Batches(dataset().shuffle(10, seed=3).batch(4), "train")
        assert batches.first().labels.tolist() == orders[0][0]
        read = [labels_of(batches.epoch()) for _ in range(3)]
        assert read == [orders[0], orders[2], orders[4]]

    def test_a_py_dataset_is_shuffled_by_the_epoch_and_told_that_it_ended(self):
        data = Numbered()
        batches = Batches(data, "train")
        batches.first()
        assert data.asked == [0]
        for _ in range(2):
            list(batches.epoch(shuffled=True))
        first, second = data.asked[1:5], data.asked[6:10]
        assert data.asked[5] == data.asked[10] == "end"
        assert sorted(first) == sorted(second) == [0, 1, 2, 3]
        assert first != second
        list(batches.epoch())
        assert data.asked[11:] == [0, 1, 2, 3, "end"]

    def test_threads_make_batches_ahead_in_the_same_order(self):
        batches = Batches(Numbered(workers=3, max_queue_size=2), "train")
        assert labels_of(batches.epoch()) == [[0, 1], [2, 0], [1, 2], [0, 1]]

    @pytest.mark.parametrize("wrap", [list, tuple, Loader])
    def test_anything_with_a_length_is_read_each_epoch(self, wrap):
        data = wrap([(Tensor(X[:4]), Tensor(Y[:4])), [X[4:8], Y[4:8]], (X[8:], Y[8:])])
        batches = Batches(data, "train")
        assert (batches.count, batches.image_shape) == (3, (8, 8, 3))
        for _ in range(2):
            assert labels_of(batches.epoch()) == [[0, 1, 2, 0], [1, 2, 0, 1], [2, 0]]

    def test_sample_weights_come_along(self):
        data = dataset().batch(5).map(lambda x, y: (x, y, tf().ones_like(y) * 2))
        (first, _) = Batches(data, "train").epoch()
        assert first.weights.tolist() == [2] * 5

    def test_a_later_batch_is_met_with_where_it_is(self):
        labels = np.where(np.arange(10) == 9, 3, Y)
        batches = Batches(dataset(y=labels).batch(4), "validation")
        batches.first_epoch = 4
        batches.expected = Expected(outputs=3)
        message = "Received: validation, epoch 5, step 3, with a label 3"
        with pytest.raises(ValueError, match=message):
            list(batches.epoch())

    def test_an_error_of_the_pipeline_is_a_sentence(self):
        def failing(x, y):
            with tf().control_dependencies(
                [tf().debugging.assert_less(y, tf().constant(2, tf().int64))]
            ):
                return tf().identity(x), y

        batches = Batches(dataset().map(failing).batch(2), "train")
        with pytest.raises(ValueError, match="train, epoch 1, step 2, which coul"):
            list(batches.epoch())

    def test_an_epoch_that_ends_early_is_refused(self):
        class Once(Loader):
            def __init__(self, batches):
                super().__init__(batches)
                self.left = iter(batches)

            def __iter__(self):
                return self.left

        batches = Batches(Once([(X[:4], Y[:4]), (X[4:], Y[4:])]), "train")
        list(batches.epoch())
        with pytest.raises(ValueError, match="says, 2. Received: train, epoch 2, wh"):
            list(batches.epoch())

    def test_an_error_is_kept_for_whoever_trains(self):
        batches = Batches([(X, Y)], "train")

        def fail():
            yield 1
            raise ValueError("gone")

        assert list(batches.guarded(fail)) == [1]
        with pytest.raises(ValueError, match="gone"):
            batches.raise_error()


class TestRefused:
    @pytest.mark.parametrize(
        ("data", "message"),
        [
            (
                ((x, y) for x, y in [(X, Y)]),
                "a length. Received: train, a generator",
            ),
            (5, "Data must be an image folder, arrays.*Received: int as train"),
            ("photos", "Received: str as train"),
            ({"x": X}, "Received: dict as train"),
            ([1, 2], "Received: list as train, epoch 1, step 1, of type int"),
            ([X, Y], "of type ndarray. Give a tuple"),
            (
                [{"image": X, "label": Y}],
                "a dict of 'image', 'label'. Give .batch",
            ),
            ([({"image": X}, Y)], "a dict of 'image'. Give the array of the images"),
            ([(X, None)], "with None. Give both"),
            ([(X[0], Y[0])], r"single images of \(8, 8, 3\). Batch it: .batch\(32\)"),
            ([(X[:, 0, 0], Y)], r"\(n, height, width, channels\).*shape \(10, 3\)"),
            ([([X[0], X[0, :4]], Y)], r"NumPy makes none.*cpu\(\).numpy"),
            ([], "a dataset without a batch"),
        ],
    )
    def test_what_is_no_data_in_batches(self, data, message):
        with pytest.raises(ValueError, match=message):
            Batches(data, "train").first()

    @pytest.mark.parametrize(
        ("make", "message"),
        [
            (
                dataset,
                r"single images of \(8, 8, 3\). Batch it: .batch\(32\)",
            ),
            (
                lambda: dataset().map(lambda x, y: {"image": x, "label": y}).batch(2),
                r"keys 'image', 'label'. Write map\(lambda e: \(e\['image'\], e",
            ),
            (
                lambda: dataset().map(lambda x, y: ({"image": x}, y)).batch(2),
                r"batches \(images, labels\). Received: .*map\(lambda x, y: \(x\['im",
            ),
            (lambda: dataset().map(lambda x, y: x).batch(2), "elements of one part"),
            (
                lambda: dataset().batch(2).map(lambda x, y: (x, y, y, y)),
                "elements of 4 parts",
            ),
            (
                lambda: (
                    dataset()
                    .map(
                        lambda x, y: (
                            tf().numpy_function(np.copy, [x], tf().float32),
                            y,
                        )
                    )
                    .batch(2)
                ),
                r"images of unknown rank.*tf.ensure_shape\(x, \(None, 224, 224, 3",
            ),
            (
                lambda: (
                    dataset()
                    .batch(2)
                    .map(
                        lambda x, y: (x, tf().numpy_function(np.copy, [y], tf().int64))
                    )
                ),
                r"labels of unknown rank.*\(x, tf.ensure_shape\(y, \(None,\)\)\)",
            ),
            (
                lambda: tf().data.Dataset.from_generator(
                    lambda: iter([(X, Y)]), output_types=(tf().float32, tf().int64)
                ),
                "numpy_function, py_function and from_generator.*ensure_shape",
            ),
        ],
        ids=[
            "single",
            "dict",
            "mapping",
            "one",
            "four",
            "numpy",
            "labels",
            "generator",
        ],
    )
    def test_what_is_no_dataset_of_batches_is_answered_with_the_line(
        self, make, message
    ):
        with pytest.raises(ValueError, match=message):
            Batches(make(), "train")

    def test_a_py_dataset_without_a_length(self):
        class Endless(Numbered):
            @property
            def num_batches(self):
                return None

        with pytest.raises(ValueError, match="must have a length.*Give it a __len__"):
            Batches(Endless(), "train")
