"""How a table is read, and which of its columns are the path and the label."""

import codecs

import numpy as np
import pytest

from tlcore.data.tables import Columns, choose_columns, read_table


class Missing:
    """What pandas calls NA."""

    def __ne__(self, other):
        return self

    def __bool__(self):
        raise TypeError("boolean value of NA is ambiguous")


class Frame:
    """What a table needs of a DataFrame."""

    columns = ("file", 7)

    def to_dict(self, orient):
        assert orient == "split"
        missing = [["b.jpg", float("nan")], ["c.jpg", Missing()], ["d.jpg", None]]
        return {"data": [["a.jpg", np.float64(1)], *missing]}


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_the_delimiter_is_what_makes_equal_columns(tmp_path, delimiter, ending):
    lines = ["path,kind of it", '"a, b;c.jpg",cat', "b.jpg,dog", "", "c.jpg, dog "]
    if delimiter != ",":
        quoted = lines[1].replace(",cat", f"{delimiter}cat")
        lines = [line.replace(",", delimiter) for line in lines]
        lines[1] = quoted
    path = tmp_path / "labels.csv"
    path.write_bytes(ending.join(lines).encode())
    table = read_table(path)
    assert table.header == ("path", "kind of it")
    assert table.column("path") == ["a, b;c.jpg", "b.jpg", "c.jpg"]
    assert table.column("kind of it") == ["cat", "dog", "dog"]
    assert table.places == ["line 2", "line 3", "line 5"]


@pytest.mark.parametrize(
    ("mark", "encoding"),
    [
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (b"", "utf-8"),
    ],
)
def test_a_mark_at_the_start_is_no_part_of_a_name(tmp_path, mark, encoding):
    path = tmp_path / "labels.csv"
    path.write_bytes(mark + "path,label\né.jpg,a\u2028b\n".encode(encoding))
    table = read_table(path)
    assert table.header == ("path", "label")
    assert table.rows == [["é.jpg", "a\u2028b"]]


@pytest.mark.parametrize(
    ("source", "header", "rows"),
    [
        (
            [("a.jpg", "x"), ["b.jpg", 2]],
            ("path", "label"),
            [["a.jpg", "x"], ["b.jpg", "2"]],
        ),
        ({"a.jpg": ["x", "y"]}, ("path", "label"), [["a.jpg", ["x", "y"]]]),
        (
            Frame(),
            ("file", "7"),
            [["a.jpg", "1"], ["b.jpg", ""], ["c.jpg", ""], ["d.jpg", ""]],
        ),
    ],
)
def test_pairs_mappings_and_frames_are_tables(source, header, rows):
    table = read_table(source)
    assert (table.header, table.rows) == (header, rows)
    assert table.places[0] == "row 1"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "at least two columns"),
        ("path\na.jpg\n", "at least two columns.*which begins with 'path"),
        ("path,label\n", "must have rows. Received: table='.*labels.csv', without one"),
        ("a.jpg,cat\nb.jpg,dog\n", "must begin with a header.*begins with a.jpg, cat"),
        (
            "path,label\na.jpg,cat\nb.jpg\nc,d,e\n",
            "as many cells as the header, 2.* line 3 with 1, line 4 with 3. Correct",
        ),
        ('path,label\na.jpg,"cat\n', "with quotes in pairs.*line 2: "),
        ("path,label\n\x00\n", "must"),
    ],
)
def test_a_file_that_is_no_table_is_refused(tmp_path, text, message):
    path = tmp_path / "labels.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_table(path)


def test_a_file_of_another_encoding_is_refused(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_bytes(b"path,label\n\xe9.jpg,a\n")
    with pytest.raises(ValueError, match=r"UTF-8\. .* byte 0xe9 at 11\. Save it"):
        read_table(path)
    with pytest.raises(ValueError, match=r"can be read\. .*No such file"):
        read_table(tmp_path / "none.csv")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (7, "Received: 7. Write"),
        ([("a.jpg",)], r"Received: an item \('a.jpg',\)"),
        (["a.jpg"], "Received: an item 'a.jpg'"),
        ([], "without one"),
    ],
)
def test_what_is_no_table_is_refused(source, message):
    with pytest.raises(ValueError, match=message):
        read_table(source)


# Columns


def chosen(header, row, columns=Columns(), *, multi=False):  # noqa: B008 - frozen
    path = [dict(zip(header, row, strict=True))]
    frame = type(
        "F",
        (),
        {"columns": header, "to_dict": lambda self, _: {"data": [[*path[0].values()]]}},
    )
    return choose_columns(
        read_table(frame()),
        columns,
        multi=multi,
        is_file=lambda cell: cell.endswith("jpg"),
    )


@pytest.mark.parametrize(
    ("header", "row", "found"),
    [
        (["Image Path", "species"], ["a.jpg", "cat"], ("Image Path", ["species"])),
        (["label", "filename"], ["cat", "a.jpg"], ("filename", ["label"])),
        (["", "path", "label"], ["0", "a.jpg", "cat"], ("path", ["label"])),
        (["which", "class", "by"], ["a.jpg", "cat", "me"], ("which", ["class"])),
    ],
)
def test_columns_are_guessed_where_one_answer_is_possible(header, row, found):
    assert chosen(header, row) == found


def test_columns_of_0_and_1_are_labels_where_several_may_be():
    header, row = ["file", "cat", "dog", "by"], ["a.jpg", "1", "0", "me"]
    assert chosen(header, row, multi=True) == ("file", ["cat", "dog"])
    with pytest.raises(ValueError, match=r"column of the label.*Give label_column="):
        chosen(header, row)


@pytest.mark.parametrize(
    ("header", "row", "message"),
    [
        (["a", "b"], ["x", "y"], "column of the path must be named.*Give path_column="),
        (["path", "image", "label"], ["a.jpg", "b.jpg", "c"], "column of the path"),
        (["path", "by", "kind"], ["a.jpg", "me", "cat"], "column of the label"),
        (["path", "label", "class"], ["a.jpg", "x", "y"], "column of the label"),
    ],
)
def test_a_column_that_could_be_another_must_be_named(header, row, message):
    with pytest.raises(ValueError, match=message):
        chosen(header, row)


def test_named_columns_are_taken_and_must_be_there():
    header, row = ["path", "image", "by", "kind"], ["a.jpg", "b.jpg", "me", "cat"]
    columns = Columns(path="image", label="kind")
    assert chosen(header, row, columns) == ("image", ["kind"])
    with pytest.raises(ValueError, match=r"column 'knd'\. Did you mean 'kind'\?"):
        chosen(header, row, Columns(label="knd"))
    with pytest.raises(ValueError, match="in the header, once"):
        chosen(header, row, Columns(split="fold"))
