"""Values: what follows from probabilities and truth alone."""

import csv
import os

import numpy as np
import pytest

from tlcore.predictions.report import report
from tlcore.predictions.values import Predictions

ROWS = np.array([[0.9, 0.1], [0.4, 0.6], [0.3, 0.7], [0.2, 0.8]])
TRUTH = np.array([1, 0, 1, 1])
NAMES = ("cat", "dog")


def said(**options):
    return Predictions(NAMES, ROWS, **({"truth": TRUTH} | options))


def test_the_most_probable_class_is_predicted():
    assert said().predicted.tolist() == [0, 1, 1, 1]
    assert said().confidence.tolist() == [0.9, 0.6, 0.7, 0.8]
    assert said().right.tolist() == [False, False, True, True]


def test_the_threshold_of_a_binary_model_counts():
    found = said(threshold=0.65)
    assert found.predicted.tolist() == [0, 0, 1, 1]
    assert found.confidence.tolist() == [0.9, 0.4, 0.7, 0.8]


def test_the_accuracy_has_an_interval():
    accuracy = said().accuracy
    assert (accuracy.value, accuracy.n) == (0.5, 4)
    assert accuracy.low == pytest.approx(0.150, abs=1e-3)


def test_the_most_confident_mistake_comes_first():
    assert said().mistakes().tolist() == [0, 1]
    assert said().mistakes(1).tolist() == [0]


def test_an_image_with_several_classes_is_right_if_all_are():
    truth = np.array([[True, False], [True, True], [False, True], [False, False]])
    found = said(truth=truth, several=True)
    assert found.predicted.tolist()[:2] == [[True, False], [False, True]]
    assert found.mistakes().tolist() == [3, 1]
    assert found.accuracy.value == pytest.approx((1 + 0.5 + 1 + 0.5) / 4)
    assert [row["truth"] for row in found.rows()] == ["cat", "cat+dog", "dog", ""]


@pytest.mark.parametrize(
    "ask",
    [
        lambda x: x.accuracy,
        lambda x: x.right,
        lambda x: x.mistakes(),
    ],
)
def test_without_truth_nothing_is_right_or_wrong(ask):
    with pytest.raises(ValueError, match=r"truth is known.*one folder per class"):
        ask(said(truth=None))


def test_every_image_has_its_line_in_a_table(tmp_path):
    paths = ("a,b.png", 'c"d.png', "e.png", os.fsdecode(b"\xff.png"))
    found = said(paths=paths, problems={"bad.png": "empty file"})
    found.write_csv(tmp_path / "p.csv")
    text = (tmp_path / "p.csv").read_bytes().decode("utf-8", "surrogateescape")
    first, *others, last = csv.DictReader(text.splitlines())
    assert first == {
        "image": "a,b.png",
        "truth": "dog",
        "predicted": "cat",
        "probability": "0.9",
        "right": "False",
        "probability of cat": "0.9",
        "probability of dog": "0.1",
        "problem": "",
    }
    assert [row["image"] for row in others] == list(paths[1:])
    assert (last["image"], last["problem"]) == ("bad.png", "empty file")
    assert last["predicted"] == ""


def test_without_truth_a_table_has_no_column_for_it():
    head, first, *_ = said(truth=None).as_csv().splitlines()
    assert head == "image,predicted,probability,probability of cat,probability of dog"
    assert first == "0,cat,0.9,0.9,0.1"


def test_a_report_has_what_the_truth_allows():
    assert set(report(said(truth=None))) == {"n", "classes", "problems"}
    found = report(said())
    assert found["confusion"] == [[0, 1], [1, 2]]
    assert found["mistakes"] == 2
    several = np.eye(2)[TRUTH].astype(bool)
    assert "confusion" not in report(said(truth=several, several=True))
