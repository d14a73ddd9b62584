"""Caching: the same bits as end to end, and all that hangs on `fit` still works."""

import errno
import os
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest

from tlcore.caching import work
from tlcore.caching.feeds import CacheOptions, training_feed
from tlcore.caching.redirection import _CUT, redirected
from tlcore.callbacks import EpochClock, checkpoint_callback
from tlcore.data.image_folder import image_folder
from tlcore.data.sample_images import write_sample_images
from tlcore.evaluation import evaluate
from tlcore.freezing import unfreeze
from tlcore.models import create_model, load_model
from tlcore.training import feature_extract, fine_tune, fit

SHAPE = (32, 32, 3)
SIZE = SHAPE[:2]


@keras.saving.register_keras_serializable(package="test_caching")
class Halving(keras.layers.Layer):
    """A layer that Keras did not write."""

    def call(self, inputs):
        return inputs / 2


def network(*, foreign=None):
    keras.utils.set_random_seed(7)
    layers = keras.layers
    stages = [
        layers.Rescaling(1 / 127.5, -1.0),
        layers.Conv2D(8, 3, strides=2, activation="relu", name="first"),
        layers.BatchNormalization(name="bn"),
        layers.Dropout(0.3, name="drop"),
        layers.Conv2D(8, 3, strides=2, activation="relu", name="second"),
        layers.Conv2D(8, 3, padding="same", activation="relu", name="third"),
    ]
    if foreign is not None:
        stages.insert(4, foreign)
    built = keras.Sequential([keras.Input(SHAPE), *stages], name="tiny")
    random = np.random.default_rng(1)
    bn = built.get_layer("bn")
    bn.set_weights([random.uniform(0.5, 1.5, w.shape) for w in bn.get_weights()])
    return built


def tiny(num_classes=3, *, dropout=0.2, foreign=None, **options):
    return create_model(
        network(foreign=foreign),
        num_classes,
        input_shape=SHAPE,
        dropout=dropout,
        **options,
    )


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    directory = tmp_path_factory.mktemp("images")
    write_sample_images(directory, classes=3, per_class=15, size=32)
    return directory


@pytest.fixture
def splits(images):
    return image_folder(images, image_size=SIZE, batch_size=8).split_off(20)


@pytest.fixture
def train(splits):
    return splits[0]


@pytest.fixture
def held_out(splits):
    return splits[1]


class Lines(list):
    """What was said."""

    def __call__(self, line):
        self.append(line)


def both_ways(tmp_path, train, validation, *, make=tiny, last=1, **options):
    """Return model, history and line of a training end to end, and from the cache."""
    sides = []
    for cache in ("off", tmp_path / "cache"):
        keras.utils.set_random_seed(3)
        model, said = make(), Lines()
        history = fine_tune(
            model,
            train,
            validation,
            **{"last": last, "epochs": 3, "learning_rate": 1e-2, **options},
            cache=cache,
            say=said,
            verbose=0,
        )
        sides.append((model, history, said[0]))
    return sides


def assert_the_same(sides):
    (plain, end_to_end, _), (cached, history, line) = sides
    assert "cached at" in line
    assert end_to_end.epoch == history.epoch
    assert end_to_end.history == history.history
    for a, b in zip(plain.variables, cached.variables, strict=True):
        np.testing.assert_array_equal(a, b, err_msg=a.path)
    pairs = zip(plain.optimizer.variables, cached.optimizer.variables, strict=True)
    for a, b in pairs:
        np.testing.assert_array_equal(a, b, err_msg=a.path)


