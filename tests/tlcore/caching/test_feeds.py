"""Feeds: the same bits as end to end, and a sentence that says what is read."""

import errno
import os
import re
from dataclasses import replace

import keras
import numpy as np
import pytest

from tlcore.backend import seam
from tlcore.caching.entry import BLOCK_ROWS
from tlcore.caching.feeds import (
    CacheOptions,
    _Visited,
    evaluation_rows,
    training_feed,
)
from tlcore.data.image_folder import image_folder
from tlcore.evaluation import evaluate
from tlcore.freezing import unfreeze
from tlcore.models import create_model, load_model
from tlcore.training import feature_extract, fine_tune, fit

from .networks import SHAPE, SIZE, Computed, Lines, compiled, tiny

matrix = pytest.mark.matrix


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


def regularized(**options):
    model = tiny(**options)
    model.get_layer("classifier").kernel_regularizer = "l2"
    model.get_layer("classifier").kernel.regularizer = keras.regularizers.L2(1)
    return model


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
    """Weights, optimizer, random states and history, against end to end.

    Each test runs two trainings. By default some stand for all; where one with many
    options fails, the matrix says which option it is.
    """

    @pytest.mark.matrix
    @pytest.mark.parametrize(
        ("model", "options"),
        [
            pytest.param(
                {"style": "sequential"},
                {
                    "last": 2,
                    "optimizer": "rmsprop",
                    "class_weight": {0: 1.0, 1: 3.0, 2: 0.5},
                    "steps_per_epoch": 7,
                    "validation_freq": 2,
                },
                marks=matrix,
            ),
            (
                {"head": "dense", "input_contract": "caffe", "dropout": 0.0},
                {
                    "last": 4,
                    "optimizer": "sgd",
                    "batch_norm": False,
                    "sample_weight": np.linspace(0, 2, 36),
                },
            ),
        ],
        ids=["sequential", "dense"],
    )
    def test_with_many_options_at_once(self, tmp_path, train, held_out, model, options):
        assert_the_same(
            both_ways(
                tmp_path, train, held_out, make=lambda: regularized(**model), **options
            )
        )

    @matrix
    @pytest.mark.parametrize(
        ("last", "optimizer"), [(0, "adam"), (1, "sgd"), (2, "rmsprop"), (3, "adam")]
    )
    def test_for_any_boundary_and_optimizer(
        self, tmp_path, train, held_out, last, optimizer
    ):
        assert_the_same(
            both_ways(tmp_path, train, held_out, last=last, optimizer=optimizer)
        )

    @matrix
    @pytest.mark.parametrize(
        "options",
        [
            {"style": "sequential"},
            {"head": "dense"},
            {"input_contract": "caffe", "dropout": 0.0},
        ],
        ids=["sequential", "dense", "caffe"],
    )
    def test_for_any_form_of_model(self, tmp_path, train, held_out, options):
        assert_the_same(
            both_ways(tmp_path, train, held_out, make=lambda: tiny(**options))
        )

    @matrix
    @pytest.mark.parametrize(
        "options",
        [
            {"class_weight": {0: 1.0, 1: 3.0, 2: 0.5}},
            {"steps_per_epoch": 7, "validation_freq": 2},
            {"batch_norm": False, "last": 4},
            {"sample_weight": np.linspace(0, 2, 36)},
        ],
        ids=["class_weight", "steps_per_epoch", "batch_norm", "sample_weight"],
    )
    def test_with_what_fit_takes(self, tmp_path, train, held_out, options):
        sides = both_ways(tmp_path, train, held_out, **options)
        assert_the_same(sides)

    @matrix
    def test_with_labels_that_are_numbers(self, tmp_path, train, held_out):
        folders = train.relabelled("int"), held_out.relabelled("int")
        assert_the_same(both_ways(tmp_path, *folders))

    @pytest.mark.matrix
    @pytest.mark.parametrize(
        "batch_size", [pytest.param(1, marks=matrix), 7, pytest.param(32, marks=matrix)]
    )
    def test_for_any_batch_size_one_image_alone_included(
        self, tmp_path, images, batch_size
    ):
        # 36 images in batches of 7 leave one alone, each epoch another.
        folder = image_folder(
            images, image_size=SIZE, batch_size=batch_size, label_mode="int"
        )
        train, held_out = folder.split_off(20)
        assert_the_same(both_ways(tmp_path, train, held_out, epochs=2))

    @matrix
    def test_in_mixed_precision(self, tmp_path, train, held_out, mixed_float16):
        sides = both_ways(tmp_path, train, held_out)
        assert_the_same(sides)

    @matrix
    def test_with_a_regularizer_in_what_trains(self, tmp_path, train, held_out):
        assert_the_same(both_ways(tmp_path, train, held_out, make=regularized))

    @matrix
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

    @matrix
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
        ("augmentation", "views"),
        [("tutorial", 2), pytest.param("generator", 1, marks=matrix)],
    )
    def test_for_a_bank_of_views(self, tmp_path, train, augmentation, views):
        sides = both_ways(
            tmp_path,
            train,
            None,
            make=lambda: tiny(augmentation=augmentation),
            views=views,
        )
        assert_the_same(sides)
        count = f"{views} view{'s' if views > 1 else ''}"
        assert sides[1][2].startswith(f"train: {count}, cached at second")

    @pytest.mark.matrix
    @pytest.mark.usefixtures("_untrained")
    def test_for_later_epochs_of_a_bank_whose_other_views_are_not_computed(
        self, tmp_path, train
    ):
        computed, history = Computed(), keras.callbacks.History()
        history.epoch = [0, 1]
        fine_tune(
            tiny(augmentation=keras.layers.RandomFlip()),
            train,
            history=history,
            last=1,
            epochs=2,
            views=5,
            cache=tmp_path,
            progress=computed,
            verbose=0,
        )
        assert computed.images == [("train", 36)] * 2

    @matrix
    def test_where_only_validation_is_cached(self, tmp_path, train, held_out):
        def make():
            return tiny(augmentation=keras.layers.RandomFlip(name="random_flip"))

        sides = both_ways(tmp_path, train, held_out, make=make)
        assert_the_same(sides)
        assert sides[1][2] == (
            "train: end to end, 'random_flip' is random in training; "
            "validation: cached at second, 1.53 KiB/image"
        )

    def test_of_evaluate(self, tmp_path, train):
        model, train = tiny(), replace(train, batch_size=12)
        plain = evaluate(model, train, cache="off")
        for _ in range(2):
            assert evaluate(model, train, cache=tmp_path / "cache") == plain
        assert len(list((tmp_path / "cache").glob("*.features"))) == 1


