"""Archives: image folders that come as one file from somewhere else.

Owns the tutorials' archives by name, and the one action on an archive: fetch it, check
it, unpack it. A folder appears whole or not at all, and a fetch that fails leaves the
disk as it was. It knows nothing of the images inside (that is `datasets`).

An archive is not trusted: what it holds is listed and judged before anything is
written, no link is ever made on disk, and permissions and owners are not taken over.
"""

import errno
import functools
import gzip
import hashlib
import http.client
import lzma
import os
import re
import secrets
import shutil
import stat
import string
import struct
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import IO, cast
from urllib.error import HTTPError
from urllib.parse import SplitResult, quote, unquote, urlsplit
from urllib.request import Request, url2pathname, urlopen

MAX_UNPACKED_BYTES = 20 * 2**30
"""The most an archive may unpack to, whatever the disk has free."""

TIMEOUT_SECONDS = 30.0
"""How long a server may leave a download without an answer."""

_CHUNK_BYTES = 2**18
_MAX_PADDING_BYTES = 16 * 2**20  # tar pads its end to a record: 10 kB as a rule
_MAX_DEPTH = 64  # folders; removing a tree is recursive and would fail far deeper
_MAX_HOPS = 8  # links from one to the next
_MAX_LINK_BYTES = 4096
_MAX_TIMEOUT_SECONDS = 86_400.0
_ZIP_ENCRYPTED = 0x1


@dataclass(frozen=True)
class Archive:
    """One archive and where it comes from.

    Attributes:
        name: the name to ask for it by.
        url: where it is; http, https or file.
        sha256: the hexadecimal SHA-256 of the file, or None where none is pinned.
        folder: the top folder it unpacks to.
        title: what it holds, in a few words.
    """

    name: str
    url: str
    sha256: str | None
    folder: str
    title: str


def _tutorial(address: str, name: str, title: str) -> Archive:
    url = f"https://storage.googleapis.com/{address}/{name}.zip"
    return Archive(name, url, sha256=None, folder=name, title=title)


_FOOD = "ztm_tf_course/food_vision"

ARCHIVES: Mapping[str, Archive] = MappingProxyType(
    {
        archive.name: archive
        for archive in (
            _tutorial(
                _FOOD, "10_food_classes_all_data", "10 classes of Food-101, all images"
            ),
            _tutorial(
                _FOOD,
                "10_food_classes_10_percent",
                "10 classes of Food-101, 10 % of the training images",
            ),
            _tutorial(
                _FOOD,
                "10_food_classes_1_percent",
                "10 classes of Food-101, 1 % of the training images",
            ),
            _tutorial(
                _FOOD,
                "101_food_classes_10_percent",
                "all classes of Food-101, 10 % of the training images",
            ),
            _tutorial(_FOOD, "pizza_steak", "2 classes of Food-101, all images"),
            _tutorial(
                "mledu-datasets",
                "cats_and_dogs_filtered",
                "a subset of Dogs vs. Cats, in train and validation",
            ),
        )
    }
)
"""The archives of the tutorials, by name.

Their publishers state no checksum, so none is pinned here: a download is checked
against the size that the server announces and the CRCs inside the archive, and `fetch`
prints the SHA-256 received, to be pinned by `fetch(..., sha256=...)` from then on.
"""


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


