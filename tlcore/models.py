"""Models: input contract, augmentation, backbone and head, put together.

Owns `create_model` and `load_model`. Images enter every model as [0, 255] RGB; the
backbone is frozen and runs in inference mode. Which layers train is decided in
`freezing`; what is optimized, in `training`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

import keras
import numpy as np

from tlcore.arguments import require_one_of, require_path, require_whole
from tlcore.augmentation import Augmentation, create_augmentation
from tlcore.backbones.input_contract import contract_layer
from tlcore.backbones.loading import ImageShape
from tlcore.backbones.preset_network import PresetNetwork, import_keras_hub
from tlcore.backbones.sources import (
    feature_shape,
    frozen_backbone,
    image_shape,
    input_scheme,
    resolve_backbone,
)
from tlcore.hub import model_files
from tlcore.hub.layer import HubLayer
from tlcore.hub.trust import Trust, UntrustedError, consent_of, consenting, current

HEADS = ("pool", "dense")
STYLES = ("functional", "sequential")
MOST_CLASSES = 1_000_000
"""More than any set has; a head for many more would take all memory."""
DENSE_UNITS = 256
"""Width of the hidden layer of the "dense" head, as in the VGG16 tutorial."""

_PROBES, _PROBE_PIXELS = 5, 64
"""Calls that probe an augmentation layer; its images' size where none is fixed."""


def create_model(
    backbone: str | Path | keras.Model | HubLayer,
    num_classes: int,
    *,
    weights: str | Path | None = "imagenet",
    input_shape: ImageShape = (224, 224, 3),
    augmentation: str | keras.Layer | None = None,
    head: str = "pool",
    dropout: float = 0.0,
    style: str = "functional",
    input_contract: str | None = None,
    multi_label: bool = False,
) -> keras.Model:
    """Return a model with a frozen backbone in inference mode and a new head.

    Args:
        backbone: a name from the catalogue; a TF Hub handle, the folder of a SavedModel
            or a `HubLayer`; an image preset of KerasHub, as "kerashub:NAME", or the
            folder of one, or a `keras_hub.models.Backbone`; or a network of your own
            whose output is (n, h, w, channels) or (n, features).
        num_classes: number of outputs; 1 is binary (one sigmoid), more is a softmax.
        weights: for a name from the catalogue: "imagenet", None or a file, as in
            `load_backbone`. A SavedModel brings its own, and a preset too, unless
            None asks for random ones.
        input_shape: (height, width, 3) of the images. A network of your own with a
            fixed input size keeps that size.
        augmentation: None, "tutorial", "photometric", "generator" or a layer of your
            own. It acts in training only, also where a caller of the model leaves
            `training` out: what is exported is what predicts.
        head: "pool" (global average pooling, Dense) or "dense" (Flatten, Dense(256),
            Dense).
        dropout: rate of the Dropout before the last Dense, in [0, 1); 0 leaves it out.
        style: "functional" or "sequential"; the layers are the same in both.
        input_contract: what a network of your own expects: "raw", "signed", "unit",
            "caffe" or "torch"; see `InputContract`. None looks the network's name up
            among those of this package and of `keras.applications`; a network with any
            other name gets [0, 255] RGB. A SavedModel gets [0, 1], as TF Hub's image
            models expect; a preset has its image converter; for a backbone object of
            KerasHub it must be given.
        multi_label: whether an image can have several classes or none. Each output is
            then a sigmoid of its own, and labels are rows of 0 and 1, (n, num_classes).

    Returns:
        A model that is not compiled. It takes images (n, height, width, 3) in [0, 255]
        and returns float32 probabilities (n, num_classes).

    Raises:
        ValueError: a name, number or shape is not one of the above.
        FileNotFoundError: the weights file or the SavedModel does not exist.
        ConnectionError: the weights, the SavedModel or the preset could not be
            downloaded.

    Example:
        >>> model = tl.create_model("sample_net", 3, input_shape=(32, 32, 3))
        >>> [layer.name for layer in model.layers]
        ['image', 'input_contract', 'sample_net', 'pool', 'classifier']
        >>> model.output_shape
        (None, 3)
    """
    _check_options(num_classes, head, dropout, style)
    if multi_label:
        classes = ", the classes that an image can have at the same time"
        require_whole("num_classes", num_classes, least=2, meaning=classes)
    # Random layers draw their seeds when they are created: the stack comes before the
    # backbone, so that one global seed gives the same augmentation with any backbone.
    stack = _augmentation_layer(augmentation)
    network = resolve_backbone(backbone, weights, input_shape, input_contract)
    shape = image_shape(network, input_shape)

    if isinstance(augmentation, keras.Layer):
        _check_acts_in_training_only(stack, augmentation.name, shape)

    activation = "sigmoid" if num_classes == 1 or multi_label else "softmax"
    classifier = (num_classes, activation)
    layers = [
        stack,
        contract_layer(input_contract or input_scheme(network)),
        frozen_backbone(network),
        *_head_layers(feature_shape(network, shape), classifier, head, dropout),
    ]
    stages = [layer for layer in layers if layer is not None]

    inputs = keras.Input(shape, name="image", dtype="float32")
    if style == "sequential":
        return keras.Sequential([inputs, *stages], name="transfer_model")
    outputs = inputs
    for stage in stages:
        outputs = stage(outputs)
    return keras.Model(inputs, outputs, name="transfer_model")


