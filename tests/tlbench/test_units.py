"""Units: every way a value is written for people."""

import pytest

from tlbench import units


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (2.0, "s", "2 s"),
        (0.25, "s", "250 ms"),
        (2.5e-4, "s", "250 us"),
        (2.5e-8, "s", "25 ns"),
        (0.0, "s", "0 s"),
        (1.23456e9, "bytes", "1235 MB"),
        (500, "bytes", "0.0005 MB"),
        (0.123456, "", "0.1235"),
    ],
)
def test_a_figure_has_four_digits_and_its_unit(value, unit, text):
    assert units.figure(value, unit) == text


@pytest.mark.parametrize(
    ("fraction", "text"), [(0.1234, "12.3%"), (9.99, "999.0%"), (49, "4900%")]
)
def test_a_large_percentage_has_no_decimals(fraction, text):
    assert units.percent(fraction) == text
    assert units.percent(fraction, sign=True) == f"+{text}"


def test_proportions_differ_by_points():
    assert units.points(0.0512) == "5.12 points"
