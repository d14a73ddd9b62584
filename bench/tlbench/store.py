"""The files under `results/`: accepted baselines, machines, the last run.

Owns their paths, their JSON forms, the refusal of damaged and of newer ones, and
writing them whole or not at all. The lines of a machine's history are in `history`, and
how a run becomes a baseline is in `acceptance`. It does not judge, and it reads no
clock.

    results/any/published.json        figures of others, to stand beside ours
    results/any/accepted.json         exact values and costs, on every machine
    results/<machine>/machine.json    the identity of a machine
    results/<machine>/accepted.json   its figures: timings, memory, metrics
    results/<machine>/history.jsonl   a line for every case of every saved run
    results/last-run.json             what the last session left
"""

import hashlib
import json
import math
import secrets
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from tlbench.machine import Identity
from tlbench.record import (
    SCHEMA,
    CaseRecord,
    Exact,
    exact_from_json,
    record_from_json,
    record_to_json,
)

_Value = TypeVar("_Value")

SeedValue = tuple[str, float, int]
"""A proportion of an accepted run: its seed or run, its value, its samples."""


@dataclass(frozen=True, kw_only=True)
class Acceptance:
    """How values became a baseline.

    Attributes:
        by: who accepted them.
        when: the moment, UTC, in ISO 8601.
        reason: why they are right.
        evidence: the sha256 of the `last-run.json` they were taken from.
    """

    by: str
    when: str
    reason: str
    evidence: str


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """The accepted exact values of one case, and its costs by framework versions."""

    exact: Mapping[str, Exact]
    accepted: Acceptance
    costs: Mapping[str, Mapping[str, Exact]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Alias:
    """The name that a renamed case has now, and how it was renamed."""

    to: str
    accepted: Acceptance


@dataclass(frozen=True, kw_only=True)
class Baselines:
    """All exact baselines.

    Attributes:
        cases: by case.
        renamed: the cases that were renamed, by their old names.
    """

    cases: Mapping[str, Baseline] = field(default_factory=dict)
    renamed: Mapping[str, Alias] = field(default_factory=dict)

    @property
    def aliases(self) -> dict[str, str]:
        """The new name of every case that was renamed, by its old one."""
        return {old: alias.to for old, alias in self.renamed.items()}


@dataclass(frozen=True, kw_only=True)
class Figures:
    """The accepted figures of one case on one machine.

    Attributes:
        version: of the case.
        accepted: how they became a baseline.
        series: by name, the value in each accepted run.
        metrics: by name, the proportions of the accepted runs.
        units: by name, "s" or "bytes" of those series that have one.
        anchor: as `series`, of the oldest runs accepted at this level.
        anchored: how those became the anchor.
    """

    version: str
    accepted: Acceptance
    series: Mapping[str, Mapping[str, float]]
    metrics: Mapping[str, tuple[SeedValue, ...]]
    anchor: Mapping[str, Mapping[str, float]]
    anchored: Acceptance
    units: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class LastRun:
    """What the last session left.

    Attributes:
        when: the end of the session, UTC, in ISO 8601.
        versions: the version of each program that took part, by name.
        cases: the records by case.
        gone: baseline cases which the files of the session no longer have.
        run: its name, which its lines of the history carry too.
        machine: the name of the machine it ran on.
        frameworks: the versions its costs hold for.
        verdicts: by case, findings and judgements as `verdict` wrote them.
    """

    when: str
    versions: Mapping[str, str]
    cases: Mapping[str, CaseRecord]
    gone: tuple[str, ...] = ()
    run: str = ""
    machine: str = ""
    frameworks: str = ""
    verdicts: Mapping[str, Any] = field(default_factory=dict)


def accepted_path(results: Path) -> Path:
    """Give the file of the exact baselines, which hold on every machine."""
    return results / "any" / "accepted.json"


def last_run_path(results: Path) -> Path:
    """Give the file of the last run."""
    return results / "last-run.json"


def machine_path(results: Path, machine: str) -> Path:
    """Give the file of a machine's identity."""
    return results / machine / "machine.json"


def figures_path(results: Path, machine: str) -> Path:
    """Give the file of a machine's accepted figures."""
    return results / machine / "accepted.json"


def history_path(results: Path, machine: str) -> Path:
    """Give the file of a machine's history."""
    return results / machine / "history.jsonl"


def read_accepted(results: Path) -> Baselines:
    """Read the exact baselines; a missing file holds none.

    Raises:
        ValueError: the file is damaged or of a newer schema.
    """
    path = accepted_path(results)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return Baselines()
    return parse_accepted(data, path)


def parse_accepted(data: bytes, path: Path) -> Baselines:
    """Read the exact baselines from the content of the file `path`.

    Raises:
        ValueError: the content is damaged or of a newer schema.
    """

    def baselines(document: Mapping[str, Any]) -> Baselines:
        _check_digests(document)
        return Baselines(
            cases={
                case: Baseline(
                    exact=exact_from_json(entry["exact"]),
                    accepted=_acceptance(entry["accepted"]),
                    costs={
                        versions: exact_from_json(costs)
                        for versions, costs in entry.get("costs", {}).items()
                    },
                )
                for case, entry in document["cases"].items()
            },
            renamed={
                old: Alias(
                    to=_text(entry["to"]), accepted=_acceptance(entry["accepted"])
                )
                for old, entry in document.get("renamed", {}).items()
            },
        )

    return _parse(data, path, baselines)


def accepted_json(baselines: Baselines) -> str:
    """Give the content of the file of exact baselines."""
    document = asdict(baselines)
    return _json({"schema": SCHEMA, **document, "cases": _signed(document["cases"])})


def write_accepted(results: Path, baselines: Baselines) -> None:
    """Write the exact baselines, whole or not at all."""
    write_text(accepted_path(results), accepted_json(baselines))


def read_figures(results: Path, machine: str) -> dict[str, Figures]:
    """Read the accepted figures of a machine by case; a missing file holds none.

    Raises:
        ValueError: the file is damaged or of a newer schema.
    """
    path = figures_path(results, machine)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return {}

    def figures(document: Mapping[str, Any]) -> dict[str, Figures]:
        _check_digests(document)
        return {
            case: Figures(
                version=_text(entry["version"]),
                accepted=_acceptance(entry["accepted"]),
                series=_series(entry["series"]),
                metrics={
                    name: tuple(map(_seed_value, values))
                    for name, values in entry["metrics"].items()
                },
                anchor=_series(entry["anchor"]),
                anchored=_acceptance(entry["anchored"]),
                units={name: _text(unit) for name, unit in entry["units"].items()},
            )
            for case, entry in document["cases"].items()
        }

    return _parse(data, path, figures)


def write_figures(results: Path, machine: str, figures: Mapping[str, Figures]) -> None:
    """Write the accepted figures of a machine, whole or not at all."""
    cases = _signed({case: asdict(entry) for case, entry in figures.items()})
    write_text(
        figures_path(results, machine), _json({"schema": SCHEMA, "cases": cases})
    )


def read_machines(results: Path) -> dict[str, Identity]:
    """Read the identities of all machines that have a folder, by name.

    Raises:
        ValueError: a file is damaged or of a newer schema.
    """

    def identity(document: Mapping[str, Any]) -> Identity:
        return dict(document["identity"])

    return {
        path.parent.name: _parse(path.read_bytes(), path, identity)
        for path in sorted(results.glob("*/machine.json"))
    }


def write_machine(results: Path, machine: str, identity: Identity) -> None:
    """Write a machine's identity, unless it stands there."""
    path = machine_path(results, machine)
    if not path.exists():
        write_text(path, _json({"schema": SCHEMA, "identity": identity}))


def read_last_run(results: Path) -> tuple[LastRun, str]:
    """Read the last run and the sha256 of its file.

    Raises:
        FileNotFoundError: there was none yet.
        ValueError: the file is damaged or of a newer schema.
    """
    return read_run(last_run_path(results))


def read_run(path: Path) -> tuple[LastRun, str]:
    """Read a run and the sha256 of its file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged or of a newer schema.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise FileNotFoundError(
            f"A last run is needed. Received: no file {path}. "
            "Run pytest on cases that use the fixture `record` first."
        ) from None

    def run(document: Mapping[str, Any]) -> LastRun:
        return LastRun(
            when=_text(document["when"]),
            versions={k: _text(v) for k, v in document["versions"].items()},
            cases={
                case: record_from_json(case, entry)
                for case, entry in document["cases"].items()
            },
            gone=tuple(map(_text, document["gone"])),
            run=_text(document.get("run", "")),
            machine=_text(document.get("machine", "")),
            frameworks=_text(document.get("frameworks", "")),
            verdicts=dict(document.get("verdicts", {})),
        )

    return _parse(data, path, run), hashlib.sha256(data).hexdigest()


def write_run(path: Path, run: LastRun) -> None:
    """Write a run, whole or not at all."""
    document = {
        "schema": SCHEMA,
        "when": run.when,
        "versions": dict(run.versions),
        "cases": {case: record_to_json(record) for case, record in run.cases.items()},
        "gone": sorted(run.gone),
        "run": run.run,
        "machine": run.machine,
        "frameworks": run.frameworks,
        "verdicts": dict(run.verdicts),
    }
    # In the order it was recorded in, which tells what was timed on top of what.
    write_text(path, _json(document, sort=False))


def read_published(results: Path) -> list[dict[str, str]]:
    """Read the figures that others published; a missing file holds none.

    Raises:
        ValueError: the file is damaged or of a newer schema.
    """
    path = results / "any" / "published.json"
    names = ("work", "figure", "value", "source")

    def published(document: Mapping[str, Any]) -> list[dict[str, str]]:
        found = [
            {key: _text(x) for key, x in one.items()} for one in document["figures"]
        ]
        for one in found:
            for name in names:
                one[name]
        return found

    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return []
    return _parse(data, path, published)


def _signed(cases: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Give every case a digest of what was accepted of it."""
    return {
        case: {**entry, "digest": _digest(case, entry)} for case, entry in cases.items()
    }


def _check_digests(document: Mapping[str, Any]) -> None:
    """Refuse a case that was edited by hand; before schema 2 there were no digests."""
    for case, entry in document["cases"].items():
        content = {key: value for key, value in entry.items() if key != "digest"}
        if document["schema"] > 1 and entry["digest"] != _digest(case, content):
            raise ValueError(f"{case!r} was changed by hand")


def _digest(case: str, entry: Mapping[str, Any]) -> str:
    content = json.dumps([case, entry], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def _acceptance(data: Mapping[str, Any]) -> Acceptance:
    names = ("by", "when", "reason", "evidence")
    return Acceptance(**{name: _text(data[name]) for name in names})


def _series(data: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    return {
        name: {run: _number(value) for run, value in runs.items()}
        for name, runs in data.items()
    }


def _seed_value(data: Any) -> SeedValue:
    seed, value, n = data
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        raise TypeError(f"{n!r} is no number of samples")
    return _text(seed), _number(value), n


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{value!r} is no number")
    if not math.isfinite(value):
        raise ValueError(f"{value!r} is not finite")
    return float(value)


def _parse(
    data: bytes, path: Path, build: Callable[[Mapping[str, Any]], _Value]
) -> _Value:
    """Build a value from the JSON document `data`, the content of the file `path`."""
    try:
        document = json.loads(data, object_pairs_hook=_distinct)
        schema = _schema(document)
        if schema <= SCHEMA:
            return build(document)
    except (
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        RecursionError,
    ) as error:
        why = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise ValueError(
            f"{path} must be a whole tlbench file. Received: a damaged one ({why}). "
            "Restore it, for instance from version control."
        ) from error
    raise ValueError(
        f"{path} must have schema {SCHEMA} or older. Received: schema={schema}. "
        "Install a newer tlbench to read it."
    )


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # A merge can leave one case twice; JSON readers would take the last silently.
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{twice!r} stands twice")
    return found


def _schema(document: Mapping[str, Any]) -> int:
    schema = document["schema"]
    if isinstance(schema, bool) or not isinstance(schema, int) or schema < 1:
        raise ValueError(f"schema={schema!r}")
    return schema


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def _json(document: Mapping[str, Any], *, sort: bool = True) -> str:
    return json.dumps(document, indent=2, sort_keys=sort, allow_nan=False) + "\n"


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all, its folder too where there is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
    try:
        # "x" makes a new file with the permissions that the umask grants.
        with aside.open("x", encoding="utf-8", newline="\n") as file:
            file.write(text)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
