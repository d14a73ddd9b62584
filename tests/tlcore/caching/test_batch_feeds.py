"""Batch feeds: arrays and datasets train as end to end, and say what is read."""

from dataclasses import replace
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from tlcore.caching.batch_features import BatchFeatures
from tlcore.caching.store import FeatureCache
from tlcore.data.arrays import image_arrays
from tlcore.data.batches import Batches
from tlcore.data.dataset_orders import Order
from tlcore.evaluation import evaluate
from tlcore.models import create_model
from tlcore.splitting.split import split
from tlcore.splitting.tensors import Tensor
from tlcore.training import feature_extract, fine_tune, fit

from .networks import SHAPE, Lines, compiled, tiny


def tf():
    """Return TensorFlow, for the tests that are marked with its name."""
    return pytest.importorskip("tensorflow")


matrix = pytest.mark.matrix

RNG = np.random.default_rng(0)
X = RNG.integers(0, 256, (22, *SHAPE)).astype("float32")
Y = np.arange(22) % 3
WEIGHTS = np.linspace(0, 2, 22).astype("float32")


def dataset(count=22, **options):
    data = tf().data.Dataset.from_tensor_slices((X[:count], Y[:count], WEIGHTS[:count]))
    return data.shuffle(count, seed=4, **options).batch(5)


class Pairs(keras.utils.PyDataset):
    """Batches of five; those of an epoch are shuffled by its own `on_epoch_end`."""

    def __init__(self):
        super().__init__()
        self.order = np.arange(22)
        self.rng = np.random.default_rng(1)

    def __len__(self):
        return 5

    def __getitem__(self, index):
        rows = self.order[5 * index : 5 * index + 5]
        return X[rows], np.eye(3, dtype="float32")[Y[rows]]

    def on_epoch_end(self):
        self.rng.shuffle(self.order)


class Loader:
    def __len__(self):
        return 5

    def __iter__(self):
        return ((X[i : i + 5], Y[i : i + 5]) for i in range(0, 22, 5))


KINDS = {
    "arrays": lambda: (X, Y, WEIGHTS),
    "bytes": lambda: image_arrays(X.astype("uint8"), np.eye(3)[Y], batch_size=7),
    "dataset": dataset,
    "unknown length": lambda: dataset().filter(lambda *_: True),
    "alone": lambda: dataset(21),
    "py_dataset": Pairs,
    "loader": Loader,
}


def trained(make, cache, *, phase=fine_tune, **options):
    keras.utils.set_random_seed(3)
    model, said = tiny(), Lines()
    options = {"last": 1, **options} if phase is fine_tune else options
    history = phase(
        model, make(), make(), epochs=3, cache=cache, say=said, verbose=0, **options
    )
    return model, history.history, said


def assert_equal(model, other):
    for a, b in zip(model.variables, other.variables, strict=True):
        np.testing.assert_array_equal(a, b, err_msg=a.path)


@pytest.mark.usefixtures("deterministic_operations")
class TestTheSameBits:
    @pytest.mark.parametrize(
        "kind",
        [
            "dataset",
            *(
                pytest.param(k, marks=pytest.mark.matrix)
                for k in KINDS
                if k != "dataset"
            ),
        ],
    )
    def test_cached_end_to_end_and_found_again(self, tmp_path, kind):
        plain, history, said = trained(KINDS[kind], "off")
        assert said[0].startswith("train: end to end, the cache is off")
        for _ in range(1 if kind == "dataset" else 2):
            cached, again, said = trained(KINDS[kind], tmp_path)
            assert "train: cached at second, 1.53 KiB/image" in said[0]
            assert again == history
            assert_equal(plain, cached)
        entries = FeatureCache(tmp_path).entries()
        # Images that are alone in a batch of arrays have entries of their own.
        assert {entry.about["images"] for entry in entries} <= {1, 2, 21, 22}

    @matrix
    def test_a_dataset_is_read_as_by_keras_itself(self):
        ours, _, _ = trained(dataset, "auto", phase=feature_extract)
        keras.utils.set_random_seed(3)
        model = tiny()
        compiled(
            model,
            optimizer=keras.optimizers.Adam(1e-3),
            loss="sparse_categorical_crossentropy",
            jit_compile=False,
        )
        model.fit(dataset(), epochs=3, shuffle=False, verbose=0)
        for a, b in zip(
            model.trainable_variables, ours.trainable_variables, strict=True
        ):
            np.testing.assert_array_equal(a, b)


def sentence(data, *, validation=None, model=None, epochs=1, **options):
    said = Lines()
    feature_extract(
        model or tiny(), data, validation, epochs=epochs, say=said, verbose=0, **options
    )
    return said


class Sizes:
    """A prefix that notes the size of each batch; the row of an image is its mean."""

    replicas = 1
    part = SimpleNamespace(multiplies_rows=False)

    def __init__(self):
        self.batches = []

    def __call__(self, images):
        self.batches.append(len(images))
        return [images.mean((1, 2))]


