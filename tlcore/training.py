"""Training: the only module that trains.

Owns `fit` and the two phases of transfer learning, `feature_extract` and `fine_tune`.
What `fit` refuses before the first step is in `checks`; what training reads, images or
cached features, is decided in `caching.feeds`.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import keras

from tlcore.arguments import require_path
from tlcore.backend import seam
from tlcore.backend.shares import check_shares
from tlcore.caching.data_feeds import fit_feeds
from tlcore.caching.feeds import AUTO, CacheOptions, Feed, cache_options
from tlcore.caching.redirection import Side, redirected
from tlcore.callbacks import BatchGuard, LossGuard
from tlcore.checkpoints.conditions import Conditions, sha256
from tlcore.checkpoints.keeping import EPOCH, Keeping, keeping_of
from tlcore.checkpoints.loop import Leg, Loop
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
from tlcore.data.spec import Data, DataSpec
from tlcore.freezing import freeze, unfreeze
from tlcore.optimizing.compiling import (
    Rate,
    build_as_keras_does,
    compile_phase,
    create_variables,
    new_optimizer,
)
from tlcore.optimizing.layer_rates import (
    LayerRates,
    layer_factors,
    with_layer_rates,
)
from tlcore.optimizing.stages import Stage, joined, plan_stages
from tlcore.terminal.progress import PassProgress, pass_progress

_NO_FEED = Feed(None, Side(), "")
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
    chosen = new_optimizer(optimizer, learning_rate, default=_FIRST_RATE)
    freeze(model)
    compile_phase(model, spec, chosen, loss, metrics)
    return fit(model, spec, validation=validation, epochs=epochs, **fit_options)


def fine_tune(
    model: keras.Model,
    train: Data,
    validation: Data | None = None,
    *,
    history: keras.callbacks.History | None = None,
    last: int | str = 10,
    stages: Sequence[int | str] | None = None,
    batch_norm: bool = True,
    epochs: int | Sequence[int] = 5,
    learning_rate: Rate | Sequence[Rate] | None = None,
    layer_rates: LayerRates | None = None,
    optimizer: str | keras.optimizers.Optimizer = "adam",
    loss: Any = None,
    metrics: Sequence[Any] = ("accuracy",),
    **fit_options: Any,
) -> keras.callbacks.History:
    """Unfreeze the last layers of the backbone and continue training, more slowly.

    Unfreezes the layers, compiles the model again and calls `fit`; in stages, once for
    each. The layers that still are frozen run once per image. Epochs are counted
    from the end of `history`: 5 epochs after 5 epochs make 10.

    Args:
        model: a model of `create_model`, usually after `feature_extract`.
        train: images in [0, 255] with labels, in a form that `fit` takes.
        validation: the same; all of it is evaluated after every epoch.
        history: what the previous phase returned; None starts at epoch 0.
        last: how many layers of the backbone train, counted from the end, or "all".
        stages: instead of `last`, such as [10, 50, "all"]: how many train at first, and
            then in each further stage, which compiles the model anew.
        batch_norm: False keeps gamma and beta of those layers frozen.
        epochs: number of further epochs; with stages of each, or a list of them.
        learning_rate: a number or schedule, by default 1e-4, a tenth of that of
            `feature_extract`; with stages of each, or a list of them. An optimizer of
            Keras has its own.
        layer_rates: factors of the learning rate. A number is that of the lowest layer
            that trains; from there they rise geometrically to 1 at the head. A mapping
            has factors by layer name, or pattern such as "block7*", or "backbone" or
            "head"; the last that fits a layer counts.
        optimizer: "adam", "adamw", "rmsprop" or "sgd", or an optimizer of Keras, of
            which this phase trains with a copy.
        loss: of Keras, or a function; by default the cross-entropy of the labels.
        metrics: as in `compile`.
        fit_options: further arguments of `fit`. With stages, `state` has a folder for
            each, such as "last_10".

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
        >>> third = tl.fine_tune(
        ...     model, train, history=second, stages=[4, 8], layer_rates=0.1, **short
        ... )
        >>> third.epoch
        [2, 3]
    """
    require_backbone(model)
    plan = plan_stages(stages, last, epochs, learning_rate)
    done: list[keras.callbacks.History] = []
    for stage in plan:
        begin = _first_epoch_after(done[-1] if done else history)
        spec = DataSpec.of(train, "train")
        chosen = new_optimizer(optimizer, stage.learning_rate, default=_FINE_RATE)
        unfreeze(model, stage.last, batch_norm=batch_norm)
        if layer_rates is not None:
            chosen = with_layer_rates(chosen, layer_factors(model, layer_rates))
        compile_phase(model, spec, chosen, loss, metrics)
        stage_history = fit(
            model,
            spec,
            validation=validation,
            epochs=begin + stage.epochs,
            initial_epoch=begin,
            **(fit_options if stages is None else _of_stage(stage, fit_options)),
        )
        done.append(stage_history)
    model.history = done[0] if stages is None else joined(done)
    return model.history


def _of_stage(stage: Stage, fit_options: dict[str, Any]) -> dict[str, Any]:
    """Return the options of a stage's fit: its states have a folder of their own."""
    state = fit_options.get("state")
    if state is None:
        return fit_options
    return {**fit_options, "state": require_path("state", state) / stage.name}


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
    state: str | Path | Keeping | None = None,
    state_freq: str | int = EPOCH,
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
        state: a folder to which the whole state of the training is written after every
            epoch, so that `resume` can go on from it; it must hold none yet.
        state_freq: "epoch", or the number of steps from one state to the next within
            an epoch as well.
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
    speak = partial(_say, say=say, verbose=verbose)
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
    factors = train_spec.class_weight(class_weight)
    check_class_weight(factors, model)
    check_sample_weight(sample_weight, train_spec, factors)
    check_logs(callbacks, model, train_spec, validation_spec)
    check_selection(callbacks, validation_spec)
    _check_shares(model, train_spec, validation_spec)

    if train_spec.folder is not None and steps_per_epoch is None:
        steps_per_epoch = train_spec.batches
    keeping = keeping_of(state, state_freq, callbacks)
    asked = {
        "steps_per_epoch": steps_per_epoch,
        "class_weight": factors,
        "sample_weight": sha256(sample_weight),
        "validation_freq": validation_freq,
        "views": views,
    }
    about = Conditions(model, train_spec, validation_spec, asked)
    if keeping is not None:
        keeping.check(about, epochs, speak)
        create_variables(model, train_spec)
    if seam.current().BUILDS_FROM_DATA or seam.current().replicas(model) > 1:
        build_as_keras_does(model, train_spec)
    feeds: dict[str, Feed] = {}
    loop = Loop(
        # First: a broken epoch must not reach the checkpoint of a later callback.
        [BatchGuard(feeds), LossGuard(), *callbacks],
        model,
        epochs=range(initial_epoch, epochs),
        steps=steps_per_epoch or train_spec.batches,
        # Batches that are read once for all epochs cannot be entered within one.
        within=train_spec.source is None or steps_per_epoch is None,
        verbose=verbose,
        keeping=keeping,
        conditions=about,
        say=speak,
    )
    options = cache_options(cache, views, workers, progress)
    fitting = {
        "validation_freq": validation_freq,
        "class_weight": factors,
        "verbose": verbose,
    }

    def feeds_of(leg: Leg) -> None:
        steps = _steps(leg, train_spec, epochs, steps_per_epoch)
        fitting["steps_per_epoch"] = loop.left(leg) if leg.step else steps_per_epoch
        again = None if "validation" in feeds else validation_spec
        with pass_progress(progress, show=bool(verbose)) as report:
            found = fit_feeds(
                model,
                train_spec,
                again,
                replace(options, progress=report),
                steps,
                weights=sample_weight,
            )
        if not feeds:
            speak("; ".join(f"{k}: {feed.sentence}" for k, feed in found.items()))
        feeds.update(found)

    for leg in loop.legs():
        if not leg.epochs:
            loop.end()
            break
        feeds_of(leg)
        _fit_leg(model, loop, leg, feeds, fitting)
    _finish(feeds, options, speak)
    model.history = loop.history
    return loop.history


