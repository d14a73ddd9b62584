"""Characters: what a terminal would obey is shown instead."""

import pytest

from tlcore.terminal.characters import visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("cat", "cat"),
        ("pâté 煎餅 👩‍🍳 a\u00a0b", "pâté 煎餅 👩‍🍳 a\u00a0b"),
        ("\x1b[2J\x1b]0;title\x07", r"\x1b[2J\x1b]0;title\x07"),
        ("a\rb\tc\nd\x00", r"a\rb\tc\nd\x00"),
        ("\x7f\x80\x9b31m\x9f", r"\x7f\x80\x9b31m\x9f"),
        ("\u202agnp.\u202e\u2066\u2069\u200f", r"\u202agnp.\u202e\u2066\u2069\u200f"),
        ("one\u2028two\u2029", r"one\u2028two\u2029"),
        ("a\ud800b\udcff", r"a\ud800b\udcff"),
        (3, "3"),
    ],
)
def test_control_characters_are_shown_and_letters_stay(text, shown):
    assert visible(text) == shown
    assert (
        visible(text, lines=False).isprintable() or "\u00a0" in shown or "👩" in shown
    )


def test_line_ends_stay_on_request():
    assert visible("one\ntwo\r\n\x1b[m", lines=True) == "one\ntwo\\r\n\\x1b[m"
