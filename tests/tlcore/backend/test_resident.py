"""Resident: rows on a device are those of the cache, where they may be there."""

from dataclasses import replace

import keras
import numpy as np
import pytest

from tlcore.backend import resident, seam
from tlcore.backend.resident import brought
from tlcore.backend.transport import Content
from tlcore.data.image_folder import image_folder
from tlcore.data.sample_images import write_sample_images
from tlcore.models import create_model
from tlcore.training import feature_extract, fine_tune

ARRAYS = [np.arange(12.0).reshape(4, 3), np.arange(4)]


class Rows:
    """Rows of 32 bytes for each of four images."""

    tensors = ("a", "b")

    def take(self, visits):
        return [array[visits % 4] for array in ARRAYS]

    def whole(self, max_bytes):
        return ARRAYS if max_bytes >= 128 else None


CONTENT = Content(read=lambda visit: visit, shape=(1,), rows=Rows())


@pytest.mark.parametrize(("free", "there"), [(0, False), (511, False), (512, True)])
def test_they_are_there_where_they_fit_in_a_quarter_of_what_is_free(free, there):
    found = brought(CONTENT, free, np.asarray, lambda array, rows: array[rows])
    assert (found.rows is not CONTENT.rows) is there
    for visits in map(np.array, ([3, 0], [5, 6, 2])):
        pairs = zip(found.rows.take(visits), CONTENT.rows.take(visits), strict=True)
        assert all(np.array_equal(a, b) for a, b in pairs)


def test_what_has_no_rows_is_left_alone():
    plain = replace(CONTENT, rows=None)
    assert brought(plain, 10**9, np.asarray, np.take) is plain


@pytest.mark.skipif(
    keras.backend.backend() == "tensorflow", reason="tf.data reads rows from the host"
)
def test_training_on_them_has_the_same_bits(tmp_path, monkeypatch):
    write_sample_images(tmp_path / "images", classes=3, per_class=9, size=32)
    train = image_folder(tmp_path / "images", image_size=32, batch_size=8)
    backend, seen, weights = seam.current(), [], []
    init = resident.ResidentRows.__init__

    def noted(self, *arguments):
        seen.append(len(weights))
        init(self, *arguments)

    monkeypatch.setattr(resident.ResidentRows, "__init__", noted)
    for free in (0, 10**9):
        # As if the processor were a GPU with so much memory.
        monkeypatch.setattr(
            backend,
            "brought",
            lambda content, _, *how, free=free: brought(content, free, *how),
        )
        keras.utils.set_random_seed(1)
        model = create_model("sample_net", 3, input_shape=(32, 32, 3))
        quiet = {"verbose": 0, "cache": tmp_path / "cache", "epochs": 2}
        first = feature_extract(model, train, **quiet)
        fine_tune(model, train, history=first, last=3, **quiet)
        weights.append(model.get_weights())
    assert seen == [1, 1]
    assert all(np.array_equal(a, b) for a, b in zip(*weights, strict=True))
