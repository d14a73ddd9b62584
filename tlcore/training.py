"""Training: the only module that compiles and trains.

Owns `fit` and the two phases of transfer learning, `feature_extract` and `fine_tune`.
What `fit` refuses before the first step is in `checks`; what training reads, images or
cached features, is decided in `caching.feeds`.
"""

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import keras
import numpy as np

from tlcore.arguments import require_one_of, require_positive, require_whole
from tlcore.backend import seam
from tlcore.backend.shares import check_shares
from tlcore.caching.batch_feeds import batches_feed
from tlcore.caching.feeds import (
    AUTO,
    CacheOptions,
    Feed,
    cache_options,
    evaluation_feed,
    training_feed,
)
from tlcore.caching.redirection import Side, redirected
from tlcore.callbacks import BatchGuard, LossGuard
from tlcore.checks import (
    check_callback_list,
    check_class_weight,
    check_data,
    check_epochs,
    check_logs,
    check_model,
    check_same_labels,
    check_sample_weight,
    check_selection,
    check_steps,
    require_backbone,
)
from tlcore.data.contents import VALUE_RANGES
from tlcore.data.failures import as_raised
from tlcore.data.labels import balanced_weights
from tlcore.data.spec import Data, DataSpec
from tlcore.freezing import freeze, unfreeze
from tlcore.models import is_multi_label
from tlcore.progress import PassProgress, pass_progress

OPTIMIZERS = ("adamw", "adam", "rmsprop", "sgd")

Rate: TypeAlias = float | keras.optimizers.schedules.LearningRateSchedule

_NO_FEED = Feed(None, Side(), "")
_ACCURACY = ("accuracy", "acc")
_FIRST_RATE, _FINE_RATE = 1e-3, 1e-4


def feature_extract(
    model: keras.Model,
    train: Data,
    validation: Data | None = None,
    *,
    epochs: int = 5,
    learning_rate: Rate | None = None,
    optimizer: str | keras.optimizers.Optimizer = "adam",
    loss: Any = None,
    metrics: Sequence[Any] = ("accuracy",),
    **fit_options: Any,
) -> keras.callbacks.History:
    """Train the head of a model on its frozen backbone.

    Freezes the backbone, compiles the model (the cross-entropy that matches the labels,
    and accuracy) and calls `fit`.

    Args:
        model: a model of `create_model`.
        train: images in [0, 255] with labels, in a form that `fit` takes.
        validation: the same; all of it is evaluated after every epoch.
        epochs: number of epochs.
        learning_rate: a number or schedule, by default 1e-3; an optimizer of Keras has
            its own.
        optimizer: "adam", "adamw", "rmsprop" or "sgd", or an optimizer of Keras, of
            which this phase trains with a copy.
        loss: of Keras, or a function; by default the cross-entropy of the labels.
        metrics: as in `compile`.
        fit_options: further arguments of `fit`.

    Returns:
        The history; its epochs count from 0.

    Raises:
        ValueError: the model has no backbone, an option is out of range, or `fit`
            refuses an argument.
        FloatingPointError: the loss became NaN or infinite.

    Example:
        >>> train = tl.image_folder("photos/train", image_size=32)
        >>> model = tl.create_model("sample_net", 3, input_shape=(32, 32, 3))
        >>> history = tl.feature_extract(model, train, epochs=1, verbose=0)
        >>> history.epoch
        [0]
    """
    require_backbone(model)
    spec = DataSpec.of(train, "train")
    chosen = _optimizer(optimizer, learning_rate, default=_FIRST_RATE)
    freeze(model)
    _compile(model, spec, chosen, loss, metrics)
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
    learning_rate: Rate | None = None,
    optimizer: str | keras.optimizers.Optimizer = "adam",
    loss: Any = None,
    metrics: Sequence[Any] = ("accuracy",),
    **fit_options: Any,
) -> keras.callbacks.History:
    """Unfreeze the last layers of the backbone and continue training, more slowly.

    Unfreezes the layers, compiles the model again and calls `fit`. Epochs are counted
    from the end of `history`: 5 epochs after 5 epochs make 10.

    Args:
        model: a model of `create_model`, usually after `feature_extract`.
        train: images in [0, 255] with labels, in a form that `fit` takes.
        validation: the same; all of it is evaluated after every epoch.
        history: what the previous phase returned; None starts at epoch 0.
        last: how many layers of the backbone train, counted from the end.
        batch_norm: False keeps gamma and beta of those layers frozen.
        epochs: number of further epochs.
        learning_rate: a number or schedule, by default 1e-4, a tenth of that of
            `feature_extract`; an optimizer of Keras has its own.
        optimizer: "adam", "adamw", "rmsprop" or "sgd", or an optimizer of Keras, of
            which this phase trains with a copy.
        loss: of Keras, or a function; by default the cross-entropy of the labels.
        metrics: as in `compile`.
        fit_options: further arguments of `fit`.

    Returns:
        The history of this phase alone; its epochs continue those of `history`.

    Raises:
        ValueError: the model has no backbone, an option is out of range, or `fit`
            refuses an argument.
        FloatingPointError: the loss became NaN or infinite.

    Example:
        >>> train = tl.image_folder("photos/train", image_size=32)
        >>> model = tl.create_model("sample_net", 3, input_shape=(32, 32, 3))
        >>> short = {"epochs": 1, "verbose": 0}
        >>> first = tl.feature_extract(model, train, **short)
        >>> second = tl.fine_tune(model, train, history=first, last=2, **short)
        >>> first.epoch + second.epoch
        [0, 1]
    """
    require_backbone(model)
    require_whole("epochs", epochs, least=1)
    first = _first_epoch_after(history)
    spec = DataSpec.of(train, "train")
    chosen = _optimizer(optimizer, learning_rate, default=_FINE_RATE)
    unfreeze(model, last, batch_norm=batch_norm)
    _compile(model, spec, chosen, loss, metrics)
    return fit(
        model,
        spec,
        validation=validation,
        epochs=first + epochs,
        initial_epoch=first,
        **fit_options,
    )


