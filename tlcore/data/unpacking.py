"""Unpacking: archives of images, zip and tar, into a folder.

Owns what an archive may hold (no path or link that leads out, no bomb, no device) and
refuses one that holds anything else before a file is written.
"""

import errno
import functools
import gzip
import lzma
import os
import re
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, cast

from tlcore.data.download import CHUNK_BYTES, byte_bar

MAX_UNPACKED_BYTES = 20 * 2**30
"""The most an archive may unpack to, whatever the disk has free."""
_MAX_PADDING_BYTES = 16 * 2**20  # tar pads its end to a record: 10 kB as a rule
_MAX_DEPTH = 64  # folders; removing a tree is recursive and would fail far deeper
_MAX_HOPS = 8  # links from one to the next
_MAX_LINK_BYTES = 4096
_ZIP_ENCRYPTED = 0x1


@dataclass(frozen=True)
class _Entry:
    """One member of an archive that may be unpacked."""

    path: PurePosixPath
    size: int = 0
    open: Callable[[], IO[bytes]] | None = None  # of a file
    target: PurePosixPath | None = None  # of a link


@dataclass(frozen=True)
class _Plan:
    """What an archive unpacks to."""

    files: Mapping[PurePosixPath, Callable[[], IO[bytes]]]
    copies: Mapping[PurePosixPath, PurePosixPath]
    folders: frozenset[PurePosixPath]
    size: int

    @property
    def top(self) -> str | None:
        """Return the folder that holds everything, or None where there is none."""
        firsts = {path.parts[0] for path in (*self.files, *self.copies, *self.folders)}
        first = firsts.pop()
        return None if firsts or PurePosixPath(first) not in self.folders else first


@contextmanager
def reading_archive(label: str) -> Iterator[None]:
    """Turn what the archive libraries raise on damaged files into a `ValueError`."""
    try:
        yield
    except (
        zipfile.BadZipFile,
        tarfile.TarError,
        zlib.error,
        lzma.LZMAError,
        struct.error,
        EOFError,
        OSError,
        OverflowError,
        NotImplementedError,
        UnicodeError,
    ) as error:
        # Errors of gzip and bz2 have no number, a seek to a wrong place has EINVAL;
        # all others are the disk's.
        if isinstance(error, OSError) and error.errno not in {None, errno.EINVAL}:
            raise
        raise ValueError(
            "The archive must be whole and of a known compression. Received: "
            f"archive={label!r}, which cannot be read: {error}. Fetch it again."
        ) from error


@contextmanager
def archive_entries(path: Path, label: str) -> Iterator[Iterator[_Entry]]:
    """Open the archive at `path` and give its members, judged one by one."""
    with ExitStack() as stack:
        file = stack.enter_context(path.open("rb"))
        head = file.read(64)
        file.seek(0)
        if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
            yield _zip_entries(stack.enter_context(zipfile.ZipFile(file)), label)
            return
        stream: IO[bytes] = file
        if head.startswith(b"\x1f\x8b"):
            unzipped = stack.enter_context(gzip.GzipFile(fileobj=file))
            stream = cast("IO[bytes]", unzipped)
        try:
            tar = tarfile.open(fileobj=stream, mode="r:")  # noqa: SIM115 - next line
        except tarfile.ReadError as error:
            raise ValueError(
                "An archive must be a zip, tar or tar.gz file. Received: "
                f"archive={label!r}, which begins with {head[:20]!r}. Check that the "
                "address is that of the file and not of a page about it."
            ) from error
        yield _tar_entries(stack.enter_context(tar), stream, label)


def _zip_entries(archive: zipfile.ZipFile, label: str) -> Iterator[_Entry]:
    for info in archive.infolist():
        path = _member_path(info.orig_filename, label)
        kind = stat.S_IFMT(info.external_attr >> 16)  # 0 where none was stored
        if info.flag_bits & _ZIP_ENCRYPTED:
            raise ValueError(
                "An archive must not be encrypted. Received: "
                f"archive={label!r}, with member={info.filename!r}. Unpack it with its "
                "password and use the folder."
            )
        if kind not in {0, stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK}:
            raise _not_a_file(info.filename, label)
        if kind == stat.S_IFLNK:
            with archive.open(info) as file:
                target = os.fsdecode(file.read(_MAX_LINK_BYTES))
            yield _Entry(path, target=_link_target(path.parent, target, label))
        elif kind == stat.S_IFDIR or info.is_dir():
            yield _Entry(path)
        else:
            yield _Entry(path, info.file_size, functools.partial(archive.open, info))


def _tar_entries(
    archive: tarfile.TarFile, stream: IO[bytes], label: str
) -> Iterator[_Entry]:
    for member in archive:
        path = _member_path(member.name, label)
        if member.issym() or member.islnk():
            base = path.parent if member.issym() else PurePosixPath()
            yield _Entry(path, target=_link_target(base, member.linkname, label))
        elif member.isdir():
            yield _Entry(path)
        elif member.isreg():
            yield _Entry(
                path, member.size, functools.partial(_content, archive, member)
            )
        else:
            raise _not_a_file(member.name, label)
    # tarfile takes a cut or damaged header for the end, and gzip checks its CRC last.
    stream.seek(archive.offset)
    if stream.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError("it stops before its end marker")
    stream.read(_MAX_PADDING_BYTES)
    if stream.read(1):
        raise tarfile.ReadError("it goes on after its end marker")


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    return cast("IO[bytes]", archive.extractfile(member))


