"""The identities of the machines that have a folder under `results/`.

Owns `results/<machine>/machine.json`. What an identity holds is in `machine`.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tlbench.machine import Identity
from tlbench.record import SCHEMA
from tlbench.storage import documents


def machine_path(results: Path, machine: str) -> Path:
    """Return the path of a machine's identity."""
    return results / machine / "machine.json"


def read_machines(results: Path) -> dict[str, Identity]:
    """Return the identities of all machines that have a folder, by name.

    Raises:
        ValueError: a file is damaged or of a newer schema.
    """
    return {
        path.parent.name: parse_machine(path.read_bytes(), path)
        for path in sorted(results.glob("*/machine.json"))
    }


def parse_machine(data: bytes, path: Path) -> Identity:
    """Return an identity from the content of the file `path`.

    Raises:
        ValueError: the content is damaged or of a newer schema.
    """
    return documents.parse(data, path, _identity)


_KINDS: Mapping[str, Callable[[Any], object]] = {
    **dict.fromkeys(("system", "cpu", "python"), documents.text),
    **dict.fromkeys(("cpus", "memory_gib"), documents.number),
    **dict.fromkeys(("gpus", "driver"), documents.texts),
    **dict.fromkeys(("frameworks", "settings", "cuda"), documents.mapping),
}
"""By field, what checks it; a suite may have added others, of any kind."""


def _identity(document: Mapping[str, Any]) -> Identity:
    identity = documents.mapping(document["identity"])
    for name, check in _KINDS.items():
        if name in identity:
            try:
                check(identity[name])
            except (TypeError, ValueError) as error:
                raise ValueError(f"{name}: {error}") from error
    return identity


def write_machine(results: Path, machine: str, identity: Identity) -> None:
    """Write a machine's identity unless it is there already."""
    path = machine_path(results, machine)
    if not path.exists():
        document = {"schema": SCHEMA, "identity": identity}
        documents.write_text(path, documents.encode(document))
