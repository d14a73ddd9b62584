"""The feature pass: each image runs through the frozen layers once."""

import shutil
from pathlib import Path

import keras
import numpy as np
import pytest

from tlcore.caching import work
from tlcore.caching.feeds import CacheOptions, training_feed
from tlcore.data.image_folder import image_folder
from tlcore.models import create_model
from tlcore.training import feature_extract

from .networks import SIZE, Computed, compiled, tiny


def passed(model, folder, cache, **options):
    """Return the passes that two epochs of training on a folder need."""
    computed = Computed()
    feed_options = CacheOptions(cache, progress=computed)
    steps = range(2 * len(folder))
    training_feed(compiled(model, **options), folder, feed_options, steps)
    return computed.images


@pytest.fixture(scope="module")
def filled(splits, tmp_path_factory):
    """Return a cache that holds the features of `tiny()` for all training images."""
    cache = tmp_path_factory.mktemp("filled")
    assert passed(tiny(), splits[0], cache) == [("train", 36)]
    return cache


class TestEachImageRunsOnce:
    @pytest.mark.usefixtures("_untrained")
    def test_in_all_epochs_and_fits_together(self, tmp_path, train):
        for epochs, expected in ((2, [("train", 36)]), (4, [])):
            computed = Computed()
            options = {"cache": tmp_path, "progress": computed, "verbose": 0}
            feature_extract(tiny(), train, epochs=epochs, **options)
            assert computed.images == expected

    @pytest.mark.parametrize(
        "change",
        [
            lambda train: (tiny(dropout=0.5), train, {}),
            lambda train: (
                tiny(),
                train,
                {"optimizer": keras.optimizers.Adam(learning_rate=0.1)},
            ),
            lambda train: (tiny(), train, {"optimizer": "sgd"}),
            lambda train: (tiny(), train.unshuffled(), {}),
            lambda train: (
                tiny(),
                train.relabelled("int"),
                {"loss": "sparse_categorical_crossentropy"},
            ),
            lambda train: (tiny(style="sequential"), train, {}),
        ],
        ids=["head", "rate", "optimizer", "order", "labels", "style"],
    )
    def test_whatever_of_the_training_changes(self, filled, train, change):
        model, folder, options = change(train)
        assert passed(model, folder, filled, **options) == []

    def test_and_again_if_one_weight_changes(self, filled, train):
        model = tiny()
        kernel = model.get_layer("tiny").network.get_layer("first").kernel
        values = np.array(kernel)
        values.flat[0] = np.nextafter(values.flat[0], np.float32(9))
        kernel.assign(values)
        assert passed(model, train, filled) == [("train", 36)]

    def test_and_once_more_for_the_image_whose_byte_changes(self, tmp_path, images):
        copy = tmp_path / "images"
        shutil.copytree(images, copy)
        folder = image_folder(copy, image_size=SIZE, batch_size=8)
        passed(tiny(), folder, tmp_path / "cache")
        path = Path(folder.paths[0])
        data = bytearray(path.read_bytes())
        data += b"\0"
        path.write_bytes(data)
        folder = image_folder(copy, image_size=SIZE, batch_size=8)
        assert passed(tiny(), folder, tmp_path / "cache") == [("train", 1)]

    @pytest.mark.matrix
    def test_and_again_at_another_size(self, tmp_path, images):
        for size in (32, 40):
            keras.utils.set_random_seed(7)
            model = create_model("sample_net", 3, input_shape=(size, size, 3))
            folder = image_folder(images, image_size=(size, size))
            assert passed(model, folder, tmp_path) == [("train", 45)]

    def test_and_again_in_another_precision(self, filled, train, mixed_float16):
        assert passed(tiny(), train, filled) == [("train", 36)]

    def test_while_a_larger_part_of_the_images_adds_the_rest_alone(
        self, tmp_path, images
    ):
        # Batches of one size: where kernels round by it, features depend on it.
        part = image_folder(images, image_size=SIZE, percent=20, batch_size=9)
        whole = image_folder(images, image_size=SIZE, batch_size=9)
        assert passed(tiny(), part, tmp_path) == [("train", 9)]
        assert passed(tiny(), whole, tmp_path) == [("train", 36)]

    def test_and_again_where_libraries_differ(self, filled, train, monkeypatch):
        monkeypatch.setattr(work, "arithmetic", lambda: {"versions": {"keras": "4"}})
        assert passed(tiny(), train, filled) == [("train", 36)]


def test_a_damaged_entry_is_computed_again(tmp_path, train):
    def sentence():
        options = CacheOptions(tmp_path)
        folder = train
        return training_feed(compiled(tiny()), folder, options, range(1)).sentence

    sentence()
    (path,) = tmp_path.glob("*.features")
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)
    assert sentence().endswith("(a damaged entry was computed again)")
    assert sentence().endswith("(found)")
