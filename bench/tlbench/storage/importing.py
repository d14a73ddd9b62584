"""Importing: what pytest-benchmark itself saved, as a history.

Owns reading the JSON that `pytest --benchmark-json` writes. Its samples are the rounds
of one run, and become one line of one run.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tlbench.machine import Identity, machine_id
from tlbench.record import CaseRecord
from tlbench.recorder import Recorder
from tlbench.storage.history import Entry, rounded


@dataclass(frozen=True, kw_only=True)
class Imported:
    """A run that pytest-benchmark saved."""

    machine: str
    identity: Identity
    entries: tuple[Entry, ...]


def read(path: Path) -> Imported:
    """Read a file of `pytest --benchmark-json`.

    Raises:
        ValueError: it is no such file.
        OSError: it cannot be read.
    """
    try:
        document = json.loads(path.read_bytes())
        return _imported(document)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        why = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise ValueError(
            "A file to import must be what `pytest --benchmark-json FILE` wrote. "
            f"Received: {path} ({why})."
        ) from error


def _imported(document: Mapping[str, Any]) -> Imported:
    told = document["machine_info"]
    cpu = told.get("cpu", {})
    identity: Identity = {
        "system": f"{told['system']} {told['machine']}",
        "cpu": cpu.get("brand_raw") or told["processor"] or told["machine"],
        "cpus": int(cpu.get("count") or 0),
        "memory_gib": 0,
        "gpus": [],
        "driver": [],
        "python": ".".join(told["python_version"].split(".")[:2]),
        "frameworks": {},
        "settings": {},
        "imported": "pytest-benchmark",
    }
    when = document["datetime"]
    entries = tuple(
        Entry(
            run=f"{when}-imported",
            when=when,
            record=rounded(_record(one)),
            verdict="pass",
            commit=str(document.get("commit_info", {}).get("id", ""))[:12],
        )
        for one in document["benchmarks"]
    )
    return Imported(machine=machine_id(identity), identity=identity, entries=entries)


def _record(one: Mapping[str, Any]) -> CaseRecord:
    stats = one["stats"]
    recorder = Recorder(str(one["fullname"]))
    # Saved without --benchmark-save-data there are no rounds, but their median.
    recorder.timing("benchmark", stats.get("data") or [stats["median"]], warmup=0)
    return recorder.snapshot("passed")