def load_model(
    path: str | Path,
    *,
    custom_objects: Mapping[str, Any] | None = None,
    trust: Trust = False,
) -> keras.Model:
    """Return a model saved as a `.keras` file, compiled as it was.

    `keras.saving.load_model` finds the layers of this package only after they have
    been imported; this function imports them. The optimizer keeps its state, also
    where a model that was saved under mixed precision is loaded under another policy.

    A file from a stranger runs nothing of his: Python code in it (a `Lambda` layer) is
    refused by Keras's `safe_mode`, which stays on, and a SavedModel that it names is
    neither downloaded nor opened without `trust`. A SavedModel whose graph is another
    than when the model was saved is refused before anything of it runs.

    Args:
        path: a file written by `model.save(path)` or by a run.
        custom_objects: layers, losses and functions of your own, by name, that are not
            registered with `keras.saving.register_keras_serializable`.
        trust: which SavedModels (`HubLayer`) in it may be downloaded and run: True for
            all, or a handle or folder, or a list of those.

    Raises:
        ValueError: the file is not a `.keras` file, or it is damaged; it needs a class
            that is not known, holds Python code, or names a SavedModel that is not
            trusted or has changed.
        FileNotFoundError: the file does not exist, or the SavedModel that its backbone
            refers to was moved.
        ConnectionError: a SavedModel that is trusted could not be downloaded.

    Example:
        >>> model = tl.create_model("sample_net", 3, input_shape=(32, 32, 3))
        >>> model.save("model.keras")
        >>> tl.load_model("model.keras").output_shape
        (None, 3)
    """
    path = require_path("path", path)
    if not path.is_file():
        raise FileNotFoundError(
            "path must be a saved model, a .keras file. "
            f"Received: path={str(path)!r}, and there is no such file."
        )
    if not is_zipfile(path):
        raise ValueError(
            "path must be a whole .keras file. "
            f"Received: path={str(path)!r}, which is damaged or of another format. "
            "Save the model again with model.save('model.keras')."
        )
    consent = (trust is False and current()) or consent_of(trust)
    config = model_files.read_config(path)
    known = model_files.by_registered_name(config, custom_objects or {})
    if model_files.holds_class(config, PresetNetwork.__name__):
        import_keras_hub()
    try:
        with consenting(consent), model_files.precision_of(path, config):
            return keras.saving.load_model(path, custom_objects=known)
    except (UntrustedError, FileNotFoundError, ConnectionError):
        raise  # HubLayer's own errors, which name the SavedModel and the remedy
    except Exception as error:
        # Keras builds what the file says, and raises whatever comes of it.
        raise _unreadable(path, config, known, error) from error


