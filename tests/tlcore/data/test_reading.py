"""The choices of a reading: what is accepted, recorded and part of a fingerprint."""

import PIL
import pytest

from tlcore.data import reading
from tlcore.data.reading import Reading


@pytest.mark.parametrize(
    ("background", "colour"),
    [
        ("white", (255, 255, 255)),
        ("#102030", (16, 32, 48)),
        ("rgb(1, 2, 3)", (1, 2, 3)),
        ((1, 2, 3), (1, 2, 3)),
        ([0, 0, 255], (0, 0, 255)),
    ],
)
def test_a_background_is_a_name_or_three_numbers(background, colour):
    assert Reading.of(background=background).background == colour


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fit": "stretch"}, "squash, crop, pad. Received: fit='stretch'"),
        ({"fit": None}, "Received: fit=None"),
        ({"orientation": "on"}, "apply, ignore. Received: orientation='on'"),
        ({"background": "wite"}, "name of a colour.* Received: background='wite'"),
        ({"background": (0, 0)}, r"Received: background=\(0, 0\)"),
        ({"background": (0, 0, 256)}, "Received: background="),
        ({"background": (0, 0, 0.5)}, "Received: background="),
        ({"background": "#10203040"}, "Received: background='#10203040'"),
        ({"background": 7}, "Received: background=7"),
    ],
)
def test_another_choice_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Reading.of(**options)


def test_a_reading_is_recorded_and_read_back():
    chosen = Reading.of(fit="pad", background=(1, 2, 3), orientation="ignore")
    assert Reading.recorded(chosen.as_dict()) == chosen
    assert Reading.recorded({}) == Reading()
    with pytest.raises(ValueError, match="fit='stretch'"):
        Reading.recorded({"fit": "stretch"})


def test_each_choice_and_version_changes_what_the_bits_depend_on(monkeypatch):
    options = [{}, {"fit": "crop"}, {"background": "red"}, {"orientation": "ignore"}]
    facts = [Reading.of(**option).bits() for option in options]
    monkeypatch.setattr(reading, "VERSION", reading.VERSION + 1)
    facts.append(Reading().bits())
    monkeypatch.setattr(PIL, "__version__", "99.1.2")
    facts.append(Reading().bits())
    assert all(a != b for i, a in enumerate(facts) for b in facts[:i])
    assert facts[-1]["pillow"] == "99"
