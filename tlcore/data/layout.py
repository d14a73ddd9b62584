"""Layout: which folders are splits and classes, and which images they hold.

Owns how folders must be laid out, the errors for every other layout, and which images
of a class a percentage takes. Which names mean a split is decided in `split_names`. It
opens no image; `images` decodes them, and `image_folder` puts both together.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn, Protocol

from tlcore.arguments import counted, few, listed, require_path
from tlcore.data.finding import Found, find_images, is_image
from tlcore.data.formats import SUFFIXES, left_out_note
from tlcore.data.split_names import one_name_each, splits_among

SPLIT_REMEDY = 'split="80/10/10" (on the command line --split 80/10/10)'
"""What makes splits of images that have none."""


class Listing(Protocol):
    """The images of one split, unopened: a `Layout` or the rows of a table."""

    @property
    def directory(self) -> Path:
        """Return the folder that all images lie in."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """Return the names of the classes, in the order of their indices."""

    @property
    def left_out(self) -> Mapping[str, int]:
        """Return how many files among them are no images, by suffix."""

    def subset(self, percent: float, seed: int) -> tuple[list[str], Any]:
        """Return the paths and labels of a part of each class."""


@dataclass(frozen=True)
class Layout:
    """The images of an image folder, unopened.

    Attributes:
        directory: the folder that holds one folder per class.
        names: for each class, the paths of its images within its folder, sorted.
        left_out: how many files in the class folders are no images, by suffix.
    """

    directory: Path
    names: dict[str, list[str]]
    left_out: Mapping[str, int] = field(default_factory=dict)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Return the names of the class folders."""
        return tuple(self.names)

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
    layout = find_classes(directory)
    check_classes(layout)
    return layout


def check_classes(layout: Layout) -> None:
    """Refuse class folders one of which holds no image, or of which there is one.

    Raises:
        ValueError: there are no two classes with images.
    """
    directory = layout.directory
    received = f"Received: directory={str(directory)!r}"
    empty = [name for name, images in layout.names.items() if not images]
    if empty:
        note = left_out_note(layout.left_out)
        raise ValueError(
            f"Every class folder must hold images ({', '.join(SUFFIXES)}). "
            f"{received}, with none in: {', '.join(empty)}{note and '; ' + note}. Add "
            "images or remove these folders."
        )
    if len(layout.names) < 2:
        (only,) = layout.names
        remedy = "Give each class a folder of its own"
        if _entries(directory / only)[0]:
            remedy = f"Open {str(directory / only)!r}, or give each class a folder"
        raise ValueError(
            f"There must be at least two classes. {received}, with the only folder "
            f"{only!r}. {remedy}."
        )


def find_classes(directory: Path) -> Layout:
    """List the images of class folders, some of which may be empty.

    Raises:
        ValueError: the folder holds splits, loose images or no folder.

    Example:
        >>> len(find_classes(Path("photos/train")).names["checked_ring"])
        4
    """
    folders, files = _entries(directory)
    received = f"Received: directory={str(directory)!r}"
    splits = _split_folders(directory, folders)
    if splits:
        first = next((n for n, split in splits.items() if split == "train"), folders[0])
        raise ValueError(
            "An image folder must hold one folder of images per class. "
            f"{received}, which holds splits: {listed(splits)}. Open one of them, "
            f"such as {str(directory / first)!r}, or all of them with load_splits."
        )
    loose = [name for name in files if is_image(name)]
    if loose:
        raise ValueError(
            "Images must lie in one folder per class, <class>/<image>. "
            f"{received}, with {counted(len(loose), 'image')} directly in it, such as "
            f"{loose[0]!r}. Move them into folders named after their class, or list "
            "them with their labels in a table for image_table."
        )
    if not folders:
        raise ValueError(
            "An image folder must hold one folder of images per class. "
            f"{received}, which holds no folder. Check the path."
        )
    found = {name: _images_in(directory / name) for name in folders}
    left_out = sum((Counter(inside.left_out) for inside in found.values()), Counter())
    names = {name: inside.images for name, inside in found.items()}
    return Layout(directory, names, dict(sorted(left_out.items())))


def holds_one_folder(directory: Path) -> Path | None:
    """Return the only folder in a folder that holds folders in turn, else None.

    Archives often wrap their content so. A folder `train` is a split, not a wrapping.

    Example:
        >>> Path("download/photos/train/cat").mkdir(parents=True)
        >>> holds_one_folder(Path("download")).as_posix()
        'download/photos'
        >>> holds_one_folder(Path("download/photos"))
    """
    folders, files = _entries(directory)
    if len(folders) != 1 or splits_among(folders) or any(map(is_image, files)):
        return None
    return directory / folders[0] if _holds_folders(directory, folders[0]) else None


def without_wrapping(directory: Path) -> Path:
    """Return the folder of the same name in a folder that holds nothing else.

    Some archives unpack to `train/train`. The only folder of another name is a class.

    Example:
        >>> Path("got/seg_train/seg_train/glacier").mkdir(parents=True)
        >>> without_wrapping(Path("got/seg_train")).as_posix()
        'got/seg_train/seg_train'
    """
    inner = directory / directory.name
    only = _entries(directory)[0] == [directory.name]
    return inner if only and _holds_folders(directory, directory.name) else directory


