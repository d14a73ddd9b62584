"""The report: one HTML page and a Markdown summary, built from files alone.

Owns what the page shows and in which order. It reads `results/` and no clock, so that
the same files give the same bytes. It judges nothing: the verdicts are those of the
last run. The page is self-contained and has no script.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tlbench import machine, units
from tlbench.reporting import charts, markup, summary
from tlbench.storage import documents, history
from tlbench.storage.baselines import MachineBaseline, read_accepted, read_figures
from tlbench.storage.history import Entry
from tlbench.storage.last_run import LastRun, read_last_run
from tlbench.storage.machines import read_machines
from tlbench.storage.published import read_published
from tlbench.storage.retention import values_of
from tlbench.storage.summaries import Summary
from tlbench.verdicts import noise, verdict
from tlbench.verdicts.figures import mean, proportions_of, series_of
from tlbench.verdicts.limits import DEFAULT, Policy
from tlbench.verdicts.verdict import Case

PAGE, SUMMARY = "report.html", "report.md"

_PARAMETERS = ("total_params", "params", "frozen.total_params")
"""Exact values that say how large a model is; the first one that exists is used."""


@dataclass(frozen=True, kw_only=True)
class Trend:
    """One series over the runs of its machine."""

    case: str
    name: str
    runs: int
    chart: str
    accepted: str


@dataclass(frozen=True, kw_only=True)
class Published:
    """A figure that somebody published, shown next to ours; never a gate."""

    work: str
    figure: str
    theirs: str
    ours: str
    source: str


def write(results: Path, folder: Path, policy: Policy = DEFAULT) -> Path:
    """Write the page and the summary; return the path of the page.

    Args:
        results: the folder of the baselines.
        folder: where to write to.
        policy: the limits of each case, which the bands of its trends show.

    Raises:
        FileNotFoundError: there has been no run yet.
        ValueError: a file is damaged or of a newer schema.
        OSError: a file cannot be read or written.
    """
    page, text = build(results, policy)
    documents.write_text(folder / SUMMARY, text)
    documents.write_text(folder / PAGE, page)
    return folder / PAGE


def build(results: Path, policy: Policy = DEFAULT) -> tuple[str, str]:
    """Return the page and the summary.

    Raises:
        FileNotFoundError: there was no run yet.
        ValueError: a file is damaged or of a newer schema.
    """
    run, _ = read_last_run(results)
    cases = _cases(run)
    machines = read_machines(results)
    figures = read_figures(results, run.machine) if run.machine else {}
    aliases = read_accepted(results).aliases
    kept = history.read(history.history_path(results, run.machine or "none"))
    kept = kept.renamed(aliases)
    found = summary.ordered(cases)
    with_findings = {case.case for case in cases if case.findings}
    quiet = [case for case in cases if case.case not in with_findings]
    trends = list(_trends(kept, figures, policy))
    page = markup.page(
        "report.html.j2",
        run=run,
        counts=_counts(cases),
        ignored=sum(case.ignored for case in cases),
        findings=found,
        found_rows=[_row(case) for case in cases if case.case in with_findings],
        moved_rows=[_row(case) for case in quiet if _has_moved(case, policy)],
        suites=_by_suite([case for case in quiet if not _has_moved(case, policy)]),
        trends=trends,
        found_trends=[one for one in trends if one.case in with_findings],
        other_trends=[one for one in trends if one.case not in with_findings],
        split=_split(cases),
        accuracy=_accuracy(cases),
        published=_published(results, cases),
        machine=machines.get(run.machine, {}),
        changes=_changes(kept.entries, machines, run.machine),
        damage=kept.damage,
    )
    return page, _markdown(run, cases, found)


def _cases(run: LastRun) -> list[Case]:
    try:
        return [
            verdict.from_json(case, data, run.cases.get(case))
            for case, data in sorted(run.verdicts.items())
        ]
    except documents.DAMAGE as error:
        raise ValueError(
            "The last run must hold the verdicts on its cases. "
            f"Received: {documents.reason(error)}. Run pytest again."
        ) from error


def _counts(cases: Sequence[Case]) -> list[tuple[str, int]]:
    verdicts = [case.verdict for case in cases if case.case != verdict.MACHINE]
    words = ("pass", *verdict.VERDICTS[:-1])
    return [(word, verdicts.count(word)) for word in words if word in verdicts]


def _has_moved(case: Case, policy: Policy) -> bool:
    """Tell whether a figure of a case moved visibly, although that is no finding."""
    # Half of what would have been seen: less is what figures do every night.
    size = policy.of(case.case).practical_size
    return any(
        abs(one.change) > max(size, one.detectable / 2)
        for one in case.judgements
        if one.change is not None and one.detectable is not None
    )


def _by_suite(cases: Sequence[Case]) -> list[tuple[str, list[dict[str, Any]]]]:
    """Return the rows of cases by their file."""
    found: dict[str, list[dict[str, Any]]] = {}
    for case in cases:
        found.setdefault(case.case.partition("::")[0], []).append(_row(case))
    return sorted(found.items())


def _row(case: Case) -> dict[str, Any]:
    record = case.record
    figures = []
    if record is not None:
        changes = {x.name: x.change for x in case.judgements}
        detectable = {x.name: x.detectable for x in case.judgements}
        figures = [
            {
                "name": name,
                "value": value,
                "change": _percent(changes.get(name), sign=True),
                "detectable": _percent(detectable.get(name)),
            }
            for name, value in _figures(case)
        ]
    comparison = case.comparison
    return {
        "case": case.case,
        "verdict": case.verdict,
        "figures": figures,
        "equal": len(comparison.equal) if comparison else 0,
        "differing": comparison.differing if comparison else (),
        "values": sorted({**record.exact, **record.costs}.items()) if record else [],
    }


def _figures(case: Case) -> Iterator[tuple[str, str]]:
    if case.record is None:
        return
    for name, one in series_of(case.record).items():
        yield name, str(one)
    for name, entries in proportions_of(case.record).items():
        seeds = "" if len(entries) == 1 else f", {len(entries)} seeds"
        yield name, f"{units.proportion(mean(entries))} (n={entries[0].n}{seeds})"


def _trends(
    kept: history.History, figures: Mapping[str, MachineBaseline], policy: Policy
) -> Iterator[Trend]:
    """Yield a chart for every series of the history, in the order of its cases."""
    series: dict[tuple[str, str], list[tuple[charts.Point, int, str]]] = {}
    for line in kept.timeline:
        for name, point, runs, unit in _points(line):
            series.setdefault((line.case, name), []).append((point, runs, unit))
    bands = _bands(figures, policy)
    for (case, name), found in sorted(series.items()):
        unit = found[-1][2]
        band = bands.get((case, name))
        points = [point for point, _, _ in found]
        yield Trend(
            case=case,
            name=name,
            runs=sum(runs for _, runs, _ in found),
            chart=charts.trend(points, band, unit=unit, title=f"{case} {name}"),
            accepted=_accepted(band, figures.get(case)),
        )


def _points(line: Entry | Summary) -> Iterator[tuple[str, charts.Point, int, str]]:
    """Yield the name, the point, the runs and the unit of each series of a line."""
    if isinstance(line, Summary):
        for name, fold in line.series.items():
            median = units.figure(fold.median, fold.unit)
            spread = units.figure(fold.spread, fold.unit)
            words = (
                f"{line.month}: median {median} of {fold.runs} runs, spread {spread}"
            )
            yield (
                name,
                charts.Point(value=fold.median, words=words),
                fold.runs,
                fold.unit,
            )
        return
    where = " ".join(filter(None, (line.when, line.commit, line.branch)))
    for name, unit, value in values_of(line):
        words = f"{where}: {units.figure(value, unit)} ({line.verdict})"
        point = charts.Point(value=value, words=words, verdict=line.verdict)
        yield name, point, 1, unit


def _bands(
    figures: Mapping[str, MachineBaseline], policy: Policy
) -> dict[tuple[str, str], charts.Band]:
    """Return where each series is expected, all of them sharing the error budget."""
    accepted = {
        (case, name): runs
        for case, x in figures.items()
        for name, runs in x.figures.series.items()
        if len(runs) >= noise.FEWEST_RUNS and noise.is_relative(runs)
    }
    if not accepted:
        return {}
    scaled = {
        key: {run: noise.scaled(value, runs) for run, value in runs.items()}
        for key, runs in accepted.items()
    }
    # No values: the bands are what accepted runs predict, not what the last run did.
    judged = noise.compare_run(scaled, {})
    alpha = noise.FALSE_ALARMS / len(accepted)
    bands = {}
    for key, runs in accepted.items():
        expected = judged.expectations[key]
        anchor = figures[key[0]].figures.anchor.get(key[1], {})
        limit = max(expected.limit(alpha), policy.of(key[0]).smallest)
        level = [math.log(value) for value in anchor.values() if value > 0]
        # An anchor at the same runs would only hide the centre line.
        moved = bool(level) and dict(anchor) != dict(runs)
        bands[key] = charts.Band(
            low=math.exp(expected.centre - limit),
            centre=math.exp(expected.centre),
            high=math.exp(expected.centre + limit),
            anchor=math.exp(sum(level) / len(level)) if moved else None,
        )
    return bands


def _accepted(band: charts.Band | None, figures: MachineBaseline | None) -> str:
    if figures is None:
        return "no accepted runs"
    accepted = figures.accepted
    text = f"accepted {accepted.when[:10]} by {accepted.by}: {accepted.reason}"
    if band is not None and band.anchor is not None:
        drift = band.centre / band.anchor - 1
        since = figures.anchored.when[:10]
        text += f"; {units.percent(drift, sign=True)} since the anchor of {since}"
    return text


def _split(cases: Sequence[Case]) -> str:
    """Return what epochs are made of.

    A case contributes if it recorded `epoch.first`, `epoch.PART` and `epoch.+PART`,
    where each `+PART` was timed with one thing more than the timing before it.
    """
    rows = []
    for case in cases:
        timings = case.record.timings if case.record else {}
        parts: list[tuple[str, float]] = []
        before = 0.0
        for name, timing in timings.items():
            family, _, part = name.partition(".")
            if family == "epoch" and part and part != "first":
                more = timing.median - (before if part.startswith("+") else 0.0)
                parts.append((part.lstrip("+"), max(0.0, more)))
                before = timing.median
        if parts and "epoch.first" in timings:
            trace = timings["epoch.first"].median - parts[0][1]
            parts.append(("trace, once", max(0.0, trace)))
        if parts:
            rows.append((case.case, parts))
    return charts.shares(rows, title="What an epoch is made of") if rows else ""


def _accuracy(cases: Sequence[Case]) -> str:
    points = []
    for case in cases:
        if case.record is None:
            continue
        sizes = [case.record.exact.get(name) for name in _PARAMETERS]
        size = next((x for x in sizes if isinstance(x, int) and x > 0), None)
        for name, entries in proportions_of(case.record).items():
            if size is not None:
                share = units.proportion(mean(entries))
                words = f"{case.case} {name} {share}, {size:,} parameters"
                points.append((float(size), mean(entries), words))
    if not points:
        return ""
    return charts.scatter(
        points, across="parameters", up="proportion", title="Accuracy and parameters"
    )


def _published(results: Path, cases: Sequence[Case]) -> list[Published]:
    values = {
        (case.case, name): value
        for case in cases
        if case.record is not None
        for name, value in _figures(case)
    }
    return [
        Published(
            work=one["work"],
            figure=one["figure"],
            theirs=one["value"],
            ours=values.get((one.get("case", ""), one.get("name", "")), ""),
            source=one["source"],
        )
        for one in read_published(results)
    ]


def _changes(
    entries: Sequence[Entry], machines: Mapping[str, machine.Identity], here: str
) -> list[str]:
    """Return what changed in the machine, and how it differs from the others."""
    found = []
    before: Mapping[str, Any] = {}
    seen = ""
    for entry in entries:
        if entry.run == seen or not entry.context:
            continue
        for key in ("governor", "cpu_limit", "memory_limit", "gpu_programs"):
            old, new = before.get(key), entry.context.get(key)
            if before and old != new:
                found.append(f"{entry.when} {key}: {old or 'none'} -> {new or 'none'}")
        before, seen = entry.context, entry.run
    for name, identity in machines.items():
        if name != here and here in machines:
            differing = machine.differences(machines[here], identity)
            found.append(f"{name} -> {here}: {'; '.join(differing)}")
    return found


def _percent(change: float | None, *, sign: bool = False) -> str:
    return "" if change is None else units.percent(change, sign=sign)


def _markdown(
    run: LastRun,
    cases: Sequence[Case],
    found: Sequence[tuple[str, verdict.Finding]],
) -> str:
    # For the summary of a CI job: short, as everything else is on the page.
    lines = [f"## tlbench: {summary.count(cases)}", ""]
    branch = f" of `{run.branch}`" if run.branch else ""
    lines += [f"Run {run.run}{branch} on `{run.machine}`, {run.when}.", ""]
    if found:
        lines += markup.findings_table(found)
    else:
        lines.append("Nothing was found.")
    return "\n".join(lines) + "\n"
