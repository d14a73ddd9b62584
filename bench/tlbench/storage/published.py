"""Figures that others published, in `results/any/published.json`.

The report shows them next to ours; nothing is ever judged by them.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tlbench.storage import documents


def read_published(results: Path) -> list[dict[str, str]]:
    """Return the figures that others published; none without a file.

    Raises:
        ValueError: the file is damaged or of a newer schema.
    """
    return documents.read(results / "any" / "published.json", _figures) or []


def parse_published(data: bytes, path: Path) -> list[dict[str, str]]:
    """Return the figures of others from the content of the file `path`.

    Raises:
        ValueError: the content is damaged or of a newer schema.
    """
    return documents.parse(data, path, _figures)


def _figures(document: Mapping[str, Any]) -> list[dict[str, str]]:
    figures: list[Mapping[str, Any]] = document["figures"]
    found = [{key: documents.text(x) for key, x in one.items()} for one in figures]
    for one in found:
        for name in ("work", "figure", "value", "source"):
            one[name]  # a figure without its source is damaged
    return found
