"""Accepted baselines: exact values and costs for all machines, figures for each.

Owns `results/any/accepted.json` and `results/<machine>/accepted.json`: the values in
them, their JSON forms and their files. How a run becomes a baseline is in `acceptance`.
It does not judge, and it reads no clock.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tlbench.record import SCHEMA, Exact, exact_from_json
from tlbench.storage import documents
from tlbench.verdicts.figures import Figures, Portable, SeedValue


@dataclass(frozen=True, kw_only=True)
class Acceptance:
    """How values became a baseline.

    Attributes:
        by: who accepted them.
        when: the time, UTC, in ISO 8601.
        reason: why they are right.
        evidence: the sha256 of the `last-run.json` they were taken from.
    """

    by: str
    when: str
    reason: str
    evidence: str


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """What is accepted of one case for all machines.

    Attributes:
        exact: its exact values.
        accepted: how these and the costs became a baseline.
        costs: its costs, by framework versions.
        portable: the figures that mean the same on every machine; None without any.
    """

    exact: Mapping[str, Exact]
    accepted: Acceptance
    costs: Mapping[str, Mapping[str, Exact]] = field(default_factory=dict)
    portable: "PortableBaseline | None" = None


@dataclass(frozen=True, kw_only=True)
class PortableBaseline:
    """The accepted portable figures of one case, and how they became a baseline."""

    figures: Portable
    accepted: Acceptance


@dataclass(frozen=True, kw_only=True)
class Alias:
    """The new name of a renamed case, and how it was renamed."""

    to: str
    accepted: Acceptance


@dataclass(frozen=True, kw_only=True)
class Baselines:
    """All exact baselines.

    Attributes:
        cases: the baselines, by case.
        renamed: the cases that were renamed, by their old names.
    """

    cases: Mapping[str, Baseline] = field(default_factory=dict)
    renamed: Mapping[str, Alias] = field(default_factory=dict)

    @property
    def aliases(self) -> dict[str, str]:
        """The new name of every renamed case, by its old name."""
        return {old: alias.to for old, alias in self.renamed.items()}


@dataclass(frozen=True, kw_only=True)
class MachineBaseline:
    """The accepted figures of one case on one machine.

    Attributes:
        figures: the values.
        accepted: how they became a baseline.
        anchored: how the runs of the anchor were accepted.
    """

    figures: Figures
    accepted: Acceptance
    anchored: Acceptance


def accepted_path(results: Path) -> Path:
    """Return the path of the exact baselines, which hold on every machine."""
    return results / "any" / "accepted.json"


def figures_path(results: Path, machine: str) -> Path:
    """Return the path of a machine's accepted figures."""
    return results / machine / "accepted.json"


def read_accepted(results: Path) -> Baselines:
    """Return the exact baselines; none without a file.

    Raises:
        ValueError: the file is damaged or of a newer schema.
    """
    return documents.read(accepted_path(results), _baselines) or Baselines()


def parse_accepted(data: bytes, path: Path) -> Baselines:
    """Return the exact baselines from the content of the file `path`.

    Raises:
        ValueError: the content is damaged or of a newer schema.
    """
    return documents.parse(data, path, _baselines)


def accepted_json(baselines: Baselines) -> str:
    """Return the content of the file of exact baselines."""
    document = asdict(baselines)
    for entry in document["cases"].values():
        if entry["portable"] is None:
            del entry["portable"]
    cases = documents.with_digests(document["cases"])
    return documents.encode({"schema": SCHEMA, **document, "cases": cases})


def write_accepted(results: Path, baselines: Baselines) -> None:
    """Write the exact baselines, whole or not at all."""
    documents.write_text(accepted_path(results), accepted_json(baselines))


def read_figures(results: Path, machine: str) -> dict[str, MachineBaseline]:
    """Return the accepted figures of a machine by case; none without a file.

    Raises:
        ValueError: the file is damaged or of a newer schema.
    """
    return documents.read(figures_path(results, machine), _machine_baselines) or {}