@pytest.mark.tensorflow
def test_an_image_alone_is_doubled_unless_it_is_alone_in_training_too(tmp_path):
    # Kernels round one image differently from several.
    divided = replace(split(tiny()), cut=(Tensor("mean", (3,), "float32"),))
    prefix = Sizes()
    features = BatchFeatures(divided, prefix, SHAPE[:2], 4, FeatureCache(tmp_path))
    for rows in ([0, 1, 2, 2], [2, 3], [3, 4, 5, 3], [1]):
        (taken,) = features.take(X[rows])
        np.testing.assert_array_equal(taken, X[rows].mean((1, 2)))
    assert prefix.batches == [3, 2, 2, 1]


@pytest.mark.tensorflow
def test_matrix_products_need_sizes_that_are_known_before(tmp_path):
    network = keras.Sequential([keras.Input(SHAPE), keras.layers.Dense(3)])
    said = sentence(dataset(), model=create_model(network, 3), epochs=2, cache=tmp_path)
    assert said[0].startswith(
        "train: end to end, its matrix products round by the size"
    )


class Read:
    """Counts the readings of each dataset."""

    def __init__(self, monkeypatch):
        self.names, read = [], Batches._read

        def counted(batches, *arguments):
            self.names.append(batches.name)
            return read(batches, *arguments)

        monkeypatch.setattr(Batches, "_read", counted)


@pytest.mark.usefixtures("deterministic_operations")
class TestReplay:
    """What a pipeline gave twice it is not asked for again, if its order is known."""

    def pipeline(self):
        pictures = tf().data.Dataset.from_tensor_slices((X, Y))
        seen = pictures.shuffle(9, seed=4).map(lambda x, y: (x * 1.0, y)).batch(5)
        for _ in seen.take(1):  # as a tutorial shows its images
            pass
        return seen.prefetch(1)

    def phases(self, cache):
        keras.utils.set_random_seed(3)
        model, data = tiny(), self.pipeline()
        options = {"cache": cache, "verbose": 0}
        validation = self.pipeline()
        first = feature_extract(model, data, validation, epochs=4, **options)
        second = fine_tune(
            model, data, last=1, history=first, epochs=3, optimizer="sgd", **options
        )
        return model, [first.history, second.history]

    @matrix
    def test_gives_the_same_bits_in_two_phases_with_two_readings_each(
        self, tmp_path, monkeypatch
    ):
        plain, histories = self.phases("off")
        read = Read(monkeypatch)
        cached, again = self.phases(tmp_path)
        assert again == histories
        assert_equal(plain, cached)
        assert read.names.count("train") == 4
        assert read.names.count("validation") == 2

    @pytest.mark.matrix
    def test_is_given_up_where_the_order_is_not_found(self, tmp_path, monkeypatch):
        keras.utils.set_random_seed(3)
        monkeypatch.setattr(Order, "reading", lambda *_: [np.arange(5)] * 4 + [[0, 1]])
        read = Read(monkeypatch)
        feature_extract(tiny(), self.pipeline(), epochs=4, cache=tmp_path, verbose=0)
        assert read.names == ["train"] * 4


