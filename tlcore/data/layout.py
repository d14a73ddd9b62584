"""Layout: which folders are splits and classes, and which images they hold.

Owns how folders must be laid out, the errors for every other layout, and which images
of a class a percentage takes. It opens no image; `images` decodes them, and
`image_folder` puts both together.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from tlcore.arguments import counted, listed, require_path
from tlcore.data.images import SUFFIXES, find_images, is_image

SPLITS = ("train", "validation", "test")

_MISNAMED_SPLITS = {
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "testing": "test",
}


@dataclass(frozen=True)
class Layout:
    """The images of an image folder, unopened.

    Attributes:
        directory: the folder that holds one folder per class.
        names: for each class, the paths of its images within its folder, sorted.
    """

    directory: Path
    names: dict[str, list[str]]

    def subset(self, percent: float, seed: int) -> tuple[list[str], list[int]]:
        """Return the paths and labels of a random subset of each class.

        Args:
            percent: how much of each class to take, at least one image.
            seed: of the choice. With the same seed a smaller subset lies within a
                larger one.
        """
        paths, labels = [], []
        for label, (class_name, names) in enumerate(self.names.items()):
            ranked = ranked_indices(names, f"{seed}/{class_name}")
            for index in sorted(ranked[: share_of(len(names), percent)]):
                paths.append(str(self.directory / class_name / names[index]))
                labels.append(label)
        return paths, labels


def lay_out(directory: Path) -> Layout:
    """List the images of an image folder without opening them.

    Raises:
        ValueError: the folder does not hold one folder of images per class; the message
            describes what it holds instead.

    Example:
        >>> list(lay_out(Path("photos/train")).names)
        ['checked_ring', 'dotted_crescent', 'striped_triangle']
    """
    folders, files = _entries(directory)
    received = f"Received: directory={str(directory)!r}"
    splits = [f for f in folders if f in SPLITS or f in _MISNAMED_SPLITS]
    if "train" in splits and len(splits) > 1:
        raise ValueError(
            "An image folder must hold one folder of images per class. "
            f"{received}, which holds splits: {listed(splits)}. Open one of them, "
            f"such as {str(directory / 'train')!r}, or all of them with load_splits."
        )
    loose = [name for name in files if is_image(name)]
    if loose:
        raise ValueError(
            "Images must lie in one folder per class, <class>/<image>. "
            f"{received}, with {counted(len(loose), 'image')} directly in it, such as "
            f"{loose[0]!r}. Move them into folders named after their class."
        )
    if not folders:
        raise ValueError(
            "An image folder must hold one folder of images per class. "
            f"{received}, which holds no folder. Check the path."
        )
    names = {name: _images_in(directory / name) for name in folders}
    empty = [name for name in folders if not names[name]]
    if empty:
        raise ValueError(
            f"Every class folder must hold images ({', '.join(SUFFIXES)}). "
            f"{received}, with none in: {', '.join(empty)}. Add images or remove these "
            "folders."
        )
    if len(folders) < 2:
        raise ValueError(
            f"There must be at least two classes. {received}, with the only folder "
            f"{folders[0]!r}. Give each class a folder of its own."
        )
    return Layout(directory, names)


def _entries(directory: Path) -> tuple[list[str], list[str]]:
    """Return the names of the folders and of the files in a folder, none hidden.

    Raises:
        ValueError: `directory` is not a folder or cannot be read.
    """
    if not directory.is_dir():
        problem = "does not exist. Check the path"
        if directory.exists():
            problem = "is a file. If it is an archive, unpack it"
        raise ValueError(
            "directory must be a folder that exists. "
            f"Received: directory={str(directory)!r}, which {problem}."
        )
    try:
        # Hidden entries are the system's (.DS_Store, .ipynb_checkpoints), not classes.
        entries = [e for e in directory.iterdir() if not e.name.startswith(".")]
    except OSError as error:
        _refuse_unreadable(error)
    folders = sorted(entry.name for entry in entries if entry.is_dir())
    return folders, sorted({entry.name for entry in entries} - set(folders))


def _images_in(folder: Path) -> list[str]:
    try:
        return find_images(folder)
    except OSError as error:
        _refuse_unreadable(error)


def _refuse_unreadable(error: OSError) -> NoReturn:
    raise ValueError(
        "Every folder of images must be readable. "
        f"Received: {error.filename!r} ({error.strerror}). Change its permissions."
    ) from error


def find_splits(directory: str | Path) -> dict[str, Path]:
    """Return the folder of each split of a data folder.

    Raises:
        ValueError: a split is missing or has another name.

    Example:
        >>> list(find_splits("photos"))
        ['train', 'validation', 'test']
    """
    directory = require_path("directory", directory)
    folders, _ = _entries(directory)
    received = f"Received: directory={str(directory)!r}"
    for name in folders:
        needed = _MISNAMED_SPLITS.get(name.lower(), name.lower())
        if needed in SPLITS and name != needed:
            raise ValueError(
                f"Splits must be named {listed(SPLITS)}. {received}, with {name!r}. "
                f"Rename it to {needed!r}."
            )
    found = [name for name in SPLITS if name in folders]
    if "train" not in found or len(found) < 2:
        raise ValueError(
            "A data folder must hold the folder train, and validation or test or both. "
            f"{received}, which holds: {', '.join(folders) or 'no folder'}. "
            "Use these names, each with one folder of images per class."
        )
    return {name: directory / name for name in found}


def check_same_classes(directory: str | Path, layouts: Mapping[str, Layout]) -> None:
    """Refuse splits that do not hold the same classes.

    Args:
        directory: the data folder, for the message.
        layouts: the layout of each split, by name; one of them is "train".

    Raises:
        ValueError: one of them lacks a class that another has.
    """
    train = set(layouts["train"].names)
    differences = []
    for name, layout in layouts.items():
        own = set(layout.names)
        if train - own:
            differences.append(f"{name} lacks {listed(sorted(train - own))}")
        if own - train:
            differences.append(f"train lacks {listed(sorted(own - train))} of {name}")
    if differences:
        raise ValueError(
            "All splits must hold the same classes. Received: "
            f"directory={str(directory)!r}, where {'; '.join(differences)}. "
            "Add, rename or remove folders."
        )


def share_of(count: int, percent: float) -> int:
    """Return how many of `count` images a percentage takes, at least 1.

    Example:
        >>> share_of(40, 10), share_of(3, 1)
        (4, 1)
    """
    return max(1, round(count * percent / 100))


def ranked_indices(names: Iterable[str], key: str) -> list[int]:
    """Return the indices of `names` in a random order that `key` determines.

    The rank of a name depends only on the key and the name. A subset of 1 % therefore
    lies within that of 10 %, and a new file does not change the order of the others.

    Example:
        >>> ranked_indices(["a.png", "b.png", "c.png"], "42/cat")
        [2, 0, 1]
        >>> ranked_indices(["a.png", "b.png", "c.png", "d.png"], "42/cat")
        [3, 2, 0, 1]
    """
    # One hash per name, not one shuffle of all: that changes with every new file.
    ranks = [text_digest(f"{key}/{name}") for name in names]
    return sorted(range(len(ranks)), key=ranks.__getitem__)


def text_digest(text: str) -> bytes:
    """Return the sha256 of a text."""
    # Python decodes a file name that is not valid UTF-8 with surrogates (PEP 383),
    # which a plain encode() refuses.
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
