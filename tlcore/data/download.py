"""Download: a file from an address, whole or refused.

Owns the limits of time, speed and size, the checks that the disk has room and that
every announced byte came, asking for the rest of a file, and the progress bar. It does
not know what the file holds.

Not `pooch`: its HTTPDownloader does not check the room on disk, fails on a malformed
Content-Length, accepts a download cut short under urllib3 1, and trusts certifi's list
of certificates instead of the system's.
"""

import http.client
import io
import re
import shutil
import string
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, cast
from urllib.error import HTTPError
from urllib.parse import SplitResult, quote, urlsplit
from urllib.request import Request, urlopen

from tlcore.terminal.characters import visible
from tlcore.terminal.progress import Advance, bar

TIMEOUT_SECONDS = 30.0
"""How long to wait for each answer of a server."""

CHUNK_BYTES = 2**18
MAX_TIMEOUT_SECONDS = 86_400.0
MAX_DOWNLOAD_BYTES = 20 * 2**30
"""The largest file where no other limit is given."""
SLOWEST_BYTES_PER_SECOND = 1024
"""Below this a download is given up; a modem of 1995 was three times as fast."""
ATTEMPTS = 3
"""How often a connection is made for one file."""


def split_address(url: str) -> SplitResult:
    """Return the parts of an http, https or file address.

    Raises:
        ValueError: the address is not one of these.

    Example:
        >>> split_address("https://host/photos.zip").path
        '/photos.zip'
    """
    with suppress(ValueError, TypeError, AttributeError):  # not text
        parts = urlsplit(url)
        host, _port = parts.hostname, parts.port  # a malformed port raises here
        if (parts.scheme in {"http", "https"} and host) or (
            parts.scheme == "file" and host in {None, "localhost"}
        ):
            return parts
    raise ValueError(
        "The URL of an archive must be http://host/file, https://host/file or "
        f"file:///path. Received: url={url!r}. Download the archive elsewhere and "
        "pass the file's path."
    )


@dataclass(frozen=True)
class Limits:
    """How long and how much a server may send.

    Attributes:
        timeout: seconds to wait for each answer; in each such time at least
            `SLOWEST_BYTES_PER_SECOND` must come.
        max_bytes: the largest file; None takes what the disk has room for, at most
            `MAX_DOWNLOAD_BYTES`.
    """

    timeout: float = TIMEOUT_SECONDS
    max_bytes: int | None = None