def fetch(
    name_or_url: str | Path | Archive,
    directory: str | Path,
    *,
    sha256: str | None = None,
    progress: bool = True,
    timeout: float = TIMEOUT_SECONDS,
) -> Path:
    """Download an archive, check it, unpack it into `directory`, and return the folder.

    The folder is `directory/<top>` where one top folder holds everything, else
    `directory/<file name without .zip, .tar, .tar.gz or .tgz>`. If it is already there
    and not empty, it is returned as it is: nothing is downloaded or checked. For an
    address whose top folder has another name than its file, that is known only after
    the download; an `Archive` that names the folder spares it.

    A download is whole if it has the size the server announced. Without a SHA-256, the
    CRCs inside the archive are all that vouches for its content. The SHA-256 received
    is printed at the end so that it can be pinned. `__MACOSX` entries are left out; a
    link to a file of the same archive becomes a copy of that file.

    Several processes may fetch the same archive at once: each downloads it, the first
    to finish puts its folder in place and the others return that one.

    Args:
        name_or_url: a name of `ARCHIVES`, an http, https or file URL, the path of an
            archive file, or an `Archive`.
        directory: the folder to unpack into; created if missing.
        sha256: the hexadecimal SHA-256 that the archive file must have.
        progress: show bars where stderr is a terminal, and a line at the start and at
            the end.
        timeout: seconds without an answer after which the server is given up.

    Raises:
        ValueError: the name, URL scheme, checksum, timeout or directory is wrong; the
            file is no zip, tar or tar.gz archive, is damaged or encrypted, has another
            SHA-256, unpacks to more than `MAX_UNPACKED_BYTES` or the disk has free, or
            has a member that is neither file nor folder or leads out of its folder.
        ConnectionError: the server cannot be reached, answers with an error, or ends
            the download early.
        FileNotFoundError: a file URL names no file.
        OSError: the disk fails or is full.
    """
    archive = _resolve(name_or_url)
    expected = _checked_sum(archive.sha256 if sha256 is None else sha256)
    if not 0 < timeout <= _MAX_TIMEOUT_SECONDS:
        raise ValueError(
            "timeout must be a positive number of seconds, at most a day. "
            f"Received: timeout={timeout!r}."
        )
    directory = Path(directory)
    if _is_there(directory / archive.folder):
        return directory / archive.folder
    path = _local_path(archive.url)
    label = archive.url if path is None else str(path)
    with _workspace(directory) as aside:
        if path is None:
            path = aside / "download"
            received = download(
                archive.url,
                path,
                title=archive.name,
                progress=progress,
                timeout=timeout,
            )
        else:
            size = path.stat().st_size
            _say(f"Unpacking {label}: {size:,} bytes.", progress=progress)
            received = _sum_of(path)
        _check_sum(received, expected, label)
        with _reading(label), _entries(path, label) as entries:
            plan = _plan(entries, _room(aside), label)
            target = directory / (plan.top or archive.folder)
            if _is_there(target):
                return target
            _unpack(plan, aside / "unpacked", title=archive.name, progress=progress)
        _move(aside / "unpacked", target)
    _say(
        f"Unpacked {len(plan.files) + len(plan.copies):,} files of {plan.size:,} bytes "
        f"to {str(target)!r}. The archive's sha256 is {received}.",
        progress=progress,
    )
    return target


def _resolve(name_or_url: str | Path | Archive) -> Archive:
    if isinstance(name_or_url, Archive):
        return name_or_url
    text = os.fspath(name_or_url)
    if text in ARCHIVES:
        return ARCHIVES[text]
    if "://" in text or text.startswith("file:"):
        return _archive_at(text)
    if Path(text).is_file():
        return _archive_at(Path(text).absolute().as_uri())
    raise ValueError(
        f"An archive must be one of: {', '.join(ARCHIVES)}; or a URL, or the path of "
        f"an archive file. Received: name_or_url={text!r}, which is none of these."
    )


def _archive_at(url: str) -> Archive:
    name = PurePosixPath(unquote(_split(url).path)).name
    stem = re.sub(r"\.(zip|tar|tar\.gz|tgz)$", "", name, flags=re.IGNORECASE)
    if stem in {"", ".", ".."} or re.search(r"[\\\0]", stem):
        raise ValueError(
            "The URL of an archive must end in the name of a file. Received: "
            f"url={url!r}. Download the archive elsewhere and pass the file's path."
        )
    return Archive(stem, url, sha256=None, folder=stem, title=stem)


def _split(url: str) -> SplitResult:
    with suppress(ValueError):
        parts = urlsplit(url)
        host, _port = parts.hostname, parts.port  # a port that is no number raises
        if (parts.scheme in {"http", "https"} and host) or (
            parts.scheme == "file" and host in {None, "localhost"}
        ):
            return parts
    raise ValueError(
        "The URL of an archive must be http://host/file, https://host/file or "
        f"file:///path. Received: url={url!r}. Download the archive elsewhere and "
        "pass the file's path."
    )


