"""Checks: everything that `fit` and `evaluate` refuse before the first step.

Owns what a model, its data and its callbacks must be for a run to mean what its code
says. What a dataset contains is asked in `data.spec`; which values a batch may hold is
decided in `data.contents`. Nothing is compiled, trained or changed here. Checks of a
single number or name are in `arguments`.
"""

import math
from collections.abc import Iterable, Sequence
from numbers import Real
from typing import Any

import keras
import numpy as np

from tlcore.arguments import did_you_mean, few, require_whole
from tlcore.data.contents import (
    VALUE_RANGES,
    Batch,
    Expected,
    check_batch,
    check_range,
    shape_remedy,
)
from tlcore.data.selection import why_test_data
from tlcore.data.spec import DataSpec
from tlcore.freezing import child_layers, find_backbone, layer_tree
from tlcore.models import is_multi_label


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


def check_data(
    model: keras.Model,
    spec: DataSpec,
    *,
    may_repeat: bool = False,
    value_range: str = VALUE_RANGES[0],
) -> None:
    """Refuse data that the model cannot take, after a look at its first batch.

    Args:
        model: what is trained or evaluated.
        spec: what the data contains.
        may_repeat: whether data that never ends is allowed.
        value_range: one of `VALUE_RANGES`.

    Raises:
        ValueError: images or labels do not fit the model, the data has no batch or no
            end, or its values are not those of images or labels.
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
    _check_values(model, spec, value_range)


def check_steps(spec: DataSpec, epochs: range, steps_per_epoch: int | None) -> None:
    """Refuse a dataset that holds fewer batches than its epochs take.

    Raises:
        ValueError: it would run out. Keras would only warn and train on less.
    """
    if spec.source is None or spec.batches is None or steps_per_epoch is None:
        return
    needed = len(epochs) * steps_per_epoch
    if needed > spec.batches:
        raise ValueError(
            "With steps_per_epoch all epochs read one pass over the data, which must "
            f"not run out. Received: {spec.name} of {spec.batches} batches for "
            f"{len(epochs)} epochs of {steps_per_epoch} steps. Repeat it, "
            "data.repeat(), or leave steps_per_epoch out."
        )


def _check_values(model: keras.Model, spec: DataSpec, value_range: str) -> None:
    """Look at the first batch of a dataset, at all labels of arrays."""
    holder, _ = find_backbone(model)
    # A model of another origin may expect any range: nothing in it says which.
    value_range = "as is" if holder is model else value_range
    multi = is_multi_label(model)
    expected = Expected(model.output_shape[-1], multi, value_range)
    source, folder = spec.source, spec.folder
    if source is not None:
        first = source.first()
        source.expected = Expected(
            expected.outputs,
            multi,
            value_range,
            image_shape=tuple(model.input_shape[1:]),
            label_rank=first.labels.ndim,
            weighted=first.weights is not None,
        )
        check_batch(first, f"{spec.name}, its first batch", source.expected)
        check_range(first.images, spec.name, expected)
    elif hasattr(folder, "images"):
        assert folder is not None  # noqa: S101 - for mypy
        check_batch(Batch(folder.images, folder.labels), spec.name, expected)
        check_range(folder.images, spec.name, expected)


def _check_images(model: keras.Model, spec: DataSpec) -> None:
    expected = model.input_shape[1:]
    loaded = spec.folder is None or hasattr(spec.folder, "images")
    if loaded and not _compatible(spec.image_shape, expected):
        raise ValueError(
            f"The images of {spec.name} must have the shape the model takes, "
            f"{expected}. Received: images of {spec.image_shape}. "
            f"{shape_remedy(spec.image_shape, expected)}"
        )
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
    multi = spec.folder is not None and spec.folder.label_mode == "multi"
    if multi and classes and not is_multi_label(model):
        raise ValueError(
            "Images of several classes need a model with an output for each. Received: "
            f'{spec.name} with label_mode="multi" for model={model.name!r}. Build it '
            "with create_model(..., multi_label=True)."
        )
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
    # A dataset's labels of shape (n,) fit one output; a folder has a form for it.
    binary = outputs == 1 and classes is not None
    if not labels and (binary or classes not in {None, outputs}):
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


def check_class_weight(weights: dict[int, float] | None, model: keras.Model) -> None:
    """Refuse class weights that are not one factor of at least 0 for each class.

    Raises:
        ValueError: a class has no factor or none has one above 0, or a factor is
            negative or not finite. Keras takes a missing one for 1. Or an image can
            have several classes, of which Keras would take the first.
    """
    if weights is None:
        return
    if is_multi_label(model):
        raise ValueError(
            "class_weight needs images of one class each. Received: class_weight="
            f"{weights!r} for the multi-label model={model.name!r}. Give a weight for "
            "each image, (images, labels, weights)."
        )
    classes = set(range(max(model.output_shape[-1], 2)))
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
    train.refuse_other_weights(weights, class_weight)
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
    # A size that the model leaves open is that of the data: networks have a smallest.
    sizes = zip(model.input_shape[1:], train.image_shape, strict=False)
    if train.source is not None:
        first = train.source.first().images.shape[1:]
        sizes = zip(model.input_shape[1:], first, strict=False)
    images = np.zeros((1, *(n or m or 64 for n, m in sizes)), "float32")
    labels = np.zeros((1, *(n or 1 for n in train.label_shape)), "float32")
    names = list(model.evaluate(images, labels, return_dict=True, verbose=0))
    if validation is not None:
        names += [f"val_{name}" for name in names]
    for callback in callbacks:
        names += getattr(callback, "log_names", ())
    return [*names, "learning_rate"]