def parse_figures(data: bytes, path: Path) -> dict[str, MachineBaseline]:
    """Return the accepted figures of a machine from the content of the file `path`.

    Raises:
        ValueError: the content is damaged or of a newer schema.
    """
    return documents.parse(data, path, _machine_baselines)


def write_figures(
    results: Path, machine: str, accepted: Mapping[str, MachineBaseline]
) -> None:
    """Write the accepted figures of a machine, whole or not at all."""
    entries = {
        case: {
            **asdict(one.figures),
            "accepted": asdict(one.accepted),
            "anchored": asdict(one.anchored),
        }
        for case, one in accepted.items()
    }
    for entry in entries.values():
        del entry["borrowed"]  # what is accepted of a machine is its own
    document = {"schema": SCHEMA, "cases": documents.with_digests(entries)}
    documents.write_text(figures_path(results, machine), documents.encode(document))


def _baselines(document: Mapping[str, Any]) -> Baselines:
    documents.check_digests(document)
    return Baselines(
        cases={
            case: Baseline(
                exact=exact_from_json(entry["exact"]),
                accepted=_acceptance(entry["accepted"]),
                costs={
                    versions: exact_from_json(costs)
                    for versions, costs in entry.get("costs", {}).items()
                },
                portable=_portable(entry.get("portable")),
            )
            for case, entry in document["cases"].items()
        },
        renamed={
            old: Alias(
                to=documents.text(entry["to"]), accepted=_acceptance(entry["accepted"])
            )
            for old, entry in document.get("renamed", {}).items()
        },
    )


def _machine_baselines(document: Mapping[str, Any]) -> dict[str, MachineBaseline]:
    documents.check_digests(document)
    return {
        case: MachineBaseline(
            figures=_figures(entry),
            accepted=_acceptance(entry["accepted"]),
            anchored=_acceptance(entry["anchored"]),
        )
        for case, entry in document["cases"].items()
    }


def _portable(entry: Mapping[str, Any] | None) -> PortableBaseline | None:
    if entry is None:
        return None
    figures = entry["figures"]
    return PortableBaseline(
        figures=Portable(
            version=documents.text(figures["version"]),
            values=_series(figures["values"]),
            shares={name: _series(x) for name, x in figures["shares"].items()},
            samples={name: _samples(n) for name, n in figures["samples"].items()},
            spreads=_spreads(figures["spreads"]),
        ),
        accepted=_acceptance(entry["accepted"]),
    )


def _figures(entry: Mapping[str, Any]) -> Figures:
    return Figures(
        version=documents.text(entry["version"]),
        series=_series(entry["series"]),
        metrics={
            name: tuple(map(_seed_value, values))
            for name, values in entry["metrics"].items()
        },
        anchor=_series(entry["anchor"]),
        units={name: documents.text(unit) for name, unit in entry["units"].items()},
        # None of these is there in files of before.
        iterations={k: int(x) for k, x in entry.get("iterations", {}).items()},
        timers={k: documents.text(x) for k, x in entry.get("timers", {}).items()},
        context=dict(entry.get("context", {})),
        spreads=_spreads(entry.get("spreads", {})),
    )


def _spreads(data: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    return {
        name: (documents.number(spread), documents.number(freedom))
        for name, (spread, freedom) in data.items()
    }


def _acceptance(data: Mapping[str, Any]) -> Acceptance:
    names = ("by", "when", "reason", "evidence")
    return Acceptance(**{name: documents.text(data[name]) for name in names})


def _series(data: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    return {
        name: {run: documents.number(value) for run, value in runs.items()}
        for name, runs in data.items()
    }


def _seed_value(data: Any) -> SeedValue:
    seed, value, n = data
    return documents.text(seed), documents.number(value), _samples(n)


def _samples(n: Any) -> int:
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        raise TypeError(f"{n!r} is not a number of samples")
    return n
