"""What the drawn images promise: every kind, the same scene at every size."""

import numpy as np
import pytest

from tlcore.data.drawing import PRETRAINING_KINDS, SAMPLE_KINDS, draw_sample_image


def parts(kinds, place):
    return {kind.split("_")[place] for kind in kinds}


def test_no_sample_image_shows_a_kind_of_pretraining():
    assert not set(SAMPLE_KINDS) & set(PRETRAINING_KINDS)
    assert len(set(SAMPLE_KINDS)) == len(SAMPLE_KINDS) >= 24
    assert len(set(PRETRAINING_KINDS)) == len(PRETRAINING_KINDS) >= 24


def test_two_shapes_are_unseen_in_pretraining_and_all_else_is_shared():
    unseen = parts(SAMPLE_KINDS, 1) - parts(PRETRAINING_KINDS, 1)
    assert unseen == {"crescent", "elbow"}
    assert parts(PRETRAINING_KINDS, 1) < parts(SAMPLE_KINDS, 1)
    assert parts(PRETRAINING_KINDS, 0) == parts(SAMPLE_KINDS, 0)


def test_the_first_ten_kinds_need_both_shape_and_texture():
    first = SAMPLE_KINDS[:10]
    assert len(parts(first, 1)) >= 8
    assert parts(first, 0) == parts(SAMPLE_KINDS, 0)
    assert len(parts(first, 1)) < 10


@pytest.mark.parametrize("kind", SAMPLE_KINDS + PRETRAINING_KINDS)
def test_every_kind_can_be_drawn(kind):
    image = draw_sample_image(kind, 0, size=24)
    assert image.shape == (24, 24, 3)
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous
    assert image.std() > 5


def test_a_scene_is_the_same_at_every_size():
    for index, kind in enumerate(SAMPLE_KINDS[:10]):
        small = draw_sample_image(kind, index, size=96).astype(float)
        large = draw_sample_image(kind, index, size=192).astype(float)
        halved = large.reshape(96, 2, 96, 2, 3).mean(axis=(1, 3))
        other = draw_sample_image(kind, index + 1, size=96)
        assert np.abs(small - halved).mean() < 12
        assert np.abs(small - other).mean() > 25


def test_average_colour_says_nothing_of_the_class():
    def average_colours(first):
        return np.array(
            [
                [
                    draw_sample_image(kind, first + i, size=32).mean((0, 1))
                    for i in range(40)
                ]
                for kind in SAMPLE_KINDS[:10]
            ]
        )

    centres = average_colours(0).mean(axis=1)
    others = average_colours(40).reshape(-1, 3)
    nearest = np.argmin(((others[:, None] - centres) ** 2).sum(axis=2), axis=1)
    accuracy = (nearest == np.repeat(np.arange(10), 40)).mean()
    assert accuracy < 0.2  # chance is 0.1


def test_an_unknown_kind_is_refused_with_the_list_of_kinds():
    with pytest.raises(
        ValueError,
        match=r"kind must be one of: .*striped_triangle.* Received: kind='striped_cat'",
    ):
        draw_sample_image("striped_cat", 0)


def test_an_image_too_small_is_refused():
    with pytest.raises(
        ValueError, match=r"size must be .* at least 16\. Received: size=8"
    ):
        draw_sample_image("plain_star", 0, size=8)
