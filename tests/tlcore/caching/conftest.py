"""What the tests of the cache share: a cache, and images to train on."""

import keras
import pytest

from tlcore.caching.store import FeatureCache
from tlcore.data.image_folder import image_folder
from tlcore.data.sample_images import write_sample_images

from .networks import SIZE


@pytest.fixture
def cache(tmp_path):
    return FeatureCache(tmp_path / "features")


@pytest.fixture(scope="session")
def images(tmp_path_factory):
    directory = tmp_path_factory.mktemp("images")
    write_sample_images(directory, classes=3, per_class=15, size=32)
    return directory


@pytest.fixture(scope="session")
def splits(images):
    return image_folder(images, image_size=SIZE, batch_size=8).split_off(20)


@pytest.fixture
def train(splits):
    return splits[0]


@pytest.fixture
def held_out(splits):
    return splits[1]


@pytest.fixture
def _untrained(monkeypatch):
    """Do all that `fit` does except the training itself."""

    def fit(model, *args, **options):
        return keras.callbacks.History()

    monkeypatch.setattr(keras.Model, "fit", fit)
