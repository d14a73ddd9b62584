"""Arguments: whole numbers, names from a list, and lists in a sentence."""

import numpy as np
import pytest

from tlcore.arguments import (
    counted,
    did_you_mean,
    is_whole,
    listed,
    require_one_of,
    require_whole,
)


@pytest.mark.parametrize(
    ("value", "whole"),
    [
        (1, True),
        (3, True),
        (np.int64(2), True),
        (0, False),
        (4, False),
        (2.0, False),
        (True, False),
        ("2", False),
        (None, False),
    ],
)
def test_a_whole_number_lies_between_its_limits_and_is_no_bool(value, whole):
    assert is_whole(value, least=1, most=3) is whole


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({}, r"n must be a whole number\. Received: n=0\.5\.$"),
        ({"least": 1}, "whole number of at least 1. Received: n=0.5"),
        ({"most": 9_000}, "whole number of at most 9,000. Received"),
        ({"least": 1, "most": 3}, "of at least 1 and at most 3. Received"),
        ({"least": 1, "meaning": " epoch"}, "of at least 1 epoch. Received"),
    ],
)
def test_what_is_no_whole_number_is_answered_with_the_limits(limits, message):
    with pytest.raises(ValueError, match=message):
        require_whole("n", 0.5, **limits)
    require_whole("n", 2, **limits)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, r"^head must be one of: pool, dense\. Received: head='dens'\. Did you me"),
        ({"subject": "A head"}, "^A head must be one of"),
        ({"also": "None or "}, "must be None or one of: pool, dense"),
        ({"where": " for 'x'"}, "Received: head='dens' for 'x'. Did you mean 'dense'"),
    ],
)
def test_a_name_that_is_not_valid_is_answered_with_those_that_are(options, message):
    with pytest.raises(ValueError, match=message):
        require_one_of("head", "dens", ["pool", "dense"], **options)
    require_one_of("head", "dense", ["pool", "dense"], **options)


def test_where_no_name_is_valid_none_is_listed():
    with pytest.raises(ValueError, match=r"one of: none\. Received: key='x'\.$"):
        require_one_of("key", "x", [])


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("vgg61", " Did you mean 'vgg16'?"),
        ("VGG16", " Did you mean 'vgg16'?"),
        (16, ""),
        ("qqqq", ""),
    ],
)
def test_the_nearest_valid_name_is_offered(name, hint):
    assert did_you_mean(name, ("vgg16", "xception")) == hint


def test_a_noun_follows_its_number():
    texts = [counted(n, "class", "classes") for n in (0, 1, 2)]
    assert texts == ["0 classes", "1 class", "2 classes"]
    assert counted(2, "image") == "2 images"


@pytest.mark.parametrize(
    ("names", "text"), [("a", "a"), ("ab", "a and b"), ("abc", "a, b and c")]
)
def test_names_are_listed_as_in_a_sentence(names, text):
    assert listed(names) == text
