"""Allotment: which image goes to which split, where folders do not say it.

Owns how a split is asked for ("80/10/10"), and the one way of holding images out:
stratified by class, drawn by a hash, and with all copies of an image on one side. It
opens no image: it gets labels, digests and names.
"""

import csv
import io
import math
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from tlcore.arguments import listed
from tlcore.data.layout import ranked_indices, share_of
from tlcore.data.split_names import SPLITS, split_of

Split = str | Sequence[float] | Mapping[str, float]
"""How a split is asked for: "80/10/10", (80, 10, 10), or {"validation": 10}."""

_SHORT = {2: ("train", "test"), 3: SPLITS}
"""What the percentages mean, by how many there are."""


@dataclass(frozen=True)
class SplitRule:
    """A split that was asked for.

    Attributes:
        text: how it is written, such as "80/10/10" or "validation=10".
        held_out: the percentage of each split but train.
        named: whether the splits were named. Only then may a split that exists be
            divided: "80/10/10" of a folder with train and test is a mistake.

    Example:
        >>> rule = SplitRule.of("80/20")
        >>> rule.text, dict(rule.held_out)
        ('80/20', {'test': 20.0})
        >>> dict(SplitRule.of("validation=10").held_out)
        {'validation': 10.0}
    """

    text: str
    held_out: Mapping[str, float]
    named: bool

    @classmethod
    def of(cls, split: "Split | SplitRule") -> "SplitRule":
        """Return the rule that a text, numbers or a mapping mean.

        Raises:
            ValueError: they are no percentages, or do not sum to 100.
        """
        if isinstance(split, SplitRule):
            return split
        pairs = _pairs(split)
        named = pairs is not None
        percents = dict(pairs) if pairs is not None else _shares(split)
        whole = "train" in percents
        total = math.fsum(percents.values())
        if not all(0 < percent < 100 for percent in percents.values()):
            _refuse(split, "with a percentage that is not between 0 and 100")
        if whole and not math.isclose(total, 100, abs_tol=1e-6):
            hint = "" if not math.isclose(total, 1) else f" Write {_scaled(percents)}."
            _refuse(split, f"which sum to {total:g}", hint)
        if not whole and total >= 100:
            _refuse(split, "which leaves nothing to train on")
        held_out = {name: percents[name] for name in SPLITS[1:] if name in percents}
        if not held_out:
            _refuse(split, "which holds nothing out")
        if named:
            text = ",".join(f"{name}={p:g}" for name, p in held_out.items())
        else:
            text = "/".join(f"{p:g}" for p in percents.values())
        return cls(text, held_out, named)


def _pairs(split: Any) -> list[tuple[str, float]] | None:
    """Return names with percentages, None if no names are given."""
    if isinstance(split, Mapping):
        given = list(split.items())
    elif isinstance(split, str) and "=" in split:
        given = [part.partition("=")[::2] for part in split.split(",")]
    else:
        return None
    pairs: list[tuple[str, float]] = []
    for name, percent in given:
        meant = split_of(str(name), beside_train=True)
        if meant is None or meant in dict(pairs):
            _refuse(
                split, f"where {str(name).strip()!r} is no split, or one named twice"
            )
        pairs.append((meant, _number(percent, split)))
    return pairs


def _shares(split: Any) -> dict[str, float]:
    parts: Any = re.split(r"[/:]", split) if isinstance(split, str) else split
    if not isinstance(parts, Sequence) or len(parts) not in _SHORT:
        _refuse(split, "which is not two or three percentages")
    names = _SHORT[len(parts)]
    return {n: _number(part, split) for n, part in zip(names, parts, strict=True)}


def _number(percent: Any, split: Any) -> float:
    if isinstance(percent, str):
        try:
            percent = float(percent.strip().removesuffix("%"))
        except ValueError:
            _refuse(split, f"where {percent!r} is no number")
    # `bool` is a subclass of `int`.
    if type(percent) is bool or not isinstance(percent, Real):
        _refuse(split, f"where {percent!r} is no number")
    return float(percent)


