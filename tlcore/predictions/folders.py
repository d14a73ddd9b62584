"""Folders: the images of a folder that is to be predicted, and their truth.

Owns how truth is read from the names of folders, given the classes of a model. Unlike
an image folder for training it may lack classes or have no labels at all, and an image
that cannot be read holds up no other.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from tlcore.arguments import counted
from tlcore.data.finding import find_images
from tlcore.data.split_names import splits_among


@dataclass(frozen=True)
class ListedImages:
    """The images of a folder.

    Attributes:
        paths: the files, sorted.
        truth: the index of each file's class; None if the folders are no classes.
        left_out: how many other files there are, by suffix.
    """

    paths: tuple[str, ...]
    truth: tuple[int, ...] | None
    left_out: Mapping[str, int]


def list_images(directory: str | Path, classes: Sequence[str]) -> ListedImages:
    """Return the images of a folder, with their truth if its folders are classes.

    Args:
        directory: holds images, at any depth, or one folder per class.
        classes: the classes of the model, in the order of its outputs. The folders may
            be some of them, in any order.

    Raises:
        ValueError: there is no such folder or no image in it, it holds splits, or some
            of its folders are classes and others are not.

    Example:
        >>> classes = sorted(path.name for path in Path("photos/test").iterdir())
        >>> found = list_images("photos/test", classes)
        >>> len(found.paths), sorted(set(found.truth))
        (30, [0, 1, 2])
        >>> list_images("photos/test", ["cat", "dog"]).truth is None
        True
    """
    root = Path(directory)
    received = f"Received: {str(directory)!r}"
    if not root.is_dir():
        raise ValueError(
            f"Images to predict must be in a folder that exists. {received}."
        )
    try:
        found = find_images(root)
    except OSError as error:
        raise ValueError(
            "Every folder of images must be readable. "
            f"Received: {error.filename!r} ({error.strerror}). Change its permissions."
        ) from error
    if not found.images:
        other = ", ".join(f"{n} {suffix}" for suffix, n in found.left_out.items())
        raise ValueError(
            "A folder to predict must hold images. "
            f"{received}, with none{other and '; it has ' + other}."
        )
    paths = tuple(str(root / name) for name in found.images)
    folders = [n.partition("/")[0] if "/" in n else "" for n in found.images]
    if not _are_classes(folders, classes, received):
        return ListedImages(paths, None, found.left_out)
    number = {name: i for i, name in enumerate(classes)}
    truth = tuple(number[name] for name in folders)
    return ListedImages(paths, truth, found.left_out)


def _are_classes(folders: Sequence[str], classes: Sequence[str], received: str) -> bool:
    """Return whether the images lie in folders of the classes.

    Args:
        folders: the outermost folder of each image, "" for one that is in none.
        classes: of the model.
        received: how an error begins to say what was given.
    """
    names = sorted(set(folders) - {""})
    known = {name.casefold() for name in classes}
    if not any(name.casefold() in known for name in names):
        splits = splits_among(names)
        if splits and len(splits) == len(names):
            raise ValueError(
                "A folder to predict must be one split. "
                f"{received}, which holds {', '.join(names)}. Name one of them."
            )
        return False
    other = [name for name in names if name not in set(classes)]
    if other:
        (near, *_) = [*get_close_matches(other[0], classes, 1, 0.6), None]
        near = next((c for c in classes if c.casefold() == other[0].casefold()), near)
        hint = f" Did you mean {near!r}?" if near else ""
        raise ValueError(
            "The folders must all be named as classes of the model, or none of them. "
            f"{received}, with {', '.join(map(repr, other))}, which "
            f"{'is none' if len(other) == 1 else 'are none'} of "
            f"{', '.join(classes)}.{hint} Rename or move "
            f"{'it' if len(other) == 1 else 'them'}."
        )
    loose = folders.count("")
    if loose:
        raise ValueError(
            "Images must all lie in folders named as classes of the model, or none. "
            f"{received}, with {counted(loose, 'image')} next to the folders "
            f"{', '.join(names)}. Move them into a folder of their own."
        )
    return True
