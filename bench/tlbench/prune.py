"""Pruning: the histories of a results folder, with summaries in place of old runs.

Owns which baselines say what must stay: those of the machine, under the names that
cases have now. Which lines go is in `storage.retention`.
"""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from tlbench.storage import retention
from tlbench.storage.baselines import (
    accepted_path,
    figures_path,
    parse_accepted,
    parse_figures,
    read_accepted,
    read_figures,
)
from tlbench.storage.history import history_path

_HISTORY = history_path(Path(), "").name


def prune(results: Path, *, days: int, now: datetime) -> dict[str, int]:
    """Fold the old runs of all machines; return, by machine, how many lines went.

    Raises:
        ValueError: the days are below 1, or a baseline is damaged.
        OSError: a file cannot be read or written.
    """
    retention.check_days(days)
    aliases = read_accepted(results).aliases
    gone = {}
    for path in sorted(results.glob(f"*/{_HISTORY}")):
        kept = retention.pinned(read_figures(results, path.parent.name), aliases)
        gone[path.parent.name] = retention.fold(path, kept, days=days, now=now)
    return {machine: lines for machine, lines in gone.items() if lines}


def pruned(
    results: Path, files: Mapping[str, bytes], *, days: int, now: datetime
) -> dict[str, bytes]:
    """Return the files of results with old runs folded; no file is written.

    Args:
        results: the folder that has what `files` lack, such as tracked baselines.
        files: by path, such as "any/accepted.json".
        days: runs that ended more days ago are folded.
        now: the present time, with its time zone.

    Raises:
        ValueError: a baseline is damaged.
    """

    def content(path: Path) -> bytes | None:
        name = path.relative_to(results).as_posix()
        if name in files:
            return files[name]
        return path.read_bytes() if path.exists() else None

    everywhere = accepted_path(results)
    data = content(everywhere)
    aliases = parse_accepted(data, everywhere).aliases if data else {}
    found = dict(files)
    for name, history in files.items():
        machine, _, file = name.partition("/")
        if file == _HISTORY:
            path = figures_path(results, machine)
            data = content(path)
            figures = parse_figures(data, path) if data else {}
            kept = retention.pinned(figures, aliases)
            found[name] = retention.folded(history, kept, days=days, now=now)
    return found
