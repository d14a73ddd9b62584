"""Store: the folder that holds the entries of the feature cache.

Owns finding an entry by its key, building one so that it appears whole or not at all,
the locks that keep two processes from building the same entry, and the size limit with
what is deleted to keep it. The user's default cache and the environment variables that
set it are here too. What is in a file is decided in `entry`.
"""

import os
import re
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from tlcore.caching.entry import (
    Builder,
    DamagedEntryError,
    EntryLayout,
    Features,
    Key,
    entry_ending,
    read_features,
    read_header,
)
from tlcore.files import flush_folder, readable
from tlcore.splitting.tensors import Tensor

LIMIT_BYTES = 20_000_000_000
"""Largest size of a cache where `TLCORE_CACHE_LIMIT` is not set."""

FOLDER_VARIABLE = "TLCORE_CACHE_DIR"
LIMIT_VARIABLE = "TLCORE_CACHE_LIMIT"

_SUFFIX = ".features"
_WHOLE = re.compile(rf"[0-9a-f]{{32}}-[0-9a-f]{{32}}{re.escape(_SUFFIX)}")
_UNFINISHED = re.compile(r"\.([0-9a-f]{32}-[0-9a-f]{32})-[0-9a-f]{8}")
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


class TooLargeError(ValueError):
    """An entry that is larger than the limit of its cache."""


@dataclass(frozen=True)
class Entry:
    """One entry in the list of a cache.

    Attributes:
        path: its file.
        nbytes: the size of the file.
        used: when it was last used, in seconds since 1970.
        about: the description that its builder passed; None if it cannot be read.
    """

    path: Path
    nbytes: int
    used: float
    about: dict[str, Any] | None


