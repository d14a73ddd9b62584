"""Class report: precision, recall and F1, against scikit-learn's and by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import precision_recall_fscore_support

from tlcore.evaluation import proportion
from tlcore.predictions.class_report import class_report, confusion_matrix
from tlcore.predictions.values import Predictions

CLASSES = 4
NAMES = tuple("abcd")


def said(predicted, truth):
    return Predictions(NAMES, np.eye(CLASSES)[list(predicted)], np.array(truth))


pairs = st.lists(
    st.tuples(st.integers(0, CLASSES - 1), st.integers(0, CLASSES - 1)),
    min_size=1,
    max_size=40,
)


@given(pairs)
def test_the_figures_are_those_of_scikit_learn(pairs):
    predicted, truth = zip(*pairs, strict=True)
    found = class_report(said(predicted, truth))
    expected = precision_recall_fscore_support(
        truth, predicted, labels=range(CLASSES), zero_division=np.nan
    )
    for figures, precision, recall, f1, images in zip(found, *expected, strict=True):
        assert figures.images == images
        for ours, theirs in (
            (figures.precision, precision),
            (figures.recall, recall),
            (figures.f1, f1),
        ):
            if ours is None:
                assert np.isnan(theirs)
            else:
                assert ours.value == pytest.approx(theirs)
                assert 0 <= ours.low <= ours.value <= ours.high <= 1


def test_the_intervals_are_those_of_the_proportions():
    (first, *_) = class_report(said([0, 0, 1, 1], [0, 1, 0, 0]))
    assert first.precision == proportion(1, 2)
    assert first.recall == proportion(1, 3)
    jaccard = proportion(1, 4)
    assert first.f1.low == pytest.approx(2 * jaccard.low / (1 + jaccard.low))
    assert first.f1.n == 4


def test_a_class_without_an_image_has_no_recall():
    *_, last = class_report(said([0, 3], [0, 0]))
    assert (last.images, last.predicted) == (0, 1)
    assert last.recall is None
    assert last.precision.value == 0
    (_, unseen, *_) = class_report(said([0, 3], [0, 0]))
    assert (unseen.precision, unseen.f1) == (None, None)
    assert unseen.as_dict()["recall"] is None


def test_rows_of_the_matrix_are_the_truth():
    matrix = confusion_matrix(said([0, 1, 1], [0, 0, 3]))
    assert matrix.tolist() == [[1, 1, 0, 0], [0] * 4, [0] * 4, [0, 1, 0, 0]]


def test_several_classes_have_figures_and_no_matrix():
    truth = np.array([[1, 0, 1, 0], [0, 0, 1, 0]], bool)
    rows = np.array([[0.9, 0.8, 0.1, 0.2], [0.1, 0.1, 0.7, 0.1]])
    found = Predictions(NAMES, rows, truth, several=True)
    a, b, c, d = class_report(found)
    assert (a.recall.value, c.recall.value, b.precision.value) == (1, 0.5, 0)
    assert d.recall is None
    with pytest.raises(ValueError, match=r"one class for each image.*class_report"):
        confusion_matrix(found)