def holds_images_only(directory: Path) -> bool:
    """Return whether a folder holds images and no folder, so that no class is known.

    Example:
        >>> holds_images_only(Path("photos/test/checked_ring"))
        True
        >>> holds_images_only(Path("photos/test"))
        False
    """
    folders, files = _entries(directory)
    return not folders and any(map(is_image, files))


def _split_folders(directory: Path, folders: Sequence[str]) -> dict[str, str]:
    """Return the folders that are splits, each with its split; {} if all are classes.

    They are splits if every folder is named like one. If others stand there too, a
    class may be named "train" (and the others "bus" and "car"): then there must be
    another split next to the train, and the train must hold folders and no images.
    """
    found = splits_among(folders)
    if len(found) < len(folders):
        trains = [name for name, split in found.items() if split == "train"]
        if len(set(found.values())) < 2 or not any(
            _holds_folders(directory, name) for name in trains
        ):
            return {}
    return found


def _holds_folders(directory: Path, name: str) -> bool:
    folders, files = _entries(directory / name)
    return bool(folders) and not any(is_image(file) for file in files)


def _entries(directory: Path) -> tuple[list[str], list[str]]:
    """Return the names of the folders and of the files in a folder, none hidden.

    Raises:
        ValueError: `directory` is not a folder or cannot be read.
    """
    if not directory.is_dir():
        problem = "does not exist. Check the path"
        if directory.exists():
            problem = "is a file. If it is an archive, unpack it or use load_splits"
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


def _images_in(folder: Path) -> Found:
    try:
        return find_images(folder)
    except OSError as error:
        _refuse_unreadable(error)


def _refuse_unreadable(error: OSError) -> NoReturn:
    raise ValueError(
        "Every folder of images must be readable. "
        f"Received: {error.filename!r} ({error.strerror}). Change its permissions."
    ) from error


@dataclass(frozen=True)
class SplitFolders:
    """The folders of a data folder that are splits.

    Attributes:
        names: the name of each split's folder, in the order train, validation, test;
            empty if the data folder holds classes.
        others: the names of the folders that are no split, if there are splits.
    """

    names: Mapping[str, str]
    others: tuple[str, ...] = ()


def split_folders(directory: Path) -> SplitFolders:
    """Return which folders of a data folder are splits, under any spelling.

    Raises:
        ValueError: the folder is missing, or two of its folders are the same split.

    Example:
        >>> dict(split_folders(Path("photos")).names)["validation"]
        'validation'
    """
    folders, _ = _entries(directory)
    found = _split_folders(directory, folders)
    names = one_name_each(found, f"Received: directory={str(directory)!r}")
    others = [name for name in folders if name not in found] if found else []
    return SplitFolders(names, tuple(others))


def find_splits(directory: str | Path) -> dict[str, Path]:
    """Return the folder of each split of a data folder.

    Raises:
        ValueError: there is no train, or neither validation nor test, or two folders
            are the same split. The message says what helps.

    Example:
        >>> list(find_splits("photos"))
        ['train', 'validation', 'test']
    """
    directory = require_path("directory", directory)
    names = split_folders(directory).names
    if "train" not in names or len(names) < 2:
        raise ValueError(
            "A data folder must hold the folder train, and validation or test or both. "
            f"Received: directory={str(directory)!r}, {_instead(directory, names)}"
        )
    return {split: directory / name for split, name in names.items()}


def _instead(directory: Path, names: Mapping[str, str]) -> str:
    """Return what a data folder without its splits holds, and what helps."""
    if "train" in names:
        return (
            f"which holds {names['train']!r} only. Hold a part of it out: "
            f"{SPLIT_REMEDY}."
        )
    folders, _ = _entries(directory)
    holds = f"which holds: {few(folders) or 'no folder'}"
    if names:
        return (
            f"{holds}. Give the training images a folder named train, or make splits "
            f"of one of these folders: open it, with {SPLIT_REMEDY}."
        )
    inner = holds_one_folder(directory)
    if inner is not None:
        return f"{holds}. Open {str(inner)!r}."
    if any(_images_in(directory / name).images for name in folders):
        return (
            f"which holds {counted(len(folders), 'class folder')}: {few(folders)}. "
            f"Make splits of them: {SPLIT_REMEDY}."
        )
    return f"{holds}. Use these names, each with one folder of images per class."


def check_same_classes(directory: str | Path, layouts: Mapping[str, Listing]) -> None:
    """Refuse splits that do not hold the same classes.

    Args:
        directory: the data folder, for the message.
        layouts: the layout of each split, by name; one of them is "train".

    Raises:
        ValueError: one of them lacks a class that another has.
    """
    differences = class_differences(layouts)
    if differences:
        raise ValueError(
            "All splits must hold the same classes. Received: "
            f"directory={str(directory)!r}, where {'; '.join(differences)}. "
            "Add, rename or remove folders."
        )


def class_differences(layouts: Mapping[str, Listing]) -> list[str]:
    """Return how the classes of each split differ from those of train.

    Example:
        >>> here = Path()
        >>> train, test = Layout(here, {"a": [], "b": []}), Layout(here, {"a": []})
        >>> class_differences({"train": train, "test": test})
        ['test lacks b']
    """
    train = set(layouts["train"].class_names)
    differences = []
    for name, layout in layouts.items():
        own = set(layout.class_names)
        if train - own:
            differences.append(f"{name} lacks {listed(sorted(train - own))}")
        if own - train:
            differences.append(f"train lacks {listed(sorted(own - train))} of {name}")
    return differences


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