def _local_path(url: str) -> Path | None:
    """Return the path of a file URL, or None for a URL to download from."""
    parts = _split(url)
    if parts.scheme != "file":
        return None
    path = Path(url2pathname(parts.path))
    if not path.is_file():
        raise FileNotFoundError(
            f"A file URL must name an archive file. Received: url={url!r}, but there "
            f"is no file {str(path)!r}. Correct the path."
        )
    return path


def _checked_sum(sha256: str | None) -> str | None:
    if sha256 is not None and not re.fullmatch(r"[0-9a-fA-F]{64}", sha256):
        raise ValueError(
            f"sha256 must be 64 hexadecimal digits. Received: sha256={sha256!r}."
        )
    return None if sha256 is None else sha256.lower()


def _sum_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_sum(received: str, expected: str | None, label: str) -> None:
    if expected is not None and received != expected:
        raise ValueError(
            f"The archive must have sha256={expected!r}. Received: archive={label!r} "
            f"with sha256={received!r}. Fetch it again; if that does not help, the "
            "file is another one than the checksum was taken of."
        )


def _is_there(folder: Path) -> bool:
    return folder.is_dir() and any(folder.iterdir())


@contextmanager
def _workspace(directory: Path) -> Iterator[Path]:
    """Give a temporary folder inside `directory`; afterwards nothing of it is left.

    The name is chosen before anything is created, so that an interrupt at any moment
    finds what there is to remove. `directory` and its parents go too if they were
    created here and nothing was put into them.
    """
    missing = [path for path in (directory, *directory.parents) if not path.exists()]
    aside = directory / f".fetch-{secrets.token_hex(8)}"
    try:
        try:
            _make_folder(aside)
        except OSError as error:
            raise ValueError(
                "directory must be a folder that can be written to, or a new one. "
                f"Received: directory={str(directory)!r}: {error.strerror}. "
                "Choose another."
            ) from error
        yield aside
    finally:
        shutil.rmtree(aside, ignore_errors=True)
        for folder in missing:
            with suppress(OSError):
                folder.rmdir()


def _make_folder(aside: Path) -> None:
    for _ in range(3):
        aside.parent.mkdir(parents=True, exist_ok=True)
        # Another process that failed may have taken back the folder it had made.
        with suppress(FileNotFoundError):
            aside.mkdir(mode=0o700)
            return
    aside.mkdir(mode=0o700)


def download(
    url: str,
    path: Path,
    *,
    title: str,
    progress: bool = True,
    timeout: float = TIMEOUT_SECONDS,
) -> str:
    """Download the archive at `url` to `path` and return the SHA-256 of what came.

    It is whole if it has the size the server announced; nothing else is checked.

    Args:
        url: an http or https address.
        path: the file to write; what is there of one that failed is left.
        title: what it is, for the bar.
        progress: show a bar where stderr is a terminal, and a line at the start.
        timeout: seconds without an answer after which the server is given up.

    Raises:
        ValueError: the address is none, or the disk has no room.
        ConnectionError: the server cannot be reached, answers with an error, or ends
            the download early.
    """
    parts = _split(url)
    address = parts._replace(
        path=quote(parts.path, safe=string.punctuation),
        query=quote(parts.query, safe=string.punctuation),
        fragment="",
    ).geturl()
    headers = {"User-Agent": "tlcore", "Accept-Encoding": "identity"}
    with _network(url):
        request = Request(address, headers=headers)  # noqa: S310 - _split checked it
        response = urlopen(request, timeout=timeout)  # noqa: S310 - the same
    digest = hashlib.sha256()
    received = 0
    with response, path.open("wb") as file:
        size = _announced_bytes(response.headers.get("Content-Length"))
        _check_room_for_download(size, path.parent, url)
        told = "size unknown" if size is None else f"{size:,} bytes"
        _say(f"Downloading {url}: {told}.", progress=progress)
        with _bar(f"Downloading {title}", size, progress=progress) as advance:
            while chunk := _read(response, url):
                file.write(chunk)
                digest.update(chunk)
                received += len(chunk)
                advance(len(chunk))
    if size not in {None, received}:
        raise ConnectionError(
            f"The download must be whole: the server announced {size:,} bytes. "
            f"Received: {received:,} bytes of url={url!r}. Fetch it again."
        )
    return digest.hexdigest()