@pytest.mark.usefixtures("deterministic_operations")
class TestTheSameBits:
    """Weights, optimizer, random states and history, against end to end."""

    @pytest.mark.parametrize(
        ("last", "optimizer"), [(0, "adam"), (1, "sgd"), (2, "rmsprop"), (3, "adam")]
    )
    def test_for_any_boundary_and_optimizer(
        self, tmp_path, train, held_out, last, optimizer
    ):
        assert_the_same(
            both_ways(tmp_path, train, held_out, last=last, optimizer=optimizer)
        )

    @pytest.mark.parametrize(
        "options",
        [
            {"style": "sequential"},
            {"head": "dense"},
            {"input_contract": "caffe", "dropout": 0.0},
        ],
        ids=str,
    )
    def test_for_any_form_of_model(self, tmp_path, train, held_out, options):
        assert_the_same(
            both_ways(tmp_path, train, held_out, make=lambda: tiny(**options))
        )

    @pytest.mark.parametrize(
        "options",
        [
            {"class_weight": {0: 1.0, 1: 3.0, 2: 0.5}},
            {"steps_per_epoch": 7, "validation_freq": 2},
            {"batch_norm": False, "last": 4},
            {"sample_weight": np.linspace(0, 2, 36)},
        ],
        ids=str,
    )
    def test_with_what_fit_takes(self, tmp_path, train, held_out, options):
        sides = both_ways(tmp_path, train, held_out, **options)
        assert_the_same(sides)

    def test_with_labels_that_are_numbers(self, tmp_path, train, held_out):
        folders = train.relabelled("int"), held_out.relabelled("int")
        assert_the_same(both_ways(tmp_path, *folders))

    @pytest.mark.parametrize("batch_size", [1, 7, 32])
    def test_for_any_batch_size_one_image_alone_included(
        self, tmp_path, images, batch_size
    ):
        # 36 images in batches of 7 leave one alone, each epoch another.
        folder = image_folder(images, image_size=SIZE, batch_size=batch_size)
        train, held_out = folder.split_off(20)
        assert_the_same(both_ways(tmp_path, train, held_out, epochs=2))

    def test_in_mixed_precision(self, tmp_path, train, held_out, mixed_float16):
        sides = both_ways(tmp_path, train, held_out)
        assert_the_same(sides)

    def test_with_a_regularizer_in_what_trains(self, tmp_path, train, held_out):
        def make():
            model = tiny()
            model.get_layer("classifier").kernel_regularizer = "l2"
            model.get_layer("classifier").kernel.regularizer = keras.regularizers.L2(1)
            return model

        assert_the_same(both_ways(tmp_path, train, held_out, make=make))

    def test_in_phases_that_follow_each_other(self, tmp_path, train, held_out):
        ends = []
        for cache in ("off", tmp_path / "cache"):
            keras.utils.set_random_seed(3)
            model, shared = tiny(), {"cache": cache, "verbose": 0, "epochs": 2}
            first = feature_extract(model, train, held_out, **shared)
            fine_tune(model, train, held_out, history=first, last=2, **shared)
            ends.append(model.get_weights())
        for a, b in zip(*ends, strict=True):
            np.testing.assert_array_equal(a, b)

    def test_after_saving_and_loading(self, tmp_path, train, held_out):
        tiny().save(tmp_path / "model.keras")
        assert_the_same(
            both_ways(
                tmp_path,
                train,
                held_out,
                make=lambda: load_model(tmp_path / "model.keras"),
            )
        )

    @pytest.mark.parametrize(
        ("augmentation", "views"), [("tutorial", 2), ("generator", 1)]
    )
    def test_for_a_bank_of_views(self, tmp_path, train, held_out, augmentation, views):
        sides = both_ways(
            tmp_path,
            train,
            held_out,
            make=lambda: tiny(augmentation=augmentation),
            views=views,
        )
        assert_the_same(sides)
        count = f"{views} view{'s' if views > 1 else ''}"
        assert sides[1][2].startswith(f"train: {count}, cached at second")

    def test_for_later_epochs_of_a_bank_whose_other_views_are_not_computed(
        self, tmp_path, train
    ):
        computed = Computed()
        model = tiny(augmentation="tutorial")
        shared = {"views": 5, "verbose": 0, "progress": computed}
        history = feature_extract(model, train, epochs=2, cache="off", **shared)
        fine_tune(
            model, train, history=history, last=1, epochs=2, cache=tmp_path, **shared
        )
        assert computed.images == [("train", 36)] * 2

    def test_where_only_validation_is_cached(self, tmp_path, train, held_out):
        sides = both_ways(
            tmp_path, train, held_out, make=lambda: tiny(augmentation="photometric")
        )
        assert_the_same(sides)
        assert sides[1][2] == (
            "train: end to end, 'random_flip' is random in training; "
            "validation: cached at second, 1.53 KiB/image"
        )

    def test_of_evaluate(self, tmp_path, train):
        model = tiny()
        plain = evaluate(model, train, cache="off")
        for _ in range(2):
            assert evaluate(model, train, cache=tmp_path / "cache") == plain
        assert len(list((tmp_path / "cache").glob("*.features"))) == 1


