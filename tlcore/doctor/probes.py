"""Probes: experiments that show what the installed stack does.

Owns one small experiment for each of `questions`, under the question's name. It runs
real Keras code on a few numbers, measures, and returns whether the stack is affected
and the evidence. Its argument is the code under test, by default the line that
tutorials teach; with another line it shows whether that one is affected. What an answer
means, and what to do about it, is in `questions`.
"""

import logging
import random
import tempfile
import textwrap
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import keras
import numpy as np

from tlcore.arguments import counted

Observation: TypeAlias = tuple[bool, str]
"""Whether the stack is affected, and what was measured."""

_SAME = 1e-5
"""Differences up to this are rounding; the defects are a hundred times as large."""

_LEARNING_RATE = 0.05


@contextmanager
def undisturbed() -> Iterator[None]:
    """Run experiments under Keras's defaults and leave the process as it was.

    Random number generators, precision, image layout, warnings and TensorFlow's log
    level are restored.
    """
    numbers = random.getstate(), np.random.get_state()  # noqa: NPY002 - Keras draws there
    policy = keras.config.dtype_policy()
    layout = keras.config.image_data_format()
    logger = logging.getLogger("tensorflow")
    level = logger.level
    keras.config.set_dtype_policy("float32")
    keras.config.set_image_data_format("channels_last")
    logger.setLevel(logging.ERROR)  # it warns when many models are compiled
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
        keras.config.set_image_data_format(layout)
        keras.config.set_dtype_policy(policy)
        random.setstate(numbers[0])
        np.random.set_state(numbers[1])  # noqa: NPY002 - the same


def training_argument(
    run: Callable[..., Any] = lambda base, x: base(x, training=False),
) -> Observation:
    """Return whether a layer called with training=False is in inference mode."""
    inputs = keras.Input((512,))
    # Dropout shows the mode by itself: in inference mode no unit is zero.
    dropout = keras.layers.Dropout(0.5, seed=1)
    model = keras.Model(inputs, run(dropout, inputs))
    outputs = _numpy(model(np.ones((4, 512), "float32"), training=True))
    share = float((outputs == 0).mean())
    return share > 0, f"{share * 100:.1f} % of the units were zero under training=True"


def frozen_network(
    run: Callable[..., Any] = lambda base, x: base(x, training=False),
) -> Observation:
    """Return whether a frozen network gives two outputs, or its statistics move."""
    x, y = _numbers(16, 8), _numbers(16, 1)
    inputs = keras.Input((8,))
    norm = keras.layers.BatchNormalization()
    stages = (_dense(16), norm, keras.layers.Dropout(0.5, seed=1))
    base = keras.Sequential([keras.Input((8,)), *stages])

    base.trainable = False
    model = keras.Model(inputs, run(base, inputs))
    one, two = (_numpy(model(x, training=True)) for _ in range(2))
    apart = float(np.abs(one - two).max())

    # Unfrozen now: `trainable=False` alone keeps the statistics of BatchNorm still, so
    # only an unfrozen layer shows whether training=False was honoured.
    base.trainable = True
    model = keras.Model(inputs, _dense(1)(run(base, inputs)))
    model.compile(_sgd(), "mse")
    before = _numpy(norm.moving_mean)
    model.fit(x, y, shuffle=False, verbose=0)
    moved = float(np.abs(_numpy(norm.moving_mean) - before).max())
    return apart > _SAME or moved > 0, (
        f"two passes over one batch were {apart:.2g} apart; "
        f"one epoch moved BatchNorm's mean by {moved:.2g}"
    )


def freezing_without_compile(
    freeze: Callable[..., Any] = lambda model, layer: setattr(  # noqa: ARG005
        layer, "trainable", False
    ),
) -> Observation:
    """Return whether a layer that was frozen after a first fit still moves."""
    x, y = _numbers(16, 4), _numbers(16, 1)
    layer = _dense(4)
    model = keras.Sequential([keras.Input((4,)), layer, _dense(1)])
    model.compile(_sgd(), "mse")
    model.fit(x, y, shuffle=False, verbose=0)
    before = _numpy(layer.kernel)
    with _listening("trainable") as words:
        freeze(model, layer)
        model.fit(x, y, shuffle=False, verbose=0)
    if words:
        return False, f'the answer was "{_short(words[0])}"'
    moved = float(np.abs(_numpy(layer.kernel) - before).max())
    return moved > 0, f"fit moved its weights by {moved:.2g}, without a word"


