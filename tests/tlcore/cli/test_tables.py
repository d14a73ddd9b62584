"""Tables: what is printed where it fits, and where it does not."""

import json

import pytest

from tlcore.cli import tables
from tlcore.runs.formatting import cell, numbers

ROWS = (
    {"run": "model_3/20260102-030405", "backbone": "[red]net", "parameters": 4_000},
    {"run": "model_3/20260102-030406", "backbone": "", "parameters": None},
)


def test_a_name_in_brackets_is_no_markup(capsys):
    tables.print_rows(ROWS)
    out = capsys.readouterr().out
    assert "[red]net" in out
    assert "4,000" in out
    assert "None" not in out


def test_what_is_too_wide_for_the_terminal_is_printed_row_by_row(capsys, monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "30")
    tables.print_rows(ROWS)
    lines = capsys.readouterr().out.splitlines()
    assert lines[:4] == [
        "run         model_3/20260102-030405",
        "backbone    [red]net",
        "parameters  4,000",
        "",
    ]


def test_columns_of_numbers_stand_to_the_right_and_mixed_ones_to_the_left(capsys):
    tables.print_rows([{"n": 1, "x": "long"}, {"n": 1_000, "x": 2}])
    first = capsys.readouterr().out.splitlines()[3]
    assert first.split() == ["1", "long"]
    assert first.index("1") == 6
    assert numbers([{"n": 1, "x": "a", "y": None}]) == {"n", "y"}


def test_rows_are_json_on_request(capsys):
    tables.show(ROWS, as_json=True)
    assert json.loads(capsys.readouterr().out) == list(ROWS)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (True, "yes"),
        (False, "no"),
        (4_049_571, "4,049,571"),
        (0.123456789, "0.12346"),
        (100.0, "100"),
        ("a", "a"),
    ],
)
def test_a_value_is_printed_for_people(value, text):
    assert cell(value) == text
