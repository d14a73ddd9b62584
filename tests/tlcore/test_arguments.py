"""Arguments: whole numbers, names from a list, and lists in a sentence."""

import numpy as np
import pytest

import tlcore as tl
from tlcore.arguments import (
    counted,
    did_you_mean,
    is_whole,
    listed,
    require_one_of,
    require_path,
    require_positive,
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


@pytest.mark.parametrize("value", [None, 3, True, 0.5, "", [], {}, ["a"], "a\0b", b"a"])
def test_what_is_no_path_is_refused(value):
    with pytest.raises(
        ValueError, match=r"^a must be a path, text.*Received: a=.*Writ"
    ):
        require_path("a", value)


@pytest.mark.parametrize("value", [10**400, -(10**400), 0, float("inf"), "1", None])
def test_what_is_no_positive_number_is_refused(value):
    with pytest.raises(ValueError, match=r"must be a positive number\. Received: a="):
        require_positive("a", value)


@pytest.mark.parametrize(
    "call",
    [
        tl.load_model,
        tl.load_backbone,
        lambda x: tl.create_model(x, 3),
        tl.image_folder,
        lambda x: tl.load_splits(x, image_size=8, batch_size=1, label_mode="int"),
        lambda x: tl.fetch(x, "."),
        lambda x: tl.fetch("a", x),
        lambda x: tl.fetch("http://127.0.0.1/a.zip", ".", sha256=x),
        lambda x: tl.fetch("http://127.0.0.1/a.zip", ".", timeout=x),
        lambda x: tl.fetch("http://127.0.0.1/a.zip", ".", max_bytes=x),
        lambda x: tl.tensorboard_callback("logs", x),
        tl.checkpoint_callback,
        tl.freeze,
        tl.unfreeze,
        tl.trainable_summary,
        tl.frozen_fingerprint,
        lambda x: tl.plot_images(x, path="a.png"),
        tl.HubLayer,
        lambda x: tl.RECIPES["model_3"].changed(backbone=x),
        lambda x: tl.RECIPES["model_3"].changed(percent=x),
    ],
)
@pytest.mark.parametrize("value", [["a"], {}, True])
def test_a_value_of_another_type_is_refused_with_a_sentence(call, value):
    with pytest.raises(ValueError, match="Received: "):
        call(value)
