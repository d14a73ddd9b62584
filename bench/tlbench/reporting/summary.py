"""What the terminal shows at the end: a table of cases, and a line for every finding.

Owns how figures and verdicts are written for a terminal. It judges nothing and does not
know pytest.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import zip_longest

from tlbench import units
from tlbench.characters import visible
from tlbench.record import Metric
from tlbench.verdicts.figures import NO_BASELINE, mean, series_of
from tlbench.verdicts.verdict import (
    MACHINE,
    VERDICTS,
    Case,
    Comparison,
    Finding,
    Judgement,
    Verdict,
)

HEADINGS = ("case", "exact", "metrics", "median", "verdict")

COLOURS: Mapping[Verdict, dict[str, bool]] = {
    "pass": {"green": True},
    "improvement": {"green": True},
    "machine_shift": {"yellow": True},
    "inconclusive": {"yellow": True},
    "not_comparable": {"yellow": True},
    "missing": {"yellow": True},
    "regression": {"red": True},
}

_REMEDY = "save some runs with --tl-save, then accept them"

Line = tuple[str, dict[str, bool]]
"""A line and its markup, as pytest's terminal reporter takes it."""


def table(cases: Sequence[Case]) -> Iterator[Line]:
    """Yield the lines of the table."""
    # Before the columns get their widths.
    cells = [
        [[visible(text) for text in column] for column in _cells(case)]
        for case in cases
    ]
    widths = [
        max(len(line) for line in (heading, *(one for row in cells for one in row[i])))
        for i, heading in enumerate(HEADINGS)
    ]

    def aligned(texts: Sequence[str]) -> str:
        padded = [text.ljust(width) for text, width in zip(texts, widths, strict=True)]
        return "  ".join(padded).rstrip()

    yield aligned(HEADINGS), {"bold": True}
    for case, columns in zip(cases, cells, strict=True):
        for texts in zip_longest(*columns, fillvalue=""):
            yield aligned(texts), COLOURS[case.verdict]


def findings(cases: Sequence[Case]) -> Iterator[Line]:
    """Yield a line for every finding, the gravest first."""
    for case, finding in ordered(cases):
        yield f"{case}: {finding}", COLOURS[finding.verdict]


def ordered(cases: Sequence[Case]) -> list[tuple[str, Finding]]:
    """Return the findings, the gravest first, each with the case that it is about.

    A new machine is one reason, not one for each case: their figures are one line.
    """
    found = [(case.case, one) for case in cases for one in case.findings]
    new = [(case, one) for case, one in found if one.why == NO_BASELINE]
    if len(new) > 1:
        why = f"{NO_BASELINE}, which their figures depend on: {_REMEDY}"
        found = [one for one in found if one not in new]
        found.append((f"{len(new)} cases", replace(new[0][1], why=why)))
    return sorted(found, key=lambda x: VERDICTS.index(x[1].verdict))


def count(cases: Sequence[Case]) -> str:
    """Return how many cases there are of each verdict."""
    verdicts = [case.verdict for case in cases if case.case != MACHINE]
    shift = any(case.case == MACHINE for case in cases)
    ignored = sum(case.ignored for case in cases)
    return tally(verdicts, ignored=ignored) + ("; machine_shift" if shift else "")


def tally(verdicts: Sequence[Verdict], *, ignored: int = 0) -> str:
    """Return how many there are, how many of each, and how many are not timed.

    >>> tally(["pass", "missing", "pass"], ignored=1)
    '3 cases: 2 pass, 1 missing; timings of 1 ignored'
    """
    order = ("pass", *VERDICTS[:-1])
    counts = [f"{verdicts.count(v)} {v}" for v in order if v in verdicts]
    word = "1 case" if len(verdicts) == 1 else f"{len(verdicts)} cases"
    left_out = f"; timings of {ignored} ignored" if ignored else ""
    return f"{word}: {', '.join(counts)}{left_out}"


def _cells(case: Case) -> tuple[list[str], ...]:
    """Return the lines of each cell, in the order of the headings."""
    verdicts = [str(case.verdict)]
    record = case.record
    if record is None or case.comparison is None:
        return [case.case], [], [], [], verdicts
    seen = {x.name: _seen(x) for x in case.judgements}
    metrics = [
        f"{name} {_metric(entries)}{seen.get(name, '')}"
        for name, entries in record.metrics.items()
    ]
    figures = [
        f"{name} {units.figure(one.value, one.unit)}{seen.get(name, '')}"
        for name, one in series_of(record).items()
        if one.clock
    ]
    figures += [
        f"{name} {units.megabytes(nbytes)}{seen.get(name, '')}"
        for name, nbytes in record.memory.items()
    ]
    return [case.case], _counts(case.comparison), metrics, figures, verdicts


def _counts(comparison: Comparison) -> list[str]:
    counts = {
        "equal": comparison.equal,
        "differs": comparison.differing,
        "new": comparison.new,
        "lost": comparison.lost,
    }
    words = [f"{len(names)} {word}" for word, names in counts.items() if names]
    return [", ".join(words)] if words else []


def _metric(entries: Sequence[Metric]) -> str:
    if len(entries) > 1:
        text = f"{units.figure(mean(entries), '')} of {len(entries)} seeds"
        return text if entries[0].n is None else f"{text} n={entries[0].n}"
    (metric,) = entries
    text = units.figure(metric.value, "")
    if metric.interval:
        low, high = metric.interval
        text += f" [{low:.4f}, {high:.4f}]"
    return text if metric.n is None else f"{text} n={metric.n}"


def _seen(judgement: Judgement) -> str:
    """Return how much a figure changed, and the change that would have been seen."""
    if judgement.change is None:
        return ""
    text = f" {units.percent(judgement.change, sign=True)}"
    if judgement.detectable is not None:
        text += f" (sees {units.percent(judgement.detectable)})"
    return text