class FeatureCache:
    """A folder of entries.

    Args:
        folder: where the entries are; created with the first one.
        limit_bytes: the largest size of all entries together.

    Example:
        >>> import numpy as np
        >>> cache = FeatureCache("features", limit_bytes=1_000_000)
        >>> key = Key("ab" * 32, images=("00" * 32, "01" * 32))
        >>> pool = Tensor("pool", (2,), "float32")
        >>> with cache.locked(key), cache.building(key, [pool], {}) as builder:
        ...     builder.write(0, [np.array([[1, 2], [3, 4]], "float32")])
        >>> cache.find(key).take(np.array([1, 0]))
        [array([[3., 4.],
               [1., 2.]], dtype=float32)]
    """

    def __init__(self, folder: str | Path, *, limit_bytes: int = LIMIT_BYTES) -> None:
        self.folder = Path(folder)
        self.limit_bytes = limit_bytes

    def find(self, key: Key) -> Features | None:
        """Return the rows of an entry, every byte of it checked, or None.

        Raises:
            DamagedEntryError: the entry does not hold what was written.
            OSError: the entry cannot be read.
        """
        path = self._path(key)
        try:
            features = read_features(path, key)
        except FileNotFoundError:
            return None
        # The modification time says when an entry was last used: most disks are
        # mounted without reliable access times. A cache may be read-only.
        with suppress(OSError):
            os.utime(path)
        return features

    def related(self, key: Key) -> list[Features]:
        """Return the other whole entries of the same prefix, the largest first."""
        # A damaged one is passed over: its rows are computed again, at no other cost.
        found = []
        for path in self._files(_WHOLE):
            if not path.name.startswith(f"{key.prefix[:32]}-"):
                continue
            with suppress(DamagedEntryError, OSError):
                features = read_features(path)
                if features.key.prefix == key.prefix and features.key != key:
                    found.append(features)
        return sorted(found, key=len, reverse=True)

    @contextmanager
    def locked(self, key: Key) -> Iterator[None]:
        """Keep other processes from building this entry until the block ends.

        Raises:
            OSError: the folder cannot be written to.
        """
        lock = self._lock(key.name)
        lock.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(lock):
            yield

    @contextmanager
    def building(
        self, key: Key, tensors: Sequence[Tensor], about: dict[str, Any]
    ) -> Iterator[Builder]:
        """Yield the builder of an entry, which appears if the block ends without error.

        The caller holds `locked`.

        Raises:
            TooLargeError: the entry would be larger than the limit.
            OSError: there is no room for it, or no permission.
        """
        layout = EntryLayout(tuple(tensors), len(key.images))
        # Checksums have one length, so that placeholders give the size in advance.
        blank = [["0" * 32] * len(layout.tensors)] * layout.blocks
        self._remove_abandoned(key)
        self._make_room(
            layout.offsets[-1] + len(entry_ending(layout, key, blank, about))
        )
        aside = self.folder / f".{key.name}-{secrets.token_hex(4)}"
        builder = None
        try:
            builder = Builder(aside, tensors, len(key.images))
            yield builder
            builder.finish(key, about)
            aside.replace(self._path(key))
            flush_folder(self.folder)
        finally:
            if builder is not None:
                builder.close()
            aside.unlink(missing_ok=True)

    def remove(self, key: Key) -> None:
        """Remove an entry if it exists."""
        self._path(key).unlink(missing_ok=True)

    def entries(self) -> list[Entry]:
        """Return all entries, the least recently used first."""
        found = []
        for path in self._files(_WHOLE):
            with suppress(FileNotFoundError):
                status = path.stat()
                try:
                    with path.open("rb", buffering=0) as file:
                        about = dict(read_header(file)[0].about)
                except (DamagedEntryError, OSError):
                    about = None
                found.append(Entry(path, status.st_size, status.st_mtime, about))
        return sorted(found, key=lambda entry: (entry.used, entry.path))

    def clear(self) -> int:
        """Remove all entries, unfinished ones too; return how many bytes that freed."""
        freed = 0
        for path in [*self._files(_WHOLE), *self._files(_UNFINISHED)]:
            with suppress(FileNotFoundError):
                freed += path.stat().st_size
                path.unlink()
        return freed

    def _path(self, key: Key) -> Path:
        return self.folder / f"{key.name}{_SUFFIX}"

    def _lock(self, name: str) -> Path:
        # One of 256 files, which are never removed: a process may wait for a lock on
        # a file that another one removes, and a third then locks a new file of that
        # name. Entries that share a lock merely wait for each other.
        return self.folder / ".locks" / name[-2:]

    def _files(self, pattern: re.Pattern[str]) -> list[Path]:
        """Return the files with such names; other files in the folder are not ours."""
        return sorted(p for p in self.folder.glob("*") if pattern.fullmatch(p.name))

    def _remove_abandoned(self, key: Key) -> None:
        """Remove the unfinished files that killed processes left.

        The caller holds the lock of `key`. Whoever still writes to a file holds its
        lock, too.
        """
        for path in self._files(_UNFINISHED):
            lock = self._lock(path.name.rpartition("-")[0])
            if lock == self._lock(key.name):
                # We hold it, hence nobody writes; to lock it again would time out.
                path.unlink(missing_ok=True)
                continue
            # Where it is held, `filelock.Timeout` says so, which is an OSError.
            with suppress(OSError), FileLock(lock, timeout=0):
                path.unlink(missing_ok=True)

    def _make_room(self, nbytes: int) -> None:
        if nbytes > self.limit_bytes:
            raise TooLargeError(
                f"A cache must be at most {readable(self.limit_bytes)}. Received: an "
                f"entry of {readable(nbytes)}. Set {LIMIT_VARIABLE} to more."
            )
        entries = self.entries()
        excess = sum(entry.nbytes for entry in entries) + nbytes - self.limit_bytes
        for entry in entries:
            if excess <= 0:
                break
            entry.path.unlink(missing_ok=True)
            excess -= entry.nbytes


def default_cache(folder: str | Path | None = None) -> FeatureCache:
    """Return the cache in a folder, by default the user's own.

    The default folder is `TLCORE_CACHE_DIR`, else `tlcore/features` in
    `XDG_CACHE_HOME` or `~/.cache`. The limit is `TLCORE_CACHE_LIMIT`, a number of bytes
    or a size such as "20GB".

    Raises:
        ValueError: the limit is not a size.

    Example:
        >>> default_cache("features").folder.name
        'features'
    """
    if folder is None:
        home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
        folder = os.environ.get(FOLDER_VARIABLE) or Path(home) / "tlcore/features"
    limit = os.environ.get(LIMIT_VARIABLE)
    limit_bytes = LIMIT_BYTES if limit is None else _parsed_size(limit)
    return FeatureCache(Path(folder).expanduser(), limit_bytes=limit_bytes)


def _parsed_size(text: str) -> int:
    number = text.strip().upper().removesuffix("B")
    unit = number[-1:] if number[-1:] in _UNITS else ""
    try:
        size = int(float(number.removesuffix(unit)) * _UNITS[unit])
    except (ValueError, OverflowError):
        size = 0
    if size <= 0:
        raise ValueError(
            f"{LIMIT_VARIABLE} must be a number of bytes, or one with a unit. "
            f"Received: {LIMIT_VARIABLE}={text!r}. Write it as in 20GB."
        )
    return size
