"""Interruptions: a training that is broken off at a drawn moment, and goes on.

What breaks it off is an error, after which all is thrown away but the folder of its
states: it goes on with a new model, new callbacks and newly opened images. The tests
try a sample of the moments, `bench_resume.py` 200.
"""

import random
from dataclasses import dataclass
from functools import cache

import keras
import numpy as np

import tlcore as tl

SIZE, STEPS, EPOCHS = 32, 5, 3
QUIET = {"verbose": 0}
PHASES = (
    ("feature_extract", {"epochs": EPOCHS, "learning_rate": 0.02}),
    ("fine_tune", {"epochs": EPOCHS, "last": 10}),
)
"""The function of each phase, and its own arguments."""


class BrokenError(Exception):
    """What breaks a training off."""


class Breaker(keras.callbacks.Callback):
    """Breaks a training off at a moment: (epoch, "step" or "test" or "end", number)."""

    def __init__(self, moment):
        super().__init__()
        self.moment, self.epoch = moment, 0

    def state_dict(self):
        """Return nothing: a training that goes on has no breaker."""
        return {}

    def load_state_dict(self, state):
        """Take nothing."""

    def at(self, *moment):
        if moment == self.moment:
            raise BrokenError

    def on_epoch_begin(self, epoch, logs=None):  # noqa: ARG002
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):  # noqa: ARG002
        self.at(self.epoch, "step", batch)

    def on_test_batch_end(self, batch, logs=None):  # noqa: ARG002
        self.at(self.epoch, "test", batch)

    def on_epoch_end(self, epoch, logs=None):  # noqa: ARG002
        self.at(epoch, "end", 0)


class Draws(keras.callbacks.Callback):
    """A callback of a user's, with numbers of its own and random ones."""

    def __init__(self):
        super().__init__()
        self.steps, self.seen, self.best = 0, [], {}

    def on_epoch_begin(self, epoch, logs=None):  # noqa: ARG002
        self.seen.append(float(np.random.random()))  # noqa: NPY002
        self.seen.append(random.random())

    def on_train_batch_end(self, batch, logs=None):  # noqa: ARG002
        self.steps += 1
        self.best = {"batch": batch, "sums": np.float32([self.steps])}


@dataclass(frozen=True)
class Way:
    """How a training goes.

    Attributes:
        augmentation: of the model.
        views: of `fit`.
        cache: of `fit`.
        freq: of `fit`.
        optimizer: of both phases.
        patience: of EarlyStopping.
    """

    augmentation: str | None = None
    views: int | None = None
    cache: str = "auto"
    freq: str | int = "epoch"
    optimizer: str = "adam"
    patience: int = 9


WAYS = (
    Way(),
    Way("tutorial", cache="off", freq=2),
    Way("photometric", views=2, freq=1),
    Way(cache="off", optimizer="rmsprop", patience=1),
    Way("generator", freq=3, optimizer="adamw"),
    Way("tutorial", views=3, cache="off"),
    Way(freq=4, optimizer="sgd", patience=1),
    Way("photometric", freq=2, patience=1),
    Way(freq=1, optimizer="adamw", patience=2),
    Way("tutorial", optimizer="sgd"),
)


def write_photos(folder):
    """Write the images of the trainings."""
    for name, count in (("train", 13), ("validation", 6)):
        tl.write_sample_images(
            folder / name, classes=3, per_class=count, size=SIZE, seed=count
        )


def images(photos):
    options = {"image_size": SIZE, "batch_size": 8}
    return [
        tl.image_folder(photos / name, **options) for name in ("train", "validation")
    ]


def new_model(way, seed=1):
    keras.utils.set_random_seed(seed)
    return tl.create_model(
        "sample_net",
        3,
        input_shape=(SIZE, SIZE, 3),
        augmentation=way.augmentation,
        dropout=0.3,
    )


def callbacks(way):
    stop = keras.callbacks.EarlyStopping(
        "val_loss", patience=way.patience, restore_best_weights=True
    )
    plateau = keras.callbacks.ReduceLROnPlateau("loss", patience=1, min_delta=0.5)
    return [plateau, stop, Draws()]


def options(way, more=()):
    acting = callbacks(way)
    return acting, {
        "cache": way.cache,
        "views": way.views,
        "callbacks": [*acting, *more],
        **QUIET,
    }


def train(way, phase, model, photos, *, state=None, more=()):
    """Train a phase of a new model; return its history and its own callbacks."""
    acting, given = options(way, more)
    if state is not None:
        given |= {"state": state, "state_freq": way.freq}
    fit, more_of_it = PHASES[phase]
    history = getattr(tl, fit)(
        model, *images(photos), optimizer=way.optimizer, **more_of_it, **given
    )
    return history, acting


def everything(model, history, acting):
    """Return all that must be the same, as bytes and plain values."""
    stop, plateau, draws = acting[1], acting[0], acting[2]
    return {
        "weights": [w.tobytes() for w in model.get_weights()],
        "slots": [
            keras.ops.convert_to_numpy(v).tobytes() for v in model.optimizer.variables
        ],
        "seeds": [
            keras.ops.convert_to_numpy(v).tobytes()
            for v in model.non_trainable_variables
        ],
        "epochs": history.epoch,
        "history": history.history,
        "stop": (stop.best, stop.wait, stop.stopped_epoch, stop.best_epoch),
        "plateau": (plateau.best, plateau.wait, plateau.cooldown_counter),
        "draws": (draws.steps, draws.seen, draws.best["batch"], draws.best["sums"][0]),
    }


@cache
def unbroken(way, photos):
    """Return how each phase ends without a break."""
    ends = []
    # Each phase alone: what a first one leaves in the process is another's.
    for phase in range(len(PHASES)):
        model = new_model(way)
        ends.append(everything(model, *train(way, phase, model, photos)))
    return ends


def broken(way, photos, phase, moment, folder):
    """Return how a phase ends that is broken off, and goes on."""
    breaking = {"state": folder, "more": [Breaker(moment)]}
    try:
        train(way, phase, new_model(way), photos, **breaking)
    except BrokenError:
        pass
    else:
        raise AssertionError(f"{moment} never came")
    model = new_model(way, seed=99)
    acting, given = options(way)
    given |= {"epochs": EPOCHS, "state_freq": way.freq}
    history = tl.resume(model, folder, *images(photos), **given)
    return everything(model, history, acting)


def drawn(number):
    """Return the way, phase and moment of a numbered point."""
    numbers = random.Random(number)
    way = WAYS[number % len(WAYS)]
    epoch = numbers.randrange(2 if way.patience == 1 else EPOCHS)
    kinds = [("step", numbers.randrange(STEPS)), ("test", numbers.randrange(3))]
    kind = numbers.choice([*kinds, kinds[0], ("end", 0)])
    return way, numbers.randrange(2), (epoch, *kind)


def differing(number, photos, folder):
    """Return what a numbered training has otherwise than one without a break."""
    way, phase, moment = drawn(number)
    ended = broken(way, photos, phase, moment, folder)
    expected = unbroken(way, photos)[phase]
    return [name for name, value in expected.items() if ended[name] != value]
