"""Charts: points at the values, gaps where there is none, letters and ticks."""

import re
import xml.etree.ElementTree as ET
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tlcore.publishing import charts
from tlcore.publishing.charts import Curve, Whisker


def curve(*values, place=0, name="model_3/x", **more):
    return Curve(
        key=charts.letter(place),
        name=name,
        place=place,
        epochs=range(1, len(values) + 1),
        values=values,
        **more,
    )


def draw(*drawn, **more):
    return ET.fromstring(charts.chart(drawn, title="loss", name="loss", **more))


def lines(svg):
    return [
        re.findall(r"([ML])([\d.-]+) ([\d.-]+)", path.get("d"))
        for path in svg.iter("path")
        if path.get("class") == "line"
    ]


def test_a_line_has_a_point_for_every_epoch_within_the_picture():
    (points,) = lines(draw(curve(2.0, 1.0, 0.5)))
    assert [pen for pen, _, _ in points] == ["M", "L", "L"]
    across = [float(x) for _, x, _ in points]
    assert across == sorted(across)
    down = [float(y) for _, _, y in points]
    assert down == sorted(down)
    assert all(0 < x < charts.WIDTH for x in across)
    assert all(0 < y < charts.HEIGHT for y in down)


@given(st.lists(st.floats(-1e9, 1e9) | st.none(), min_size=1, max_size=60))
def test_any_values_are_drawn_within_the_picture(values):
    if all(value is None for value in values):
        values = [*values, 1.0]
    svg = draw(curve(*values))
    (points,) = lines(svg)
    assert len(points) == sum(value is not None for value in values)
    assert all(0 <= float(x) <= charts.WIDTH for _, x, _ in points)
    assert all(0 <= float(y) <= charts.HEIGHT for _, _, y in points)


def test_a_missing_value_is_a_gap_and_a_lone_value_has_a_marker():
    values = [1.0] * 50
    values[3] = values[5] = None
    svg = draw(curve(*values))
    (points,) = lines(svg)
    assert [pen for pen, _, _ in points].count("M") == 3
    dots = [p for p in svg.iter("path") if p.get("class") == "dot"]
    assert [dot.find("title").text for dot in dots] == [
        "model_3/x, epoch 5: 1",
        "model_3/x, epoch 50: 1",
    ]


def test_every_value_of_a_short_line_can_be_read():
    svg = draw(curve(0.25, 0.125))
    titles = [t.text for dot in svg.iter("path") for t in dot.findall("title")]
    assert titles == ["model_3/x, epoch 1: 0.25", "model_3/x, epoch 2: 0.125"]


def test_runs_differ_in_dash_shape_and_letter_and_not_in_colour_alone():
    two = draw(curve(1.0, 2.0), curve(2.0, 3.0, place=1))
    first, second = (p for p in two.iter("path") if p.get("class") == "line")
    assert first.get("stroke-dasharray") != second.get("stroke-dasharray")
    dots = [p.get("d") for p in two.iter("path") if p.get("class") == "dot"]
    assert dots[0].split("m")[1:] != dots[-1].split("m")[1:]
    letters = [t for t in two.iter("text") if "key" in (t.get("class") or "")]
    assert sorted(t.text for t in letters) == ["A", "B"]


def test_letters_of_runs_that_end_alike_do_not_overlap():
    svg = draw(*(curve(0.0, 1.0, place=place) for place in range(6)))
    heights = sorted(
        float(t.get("y")) for t in svg.iter("text") if "key" in (t.get("class") or "")
    )
    assert all(b - a >= 12 for a, b in pairwise(heights))


def test_with_many_runs_letters_are_only_in_the_legend():
    many = [curve(1.0, place=place) for place in range(charts.LETTERED + 1)]
    keys = [t for t in draw(*many).iter("text") if "key" in (t.get("class") or "")]
    assert keys == []


def starts(svg):
    return [t.text for t in svg.iter("text") if (t.text or "").startswith("fine")]


def test_the_start_of_fine_tuning_is_marked():
    both = [curve(1.0, 2.0, 3.0, place=i, fine_tuning=3) for i in range(2)]
    svg = draw(*both)
    assert starts(svg) == ["fine-tuning"]
    (mark,) = (p for p in svg.iter("path") if p.get("class") == "start")
    x = float(re.match(r"M([\d.]+)", mark.get("d"))[1])
    (points, _) = lines(svg)
    assert float(points[1][1]) < x < float(points[2][1])