def _member_path(name: str, label: str) -> PurePosixPath:
    """Return where a member lies below the folder, or refuse it."""
    path = PurePosixPath(name)
    if (
        path.is_absolute()
        or ".." in path.parts
        or re.search(r"^[A-Za-z]:|[\\\0]", name)
        or len(path.parts) > _MAX_DEPTH
    ):
        raise ValueError(
            "Members must have relative paths of folders and names with `/` between, "
            f"no `..`, at most {_MAX_DEPTH} deep. Received: archive={label!r}, with "
            f"member={name[:200]!r}. Use an archive from a source you trust."
        )
    return path


def _link_target(base: PurePosixPath, target: str, label: str) -> PurePosixPath:
    """Return the path of the member that a link found in `base` points to."""
    parts = list(base.parts)
    inside = not re.search(r"^/|^[A-Za-z]:|[\\\0]", target)
    for part in PurePosixPath(target).parts:
        if part != "..":
            parts.append(part)
        elif parts:
            parts.pop()
        else:
            inside = False
    if not inside:
        raise ValueError(
            "Links must point to files of the same archive. Received: "
            f"archive={label!r}, with a link to {target[:200]!r}. Use an archive from "
            "a source you trust."
        )
    return PurePosixPath(*parts)


def _not_a_file(name: str, label: str) -> ValueError:
    return ValueError(
        "Members must be files, folders or links. Received: "
        f"archive={label!r}, with member={name!r}, which is a device or a pipe. Use an "
        "archive from a source you trust."
    )


def free_bytes(folder: Path) -> int:
    """Return how much may be unpacked there: what is free, up to the limit."""
    return min(MAX_UNPACKED_BYTES, shutil.disk_usage(folder).free)


def plan(entries: Iterable[_Entry], room: int, label: str) -> _Plan:
    """List what to unpack; of members with the same path, the last one counts."""
    files: dict[PurePosixPath, _Entry] = {}
    links: dict[PurePosixPath, PurePosixPath] = {}
    folders: set[PurePosixPath] = set()
    size = 0
    for entry in entries:
        if not entry.path.parts or "__MACOSX" in entry.path.parts:
            continue
        files.pop(entry.path, None)
        links.pop(entry.path, None)
        folders.update(entry.path.parents)
        if entry.target is not None:
            links[entry.path] = entry.target
        elif entry.open is not None:
            files[entry.path] = entry
            size += entry.size
            _check_room(size, room, label)
        else:
            folders.add(entry.path)
    folders.discard(PurePosixPath())
    copies = {path: _follow(links, path, files, label) for path in links}
    size = sum(files[path].size for path in (*files, *copies.values()))
    _check_room(size, room, label)
    if not files or folders & {*files, *links}:
        raise ValueError(
            "An archive must hold files, none of which is a folder as well. Received: "
            f"archive={label!r}, which does not. Check that it is the right one."
        )
    opens = {path: entry.open for path, entry in files.items() if entry.open}
    return _Plan(opens, copies, frozenset(folders), size)


def _follow(
    links: Mapping[PurePosixPath, PurePosixPath],
    path: PurePosixPath,
    files: Mapping[PurePosixPath, _Entry],
    label: str,
) -> PurePosixPath:
    target = links[path]
    for _ in range(_MAX_HOPS):
        target = links.get(target, target)
    if target not in files:
        raise ValueError(
            "Links must point to files of the same archive. Received: "
            f"archive={label!r}, with the link {str(path)!r} to {str(target)!r}. "
            "Pack the archive again without links."
        )
    return target


def _check_room(size: int, room: int, label: str) -> None:
    if size > room:
        raise ValueError(
            f"An archive must unpack to at most {MAX_UNPACKED_BYTES:,} bytes, and to "
            f"what the disk has free: {room:,} bytes now. Received: archive={label!r}, "
            f"which unpacks to {size:,} bytes or more. Make room, or unpack it by hand."
        )


def unpack(plan: _Plan, root: Path, *, title: str, progress: bool) -> None:
    """Write what the plan lists to `root`, without the top folder if there is one."""
    depth = 0 if plan.top is None else 1

    def place(path: PurePosixPath) -> Path:
        return root.joinpath(*path.parts[depth:])

    root.mkdir()
    for folder in sorted(plan.folders):
        place(folder).mkdir(exist_ok=True)
    with byte_bar(f"Unpacking {title}", plan.size, show=progress) as advance:
        for path, open_member in plan.files.items():
            with open_member() as source, place(path).open("xb") as file:
                while chunk := source.read(CHUNK_BYTES):
                    file.write(chunk)
                    advance(len(chunk))
        for path, target in plan.copies.items():
            shutil.copyfile(place(target), place(path))