def _finish(
    feeds: Mapping[str, Feed], options: CacheOptions, speak: Callable[[str], None]
) -> None:
    for name, feed in feeds.items():
        note = feed.finish(options)
        if note is not None:
            speak(f"{name}: {note}")


def _check_shares(model: keras.Model, *specs: DataSpec | None) -> None:
    for spec in specs:
        if spec is not None and spec.folder is not None:
            images, batch_size = spec.folder.num_images, spec.folder.batch_size
            check_shares(spec.name, model, images, batch_size)


def _fit_leg(
    model: keras.Model,
    loop: Loop,
    leg: Leg,
    feeds: Mapping[str, Feed],
    fitting: Mapping[str, Any],
) -> None:
    """Run Keras's own `fit` for a leg, on features or on images."""
    validation = feeds.get("validation", _NO_FEED)
    # BackupAndRestore leaves its epoch here, and Keras prefers it to initial_epoch.
    model._initial_epoch = None  # noqa: SLF001 - Keras has no public name for it
    try:
        with (
            redirected(model, train=feeds["train"].side, test=validation.side),
            seam.current().dividing(),
            loop.fitting(),
            warnings.catch_warnings(),
        ):
            # Keras warns at the end of data whose length it does not know. Whether the
            # end comes too early is looked at by whoever reads it.
            warnings.filterwarnings("ignore", "Your input ran out of data")
            if leg.whole:
                loop.finish_epoch(validation.data, fitting["validation_freq"])
                return
            model.fit(
                feeds["train"].data,
                validation_data=validation.data,
                epochs=leg.epochs.stop,
                initial_epoch=leg.epochs.start,
                # Keras 3.15 warns when it is asked to shuffle a tf.data.Dataset, which
                # has an order of its own, and asks by default.
                shuffle=False,
                callbacks=loop,
                **fitting,
            )
    except Exception:
        for feed in feeds.values():
            feed.raise_error()  # data that ended early gives an error of TensorFlow's
        raise


def _steps(leg: Leg, train: DataSpec, epochs: int, per_epoch: int | None) -> range:
    """Return the steps from a leg on, counted from the first of epoch 0.

    Batches are moved on to the first of them. A folder is read as one unbounded stream,
    which starts there and is read ahead, beyond the leg; Keras learns only from
    steps_per_epoch where an epoch of it ends.
    """
    source, begin = train.source, leg.epochs.start
    leg = replace(leg, step=0) if leg.whole else leg  # nothing of it is read
    if per_epoch is None:
        if source is not None:
            source.go_to(begin, leg.step)
        return range(0)
    steps = range(begin * per_epoch + leg.step, epochs * per_epoch)
    if source is not None:  # one reading for all epochs
        first = source.first_epoch
        source.go_to(first, steps.start - first * per_epoch)
    return steps


def _spec(data: Data, name: str, initial_epoch: int) -> DataSpec:
    spec = DataSpec.of(data, name)
    if spec.source is not None:
        spec.source.first_epoch = initial_epoch
    return spec


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


def _say(line: str, say: Callable[[str], None] | None, verbose: str | int) -> None:
    if say is not None:
        say(line)
    elif verbose:
        print(line)  # noqa: T201 - to standard output, as Keras prints its epochs