def test_starts_that_differ_name_their_runs():
    mixed = (
        curve(1.0, 2.0, 3.0, fine_tuning=2),
        curve(1.0, 2.0, 3.0, place=1, fine_tuning=3),
        curve(1.0, 2.0, 3.0, place=2),
    )
    assert starts(draw(*mixed)) == ["fine-tuning A", "fine-tuning B"]
    assert starts(draw(curve(1.0))) == []


def test_a_chart_has_a_description_for_screen_readers():
    svg = draw(curve(2.0, 0.5))
    named = svg.get("aria-labelledby").split()
    texts = {child.get("id"): child.text for child in svg}
    assert [texts[name] for name in named] == [
        "loss",
        "By epoch, to 2. A model_3/x ends at 0.5.",
    ]
    assert svg.get("role") == "img"


def test_two_charts_on_one_scale_have_the_same_heights():
    above = draw(curve(0.5, 0.5), span=(0.0, 2.0))
    below = draw(curve(2.0, 0.5), span=(0.0, 2.0))
    assert lines(above)[0][1] == lines(below)[0][1]


def test_names_are_not_markup():
    odd = curve(1.0, name='"><script>alert(1)</script>')
    assert "<script" not in charts.chart([odd], title="</svg>", name="x")
    row = Whisker(key="A", name=odd.name, place=0, value=1.0, low=0.5, high=1.0)
    assert "<script" not in charts.whiskers([row], title="<b>", name="x")


def test_a_figure_lies_within_its_interval():
    rows = [
        Whisker(key="A", name="a", place=0, value=0.9, low=0.8, high=0.95),
        Whisker(key="B", name="b", place=1, value=0.5, low=0.5, high=0.5),
    ]
    svg = ET.fromstring(charts.whiskers(rows, title="t", name="t"))
    for group in svg.iter("g"):
        left, right = re.match(
            r"M([\d.]+) [\d.]+H([\d.]+)", group.find("path[@class='line']").get("d")
        ).groups()
        dot = re.match(r"M([\d.]+)", group.find("path[@class='dot']").get("d"))[1]
        assert 0 < float(left) <= float(dot) <= float(right) < charts.WIDTH
    assert svg.find("g/title").text == "a: 0.9000 (0.8000 to 0.9500)"


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0.0, 1.0, [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (0.13, 0.87, [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (0.5, 0.5, [0.44, 0.46, 0.48, 0.5, 0.52, 0.54, 0.56]),
        (0.0, 0.0, [-1, -0.5, 0, 0.5, 1]),
        (-3.0, 2.0, [-3, -2, -1, 0, 1, 2]),
    ],
)
def test_ticks_are_round_numbers_around_the_span(low, high, ticks):
    assert charts.nice(low, high) == pytest.approx(ticks)


@example(0.0, 5e-324)
@example(-1e-300, 1e-300)
@example(1e12, 1e12)
@given(st.floats(-1e12, 1e12), st.floats(-1e12, 1e12))
def test_ticks_cover_any_span(a, b):
    low, high = min(a, b), max(a, b)
    ticks = charts.nice(low, high)
    slack = (ticks[1] - ticks[0]) * 1e-6
    assert 2 <= len(ticks) <= 8
    assert ticks[0] <= low + slack
    assert ticks[-1] >= high - slack


@pytest.mark.parametrize("epochs", [1, 2, 10, 11, 30, 200, 10_000])
def test_epochs_are_counted_in_whole_numbers_with_room_between(epochs):
    svg = draw(curve(*[1.0] * epochs))
    texts = [t for t in svg.iter("text") if t.get("class") == "mid"]
    numbers = [int(t.text) for t in texts]
    assert numbers == sorted(set(numbers))
    assert numbers[0] >= 1
    assert numbers[-1] <= epochs
    places = [float(t.get("x")) for t in texts]
    assert all(b - a > 20 for a, b in pairwise(places))


def test_letters_go_on_after_z():
    assert [charts.letter(i) for i in (0, 25, 26, 51, 52)] == [
        *("A", "Z", "AA", "AZ", "BA")
    ]
