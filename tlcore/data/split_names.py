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

    Example:
        >>> splits_among(["Training", "Testing", "notes"])
        {'Training': 'train', 'Testing': 'test'}
        >>> splits_among(["train", "dev"]), splits_among(["dev", "prod"])
        ({'train': 'train', 'dev': 'validation'}, {})
    """
    names = list(names)
    train = any(split_of(name) == "train" for name in names)
    found = {name: split_of(name, beside_train=train) for name in names}
    return {name: split for name, split in found.items() if split is not None}


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
