"""Predicting: a model run over many images, labelled or not.

Owns `predict`, the forms of data that it takes, and how outputs become probabilities.
Layers that are cached run on their features, as in `evaluate`.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeGuard

import keras
import numpy as np
from numpy.typing import NDArray

from tlcore.arguments import counted
from tlcore.caching.data_feeds import read_whole
from tlcore.caching.feeds import AUTO, CacheOptions, cache_options
from tlcore.caching.redirection import CutModel
from tlcore.checks import check_data
from tlcore.data.contents import VALUE_RANGES
from tlcore.data.failures import as_raised
from tlcore.data.formats import NAMES
from tlcore.data.images import CheckedImage, check_images, read_checked_image
from tlcore.data.labels import class_indices
from tlcore.data.reading import DEFAULT, Reading
from tlcore.data.spec import Data, DataSpec
from tlcore.evaluation import check_probabilities, decision_threshold, gives_logits
from tlcore.models import is_multi_label
from tlcore.predictions.values import Predictions
from tlcore.terminal.progress import PassProgress

BATCH_IMAGES = 32
"""Images of a list of files that are in memory at a time."""


@as_raised()
def predict(
    model: keras.Model,
    data: "Data | NDArray[Any] | Sequence[str | Path]",
    *,
    class_names: Sequence[str] | None = None,
    cache: str | Path = AUTO,
    workers: int = 1,
    value_range: str = VALUE_RANGES[0],
    progress: PassProgress | None = None,
) -> Predictions:
    """Return what a classifier says of each image, next to the truth where it is known.

    Args:
        model: outputs (n, classes) or (n, 1): probabilities, or the logits that its
            loss takes.
        data: images in [0, 255] with labels, in a form that `fit` takes; or without
            them: an array (n, height, width, channels), or a list of image files.
        class_names: the names of the classes, in the order of the outputs; by default
            those of the folder, else "class 0", "class 1" and so on.
        cache: as in `fit`.
        workers: as in `fit`.
        value_range: as in `fit`.
        progress: as in `fit`, called with "data"; None shows nothing.

    Returns:
        The predictions, in the order of the paths of an image folder, of the array or
        list, or of the batches of a dataset.

    Raises:
        ValueError: data and model disagree, there is no data, or an image cannot be
            read.
        FloatingPointError: an output is NaN.

    Example:
        >>> test = tl.image_folder("photos/test", image_size=32)
        >>> model = tl.create_model("sample_net", 3, input_shape=(32, 32, 3))
        >>> found = tl.predict(model, test)
        >>> found.probabilities.shape, found.accuracy.n
        ((30, 3), 30)
        >>> tl.predict(model, test.paths[:2]).truth is None
        True
    """
    options = cache_options(cache, None, workers, progress)
    if _are_files(data):
        size, checked = model.input_shape[1:3], checked_files(data)
        outputs = file_outputs(model, checked, size)
        paths = tuple(image.path for image in checked)
        return predictions_of(model, outputs, class_names, paths=paths)
    labelled = not hasattr(data, "ndim")
    if not labelled:
        data = data, _placeholders(model, len(data))
    spec = DataSpec.of(data, "data")
    check_data(model, spec, value_range=value_range)
    outputs, truth = _read(model, spec, options)
    folder = spec.folder
    in_files = folder is not None and not hasattr(folder, "images")
    return predictions_of(
        model,
        outputs,
        class_names or spec.class_names,
        truth=truth if labelled else None,
        paths=tuple(folder.paths) if folder is not None and in_files else None,
    )


def predictions_of(
    model: keras.Model,
    outputs: NDArray[Any],
    class_names: Sequence[str] | None,
    *,
    truth: NDArray[Any] | None = None,
    paths: tuple[str, ...] | None = None,
) -> Predictions:
    """Return the outputs of a model as predictions.

    Args:
        model: it says whether outputs are logits, and where its threshold is.
        outputs: (n, classes) or (n, 1).
        class_names: None numbers the classes.
        truth: as in `Predictions`.
        paths: as in `Predictions`.

    Raises:
        ValueError: there is not one name per class, or outputs are no probabilities.
        FloatingPointError: an output is NaN.
    """
    several, single = is_multi_label(model), outputs.shape[1] == 1
    threshold = decision_threshold(model) if several or single else None
    probabilities = np.asarray(outputs, np.float64)
    if np.isnan(probabilities).any():
        raise FloatingPointError(
            "A model must return numbers to predict. Received: "
            f"model={model.name!r}, whose output is NaN for "
            f"{int(np.isnan(probabilities).any(axis=1).sum())} of {len(outputs)} "
            "images. Train it again with a lower learning rate."
        )
    if gives_logits(model):
        probabilities = _from_logits(probabilities, by_column=several or single)
        if threshold is not None:
            threshold = float(_from_logits(np.array([threshold]), by_column=True)[0])
    else:
        check_probabilities(model, probabilities)
    if single:
        probabilities = np.concatenate([1 - probabilities, probabilities], axis=1)
    count = probabilities.shape[1]
    names = tuple(class_names or (f"class {i}" for i in range(count)))
    if len(names) != count:
        raise ValueError(
            f"class_names must name every class of the model, {count}. "
            f"Received: {counted(len(names), 'name')}: {', '.join(names)}."
        )
    return Predictions(names, probabilities, truth, paths, threshold, several)


def checked_files(
    paths: Sequence[str | Path], reading: Reading = DEFAULT
) -> list[CheckedImage]:
    """Return image files that were read once, whole.

    Raises:
        ValueError: some cannot be read; all of them are named.
    """
    checked = check_images([str(path) for path in paths], reading)
    bad = [f"{image.path} ({image.reason})" for image in checked if image.reason]
    if bad:
        raise ValueError(
            f"Images must be whole {NAMES} files. Received: {', '.join(bad)}. Replace "
            "them or leave them out."
        )
    return checked


def file_outputs(
    model: keras.Model,
    checked: Sequence[CheckedImage],
    size: tuple[int, int],
    reading: Reading = DEFAULT,
    *,
    progress: PassProgress | None = None,
) -> NDArray[Any]:
    """Return the outputs of a model for image files, read some at a time.

    Args:
        model: takes images in [0, 255].
        checked: the files, at least one.
        size: (height, width) to resize to, in pixels.
        reading: how they are read.
        progress: called with "data", the number of images done and of all.

    Raises:
        ValueError: a file has changed since it was checked.
    """
    found, done = [], 0
    for images in read_files(checked, size, reading):
        found.append(model.predict_on_batch(images))
        done += len(images)
        if progress is not None:
            progress("data", done, len(checked))
    return np.concatenate(found)


def read_files(
    checked: Sequence[CheckedImage],
    size: tuple[int, int],
    reading: Reading = DEFAULT,
) -> Iterator[NDArray[np.float32]]:
    """Yield batches of images, (n, height, width, 3) float32 in [0, 255].

    Args:
        checked: the files.
        size: (height, width) to resize to, in pixels.
        reading: how they are read.

    Raises:
        ValueError: a file has changed since it was checked.
    """
    for start in range(0, len(checked), BATCH_IMAGES):
        some = checked[start : start + BATCH_IMAGES]
        images = [
            read_checked_image(image.path, image.digest, size, reading)
            for image in some
        ]
        yield np.stack(images).astype(np.float32)


def _are_files(data: Any) -> TypeGuard[Sequence[str | Path]]:
    """Return whether data is a list of paths."""
    return (
        isinstance(data, list | tuple)
        and len(data) > 0
        and all(isinstance(path, str | Path) for path in data)
    )


def _placeholders(model: keras.Model, count: int) -> NDArray[Any]:
    """Return labels that fit a model, for images that have none."""
    if is_multi_label(model):
        return np.zeros((count, model.output_shape[-1]), np.float32)
    return np.zeros(count, np.int64)


def _read(
    model: keras.Model, spec: DataSpec, options: CacheOptions
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the outputs for all images of a dataset, and their truth."""
    outputs, truths = [], []
    with read_whole(model, spec, options) as feed:
        runner = CutModel(model, feed.side)
        for inputs, labels, *_ in feed.data:  # *_ are sample weights
            outputs.append(np.asarray(runner.predict_on_batch(inputs)))
            truths.append(keras.ops.convert_to_numpy(labels))
    if not outputs:
        raise ValueError(
            "There must be data to predict. Received: a dataset without a batch."
        )
    found, truth = np.concatenate(outputs), np.concatenate(truths)
    if spec.folder is not None:
        # A feed reads a folder sorted; its paths are in the order of the first epoch.
        found, truth = found[spec.folder.place], truth[spec.folder.place]
    return found, truth > 0.5 if is_multi_label(model) else class_indices(truth)


def _from_logits(logits: NDArray[Any], *, by_column: bool) -> NDArray[np.float64]:
    """Return the sigmoid of each logit, or the softmax of each row."""
    if by_column:
        return np.asarray(np.exp(-np.logaddexp(0, -logits)))
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))