@as_raised()
def fit(
    model: keras.Model,
    train: Data,
    *,
    validation: Data | None = None,
    epochs: int,
    initial_epoch: int = 0,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    steps_per_epoch: int | None = None,
    class_weight: dict[int, float] | str | None = None,
    sample_weight: Sequence[float] | None = None,
    validation_freq: int = 1,
    cache: str | Path = AUTO,
    views: int | None = None,
    workers: int = 1,
    say: Callable[[str], None] | None = None,
    progress: PassProgress | None = None,
    value_range: str = VALUE_RANGES[0],
    verbose: str | int = "auto",
) -> keras.callbacks.History:
    """Train a compiled model, after checks that Keras does not make.

    Args:
        model: a compiled model; `feature_extract` and `fine_tune` compile it.
        train: an image folder; arrays, (images, labels) or (images, labels, weights);
            or a `tf.data.Dataset`, `keras.utils.PyDataset` or other iterable with a
            length, of batches of these. Images are in [0, 255]. The order of a
            folder's or array's images is a pure function of its seed and the epoch,
            and so is the order of a PyDataset's batches.
        validation: the same; all of it is evaluated after every epoch.
        epochs: the index after the last epoch.
        initial_epoch: the index of the first epoch.
        callbacks: Keras callbacks, in the order in which they act. What they monitor
            must exist, and none may select a model on an image folder named "test". A
            callback that adds to the logs lists the names in an attribute `log_names`.
        steps_per_epoch: batches per epoch; by default all of `train` once. With an
            image folder the next epoch continues where this one ended.
        class_weight: factors of the loss by class index, one for every class, or
            "balanced", which weighs each class of a folder or of arrays the same.
        sample_weight: factors of the loss, one for each image of the folder `train`,
            in the order of its paths. A dataset has its own in its batches.
        validation_freq: epochs from one validation to the next.
        cache: "auto" runs the frozen layers at the bottom once per image, stores their
            outputs and trains the other layers on those, wherever the weights become
            the same to the bit; "off" trains on images; a folder stores them there.
        views: turns augmentation into a bank of this many views of each image, of
            which each epoch shows one in turn. A view is a function of the folder's
            seed, the image and the view's number, so views can be cached.
        workers: number of processes that share the one pass through the frozen layers.
        say: receives the line that says what is cached and why; None prints it unless
            `verbose` is 0.
        progress: called with "train" or "validation", the number of images done and
            the number of all images while features are computed; None shows a bar
            unless `verbose` is 0.
        value_range: "[0, 255]" refuses a dataset whose first batch is in another range,
            such as [0, 1]; "as is" takes any.
        verbose: as in Keras.

    Returns:
        The history of epochs `initial_epoch` to `epochs - 1`.

    Raises:
        ValueError: the model is not compiled, its `trainable` flags contradict each
            other or have changed since, or none of its weights trains; data and model
            disagree, or a batch has values that cannot be learned from; a callback
            monitors a log that does not exist, or selects a model on test data.
        FloatingPointError: the loss became NaN or infinite; checkpoints of the epochs
            before are untouched.

    Example:
        >>> train = tl.image_folder("photos/train", image_size=32)
        >>> model = tl.create_model("sample_net", 3, input_shape=(32, 32, 3))
        >>> model.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
        >>> history = tl.fit(model, train, epochs=1, verbose=0)
        >>> sorted(history.history)
        ['accuracy', 'loss']
    """
    check_epochs(epochs, initial_epoch, steps_per_epoch, validation_freq)
    check_callback_list(callbacks)
    check_model(model)
    train_spec = _spec(train, "train", initial_epoch)
    may_repeat = steps_per_epoch is not None
    check_data(model, train_spec, may_repeat=may_repeat, value_range=value_range)
    check_steps(train_spec, range(initial_epoch, epochs), steps_per_epoch)
    validation_spec = None
    if validation is not None:
        validation_spec = _spec(validation, "validation", initial_epoch)
        check_data(model, validation_spec, value_range=value_range)
        check_same_labels(train_spec, validation_spec)
    factors = _class_weight(class_weight, train_spec)
    check_class_weight(factors, model)
    check_sample_weight(sample_weight, train_spec, factors)
    check_logs(callbacks, model, train_spec, validation_spec)
    check_selection(callbacks, validation_spec)
    for spec in (train_spec, validation_spec):
        if spec is not None and spec.folder is not None:
            images, batch_size = spec.folder.num_images, spec.folder.batch_size
            check_shares(spec.name, model, images, batch_size)

    if train_spec.folder is not None and steps_per_epoch is None:
        steps_per_epoch = train_spec.batches
    # A folder is read as one unbounded stream, which starts at the step reached so far;
    # Keras learns only from steps_per_epoch where an epoch of it ends.
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
    if seam.current().BUILDS_FROM_DATA or seam.current().replicas(model) > 1:
        _build(model, train_spec)
    # BackupAndRestore leaves its epoch here, and Keras prefers it to initial_epoch.
    model._initial_epoch = None  # noqa: SLF001 - Keras has no public name for it
    guard = BatchGuard([feed.raise_error for feed in feeds.values()])
    sides = {"train": train_feed.side, "test": validation_feed.side}
    try:
        with (
            redirected(model, **sides),
            seam.current().dividing(),
            warnings.catch_warnings(),
        ):
            # Keras warns at the end of data whose length it does not know. Whether the
            # end comes too early is looked at by whoever reads it.
            warnings.filterwarnings("ignore", "Your input ran out of data")
            history = model.fit(
                train_feed.data,
                validation_data=validation_feed.data,
                validation_freq=validation_freq,
                epochs=epochs,
                initial_epoch=initial_epoch,
                steps_per_epoch=steps_per_epoch,
                class_weight=factors,
                # Keras 3.15 warns when it is asked to shuffle a tf.data.Dataset, which
                # has an order of its own, and asks by default.
                shuffle=False,
                # First: a broken epoch must not reach the checkpoint of a later
                # callback.
                callbacks=[guard, LossGuard(), *callbacks],
                verbose=verbose,
            )
    except Exception:
        guard.check()  # a dataset that ended early raises an error of TensorFlow's
        raise
    for name, feed in feeds.items():
        note = feed.finish(options)
        if note is not None:
            _say(f"{name}: {note}", say, verbose)
    return history