class TestTheLine:
    def test_says_what_is_cached_and_where(self, tmp_path, train, held_out):
        said = Lines()
        options = {"cache": tmp_path, "say": said, "verbose": 0, "epochs": 1}
        feature_extract(tiny(), train, held_out, **options)
        feature_extract(tiny(), train, held_out, **options)
        assert said == [
            "train: cached at pool, 32 B/image; validation: cached at pool, 32 B/image",
            "train: cached at pool, 32 B/image (found); "
            "validation: cached at pool, 32 B/image (found)",
        ]

    def test_is_printed_unless_fit_is_silent(self, train, capsys):
        feature_extract(tiny(), train, epochs=1, verbose=2)
        assert "train: cached at pool" in capsys.readouterr().out
        feature_extract(tiny(), train, epochs=1, verbose=0)
        assert not capsys.readouterr().out

    @pytest.mark.parametrize(
        ("last", "expected"),
        [(5, "train: end to end, 'first' trains"), (4, "train: cached at first")],
    )
    def test_says_what_trains_at_the_bottom(self, tmp_path, train, last, expected):
        said = Lines()
        fine_tune(
            tiny(),
            train,
            last=last,
            epochs=1,
            cache=tmp_path,
            say=said,
            verbose=0,
        )
        assert said[0].startswith(expected)

    def test_says_that_a_dataset_has_no_images_known_by_name(self, train):
        said = Lines()
        data = train.dataset()
        feature_extract(tiny(), data, data, epochs=1, say=said, verbose=0)
        unknown = "end to end, its images are known to an image folder alone"
        assert said == [f"train: {unknown}; validation: {unknown}"]

    def test_says_that_a_model_steps_in_its_own_way(self, tmp_path, train):
        class Own(keras.Model):
            def train_step(self, data):
                return super().train_step(data)

        whole, said = tiny(), Lines()
        model = Own(whole.inputs, whole.outputs)
        model.compile("sgd", "categorical_crossentropy")
        fit(model, train, epochs=1, cache=tmp_path, say=said, verbose=0)
        assert said == ["train: end to end, the model has its own train_step"]

    def test_says_that_xla_may_round_otherwise(self, tmp_path, train):
        model = tiny()
        model.compile("sgd", "categorical_crossentropy", jit_compile=True)
        options = CacheOptions(tmp_path)
        feed = training_feed(model, train, options, range(1))
        assert "compiled with XLA, which may round otherwise" in feed.sentence