def _scaled(percents: Mapping[str, float]) -> str:
    return "/".join(f"{100 * share:g}" for share in percents.values())


def _refuse(split: Any, problem: str, hint: str = "") -> NoReturn:
    raise ValueError(
        'split must be percentages of train, validation and test, such as "80/10/10", '
        'or of train and test, such as "80/20", that sum to 100; or what is held out '
        f'of train, such as "validation=10". Received: split={split!r}, {problem}.'
        f"{hint}"
    )


@dataclass(frozen=True)
class Allotment:
    """How the images were allotted, as a run records it.

    Attributes:
        rule: the split that was asked for.
        seed: of the draw.
        rows: the path within the data folder, the class and the split of every image.
    """

    rule: SplitRule
    seed: int
    rows: tuple[tuple[str, str, str], ...]

    @property
    def counts(self) -> dict[str, int]:
        """Return the number of images of each split."""
        counts: dict[str, int] = defaultdict(int)
        for _, _, split in self.rows:
            counts[split] += 1
        return {name: counts[name] for name in SPLITS if name in counts}

    def as_csv(self) -> str:
        """Return the rows as a table that `load_splits` reads, with the same splits.

        Example:
            >>> rows = (("cat/1.jpg", "cat", "train"), ("cat/2.jpg", "cat", "test"))
            >>> print(Allotment(SplitRule.of("50/50"), 42, rows).as_csv(), end="")
            path,label,split
            cat/1.jpg,cat,train
            cat/2.jpg,cat,test
        """
        table = io.StringIO()
        writer = csv.writer(table, lineterminator="\n")
        writer.writerows([("path", "label", "split"), *self.rows])
        return table.getvalue()


def allot(
    labels: NDArray[Any],
    digests: Sequence[str],
    ranks: Sequence[int],
    held_out: Mapping[str, float],
    class_names: Sequence[str],
) -> dict[str, NDArray[np.intp]]:
    """Divide images into train and what is held out.

    Of each class at least one image goes to every split. Copies of an image go to one
    split together. Copies in several classes stay in train: no figure should depend on
    an image whose class is in doubt.

    Args:
        labels: the class of each image, (n,); or 0/1 rows, (n, classes).
        digests: of the bytes of each image.
        ranks: the images in the order in which they are drawn, as indices.
        held_out: the percentage of each split but train.
        class_names: for the message.

    Returns:
        The indices of the images of train and of each other split, ascending.

    Raises:
        ValueError: a class holds too few different images.

    Example:
        >>> labels, digests = np.array([0, 0, 0, 1, 1]), ["a", "a", "b", "c", "d"]
        >>> ranks = [4, 3, 2, 1, 0]
        >>> parts = allot(labels, digests, ranks, {"test": 50}, ["cat", "dog"])
        >>> {name: indices.tolist() for name, indices in parts.items()}
        {'train': [0, 1, 3], 'test': [2, 4]}
    """
    strata = strata_of(labels)
    found: dict[str, list[int]] = defaultdict(list)
    for index in ranks:
        found[digests[index]].append(index)
    groups: dict[int, list[list[int]]] = defaultdict(list)
    for copies in found.values():
        own = {int(strata[i]) for i in copies}
        if len(own) == 1:
            groups[own.pop()].append(copies)
    needed = len(held_out) + 1
    if labels.ndim == 1:
        _check_sizes(
            [len(groups[i]) for i in range(len(class_names))], *(class_names, held_out)
        )
    else:
        # Combinations of classes that are too rare to be divided are one stratum.
        rare = [i for i, some in groups.items() if len(some) < needed]
        pooled = [copies for i in rare for copies in groups.pop(i)]
        order = {index: rank for rank, index in enumerate(ranks)}
        if len(pooled) >= needed:
            groups[-1] = sorted(pooled, key=lambda copies: order[copies[0]])
    sides = np.zeros(len(digests), dtype=np.intp)
    for some in groups.values():
        for side, part in enumerate(_drawn(some, list(held_out.values())), start=1):
            sides[[index for copies in part for index in copies]] = side
    names = ("train", *held_out)
    parts = {name: np.flatnonzero(sides == side) for side, name in enumerate(names)}
    if labels.ndim == 2:
        _check_positives(labels, parts, class_names)
    return parts