def _spec(data: Data, name: str, initial_epoch: int) -> DataSpec:
    spec = DataSpec.of(data, name)
    if spec.source is not None:
        spec.source.first_epoch = initial_epoch
    return spec


def _class_weight(
    weights: dict[int, float] | str | None, train: DataSpec
) -> dict[int, float] | None:
    if not isinstance(weights, str):
        return weights
    require_one_of("class_weight", weights, ("balanced",), also="a dict or ")
    folder = train.folder
    if folder is None:
        return balanced_weights(None, 0)
    return balanced_weights(folder.labels, folder.num_classes)


def _first_epoch_after(history: keras.callbacks.History | None) -> int:
    if history is None:
        return 0
    if not isinstance(history, keras.callbacks.History):
        raise ValueError(
            "history must be what the previous phase returned, a keras History. "
            f"Received: history of type {type(history).__name__}."
        )
    # The index of the last epoch is one less than the number of epochs: the tutorials'
    # initial_epoch=history.epoch[-1] trained that epoch twice.
    return int(history.epoch[-1]) + 1 if history.epoch else 0


def _optimizer(
    optimizer: str | keras.optimizers.Optimizer, rate: Rate | None, *, default: float
) -> keras.optimizers.Optimizer:
    """Return a new optimizer: the state of one that was given is another phase's."""
    if isinstance(optimizer, keras.optimizers.Optimizer):
        if rate is not None:
            raise ValueError(
                "An optimizer has a learning rate of its own. Received: "
                f"optimizer={type(optimizer).__name__}(...) and "
                f"learning_rate={rate!r}. Leave learning_rate out, or write "
                f"optimizer={optimizer.name!r}."
            )
        return type(optimizer).from_config(optimizer.get_config())
    also = "an optimizer of Keras, or "
    require_one_of("optimizer", optimizer, OPTIMIZERS, also=also)
    if not isinstance(rate, keras.optimizers.schedules.LearningRateSchedule):
        rate = default if rate is None else rate
        require_positive("learning_rate", rate)
        rate = float(rate)
    return keras.optimizers.get(optimizer).__class__(learning_rate=rate)


