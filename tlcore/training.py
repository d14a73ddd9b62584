"""Training: the only place that compiles and trains.

Owns `fit` and the two phases of transfer learning, `feature_extract` and `fine_tune`,
and `evaluate`, whose figures carry their n and interval. Everything that would make a
run silently mean something else is refused before the first step.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from numbers import Real
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from tlcore.arguments import did_you_mean
from tlcore.caching.feeds import (
    AUTO,
    CacheOptions,
    Feed,
    evaluation_feed,
    training_feed,
)
from tlcore.caching.redirection import CutModel, redirected
from tlcore.callbacks import LossGuard, check_monitors, monitored
from tlcore.data.image_folder import ImageFolder
from tlcore.estimates import Estimate, mean, proportion
from tlcore.freezing import check_compiled, check_flags, find_backbone, freeze, unfreeze

OPTIMIZERS = ("adam", "rmsprop", "sgd")

_NO_FEED = Feed(None, None, "")

Data = Any
"""An `ImageFolder`, a `tf.data.Dataset` or a `keras.utils.PyDataset` of batches."""


def feature_extract(
    model: keras.Model,
    train: Data,
    validation: Data | None = None,
    *,
    epochs: int = 5,
    learning_rate: float = 1e-3,
    optimizer: str = "adam",
    **fit_options: Any,
) -> keras.callbacks.History:
    """Train the head of a model on its frozen backbone.

    Freezes the backbone, compiles (cross-entropy by the labels' form, accuracy) and
    fits.

    Args:
        model: a model of `create_model`.
        train: an image folder or dataset of (images in [0, 255], labels).
        validation: the same; all of it is evaluated after every epoch.
        epochs: how many.
        learning_rate: of the optimizer.
        optimizer: "adam", "rmsprop" or "sgd".
        fit_options: what `fit` takes beside these.

    Returns:
        The history, its epochs counted from 0.

    Raises:
        ValueError: the model has no backbone, an option is out of range, or what
            `fit` refuses.
        FloatingPointError: the loss became NaN or infinite.
    """
    _require_backbone(model)
    freeze(model)
    _compile(model, train, optimizer, learning_rate)
    return fit(model, train, validation=validation, epochs=epochs, **fit_options)


def fine_tune(
    model: keras.Model,
    train: Data,
    validation: Data | None = None,
    *,
    history: keras.callbacks.History | None = None,
    last: int = 10,
    batch_norm: bool = True,
    epochs: int = 5,
    learning_rate: float = 1e-4,
    optimizer: str = "adam",
    **fit_options: Any,
) -> keras.callbacks.History:
    """Unfreeze the last layers of the backbone and train on, more slowly.

    Unfreezes, compiles anew and fits; the epochs go on where `history` ended, so that
    5 after 5 are 10.

    Args:
        model: a model of `create_model`, usually after `feature_extract`.
        train: an image folder or dataset of (images in [0, 255], labels).
        validation: the same; all of it is evaluated after every epoch.
        history: what the phase before returned; None starts at epoch 0.
        last: how many layers of the backbone train, from the end.
        batch_norm: False leaves gamma and beta of those layers frozen.
        epochs: how many more.
        learning_rate: of the optimizer; a tenth of feature extraction's.
        optimizer: "adam", "rmsprop" or "sgd".
        fit_options: what `fit` takes beside these.

    Returns:
        The history of this phase alone; its `epoch` is contiguous with the phase
        before.

    Raises:
        ValueError: the model has no backbone, an option is out of range, or what
            `fit` refuses.
        FloatingPointError: the loss became NaN or infinite.
    """
    _require_backbone(model)
    _require_whole("epochs", epochs, least=1)
    first = _first_epoch_after(history)
    unfreeze(model, last, batch_norm=batch_norm)
    _compile(model, train, optimizer, learning_rate)
    return fit(
        model,
        train,
        validation=validation,
        epochs=first + epochs,
        initial_epoch=first,
        **fit_options,
    )


def fit(
    model: keras.Model,
    train: Data,
    *,
    validation: Data | None = None,
    epochs: int,
    initial_epoch: int = 0,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    steps_per_epoch: int | None = None,
    class_weight: dict[int, float] | None = None,
    sample_weight: Sequence[float] | None = None,
    validation_freq: int = 1,
    cache: str | Path = AUTO,
    views: int | None = None,
    workers: int = 1,
    say: Callable[[str], None] | None = None,
    progress: Callable[[str, int, int], None] | None = None,
    verbose: str | int = "auto",
) -> keras.callbacks.History:
    """Train a compiled model, after the checks that Keras leaves out.

    Args:
        model: a compiled model; `feature_extract` and `fine_tune` compile it.
        train: an image folder or dataset of (images in [0, 255], labels). The order
            of a folder's images is a pure function of its seed and the epoch.
        validation: the same; all of it is evaluated after every epoch.
        epochs: the index after the last epoch.
        initial_epoch: the index of the first epoch.
        callbacks: Keras callbacks, in the order they act. What they monitor must
            exist, and nothing may be selected on an image folder named "test". One
            that adds to the logs names what it adds in an attribute `log_names`.
        steps_per_epoch: batches per epoch; by default all of `train` once. An image
            folder goes on in the next epoch where this one ended.
        class_weight: factors of the loss, by class index, one for every class.
        sample_weight: factors of the loss, one for each image of the folder `train`,
            in the order of its paths. A dataset brings its own.
        validation_freq: epochs from one validation to the next.
        cache: "auto" runs the frozen layers at the bottom once per image, keeps what
            they make of it and trains the rest on that, wherever the weights become
            the same to the bit; "off" does not; a folder keeps it there.
        views: turns augmentation into a bank of so many views of each image, a
            function of the folder's seed, the image and the view, shown one per
            epoch in turn; they can be cached.
        workers: processes that share the one pass through the frozen layers.
        say: what to do with the line that says what is cached and why; None prints
            it unless `verbose` is 0.
        progress: called with "train" or "validation", images done and images in all
            while features are computed; None shows a bar unless `verbose` is 0.
        verbose: as in Keras.

    Returns:
        The history of epochs `initial_epoch` to `epochs - 1`.

    Raises:
        ValueError: the model is not compiled, its `trainable` flags changed since or
            contradict each other, nothing of it trains, data and model disagree, a
            callback monitors what does not exist, or selects on test data.
        FloatingPointError: the loss became NaN or infinite; checkpoints of the epochs
            before are untouched.
    """
    _require_whole("initial_epoch", initial_epoch, least=0)
    _require_whole("epochs", epochs, least=initial_epoch + 1)
    if steps_per_epoch is not None:
        _require_whole("steps_per_epoch", steps_per_epoch, least=1)
    _require_whole("validation_freq", validation_freq, least=1)
    if isinstance(callbacks, keras.callbacks.Callback):
        raise ValueError(
            "callbacks must be a list of Keras callbacks. "
            f"Received: callbacks={type(callbacks).__name__}(...). Write [callback]."
        )
    check_flags(model)
    check_compiled(model)
    if not model.trainable_variables:
        raise ValueError(
            "A model must have a weight that trains. Received: "
            f"model={model.name!r}, frozen throughout. Unfreeze a layer or add a head."
        )
    _check_data(model, train, "train", endless=steps_per_epoch is not None)
    if validation is not None:
        _check_data(model, validation, "validation")
        _check_same_labels(train, validation)
    _check_class_weight(class_weight, model.output_shape[-1])
    _check_sample_weight(sample_weight, train, class_weight)
    if any(monitored(callback) is not None for callback in callbacks):
        check_monitors(callbacks, _log_names(model, train, validation, callbacks))
    _check_selection(callbacks, validation)

    options = _cache_options(cache, views, workers, progress, verbose)
    if isinstance(train, ImageFolder) and steps_per_epoch is None:
        steps_per_epoch = len(train)
    steps = range(0)
    if steps_per_epoch is not None:
        steps = range(initial_epoch * steps_per_epoch, epochs * steps_per_epoch)
    feeds = _feeds(model, train, validation, options, steps, weights=sample_weight)
    _say("; ".join(f"{k}: {feed.sentence}" for k, feed in feeds.items()), say, verbose)
    train_feed, validation_feed = feeds["train"], feeds.get("validation", _NO_FEED)
    # BackupAndRestore leaves its epoch behind, and Keras would start there again.
    model._initial_epoch = None  # noqa: SLF001 - Keras has no public name for it
    with redirected(model, train=train_feed.part, test=validation_feed.part):
        return model.fit(
            train_feed.data,
            validation_data=validation_feed.data,
            validation_freq=validation_freq,
            epochs=epochs,
            initial_epoch=initial_epoch,
            steps_per_epoch=steps_per_epoch,
            class_weight=class_weight,
            # A tf.data.Dataset has its own order, and Keras warns where it is told one.
            shuffle=not hasattr(train_feed.data, "element_spec"),
            callbacks=[LossGuard(), *callbacks],
            verbose=verbose,
        )


def evaluate(
    model: keras.Model,
    data: Data,
    *,
    cache: str | Path = AUTO,
    workers: int = 1,
    progress: Callable[[str, int, int], None] | None = None,
) -> dict[str, Estimate]:
    """Return loss and accuracy of a classifier over all of `data`.

    Args:
        model: outputs probabilities, (n, classes) or (n, 1).
        data: an image folder or dataset of (images in [0, 255], labels). Sample
            weights behind them are left aside: every image counts once.
        cache: as in `fit`.
        workers: as in `fit`.
        progress: as in `fit`, called with "data"; None shows nothing.

    Returns:
        "loss", the mean cross-entropy with its normal 95 % interval, and "accuracy",
        with Wilson's.

    Raises:
        ValueError: data and model disagree, or there is no data.
        FloatingPointError: the loss of an image is no finite number.
    """
    _check_data(model, data, "data")
    options = _cache_options(cache, None, workers, progress, verbose=0)
    feed = Feed(data, None, "")
    if isinstance(data, ImageFolder):
        feed = evaluation_feed(model, data, options, "data")
    scorer = Scorer(model, feed.part)
    losses: list[float] = []
    correct = 0
    for inputs, labels, *_ in feed.data:
        probabilities, batch_losses = scorer.predict_on_batch((inputs, labels))
        truth = keras.ops.convert_to_numpy(labels)
        losses += batch_losses.tolist()
        correct += int(np.sum(_classes(truth) == _predicted(probabilities)))
    if not losses:
        raise ValueError(
            "There must be data to evaluate on. Received: a dataset without a batch."
        )
    if not np.isfinite(losses).all():
        raise FloatingPointError(
            "A model must give finite numbers to be evaluated. Received: "
            f"model={model.name!r}, whose loss is none on "
            f"{np.count_nonzero(~np.isfinite(losses))} of {len(losses)} images. "
            "Train it again with a lower learning rate."
        )
    return {"loss": mean(losses), "accuracy": proportion(correct, len(losses))}


class Scorer(CutModel):
    """Gives probabilities and the loss of each example, (n,).

    Keras takes a loss from the logits behind the probabilities, as `fit` does, where
    both are in one graph. From probabilities alone it is cut off at 16.
    """

    def call(self, batch: Any, training: bool = False) -> tuple[Any, Any]:  # noqa: FBT001, FBT002
        """Return probabilities and losses of a batch (inputs, labels)."""
        inputs, labels = batch
        probabilities = super().call(inputs, training=training)
        if probabilities.shape[-1] == 1:
            loss = keras.losses.binary_crossentropy
        elif len(labels.shape) == 1:
            loss = keras.losses.sparse_categorical_crossentropy
        else:
            loss = keras.losses.categorical_crossentropy
        return probabilities, loss(labels, probabilities)


def _require_backbone(model: keras.Model) -> None:
    holder, _ = find_backbone(model)
    if holder is model:
        raise ValueError(
            "A phase of transfer learning needs a backbone and a head. Received: "
            f"model={model.name!r}, without a backbone layer. Build it with "
            "create_model(backbone, num_classes), which takes a keras.Model too."
        )


def _require_whole(name: str, value: int, *, least: int) -> None:
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not whole or value < least:
        meaning = {
            "epochs": ", the index after the last epoch",
            "initial_epoch": ", the index of the first epoch",
        }.get(name, "")
        raise ValueError(
            f"{name} must be a whole number of at least {least}{meaning}. "
            f"Received: {name}={value!r}."
        )


def _first_epoch_after(history: keras.callbacks.History | None) -> int:
    if history is None:
        return 0
    if not isinstance(history, keras.callbacks.History):
        raise ValueError(
            "history must be what the phase before returned, a keras History. "
            f"Received: history of type {type(history).__name__}."
        )
    return int(history.epoch[-1]) + 1 if history.epoch else 0


def _compile(
    model: keras.Model, train: Data, optimizer: str, learning_rate: float
) -> None:
    if optimizer not in OPTIMIZERS:
        raise ValueError(
            f"optimizer must be one of: {', '.join(OPTIMIZERS)}. "
            f"Received: optimizer={optimizer!r}.{did_you_mean(optimizer, OPTIMIZERS)}"
        )
    number = isinstance(learning_rate, Real)
    if not (number and math.isfinite(learning_rate) and learning_rate > 0):
        raise ValueError(
            "learning_rate must be a positive number. "
            f"Received: learning_rate={learning_rate!r}."
        )
    rate = float(learning_rate)
    config = {"class_name": optimizer, "config": {"learning_rate": rate}}
    if model.output_shape[-1] == 1:
        loss = "binary_crossentropy"
    elif len(_label_shape(train)) == 1:
        loss = "categorical_crossentropy"
    else:
        loss = "sparse_categorical_crossentropy"
    model.compile(
        optimizer=keras.optimizers.get(config),
        loss=loss,
        metrics=["accuracy"],
        # XLA rounds otherwise in a part of a model than in the whole.
        jit_compile=False,
    )


def _check_data(
    model: keras.Model, data: Data, name: str, *, endless: bool = False
) -> None:
    if len(model.inputs) != 1:
        raise ValueError(
            "A model must have one input, images. Received: "
            f"model={model.name!r} with {len(model.inputs)}."
        )
    images, labels = _image_shape(data), _label_shape(data)
    _check_end(data, name, endless=endless)
    expected = model.input_shape[1:]
    if not _fits(images, expected):
        raise ValueError(
            f"The images of {name} must have the shape the model takes, {expected}. "
            f"Received: images of {images}. Load them with image_size="
            f"{expected[:2]}, or build the model with input_shape={images}."
        )
    outputs = model.output_shape[-1]
    classes = data.num_classes if isinstance(data, ImageFolder) else None
    if len(labels) == 1 and labels[0] not in {None, outputs}:
        remedy = (
            'Use labels of shape (n,), label_mode="int"'
            if labels[0] == 1
            else f"Build the model with num_classes={labels[0]}"
        )
        raise ValueError(
            f"The labels of {name} must have one column per output, {outputs}. "
            f"Received: labels with {labels[0]}. {remedy}, or load the folder with "
            "another label_mode."
        )
    if not labels and (outputs == 1 or classes not in {None, outputs}):
        raise ValueError(
            f"Integer labels need one output per class. Received: {name} of "
            f"{classes or 'unknown'} classes for {outputs} outputs. Use "
            'label_mode="binary" for one output.'
        )


def _check_end(data: Data, name: str, *, endless: bool) -> None:
    count = int(data.cardinality()) if hasattr(data, "cardinality") else None
    if count == 0:
        raise ValueError(
            f"There must be data. Received: {name}, a dataset without a batch."
        )
    if count == -1 and not endless:
        remedy = "Leave out its repeat(), or take(n) batches"
        if name == "train":
            remedy += ", or give steps_per_epoch"
        raise ValueError(f"Data must end. Received: {name}, endless. {remedy}.")


def _check_same_labels(train: Data, validation: Data) -> None:
    shapes = _label_shape(train), _label_shape(validation)
    if not _fits(*shapes):
        raise ValueError(
            "Labels of validation must have the form of those of train. Received: "
            f"shape {shapes[0]} in train and {shapes[1]} in validation. Load both "
            "with the same label_mode."
        )
    if isinstance(train, ImageFolder) and isinstance(validation, ImageFolder):
        names = train.class_names, validation.class_names
        if names[0] != names[1]:
            raise ValueError(
                "Train and validation must hold the same classes. Received: "
                f"{', '.join(names[0])} in train and {', '.join(names[1])} in "
                "validation. Add, rename or remove folders."
            )


def _check_class_weight(weights: dict[int, float] | None, outputs: int) -> None:
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
            f"of at least 0, one of them above. Received: class_weight={weights!r}."
        )


def _check_sample_weight(
    weights: Sequence[float] | None, train: Data, class_weight: dict[int, float] | None
) -> None:
    if weights is None:
        return
    if not isinstance(train, ImageFolder) or class_weight is not None:
        raise ValueError(
            "sample_weight needs an image folder and no class_weight beside it. "
            f"Received: train of type {type(train).__name__}, "
            f"class_weight={class_weight!r}. A dataset gives its weights behind its "
            "labels; factors of classes can be multiplied into those of images."
        )
    factors = np.asarray(weights)
    if (
        factors.shape != (train.num_images,)
        or not np.issubdtype(factors.dtype, np.number)
        or not (np.isfinite(factors).all() and (factors >= 0).all() and factors.any())
    ):
        raise ValueError(
            "sample_weight must hold a factor of at least 0 for each of the "
            f"{train.num_images} images, one of them above. Received: sample_weight "
            f"of shape {factors.shape}."
        )


def _fits(shape: tuple[int | None, ...], expected: tuple[int | None, ...]) -> bool:
    return len(shape) == len(expected) and all(
        None in {a, b} or a == b for a, b in zip(shape, expected, strict=True)
    )


def _image_shape(data: Data) -> tuple[int | None, ...]:
    if isinstance(data, ImageFolder):
        return (*data.image_size, 3)
    return _shapes(data)[0]


def _label_shape(data: Data) -> tuple[int | None, ...]:
    """Return the shape of one label: () for an index, (columns,) else."""
    if isinstance(data, ImageFolder):
        columns = {"categorical": data.num_classes, "binary": 1}
        return (columns[data.label_mode],) if data.label_mode in columns else ()
    return _shapes(data)[1]


def _shapes(data: Data) -> tuple[tuple[int | None, ...], tuple[int | None, ...]]:
    spec = getattr(data, "element_spec", None)
    if spec is None and isinstance(data, keras.utils.PyDataset):
        spec = data[0]
    parts = spec[:2] if isinstance(spec, tuple) else ()
    if len(parts) < 2 or not all(hasattr(part, "shape") for part in parts):
        raise ValueError(
            "Data must be an image folder, or a tf.data.Dataset or PyDataset of "
            f"batches (images, labels). Received: {type(data).__name__}."
        )
    images, labels = (tuple(part.shape)[1:] for part in parts)
    return images, labels


def _check_selection(
    callbacks: Iterable[keras.callbacks.Callback], validation: Data | None
) -> None:
    if not isinstance(validation, ImageFolder):
        return
    if Path(validation.directory).name != "test":
        return
    for callback in callbacks:
        monitor = monitored(callback)
        if monitor is not None and monitor.startswith("val_"):
            raise ValueError(
                "Nothing may be selected on test data, or its accuracy means nothing. "
                f"Received: {type(callback).__name__}(monitor={monitor!r}) with "
                f"validation={str(validation.directory)!r}. Hold a part of the "
                "training images out: train, held_out = train.split_off(percent=10)."
            )


def _log_names(
    model: keras.Model,
    train: Data,
    validation: Data | None,
    callbacks: Iterable[keras.callbacks.Callback],
) -> list[str]:
    """Return what the logs of an epoch will hold, learnt from one empty image."""
    images = np.zeros((1, *(n or 64 for n in model.input_shape[1:])), "float32")
    labels = np.zeros((1, *(n or 1 for n in _label_shape(train))), "float32")
    names = list(model.evaluate(images, labels, return_dict=True, verbose=0))
    if validation is not None:
        names += [f"val_{name}" for name in names]
    for callback in callbacks:
        names += getattr(callback, "log_names", ())
    return [*names, "learning_rate"]


def _cache_options(
    cache: str | Path,
    views: int | None,
    workers: int,
    progress: Callable[[str, int, int], None] | None,
    verbose: str | int,
) -> CacheOptions:
    if not isinstance(cache, str | Path) or not str(cache):
        raise ValueError(
            f'cache must be "auto", "off" or a folder. Received: cache={cache!r}.'
        )
    if views is not None:
        _require_whole("views", views, least=1)
    _require_whole("workers", workers, least=1)
    if progress is None and verbose:
        progress = _bar
    return CacheOptions(cache, views, workers, progress)


def _bar(name: str, done: int, total: int) -> None:
    """Show how far a pass is, on one line."""
    end = "\n" if done == total else ""
    print(f"\r{name}: features of {done} of {total} images", end=end, flush=True)  # noqa: T201


def _say(line: str, say: Callable[[str], None] | None, verbose: str | int) -> None:
    if say is not None:
        say(line)
    elif verbose:
        print(line)  # noqa: T201 - as Keras prints its epochs


def _feeds(
    model: keras.Model,
    train: Data,
    validation: Data | None,
    options: CacheOptions,
    steps: range,
    *,
    weights: Sequence[float] | None,
) -> dict[str, Feed]:
    """Return what is read for training and for validation."""
    unknown = "end to end, its images are known to an image folder alone"
    feeds = {"train": Feed(train, None, unknown)}
    if isinstance(train, ImageFolder):
        feeds["train"] = training_feed(model, train, options, steps, weights)
    elif options.views is not None:
        raise ValueError(
            "views needs images that are known one by one. Received: train of type "
            f"{type(train).__name__}. Load them with image_folder."
        )
    if isinstance(validation, ImageFolder):
        feeds["validation"] = evaluation_feed(model, validation, options, "validation")
    elif validation is not None:
        feeds["validation"] = Feed(validation, None, unknown)
    return feeds


def _classes(labels: NDArray[Any]) -> NDArray[Any]:
    if labels.ndim == 1:
        return labels.astype(int)
    if labels.shape[1] == 1:
        return labels[:, 0].astype(int)
    return np.asarray(labels.argmax(axis=1))


def _predicted(probabilities: NDArray[Any]) -> NDArray[Any]:
    if probabilities.shape[1] == 1:
        return (probabilities[:, 0] > 0.5).astype(int)
    return np.asarray(probabilities.argmax(axis=1))