def resuming_from_weights(
    restore: Callable[..., Any] = lambda model, path: (
        model.compile("adam", "mse"),
        model.load_weights(path),
    ),
) -> Observation:
    """Compare four epochs with two, a checkpoint and two more."""
    x, y = _numbers(16, 4), _numbers(16, 1)

    def build() -> keras.Model:
        return keras.Sequential([keras.Input((4,)), _dense(4), _dense(1)])

    whole, first, second = build(), build(), build()
    for model, epochs in ((whole, 4), (first, 2)):
        model.compile("adam", "mse")
        model.fit(x, y, batch_size=1, epochs=epochs, shuffle=False, verbose=0)
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder, "last.weights.h5"))
        first.save_weights(path)
        restore(second, path)
    second.fit(x, y, batch_size=1, initial_epoch=2, epochs=4, shuffle=False, verbose=0)
    pairs = zip(whole.get_weights(), second.get_weights(), strict=True)
    apart = max(float(np.abs(a - b).max()) for a, b in pairs)
    return apart > _SAME, f"2 + 2 epochs ended {apart:.2g} away from 4 at once"


def fit_after_restore(
    again: Callable[..., Any] = lambda model, x, y: model.fit(
        x, y, epochs=2, shuffle=False, verbose=0
    ),
) -> Observation:
    """Count the epochs of a fit after one that BackupAndRestore resumed."""
    x, y = _numbers(16, 4), _numbers(16, 1)
    model = keras.Sequential([keras.Input((4,)), _dense(1)])
    model.compile(_sgd(), "mse")

    def interrupt(epoch: int, _: Any) -> None:
        if epoch == 3:
            raise InterruptedError

    with tempfile.TemporaryDirectory() as folder:

        def fit(*others: Any) -> int:
            backup = keras.callbacks.BackupAndRestore(str(Path(folder, "backup")))
            options = {"callbacks": [backup, *others], "shuffle": False, "verbose": 0}
            model.fit(x, y, epochs=5, **options)
            return len(model.history.epoch)

        try:
            fit(keras.callbacks.LambdaCallback(on_epoch_begin=interrupt))
        except InterruptedError:
            resumed = fit()
    if resumed != 2:
        raise RuntimeError(f"5 epochs, interrupted after 3, went on for {resumed}")
    again(model, x, y)
    epochs = len(model.history.epoch)
    return epochs != 2, f"fit(epochs=2) ran {counted(epochs, 'epoch')}"


def _unfreeze_children(base: Any) -> None:
    base.trainable = False
    for layer in base.layers[-10:]:
        layer.trainable = True


def unfreezing_under_frozen_parent(
    unfreeze: Callable[..., Any] = _unfreeze_children,
) -> Observation:
    """Compare what a network reports as trainable with what fit trains."""
    inputs = keras.Input((2,))
    layers = [_dense(2) for _ in range(12)]
    base = keras.Sequential([keras.Input((2,)), *layers])
    model = keras.Model(inputs, base(inputs))
    with _listening("trainable") as words:
        unfreeze(base)
        model.compile(_sgd(), "mse")
        before = [_numpy(variable) for variable in base.variables]
        model.fit(_numbers(8, 2), _numbers(8, 2), shuffle=False, verbose=0)
    if words:
        return False, f'the answer was "{_short(words[0])}"'
    pairs = zip(before, base.variables, strict=True)
    moved = sum(bool((old != _numpy(new)).any()) for old, new in pairs)
    reported = len(base.trainable_variables)
    return (
        reported != moved,
        f"the parent counts {reported} variables, fit trained {moved}",
    )


def five_and_five(
    initial_epoch: Callable[..., int] = lambda history: history.epoch[-1],
) -> Observation:
    """Count the epochs of five and five more."""
    x, y = _numbers(8, 4), _numbers(8, 1)
    model = keras.Sequential([keras.Input((4,)), _dense(1)])
    model.compile(_sgd(), "mse")
    history = model.fit(x, y, epochs=5, shuffle=False, verbose=0)
    first = initial_epoch(history)
    more = model.fit(x, y, initial_epoch=first, epochs=10, shuffle=False, verbose=0)
    total = len(history.epoch) + len(more.epoch)
    return total != 10, f"5 + 5 ran {counted(total, 'epoch')}"


