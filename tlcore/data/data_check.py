"""Data check: a report on the images of a data folder, archive or table.

Owns which files are opened for it, each once, and how the report reads. What counts as
a finding is decided in `inspection`. Other than training, it refuses nothing that can
be reported.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tlcore.arguments import counted, listed
from tlcore.data.formats import left_out_note
from tlcore.data.images import CheckedImage, check_images
from tlcore.data.inspection import Finding, SplitImages, inspect
from tlcore.data.layout import Layout, Listing, class_differences
from tlcore.data.pixels import COMPOSED, FIRST_FRAME, RGB, ROTATED
from tlcore.data.sources import Source, find_source, say_to_stderr
from tlcore.data.tables import Columns

_DONE = {
    ROTATED: "turned upright",
    COMPOSED: "with transparent parts put on white",
    FIRST_FRAME: "with several frames, of which the first is read",
}
"""What is done to images, in the words of the report."""

_SHOWN_FILES = 5
"""The most files that a line of the report names."""


@dataclass(frozen=True)
class SplitCount:
    """What a split holds.

    Attributes:
        name: of the split; "" for images that are not divided.
        images: how many images can be read.
        classes: how many of each class; of several, an image counts for each.
        converted: how many are converted to RGB, by what they are on disk.
        treated: what else is done to how many, such as "rotated".
        left_out: how many files are no images, by suffix.
    """

    name: str
    images: int
    classes: Mapping[str, int]
    converted: Mapping[str, int]
    treated: Mapping[str, int]
    left_out: Mapping[str, int]

    def __str__(self) -> str:
        """Return one line."""
        classes = ", ".join(f"{name} {count}" for name, count in self.classes.items())
        parts = [
            f"{self.name or 'images'}: {counted(self.images, 'image')} in "
            f"{counted(len(self.classes), 'class', 'classes')}: {classes}"
        ]
        if self.converted:
            kinds = listed(f"{n} {kind}" for kind, n in self.converted.items())
            parts.append(f"{kinds} converted to RGB")
        parts += [f"{n} {_DONE[treatment]}" for treatment, n in self.treated.items()]
        if self.left_out:
            parts.append(left_out_note(self.left_out))
        return "; ".join(parts)


@dataclass(frozen=True)
class DataReport:
    """What was found in the images of a data folder, archive or table.

    Attributes:
        data: what was checked.
        directory: the folder that all paths start from.
        naming: a line on how the splits are named; None for the usual names.
        splits: what each split holds.
        findings: what is wrong; empty if nothing is.
    """

    data: str
    directory: Path
    naming: str | None
    splits: tuple[SplitCount, ...]
    findings: tuple[Finding, ...]

    def __str__(self) -> str:
        """Return the report as lines."""
        lines = [self.naming] if self.naming else []
        lines += map(str, self.splits)
        for finding in self.findings:
            lines.append(f"finding: {finding.text}")
            lines += self._files(finding)
        wrong = counted(len(self.findings), "finding")
        return "\n".join([*lines, wrong if self.findings else "nothing wrong"])

    def relative(self, path: str) -> str:
        """Return a path within the folder of the data."""
        return Path(path).relative_to(self.directory).as_posix()

    def as_dict(self) -> dict[str, Any]:
        """Return the report for a JSON file, with paths within the folder."""
        findings = []
        for finding in self.findings:
            images = [[self.relative(p) for p in some] for some in finding.groups]
            findings.append({**finding.as_dict(), "images": images})
        return {
            "data": self.data,
            "directory": str(self.directory),
            "splits": {
                split.name or "images": {
                    "images": split.images,
                    "classes": dict(split.classes),
                    "converted": dict(split.converted),
                    "treated": dict(split.treated),
                    "left_out": dict(split.left_out),
                }
                for split in self.splits
            },
            "findings": findings,
        }

    def _files(self, finding: Finding) -> list[str]:
        lines = []
        reasons = finding.reasons or ("",) * len(finding.groups)
        shown = list(zip(finding.groups, reasons, strict=True))[:_SHOWN_FILES]
        for group, reason in shown:
            names = " = ".join(self.relative(path) for path in group[:_SHOWN_FILES])
            lines.append(f"  {names}" + (f": {reason}" if reason else ""))
        more = len(finding.groups) - _SHOWN_FILES
        return lines + ([f"  and {more} more"] if more > 0 else [])


def check_data(
    data: Any,
    *,
    root: str | Path | None = None,
    path_column: str | None = None,
    label_column: str | Sequence[str] | None = None,
    split_column: str | None = None,
    label_separator: str = "|",
    multi: bool = False,
    say: Callable[[str], None] = say_to_stderr,
) -> DataReport:
    """Read every image of a data folder, archive or table, and report what is wrong.

    A finding is: a file that cannot be read; images that are in two splits, or twice in
    one (equal bytes); an image under two classes; a flat image (all values within 8 of
    255) and a dark set (nine of ten images without a value above 63); classes of which
    one has ten times the images of another, or that differ between splits, or are
    empty; photographs of a format that is left out.

    Args:
        data: a folder with splits, or with class folders only; an archive of one; or a
            table as `image_table` takes it.
        root: the folder that the paths of a table start from.
        path_column: of a table; None guesses where one answer is possible.
        label_column: the same for the labels.
        split_column: the column of splits; None takes one called "split".
        label_separator: between the labels of a cell with several of them.
        multi: whether an image of a table may have several classes.
        say: called with a line if an archive is unpacked.

    Returns:
        The report; `print` shows it, `as_dict` is for a file.

    Raises:
        ValueError: there is no data folder, archive or table, or it is laid out
            otherwise.

    Example:
        >>> report = tl.check_data("photos")
        >>> report.findings
        ()
        >>> print(report.splits[0])
        train: 12 images in 3 classes: checked_ring 4, dotted_crescent 4, ...
        >>> bad = Path("photos/train/checked_ring/bad.png")
        >>> bad.write_bytes(b"")
        0
        >>> print(tl.check_data("photos"))
        train: 12 images in 3 classes: ...
        finding: train: 1 file cannot be read as an image
          train/checked_ring/bad.png: empty file
        1 finding
        >>> bad.unlink()
    """
    source = find_source(
        data,
        root=root,
        columns=Columns(path_column, label_column, split_column, label_separator),
        multi=multi,
        say=say,
    )
    listings = source.listings
    taken = [listing.subset(100, 0) for listing in listings.values()]
    found = iter(check_images([path for paths, _ in taken for path in paths]))
    counts, images = [], []
    for (name, listing), (paths, labels) in zip(listings.items(), taken, strict=True):
        checked = [next(found) for _ in paths]
        good = [i for i, image in enumerate(checked) if image.reason is None]
        rows = np.asarray(labels)[good]
        counts.append(_counted(name, listing, [checked[i] for i in good], rows))
        images.append(_images(name, listing, checked, good, rows))
    findings = (*_class_findings(source), *inspect(images))
    shown = str(data) if isinstance(data, str | Path) else "a table"
    return DataReport(shown, source.directory, source.naming(), tuple(counts), findings)


def _counted(
    name: str, listing: Listing, images: Sequence[CheckedImage], labels: Any
) -> SplitCount:
    names = listing.class_names
    if labels.ndim == 2:
        totals = labels.sum(axis=0)
    else:
        totals = np.bincount(labels.astype(int), minlength=len(names))
    kinds = Counter(image.kind for image in images if image.kind != RGB)
    treated = Counter(done for image in images for done in image.treatments)
    return SplitCount(
        name,
        len(images),
        {class_name: int(n) for class_name, n in zip(names, totals, strict=True)},
        dict(sorted(kinds.items())),
        dict(sorted(treated.items())),
        listing.left_out,
    )


def _images(
    name: str,
    listing: Listing,
    checked: Sequence[CheckedImage],
    good: Sequence[int],
    labels: Any,
) -> SplitImages:
    names = listing.class_names
    if labels.ndim == 2:
        classes = ["|".join(names[i] for i in np.flatnonzero(row)) for row in labels]
    else:
        classes = [names[label] for label in labels.astype(int)]
    return SplitImages(
        name,
        [checked[i].path for i in good],
        classes,
        [checked[i].digest for i in good],
        np.array([checked[i].levels for i in good], np.uint8).reshape(-1, 2),
        [(x.path, x.reason) for x in checked if x.reason is not None],
        listing.left_out,
    )


def _class_findings(source: Source) -> list[Finding]:
    """Return how classes differ between splits, and which are empty or alone."""
    findings = []
    if "train" in source.listings:
        findings += [
            Finding("classes", tuple(source.listings), f"{text}: classes differ")
            for text in class_differences(source.listings)
        ]
    for name, listing in source.listings.items():
        if not isinstance(listing, Layout):
            continue
        title = name or "images"
        empty = [n for n, images in listing.names.items() if not images]
        if empty:
            text = f"{title}: no image in {listed(empty)}"
            findings.append(Finding("classes", (name,), text))
        if len(listing.names) < 2:
            text = f"{title}: one class only, {listed(listing.names)}"
            findings.append(Finding("classes", (name,), text))
    return findings
