"""Label files: a name goes to the folder that it is meant for, or nowhere."""

import json

import pytest

from tlcore.runs.label_files import read_labels

TWELVE = sorted(str(i) for i in range(12))
"""The class folders "0" to "11" in the order of the outputs: 0, 1, 10, 11, 2, ..."""
NAMES = [f"name {i}" for i in range(12)]
RIGHT = tuple(f"name {folder}" for folder in TWELVE)


def written(tmp_path, text, name="labels.txt"):
    path = tmp_path / name
    path.write_bytes(text.encode())
    return path


def test_a_list_that_could_be_in_one_of_two_orders_is_refused(tmp_path):
    path = written(tmp_path, "\n".join(NAMES))
    sentence = r"one order.*Received: .*labels.txt.*0, 1, 10 and 9 more as text.*0 = na"
    with pytest.raises(ValueError, match=sentence):
        read_labels(path, TWELVE)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("labels.txt", "".join(f"{i} = {n}\n" for i, n in enumerate(NAMES))),
        ("labels.txt", "".join(f"{i} = {n}\r\n" for i, n in enumerate(NAMES))),
        ("labels.csv", "".join(f'{i},"{n}"\n' for i, n in enumerate(NAMES))),
        (
            "labels.csv",
            "folder,label\n" + "".join(f"{i},{n}\n" for i, n in enumerate(NAMES)),
        ),
        ("labels.json", json.dumps({str(i): n for i, n in enumerate(NAMES)})),
    ],
    ids=["lines", "crlf", "csv", "csv with header", "json"],
)
def test_a_file_that_names_its_folders_is_read_in_any_order(tmp_path, name, text):
    assert read_labels(written(tmp_path, text, name), TWELVE) == RIGHT


@pytest.mark.parametrize("name", ["labels.txt", "labels.csv", "labels.json"])
def test_a_plain_list_is_read_where_text_and_numbers_sort_alike(tmp_path, name):
    labels = ["zero", "one", "two"]
    text = json.dumps(labels) if name.endswith("json") else "\n".join(labels)
    path = written(tmp_path, text, name)
    assert read_labels(path, ["0", "1", "2"]) == ("zero", "one", "two")
    assert read_labels(path, ["cat", "dog", "eel"]) == ("zero", "one", "two")


def test_the_folders_themselves_are_no_other_names(tmp_path):
    path = written(tmp_path, "\n".join(str(i) for i in range(12)))
    assert read_labels(path, TWELVE) == tuple(TWELVE)


@pytest.mark.parametrize("inside", ["\u2028", "\u2029", "\x0b", "\x0c", "\x85", "\x1e"])
def test_only_newlines_split(tmp_path, inside):
    path = written(tmp_path, f"\ufeffcat{inside}fish\r\ndog\n")
    assert read_labels(path, ["a", "b"]) == (f"cat{inside}fish", "dog")


def test_a_label_can_hold_an_equals_sign(tmp_path):
    path = written(tmp_path, "E = mc2\nplain\n")
    assert read_labels(path, ["a", "b"]) == ("E = mc2", "plain")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("x.txt", "a = 1\nc = 2\n", "without b and with c, which is no class.*a = la"),
        ("x.txt", "a = 1\na = 2\n", "each folder once. Received: 'a' several times"),
        ("x.json", '{"a": "1", "a": "2"}', "Received: 'a' several times"),
        ("x.txt", "one\n", "one label per class, 2. Received: 1 labels from"),
        ("x.csv", "a,b,c\nd,e,f\n", "rows are not all a label, or a folder and a"),
        ("x.csv", "a,b\nc\n", "rows are not all a label"),
        ("x.json", "[1, 2]", "it holds neither"),
        ("x.json", "{", "cannot be read: Expecting"),
        ("x.json", "[" * 100_000, "cannot be read"),
    ],
)
def test_what_says_no_label_for_each_class_is_refused(tmp_path, name, text, message):
    with pytest.raises(ValueError, match=message):
        read_labels(written(tmp_path, text, name), ["a", "b"])


def test_a_file_that_is_no_text_is_refused(tmp_path):
    path = tmp_path / "labels.txt"
    with pytest.raises(ValueError, match="labels=.*cannot be read: .*No such"):
        read_labels(path, ["a"])
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match="Labels must be a text file, UTF-8"):
        read_labels(path, ["a"])
