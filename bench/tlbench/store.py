"""The files under `results/`: accepted baselines and the last run.

Owns their paths, their JSON forms, the refusal of damaged and of newer ones, writing
them whole or not at all, and how a run becomes a baseline. It does not judge, and it
reads no clock: who and when are arguments.
"""

import hashlib
import json
import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from tlbench.record import (
    SCHEMA,
    CaseRecord,
    Exact,
    compare,
    exact_from_json,
    record_from_json,
    record_to_json,
)

_Value = TypeVar("_Value")


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
    """The accepted exact values of one case."""

    exact: Mapping[str, Exact]
    accepted: Acceptance


@dataclass(frozen=True, kw_only=True)
class LastRun:
    """What the last session left.

    Attributes:
        when: the end of the session, UTC, in ISO 8601.
        versions: the version of each program that took part, by name.
        cases: the records by case.
        gone: baseline cases which the files of the session no longer have.
    """

    when: str
    versions: Mapping[str, str]
    cases: Mapping[str, CaseRecord]
    gone: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Accepted:
    """The baselines after an acceptance, and the cases by what happened to them."""

    baselines: Mapping[str, Baseline]
    new: tuple[str, ...]
    changed: tuple[str, ...]
    unchanged: tuple[str, ...]
    dropped: tuple[str, ...]


def accepted_path(results: Path) -> Path:
    """Give the file of the exact baselines, which hold on every machine."""
    return results / "any" / "accepted.json"


def last_run_path(results: Path) -> Path:
    """Give the file of the last run."""
    return results / "last-run.json"


def read_accepted(results: Path) -> dict[str, Baseline]:
    """Read the exact baselines by case; a missing file holds none.

    Raises:
        ValueError: the file is damaged or of a newer schema.
    """
    path = accepted_path(results)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return {}
    return parse_accepted(data, path)


def parse_accepted(data: bytes, path: Path) -> dict[str, Baseline]:
    """Read the exact baselines from the content of the file `path`.

    Raises:
        ValueError: the content is damaged or of a newer schema.
    """

    def baselines(document: Mapping[str, Any]) -> dict[str, Baseline]:
        return {
            case: Baseline(
                exact=exact_from_json(entry["exact"]),
                accepted=Acceptance(
                    **{
                        name: _text(entry["accepted"][name])
                        for name in ("by", "when", "reason", "evidence")
                    }
                ),
            )
            for case, entry in document["cases"].items()
        }

    return _parse(data, path, baselines)


def accepted_json(baselines: Mapping[str, Baseline]) -> str:
    """Give the content of the file of exact baselines."""
    return _json(
        {
            "schema": SCHEMA,
            "cases": {case: asdict(entry) for case, entry in baselines.items()},
        }
    )


def write_accepted(results: Path, baselines: Mapping[str, Baseline]) -> None:
    """Write the exact baselines, whole or not at all."""
    _write(accepted_path(results), accepted_json(baselines))


def read_last_run(results: Path) -> tuple[LastRun, str]:
    """Read the last run and the sha256 of its file.

    Raises:
        FileNotFoundError: there was none yet.
        ValueError: the file is damaged or of a newer schema.
    """
    path = last_run_path(results)
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
        )

    return _parse(data, path, run), hashlib.sha256(data).hexdigest()


def write_last_run(results: Path, run: LastRun) -> None:
    """Write the last run, whole or not at all."""
    document = {
        "schema": SCHEMA,
        "when": run.when,
        "versions": dict(run.versions),
        "cases": {case: record_to_json(record) for case, record in run.cases.items()},
        "gone": sorted(run.gone),
    }
    _write(last_run_path(results), _json(document))


def accept(
    baselines: Mapping[str, Baseline],
    run: LastRun,
    acceptance: Acceptance,
    *,
    cases: Iterable[str] = (),
    prune: bool = False,
) -> Accepted:
    """Take the exact values of a run as baseline.

    A case whose values equal its baseline keeps the acceptance it has. A case that now
    records no exact value loses its baseline. A case that was skipped, and a case that
    is not in the run, stays as it is.

    Args:
        baselines: the baselines so far.
        run: the run to take the values from.
        acceptance: who, when, why and from which evidence.
        cases: the cases to take; without any, all of the run.
        prune: also drop the baseline cases which the files of the run no longer have.

    Raises:
        ValueError: the reason is blank, or a case is unknown or did not pass. The only
            failure that can be accepted is a differing exact value.
    """
    if not acceptance.reason.strip():
        raise ValueError(
            "Accepting a baseline needs a reason. "
            f"Received: reason={acceptance.reason!r}. Say why the values are right."
        )
    taken = _acceptable(run, tuple(cases))
    after = dict(baselines)
    new: list[str] = []
    changed: list[str] = []
    unchanged: list[str] = []
    dropped: list[str] = []
    for record in taken:
        before = baselines.get(record.case)
        if not record.exact:
            if after.pop(record.case, None):
                dropped.append(record.case)
            continue
        names = compare(record.exact, before.exact if before else None)
        if before and not (names.differing or names.new or names.lost):
            unchanged.append(record.case)
            continue
        (changed if before else new).append(record.case)
        after[record.case] = Baseline(exact=record.exact, accepted=acceptance)
    if prune:
        dropped += [case for case in run.gone if after.pop(case, None)]
    return Accepted(
        baselines=after,
        new=tuple(new),
        changed=tuple(changed),
        unchanged=tuple(unchanged),
        dropped=tuple(dropped),
    )


def _acceptable(run: LastRun, cases: tuple[str, ...]) -> list[CaseRecord]:
    unknown = sorted(set(cases) - set(run.cases))
    if unknown:
        raise ValueError(
            "Every case to accept must be one of the last run. "
            f"Received: {', '.join(unknown)}. "
            f"The last run has: {', '.join(sorted(run.cases))}."
        )
    chosen = [run.cases[case] for case in sorted(set(cases) or run.cases)]
    refused = ("failed", "skipped", "xfailed") if cases else ("failed",)
    bad = [record for record in chosen if record.outcome in refused]
    if bad:
        listed = ", ".join(f"{record.case} ({record.outcome})" for record in bad)
        raise ValueError(
            "A case must pass, but for its exact values, to become a baseline. "
            f"Received: {listed}. Mend it and run again, or name the cases to accept."
        )
    return [record for record in chosen if record.outcome in ("passed", "regression")]


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


def _json(document: Mapping[str, Any]) -> str:
    return json.dumps(document, indent=2, sort_keys=True, allow_nan=False) + "\n"


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
    try:
        # "x" makes a new file with the permissions that the umask grants.
        with aside.open("x", encoding="utf-8", newline="\n") as file:
            file.write(text)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