def strata_of(labels: NDArray[Any]) -> NDArray[np.intp]:
    """Return a number for each image: its class, or its combination of classes.

    Example:
        >>> strata_of(np.array([[1, 0], [1, 1], [1, 0]])).tolist()
        [0, 1, 0]
    """
    if labels.ndim == 1:
        return labels.astype(np.intp)
    _, numbers = np.unique(labels, axis=0, return_inverse=True)
    return np.asarray(numbers, np.intp).reshape(-1)


def part_of_each(
    labels: NDArray[Any],
    names: Sequence[str],
    keys: Sequence[str],
    percent: float,
) -> NDArray[np.intp]:
    """Return the indices of a part of each class, at least one image, ascending.

    Args:
        labels: the class of each image, or 0/1 rows.
        names: of the images, by hashes of which they are drawn.
        keys: of the draw, for each class; one for all where labels are rows.
        percent: how much of each class.

    Example:
        >>> part_of_each(np.array([0, 0, 1]), ["a", "b", "c"], ["k", "l"], 50).tolist()
        [0, 2]
    """
    strata = strata_of(labels)
    taken: list[int] = []
    for stratum in np.unique(strata):
        own = np.flatnonzero(strata == stratum)
        key = keys[int(stratum) if labels.ndim == 1 else 0]
        ranked = ranked_indices([names[i] for i in own.tolist()], key)
        taken += own[ranked[: share_of(len(own), percent)]].tolist()
    return np.sort(np.array(taken, dtype=np.intp))


def _drawn(
    groups: Sequence[list[int]], percents: Sequence[float]
) -> list[list[list[int]]]:
    """Return the groups of each part; what is left is train, at least one group."""
    size = sum(map(len, groups))
    queue, parts = list(groups), []
    for place, percent in enumerate(percents):
        wanted, held = share_of(size, percent), 0
        spare = len(queue) - (len(percents) - place)
        part: list[list[int]] = []
        for copies in queue:
            if len(part) < spare and held + len(copies) <= wanted:
                part.append(copies)
                held += len(copies)
            if held == wanted:
                break
        # All are larger than what is wanted: the smallest of them.
        part = part or [min(queue, key=len)]
        taken = {copies[0] for copies in part}
        queue = [copies for copies in queue if copies[0] not in taken]
        parts.append(part)
    return parts


def _check_sizes(
    sizes: Sequence[int], class_names: Sequence[str], held_out: Mapping[str, float]
) -> None:
    needed = len(held_out) + 1
    small = [
        f"{name} with {size}"
        for name, size in zip(class_names, sizes, strict=True)
        if size < needed
    ]
    if small:
        raise ValueError(
            f"Every class must hold at least {needed} images for {listed(held_out)} to "
            "be held out. Copies count once, and not at all if they are in several "
            f"classes. Received: {listed(small)}. Add images, leave these classes out, "
            "or take a higher percent."
        )


def _check_positives(
    labels: NDArray[Any],
    parts: Mapping[str, NDArray[np.intp]],
    class_names: Sequence[str],
) -> None:
    missing = [
        f"{name} without {class_names[int(column)]}"
        for name, indices in parts.items()
        for column in np.flatnonzero(~labels[indices].any(axis=0))
    ]
    if missing:
        raise ValueError(
            "Every split must hold an image of every class. Received: "
            f"{listed(missing)}. Add images of these classes, take another seed, or "
            "hold more out."
        )
