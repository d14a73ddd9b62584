"""The last run: what the last session left, in `results/last-run.json`.

Owns the value, its JSON form and its file. Fresh processes that run suspects again
leave a file of the same form elsewhere. How a run becomes a baseline is in
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


def last_run_path(results: Path) -> Path:
    """Give the file of the last run."""
    return results / "last-run.json"


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
            when=documents.text(document["when"]),
            versions={k: documents.text(v) for k, v in document["versions"].items()},
            cases={
                case: record_from_json(case, entry)
                for case, entry in document["cases"].items()
            },
            gone=tuple(map(documents.text, document["gone"])),
            run=documents.text(document.get("run", "")),
            machine=documents.text(document.get("machine", "")),
            frameworks=documents.text(document.get("frameworks", "")),
            verdicts=dict(document.get("verdicts", {})),
        )

    return documents.parse(data, path, run), hashlib.sha256(data).hexdigest()


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
    documents.write_text(path, documents.encode(document, sort=False))
