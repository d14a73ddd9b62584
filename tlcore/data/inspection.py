"""Inspection: what is wrong with the images of a data folder.

Owns the rules by which something is a finding: copies within a split and between every
two, labels that contradict each other, images without contrast, classes that differ or
are out of balance, and files that cannot be read. It opens no file: it gets what the
check of the images has seen. `data_check` puts a report together.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tlcore.arguments import counted, listed
from tlcore.data.formats import OPTIONAL, RAW_SUFFIXES

if TYPE_CHECKING:
    from tlcore.data.image_folder import ImageFolder

BAD_IMAGES = "bad images"
"""The kind of finding that training refuses instead, unless they are skipped."""

FLAT_RANGE = 8
"""An image is flat if its values, in [0, 255], lie within this of each other."""

DARK_VALUE = 63
DARK_SHARE = 0.9
"""A set is dark if this share of its images has no value above `DARK_VALUE`."""
_LEAST_OF_A_CLASS = 5
"""A class of fewer images is not judged by itself."""

IMBALANCE = 10
"""Classes are out of balance if one has this many times the images of another."""

PHOTOGRAPHS = RAW_SUFFIXES | {*OPTIONAL, ".jp2", ".jxl", ".cr3", ".orf", ".raf", ".rw2"}
"""Endings of photographs: files of this kind that are left out are a finding."""


@dataclass(frozen=True, eq=False)
class SplitImages:
    """The images of a split that can be read, and the files that cannot.

    Attributes:
        name: of the split; "" for images that are not divided.
        paths: the files.
        classes: the class of each image; several with "|" between.
        digests: sha256 of the bytes of each file.
        levels: how far the values of each image are apart, and the largest, (n, 2).
        bad: files that cannot be read, each with the reason.
        left_out: how many files are no images, by suffix.
    """

    name: str
    paths: Sequence[str]
    classes: Sequence[str]
    digests: Sequence[str]
    levels: NDArray[np.uint8]
    bad: Sequence[tuple[str, str]] = ()
    left_out: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, folder: "ImageFolder") -> "SplitImages":
        """Return the images of an opened folder."""
        classes = [folder.class_text(i) for i in range(folder.num_images)]
        return cls(
            folder.split,
            folder.paths,
            classes,
            folder.digests,
            folder.levels,
            folder.skipped,
            folder.left_out,
        )

    @property
    def title(self) -> str:
        """Return the name for people."""
        return self.name or "images"


@dataclass(frozen=True)
class Finding:
    """Something that is wrong with the data.

    Attributes:
        kind: "bad images", "shared images", "copies", "contradicting labels", "flat
            images", "dark images", "imbalance", "left out" or "classes".
        splits: where it was found.
        text: one sentence.
        groups: the files; copies of an image are a group.
        reasons: why each file cannot be read, where that is the finding.
    """

    kind: str
    splits: tuple[str, ...]
    text: str
    groups: tuple[tuple[str, ...], ...] = ()
    reasons: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return the finding as JSON has it."""
        return {
            "kind": self.kind,
            "splits": list(self.splits),
            "text": self.text,
            "images": [list(group) for group in self.groups],
            **({"reasons": list(self.reasons)} if self.reasons else {}),
        }


def inspect(splits: Sequence[SplitImages]) -> list[Finding]:
    """Return everything that is wrong with the images of some splits.

    Example:
        >>> levels = np.array([[255, 255], [0, 200]], np.uint8)
        >>> some = SplitImages("train", ["a.png", "b.png"], "xy", "dd", levels)
        >>> for finding in inspect([some]):
        ...     print(finding.text)
        train: 1 image is a copy of another (equal bytes)
        1 image stands in more than one class (equal bytes under x and y)
        train: 1 image is flat (all its values within 8 of 255)
    """
    found: list[Finding] = []
    for split in splits:
        found += _bad(split)
    for first, second in combinations(splits, 2):
        found += _shared(first, second)
    for split in splits:
        found += _copies(split)
    found += _contradictions(splits)
    for split in splits:
        found += [*_range(split), *_imbalance(split), *_left_out(split)]
    return found


def _bad(split: SplitImages) -> Iterator[Finding]:
    if split.bad:
        paths, reasons = zip(*split.bad, strict=True)
        count = counted(len(paths), "file")
        yield Finding(
            BAD_IMAGES,
            (split.name,),
            f"{split.title}: {count} cannot be read as an image",
            tuple((path,) for path in paths),
            tuple(reasons),
        )


