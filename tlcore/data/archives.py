"""Archives: image folders that are published as one file.

Owns the names of the tutorials' archives and the one action on an archive: fetch it,
check it, unpack it. A folder appears whole or not at all, and a fetch that fails leaves
the disk as it was. `download` brings the file, `unpacking` decides what an archive may
hold, `workspace` is where both work; none of them knows what the images show.

Not `pooch.retrieve` with `Unzip` or `Untar`: it keeps the archive next to the folder,
leaves a folder half unpacked when it is interrupted, and does not bound the size.
"""

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from urllib.parse import unquote
from urllib.request import url2pathname

from tlcore.arguments import require_path, require_whole
from tlcore.data import workspace
from tlcore.data.download import (
    MAX_TIMEOUT_SECONDS,
    TIMEOUT_SECONDS,
    Limits,
    download,
    say,
    split_address,
)
from tlcore.data.unpacking import (
    archive_entries,
    free_bytes,
    plan,
    unpack,
)
from tlcore.files import put_folder_in_place


@dataclass(frozen=True)
class Archive:
    """One archive and where it comes from.

    Attributes:
        name: the name to fetch it by, shown in progress bars.
        url: its address; http, https or file.
        sha256: the hexadecimal SHA-256 of the file, or None if none is pinned.
        folder: the folder it unpacks to.
        title: what it holds, in a few words.

    Example:
        >>> import shutil
        >>> path = Path(shutil.make_archive("photos", "zip", ".", "photos"))
        >>> mine = Archive("mine", path.as_uri(), None, folder="photos", title="Mine")
        >>> fetch(mine, "data", progress=False).as_posix()
        'data/photos'
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

Their publishers state no checksum, so none is pinned here. A download is checked
against the size that the server announces and the CRCs inside the archive. `fetch`
prints the SHA-256 received; pin it with `fetch(..., sha256=...)` from then on.
"""


def fetch(
    name_or_url: str | Path | Archive,
    directory: str | Path,
    *,
    sha256: str | None = None,
    progress: bool = True,
    timeout: float = TIMEOUT_SECONDS,
    max_bytes: int | None = None,
) -> Path:
    """Download an archive, check it, unpack it into `directory`, and return the folder.

    The folder is `directory/<top>` if one top folder holds everything, otherwise
    `directory/<file name without .zip, .tar, .tar.gz or .tgz>`. If it exists and is not
    empty, it is returned as it is: nothing is downloaded or checked. If the top folder
    of an address has another name than its file, this is known only after the download;
    pass an `Archive` that names the folder to avoid downloading again.

    A download is whole if it has the size that the server announced. Without a SHA-256,
    only the CRCs inside the archive protect its content. The SHA-256 received is
    printed at the end so that it can be pinned. `__MACOSX` members are left out; a link
    to a file of the same archive becomes a copy of that file.

    Several processes may fetch the same archive at once: each downloads it, the first
    to finish puts its folder in place, and the others return that folder.

    A connection that is cut is made again, from where it was cut where the server can
    do that. What a killed process had downloaded is taken over by the next fetch of the
    same address into the same directory; anything else that it left is removed.

    Args:
        name_or_url: a name of `ARCHIVES`, an http, https or file URL, the path of an
            archive file, or an `Archive`.
        directory: the folder to unpack into; created if missing.
        sha256: the hexadecimal SHA-256 that the archive file must have.
        progress: print a line at the start and at the end, and show bars if stderr is a
            terminal.
        timeout: seconds to wait for an answer from the server, each time; a server that
            sends less than 1 KiB a second all this time is given up, too.
        max_bytes: the largest archive to download; by default 20 GiB, and what the disk
            has room for.

    Raises:
        ValueError: the name, URL scheme, checksum, timeout, max_bytes or directory is
            wrong; the file is larger than max_bytes, is not a zip, tar or tar.gz
            archive, is damaged or encrypted, has another SHA-256, or unpacks to more
            than `MAX_UNPACKED_BYTES` or the free space on disk; or a member is neither
            file nor folder, or leads out of the folder.
        ConnectionError: the server cannot be reached, answers with an error, sends too
            slowly, or ends the download early.
        FileNotFoundError: a file URL names no file.
        OSError: the disk fails or is full.

    Example:
        >>> import shutil
        >>> path = shutil.make_archive("my_photos", "zip", "photos")
        >>> folder = tl.fetch(path, "data", progress=False)
        >>> folder.as_posix(), sorted(path.name for path in folder.iterdir())
        ('data/my_photos', ['test', 'train', 'validation'])
    """
    archive = _resolve(name_or_url)
    expected = _checked_sum(archive.sha256 if sha256 is None else sha256)
    number = isinstance(timeout, int | float) and not isinstance(timeout, bool)
    if not number or not 0 < timeout <= MAX_TIMEOUT_SECONDS:
        raise ValueError(
            f"timeout must be above 0 and at most {MAX_TIMEOUT_SECONDS:,.0f} seconds. "
            f"Received: timeout={timeout!r}. Use {TIMEOUT_SECONDS:.0f}, for example."
        )
    if max_bytes is not None:
        require_whole("max_bytes", max_bytes, least=1)
    directory = require_path("directory", directory)
    if _is_there(directory / archive.folder):
        workspace.sweep(directory)
        return directory / archive.folder
    path = _local_path(archive.url)
    label = archive.url if path is None else str(path)
    with workspace.new(directory) as aside:
        workspace.sweep(directory, heir=aside, source=archive.url)
        if path is None:
            path = aside / workspace.DOWNLOAD
            download(
                archive.url,
                path,
                title=archive.name,
                progress=progress,
                limits=Limits(timeout, max_bytes),
            )
        else:
            size = path.stat().st_size
            say(f"Unpacking {label}: {size:,} bytes.", progress=progress)
        with path.open("rb") as file:
            received = hashlib.file_digest(file, "sha256").hexdigest()
        _check_sum(received, expected, label)
        with archive_entries(path, label) as entries:
            contents = plan(entries, free_bytes(aside), label)
            target = directory / (contents.top or archive.folder)
            if _is_there(target):
                return target
            unpack(contents, aside / "unpacked", title=archive.name, progress=progress)
        _move(aside / "unpacked", target)
    count = len(contents.files) + len(contents.copies)
    say(
        f"Unpacked {count:,} files of {contents.size:,} bytes to {str(target)!r}. "
        f"The archive's sha256 is {received}.",
        progress=progress,
    )
    return target


