"""Publications: a run folder lists where the run was published."""

import json

import pytest

from tlcore.runs.collection import list_runs
from tlcore.runs.publications import SCHEMA, note_publication, publications


def note(folder, **values):
    folder.mkdir(exist_ok=True)
    entry = {"id": "ab", "name": "n", "description": "d", "updated": "2026-01-02"}
    entry |= {"folder": str(folder), **values}
    (folder / "published.json").write_text(json.dumps({"id": entry["id"]}))
    return entry


def test_a_run_lists_where_it_was_published(ended, tmp_path):
    path = ended(tmp_path / "runs")
    first = note(tmp_path / "page")
    note_publication(path, {**first, "name": "old"})
    note_publication(path, first)
    second = note(tmp_path / "other", id="cd")
    note_publication(path, second)
    assert publications(path) == [first, second]
    (row,) = list_runs(tmp_path / "runs")
    assert row["publications"] == [first, second]


def test_a_page_that_is_gone_or_replaced_is_left_out(ended, tmp_path):
    path = ended(tmp_path / "runs")
    for name in ("gone", "another", "damaged"):
        note_publication(path, note(tmp_path / name, id=name))
    (tmp_path / "gone" / "published.json").unlink()
    (tmp_path / "another" / "published.json").write_text('{"id": "x"}')
    (tmp_path / "damaged" / "published.json").write_text("[")
    assert publications(path) == []


@pytest.mark.parametrize("text", ["", "[]", '{"publications": [{}]}'])
def test_a_damaged_note_is_an_error_and_the_run_is_still_listed(ended, tmp_path, text):
    path = ended(tmp_path)
    (path / "publications.json").write_text(text)
    with pytest.raises(ValueError, match=r"must be whole\. Received: .*Remove it"):
        publications(path)
    (row,) = list_runs(tmp_path)
    assert (row["status"], "publications.json" in row["reason"]) == ("done", True)


def test_a_note_of_a_newer_version_is_refused(ended, tmp_path):
    path = ended(tmp_path)
    document = {"schema": SCHEMA + 1, "publications": []}
    (path / "publications.json").write_text(json.dumps(document))
    with pytest.raises(
        ValueError, match=rf"up to schema {SCHEMA}\. Received: schema=2"
    ):
        publications(path)