class TestWhatIsSaid:
    @pytest.mark.matrix
    def test_images_of_arrays_are_known_before_training(self, tmp_path):
        said = sentence((X, Y), validation=(X, Y), cache=tmp_path)
        cached = "cached at pool, 32 B/image"
        assert said == [f"train: {cached}; validation: {cached} (found)"]

    @pytest.mark.matrix
    def test_augmentation_is_no_reason_not_to_cache_validation(self, tmp_path):
        model = tiny(augmentation="tutorial")
        data = dataset().map(lambda x, y, w: (x, y))
        said = sentence(data, validation=data, model=model, cache=tmp_path)
        assert "train: end to end, 'random_warp' is random in training" in said[0]
        assert "validation: cached at pool, 32 B/image, by the values of" in said[0]

    @pytest.mark.parametrize(
        ("make", "options", "reason"),
        [
            (
                lambda: dataset().map(
                    lambda x, y, w: (tf().image.random_hue(x, 0.1), y)
                ),
                {},
                r"its pipeline is random (RandomUniform), so no image comes again",
            ),
            (
                lambda: dataset().repeat(),
                {"steps_per_epoch": 2},
                "its data never ends, and may never repeat an image",
            ),
            (
                dataset,
                {"steps_per_epoch": 2},
                "with steps_per_epoch each of its batches is read once",
            ),
            (
                lambda: dataset().unbatch().batch(1).take(4),
                {},
                "its batches hold one image each",
            ),
            (dataset, {"cache": "off"}, "the cache is off"),
        ],
        ids=["random", "endless", "steps", "single", "off"],
    )
    def test_why_images_are_read(self, make, options, reason):
        assert sentence(make(), **options) == [f"train: end to end, {reason}"]

    @pytest.mark.matrix
    def test_that_images_never_came_again(self, tmp_path):
        def noisy(x, y, w):
            noise = tf().numpy_function(
                lambda: np.float32(RNG.normal()), [], tf().float32
            )
            return tf().ensure_shape(x + noise, (None, *SHAPE)), y

        said = sentence(dataset().map(noisy), epochs=2, cache=tmp_path)
        assert said[1] == (
            "train: its images were new in every epoch, so all were computed again"
        )
        assert not FeatureCache(tmp_path).entries()

    @pytest.mark.matrix
    def test_views_of_arrays_are_cached(self, tmp_path):
        said = sentence(
            (X, Y), model=tiny(augmentation="tutorial"), views=1, cache=tmp_path
        )
        assert said == ["train: 1 view, cached at pool, 32 B/image"]

    @pytest.mark.matrix
    def test_a_cache_that_is_too_small_keeps_nothing_and_says_so(
        self, tmp_path, monkeypatch
    ):
        monkeypatch.setenv("TLCORE_CACHE_DIR", str(tmp_path))
        monkeypatch.setenv("TLCORE_CACHE_LIMIT", "100")
        said = sentence(dataset(), epochs=2)
        assert "its features are not kept for the next run: A cache must" in said[1]
        with pytest.raises(ValueError, match="Set TLCORE_CACHE_LIMIT to more"):
            sentence(dataset(), cache=tmp_path)

    @pytest.mark.matrix
    def test_what_validation_computed_is_found_by_evaluate(self, tmp_path, monkeypatch):
        model = tiny()
        feature_extract(model, (X, Y), dataset(), epochs=1, cache=tmp_path, verbose=0)
        entries = FeatureCache(tmp_path).entries()
        from_images = evaluate(model, dataset(), cache="off")
        assert evaluate(model, dataset(), cache=tmp_path) == from_images
        assert evaluate(model, (X, Y), cache=tmp_path)["loss"].n == 22
        assert len(FeatureCache(tmp_path).entries()) == len(entries)


class TestWhatComesLater:
    """Only the first batch is looked at before step 1."""

    def late(self, change):
        def changed(i, batch):
            x, y, _ = batch
            return change(x, y) if i == 3 else (x, y)

        batches = list(dataset().as_numpy_iterator())
        return [changed(i, batch) for i, batch in enumerate(batches)]

    @pytest.mark.parametrize("cache", ["auto", pytest.param("off", marks=matrix)])
    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda x, y: (x, y + 7), "train, epoch 1, step 4, with a label"),
            pytest.param(
                lambda x, y: (x * np.nan, y),
                "finite. Received: train, epoch 1, step 4",
                marks=matrix,
            ),
            pytest.param(
                lambda x, y: (x[:, :9], y),
                "train, epoch 1, step 4, with images of",
                marks=matrix,
            ),
        ],
    )
    def test_in_training_is_met_with_where_it_is(self, cache, change, message):
        with pytest.raises(ValueError, match=message):
            sentence(self.late(change), cache=cache)

    def test_in_validation_is_met_before_any_checkpoint(self, tmp_path):
        bad = self.late(lambda x, y: (x, y + 7))
        saved = keras.callbacks.ModelCheckpoint(
            tmp_path / "x.weights.h5", save_weights_only=True
        )
        with pytest.raises(
            ValueError, match="validation, epoch 1, step 4, with a label"
        ):
            sentence(dataset(), validation=bad, callbacks=[saved])
        assert not list(tmp_path.glob("*.h5"))

    @pytest.mark.matrix
    def test_of_a_dataset_of_unknown_length_as_well(self):
        labels = np.where(np.arange(22) == 21, 9, Y)
        data = tf().data.Dataset.from_tensor_slices((X, labels)).batch(5)
        with pytest.raises(ValueError, match="train, epoch 1, step 5, with a label 9"):
            sentence(data.filter(lambda *_: True))
        with pytest.raises(ValueError, match="data, epoch 1, step 5, with a label 9"):
            evaluate(tiny(), data)

    def test_is_no_end_of_the_data_before_the_steps(self):
        data = dataset().filter(lambda *_: True)
        with pytest.raises(ValueError, match="the 6 batches.*after 5. Repeat it, da"):
            sentence(data, epochs=2, steps_per_epoch=3)


def test_a_dataset_that_would_run_out_is_refused_before_the_first_step():
    model = compiled(tiny(), loss="sparse_categorical_crossentropy")
    for make in (dataset, Pairs, Loader):
        message = r"not run out. Received: train of 5 batches for 2 epochs of 5 steps"
        with pytest.raises(ValueError, match=message):
            fit(model, make(), epochs=2, steps_per_epoch=5, verbose=0)
    assert int(model.optimizer.iterations) == 0
    history = fit(model, dataset(), epochs=2, steps_per_epoch=2, verbose=0)
    assert history.epoch == [0, 1]
    assert int(model.optimizer.iterations) == 4
