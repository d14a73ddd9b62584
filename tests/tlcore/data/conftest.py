"""Image folders for the tests of the wing, and a reader of their batches."""

import itertools

import numpy as np
import pytest
from PIL import Image

SIZE = 4


def write_images(directory, counts):
    shade = itertools.count()
    for name, count in counts.items():
        (directory / name).mkdir(parents=True)
        for index in range(count):
            colour = (next(shade), 0, 255)
            image = Image.new("RGB", (SIZE, SIZE), colour)
            image.save(directory / name / f"{index:03}.png")
    return directory


def shades(images):
    return np.asarray(images)[:, 0, 0, 0].astype(int).tolist()


def read_batches(dataset, count=None):
    batches = itertools.islice(iter(dataset), count)
    return [
        list(zip(shades(images), np.asarray(labels).tolist(), strict=True))
        for images, labels in batches
    ]


@pytest.fixture(scope="session")
def write_folder():
    """Return what writes images of 4 pixels, `counts` of them by class.

    The red value of an image is its number, counted in the order of writing.
    """
    return write_images


@pytest.fixture(scope="session")
def visited():
    """Return what lists, batch by batch, the red value and label of each image."""
    return read_batches


@pytest.fixture
def folder(tmp_path):
    return write_images(tmp_path / "photos", {"b": 3, "a": 4, "c": 1})


@pytest.fixture(scope="session")
def large(tmp_path_factory):
    """Return a folder of 58 images, which no test may change."""
    directory = tmp_path_factory.mktemp("large")
    return write_images(directory, {"a": 40, "b": 17, "c": 1})
