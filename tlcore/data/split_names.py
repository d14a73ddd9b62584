"""Split names: which names of folders mean train, validation and test.

Owns the one rule for all spellings. Whatever asks whether a folder is a split asks
here: the layout of a data folder, the split column of a table, and the checks that keep
selection away from test data. It reads no disk.
"""

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from tlcore.arguments import listed

SPLITS = ("train", "validation", "test")

SPELLINGS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "train": ("train", "training", "trn"),
        "validation": ("validation", "validate", "valid", "val"),
        "test": ("test", "testing", "tst"),
    }
)
"""The words that mean a split wherever they stand, in upper or lower case."""

SPELLINGS_BESIDE_TRAIN: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "validation": ("dev", "devel", "development"),
        "test": ("eval", "evaluation", "holdout"),
    }
)
"""The words that mean a split only beside a train: they may mean other things too."""

_FILLERS = ("set", "sets", "split", "data", "dataset", "images", "image", "imgs")
"""What may follow the word, such as in `training_set`, `test-data`, `TrainImages`."""

_CERTAIN = {word: split for split, words in SPELLINGS.items() for word in words}
_BESIDE_TRAIN = {
    word: split for split, words in SPELLINGS_BESIDE_TRAIN.items() for word in words
}
_TRAILING = re.compile(rf"^(.+?)(?:{'|'.join(sorted(_FILLERS, key=len)[::-1])})$")


def split_of(name: str, *, beside_train: bool = False) -> str | None:
    """Return the split that the name of a folder means, None if it means none.

    Case, spaces, dashes, underscores and dots do not count, nor does a word such as
    "set" at the end.

    Args:
        name: of the folder.
        beside_train: whether a sibling is a train split. Only then "dev" is a
            validation and "eval" and "holdout" are a test.

    Example:
        >>> [split_of(name) for name in ("Training", "test_set", "val", "trainers")]
        ['train', 'test', 'validation', None]
        >>> split_of("dev"), split_of("dev", beside_train=True)
        (None, 'validation')
    """
    words = {**_CERTAIN, **_BESIDE_TRAIN} if beside_train else _CERTAIN
    word = re.sub(r"[\W_]+", "", name.casefold())
    trailing = _TRAILING.match(word)
    return words.get(word) or (words.get(trailing[1]) if trailing else None)


def splits_among(names: Iterable[str]) -> dict[str, str]:
    """Return which of some names mean a split, each with its split.

    Names that differ only in a word that means a split count too, such as `seg_train`
    and `seg_test`, or `train2017` and `val2017`, if one of them is a train.

    Example:
        >>> splits_among(["Training", "Testing", "notes"])
        {'Training': 'train', 'Testing': 'test'}
        >>> splits_among(["train", "dev"]), splits_among(["dev", "prod"])
        ({'train': 'train', 'dev': 'validation'}, {})
        >>> splits_among(["seg_train", "seg_pred", "seg_test"])
        {'seg_train': 'train', 'seg_test': 'test'}
    """
    names = list(names)
    train = any(split_of(name) == "train" for name in names)
    found = {name: split_of(name, beside_train=train) for name in names}
    for alike in _by_rest(names).values():
        if "train" in alike.values() and len(set(alike.values())) > 1:
            found |= alike
    return {name: split for name, split in found.items() if split is not None}


def _by_rest(names: Iterable[str]) -> dict[tuple[str, ...], dict[str, str]]:
    """Return names that hold one word for a split, by the rest of their words."""
    words = {**_CERTAIN, **_BESIDE_TRAIN}
    found: dict[tuple[str, ...], dict[str, str]] = {}
    for name in names:
        # "imgTrain" has two words.
        spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).casefold()
        parts = re.findall(r"[^\W\d_]+|\d+", spaced)
        places = [place for place, part in enumerate(parts) if part in words]
        if len(places) == 1:
            rest = (*parts[: places[0]], "", *parts[places[0] + 1 :])
            found.setdefault(rest, {})[name] = words[parts[places[0]]]
    return found


def is_filler(name: str) -> bool:
    """Return whether a folder is named only for what is in it, such as "images".

    Example:
        >>> is_filler("Images"), is_filler("cats")
        (True, False)
    """
    return name.casefold() in _FILLERS


def one_name_each(found: Mapping[str, str], received: str) -> dict[str, str]:
    """Return the name of each split, in the order train, validation, test.

    Args:
        found: the split that each name means, as `splits_among` returns it.
        received: how the message says where the names come from.

    Raises:
        ValueError: two names mean the same split.

    Example:
        >>> one_name_each({"Testing": "test", "Training": "train"}, "")
        {'train': 'Training', 'test': 'Testing'}
    """
    named = {}
    for split in SPLITS:
        names = sorted(name for name, meant in found.items() if meant == split)
        if len(names) > 1:
            raise ValueError(
                f"Each split must have one name. {received}, where "
                f"{listed(map(repr, names))} each mean {split!r}. Rename or remove "
                f"all but one: the names are {listed(SPLITS)}."
            )
        if names:
            named[split] = names[0]
    return named
