"""Charts: shapes and words from numbers."""

import re

from tlbench.reporting import charts


def test_a_chart_of_one_value_is_a_chart():
    point = charts.Point(value=0.0, words="x")
    assert "<circle" in charts.trend([point], None, unit="s", title="t")


def test_of_a_long_trend_only_the_newest_points_are_marked():
    points = [charts.Point(value=float(i), words="x") for i in range(400)]
    drawn = charts.trend(points, None, unit="", title="t")
    assert drawn.count("<circle") == 40
    assert len(re.search(r'points="([^"]*)"', drawn)[1].split()) == 400


def test_what_is_said_of_a_point_is_no_markup():
    point = charts.Point(value=1.0, words='"><b>')
    assert "<b>" not in charts.trend([point], None, unit="", title='"><b>')