class TestForeignLayers:
    def cached(self, tmp_path, train, layer):
        said = Lines()
        model = tiny(foreign=layer)
        feature_extract(model, train, epochs=1, cache=tmp_path, say=said, verbose=0)
        return said[0]

    def test_a_layer_from_elsewhere_is_cached_if_it_proves_itself(
        self, tmp_path, train
    ):
        assert "cached at pool" in self.cached(tmp_path, train, Halving(name="own"))

    def test_one_that_mixes_the_images_of_a_batch_is_not(self, tmp_path, train):
        class Mixing(Halving):
            def call(self, inputs):
                return inputs - keras.ops.mean(inputs, axis=0)

        line = self.cached(tmp_path, train, Mixing(name="own"))
        assert "end to end, features of an image depend on the others" in line

    def test_one_that_is_random_without_saying_so_is_not(self, tmp_path, train):
        class Noisy(Halving):
            def call(self, inputs):
                return inputs + keras.random.normal(keras.ops.shape(inputs))

        line = self.cached(tmp_path, train, Noisy(name="own"))
        assert "end to end, features of an image depend on the others" in line

    def test_one_that_changes_a_state_is_not(self, tmp_path, train):
        class Counting(Halving):
            def build(self, shape):
                self.count = self.add_weight(shape=(), trainable=False)

            def call(self, inputs):
                self.count.assign_add(1.0)
                return inputs

        line = self.cached(tmp_path, train, Counting(name="own"))
        assert "end to end, 'own' may change a state when called" in line

    def test_one_that_adds_to_the_loss_is_not(self, tmp_path, train):
        class Costly(Halving):
            def call(self, inputs):
                self.add_loss(keras.ops.mean(inputs))
                return inputs

        line = self.cached(tmp_path, train, Costly(name="own"))
        assert "end to end, 'own' may add to the loss" in line

    def test_a_lambda_is_not(self, tmp_path, train):
        layer = keras.layers.Lambda(lambda x: x, output_shape=lambda s: s, name="own")
        assert "end to end, 'own' is a Lambda" in self.cached(tmp_path, train, layer)


class Watching(keras.callbacks.Callback):
    """Uses the model as user callbacks do."""

    def __init__(self, batch, labels):
        super().__init__()
        self.batch, self.labels = batch, labels
        self.models, self.outputs, self.losses = set(), [], []

    def on_epoch_end(self, epoch, logs=None):
        self.models.add(id(self.model))
        self.outputs.append(self.model.predict(self.batch, verbose=0))
        self.outputs.append(np.array(self.model(self.batch)))
        results = self.model.evaluate(
            self.batch, self.labels, return_dict=True, verbose=0
        )
        self.losses.append(results["loss"])


class TestCallbacks:
    def test_see_the_whole_model_on_images(self, tmp_path, train, held_out):
        batch, labels = next(iter(held_out.dataset()))
        watched = []
        for cache in ("off", tmp_path):
            keras.utils.set_random_seed(3)
            model, watching = tiny(), Watching(batch.numpy(), labels.numpy())
            fine_tune(
                model,
                train,
                held_out,
                last=1,
                epochs=2,
                cache=cache,
                callbacks=[watching],
                verbose=0,
            )
            assert watching.models == {id(model)}
            watched.append(watching)
        np.testing.assert_array_equal(watched[0].outputs, watched[1].outputs)
        assert watched[0].losses == watched[1].losses

    @pytest.mark.parametrize("name", ["epoch.weights.h5", "whole.keras"])
    def test_checkpoints_hold_and_load_the_whole_model(
        self, tmp_path, train, held_out, name
    ):
        path = tmp_path / name
        if name.endswith(".keras"):
            checkpoint = keras.callbacks.ModelCheckpoint(path)
        else:
            checkpoint = checkpoint_callback(path)
        model = tiny()
        feature_extract(
            model,
            train,
            held_out,
            epochs=2,
            cache=tmp_path / "cache",
            callbacks=[checkpoint],
            verbose=0,
        )
        again = load_model(path) if name.endswith(".keras") else tiny()
        again.load_weights(path) if not name.endswith(".keras") else None
        for a, b in zip(model.get_weights(), again.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)
        assert evaluate(again, held_out) == evaluate(model, held_out)

    def test_stop_restore_and_lower_the_rate_as_end_to_end(
        self, tmp_path, train, held_out
    ):
        ends = []
        for cache in ("off", tmp_path / "cache"):
            keras.utils.set_random_seed(3)
            model = tiny()
            history = feature_extract(
                model,
                train,
                held_out,
                epochs=12,
                learning_rate=0.5,
                cache=cache,
                callbacks=[
                    keras.callbacks.ReduceLROnPlateau(patience=1, factor=0.3),
                    keras.callbacks.EarlyStopping(
                        patience=3, restore_best_weights=True
                    ),
                    keras.callbacks.TensorBoard(tmp_path / f"logs-{cache == 'off'}"),
                    EpochClock(),
                ],
                verbose=0,
            )
            history.history.pop("seconds")
            ends.append((model.get_weights(), history.history))
        (plain, end_to_end), (cached, history) = ends
        assert history == end_to_end
        assert len(history["loss"]) < 12
        for a, b in zip(plain, cached, strict=True):
            np.testing.assert_array_equal(a, b)
        assert list((tmp_path / "logs-False").rglob("events.*"))

    def test_an_error_in_one_leaves_the_model_as_it_was(self, tmp_path, train):
        def fail(*_):
            raise RuntimeError("planted")

        model = tiny()
        planted = keras.callbacks.LambdaCallback(on_epoch_end=fail)
        with pytest.raises(RuntimeError, match="planted"):
            feature_extract(
                model,
                train,
                epochs=1,
                cache=tmp_path,
                callbacks=[planted],
                verbose=0,
            )
        assert "train_step" not in vars(model)
        model.fit(train.dataset(), epochs=1, shuffle=False, verbose=0)


