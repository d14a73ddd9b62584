"""Locks: one process at a time, by a lock file next to what it protects.

The system drops a lock when its process ends, however it ends; the file stays. It is of
no use to anybody else, so a `.gitignore` next to it keeps it out of version control,
and with it what `tlbench sync` remembers of its last time.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Wait until no other process holds the lock of a file or folder, and hold it.

    Raises:
        OSError: the lock file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # One that is there already is the user's.
    ignored = path.parent / ".gitignore"
    with suppress(FileExistsError), ignored.open("x", encoding="utf-8") as file:
        file.write("# Written by tlbench\n.*.lock\n.synced.json\n")
    with FileLock(path.with_name(f".{path.name}.lock")):
        yield
