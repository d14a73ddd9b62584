"""Contents: values that a model cannot learn from are refused, others are not."""

import numpy as np
import pytest

from tlcore.data.contents import Batch, Expected, check_batch, check_range, shape_remedy

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (4, 8, 8, 3)).astype("float32")
THREE = Expected(outputs=3)


class TestRange:
    @pytest.mark.parametrize(
        ("images", "found"),
        [
            (PIXELS / 255, r"\[0, 1\].*map\(lambda x, y: \(x \* 255, y\)\)"),
            ((PIXELS > 128).astype("uint8"), r"\[0, 1\]"),
            ((PIXELS / 255).astype("float16"), r"\[0, 1\]"),
            (PIXELS / 127.5 - 1, r"\[-1, 1\].*\(x \+ 1\) \* 127.5"),
            (PIXELS / 255 - 0.5, r"\[-1, 1\]"),
            ((PIXELS / 255 - 0.45) / 0.22, "as if standardized"),
            (PIXELS - 117, "as if a mean was subtracted"),
            (PIXELS * 257, r"\[0, 65535\].*x \* \(255 / 65535\)"),
            (PIXELS * 16, r"\[0, 4095\]"),
        ],
    )
    def test_images_in_a_range_that_is_often_met_are_refused(self, images, found):
        sentence = rf"\[0, 255\].*Received: train, .*{found}.*value_range=\"as is\""
        with pytest.raises(ValueError, match=sentence):
            check_range(images, "train", THREE)
        check_range(images, "train", Expected(outputs=3, value_range="as is"))

    @pytest.mark.parametrize(
        "images",
        [
            PIXELS,
            PIXELS.astype("uint8"),
            PIXELS * 0,
            PIXELS / 20,
            PIXELS * 1.2 - 25,  # the overshoot of bicubic resizing
            PIXELS[:0],
        ],
        ids=["pixels", "bytes", "black", "dark", "bicubic", "none"],
    )
    def test_pixels_are_taken(self, images):
        check_range(images, "train", THREE)

    def test_an_unknown_range_is_refused(self):
        with pytest.raises(ValueError, match=r"value_range must be one of: \[0, 255\]"):
            Expected(outputs=3, value_range="[0, 1]")


def batch(labels, weights=None):
    return Batch(PIXELS, np.asarray(labels), weights)


class TestLabels:
    @pytest.mark.parametrize(
        ("labels", "expected"),
        [
            ([0, 1, 2, 0], THREE),
            ([0.0, 1.0, 2.0, 0.0], THREE),
            (np.eye(3)[[0, 1, 2, 0]], THREE),
            (np.full((4, 3), 1 / 3), THREE),
            (np.full((4, 3), 1 / 3, "float16"), THREE),
            ([0, 1, 1, 0], Expected(outputs=1)),
            ([[0.0], [0.3], [1.0], [0.0]], Expected(outputs=1)),
            ([True, False, True, True], Expected(outputs=1)),
            ([[1, 0, 0], [1, 1, 0], [0, 0, 0], [1, 1, 1]], Expected(3, True)),
            ([[0.9, 0.1, 0.8]] * 4, Expected(3, True)),
        ],
    )
    def test_that_fit_the_head_are_taken(self, labels, expected):
        check_batch(batch(labels), "train", expected)

    @pytest.mark.parametrize(
        ("labels", "expected", "message"),
        [
            (
                [1, 2, 3, 1],
                THREE,
                "0 to 2. Received: train, with a label 3. Count",
            ),
            (
                [-1, 1, -1, 1],
                THREE,
                r"a label -1. Write map.lambda x, y: .x, .y \+ 1",
            ),
            ([0, 1, 7, 1], THREE, "a label 7. Encode the classes as 0, 1, 2 and so on"),
            ([0, 0.5, 1, 1], THREE, "a label 0.5"),
            (["cat", "dog", "eel", "cat"], THREE, r"such as 'cat'. Write names.index"),
            (np.array([b"a"] * 4, object), THREE, "Labels must be numbers"),
            ([0, np.nan, 1, 2], THREE, "Labels must be finite.*with 1 values"),
            (
                [[1, 0, 0], [1, 1, 0]] * 2,
                THREE,
                r"1.0, 0.0\], which sums to 2.*mul",
            ),
            ([[1, 0, 0], [0, 0, 0]] * 2, THREE, "which sums to 0"),
            ([[0.5, 0.2, 0.2]] * 4, THREE, "which sums to 0.9"),
            ([[2, -1, 0]] * 4, THREE, "from 0 to 1. Received: train, with a label 2"),
            (
                np.zeros((4, 2)),
                THREE,
                r"per output, \(n, 3\).*shape \(4, 2\)",
            ),
            (
                [-1, 1, 1, -1],
                Expected(outputs=1),
                r"-1 to 1. Write .*\(y \+ 1\) / 2",
            ),
            (
                [1, 2, 1, 2],
                Expected(outputs=1),
                "to 2. Write map.lambda x, y: .x, y - 1",
            ),
            ([0, 1, 2, 0], Expected(3, True), r"rows of 0 and 1.*\(n, 3\)"),
            ([[3, 0, 1]] * 4, Expected(3, True), "with a label 3"),
        ],
    )
    def test_that_do_not_are_refused(self, labels, expected, message):
        with pytest.raises(ValueError, match=message):
            check_batch(batch(labels), "train", expected)