def _announced_bytes(header: str | None) -> int | None:
    return int(header) if header and re.fullmatch(r"[0-9]+", header.strip()) else None


def _check_room_for_download(size: int | None, folder: Path, url: str) -> None:
    free = shutil.disk_usage(folder).free
    if size is not None and size > free:
        raise ValueError(
            f"The disk must have room for the archive. Received: url={url!r} of "
            f"{size:,} bytes, where {free:,} are free. Make room or choose another "
            "directory."
        )


def _read(response: http.client.HTTPResponse, url: str) -> bytes:
    with _network(url):
        return response.read(_CHUNK_BYTES)


@contextmanager
def _network(url: str) -> Iterator[None]:
    """Turn what the network raises into a `ConnectionError` with a remedy."""
    try:
        yield
    except HTTPError as error:
        error.close()
        raise ConnectionError(
            f"The server must hand the archive out. Received: url={url!r}, answered by "
            f"{error.code} {error.reason}. Check the address, try again later, or "
            "download the archive elsewhere and pass the file's path."
        ) from error
    except (OSError, http.client.HTTPException, UnicodeError) as error:
        reason = getattr(error, "reason", None) or error or type(error).__name__
        raise ConnectionError(
            f"The archive's server must be reachable. Received: url={url!r}, but the "
            f"connection failed: {reason}. Connect to a network and try again, or "
            "download the archive elsewhere and pass the file's path."
        ) from error


@contextmanager
def _reading(label: str) -> Iterator[None]:
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
def _entries(path: Path, label: str) -> Iterator[Iterator[_Entry]]:
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


def _room(folder: Path) -> int:
    return min(MAX_UNPACKED_BYTES, shutil.disk_usage(folder).free)


def _plan(entries: Iterable[_Entry], room: int, label: str) -> _Plan:
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


def _unpack(plan: _Plan, root: Path, *, title: str, progress: bool) -> None:
    """Write what the plan lists to `root`, without the top folder if there is one."""
    depth = 0 if plan.top is None else 1

    def place(path: PurePosixPath) -> Path:
        return root.joinpath(*path.parts[depth:])

    root.mkdir()
    for folder in sorted(plan.folders):
        place(folder).mkdir(exist_ok=True)
    with _bar(f"Unpacking {title}", plan.size, progress=progress) as advance:
        for path, open_member in plan.files.items():
            with open_member() as source, place(path).open("xb") as file:
                while chunk := source.read(_CHUNK_BYTES):
                    file.write(chunk)
                    advance(len(chunk))
        for path, target in plan.copies.items():
            shutil.copyfile(place(target), place(path))


def _move(unpacked: Path, target: Path) -> None:
    try:
        unpacked.replace(target)
    except OSError as error:
        # A folder with content cannot be replaced: another process was first.
        if _is_there(target):
            return
        if target.is_file():
            raise ValueError(
                "The place of the unpacked folder must be free. Received: "
                f"directory={str(target.parent)!r}, where {target.name!r} is a file. "
                "Move it away or choose another directory."
            ) from error
        raise


def _say(line: str, *, progress: bool) -> None:
    if progress:
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()


@contextmanager
def _bar(
    title: str, total: int | None, *, progress: bool
) -> Iterator[Callable[[int], object]]:
    """Give what to call with each further count of bytes; a bar on a terminal."""
    if not (progress and sys.stderr.isatty()):
        yield lambda _count: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=total)
        yield lambda count: bar.advance(task, count)
