"""Fields: a value of another type is refused with its place and what it must be."""

import re

import pytest

from tlcore.data import fields
from tlcore.data.fields import by_name, items, optional, record, whole


@pytest.mark.parametrize(
    ("check", "taken", "refused", "must"),
    [
        (fields.text, ["", "a"], [None, 3, ["a"]], "text"),
        (whole(), [0, 2**63 - 1], [True, 1.0, "1", None], "a whole number"),
        (whole(1, 9), [1, 9], [0, 10, 10**400], "a whole number from 1 to 9"),
        (fields.number, [0, -1.5], [True, "1", None, float("nan")], "a finite number"),
        (fields.number, [1e308], [10**400, float("inf"), [1]], "a finite number"),
        (fields.flag, [True, False], [0, 1, "yes", None], "true or false"),
        (fields.scalar, [None, True, 1, "a"], [[], {}], "a number, text, true, false"),
        (fields.scalar, [2.5], [float("nan")], "a finite number"),
        (
            fields.moment,
            ["2026-01-02T03:04:05+00:00"],
            ["x", "0001-01-01T00:00:00", ""],
            "a moment such as",
        ),
        (optional(fields.text), [None, "a"], [3], "text"),
        (items(fields.text), [[], ["a"]], ["a", None, {}], "a list"),
        (by_name(fields.text), [{}, {"a": "b"}], [[], "a", None], "an object"),
    ],
)
def test_only_values_of_a_kind_are_taken(check, taken, refused, must):
    for value in taken:
        check(value, "there")
    for value in refused:
        with pytest.raises(ValueError, match=rf"^there must be {must}.* Received: "):
            check(value, "there")


def test_the_place_of_a_value_in_a_document_is_named():
    check = record({"phases": items(record({"n": whole()}, required=["n"]))})
    check({"phases": [{"n": 1}], "unknown": object()}, "")
    for document, sentence in (
        ({"phases": [{"n": 1}, {"n": "x"}]}, "phases[1].n must be a whole number."),
        ({"phases": [{}]}, "phases[0] must be an object with 'n'. Received: {}"),
        ({"phases": [3]}, "phases[0] must be an object. Received: 3"),
        ([], "it must be an object. Received: []"),
    ):
        with pytest.raises(ValueError, match=f"^{re.escape(sentence)}"):
            check(document, "")


def test_a_long_value_is_cut_short():
    with pytest.raises(ValueError, match=r"Received: 'x{59}\.\.\.$"):
        whole()("x" * 10_000, "n")