class TestForm:
    def test_images_must_be_finite_numbers(self):
        broken = PIXELS.copy()
        broken[2, 0, 0, 0] = np.inf
        with pytest.raises(ValueError, match="Images must be finite.*Received: here"):
            check_batch(Batch(broken, np.zeros(4)), "here", THREE)
        with pytest.raises(ValueError, match="Images must be numbers.*io.decode_image"):
            check_batch(Batch(PIXELS.astype(str), np.zeros(4)), "here", THREE)

    def test_there_is_a_label_for_each_image(self):
        with pytest.raises(
            ValueError, match="each image. Received: here, with 4 and 3"
        ):
            check_batch(Batch(PIXELS, np.zeros(3)), "here", THREE)

    @pytest.mark.parametrize("weights", [[1, 1, -1, 1], [[1]] * 4])
    def test_weights_are_one_factor_each(self, weights):
        with pytest.raises(ValueError, match="one factor of at least 0"):
            check_batch(batch([0, 1, 2, 0], np.array(weights)), "here", THREE)
        with pytest.raises(ValueError, match="Weights must be finite"):
            check_batch(batch([0, 1, 2, 0], np.full(4, np.nan)), "here", THREE)

    def test_later_batches_have_the_form_of_the_first(self):
        expected = Expected(3, image_shape=(None, 8, 3), label_rank=1, weighted=False)
        check_batch(batch([0, 1, 2, 0]), "here", expected)
        with pytest.raises(ValueError, match="form of the first.*no weights"):
            check_batch(batch(np.eye(3)[[0, 1, 2, 0]]), "here", expected)
        with pytest.raises(ValueError, match="form of the first.*and weights"):
            check_batch(batch([0, 1, 2, 0], np.ones(4)), "here", expected)
        wide = Batch(PIXELS.reshape(4, 4, 16, 3), np.zeros(4))
        with pytest.raises(ValueError, match=r"\(None, 8, 3\). Received: here, with"):
            check_batch(wide, "here", expected)


@pytest.mark.parametrize(
    ("shape", "remedy"),
    [
        ((3, 32, 32), "channels come last"),
        ((32, 32, 1), "grayscale_to_rgb"),
        ((32, 32, 4), "Leave alpha out"),
        ((64, 48, 3), r"tf.image.resize\(x, \(32, 32\)\)"),
        ((32, 32), "Give images of one size"),
    ],
)
def test_a_shape_is_answered_with_the_line_that_makes_it_fit(shape, remedy):
    import re

    assert re.search(remedy, shape_remedy(shape, (32, 32, 3)))
