"""Checks: everything that `fit` and `evaluate` refuse before the first step.

Owns what a model, its data and its callbacks must be for a run to mean what its code
says, and `DataSpec`, which asks a dataset once what it contains. Nothing is compiled,
trained or changed here. Checks of a single number or name are in `arguments`.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import keras
import numpy as np

from tlcore.arguments import did_you_mean, few, require_whole
from tlcore.data.image_folder import ImageFolder
from tlcore.data.selection import why_test_data
from tlcore.freezing import child_layers, find_backbone, layer_tree

Data = Any
"""An `ImageFolder`, a `tf.data.Dataset` or a `keras.utils.PyDataset` of batches."""

_INFINITE = -1
"""What `tf.data` reports as the cardinality of a dataset that repeats forever."""


@dataclass(frozen=True, eq=False)
class DataSpec:
    """What a dataset contains. It is asked once; all checks read the answers.

    Attributes:
        data: the image folder or dataset itself.
        name: the argument it was passed as, such as "train".
        image_shape: (height, width, channels), None where a size is not fixed.
        label_shape: the shape of one label: () for an index, (columns,) otherwise.
        batches: number of batches, None where it is unknown or unbounded.
        unbounded: whether the data never ends.
        class_names: the names of the classes, None where they are unknown.

    Example:
        >>> train = tl.image_folder("photos/train", image_size=32, batch_size=4)
        >>> spec = DataSpec.of(train, "train")
        >>> spec.image_shape, spec.label_shape, spec.batches
        ((32, 32, 3), (3,), 3)
    """

    data: Data
    name: str
    image_shape: tuple[int | None, ...]
    label_shape: tuple[int | None, ...]
    batches: int | None
    unbounded: bool = False
    class_names: tuple[str, ...] | None = None

    @classmethod
    def of(cls, data: "Data | DataSpec", name: str) -> "DataSpec":
        """Return what `data` contains; a spec is returned as it is.

        Raises:
            ValueError: it is neither an image folder nor a dataset of batches.
        """
        # `feature_extract` needs the labels' shape to compile and hands its spec on to
        # `fit`: item 0 of a PyDataset may cost a download or a second of augmentation.
        if isinstance(data, DataSpec):
            return data
        if isinstance(data, ImageFolder):
            columns = {"categorical": data.num_classes, "binary": 1}
            width = columns.get(data.label_mode)
            return cls(
                data,
                name,
                image_shape=(*data.image_size, 3),
                label_shape=() if width is None else (width,),
                batches=len(data),
                class_names=data.class_names,
            )
        images, labels = _batch_shapes(data)
        count = int(data.cardinality()) if hasattr(data, "cardinality") else None
        return cls(
            data,
            name,
            image_shape=images,
            label_shape=labels,
            batches=None if count is None or count < 0 else count,
            unbounded=count == _INFINITE,
        )

    @property
    def folder(self) -> ImageFolder | None:
        """Return the image folder, None if the data is a dataset."""
        return self.data if isinstance(self.data, ImageFolder) else None


def _batch_shapes(
    data: Data,
) -> tuple[tuple[int | None, ...], tuple[int | None, ...]]:
    """Return the shapes of one image and one label of a dataset."""
    spec = getattr(data, "element_spec", None)
    if spec is None and isinstance(data, keras.utils.PyDataset):
        spec = data[0]  # a PyDataset declares no shapes
    parts = spec[:2] if isinstance(spec, tuple) else ()
    if len(parts) < 2 or not all(hasattr(part, "shape") for part in parts):
        raise ValueError(
            "Data must be an image folder, or a tf.data.Dataset or PyDataset of "
            f"batches (images, labels). Received: {type(data).__name__}."
        )
    images, labels = (tuple(part.shape)[1:] for part in parts)
    return images, labels


def check_epochs(
    epochs: int, initial_epoch: int, steps_per_epoch: int | None, validation_freq: int
) -> None:
    """Refuse counts of epochs and steps with which nothing is trained.

    Raises:
        ValueError: one of them is not a whole number or is out of range.
    """
    first = ", the index of the first epoch"
    require_whole("initial_epoch", initial_epoch, least=0, meaning=first)
    end = ", the index after the last epoch"
    require_whole("epochs", epochs, least=initial_epoch + 1, meaning=end)
    if steps_per_epoch is not None:
        require_whole("steps_per_epoch", steps_per_epoch, least=1)
    require_whole("validation_freq", validation_freq, least=1)


# The model


def require_backbone(model: keras.Model) -> None:
    """Refuse a model that has no backbone layer.

    Raises:
        ValueError: it has none.
    """
    holder, _ = find_backbone(model)
    if holder is model:
        raise ValueError(
            "A phase of transfer learning needs a backbone and a head. Received: "
            f"model={model.name!r}, without a backbone layer. Build it with "
            "create_model(backbone, num_classes), which takes a keras.Model too."
        )


def check_model(model: keras.Model) -> None:
    """Refuse a model whose `fit` would not train what its flags say.

    Raises:
        ValueError: its `trainable` flags contradict each other or differ from those
            at `compile`, it is not compiled, or none of its weights trains.
    """
    check_flags(model)
    check_compiled(model)
    if not model.trainable_variables:
        raise ValueError(
            "A model must have a weight that trains. Received: "
            f"model={model.name!r}, frozen throughout. Unfreeze a layer or add a head."
        )


def check_flags(model: keras.Model) -> None:
    """Refuse a model in which a layer is trainable inside a frozen parent.

    Raises:
        ValueError: a layer's `trainable` is True inside a layer where it is False. The
            parent counts none of its weights as trainable, yet a model around both may
            train them, without a warning.
    """
    for parent in layer_tree([model]):
        if parent.trainable:
            continue
        stray = [
            x.name
            for x in layer_tree(child_layers(parent))
            if x.trainable and x.weights
        ]
        if stray:
            raise ValueError(
                "A layer can train only if every layer around it is trainable. "
                f"Received: {parent.name}.trainable=False around {few(stray)} with "
                "trainable=True. Call freeze(model) or unfreeze(model, last=N), which "
                "set both."
            )


def check_compiled(model: keras.Model) -> None:
    """Refuse a compiled model whose `trainable` flags changed since `compile`.

    Keras would keep training what it was compiled for, without a warning.

    Raises:
        ValueError: the model is not compiled, or its flags changed since.
    """
    if not model.compiled:
        raise ValueError(
            "A model must be compiled before it is fitted. Received: "
            f"model={model.name!r}, not compiled. Call model.compile(...), or "
            "feature_extract and fine_tune, which compile."
        )
    changed = _changed_since_compile(model)
    if changed:
        raise ValueError(
            "The trainable flags must be those the model was compiled with. "
            f"Received: {few(changed)} changed after compile. Call "
            "model.compile(...) again, or feature_extract and fine_tune, which do."
        )


def _changed_since_compile(model: keras.Model) -> list[str]:
    # Keras >= 3.15 keeps the flags of `compile`. Before that only the optimizer knows:
    # it fixes its list of variables at the first step, so that a change before that
    # step cannot be seen, and does no harm.
    state = getattr(model, "_compiled_trainable_state", None)
    changed = []
    if state is not None:
        changed = [
            x.name
            for x in layer_tree([model])
            if state.get(x, x.trainable) != x.trainable
        ]
    if not changed and model.optimizer.built:
        known = {id(v) for v in _optimized(model.optimizer)}
        now = {id(v): v.path for v in model.trainable_variables}
        then = {id(v): v.path for v in model.variables if id(v) in known}
        changed = [then.get(i) or now[i] for i in (then.keys() ^ now.keys())]
    return changed


def _optimized(optimizer: Any) -> list[Any]:
    # Mixed precision wraps the optimizer in a LossScaleOptimizer.
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    return list(inner._trainable_variables)  # noqa: SLF001 - Keras has no public name


# The data


def check_data(model: keras.Model, spec: DataSpec, *, may_repeat: bool = False) -> None:
    """Refuse data that the model cannot take.

    Args:
        model: what is trained or evaluated.
        spec: what the data contains.
        may_repeat: whether data that never ends is allowed.

    Raises:
        ValueError: images or labels do not fit the model, or the data has no batch or
            no end.
    """
    if len(model.inputs) != 1:
        raise ValueError(
            "A model must have one input, images. Received: "
            f"model={model.name!r} with {len(model.inputs)}."
        )
    if spec.batches == 0:
        raise ValueError(
            f"There must be data. Received: {spec.name}, a dataset without a batch."
        )
    if spec.unbounded and not may_repeat:
        remedy = "Leave out its repeat(), or take(n) batches"
        if spec.name == "train":
            remedy += ", or give steps_per_epoch"
        raise ValueError(
            f"Data must end. Received: {spec.name}, which repeats. {remedy}."
        )
    _check_images(model, spec)
    _check_labels(model, spec)


def _check_images(model: keras.Model, spec: DataSpec) -> None:
    expected = model.input_shape[1:]
    if not _compatible(spec.image_shape, expected):
        raise ValueError(
            f"The images of {spec.name} must have the shape the model takes, "
            f"{expected}. Received: images of {spec.image_shape}. Load them with "
            f"image_size={expected[:2]}, or build the model with "
            f"input_shape={spec.image_shape}."
        )


def _check_labels(model: keras.Model, spec: DataSpec) -> None:
    outputs = model.output_shape[-1]
    labels = spec.label_shape
    classes = None if spec.class_names is None else len(spec.class_names)
    if len(labels) == 1 and labels[0] not in {None, outputs}:
        remedy = (
            'Use labels of shape (n,), label_mode="int"'
            if labels[0] == 1
            else f"Build the model with num_classes={labels[0]}"
        )
        raise ValueError(
            f"The labels of {spec.name} must have one column per output, {outputs}. "
            f"Received: labels with {labels[0]}. {remedy}, or load the folder with "
            "another label_mode."
        )
    if not labels and (outputs == 1 or classes not in {None, outputs}):
        raise ValueError(
            f"Integer labels need one output per class. Received: {spec.name} of "
            f"{classes or 'unknown'} classes for {outputs} outputs. Use "
            'label_mode="binary" for one output.'
        )


def check_same_labels(train: DataSpec, validation: DataSpec) -> None:
    """Refuse validation data whose labels or classes are not those of train.

    Raises:
        ValueError: the labels differ in shape, or the folders in their classes.
    """
    shapes = train.label_shape, validation.label_shape
    if not _compatible(*shapes):
        raise ValueError(
            "Labels of validation must have the form of those of train. Received: "
            f"shape {shapes[0]} in train and {shapes[1]} in validation. Load both "
            "with the same label_mode."
        )
    ours, theirs = train.class_names, validation.class_names
    if ours is not None and theirs is not None and ours != theirs:
        raise ValueError(
            "Train and validation must hold the same classes. Received: "
            f"{', '.join(ours)} in train and {', '.join(theirs)} in validation. Add, "
            "rename or remove folders."
        )


def _compatible(
    shape: tuple[int | None, ...], expected: tuple[int | None, ...]
) -> bool:
    return len(shape) == len(expected) and all(
        None in {a, b} or a == b for a, b in zip(shape, expected, strict=True)
    )


def check_class_weight(weights: dict[int, float] | None, outputs: int) -> None:
    """Refuse class weights that are not one factor of at least 0 for each class.

    Raises:
        ValueError: a class has no factor or none has one above 0, or a factor is
            negative or not finite. Keras takes a missing one for 1.
    """
    if weights is None:
        return
    classes = set(range(max(outputs, 2)))
    if not (
        isinstance(weights, dict)
        and set(weights) == classes
        and all(isinstance(w, Real) for w in weights.values())
        and all(math.isfinite(w) and w >= 0 for w in weights.values())
        and any(weights.values())
    ):
        raise ValueError(
            f"class_weight must map every class, 0 to {len(classes) - 1}, to a factor "
            "of at least 0, with at least one above 0. "
            f"Received: class_weight={weights!r}."
        )


def check_sample_weight(
    weights: Sequence[float] | None,
    train: DataSpec,
    class_weight: dict[int, float] | None,
) -> None:
    """Refuse sample weights that are not one factor of at least 0 for each image.

    Raises:
        ValueError: their number or one of them is wrong, or the data is not an image
            folder, or `class_weight` is given too.
    """
    if weights is None:
        return
    folder = train.folder
    if folder is None or class_weight is not None:
        raise ValueError(
            "sample_weight needs an image folder and no class_weight with it. "
            f"Received: train of type {type(train.data).__name__}, "
            f"class_weight={class_weight!r}. A dataset gives its weights after its "
            "labels, (images, labels, weights); factors of classes can be multiplied "
            "into those of images."
        )
    factors = np.asarray(weights)
    if (
        factors.shape != (folder.num_images,)
        or not np.issubdtype(factors.dtype, np.number)
        or not (np.isfinite(factors).all() and (factors >= 0).all() and factors.any())
    ):
        raise ValueError(
            "sample_weight must hold a factor of at least 0 for each of the "
            f"{folder.num_images} images, with at least one above 0. "
            f"Received: sample_weight of shape {factors.shape}."
        )


# The callbacks


def check_callback_list(callbacks: object) -> None:
    """Refuse a callback that is passed without a list around it.

    Raises:
        ValueError: it is a callback; iterating over it would fail far from here.
    """
    if isinstance(callbacks, keras.callbacks.Callback):
        raise ValueError(
            "callbacks must be a list of Keras callbacks. "
            f"Received: callbacks={type(callbacks).__name__}(...). Write [callback]."
        )


def check_logs(
    callbacks: Sequence[keras.callbacks.Callback],
    model: keras.Model,
    train: DataSpec,
    validation: DataSpec | None,
) -> None:
    """Refuse callbacks that monitor a log which this `fit` does not write.

    Raises:
        ValueError: as `check_monitors`.
    """
    # The names cost a trace of the test step: look only if a callback asks for one.
    if any(monitored(callback) is not None for callback in callbacks):
        names = log_names(model, train, validation, callbacks)
        check_monitors(callbacks, names)


def check_monitors(
    callbacks: Iterable[keras.callbacks.Callback], names: Sequence[str]
) -> None:
    """Refuse a callback that monitors a log which no epoch writes.

    Args:
        callbacks: the callbacks that `fit` gets.
        names: the names in the logs of an epoch.

    Raises:
        ValueError: the `monitor` of a callback is not among `names`. Keras would only
            warn at the end of every epoch, and the callback would never act.
    """
    for callback in callbacks:
        monitor = monitored(callback)
        if monitor is not None and monitor not in names:
            hint = did_you_mean(monitor.replace("acc", "accuracy"), tuple(names))
            raise ValueError(
                f"{type(callback).__name__} must monitor one of: {', '.join(names)}. "
                f"Received: monitor={monitor!r}.{hint} A callback that adds to the "
                f"logs says so: log_names = ({monitor!r},)."
            )


def monitored(callback: keras.callbacks.Callback) -> str | None:
    """Return the name of the log that a callback acts on, None if there is none."""
    monitor = getattr(callback, "monitor", None)
    if isinstance(callback, keras.callbacks.ModelCheckpoint):
        # A checkpoint of every epoch has a default monitor, which it never reads.
        monitor = monitor if callback.save_best_only else None
    return monitor if isinstance(monitor, str) else None


def check_selection(
    callbacks: Iterable[keras.callbacks.Callback], validation: DataSpec | None
) -> None:
    """Refuse callbacks that would select a model on test images, or copies of them.

    Raises:
        ValueError: one of them monitors a metric of such data.
    """
    folder = None if validation is None else validation.folder
    names = [(x, name) for x in callbacks if (name := monitored(x)) is not None]
    selecting = [(x, name) for x, name in names if name.startswith("val_")]
    if folder is None or not selecting:
        return
    if (why := why_test_data(folder)) is not None:
        callback, monitor = selecting[0]
        raise ValueError(
            "Nothing may be selected on test data, or its accuracy means nothing. "
            f"Received: {type(callback).__name__}(monitor={monitor!r}) with "
            f"validation={str(folder.directory)!r}{why}. Hold a part of the "
            "training images out: train, held_out = train.split_off(percent=10)."
        )


def log_names(
    model: keras.Model,
    train: DataSpec,
    validation: DataSpec | None,
    callbacks: Iterable[keras.callbacks.Callback],
) -> list[str]:
    """Return the names in the logs of an epoch."""
    # Keras names compiled metrics only once it has seen labels: it gets an empty image.
    images = np.zeros((1, *(n or 64 for n in model.input_shape[1:])), "float32")
    labels = np.zeros((1, *(n or 1 for n in train.label_shape)), "float32")
    names = list(model.evaluate(images, labels, return_dict=True, verbose=0))
    if validation is not None:
        names += [f"val_{name}" for name in names]
    for callback in callbacks:
        names += getattr(callback, "log_names", ())
    return [*names, "learning_rate"]