def _unreadable(
    path: Path, config: Any, known: Mapping[str, Any], error: Exception
) -> ValueError:
    unknown = model_files.unknown_names(config, known)
    if unknown:
        names = ", ".join(
            f"{name} (of {module!r})" if module else name for name, module in unknown
        )
        given = ", ".join(f"{name!r}: {name}" for name, _ in unknown)
        return ValueError(
            "Every class and function that a model was saved with must be known to "
            f"load it. Received: path={str(path)!r}, with {names}. Import the module "
            "that registers it, or write "
            f"tl.load_model({str(path)!r}, custom_objects={{{given}}})."
        )
    code = model_files.layers_of_code(config)
    if code:
        return ValueError(
            "A model must not bring Python code along: Keras's safe_mode refuses to "
            "run what the writer of a file put into it. "
            f"Received: path={str(path)!r}, with code in {', '.join(map(repr, code))}. "
            "Make it a layer with a class of its own and save the model again; if you "
            "wrote the file yourself, write "
            f"keras.saving.load_model({str(path)!r}, safe_mode=False)."
        )
    if model_files.holds_class(config, "TFSMLayer"):
        return ValueError(
            "A model must not open a SavedModel that its file names: Keras's safe_mode "
            f"refuses its TFSMLayer. Received: path={str(path)!r}. Take tl.HubLayer "
            "instead; if you trust the SavedModel, write "
            f"keras.saving.load_model({str(path)!r}, safe_mode=False)."
        )
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    return ValueError(
        "path must be a whole .keras file of this version of Keras. "
        f"Received: path={str(path)!r}, which cannot be read: {reason}. Save the model "
        "again with model.save('model.keras'), or copy the file again."
    )


def is_multi_label(model: keras.Model) -> bool:
    """Return whether each of several outputs of a model stands for itself.

    That is so where they are sigmoids, or trained with a binary cross-entropy.

    Example:
        >>> options = {"input_shape": (32, 32, 3), "multi_label": True}
        >>> is_multi_label(tl.create_model("sample_net", 3, **options))
        True
    """
    if model.output_shape[-1] == 1:
        return False
    if model.compiled and "binary" in _loss_name(model.loss):
        return True
    last = model.layers[-1]
    return getattr(last, "activation", None) is keras.activations.sigmoid


def _loss_name(loss: Any) -> str:
    name = loss if isinstance(loss, str) else getattr(loss, "__name__", None)
    return str(name or type(loss).__name__).lower()


def _check_options(num_classes: int, head: str, dropout: float, style: str) -> None:
    require_whole("num_classes", num_classes, least=1, meaning=" (binary)")
    require_whole("num_classes", num_classes, most=MOST_CLASSES)
    require_one_of("head", head, HEADS)
    require_one_of("style", style, STYLES)
    if not (isinstance(dropout, int | float) and 0 <= dropout < 1):
        raise ValueError(
            f"dropout must be a rate in [0, 1). Received: dropout={dropout!r}."
        )


def _augmentation_layer(augmentation: str | keras.Layer | None) -> keras.Layer | None:
    if augmentation is None or isinstance(augmentation, Augmentation):
        return augmentation
    if isinstance(augmentation, keras.Layer):
        # A layer that is called without `training` takes its own default, which is
        # True for those of Keras; the stack around it says False.
        return Augmentation([augmentation], name="augmentation")
    return create_augmentation(augmentation)


def _check_acts_in_training_only(stack: Any, name: str, shape: Any) -> None:
    """Refuse a layer of the user's own that is random outside training too."""
    shape = (2, *(n or _PROBE_PIXELS for n in shape))
    images = np.random.default_rng(0).uniform(0, 255, shape).astype("float32")
    # One call may draw by chance what another one drew, five hardly do.
    outputs = {
        keras.ops.convert_to_numpy(stack(images, training=False)).tobytes()
        for _ in range(_PROBES)
    }
    if len(outputs) > 1:
        raise ValueError(
            "Augmentation must act in training only. Received: "
            f"augmentation={name!r}, which is random in inference mode too. Give its "
            "call the argument, def call(self, images, training=False), and return "
            "the images as they are unless training."
        )


def _head_layers(
    features: tuple[Any, ...],
    classifier: tuple[int, str],
    head: str,
    dropout: float,
) -> list[keras.Layer]:
    layers = keras.layers
    pooled = len(features) == 2
    stages: list[keras.Layer] = []
    if head == "pool" and not pooled:
        stages.append(layers.GlobalAveragePooling2D(name="pool"))
    if head == "dense":
        stages.append(layers.Flatten(name="flatten"))
        stages.append(layers.Dense(DENSE_UNITS, activation="relu", name="hidden"))
    if dropout:
        stages.append(layers.Dropout(dropout, name="dropout"))
    num_classes, activation = classifier
    # A float16 softmax underflows, and the loss with it: Keras's guide to mixed
    # precision keeps the last layer in float32.
    stages.append(
        layers.Dense(
            num_classes, activation=activation, dtype="float32", name="classifier"
        )
    )
    return stages