@pytest.mark.usefixtures("_untrained")
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
        [(5, "end to end, 'first' trains"), (4, "cached at first")],
    )
    def test_says_what_trains_at_the_bottom(self, tmp_path, train, last, expected):
        model = tiny()
        unfreeze(model, last=last)
        options = CacheOptions(tmp_path)
        feed = training_feed(compiled(model), train, options, range(1))
        assert feed.sentence.startswith(expected)

    def test_says_that_a_model_steps_in_its_own_way(self, tmp_path, train):
        class Own(keras.Model):
            def train_step(self, data):
                return super().train_step(data)

        whole, said = tiny(), Lines()
        model = Own(whole.inputs, whole.outputs)
        model.compile("sgd", "categorical_crossentropy")
        fit(model, train, epochs=1, cache=tmp_path, say=said, verbose=0)
        assert said == ["train: end to end, the model has its own train_step"]

    @pytest.mark.tensorflow
    def test_says_that_xla_may_round_differently(self, tmp_path, train):
        model = compiled(tiny(), jit_compile=True)
        feed = training_feed(model, train, CacheOptions(tmp_path), range(1))
        assert "compiled with XLA, which may round differently" in feed.sentence


class TestWhatGoesWrong:
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

    @pytest.mark.usefixtures("_untrained")
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
        with pytest.raises(ValueError, match=r"must be a folder.*which is a file"):
            feature_extract(tiny(), train, epochs=1, cache=path, verbose=0)

    @pytest.mark.parametrize("cache", [None, 1, True, ""])
    def test_a_cache_of_another_kind_is_refused(self, train, cache):
        received = re.escape(f"Received: cache={cache!r}")
        sentence = f'must be "auto", "off" or a folder.*{received}.*cache="off"'
        with pytest.raises(ValueError, match=sentence):
            feature_extract(tiny(), train, epochs=1, cache=cache, verbose=0)

    @pytest.mark.parametrize("value", [0, 1.5, True])
    @pytest.mark.parametrize("name", ["views", "workers", "validation_freq"])
    def test_a_number_that_is_not_whole_or_positive_is_refused(
        self, train, name, value
    ):
        sentence = f"{name} must .* of at least 1.*Received: {name}={value!r}"
        with pytest.raises(ValueError, match=sentence):
            feature_extract(tiny(), train, epochs=1, **{name: value}, verbose=0)

    def test_views_without_augmentation_are_refused(self, train):
        sentence = "augmentation comes first.*Received: model=.*Leave views out"
        with pytest.raises(ValueError, match=sentence):
            feature_extract(tiny(), train, epochs=1, views=2, verbose=0)

    def test_views_of_a_model_that_steps_in_its_own_way_are_refused(self, train):
        class Own(keras.Model):
            def compute_loss(self, *args, **options):
                return super().compute_loss(*args, **options)

        whole = tiny(augmentation="tutorial")
        model = Own(whole.inputs, whole.outputs)
        model.compile("sgd", "categorical_crossentropy")
        with pytest.raises(ValueError, match="its own compute_loss.*Leave views out"):
            fit(model, train, epochs=1, views=2, verbose=0)

    def test_views_of_a_dataset_are_refused(self, train):
        model = tiny(augmentation="tutorial")
        with pytest.raises(ValueError, match="Load them with image_folder"):
            feature_extract(model, train.dataset(), epochs=1, views=2, verbose=0)


