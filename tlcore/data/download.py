"""Download: a file from an address, whole or refused.

Owns the time limit, the checks that the disk has room and that every announced byte
came, and the progress bar. It does not know what the file holds.

Not `pooch`: its HTTPDownloader does not check the room on disk, fails on a malformed
Content-Length, accepts a download cut short under urllib3 1, and trusts certifi's list
of certificates instead of the system's.
"""

import http.client
import re
import shutil
import string
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import SplitResult, quote, urlsplit
from urllib.request import Request, urlopen

from tlcore.characters import visible
from tlcore.progress import Advance, bar

TIMEOUT_SECONDS = 30.0
"""How long to wait for each answer of a server."""

CHUNK_BYTES = 2**18
MAX_TIMEOUT_SECONDS = 86_400.0


def split_address(url: str) -> SplitResult:
    """Return the parts of an http, https or file address.

    Raises:
        ValueError: the address is not one of these.

    Example:
        >>> split_address("https://host/photos.zip").path
        '/photos.zip'
    """
    with suppress(ValueError):
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


def download(
    url: str,
    path: Path,
    *,
    title: str,
    progress: bool = True,
    timeout: float = TIMEOUT_SECONDS,
) -> None:
    """Download the archive at `url` to `path`.

    It is whole if it has the size that the server announced; nothing else is checked.

    Args:
        url: an http or https address.
        path: the file to write; if the download fails, the part that came stays there.
        title: the name shown in the progress bar.
        progress: print a line at the start, and show a bar if stderr is a terminal.
        timeout: seconds to wait for an answer from the server, each time.

    Raises:
        ValueError: the address is malformed, or the disk has no room.
        ConnectionError: the server cannot be reached, answers with an error, or ends
            the download early.
    """
    parts = split_address(url)
    address = parts._replace(
        path=quote(parts.path, safe=string.punctuation),
        query=quote(parts.query, safe=string.punctuation),
        fragment="",
    ).geturl()
    # Else a server may compress the file on its way, which urllib does not undo.
    headers = {"User-Agent": "tlcore", "Accept-Encoding": "identity"}
    with _network(url):
        request = Request(address, headers=headers)  # noqa: S310 - split_address
        response = urlopen(request, timeout=timeout)  # noqa: S310 - checks the scheme
    received = 0
    with response, path.open("wb") as file:
        size = _announced_bytes(response.headers.get("Content-Length"))
        _check_room_for_download(size, path.parent, url)
        announced = "size unknown" if size is None else f"{size:,} bytes"
        say(f"Downloading {url}: {announced}.", progress=progress)
        with byte_bar(f"Downloading {title}", size, show=progress) as advance:
            while chunk := _read(response, url):
                file.write(chunk)
                received += len(chunk)
                advance(len(chunk))
    # http.client raises IncompleteRead only from a read() without a size: sized reads
    # of a connection that was cut just end.
    if size not in {None, received}:
        raise ConnectionError(
            f"The download must be whole: the server announced {size:,} bytes. "
            f"Received: {received:,} bytes of url={url!r}. Fetch it again."
        )


def _announced_bytes(header: str | None) -> int | None:
    return int(header) if header and re.fullmatch(r"[0-9]+", header.strip()) else None


def _check_room_for_download(size: int | None, folder: Path, url: str) -> None:
    free = shutil.disk_usage(folder).free
    if size is not None and size > free:
        raise ValueError(
            f"The disk must have room for the archive. Received: url={url!r} of "
            f"{size:,} bytes, but only {free:,} are free. Make room or choose another "
            "directory."
        )


def _read(response: http.client.HTTPResponse, url: str) -> bytes:
    # In a function of its own: around the loop, `_network` would also turn an error of
    # the disk into one of the network.
    with _network(url):
        return response.read(CHUNK_BYTES)


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