def _resolve(name_or_url: str | Path | Archive) -> Archive:
    if isinstance(name_or_url, Archive):
        return name_or_url
    text = os.fspath(require_path("name_or_url", name_or_url))
    # A Path makes one slash of two: the address as it was given.
    text = name_or_url if isinstance(name_or_url, str) else text
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
    name = PurePosixPath(unquote(split_address(url).path)).name
    stem = re.sub(r"\.(zip|tar|tar\.gz|tgz)$", "", name, flags=re.IGNORECASE)
    if stem in {"", ".", ".."} or re.search(r"[\\\0]", stem):
        raise ValueError(
            "The URL of an archive must end in the name of a file. Received: "
            f"url={url!r}. Download the archive elsewhere and pass the file's path."
        )
    return Archive(stem, url, sha256=None, folder=stem, title=stem)


def _local_path(url: str) -> Path | None:
    """Return the path of a file URL, or None for a URL to download from."""
    parts = split_address(url)
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
    if sha256 is not None and not (
        isinstance(sha256, str) and re.fullmatch(r"[0-9a-fA-F]{64}", sha256)
    ):
        raise ValueError(
            f"sha256 must be 64 hexadecimal digits. Received: sha256={sha256!r}. "
            "Copy the one that fetch prints at its end."
        )
    return None if sha256 is None else sha256.lower()


def _check_sum(received: str, expected: str | None, label: str) -> None:
    if expected is not None and received != expected:
        raise ValueError(
            f"The archive must have sha256={expected!r}. Received: archive={label!r} "
            f"with sha256={received!r}. Fetch it again; if the sum stays the same, its "
            "publisher has changed the file."
        )


def _is_there(folder: Path) -> bool:
    return folder.is_dir() and any(folder.iterdir())


def _move(unpacked: Path, target: Path) -> None:
    try:
        put_folder_in_place(unpacked, target)
    except OSError as error:
        # A folder with content cannot be replaced: another process was faster.
        if _is_there(target):
            return
        if target.is_file():
            raise ValueError(
                "The name of the unpacked folder must be free. Received: "
                f"directory={str(target.parent)!r}, where {target.name!r} is a file. "
                "Move it away or choose another directory."
            ) from error
        raise
