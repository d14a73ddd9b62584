"""Unpacking: zip and tar archives of files, into a folder.

Owns what an archive may hold. An archive is not trusted: every member is listed and
judged before the first file is written. Refused are paths and links that lead out of
the folder, devices, encrypted members, damaged files and bombs. No link is made on disk
(a file's content is copied), and permissions and owners are ignored.

Not `tarfile`'s `data` filter: it repairs `/x` instead of refusing it, lets drive
letters and backslashes pass, makes links, and is missing before Python 3.11.4. Not
`ZipFile.extractall`: it repairs `../x` as well, and a link becomes a file that holds
the name of its target. Neither bounds the size.
"""

import errno
import functools
import gzip
import lzma
import os
import posixpath
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
"""The most that an archive may unpack to, even if the disk has more room."""
# tar pads its end to a whole record, usually 10 kB; longer padding may be a bomb.
_MAX_PADDING_BYTES = 16 * 2**20
# Folders in folders. shutil.rmtree is recursive, so it could not remove a deeper tree.
_MAX_DEPTH = 64
_MAX_HOPS = 8  # from link to link; a loop of links ends here too
_MAX_LINK_BYTES = 4096
_ZIP_ENCRYPTED = 0x1


@dataclass(frozen=True)
class _Entry:
    """One member of an archive, judged by its path and kind."""

    path: PurePosixPath
    size: int = 0
    open: Callable[[], IO[bytes]] | None = None  # of a file
    target: PurePosixPath | None = None  # of a link


@dataclass(frozen=True)
class _Plan:
    """What an archive unpacks to: how to open each file, and copies by their source."""

    files: Mapping[PurePosixPath, Callable[[], IO[bytes]]]
    copies: Mapping[PurePosixPath, PurePosixPath]
    folders: frozenset[PurePosixPath]
    size: int

    @property
    def top(self) -> str | None:
        """Return the folder that holds everything, or None if there is none."""
        firsts = {path.parts[0] for path in (*self.files, *self.copies, *self.folders)}
        first = firsts.pop()
        return None if firsts or PurePosixPath(first) not in self.folders else first


@contextmanager
def _reading(label: str, damaged: type[ValueError | ConnectionError]) -> Iterator[None]:
    """Turn the errors that the archive libraries raise on damaged files into one."""
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
        # gzip and bz2 raise OSError without a number, a seek to a wrong offset EINVAL;
        # all other numbers come from the disk.
        if isinstance(error, OSError) and error.errno not in {None, errno.EINVAL}:
            raise
        raise damaged(
            "The archive must be whole and of a known compression. Received: "
            f"archive={label!r}, which cannot be read: {error}. Fetch it again."
        ) from error


@contextmanager
def archive_entries(
    path: Path, label: str, damaged: type[ValueError | ConnectionError] = ValueError
) -> Iterator[Iterator[_Entry]]:
    """Open the archive at `path` and yield its members, judged one by one.

    Args:
        path: the archive.
        label: its path or address, for messages.
        damaged: the error to raise if it cannot be read; `ConnectionError` if a cut
            download is the likely cause.

    Raises:
        ValueError: the file is not a zip, tar or tar.gz archive; while the members are
            read: one of them is refused, or the archive is damaged.
    """
    with ExitStack() as stack:
        stack.enter_context(_reading(label, damaged))
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
        # Not mode "r:*": `_tar_entries` itself reads the gzip stream to its end, and
        # bz2 and xz are refused.
        try:
            tar = tarfile.open(fileobj=stream, mode="r:")  # noqa: SIM115 - below
        except tarfile.ReadError as error:
            raise ValueError(
                "An archive must be a zip, tar or tar.gz file. Received: "
                f"archive={label!r}, which starts with {head[:20]!r}. Check that the "
                "address is that of the file, not of a page about it."
            ) from error
        yield _tar_entries(stack.enter_context(tar), stream, label)


def _zip_entries(archive: zipfile.ZipFile, label: str) -> Iterator[_Entry]:
    for info in archive.infolist():
        # `filename` ends at a NUL, so it may differ from what other programs see.
        path = _member_path(info.orig_filename, label)
        kind = stat.S_IFMT(info.external_attr >> 16)  # 0 if none is stored
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
            yield _Entry(path, target=_link_target(path.parent, target))
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
            yield _Entry(path, target=_link_target(base, member.linkname))
        elif member.isdir():
            yield _Entry(path)
        elif member.isreg():
            yield _Entry(
                path, member.size, functools.partial(_content, archive, member)
            )
        else:
            raise _not_a_file(member.name, label)
    # tarfile takes a cut or damaged header for the end of the archive, and gzip checks
    # its CRC only when the stream has been read to the end.
    stream.seek(archive.offset)
    if stream.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError("it stops before its end marker")
    stream.read(_MAX_PADDING_BYTES)
    if stream.read(1):
        raise tarfile.ReadError("it goes on after its end marker")


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    return cast("IO[bytes]", archive.extractfile(member))


