"""Importing: files that pytest-benchmark itself saved, as a history.

Owns reading the JSON that `pytest --benchmark-json` writes. The rounds of a case are
samples of one run, and become one line of the history.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tlbench.machine import Identity, differences, machine_id
from tlbench.record import CaseRecord
from tlbench.recorder import BENCHMARK, Recorder
from tlbench.storage import documents
from tlbench.storage.history import Entry, rounded

_KNOWN = ("system", "cpu", "cpus", "python")
"""The fields of an identity that pytest-benchmark saves too."""


@dataclass(frozen=True, kw_only=True)
class Imported:
    """A run that pytest-benchmark saved."""

    machine: str
    identity: Identity
    entries: tuple[Entry, ...]


def read(path: Path) -> Imported:
    """Return the run in a file that `pytest --benchmark-json` wrote.

    Raises:
        ValueError: it is not such a file.
        OSError: it cannot be read.
    """
    try:
        document = json.loads(path.read_bytes())
        return _imported(document)
    except documents.DAMAGE as error:
        raise ValueError(
            "A file to import must be one that `pytest --benchmark-json FILE` wrote. "
            f"Received: {path} ({documents.reason(error)})."
        ) from error


def check_machine(imported: Imported, here: Identity, path: Path) -> None:
    """Refuse a run that took place on another machine, as far as its file says.

    Raises:
        ValueError: the system, the processor, their number or Python differ.
    """
    ours = {key: here[key] for key in _KNOWN}
    theirs = {key: imported.identity[key] for key in _KNOWN}
    found = differences(ours, theirs)
    if found:
        raise ValueError(
            "A file imported with --as-machine must be from this machine. "
            f"Received: {path}, which differs: {'; '.join(found)}. "
            "Leave out --as-machine to keep its runs apart."
        )


def _imported(document: Mapping[str, Any]) -> Imported:
    info = document["machine_info"]
    cpu = info.get("cpu", {})
    identity: Identity = {
        "system": f"{info['system']} {info['machine']}",
        "cpu": cpu.get("brand_raw") or info["processor"] or info["machine"],
        "cpus": int(cpu.get("count") or 0),
        "memory_gib": 0,
        "gpus": [],
        "driver": [],
        "python": ".".join(info["python_version"].split(".")[:2]),
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
    # A file saved without --benchmark-save-data has no rounds, only their median.
    recorder.timing(
        BENCHMARK,
        stats.get("data") or [stats["median"]],
        warmup=0,
        iterations=stats.get("iterations"),
        timer=one.get("options", {}).get("timer") or "",
    )
    return recorder.snapshot("passed")