def wrong_monitor(
    check: Callable[..., Any] = lambda model, x, y, monitor: None,  # noqa: ARG005
) -> Observation:
    """Observe when early stopping on an unknown metric is refused, if ever."""
    x, y = _numbers(8, 4), np.zeros((8, 1), "float32")
    late, seen = False, []
    for mode in ("auto", "max"):
        model = keras.Sequential([keras.Input((4,)), _dense(1)])
        model.compile(_sgd(), "binary_crossentropy", metrics=["accuracy"])
        begun: list[int] = []
        clock = keras.callbacks.LambdaCallback(
            on_epoch_begin=lambda epoch, _, begun=begun: begun.append(epoch)
        )
        stopping = keras.callbacks.EarlyStopping("val_acc", mode=mode, patience=1)
        with _listening("val_acc") as words:
            check(model, x, y, stopping.monitor)
            model.fit(
                *(x, y),
                validation_data=(x, y),
                epochs=3,
                callbacks=[clock, stopping],
                shuffle=False,
                verbose=0,
            )
        late |= bool(begun)
        said = f'"{_short(words[0])}"' if words else "no word"
        seen.append(f'mode="{mode}" ran {counted(len(begun), "epoch")}: {said}')
    return late, "; ".join(seen)


def augmentation_and_xla(
    place: Callable[..., Any] = lambda augment, model: keras.Sequential(
        [augment, model]
    ),
) -> Observation:
    """Return whether augmentation in a model turns jit_compile=True off."""

    def kept(model: Any, asked: Any) -> bool:
        model.compile(_sgd(), "mse", jit_compile=asked)
        return bool(model.jit_compile)

    inputs = keras.Input((8, 8, 3))
    model = keras.Model(inputs, keras.layers.Flatten()(inputs))
    if not kept(model, True):  # noqa: FBT003 - an argument of Keras
        raise RuntimeError("a model without augmentation takes no jit_compile=True")
    placed = place(keras.layers.RandomZoom(0.2, seed=1), model)
    auto, asked = kept(placed, "auto"), kept(placed, True)  # noqa: FBT003 - the same
    return not asked, (
        f"jit_compile=True became {asked} with RandomZoom in the model; on these "
        f'devices "auto" is {auto}, and {kept(model, "auto")} without it'
    )


def features_alone(
    features: Callable[..., Any] = lambda network, image: network.predict_on_batch(
        image[None]
    ),
) -> Observation:
    """Compare the features of images one by one with those of whole batches."""
    network = keras.Sequential([keras.Input((2048,)), _dense(64)])
    images = _numbers(16, 2048)
    whole = _numpy(network.predict_on_batch(images))
    # Batches above 1 have to agree, or the difference would say nothing about 1.
    some = _numpy(network.predict_on_batch(images[:7]))
    if (some != whole[:7]).any():
        raise RuntimeError("features differ between batches of 7 and of 16 already")
    alone = np.concatenate([_numpy(features(network, image)) for image in images])
    apart = float(np.abs(alone - whole).max())
    found = "the same bits" if apart == 0 else f"up to {apart:.2g} apart"
    return apart > 0, f"{found}; batches of 7 and 16 gave the same bits"


def validation_steps(
    fit: Callable[..., Any] = lambda model, train, validation: model.fit(
        train,
        validation_data=validation,
        validation_steps=len(validation) // 2,
        verbose=0,
    ),
) -> Observation:
    """Count the classes that half of an unshuffled folder is validated on."""
    classes = 4

    def share_of(label: int) -> Callable[..., Any]:
        def share(labels: Any, _: Any) -> Any:
            return keras.ops.cast(keras.ops.equal(labels, label), "float32")

        share.__name__ = f"share_{label}"
        return share

    with tempfile.TemporaryDirectory() as folder:
        for label in range(classes):
            Path(folder, str(label)).mkdir()
            for index in range(4):
                pixels = np.full((4, 4, 3), 60 * label, "uint8")
                keras.utils.save_img(f"{folder}/{label}/{index}.png", pixels)
        data = keras.utils.image_dataset_from_directory(
            folder, image_size=(4, 4), batch_size=4, shuffle=False, verbose=False
        )
        layers = [keras.layers.Flatten(), _dense(classes)]
        model = keras.Sequential([keras.Input((4, 4, 3)), *layers])
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        shares = [share_of(label) for label in range(classes)]
        model.compile(_sgd(), loss, metrics=shares)
        fit(model, data, data)
    logs = model.history.history
    seen = sum(logs[f"val_share_{label}"][-1] > 0 for label in range(classes))
    return seen < classes, f"validation saw {seen} of {classes} classes"


