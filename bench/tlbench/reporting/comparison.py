"""What a paired comparison shows: a table, JSON, Markdown and a page.

Owns how it is written for a terminal, for a script, for a pull request and for a
browser. It judges nothing; the page is self-contained and has no script.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tlbench import units
from tlbench.pairing.comparison import Comparison
from tlbench.pairing.judging import Change, Row
from tlbench.reporting import markup
from tlbench.reporting.summary import COLOURS, Line, tally
from tlbench.verdicts.verdict import VERDICTS

SCHEMA = 1
"""Of the JSON document."""

HEADINGS = ("case", "figure", "base", "head", "change", "known to", "verdict")


def lines(comparison: Comparison) -> Iterator[Line]:
    """Yield the lines for a terminal: a table, the findings, the notes, a count."""
    rows = [cells for row in comparison.rows for cells in _cells(row)]
    widths = [
        max(len(line[column]) for line in (HEADINGS, *(x for x, _ in rows)))
        for column in range(len(HEADINGS))
    ]

    def aligned(texts: Sequence[str]) -> str:
        padded = [text.ljust(width) for text, width in zip(texts, widths, strict=True)]
        return "  ".join(padded).rstrip()

    yield f"base  {comparison.base}", {}
    yield f"head  {comparison.head}", {}
    yield "", {}
    yield aligned(HEADINGS), {"bold": True}
    for cells, row in rows:
        yield aligned(cells), COLOURS[row.verdict]
    found = list(_findings(comparison))
    if found:
        yield "", {}
    for case, finding in found:
        yield f"{case}: {finding}", COLOURS[finding.verdict]
    for note in comparison.notes:
        yield note, {"bold": True}
    yield f"{count(comparison)} ({_effort(comparison)})", {}


def count(comparison: Comparison) -> str:
    """Return how many cases there are of each verdict."""
    ignored = sum(row.ignored for row in comparison.rows)
    return tally([row.verdict for row in comparison.rows], ignored=ignored)


def document(comparison: Comparison) -> str:
    """Return the comparison as JSON."""
    return json.dumps(
        {
            "schema": SCHEMA,
            "base": comparison.base,
            "head": comparison.head,
            "pairs": comparison.pairs,
            "seconds": round(comparison.seconds, 1),
            "interrupted": comparison.interrupted,
            "notes": list(comparison.notes),
            "cases": {
                row.case: {
                    "verdict": row.verdict,
                    "findings": [[one.verdict, one.why] for one in row.findings],
                    "pairs": row.pairs,
                    "equal": list(row.equal),
                    "differing": list(row.differing),
                    "ignored": row.ignored,
                    "changes": {one.name: _change_json(one) for one in row.changes},
                }
                for row in comparison.rows
            },
        },
        indent=2,
        allow_nan=False,
    )


def markdown(comparison: Comparison) -> str:
    """Return the comparison for a pull request: what changed, the rest in a count."""
    text = [f"## tlbench ab: {count(comparison)}", ""]
    text += [f"`{comparison.base}` and `{comparison.head}`, {_effort(comparison)}.", ""]
    found = list(_findings(comparison))
    if found:
        text += markup.findings_table(found)
    else:
        text.append("Nothing changed.")
    text += ["", "<details><summary>all cases</summary>", ""]
    text += [
        f"| {' | '.join(HEADINGS)} |",
        f"| {' | '.join('---' for _ in HEADINGS)} |",
    ]
    text += [
        f"| {' | '.join(map(markup.cell, cells))} |"
        for row in comparison.rows
        for cells, _ in _cells(row)
    ]
    text += ["", "</details>", *(f"\n{note}" for note in comparison.notes)]
    return "\n".join(text) + "\n"


def page(comparison: Comparison) -> str:
    """Return the comparison as a page."""
    return markup.page(
        "comparison.html.j2",
        comparison=comparison,
        count=count(comparison),
        effort=_effort(comparison),
        findings=list(_findings(comparison)),
        headings=HEADINGS,
        rows=[(row, [cells for cells, _ in _cells(row)]) for row in comparison.rows],
    )


def _effort(comparison: Comparison) -> str:
    pairs = "1 pair" if comparison.pairs == 1 else f"{comparison.pairs} pairs"
    return f"{pairs} of processes in {comparison.seconds:.0f} s"


def _findings(comparison: Comparison) -> list[tuple[str, Any]]:
    """Return every finding with its case, the gravest first."""
    found = [(row.case, one) for row in comparison.rows for one in row.findings]
    return sorted(found, key=lambda x: VERDICTS.index(x[1].verdict))


def _cells(row: Row) -> Iterator[tuple[tuple[str, ...], Row]]:
    """Yield the lines of a case: exact values first, then a line for each figure."""
    name, verdict = row.case, str(row.verdict)
    counts = {"equal": row.equal, "differ": row.differing}
    exact = [f"{len(names)} {word}" for word, names in counts.items() if names]
    if exact or not row.changes:
        title = "exact" if exact else ""
        yield (name, title, "", "", ", ".join(exact), "", verdict), row
        name = verdict = ""
    for one in row.changes:
        yield (name, *_figures(one), verdict), row
        name = verdict = ""


def _figures(one: Change) -> tuple[str, ...]:
    known = one.estimate
    change, within = "", ""
    if known is not None:
        change = units.percent(math.expm1(known.change), sign=True)
        within = f"±{units.percent(math.expm1(min(known.half_width, 50.0)))}"
    return (
        # In brackets: shown, but not what the case is judged by.
        one.name if one.judged else f"({one.name})",
        units.figure(one.base, one.unit),
        units.figure(one.head, one.unit),
        change,
        within,
    )


def _change_json(one: Change) -> Mapping[str, Any]:
    known = one.estimate
    found: dict[str, Any] = {
        "base": one.base,
        "head": one.head,
        "unit": one.unit,
        "judged": one.judged,
    }
    if known is not None and math.isfinite(known.error):
        found |= {
            "change": math.expm1(known.change),
            "half_width": math.expm1(min(known.half_width, 50.0)),
            "detectable": math.expm1(min(known.detectable, 50.0)),
            "agreeing": known.agreeing,
            "pairs": known.pairs,
            "decision": known.decision,
        }
    return found