def _shared(first: SplitImages, second: SplitImages) -> Iterator[Finding]:
    known: dict[str, str] = dict(zip(first.digests, first.paths, strict=True))
    groups = [
        (known[digest], path)
        for digest, path in zip(second.digests, second.paths, strict=True)
        if digest in known
    ]
    if groups:
        why = (
            "figures on them measure memory"
            if first.name == "train"
            else "what is selected on them is selected on test"
        )
        yield Finding(
            "shared images",
            (first.name, second.name),
            f"{len(groups)} of {counted(len(second.paths), 'image')} of {second.name} "
            f"{_are(len(groups))} in {first.name} as well (equal bytes), and {why}",
            tuple(groups),
        )


def _copies(split: SplitImages) -> Iterator[Finding]:
    groups = _by_digest([split])
    several = [tuple(p for p, _ in some) for some in groups.values() if len(some) > 1]
    count = sum(map(len, several)) - len(several)
    if several:
        copies = "a copy of another" if count == 1 else "copies of others"
        yield Finding(
            "copies",
            (split.name,),
            f"{split.title}: {counted(count, 'image')} {_are(count)} {copies} "
            "(equal bytes)",
            tuple(several),
        )


def _contradictions(splits: Sequence[SplitImages]) -> Iterator[Finding]:
    groups = [
        some
        for some in _by_digest(splits).values()
        if len({class_name for _, class_name in some}) > 1
    ]
    if groups:
        first = sorted({class_name for _, class_name in groups[0]})
        stands = "stands" if len(groups) == 1 else "stand"
        yield Finding(
            "contradicting labels",
            tuple(split.name for split in splits),
            f"{counted(len(groups), 'image')} {stands} in more than one class (equal "
            f"bytes under {listed(first)})",
            tuple(tuple(path for path, _ in some) for some in groups),
        )


def _by_digest(splits: Sequence[SplitImages]) -> dict[str, list[tuple[str, str]]]:
    groups: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for split in splits:
        for digest, path, class_name in zip(
            split.digests, split.paths, split.classes, strict=True
        ):
            groups[digest].append((path, class_name))
    return groups


def _range(split: SplitImages) -> Iterator[Finding]:
    spread, high = split.levels[:, 0], split.levels[:, 1]
    dark = high <= DARK_VALUE
    reported = np.zeros(len(high), dtype=bool)
    for name, members in _sets(split):
        if (members & reported).any() or not members.any():
            continue
        if dark[members].mean() < DARK_SHARE:
            continue
        reported |= members & dark
        most = int(high[members & dark].max())
        looks = (
            ": values in [0, 1] were saved as whole numbers"
            if most <= 1
            else "; are their values scaled to [0, 255]?"
        )
        count = int((members & dark).sum())
        yield Finding(
            "dark images",
            (split.name,),
            f"{name}: {count} of {counted(int(members.sum()), 'image')} {_are(count)} "
            f"dark, with no value above {most} of 255{looks}",
            _chosen(split, members & dark),
        )
    flat = (spread <= FLAT_RANGE) & ~reported
    if flat.any():
        count = int(flat.sum())
        whose = "its" if count == 1 else "their"
        yield Finding(
            "flat images",
            (split.name,),
            f"{split.title}: {counted(count, 'image')} {_are(count)} flat (all {whose} "
            f"values within {FLAT_RANGE} of 255)",
            _chosen(split, flat),
        )


def _chosen(
    split: SplitImages, which: NDArray[np.bool_]
) -> tuple[tuple[str, ...], ...]:
    return tuple((split.paths[i],) for i in np.flatnonzero(which).tolist())


def _sets(split: SplitImages) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Yield the whole split, and then each class: one dark class is a shortcut."""
    yield split.title, np.ones(len(split.paths), dtype=bool)
    classes = np.array(split.classes, dtype=object)
    for class_name, count in sorted(Counter(split.classes).items()):
        if count >= _LEAST_OF_A_CLASS:
            title = f"class {class_name}" if class_name else "without a class"
            yield f"{split.title}, {title}", classes == class_name


def _imbalance(split: SplitImages) -> Iterator[Finding]:
    # Of an image with several classes each counts.
    named = (name for classes in split.classes for name in classes.split("|") if name)
    counts = Counter(named).most_common()
    if counts and counts[0][1] >= IMBALANCE * counts[-1][1]:
        (large, most), (small, least) = counts[0], counts[-1]
        yield Finding(
            "imbalance",
            (split.name,),
            f"{split.title}: the class {large} has {most / least:.3g} times the images "
            f"of the smallest, {small} ({most} and {least})",
        )


def _left_out(split: SplitImages) -> Iterator[Finding]:
    counts = {s: n for s, n in split.left_out.items() if s.lower() in PHOTOGRAPHS}
    if counts:
        kinds = listed(f"{count} {suffix}" for suffix, count in sorted(counts.items()))
        total = sum(counts.values())
        yield Finding(
            "left out",
            (split.name,),
            f"{split.title}: {kinds} {'is' if total == 1 else 'are'} left out",
        )


def _are(count: int) -> str:
    return "is" if count == 1 else "are"