def rescaling_twice(
    prepare: Callable[..., Any] = lambda images: images / 255,
) -> Observation:
    """Observe the range in which images reach the layers of EfficientNet."""
    network = keras.applications.EfficientNetB0(
        include_top=False, weights=None, input_shape=(32, 32, 3)
    )
    own = [x for x in network.layers if isinstance(x, keras.layers.Rescaling)]
    if not own:
        raise RuntimeError("EfficientNetB0 has no Rescaling layer of its own")
    look = keras.Model(network.input, own[0].output)
    images = np.linspace(0, 255, 32 * 32 * 3, dtype="float32").reshape(1, 32, 32, 3)
    expected = float(_numpy(look(images)).max())
    with _listening("255") as words:
        reached = float(_numpy(look(prepare(images))).max())
    if words:
        return False, f'the answer was "{_short(words[0])}"'
    return abs(reached - expected) > expected / 2, (
        f"white arrives as {reached:.2g}, and as {expected:.2g} from [0, 255], "
        f"behind the network's own rescaling"
    )


def _stop_early(phases: Any, *_: Any) -> None:
    stopping = keras.callbacks.EarlyStopping(patience=5, restore_best_weights=True)
    for fit in phases:
        fit(callbacks=[stopping])


def best_of_two_fits(select: Callable[..., Any] = _stop_early) -> Observation:
    """Return whether selection over two fits misses the better one, the first."""
    x, y = _numbers(8, 4), _numbers(8, 1)
    model = keras.Sequential([keras.Input((4,)), _dense(1)])
    model.compile(_sgd(), "mse")
    ends, losses = [], []

    def fit(worse: float, callbacks: Any) -> None:
        spy = keras.callbacks.LambdaCallback(
            on_epoch_end=lambda *_: ends.append(_numpy(model.layers[0].kernel))
        )
        options = {"callbacks": [*callbacks, spy], "shuffle": False, "verbose": 0}
        model.fit(x, y, validation_data=(x, y + worse), **options)
        losses.append(model.history.history["val_loss"][0])

    phases = [partial(fit, 0), partial(fit, 10)]
    with tempfile.TemporaryDirectory() as folder:
        select(phases, model, str(Path(folder, "best.weights.h5")))
    away = float(np.abs(_numpy(model.layers[0].kernel) - ends[0]).max())
    which = "the second" if away else "the first"
    shown = " and ".join(f"{loss:.3g}" for loss in losses)
    return (
        away > 0,
        f"two fits reached val_loss {shown}; the weights kept are those of {which}",
    )


@contextmanager
def _listening(subject: str) -> Iterator[list[str]]:
    """Collect warnings and errors that mention a subject."""
    words: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            yield words
        except ValueError as error:
            if subject not in str(error):
                raise
            words.append(f"{type(error).__name__}: {error}")
        texts = [str(warning.message) for warning in caught]
        words += [text for text in texts if subject in text]


def _dense(units: int) -> keras.layers.Dense:
    # Seeded by its size: models that are compared start with the same weights.
    start = keras.initializers.GlorotUniform(seed=units)
    return keras.layers.Dense(units, kernel_initializer=start)


def _sgd() -> keras.optimizers.SGD:
    return keras.optimizers.SGD(_LEARNING_RATE)


def _numbers(rows: int, columns: int) -> Any:
    return np.random.default_rng(columns).normal(size=(rows, columns)).astype("float32")


def _numpy(tensor: Any) -> Any:
    return np.array(keras.ops.convert_to_numpy(tensor))


def _short(text: str) -> str:
    first = text.partition(". ")[0].partition("\n")[0]
    return textwrap.shorten(first, 80, placeholder=" ...")
