"""Ranking: which backbone suits some photographs, before anything is trained.

Owns `rank`: one pass of each backbone over the training images, whose outputs are kept,
and the accuracy of a linear probe by cross-validation. Test and validation images are
not read: whoever chooses a backbone by them has none left to judge it by.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tlcore.arguments import counted, require_whole
from tlcore.backbones.catalogue import find_entry, is_preset_handle
from tlcore.data.decoded import DecodedImages
from tlcore.data.image_folder import ImageFolder, open_folders
from tlcore.data.layout import Layout, check_classes
from tlcore.data.options import folder_options
from tlcore.data.sources import WHOLE, find_source, say_to_stderr
from tlcore.runs.recipes import IMAGENET
from tlcore.terminal.progress import PassProgress

if TYPE_CHECKING:
    import keras

    from tlcore.evaluation import Estimate

BATCH_IMAGES = 32
"""Images in a batch of the pass."""
_PRESET_PIXELS = 224
"""Of a preset of KerasHub that takes images of any size."""


@dataclass(frozen=True)
class Ranked:
    """A backbone, and how well a linear head does on its features.

    Attributes:
        backbone: its name.
        accuracy: of the linear probe, on images that it was not fitted to.
        worse: whether it is worse than the best one beyond chance; None for the best.
        image_size: height and width of the images, in pixels.
        seconds: of the pass over all images; None if features were found in the cache.
        params: how many it has.
        megabytes: the size of its weights.
        features: the length of its feature vector.
    """

    backbone: str
    accuracy: "Estimate"
    worse: bool | None
    image_size: int
    seconds: float | None
    params: int
    megabytes: float
    features: int

    def as_dict(self) -> dict[str, Any]:
        """Return the fields by name, for a JSON file."""
        return asdict(self)


def rank(
    data: Any,
    backbones: Sequence[str],
    *,
    weights: str | Mapping[str, str | Path] = IMAGENET,
    image_size: int | None = None,
    folds: int = 5,
    percent: float = 100,
    seed: int = 42,
    root: str | Path | None = None,
    skip_bad: bool = False,
    cache: str | Path = "auto",
    workers: int = 1,
    say: Callable[[str], None] = say_to_stderr,
    progress: PassProgress | None = None,
) -> tuple[Ranked, ...]:
    """Return backbones by the accuracy of a linear head on their features.

    Each backbone runs once per image. The images are divided into folds, stratified by
    class and with all copies of an image in one; each fold is predicted by a ridge
    classifier that was fitted to the others.

    Args:
        data: as `check_data` takes it; of a folder with splits only `train` is read.
        backbones: names of the catalogue, or presets of KerasHub.
        weights: "imagenet" or "none" for all of them, or a file for some by name.
        image_size: height and width, in pixels; by default each backbone's own.
        folds: how many parts the images are divided into.
        percent: how much of each class to take.
        seed: of the folds and of the part.
        root: the folder that the paths of a table start from.
        skip_bad: leave out images that cannot be read, instead of raising.
        cache: where features are stored, as in `fit`; not "off".
        workers: as in `fit`.
        say: called with a line about each backbone.
        progress: called with the name of a backbone, the number of images done and of
            all images; None shows nothing.

    Returns:
        The backbones, the best first. `worse` is the exact test of McNemar (1947) on
        the images that one of the two has wrong, at 5 % divided by the number of
        comparisons.

    Raises:
        ValueError: an option is wrong, data and backbones do not fit, a class has fewer
            images than folds, or features are too many for memory.
        FileNotFoundError: there is no such weights file.
        ConnectionError: "imagenet" could not be downloaded.

    Example:
        >>> (best,) = tl.rank("photos", ["sample_net"], image_size=32, folds=2)
        >>> best.backbone, best.accuracy.n, best.features
        ('sample_net', 12, 128)
    """
    from tlcore.caching.feeds import OFF, cache_options

    names = _checked(backbones, weights)
    require_whole("folds", folds, least=2)
    if image_size is not None:
        require_whole("image_size", image_size, least=1, meaning=" pixels")
    if cache == OFF:
        raise ValueError(
            'Backbones are ranked on stored features. Received: cache="off". Leave '
            "cache out, or name a folder."
        )
    sizes = {name: image_size or _own_size(name) for name in names}
    folder = _training_images(
        data, sizes[names[0]], percent, seed, root=root, skip_bad=skip_bad, say=say
    )
    parts = _parts(folder, folds, seed)
    # All are built before the first pass: what is missing must not cost an hour.
    models = {
        name: _model(name, weights, folder.num_classes, sizes[name]) for name in names
    }
    found = []
    for name in names:
        model = models.pop(name)
        options = cache_options(cache, None, workers, progress)
        row, right = _probed(name, model, folder, parts, options)
        say(f"{name}: {row.accuracy}")
        found.append((row, right))
    return _ordered(found)


def _checked(
    backbones: Sequence[str], weights: str | Mapping[str, str | Path]
) -> list[str]:
    if isinstance(backbones, str) or not backbones:
        raise ValueError(
            "backbones must be a list of names: of the catalogue, or kerashub:PRESET. "
            f"Received: backbones={backbones!r}."
        )
    twice = sorted({name for name in backbones if list(backbones).count(name) > 1})
    if twice:
        raise ValueError(
            f"Each backbone must be named once. Received: {', '.join(twice)} twice."
        )
    for name in backbones:
        if not is_preset_handle(name):
            find_entry(name)
    unknown = set() if isinstance(weights, str) else weights.keys() - set(backbones)
    if unknown:
        raise ValueError(
            "weights must be files of the backbones that are ranked. Received: weights "
            f"of {', '.join(sorted(unknown))}. Add them to backbones."
        )
    return list(backbones)


def _own_size(name: str) -> int:
    """Return the size for a backbone's images; a preset of a fixed size keeps that."""
    return _PRESET_PIXELS if is_preset_handle(name) else find_entry(name).contract.size


