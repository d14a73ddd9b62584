"""Prediction: what a trained classifier says of given images, or of a folder of them.

Owns the predictor, a classifier with the labels of its outputs: either a backbone of
the catalogue with its own classifier, or the model that a run trained. It trains
nothing and prints nothing. What predictions are worth is in the wing `predictions`.
"""

import socket
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from tlcore.arguments import require_whole
from tlcore.backbones.catalogue import find_entry, is_hub_handle
from tlcore.backbones.input_contract import contract_layer
from tlcore.backbones.loading import load_classifier
from tlcore.data.images import CheckedImage, check_images
from tlcore.data.reading import DEFAULT, Reading
from tlcore.hub.handles import absolute
from tlcore.hub.trust import Consent, Trust, consenting
from tlcore.models import load_model
from tlcore.predictions.folders import list_images
from tlcore.predictions.predicting import checked_files, file_outputs, predictions_of
from tlcore.predictions.values import Predictions
from tlcore.runs.label_files import read_labels
from tlcore.runs.run import Run, read_run
from tlcore.terminal.progress import PassProgress


@dataclass(frozen=True)
class Predictor:
    """A classifier with its labels.

    Attributes:
        model: from RGB images in [0, 255] to probabilities.
        labels: the name of each class, in the order of the outputs.
        reading: how images are read; as in training, for the model of a run.
        folders: the name of each class's folder, where that is not its label.
    """

    model: keras.Model
    labels: tuple[str, ...]
    reading: Reading = DEFAULT
    folders: tuple[str, ...] = ()

    def predict(
        self, images: Sequence[str | Path], *, top: int = 5
    ) -> dict[str, list[dict[str, Any]]]:
        """Return the `top` labels of each image file, the most probable first.

        Args:
            images: paths of image files.
            top: the number of labels for each.

        Returns:
            For each path a list of {"label", "probability"}.

        Raises:
            ValueError: `top` is below 1, or images cannot be read; all are named.

        Example:
            >>> model = tl.create_model("sample_net", 3, input_shape=(32, 32, 3))
            >>> predictor = Predictor(model, ("a", "b", "c"))
            >>> image = next(Path("photos/test").rglob("*.png"))
            >>> guesses = predictor.predict([image], top=2)
            >>> [sorted(guess) for guess in guesses[str(image)]]
            [['label', 'probability'], ['label', 'probability']]
        """
        require_whole("top", top, least=1)
        if not images:
            return {}
        checked = checked_files(images, self.reading)
        found = self._said(checked, tuple(image.path for image in checked))
        guesses = {}
        for image, row in zip(checked, found.probabilities, strict=True):
            best = np.argsort(-row, kind="stable")[:top]
            guesses[image.path] = [
                {"label": self.labels[i], "probability": float(row[i])} for i in best
            ]
        return guesses

    def predict_folder(
        self, directory: str | Path, *, progress: PassProgress | None = None
    ) -> Predictions:
        """Return what the classifier says of the images of a folder.

        Folders named as the classes give the truth. Images that cannot be read are
        listed in `problems`; the others are predicted.

        Args:
            directory: holds images, or one folder per class.
            progress: called with "data", the number of images done and of all.

        Raises:
            ValueError: there is no image that can be read, or the folder is refused as
                by `list_images`.

        Example:
            >>> model = tl.create_model("sample_net", 3, input_shape=(32, 32, 3))
            >>> names = tuple(sorted(x.name for x in Path("photos/test").iterdir()))
            >>> found = Predictor(model, names).predict_folder("photos/test")
            >>> len(found), found.truth.shape
            (30, (30,))
        """
        listed = list_images(directory, self.folders or self.labels)
        checked = check_images(listed.paths, self.reading)
        problems = {x.path: x.reason for x in checked if x.reason is not None}
        good = [i for i, image in enumerate(checked) if image.reason is None]
        if not good:
            (path, reason), *_ = problems.items()
            raise ValueError(
                "There must be an image that can be read. Received: "
                f"{str(directory)!r} with {len(problems)}, none of which can, such as "
                f"{path} ({reason})."
            )
        truth = listed.truth
        found = self._said(
            [checked[i] for i in good],
            tuple(checked[i].path for i in good),
            truth=None if truth is None else np.array([truth[i] for i in good]),
            progress=progress,
        )
        return replace(found, problems=problems, left_out=listed.left_out)

    def _said(
        self,
        checked: Sequence[CheckedImage],
        paths: tuple[str, ...],
        *,
        truth: NDArray[Any] | None = None,
        progress: PassProgress | None = None,
    ) -> Predictions:
        size = self.model.input_shape[1:3]
        outputs = file_outputs(
            self.model, checked, size, self.reading, progress=progress
        )
        return predictions_of(
            self.model, outputs, self.labels, truth=truth, paths=paths
        )


