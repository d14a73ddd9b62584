"""Figures that others published."""

import json

import pytest

from tlbench.storage import documents
from tlbench.storage.published import read_published


def test_published_figures_need_their_source(tmp_path):
    assert read_published(tmp_path) == []
    figure = {"work": "w", "figure": "f", "value": "v"}
    path = tmp_path / "any" / "published.json"
    text = json.dumps({"schema": 2, "figures": [{**figure, "source": "s"}]})
    documents.write_text(path, text)
    assert read_published(tmp_path)[0]["source"] == "s"
    documents.write_text(path, json.dumps({"schema": 2, "figures": [figure]}))
    with pytest.raises(ValueError, match="no 'source'"):
        read_published(tmp_path)