def _training_images(
    data: Any,
    size: int,
    percent: float,
    seed: int,
    *,
    root: str | Path | None,
    skip_bad: bool,
    say: Callable[[str], None],
) -> ImageFolder:
    source = find_source(data, root=root, say=say)
    listing = source.listings.get("train") or source.listings[WHOLE]
    if isinstance(listing, Layout):
        check_classes(listing)
    options = folder_options(
        image_size=size,
        batch_size=BATCH_IMAGES,
        label_mode="int",
        percent=percent,
        shuffle=False,
        seed=seed,
    )
    (folder,) = open_folders([(listing, options)], skip_bad=skip_bad)
    say(f"train: {folder.notes()}")
    return folder


def _parts(folder: ImageFolder, folds: int, seed: int) -> NDArray[np.int64]:
    """Return the fold of each image: stratified, with all copies of one together."""
    from sklearn.model_selection import StratifiedGroupKFold

    # Copies are in one fold, and count as one.
    different = set(zip(folder.labels.tolist(), folder.digests, strict=True))
    labels = [label for label, _ in different]
    counts = np.bincount(labels, minlength=folder.num_classes)
    if counts.min() < folds:
        least = folder.class_names[int(counts.argmin())]
        raise ValueError(
            "Each class needs an image in every fold. Received: "
            f"folds={folds} with {counted(int(counts.min()), 'image')} of {least!r}, "
            "copies counted once. Add images, or ask for fewer folds."
        )
    divided = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    parts = np.zeros(folder.num_images, np.int64)
    rows = np.zeros((folder.num_images, 1))
    for number, (_, out) in enumerate(
        divided.split(rows, folder.labels, groups=folder.digests)
    ):
        parts[out] = number
    return parts


def _model(
    name: str, weights: str | Mapping[str, str | Path], classes: int, size: int
) -> "keras.Model":
    from tlcore.freezing import freeze
    from tlcore.models import create_model

    given = weights if isinstance(weights, str) else weights.get(name, IMAGENET)
    model = create_model(
        name,
        max(classes, 2),
        weights=None if given == "none" else given,
        input_shape=(size, size, 3),
    )
    freeze(model)
    return model


def _probed(
    name: str,
    model: "keras.Model",
    folder: ImageFolder,
    parts: NDArray[np.int64],
    options: Any,
) -> tuple[Ranked, NDArray[np.bool_]]:
    """Return what is known of a backbone, and which images its probe has right."""
    from tlcore.evaluation import proportion
    from tlcore.freezing import find_backbone
    from tlcore.runs.linear_probe import cross_validated, feature_table

    size = model.input_shape[1:3]
    if folder.image_size != size:
        folder = replace(folder, image_size=size, decoded=DecodedImages())
    done: list[int] = []

    def counting(_pass: str, images: int, total: int) -> None:
        done.append(images)
        if options.progress is not None:
            options.progress(name, images, total)

    begun = time.perf_counter()
    table = feature_table(model, folder, replace(options, progress=counting))
    seconds = time.perf_counter() - begun
    if table is None:
        raise ValueError(
            "Features must fit into memory and the cache to be ranked. Received: "
            f"those of {name} for {folder.num_images} images. Take a part: percent=10."
        )
    right = cross_validated(table, folder.labels, parts) == folder.labels
    backbone = find_backbone(model)[1]
    row = Ranked(
        name,
        proportion(int(right.sum()), len(right)),
        None,
        size[0],
        seconds if done and done[-1] == folder.num_images else None,
        int(backbone.count_params()),
        sum(math.prod(w.shape) * _bytes(w.dtype) for w in backbone.weights) / 1e6,
        table.shape[1],
    )
    return row, right


def _bytes(dtype: str) -> int:
    return 2 if "16" in str(dtype) else np.dtype(str(dtype)).itemsize


def _ordered(
    found: Sequence[tuple[Ranked, NDArray[np.bool_]]],
) -> tuple[Ranked, ...]:
    """Return the best first, and say which others are worse beyond chance."""
    from tlcore.choosing.selection import worse_than_best

    ordered = sorted(found, key=lambda x: (-x[0].accuracy.value, x[0].params))
    (best, best_right), *others = ordered
    worse = worse_than_best(best_right, [right for _, right in others])
    rest = (replace(row, worse=w) for (row, _), w in zip(others, worse, strict=True))
    return best, *rest