def test_the_model_is_its_own_again_after_training(tmp_path, train):
    model = tiny()
    feature_extract(model, train, epochs=1, cache=tmp_path, verbose=0)
    assert not {"train_step", "test_step"} & set(vars(model))
    before = model.predict(train.dataset(), verbose=0)
    model.fit(train.dataset(), epochs=1, shuffle=False, verbose=0)
    assert not np.array_equal(model.predict(train.dataset(), verbose=0), before)


def test_nothing_is_redirected_where_nothing_is_cached():
    model = tiny()
    with redirected(model, train=None, test=None):
        assert "train_step" not in vars(model)


class Computed:
    """Counts the images that are computed."""

    def __init__(self):
        self.images = []

    def __call__(self, name, done, total):
        if done == total:
            self.images.append((name, total))


class TestEachImageRunsOnce:
    def fit(self, model, train, cache, **options):
        computed = Computed()
        feature_extract(
            model,
            train,
            **{"epochs": 2, **options},
            cache=cache,
            progress=computed,
            verbose=0,
        )
        return computed.images

    def test_in_all_epochs_and_fits_together(self, tmp_path, train):
        assert self.fit(tiny(), train, tmp_path) == [("train", 36)]
        assert self.fit(tiny(), train, tmp_path, epochs=4) == []

    @pytest.mark.parametrize(
        "change",
        [
            lambda train: (tiny(dropout=0.5), train, {}),
            lambda train: (tiny(), train, {"learning_rate": 0.1}),
            lambda train: (tiny(), train, {"optimizer": "sgd"}),
            lambda train: (tiny(), train.unshuffled(), {}),
            lambda train: (tiny(), train.relabelled("int"), {}),
            lambda train: (tiny(style="sequential"), train, {}),
        ],
        ids=["head", "rate", "optimizer", "order", "labels", "style"],
    )
    def test_whatever_of_the_training_changes(self, tmp_path, train, change):
        self.fit(tiny(), train, tmp_path)
        model, folder, options = change(train)
        assert self.fit(model, folder, tmp_path, **options) == []

    def test_and_again_if_one_weight_changes(self, tmp_path, train):
        self.fit(tiny(), train, tmp_path)
        model = tiny()
        kernel = model.get_layer("tiny").network.get_layer("first").kernel
        values = np.array(kernel)
        values.flat[0] = np.nextafter(values.flat[0], np.float32(9))
        kernel.assign(values)
        assert self.fit(model, train, tmp_path) == [("train", 36)]

    def test_and_once_more_for_the_image_whose_byte_changes(self, tmp_path, images):
        copy = tmp_path / "images"
        shutil.copytree(images, copy)
        folder = image_folder(copy, image_size=SIZE, batch_size=8)
        self.fit(tiny(), folder, tmp_path / "cache")
        path = Path(folder.paths[0])
        data = bytearray(path.read_bytes())
        data += b"\0"
        path.write_bytes(data)
        folder = image_folder(copy, image_size=SIZE, batch_size=8)
        assert self.fit(tiny(), folder, tmp_path / "cache") == [("train", 1)]

    def test_and_again_at_another_size(self, tmp_path, images):
        for size in (32, 40):
            keras.utils.set_random_seed(7)
            model = create_model("sample_net", 3, input_shape=(size, size, 3))
            folder = image_folder(images, image_size=(size, size))
            assert self.fit(model, folder, tmp_path) == [("train", 45)]

    def test_and_again_in_another_precision(self, tmp_path, train, mixed_float16):
        model = tiny()
        keras.config.set_dtype_policy("float32")
        assert self.fit(tiny(), train, tmp_path) == [("train", 36)]
        assert self.fit(model, train, tmp_path) == [("train", 36)]

    def test_while_a_larger_part_of_the_images_adds_the_rest_alone(
        self, tmp_path, images
    ):
        part = image_folder(images, image_size=SIZE, percent=20)
        whole = image_folder(images, image_size=SIZE)
        assert self.fit(tiny(), part, tmp_path) == [("train", 9)]
        assert self.fit(tiny(), whole, tmp_path) == [("train", 36)]

    def test_and_again_where_libraries_differ(self, tmp_path, train, monkeypatch):
        self.fit(tiny(), train, tmp_path)
        monkeypatch.setattr(work, "arithmetic", lambda: {"versions": {"keras": "4"}})
        assert self.fit(tiny(), train, tmp_path) == [("train", 36)]