def _member_path(name: str, label: str) -> PurePosixPath:
    """Return the path of a member below the folder, or refuse its name.

    Drive letters and backslashes are ordinary characters here but not on Windows; a NUL
    ends a name in C.
    """
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


def _link_target(base: PurePosixPath, target: str) -> PurePosixPath:
    """Return the path of the member that a link in the folder `base` points to.

    A target that leads out of the archive gives a path that no member has: `_follow`
    refuses it.
    """
    return PurePosixPath(posixpath.normpath(posixpath.join(base, target)))


def _not_a_file(name: str, label: str) -> ValueError:
    return ValueError(
        "Members must be files, folders or links. Received: "
        f"archive={label!r}, with member={name!r}, which is a device or a pipe. Use an "
        "archive from a source you trust."
    )


def free_bytes(folder: Path) -> int:
    """Return how many bytes may be unpacked to `folder`: what is free, or the limit."""
    return min(MAX_UNPACKED_BYTES, shutil.disk_usage(folder).free)


def plan(entries: Iterable[_Entry], room: int, label: str) -> _Plan:
    """Return what to unpack, or refuse the archive before anything is written.

    As with tar, the last of several members with the same path counts.

    Args:
        entries: as `archive_entries` yields them.
        room: how many bytes it may unpack to.
        label: the archive's path or address, for messages.

    Raises:
        ValueError: the members need more room, a link points to none of the files, or
            there are no files, or one of them is also a folder.

    Example:
        >>> import shutil
        >>> path = Path(shutil.make_archive("some", "zip", "photos/train"))
        >>> with archive_entries(path, "some.zip") as entries:
        ...     contents = plan(entries, free_bytes(Path()), "some.zip")
        >>> len(contents.files), len(contents.folders), contents.top
        (12, 3, None)
    """
    files: dict[PurePosixPath, _Entry] = {}
    links: dict[PurePosixPath, PurePosixPath] = {}
    folders: set[PurePosixPath] = set()
    size = 0
    for entry in entries:
        if not entry.path.parts or "__MACOSX" in entry.path.parts:
            continue
        # A file replaces a link of the same path, and the other way round.
        files.pop(entry.path, None)
        links.pop(entry.path, None)
        folders.update(entry.path.parents)
        if entry.target is not None:
            links[entry.path] = entry.target
        elif entry.open is not None:
            files[entry.path] = entry
            size += entry.size
            # At once: to find the next member, gzip unpacks this one.
            _check_room(size, room, label)
        else:
            folders.add(entry.path)
    folders.discard(PurePosixPath())
    copies = {path: _follow(links, path, files, label) for path in links}
    # A small file with many links is a bomb as well.
    size = sum(files[path].size for path in (*files, *copies.values()))
    _check_room(size, room, label)
    if not files or folders & {*files, *links}:
        raise ValueError(
            "An archive must hold files, none of which is a folder as well. Received: "
            f"archive={label!r}, which does not. Check that it is the right archive."
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
            f"archive={label!r}, with the link {str(path)!r} to {str(target)[:200]!r}. "
            "Use an archive from a source you trust, or pack it again without links."
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
    """Write the files of a plan to `root`, without the top folder if there is one.

    Args:
        plan: as `plan` returns it; its archive is still open.
        root: the folder to fill; created if missing.
        title: the name shown in the progress bar.
        progress: show a bar if stderr is a terminal.

    Example:
        >>> import shutil
        >>> path = Path(shutil.make_archive("some", "zip", "photos/train"))
        >>> with archive_entries(path, "some.zip") as entries:
        ...     contents = plan(entries, free_bytes(Path()), "some.zip")
        ...     unpack(contents, Path("copy"), title="some.zip", progress=False)
        >>> len(list(Path("copy").iterdir()))
        3
    """
    depth = 0 if plan.top is None else 1

    def place(path: PurePosixPath) -> Path:
        return root.joinpath(*path.parts[depth:])

    root.mkdir(exist_ok=True)
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
