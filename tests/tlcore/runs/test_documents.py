"""Documents: JSON files are read whole, or refused with their name and a remedy."""

import json

import pytest

from tlcore.runs.documents import read_document, reading

REMEDY = "Write it again."


@pytest.fixture
def file(tmp_path):
    return tmp_path / "colour.json"


def read(file):
    return read_document(file, lambda d: d["name"], newest=2, remedy=REMEDY)


@pytest.mark.parametrize("schema", [1, 2])
def test_a_document_up_to_the_newest_schema_is_read(file, schema):
    file.write_text(json.dumps({"schema": schema, "name": "blue"}))
    assert read(file) == "blue"


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[]", "3", "{}", '{"schema": 1}', '{"schema": "x", "name": "b"}'),
        *('{"schema": Infinity}', '{"schema": null, "name": "b"}', "[" * 100_000),
    ],
)
def test_a_damaged_document_is_refused_with_the_remedy(file, text):
    file.write_text(text)
    message = r"colour\.json must be whole\. Received: .*colour.*Write it again\."
    with pytest.raises(ValueError, match=message):
        read(file)


def test_a_document_that_is_not_utf_8_is_refused(file):
    file.write_bytes(b'{"schema": 1, "name": "\xff"}')
    with pytest.raises(ValueError, match=r"must be whole.*UnicodeDecodeError"):
        read(file)


def test_a_document_of_a_newer_version_is_refused(file):
    file.write_text('{"schema": 3, "name": "blue"}')
    message = r"up to schema 2\. Received: schema=3 in .*newer tlcore"
    with pytest.raises(ValueError, match=message):
        read(file)


def test_a_missing_file_is_not_called_damaged(file):
    with pytest.raises(FileNotFoundError):
        read(file)


def test_only_errors_of_structure_are_turned_into_one_of_the_file(file):
    message = r"KeyError: 'x'\)\. Write it again\."
    with pytest.raises(ValueError, match=message), reading(file, REMEDY):
        {}["x"]
    with pytest.raises(PermissionError), reading(file, REMEDY):
        raise PermissionError(13, "Permission denied")
