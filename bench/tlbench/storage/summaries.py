"""Summaries: what is left of the runs of a case in a month that are no longer kept.

Owns the value and its form as a line of the history. A summary names the lines that it
stands for by their checksums, so that they stay folded when histories are merged. When
runs are folded is in `retention`.
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tlbench.storage import documents, lines

# Older versions, which know no such line, must refuse it: they would call it damaged.
SCHEMA = 3
"""The schema of a line that holds a summary; other lines have that of records."""

_CHECKSUM_BYTES = 4


@dataclass(frozen=True, kw_only=True)
class Fold:
    """What is kept of one series of a case in one month.

    Attributes:
        median: of the runs that passed, in seconds, in bytes or plain.
        spread: the median distance from it, times 1.4826: the standard deviation of
            normal noise.
        runs: how many they were.
        unit: "s", "bytes" or "".
    """

    median: float
    spread: float
    runs: int
    unit: str = ""


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What is kept of the runs of one case in one month.

    Attributes:
        case: the case, by the name it had.
        since: the end of the oldest of them, UTC, in ISO 8601.
        when: the end of the newest.
        runs: how many they were, those that did not pass among them.
        verdicts: how many of them had each verdict.
        series: by name.
        folded: the checksums of their lines.
    """

    case: str
    since: str
    when: str
    runs: int
    verdicts: Mapping[str, int] = field(default_factory=dict)
    series: Mapping[str, Fold] = field(default_factory=dict)
    folded: frozenset[str] = frozenset()

    @property
    def month(self) -> str:
        """The month, such as "2026-01"."""
        return self.when[:7]


def line(summary: Summary) -> bytes:
    """Return a summary as a line of a history; it may be longer than a line may be."""
    folded = b"".join(map(bytes.fromhex, sorted(summary.folded)))
    document = {
        "schema": SCHEMA,
        "summary": summary.month,
        "since": summary.since,
        "when": summary.when,
        "case": summary.case,
        "runs": summary.runs,
        "verdicts": dict(sorted(summary.verdicts.items())),
        "series": {
            name: [one.median, one.spread, one.runs, one.unit]
            for name, one in sorted(summary.series.items())
        },
        "folded": base64.b64encode(folded).decode(),
    }
    return lines.encoded(document)


def is_summary(document: Mapping[str, Any]) -> bool:
    """Tell whether the document of a line is a summary."""
    return "summary" in document


def summary_of(document: Mapping[str, Any]) -> Summary:
    """Return the summary in the document of a line.

    Raises:
        ValueError, KeyError, TypeError: it has another form.
    """
    return Summary(
        case=documents.text(document["case"]),
        since=documents.text(document["since"]),
        when=documents.text(document["when"]),
        runs=int(document["runs"]),
        verdicts={word: int(n) for word, n in document["verdicts"].items()},
        series={
            name: Fold(
                median=documents.number(median),
                spread=documents.number(spread),
                runs=int(runs),
                unit=documents.text(unit),
            )
            for name, (median, spread, runs, unit) in document["series"].items()
        },
        folded=checksums(document),
    )


def checksums(document: Mapping[str, Any]) -> frozenset[str]:
    """Return the checksums of the lines that a summary stands for."""
    data = base64.b64decode(document["folded"], validate=True)
    size = _CHECKSUM_BYTES
    return frozenset(data[i : i + size].hex() for i in range(0, len(data), size))
