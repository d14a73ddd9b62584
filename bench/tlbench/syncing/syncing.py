"""Syncing: a results folder and a branch end with the results of both.

Owns the order of the steps, so that a process that is killed leaves whole files and
loses nothing: fetch, merge, push, and only then the local files. The push is tried
again where another runner was first. What git does is in `branch`, what stays of two
sides in `merging`.
"""

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tlbench.record import SCHEMA
from tlbench.storage import documents, locks, union
from tlbench.syncing import branch, merging
from tlbench.syncing.branch import Place, Tip
from tlbench.syncing.merging import HISTORY, Digests, Take, Terms

ATTEMPTS = 12
"""How often a push is tried, each time after another runner was first."""

_LONGEST_PAUSE_SECONDS = 3.0

STATE = ".synced.json"
"""What the folder and the branch had in common at the last sync; of this clone only."""

Pause = Callable[[float], None]
Say = Callable[[str], None]
Fold = Callable[[Mapping[str, bytes]], dict[str, bytes]]
"""Returns files whose histories have summaries in place of old runs."""


@dataclass(frozen=True, kw_only=True)
class Synced:
    """What a sync did.

    Attributes:
        commit: the newest commit of the branch; "" if there is no such branch.
        pushed: whether it is ours.
        received: the files that are new or changed in the folder.
        sent: the files that are new or changed on the branch.
        left: the files that the checked-out branch tracks, which stay there.
    """

    commit: str
    pushed: bool
    received: tuple[str, ...]
    sent: tuple[str, ...]
    left: tuple[str, ...]


def sync(
    results: Path,
    place: Place,
    *,
    push: bool = True,
    take: Take | None = None,
    fold: Fold | None = None,
    say: Say,
    pause: Pause = time.sleep,
) -> Synced:
    """Give a results folder and a branch the results of both.

    Files that the checked-out branch tracks are left alone: they belong to its commits,
    and changing them would make every later run one with uncommitted changes.

    Args:
        results: the folder; it need not exist.
        place: where the branch is; it need not exist either.
        push: whether the branch is written too.
        take: the side that wins where both changed the same; None to refuse.
        fold: what becomes of old runs before they are pushed; None keeps all.
        say: called with a line for each further attempt.
        pause: waits for some seconds.

    Raises:
        ValueError: git cannot do its part, a file is damaged, or both sides changed the
            same; the sentence says which.
        OSError: a file cannot be read or written.
    """
    top = branch.check(place)
    # One at a time, and not while somebody accepts: both read, change and write files.
    with locks.alone(results / "accept"):
        left = {path for path in branch.tracked(top, results) if merging.is_known(path)}
        base = _base(results, place)
        local = _local(results, without=left)
        terms = Terms(branch=str(place), base=base, take=take)
        tip, merged, commit = _exchanged(
            local, place, terms, left=left, push=push, fold=fold, say=say, pause=pause
        )
        received = tuple(_write(results, merged, local))
        _remember(results, place, merged if push else tip.files)
    return Synced(
        commit=commit or tip.commit,
        pushed=bool(commit),
        received=received,
        sent=_changed(merged, tip.files) if push else (),
        left=tuple(sorted(left)),
    )


def _exchanged(
    local: Mapping[str, bytes],
    place: Place,
    terms: Terms,
    *,
    left: set[str],
    push: bool,
    fold: Fold | None,
    say: Say,
    pause: Pause,
) -> tuple[Tip, dict[str, bytes], str]:
    """Return what the branch had, the results of both, and the pushed commit."""
    for attempt in range(1, ATTEMPTS + 1):
        tip = branch.fetch(place)
        remote = {path: x for path, x in tip.files.items() if path not in left}
        merged = merging.merge(local, remote, terms)
        merged = fold(merged) if fold else merged
        changed = _changed(merged, tip.files)
        if not push or not changed:
            return tip, merged, ""
        commit = branch.commit(place, tip, merged, _message(changed))
        if branch.push(place, commit, tip):
            return tip, merged, commit
        say(f"{place} was pushed to meanwhile: attempt {attempt} of {ATTEMPTS}")
        # At random, so that two runners do not meet again.
        longest = min(_LONGEST_PAUSE_SECONDS, 0.1 * 2**attempt)
        pause(random.uniform(0.0, longest))  # noqa: S311 - no secret
    raise ValueError(
        f"{place} must stay as it is for as long as a push takes. Received: {ATTEMPTS} "
        "attempts, each after somebody else had pushed. Run `tlbench sync` again."
    )


def _local(results: Path, *, without: set[str]) -> dict[str, bytes]:
    paths = {
        path.relative_to(results).as_posix(): path
        for path in sorted(results.glob("*/*"))
        if path.is_file()
    }
    return {
        name: path.read_bytes()
        for name, path in paths.items()
        if merging.is_known(name) and name not in without
    }


def _write(
    results: Path, merged: Mapping[str, bytes], local: Mapping[str, bytes]
) -> list[str]:
    """Write what is new; return the paths."""
    changed = _changed(merged, local)
    for name in changed:
        if name.endswith(f"/{HISTORY}"):
            union.merge_into(results / name, merged[name])
        else:
            documents.write_bytes(results / name, merged[name])
    return list(changed)


def _changed(
    files: Mapping[str, bytes], before: Mapping[str, bytes]
) -> tuple[str, ...]:
    return tuple(path for path, data in files.items() if before.get(path) != data)


def _message(changed: tuple[str, ...]) -> str:
    folders = sorted({path.partition("/")[0] for path in changed})
    return f"Results of {', '.join(folders)}"


def _base(results: Path, place: Place) -> Digests | None:
    """Return what both sides had at the last sync; None if there was none."""

    def state(document: Mapping[str, Any]) -> tuple[str, Digests]:
        return documents.text(document["place"]), dict(document["files"])

    found = documents.read(results / STATE, state)
    return None if found is None or found[0] != str(place) else found[1]


def _remember(results: Path, place: Place, files: Mapping[str, bytes]) -> None:
    document = {"schema": SCHEMA, "place": str(place), "files": merging.digests(files)}
    text = documents.encode(document)
    path = results / STATE
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        documents.write_text(path, text)
