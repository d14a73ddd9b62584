"""Which image goes to which split, where folders do not say it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tlcore.data.allotment import SplitRule, allot, part_of_each
from tlcore.data.layout import ranked_indices


def drawn(labels, digests, held_out, *, seed=0, names="abcdefghij"):
    labels = np.array(labels)
    classes = names[: labels.shape[1] if labels.ndim == 2 else labels.max() + 1]
    ranks = ranked_indices(digests, str(seed))
    return allot(labels, digests, ranks, held_out, classes)


# How a split is asked for


@pytest.mark.parametrize(
    ("split", "text", "held_out"),
    [
        ("80/10/10", "80/10/10", {"validation": 10, "test": 10}),
        ((80, 10, 10), "80/10/10", {"validation": 10, "test": 10}),
        ("70%/30%", "70/30", {"test": 30}),
        ("80:20", "80/20", {"test": 20}),
        ("33.4/33.3/33.3", "33.4/33.3/33.3", {"validation": 33.3, "test": 33.3}),
        ("validation=10", "validation=10", {"validation": 10}),
        ({"val": 5, "test": 5}, "validation=5,test=5", {"validation": 5, "test": 5}),
        ("train=80, test=20", "test=20", {"test": 20}),
    ],
)
def test_a_split_is_percentages_or_what_is_held_out(split, text, held_out):
    rule = SplitRule.of(split)
    assert (rule.text, rule.held_out) == (text, held_out)
    assert SplitRule.of(rule) is rule
    assert SplitRule.of(text).held_out == held_out


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ("80/10", "which sum to 90"),
        ("0.8/0.1/0.1", r"which sum to 1\. Write 80/10/10"),
        ("80", "which is not two or three percentages"),
        ("25/25/25/25", "which is not two or three percentages"),
        (80, "which is not two or three percentages"),
        ("", "which is not two or three percentages"),
        ("a/b", "where 'a' is no number"),
        ((True, 99), "where True is no number"),
        ("100/0", "not between 0 and 100"),
        ("nan/100", "not between 0 and 100"),
        ("-20/120", "not between 0 and 100"),
        ("train=80,test=10", "which sum to 90"),
        ("validation=60,test=40", "which leaves nothing to train on"),
        ("hold=10", "where 'hold' is no split"),
        ("val=10,validation=10", "where 'validation' is no split, or one named twice"),
        ("validation=10,20", "where '20' is no split"),
        ({}, "which holds nothing out"),
    ],
)
def test_any_other_split_is_refused_with_what_to_write(split, message):
    with pytest.raises(ValueError, match=rf'"80/10/10".*Received: split=.*{message}'):
        SplitRule.of(split)


# Who goes where

SOME = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 25)), min_size=30, max_size=60
)


@settings(deadline=None, max_examples=50)
@given(images=SOME, seed=st.integers(0, 9))
def test_nothing_is_lost_and_no_copy_is_on_two_sides(images, seed):
    labels = [label for label, _ in images] + [0, 0, 0, 1, 1, 1, 2, 2, 2]
    digests = [f"{image}" for _, image in images] + [f"own {i}" for i in range(9)]
    held_out = {"validation": 20, "test": 30}
    parts = drawn(labels, digests, held_out, seed=seed)
    assert list(parts) == ["train", "validation", "test"]
    assert sorted(np.concatenate(list(parts.values())).tolist()) == [
        *range(len(labels))
    ]
    sides = {name: {digests[i] for i in indices} for name, indices in parts.items()}
    assert sum(map(len, sides.values())) == len(set(digests))
    for indices in parts.values():
        assert indices.tolist() == sorted(indices.tolist())
        assert {labels[i] for i in indices} == {0, 1, 2}


def test_of_every_class_the_percentages_are_taken():
    labels = [0] * 100 + [1] * 10 + [2] * 3
    digests = [str(i) for i in range(113)]
    parts = drawn(labels, digests, {"validation": 10, "test": 10})
    counts = {n: np.bincount(np.array(labels)[i]).tolist() for n, i in parts.items()}
    assert counts == {
        "train": [80, 8, 1],
        "validation": [10, 1, 1],
        "test": [10, 1, 1],
    }


def test_a_new_image_moves_at_most_one_across_each_border():
    digests = [str(i) for i in range(100)]
    before = drawn([0] * 100, digests, {"validation": 10, "test": 10})
    after = drawn([0] * 101, [*digests, "new"], {"validation": 10, "test": 10})

    def side(parts):
        return {digests[i]: n for n, p in parts.items() for i in p if i < 100}

    moved = [d for d in digests if side(before)[d] != side(after)[d]]
    assert len(moved) <= 2


def test_another_seed_draws_others():
    digests = [str(i) for i in range(100)]
    tests = {
        tuple(drawn([0] * 100, digests, {"test": 10}, seed=s)["test"]) for s in "abc"
    }
    assert len(tests) == 3


def test_copies_in_two_classes_stay_in_train():
    labels, digests = [0, 0, 0, 1, 1, 1], ["x", "a", "b", "x", "c", "d"]
    for seed in range(9):
        parts = drawn(labels, digests, {"test": 50}, seed=seed)
        assert {0, 3} <= set(parts["train"].tolist())


def test_a_class_of_one_image_in_many_copies_is_held_out_as_a_whole():
    parts = drawn([0] * 9 + [1, 1], ["x"] * 8 + ["y", "c", "d"], {"test": 10})
    assert parts["test"].tolist()[0] == 8
    assert parts["train"].tolist()[:8] == list(range(8))


def test_a_class_with_too_few_different_images_is_refused_by_name():
    message = (
        r"at least 3 images for validation and test to be held out\. Copies count once"
        r".*Received: b with 2 and c with 1\. Add images"
    )
    with pytest.raises(ValueError, match=message):
        drawn(
            [0, 0, 0, 1, 1, 1, 2, 2, 2],
            ["a", "b", "c", "d", "d", "e", "f", "f", "f"],
            {"validation": 10, "test": 10},
        )


def test_images_with_several_classes_are_divided_by_combination():
    rows = [[1, 0]] * 10 + [[0, 1]] * 10 + [[1, 1]] * 10 + [[0, 0]]
    digests = [str(i) for i in range(31)]
    parts = drawn(np.array(rows, "float32"), digests, {"test": 20})
    held_out = np.array(rows)[parts["test"]]
    assert np.unique(held_out, axis=0, return_counts=True)[1].tolist() == [2, 2, 2]


def test_every_split_has_an_image_of_every_of_several_classes():
    rows = np.array([[1, 0]] * 9 + [[1, 1]], "float32")
    digests = [str(i) for i in range(10)]
    with pytest.raises(ValueError, match=r"every class\. Received: test without b"):
        drawn(rows, digests, {"test": 20})


def test_a_part_of_each_class_lies_within_a_larger_one():
    labels = np.array([0] * 40 + [1] * 17 + [2])
    names = [str(i) for i in range(58)]
    parts = [set(part_of_each(labels, names, "abc", p).tolist()) for p in (5, 20, 100)]
    assert [len(part) for part in parts] == [2 + 1 + 1, 8 + 3 + 1, 58]
    assert parts[0] <= parts[1] <= parts[2]