class TestWhatGoesWrong:
    def test_a_damaged_entry_is_computed_again(self, tmp_path, train):
        said = Lines()
        options = {"epochs": 1, "cache": tmp_path, "say": said, "verbose": 0}
        feature_extract(tiny(), train, **options)
        (path,) = tmp_path.glob("*.features")
        data = bytearray(path.read_bytes())
        data[100] ^= 1
        path.write_bytes(data)
        feature_extract(tiny(), train, **options)
        feature_extract(tiny(), train, **options)
        assert said[1].endswith("(a damaged entry was computed again)")
        assert said[2].endswith("(found)")

    def test_a_full_disk_is_said_and_training_goes_on(
        self, tmp_path, train, monkeypatch
    ):
        said = Lines()
        monkeypatch.setenv("TLCORE_CACHE_DIR", str(tmp_path))
        self.fill_the_disk(monkeypatch)
        history = feature_extract(tiny(), train, epochs=1, say=said, verbose=0)
        assert history.epoch == [0]
        assert "the cache cannot be used: [Errno 28] No space left" in said[0]
        assert not list(tmp_path.glob("*.features"))

    def test_a_full_disk_is_an_error_where_the_cache_was_asked_for(
        self, tmp_path, train, monkeypatch
    ):
        self.fill_the_disk(monkeypatch)
        with pytest.raises(OSError, match="No space left"):
            feature_extract(tiny(), train, epochs=1, cache=tmp_path, verbose=0)

    def fill_the_disk(self, monkeypatch):
        def full(*_):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(os, "posix_fallocate", full)

    def test_an_entry_beyond_the_limit_is_said(self, tmp_path, train, monkeypatch):
        monkeypatch.setenv("TLCORE_CACHE_DIR", str(tmp_path))
        monkeypatch.setenv("TLCORE_CACHE_LIMIT", "100")
        said = Lines()
        feature_extract(tiny(), train, epochs=1, say=said, verbose=0)
        assert "end to end, the cache cannot be used: A cache must be at" in said[0]
        with pytest.raises(ValueError, match="Set TLCORE_CACHE_LIMIT to more"):
            feature_extract(tiny(), train, epochs=1, cache=tmp_path, verbose=0)

    def test_a_cache_that_is_a_file_is_an_error(self, tmp_path, train):
        path = tmp_path / "file"
        path.touch()
        with pytest.raises(OSError, match="file"):
            feature_extract(tiny(), train, epochs=1, cache=path, verbose=0)

    @pytest.mark.parametrize("cache", [None, 1, True, ""])
    def test_a_cache_that_is_none_is_refused(self, train, cache):
        with pytest.raises(ValueError, match='must be "auto", "off" or a folder'):
            feature_extract(tiny(), train, epochs=1, cache=cache, verbose=0)

    @pytest.mark.parametrize("value", [0, 1.5, True])
    @pytest.mark.parametrize("name", ["views", "workers", "validation_freq"])
    def test_a_number_that_is_none_is_refused(self, train, name, value):
        with pytest.raises(ValueError, match=f"{name} must be a whole number of at"):
            feature_extract(tiny(), train, epochs=1, **{name: value}, verbose=0)

    def test_views_without_augmentation_are_refused(self, train):
        with pytest.raises(ValueError, match="augmentation comes first. Received"):
            feature_extract(tiny(), train, epochs=1, views=2, verbose=0)

    def test_views_of_a_model_that_steps_in_its_own_way_are_refused(self, train):
        class Own(keras.Model):
            def compute_loss(self, *args, **options):
                return super().compute_loss(*args, **options)

        whole = tiny(augmentation="tutorial")
        model = Own(whole.inputs, whole.outputs)
        model.compile("sgd", "categorical_crossentropy")
        with pytest.raises(ValueError, match="its own compute_loss. Leave views out"):
            fit(model, train, epochs=1, views=2, verbose=0)

    def test_views_of_a_dataset_are_refused(self, train):
        model = tiny(augmentation="tutorial")
        with pytest.raises(ValueError, match="Load them with image_folder"):
            feature_extract(model, train.dataset(), epochs=1, views=2, verbose=0)


