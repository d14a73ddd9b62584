"""Views: what determines one, their order, and that they look like augmentation."""

import hashlib

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tlcore.augmentation import AUGMENTATIONS
from tlcore.models import create_model
from tlcore.splitting.split import split_augmentation
from tlcore.splitting.views import ViewBank

layers = keras.layers

SHAPE = (16, 16, 3)
IMAGES, VIEWS = 6, 3


def network():
    convolution = layers.Conv2D(4, 3, name="conv")
    return keras.Sequential([keras.Input(SHAPE), convolution], name="tiny")


def model_with(augmentation):
    return create_model(network(), 2, input_shape=SHAPE, augmentation=augmentation)


def digest(number):
    return hashlib.sha256(bytes([number])).hexdigest()


DIGESTS = tuple(digest(number) for number in range(IMAGES))


def pictures():
    rng = np.random.default_rng(0)
    return rng.uniform(0, 255, (IMAGES, *SHAPE)).astype("float32")


@pytest.fixture(scope="module")
def splits():
    return {name: split_augmentation(model_with(name))[0] for name in AUGMENTATIONS}


@pytest.fixture(scope="module", params=sorted(AUGMENTATIONS))
def augmentation(request, splits):
    return splits[request.param]


def bank_of(augmentation, *, count=VIEWS, seed=42, digests=DIGESTS):
    return ViewBank(augmentation, count=count, seed=seed, digests=digests)


def seen(bank, visits, images=None):
    """Return what some visits see."""
    visits = np.array(visits)
    images = pictures()[visits % IMAGES] if images is None else images
    return np.array(bank.views(images, bank.seeds(visits)))


class TestWhichView:
    @pytest.mark.parametrize(
        ("visit", "view"),
        [
            (0, 0),
            (IMAGES - 1, 0),
            (IMAGES, 1),
            (3 * IMAGES - 1, 2),
            (3 * IMAGES, 0),
            (100 * IMAGES + 5, 1),
        ],
    )
    def test_an_epoch_sees_the_next_one_and_after_the_last_the_first(
        self, splits, visit, view
    ):
        assert bank_of(splits["tutorial"]).view(visit) == view

    def test_a_bank_of_one_shows_the_same_in_every_epoch(self, splits):
        bank = bank_of(splits["tutorial"], count=1)
        first, later = bank.seeds(np.arange(4)), bank.seeds(np.arange(4) + 9 * IMAGES)
        assert np.array_equal(first, later)

    def test_views_and_images_differ_in_their_states(self, augmentation):
        states = bank_of(augmentation).seeds(np.arange(VIEWS * IMAGES))
        assert len(np.unique(states.reshape(len(states), -1), axis=0)) == len(states)

    def test_every_layer_has_a_state_of_its_own_below_two_to_the_31(self, augmentation):
        states = bank_of(augmentation).seeds(np.arange(IMAGES))
        assert states.shape == (IMAGES, len(augmentation.prefix.steps), 2)
        assert states.dtype == np.int64
        assert 0 <= states.min() <= states.max() < 2**31
        assert len(np.unique(states.reshape(-1, 2), axis=0)) == states.size // 2