@pytest.mark.parametrize(
    ("batch_size", "sizes"),
    [
        (8, {8: 36, 4: 7}),
        (7, {7: 36, 1: 2}),
        (1, {1: 36}),
        (36, {36: 36}),
        (64, {36: 36}),
    ],
)
def test_what_steps_visit_is_known_by_the_size_of_its_batch(train, batch_size, sizes):
    folder = replace(train, batch_size=batch_size)
    visited = _Visited.between(folder, range(len(folder) + 1, 3 * len(folder)))
    if not seam.current().SIZES_ROUND_ALIKE:  # a small batch is filled
        sizes = {batch_size: 36}
    assert {size: len(images) for size, images in visited.batches.items()} == sizes
    if 1 in sizes and batch_size == 7:
        last = {folder.order(epoch)[-1] for epoch in (1, 2)}
        assert set(visited.batches[1]) == last
    if batch_size < 36:
        assert visited.epochs == range(1, 3)


@pytest.mark.parametrize("batch_size", [1, 7])
def test_rows_of_all_images_do_not_depend_on_the_batch_size(
    tmp_path, images, batch_size
):
    # 33 images: the last one is alone behind a block of 32.
    folder = image_folder(images, image_size=SIZE, percent=73, batch_size=batch_size)
    assert folder.num_images == BLOCK_ROWS + 1
    rows = evaluation_rows(tiny(), folder, CacheOptions(tmp_path))
    for visits in np.split(np.arange(BLOCK_ROWS + 1), [BLOCK_ROWS]):
        assert len(rows.take(visits)[0]) == len(visits)


def test_a_backbone_of_unknown_size_is_cached_on_images_of_one_size(tmp_path, train):
    layers = keras.layers
    inputs = keras.Input((None, None, 3))
    net = keras.Model(inputs, layers.Conv2D(4, 3)(inputs), name="open")
    model = compiled(create_model(net, 3, input_shape=SHAPE))
    feed = training_feed(model, train, CacheOptions(tmp_path), range(1))
    assert feed.sentence == "cached at pool, 16 B/image"


def test_unfreezing_more_moves_the_cut(tmp_path, train):
    model, cuts = tiny(), []
    for last in (0, 1, 2):
        unfreeze(model, last=last)
        feed = training_feed(compiled(model), train, CacheOptions(tmp_path), range(1))
        cuts.append(feed.sentence.partition(",")[0])
    assert cuts == ["cached at pool", "cached at second", "cached at bn"]
