"""Training: the only place that compiles and trains.

Owns `fit` and the two phases of transfer learning, `feature_extract` and `fine_tune`.
What would silently make a run mean something else is refused by `checks` before the
first step.
"""

import math
from collections.abc import Callable, Sequence
from numbers import Real
from pathlib import Path
from typing import Any

import keras

from tlcore.arguments import require_one_of, require_whole
from tlcore.caching.feeds import (
    AUTO,
    CacheOptions,
    Feed,
    cache_options,
    evaluation_feed,
    training_feed,
)
from tlcore.caching.redirection import redirected
from tlcore.callbacks import LossGuard
from tlcore.checks import (
    Data,
    DataSpec,
    check_class_weight,
    check_compiled,
    check_data,
    check_flags,
    check_monitors,
    check_same_labels,
    check_sample_weight,
    check_selection,
    log_names,
    monitored,
    require_backbone,
)
from tlcore.freezing import freeze, unfreeze
from tlcore.progress import pass_progress

OPTIMIZERS = ("adam", "rmsprop", "sgd")

_NO_FEED = Feed(None, None, "")


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
    require_backbone(model)
    spec = DataSpec.of(train, "train")
    freeze(model)
    _compile(model, spec, optimizer, learning_rate)
    return fit(model, spec, validation=validation, epochs=epochs, **fit_options)


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
    require_backbone(model)
    require_whole("epochs", epochs, least=1)
    first = _first_epoch_after(history)
    spec = DataSpec.of(train, "train")
    unfreeze(model, last, batch_norm=batch_norm)
    _compile(model, spec, optimizer, learning_rate)
    return fit(
        model,
        spec,
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
    first = ", the index of the first epoch"
    require_whole("initial_epoch", initial_epoch, least=0, meaning=first)
    end = ", the index after the last epoch"
    require_whole("epochs", epochs, least=initial_epoch + 1, meaning=end)
    if steps_per_epoch is not None:
        require_whole("steps_per_epoch", steps_per_epoch, least=1)
    require_whole("validation_freq", validation_freq, least=1)
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
    train_spec = DataSpec.of(train, "train")
    check_data(model, train_spec, may_repeat=steps_per_epoch is not None)
    validation_spec = None
    if validation is not None:
        validation_spec = DataSpec.of(validation, "validation")
        check_data(model, validation_spec)
        check_same_labels(train_spec, validation_spec)
    check_class_weight(class_weight, model.output_shape[-1])
    check_sample_weight(sample_weight, train_spec, class_weight)
    if any(monitored(callback) is not None for callback in callbacks):
        names = log_names(model, train_spec, validation_spec, callbacks)
        check_monitors(callbacks, names)
    check_selection(callbacks, validation_spec)

    if train_spec.folder is not None and steps_per_epoch is None:
        steps_per_epoch = train_spec.batches
    steps = range(0)
    if steps_per_epoch is not None:
        steps = range(initial_epoch * steps_per_epoch, epochs * steps_per_epoch)
    with pass_progress(progress, show=bool(verbose)) as report:
        options = cache_options(cache, views, workers, report)
        feeds = _feeds(
            model, train_spec, validation_spec, options, steps, weights=sample_weight
        )
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
    model: keras.Model, train: DataSpec, optimizer: str, learning_rate: float
) -> None:
    require_one_of("optimizer", optimizer, OPTIMIZERS)
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
    elif len(train.label_shape) == 1:
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


def _say(line: str, say: Callable[[str], None] | None, verbose: str | int) -> None:
    if say is not None:
        say(line)
    elif verbose:
        print(line)  # noqa: T201 - as Keras prints its epochs


def _feeds(
    model: keras.Model,
    train: DataSpec,
    validation: DataSpec | None,
    options: CacheOptions,
    steps: range,
    *,
    weights: Sequence[float] | None,
) -> dict[str, Feed]:
    """Return what is read for training and for validation."""
    unknown = "end to end, its images are known to an image folder alone"
    feeds = {"train": Feed(train.data, None, unknown)}
    if train.folder is not None:
        feeds["train"] = training_feed(model, train.folder, options, steps, weights)
    elif options.views is not None:
        raise ValueError(
            "views needs images that are known one by one. Received: train of type "
            f"{type(train.data).__name__}. Load them with image_folder."
        )
    if validation is None:
        return feeds
    if validation.folder is not None:
        feed = evaluation_feed(model, validation.folder, options, "validation")
        return feeds | {"validation": feed}
    return feeds | {"validation": Feed(validation.data, None, unknown)}