class TestWhatDecidesAView:
    """The seed, the image's bytes and the number of the view, and nothing else."""

    @settings(max_examples=6, deadline=None, derandomize=True)
    @given(st.data())
    def test_batch_size_order_and_epoch_do_not(self, splits, data):
        bank = bank_of(splits[data.draw(st.sampled_from(sorted(AUGMENTATIONS)))])
        visits = data.draw(
            st.lists(st.integers(0, 20 * IMAGES), min_size=1, max_size=4)
        )
        together = seen(bank, visits)
        for at, visit in enumerate(visits):
            first_time = bank.view(visit) * IMAGES + visit % IMAGES
            assert seen(bank, [first_time])[0].tobytes() == together[at].tobytes()

    def test_the_place_of_an_image_in_its_folder_does_not(self, splits):
        one = bank_of(splits["tutorial"])
        other = bank_of(splits["tutorial"], digests=DIGESTS[::-1])
        assert np.array_equal(
            one.seeds(np.arange(IMAGES)), other.seeds(np.arange(IMAGES))[::-1]
        )

    def test_a_second_bank_of_a_second_model_is_the_same(self, augmentation):
        name = next(n for n in AUGMENTATIONS if _made_by(n) == _kinds(augmentation))
        again = split_augmentation(model_with(name))[0]
        one, other = bank_of(augmentation), bank_of(again)
        assert seen(one, range(6)).tobytes() == seen(other, range(6)).tobytes()
        assert one.fingerprint(1) == other.fingerprint(1)

    @pytest.mark.parametrize(
        "change",
        [
            {"seed": 43},
            {"digests": tuple(digest(100 + i) for i in range(IMAGES))},
        ],
    )
    def test_another_seed_or_other_bytes_do(self, augmentation, change):
        here = seen(bank_of(augmentation), range(IMAGES))
        there = seen(bank_of(augmentation, **change), range(IMAGES))
        assert all(not np.array_equal(a, b) for a, b in zip(here, there, strict=True))

    def test_another_number_does(self, augmentation):
        bank = bank_of(augmentation)
        views = [seen(bank, np.arange(IMAGES) + k * IMAGES) for k in range(VIEWS)]
        assert not any(np.array_equal(*pair) for pair in zip(*views[:2], strict=True))
        again = seen(bank, np.arange(IMAGES) + VIEWS * IMAGES)
        assert again.tobytes() == views[0].tobytes()

    def test_making_views_moves_no_state_of_the_model(self, augmentation):
        before = [np.array(x) for x in augmentation.prefix.variables]
        seen(bank_of(augmentation), range(IMAGES))
        after = [np.array(x) for x in augmentation.prefix.variables]
        assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


def _kinds(augmentation):
    return [_kind(step.operation) for step in augmentation.prefix.steps]


def _made_by(name):
    return [_kind(layer) for layer in AUGMENTATIONS[name]()]


def _kind(layer):
    return type(layer).__name__, getattr(layer, "steps", None)


class TestFingerprint:
    def test_changes_with_seed_view_and_augmentation(self, splits):
        prints = [
            bank_of(splits["tutorial"]).fingerprint(0),
            bank_of(splits["tutorial"]).fingerprint(1),
            bank_of(splits["tutorial"], seed=1).fingerprint(0),
            bank_of(splits["photometric"]).fingerprint(0),
        ]
        assert len(set(prints)) == len(prints)

    def test_ignores_how_many_views_there_are(self, splits):
        few, many = (bank_of(splits["tutorial"], count=count) for count in (2, 9))
        assert few.fingerprint(1) == many.fingerprint(1)
        assert np.array_equal(
            few.seeds(np.arange(2 * IMAGES)), many.seeds(np.arange(2 * IMAGES))
        )


class TestViewsLookLikeAugmentation:
    def test_pixels_stay_in_range(self, augmentation):
        views = seen(bank_of(augmentation), range(VIEWS * IMAGES))
        assert views.shape == (VIEWS * IMAGES, *SHAPE)
        assert -1e-3 <= views.min() <= views.max() <= 255 + 1e-3
        assert np.isfinite(views).all()

    def test_about_half_of_the_images_are_flipped(self):
        stack = keras.Sequential([layers.RandomFlip("horizontal")])
        augmentation, _ = split_augmentation(model_with(stack))
        count = 100
        bank = bank_of(augmentation, digests=[digest(i) for i in range(count)])
        image = pictures()[0]
        views = seen(bank, range(count), np.repeat(image[None], count, axis=0))
        flipped = [np.array_equal(view, image[:, ::-1]) for view in views]
        same = [np.array_equal(view, image) for view in views]
        assert sum(flipped) + sum(same) == count
        assert 35 <= sum(flipped) <= 65

    def test_brightness_is_drawn_over_its_range(self):
        stack = layers.RandomBrightness(0.2, value_range=(0, 255))
        augmentation, _ = split_augmentation(model_with(stack))
        bank = bank_of(augmentation, digests=[digest(i) for i in range(100)])
        views = seen(bank, range(100), np.full((100, *SHAPE), 128.0, "float32"))
        shifts = (views - 128.0).mean(axis=(1, 2, 3)) / 255
        assert shifts.min() < -0.15
        assert shifts.max() > 0.15
        assert np.abs(shifts).max() <= 0.2 + 1e-6
        assert abs(shifts.mean()) < 0.05