def _compile(
    model: keras.Model,
    train: DataSpec,
    optimizer: keras.optimizers.Optimizer,
    loss: Any,
    metrics: Sequence[Any],
) -> None:
    if loss is None:
        loss = "sparse_categorical_crossentropy"
        if model.output_shape[-1] == 1 or is_multi_label(model):
            loss = "binary_crossentropy"
        elif len(train.label_shape) == 1:
            loss = "categorical_crossentropy"
    metrics = list(metrics)
    if is_multi_label(model):
        # Of several columns Keras would compare the largest only.
        metrics = [
            keras.metrics.BinaryAccuracy(name=m) if m in _ACCURACY else m
            for m in metrics
        ]
    model.compile(
        optimizer=optimizer,
        loss=loss,
        metrics=metrics,
        # With TensorFlow XLA may round differently in a part of a model than in the
        # whole, and cached training promises the same bits.
        jit_compile="auto" if seam.current().JIT else False,
    )
    if seam.current().JIT:
        # Keras compiles nothing of a step in which one layer says that XLA cannot run
        # it, as its zoom, rotation and translation say. On JAX XLA runs them. Asked for
        # it, Keras warns, and again when the model is loaded.
        model._jit_compile = True  # noqa: SLF001 - the public setter looks at layers
    if not seam.current().BUILDS_FROM_DATA:
        _create_variables(model, train)


def _create_variables(model: keras.Model, train: DataSpec) -> None:
    """Create the variables of the optimizer and of the metrics.

    Keras creates them in the first step. TensorFlow traces a function that has created
    variables once more: a second each time, several with a large backbone.
    """
    labels, outputs = _two(train.label_shape), _two(model.output_shape[1:])
    with seam.current().scope(model):
        model.optimizer.build(model.trainable_variables)
        if type(model).compute_metrics is keras.Model.compute_metrics:
            model.compute_metrics(None, labels, outputs)
            model.reset_metrics()


def _build(model: keras.Model, train: DataSpec) -> None:
    """Build what Keras would build from a batch that it reads, as if of images."""
    batch = _two(train.image_shape), _two(train.label_shape), None
    with seam.current().scope(model):
        model._symbolic_build(data_batch=batch)  # noqa: SLF001


def _two(shape: Sequence[int | None]) -> np.ndarray:
    """Return two elements of a shape; a size that is not fixed is 1."""
    return np.zeros((2, *(n or 1 for n in shape)), "float32")


def _say(line: str, say: Callable[[str], None] | None, verbose: str | int) -> None:
    if say is not None:
        say(line)
    elif verbose:
        print(line)  # noqa: T201 - to standard output, as Keras prints its epochs


def _feeds(
    model: keras.Model,
    train: DataSpec,
    validation: DataSpec | None,
    options: CacheOptions,
    steps: range,
    *,
    weights: Sequence[float] | None,
) -> dict[str, Feed]:
    """Return what training and validation read, by name."""
    folder, source = train.folder, train.source
    if folder is not None:
        feeds = {"train": training_feed(model, folder, options, steps, weights)}
    elif options.views is not None:
        raise ValueError(
            "views needs images that can be identified one by one. Received: train of "
            f"type {type(train.data).__name__}. Load them with image_folder."
        )
    else:
        feeds = {"train": _batches(model, source, options, steps)}
    if validation is None:
        return feeds
    if validation.folder is not None:
        feed = evaluation_feed(model, validation.folder, options, "validation")
    else:
        feed = _batches(model, validation.source, options, None)
    return feeds | {"validation": feed}


def _batches(
    model: keras.Model, source: Any, options: CacheOptions, steps: range | None
) -> Feed:
    count = len(steps) if steps else None
    return batches_feed(model, source, options, training=steps is not None, steps=count)
