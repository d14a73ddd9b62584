"""The last run: what the last session left, in `results/last-run.json`.

Owns the value, its JSON form and its file. A fresh process that runs a suspect again
writes a file of the same form elsewhere. How a run becomes a baseline is in
`acceptance`.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tlbench.record import SCHEMA, CaseRecord, record_from_json, record_to_json
from tlbench.storage import documents


@dataclass(frozen=True, kw_only=True)
class LastRun:
    """What the last session left.

    Attributes:
        when: the end of the session, UTC, in ISO 8601.
        versions: by name, the version of each program that took part.
        cases: the records, by case.
        gone: baseline cases that are no longer in the files of the session.
        run: its name, as in its lines of the history.
        machine: the name of the machine it ran on.
        frameworks: the framework versions, the key that its costs are accepted under.
        verdicts: by case, the JSON form of its verdict.
        branch: the branch that it ran on, "" if that is not known.
    """

    when: str
    versions: Mapping[str, str]
    cases: Mapping[str, CaseRecord]
    gone: tuple[str, ...] = ()
    run: str = ""
    machine: str = ""
    frameworks: str = ""
    verdicts: Mapping[str, Any] = field(default_factory=dict)
    branch: str = ""


def last_run_path(results: Path) -> Path:
    """Return the path of the last run."""
    return results / "last-run.json"


def read_last_run(results: Path) -> tuple[LastRun, str]:
    """Return the last run and the sha256 of its file.

    Raises:
        FileNotFoundError: there has been none yet.
        ValueError: the file is damaged or of a newer schema.
    """
    return read_run(last_run_path(results))


def read_run(path: Path) -> tuple[LastRun, str]:
    """Return a run and the sha256 of its file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged or of a newer schema.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise FileNotFoundError(
            f"There must be a last run. Received: no file {path}. "
            "First run pytest on cases that use the fixture `record`."
        ) from None

    return documents.parse(data, path, _run), hashlib.sha256(data).hexdigest()


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
        "branch": run.branch,
    }
    # Not sorted: the order of the timings says which part was added to which, and
    # the report divides epochs by it.
    documents.write_text(path, documents.encode(document, sort=False))


def _run(document: Mapping[str, Any]) -> LastRun:
    text = documents.text
    return LastRun(
        when=text(document["when"]),
        versions={name: text(x) for name, x in document["versions"].items()},
        cases={
            case: record_from_json(case, entry)
            for case, entry in document["cases"].items()
        },
        gone=tuple(map(text, document["gone"])),
        run=text(document.get("run", "")),
        machine=text(document.get("machine", "")),
        frameworks=text(document.get("frameworks", "")),
        # Of which the report checks the rest, as it is all that reads them.
        verdicts=documents.mapping(document.get("verdicts", {})),
        branch=text(document.get("branch", "")),
    )