class TestWorkers:
    def test_two_write_the_bytes_of_one(self, tmp_path, images):
        folder = image_folder(images, image_size=SIZE, batch_size=8)
        entries = []
        for workers in (1, 2):
            cache, computed = tmp_path / str(workers), Computed()
            feature_extract(
                tiny(augmentation="tutorial"),
                folder,
                epochs=1,
                views=1,
                cache=cache,
                workers=workers,
                progress=computed,
                verbose=0,
            )
            (path,) = cache.glob("*.features")
            entries.append((path.name, path.read_bytes()))
            assert computed.images == [("train", 45)]
        assert entries[0] == entries[1]

    def test_a_model_that_no_other_process_can_load_runs_end_to_end(
        self, tmp_path, images
    ):
        folder, said = image_folder(images, image_size=SIZE), Lines()
        feature_extract(
            tiny(foreign=Halving(name="own")),
            folder,
            epochs=1,
            cache=tmp_path,
            workers=2,
            say=said,
            verbose=0,
        )
        assert "end to end, a worker could not compute it" in said[0]
        assert not list(tmp_path.glob("*.features"))


def test_a_model_of_unknown_size_is_trained_end_to_end(tmp_path, train):
    layers = keras.layers
    inputs = keras.Input((None, None, 3))
    net = keras.Model(inputs, layers.Conv2D(4, 3)(inputs), name="open")
    model, said = create_model(net, 3, input_shape=SHAPE), Lines()
    feature_extract(model, train, epochs=1, cache=tmp_path, say=said, verbose=0)
    assert said[0].startswith("train: ")


def test_unfreezing_more_moves_the_cut(tmp_path, train):
    model, cuts = tiny(), []
    for last in (0, 1, 2):
        said = Lines()
        unfreeze(model, last=last)
        model.compile("sgd", "categorical_crossentropy")
        fit(model, train, epochs=1, cache=tmp_path, say=said, verbose=0)
        cuts.append(said[0].split()[3])
    assert cuts == ["pool,", "second,", "bn,"]


def test_the_marker_of_a_cut_is_no_name_that_a_model_would_use():
    assert _CUT.startswith("tlcore_")