def load_predictor(
    backbone: str,
    *,
    weights: str | Path = "imagenet",
    labels: str | Path | None = None,
    reading: Reading = DEFAULT,
) -> Predictor:
    """Return a predictor from a backbone with its own classifier.

    Args:
        backbone: a name of the catalogue.
        weights: of the backbone and its classifier: "imagenet" or a file.
        labels: a file of labels, as `read_labels` takes it, by the numbers of the
            outputs; by default "class 0", "class 1", ...
        reading: how images are read.

    Raises:
        ValueError: there is no such backbone, its weights do not fit, or the number of
            labels is not the number of outputs.
        FileNotFoundError: there is no such weights file.
        ConnectionError: "imagenet" could not be downloaded.
    """
    model = _classifier_with_contract(backbone, weights)
    numbers = [str(i) for i in range(model.output_shape[-1])]
    own = tuple(f"class {i}" for i in numbers)
    return _labelled(model, own, labels, reading, folders=numbers)


def load_run_predictor(
    run: str | Path, *, labels: str | Path | None = None, trust: Trust = False
) -> Predictor:
    """Return a predictor from the model that a run trained.

    The SavedModel that a run of this machine was trained on is opened as it was then,
    if it is still here and only computes; it is not downloaded again.

    Args:
        run: the run's folder.
        labels: a file of labels, as `read_labels` takes it, by the names of the class
            folders; by default these names.
        trust: which SavedModels its model may open, as in `load_model`; needed for a
            run of another machine.

    Raises:
        ValueError: there is no such run, it is not done, the number of labels is not
            the number of classes, or its model names a SavedModel that is not trusted.
    """
    model, own, reading = _load_run(Path(run), trust)
    return _labelled(model, own, labels, reading, folders=own)


def _labelled(
    model: keras.Model,
    own: tuple[str, ...],
    labels: str | Path | None,
    reading: Reading = DEFAULT,
    *,
    folders: Sequence[str] | None = None,
) -> Predictor:
    names = own if labels is None else read_labels(Path(labels), folders or own)
    outputs = max(model.output_shape[-1], 2)  # one sigmoid stands for two classes
    if len(names) != outputs:
        raise ValueError(
            f"There must be one label per class, {outputs}. "
            f"Received: {len(names)} labels from {str(labels or 'run.json')!r}."
        )
    return Predictor(model, names, reading, tuple(folders or own))


def _load_run(path: Path, trust: Trust) -> tuple[keras.Model, tuple[str, ...], Reading]:
    run = read_run(path)
    file = run.path / "model.keras"
    status = run.document["status"]
    if status != "done" or not file.is_file():
        lacks = "" if file.is_file() else " and no model.keras"
        raise ValueError(
            "A run must be done to predict with it. "
            f"Received: run={str(path)!r}, with status {status!r}{lacks}. Go on with "
            "it (`tlcore run --resume`), or run its recipe again."
        )
    if trust is not False:
        model = load_model(file, trust=trust)
    else:
        with consenting(_consent_of_run(run)):
            model = load_model(file)
    return model, run.class_names, run.image_reading


def _consent_of_run(run: Run) -> Consent:
    """Return what whoever trained a run here has consented to by doing so."""
    document = run.document
    backbone = document.get("recipe", {}).get("backbone")
    host = document.get("process", {}).get("host")
    trusted: frozenset[str] = frozenset()
    if backbone and host == socket.gethostname() and is_hub_handle(backbone):
        trusted = frozenset({absolute(backbone)})
    return Consent(trusted, download=False, operations=False)


def _classifier_with_contract(backbone: str, weights: str | Path) -> keras.Model:
    entry = find_entry(backbone)
    network = load_classifier(backbone, weights=weights)
    inputs = keras.Input(network.input_shape[1:], name="image", dtype="float32")
    contract = contract_layer(entry.contract.scheme)
    ranged = inputs if contract is None else contract(inputs)
    return keras.Model(inputs, network(ranged), name=f"{backbone}_as_is")
