"""Formatting: figures with their intervals, and columns of numbers."""

import pytest

from tlcore.runs.formatting import estimate_cell, numbers

ESTIMATE = {"value": 0.95, "low": 0.8349, "high": 0.9861, "n": 40}


@pytest.mark.parametrize(
    ("changes", "interval", "text"),
    [
        ({}, True, "0.9500 (0.835-0.986, n=40)"),
        ({}, False, "0.9500"),
        ({"low": None}, True, "0.9500"),
        ({"high": None}, True, "0.9500"),
        ({"value": None}, True, "no number"),
    ],
)
def test_a_figure_has_its_interval_if_there_is_one(changes, interval, text):
    assert estimate_cell({**ESTIMATE, **changes}, interval=interval) == text


def test_a_column_of_numbers_may_have_gaps_but_no_text():
    rows = [
        {"epochs": 5, "loss": 0.5, "backbone": "vgg16", "mixed": 1},
        {"epochs": None, "loss": 1, "backbone": None, "mixed": "many"},
    ]
    assert numbers(rows) == {"epochs", "loss"}
