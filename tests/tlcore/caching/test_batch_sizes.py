"""Batch sizes: where kernels round by size, features are computed at that size."""

import json
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from tlcore.backend import seam
from tlcore.caching import batch_sizes
from tlcore.caching.batch_sizes import (
    ANY,
    InexactError,
    computed,
    computed_sizes,
    filled,
    rounds_alike,
)
from tlcore.caching.entry import BLOCK_ROWS
from tlcore.splitting.split import split

IMAGES = np.random.default_rng(0).random((BLOCK_ROWS, 4, 4, 3), np.float32)


class Rounding:
    """A prefix whose features depend on the size of the batch, below some sizes."""

    def __init__(self, *odd, multiplies_rows=False):
        self.odd, self.sizes, self.replicas = odd, [], 1
        self.part = SimpleNamespace(multiplies_rows=multiplies_rows)

    def __call__(self, images):
        self.sizes.append(len(images))
        features = np.asarray(images).mean(axis=(1, 2))
        return [features + np.float32(1e-3) if len(images) in self.odd else features]


@pytest.fixture
def by_trial(monkeypatch):
    """Let trials decide, as on JAX and PyTorch."""
    monkeypatch.setattr(seam.current(), "SIZES_ROUND_ALIKE", False)


def sizes_of(prefix, sizes, folder, fingerprint="ab" * 32):
    return computed_sizes(sizes, prefix, fingerprint, folder, lambda: IMAGES)


@pytest.mark.tensorflow
def test_with_tensorflow_one_image_alone_is_computed_alone(tmp_path):
    prefix = Rounding()
    assert sizes_of(prefix, [1, 2, 31, 64], tmp_path) == {
        1: 1,
        2: ANY,
        31: ANY,
        64: ANY,
    }
    assert not prefix.sizes
    assert len(filled(IMAGES[:1], ANY)) == 2
    assert len(filled(IMAGES[:1], 1)) == 1
    assert len(filled(IMAGES[:7], ANY)) == 7


@pytest.mark.tensorflow
class TestMatrixProductsWithTensorFlow:
    def test_images_are_computed_in_whole_blocks(self, tmp_path):
        prefix = Rounding(multiplies_rows=True)
        found = sizes_of(prefix, [1, 2, 16], tmp_path)
        assert found == {1: 1, 2: BLOCK_ROWS, 16: BLOCK_ROWS}
        assert sorted(prefix.sizes) == [2, 16, BLOCK_ROWS, BLOCK_ROWS]
        assert len(filled(IMAGES[:7], BLOCK_ROWS)) == BLOCK_ROWS

    def test_a_batch_that_rounds_otherwise_is_a_reason_not_to(self, tmp_path):
        prefix = Rounding(3, multiplies_rows=True)
        for _ in range(2):  # the second time by what was kept
            with pytest.raises(InexactError, match="by the place of .* a batch of 3"):
                sizes_of(prefix, [16, 3], tmp_path)
        assert prefix.sizes.count(3) == 1

    def test_a_layer_says_whether_it_multiplies_rows(self):
        layers = keras.layers
        for stage, multiplies in (
            (layers.Conv2D(2, 3), False),
            (layers.Dense(2), True),
            (keras.Sequential([layers.Dense(2)]), True),
        ):
            network = keras.Sequential([keras.Input((4, 4, 3)), stage])
            network.trainable = False
            part = split(network, training=False).prefix
            assert part.multiplies_rows is multiplies


@pytest.mark.usefixtures("by_trial")
class TestTrial:
    def test_finds_the_sizes_that_round_otherwise(self, tmp_path):
        prefix = Rounding(3, 40)
        found = sizes_of(prefix, [3, 5, 40, BLOCK_ROWS], tmp_path)
        assert found == {3: 3, 5: ANY, 40: 40, BLOCK_ROWS: ANY}

    def test_a_block_needs_none(self, tmp_path):
        prefix = Rounding()
        assert sizes_of(prefix, [BLOCK_ROWS], tmp_path) == {BLOCK_ROWS: ANY}
        assert not prefix.sizes

    def test_is_made_once(self, tmp_path):
        sizes_of(Rounding(3), [3, 5], tmp_path)
        again = Rounding()
        assert sizes_of(again, [3, 5], tmp_path) == {3: 3, 5: ANY}
        assert not again.sizes
        more = Rounding(7)
        assert sizes_of(more, [3, 7], tmp_path) == {3: 3, 7: 7}
        assert 7 in more.sizes
        assert 3 not in more.sizes

    def test_is_made_anew_for_other_features(self, tmp_path):
        sizes_of(Rounding(3), [3], tmp_path)
        other = Rounding()
        assert sizes_of(other, [3], tmp_path, "cd" * 32) == {3: ANY}
        assert 3 in other.sizes

    @pytest.mark.parametrize(
        "damage",
        [
            lambda text: text[:-5],
            lambda text: text.replace('"3": 3', '"3": 0'),
            lambda text: "[]",
            lambda text: json.dumps({"checksum": 3}),
        ],
    )
    def test_is_made_anew_where_its_result_is_damaged(self, tmp_path, damage):
        sizes_of(Rounding(3), [3], tmp_path)
        (path,) = (tmp_path / ".sizes").iterdir()
        path.write_text(damage(path.read_text()))
        again = Rounding(3)
        assert sizes_of(again, [3], tmp_path) == {3: 3}
        assert 3 in again.sizes

    def test_looks_at_every_row(self):
        class LastRow(Rounding):
            def __call__(self, images):
                (features,) = super().__call__(images)
                features = features.copy()
                if len(images) == 6:
                    features[-1] += 1e-3
                return [features]

        assert not rounds_alike(LastRow(), IMAGES[:2], 6)
        assert rounds_alike(LastRow(), IMAGES[:2], 7)

    def test_a_cache_that_cannot_be_written_to_is_no_error(self, tmp_path, monkeypatch):
        def refuse(*_):
            raise PermissionError("read-only")

        monkeypatch.setattr(batch_sizes, "write_text", refuse)
        assert sizes_of(Rounding(3), [3], tmp_path) == {3: 3}

    def test_features_are_computed_at_their_size(self):
        prefix = Rounding(5)
        rows = computed(prefix, IMAGES[:12], 5)
        assert prefix.sizes == [5, 5, 5]
        assert [len(x) for x in rows] == [12]
        expected = IMAGES[:12].mean(axis=(1, 2)) + np.float32(1e-3)
        np.testing.assert_array_equal(rows[0], expected)
        prefix.sizes.clear()
        assert len(computed(prefix, IMAGES[:3], ANY)[0]) == 3
        assert prefix.sizes == [BLOCK_ROWS]
