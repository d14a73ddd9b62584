"""Calibration: accuracy by confidence, by hand and on data whose answer is known."""

import numpy as np
import pytest

from tlcore.predictions.calibration import calibration
from tlcore.predictions.values import Predictions


def said(confidence, right):
    """Return predictions of the first of two classes."""
    rows = np.stack([confidence, 1 - np.asarray(confidence)], axis=1)
    return Predictions(("a", "b"), rows, np.where(right, 0, 1))


def test_bins_hold_the_images_of_their_range():
    found = calibration(said([0.55, 0.6, 0.61, 1.0], [True, False, True, True]))
    ranges = [(round(x.low, 1), round(x.high, 1), x.accuracy.n) for x in found.bins]
    assert ranges == [(0.5, 0.6, 2), (0.6, 0.7, 1), (0.9, 1.0, 1)]
    assert found.bins[0].confidence == pytest.approx(0.575)
    expected = (2 * abs(0.575 - 0.5) + abs(0.61 - 1) + 0) / 4
    assert found.error == pytest.approx(expected)


def test_a_model_that_is_as_good_as_it_says_has_no_error():
    rng = np.random.default_rng(0)
    sure = rng.uniform(0.5, 1, 100_000)
    honest = calibration(said(sure, rng.random(len(sure)) < sure))
    boastful = calibration(said(sure, rng.random(len(sure)) < sure - 0.2))
    assert honest.error < 0.01
    assert boastful.error == pytest.approx(0.2, abs=0.01)


def test_its_document_has_every_bin():
    found = calibration(said([0.55, 0.95], [True, True])).as_dict()
    assert [each["accuracy"]["n"] for each in found["bins"]] == [1, 1]
    assert found["n"] == 2


def test_several_classes_and_no_image_are_refused():
    several = Predictions(
        ("a",), np.zeros((1, 1)), np.zeros((1, 1), bool), several=True
    )
    with pytest.raises(ValueError, match=r"one class each.*with several classes"):
        calibration(several)
    with pytest.raises(ValueError, match=r"one class each.*of no image"):
        calibration(Predictions(("a", "b"), np.zeros((0, 2)), np.zeros(0, int)))
    with pytest.raises(ValueError, match=r"bins must .* at least 1"):
        calibration(said([0.6], [True]), bins=0)