def download(
    url: str,
    path: Path,
    *,
    title: str,
    progress: bool = True,
    limits: Limits | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Download the archive at `url` to `path`.

    It is whole if it has the size that the server announced; nothing else is checked.
    If a part of it is at `path` already, the server is asked for the rest. A connection
    that is cut is made again, from where it was cut, if the server can do that.

    Args:
        url: an http or https address.
        path: the file to write; if the download fails, the part that came stays there.
        title: the name shown in the progress bar.
        progress: print a line at the start, and show a bar if stderr is a terminal.
        limits: how long and how much the server may send; by default `Limits()`.
        clock: returns seconds from any origin.

    Raises:
        ValueError: the address is malformed, the file is larger than its limit, or the
            disk has no room.
        ConnectionError: the server cannot be reached, answers with an error, sends too
            slowly, or ends the download early.
    """
    parts, limits = split_address(url), limits or Limits()
    address = parts._replace(
        path=quote(parts.path, safe=string.punctuation),
        query=quote(parts.query, safe=string.punctuation),
        fragment="",
    ).geturl()
    for attempt in range(ATTEMPTS):
        try:
            _receive(
                *(url, address, path),
                title=title,
                progress=progress,
                limits=limits,
                clock=clock,
            )
        except _CutError as error:
            if not error.resumable or attempt == ATTEMPTS - 1:
                raise ConnectionError(str(error)) from error.__cause__
            say(f"The connection was cut; asking for the rest of {url}.", progress=True)
        else:
            return


class _CutError(ConnectionError):
    """A connection that ended before all was there."""

    def __init__(self, message: str, *, resumable: bool) -> None:
        super().__init__(message)
        self.resumable = resumable


def _receive(
    url: str,
    address: str,
    path: Path,
    *,
    title: str,
    progress: bool,
    limits: Limits,
    clock: Callable[[], float],
) -> None:
    """Receive all, or the rest of what is there."""
    answer = _asked(url, address, path, limits.timeout)
    with answer.response as response, path.open("ab" if answer.start else "wb") as file:
        received, size = answer.start, answer.size
        most = _most_bytes(limits, path.parent, received)
        _check_size(size, most, path.parent, url, received)
        announced = "size unknown" if size is None else f"{size:,} bytes"
        rest = f", {received:,} of them are here" if received else ""
        say(f"Downloading {url}: {announced}{rest}.", progress=progress)
        pace = _Pace(url, limits.timeout, clock)
        with byte_bar(f"Downloading {title}", size, show=progress) as advance:
            advance(received)
            while chunk := _read(response, url, resumable=answer.resumable):
                received += len(chunk)
                if received > most:
                    raise _too_large(url, f"more than {most:,} bytes", most)
                file.write(chunk)
                file.flush()  # what has come is there, even if the process is killed
                advance(len(chunk))
                pace.check(len(chunk))
    # http.client raises IncompleteRead only from a read() without a size: sized reads
    # of a connection that was cut just end.
    if size not in {None, received}:
        raise _CutError(
            f"The download must be whole: the server announced {size:,} bytes. "
            f"Received: {received:,} bytes of url={url!r}. Fetch it again.",
            resumable=answer.resumable,
        )


@dataclass(frozen=True)
class _Answer:
    """What a server sends: from which byte on, and how many there are in all."""

    response: "http.client.HTTPResponse | io.BufferedReader[Any]"
    start: int
    size: int | None
    resumable: bool


def _asked(url: str, address: str, path: Path, timeout: float) -> _Answer:
    """Ask for the file, or for the rest of it."""
    start = path.stat().st_size if path.exists() else 0
    marks = _marks_path(path)
    # Else a server may compress the file on its way, which urllib does not undo.
    headers = {"User-Agent": "tlcore", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
        # Another file at the address since then is sent from its beginning.
        if marks.exists():
            headers["If-Range"] = marks.read_text(encoding="latin-1")
    try:
        with _network(url):
            response = _open(address, headers, timeout)
    except _RangeError as error:
        if error.size == start:  # all of it was here
            nothing = io.BufferedReader(io.BytesIO())
            return _Answer(nothing, start, start, resumable=False)
        path.unlink()  # the file there is shorter than what is here
        return _asked(url, address, path, timeout)
    found = response.headers
    mark = found.get("ETag") or found.get("Last-Modified")
    if mark and not mark.startswith("W/") and mark.isprintable():
        marks.write_text(mark, encoding="latin-1")
    else:
        marks.unlink(missing_ok=True)
    part = re.fullmatch(
        r"bytes ([0-9]+)-([0-9]+)/([0-9]+)", found.get("Content-Range", "").strip()
    )
    size = _announced_bytes(found.get("Content-Length"))
    ranged = found.get("Accept-Ranges", "").strip().lower() == "bytes"
    if response.status != HTTPStatus.PARTIAL_CONTENT:
        return _Answer(response, 0, size, resumable=ranged)
    if part is None or int(part[1]) != start or int(part[2]) + 1 != int(part[3]):
        response.close()
        if start:
            path.unlink()  # from the beginning, then
            return _asked(url, address, path, timeout)
        raise ConnectionError(
            f"The server must deliver the archive. Received: url={url!r}, answered by "
            "a part that nobody asked for. Download the archive elsewhere and pass the "
            "file's path."
        )
    return _Answer(response, start, int(part[3]), resumable=True)


class _RangeError(Exception):
    """A server that has no such part of a file, and how large it says the file is."""

    def __init__(self, size: int | None) -> None:
        super().__init__()
        self.size = size


def _open(
    address: str, headers: dict[str, str], timeout: float
) -> http.client.HTTPResponse:
    request = Request(address, headers=headers)  # noqa: S310 - split_address
    try:
        response = urlopen(request, timeout=timeout)  # noqa: S310 - checks the scheme
    except HTTPError as error:
        ranged = "Range" in headers
        if ranged and error.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            found = re.fullmatch(
                r"bytes \*/([0-9]+)", (error.headers.get("Content-Range") or "").strip()
            )
            error.close()
            raise _RangeError(int(found[1]) if found else None) from error
        raise
    return cast("http.client.HTTPResponse", response)


def _marks_path(path: Path) -> Path:
    """Return the file that keeps by what a server tells this version of a file."""
    return path.with_name(f"{path.name}.mark")


class _Pace:
    """Ends a download that comes so slowly that it is as good as none."""

    def __init__(self, url: str, seconds: float, clock: Callable[[], float]) -> None:
        self._url, self._seconds, self._clock = url, seconds, clock
        self._since, self._came = clock(), 0

    def check(self, count: int) -> None:
        """Note the bytes that came; ConnectionError if they are too few by now."""
        self._came += count
        taken = self._clock() - self._since
        if taken < self._seconds:
            return
        if self._came < SLOWEST_BYTES_PER_SECOND * taken:
            raise ConnectionError(
                f"A server must send at least {SLOWEST_BYTES_PER_SECOND:,} bytes a "
                f"second. Received: {self._came:,} bytes in {taken:.0f} seconds of "
                f"url={self._url!r}. Fetch it later, or download the archive elsewhere "
                "and pass the file's path."
            )
        self._since, self._came = self._clock(), 0


def _most_bytes(limits: Limits, folder: Path, received: int) -> int:
    free = shutil.disk_usage(folder).free + received
    return min(limits.max_bytes or MAX_DOWNLOAD_BYTES, free)


def _check_size(
    size: int | None, most: int, folder: Path, url: str, received: int
) -> None:
    if size is None or size <= most:
        return
    free = shutil.disk_usage(folder).free
    if size - received > free:
        raise ValueError(
            f"The disk must have room for the archive. Received: url={url!r} of "
            f"{size:,} bytes, but only {free:,} are free. Make room or choose another "
            "directory."
        )
    raise _too_large(url, f"{size:,} bytes", most)


def _too_large(url: str, size: str, most: int) -> ValueError:
    return ValueError(
        f"A download must be at most {most:,} bytes. Received: url={url!r} of {size}. "
        "If it should be that large, write fetch(..., max_bytes=...) or --max-bytes, "
        "and make room on the disk."
    )


def _announced_bytes(header: str | None) -> int | None:
    return int(header) if header and re.fullmatch(r"[0-9]+", header.strip()) else None


def _read(
    response: "http.client.HTTPResponse | io.BufferedReader[Any]",
    url: str,
    *,
    resumable: bool,
) -> bytes:
    # In a function of its own: around the loop, `_network` would also turn an error of
    # the disk into one of the network. What has come, and not a whole chunk: a server
    # that sends a byte at a time could hold a chunk up for ever.
    try:
        with _network(url):
            here = len(response.peek(1)) or CHUNK_BYTES
            return response.read(min(here, CHUNK_BYTES))
    except ConnectionError as error:
        slow = isinstance(error.__cause__, TimeoutError)
        raise _CutError(str(error), resumable=resumable and not slow) from error


@contextmanager
def _network(url: str) -> Iterator[None]:
    """Turn the errors of the network into a `ConnectionError` with a remedy."""
    try:
        yield
    except HTTPError as error:
        error.close()
        raise ConnectionError(
            f"The server must deliver the archive. Received: url={url!r}, answered by "
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


def say(line: str, *, progress: bool) -> None:
    """Write a line to standard error if progress is shown."""
    if progress:
        sys.stderr.write(f"{visible(line)}\n")
        sys.stderr.flush()


def byte_bar(
    title: str, total: int | None, *, show: bool
) -> AbstractContextManager[Advance]:
    """Return a context that draws a bar of bytes; without `show`, it draws nothing."""
    return bar(title, total, in_bytes=True) if show else nullcontext(lambda _: None)
