"""The feature cache: activations of frozen layers on disk.

Owns the file of one entry, whole and checksummed, the folder of entries, built by one
process and read by many, and what is thrown away when it grows too large. An entry is
addressed by what it was computed from: nothing in it is ever changed. It knows neither
models nor images, only keys, rows and tensors.

The file: the rows of each tensor, one tensor after the other; the sha256 of each row's
image; a JSON document that describes them; and a tail of fixed size that leads to it.
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
    read_document,
    read_features,
)
from tlcore.files import readable
from tlcore.splitting.tensors import Tensor

LIMIT_BYTES = 20_000_000_000
"""Size of a cache unless `TLCORE_CACHE_LIMIT` says another."""

FOLDER_VARIABLE = "TLCORE_CACHE_DIR"
LIMIT_VARIABLE = "TLCORE_CACHE_LIMIT"

_SUFFIX = ".features"
_WHOLE = re.compile(rf"[0-9a-f]{{32}}-[0-9a-f]{{32}}{re.escape(_SUFFIX)}")
_UNFINISHED = re.compile(r"\.([0-9a-f]{32}-[0-9a-f]{32})-[0-9a-f]{8}")
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


class TooLargeError(ValueError):
    """An entry beyond the limit of its cache."""


@dataclass(frozen=True)
class Entry:
    """What the list of a cache says of one entry.

    Attributes:
        path: its file.
        nbytes: the size of that.
        used: when it was last used, in seconds since 1970.
        about: what its builder said it is; None where it cannot be read.
    """

    path: Path
    nbytes: int
    used: float
    about: dict[str, Any] | None


class FeatureCache:
    """A folder of entries.

    Args:
        folder: where they are; made when the first is built.
        limit_bytes: how large they may become together.
    """

    def __init__(self, folder: str | Path, *, limit_bytes: int = LIMIT_BYTES) -> None:
        self.folder = Path(folder)
        self.limit_bytes = limit_bytes

    def find(self, key: Key) -> Features | None:
        """Return the rows of an entry, every byte of it checked; None if there is none.

        Raises:
            DamagedEntryError: there is one that is not what was written.
            OSError: it cannot be read.
        """
        path = self._path(key)
        try:
            features = read_features(path, key)
        except FileNotFoundError:
            return None
        with suppress(OSError):
            os.utime(path)
        return features

    def related(self, key: Key) -> list[Features]:
        """Return the other whole entries of the same prefix, the largest first."""
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
        """Keep other processes from building this entry meanwhile.

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
        """Give the builder of an entry, which is there once the block ends well.

        To be called under `locked`.

        Raises:
            TooLargeError: the entry would be larger than the limit.
            OSError: there is no room for it, or no permission.
        """
        layout = EntryLayout(tuple(tensors), len(key.images))
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
        finally:
            if builder is not None:
                builder.close()
            aside.unlink(missing_ok=True)

    def remove(self, key: Key) -> None:
        """Remove an entry, if it is there."""
        self._path(key).unlink(missing_ok=True)

    def entries(self) -> list[Entry]:
        """Return what is there, the least recently used first."""
        found = []
        for path in self._files(_WHOLE):
            with suppress(FileNotFoundError):
                status = path.stat()
                try:
                    with path.open("rb", buffering=0) as file:
                        about = read_document(file)[0]["about"]
                except (DamagedEntryError, OSError):
                    about = None
                found.append(Entry(path, status.st_size, status.st_mtime, about))
        return sorted(found, key=lambda entry: (entry.used, entry.path))

    def clear(self) -> int:
        """Remove every entry and every unfinished one; return the bytes set free."""
        freed = 0
        for path in [*self._files(_WHOLE), *self._files(_UNFINISHED)]:
            with suppress(FileNotFoundError):
                freed += path.stat().st_size
                path.unlink()
        return freed

    def _path(self, key: Key) -> Path:
        return self.folder / f"{key.name}{_SUFFIX}"

    def _lock(self, name: str) -> Path:
        # A bounded number of files, which nobody ever has to remove.
        return self.folder / ".locks" / name[-2:]

    def _files(self, pattern: re.Pattern[str]) -> list[Path]:
        """Return the files of such a name; what others keep here is left alone."""
        return sorted(p for p in self.folder.glob("*") if pattern.fullmatch(p.name))

    def _remove_abandoned(self, key: Key) -> None:
        """Remove the unfinished files that nobody writes to, under the lock of a key.

        A process that was killed left them; who still builds one holds its lock.
        """
        for path in self._files(_UNFINISHED):
            lock = self._lock(path.name.rpartition("-")[0])
            if lock == self._lock(key.name):
                path.unlink(missing_ok=True)
                continue
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

    That is `TLCORE_CACHE_DIR`, or `tlcore/features` where caches are kept. Its limit is
    `TLCORE_CACHE_LIMIT`, in bytes or as "20GB".

    Raises:
        ValueError: the limit is no size.
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
            f"{LIMIT_VARIABLE} must be a size in bytes, or with a unit as in 20GB. "
            f"Received: {LIMIT_VARIABLE}={text!r}."
        )
    return size
