"""Resuming: a training that was broken off anywhere ends as one that was not."""

import shutil

import interruptions
import keras
import numpy as np
import pytest

import tlcore as tl
from tlcore.backend.precision import precision
from tlcore.checkpoints import conditions, variables
from tlcore.checkpoints.keeping import Keeping
from tlcore.checkpoints.state_folder import StateFolder


@pytest.fixture(scope="session")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("resuming")
    interruptions.write_photos(folder)
    return folder


@pytest.mark.parametrize("number", [1])
def test_a_training_broken_off_ends_as_one_that_was_not(number, photos, tmp_path):
    assert interruptions.differing(number, photos, tmp_path / "state") == []


@pytest.mark.matrix
@pytest.mark.parametrize("number", range(10, 20))
def test_and_so_in_every_way(number, photos, tmp_path):
    assert interruptions.differing(number, photos, tmp_path / "state") == []


SHAPE = (interruptions.SIZE, interruptions.SIZE, 3)
QUIET = {"verbose": 0}


def new_model(seed=1, **options):
    keras.utils.set_random_seed(seed)
    return tl.create_model("sample_net", 3, input_shape=SHAPE, **options)


def weights(model):
    return [w.tobytes() for w in model.get_weights()]


def same(model, other):
    slots = [
        [keras.ops.convert_to_numpy(v).tobytes() for v in m.optimizer.variables]
        for m in (model, other)
    ]
    return weights(model) == weights(other) and slots[0] == slots[1]


@pytest.fixture
def train(photos):
    return interruptions.images(photos)[0]


@pytest.fixture(scope="session")
def one_epoch(photos, tmp_path_factory):
    """The folder of a training of one epoch."""
    folder = tmp_path_factory.mktemp("begun") / "state"
    train = interruptions.images(photos)[0]
    options = {"callbacks": stops(), "state": folder, **QUIET}
    tl.feature_extract(new_model(), train, epochs=1, **options)
    return folder


@pytest.fixture
def begun(one_epoch, tmp_path):
    """A copy of it."""
    return shutil.copytree(one_epoch, tmp_path / "state")


def resumed(model, folder, train, **options):
    options = {"callbacks": stops(), "epochs": 2, **QUIET, **options}
    return tl.resume(model, folder, train, **options)


class TestRefused:
    def refused(self, match, model, folder, train, **options):
        files = {path: path.read_bytes() for path in folder.iterdir()}
        with pytest.raises(ValueError, match=match):
            resumed(model, folder, train, **options)
        assert {path: path.read_bytes() for path in folder.iterdir()} == files

    def test_more_layers(self, begun, train):
        match = "a model of 39 layers for a state of 38"
        self.refused(match, new_model(dropout=0.5), begun, train)

    @pytest.mark.matrix
    def test_layers_with_other_options(self, train, tmp_path):
        options = {"epochs": 1, "state": tmp_path, **QUIET}
        tl.feature_extract(new_model(dropout=0.3), train, **options)
        match = r"recipe: layers\[\d+\]\[2\]\.rate: 0\.3 in the state, 0\.5 now"
        self.refused(match, new_model(dropout=0.5), tmp_path, train, callbacks=[])

    def test_another_optimizer(self, begun, train):
        model = new_model()
        tl.freeze(model)
        model.compile("sgd", "categorical_crossentropy", metrics=["accuracy"])
        self.refused(r"recipe: compile\.optimizer\.class_name", model, begun, train)

    def test_another_argument_of_fit(self, begun, train):
        match = r"recipe: fit\.class_weight"
        options = {"class_weight": {0: 1, 1: 2, 2: 1}}
        self.refused(match, new_model(), begun, train, **options)

    def test_other_layers_train(self, begun, train):
        self.refused("trainable: .*fresh_optimizer=True", unfrozen(), begun, train)

    def test_other_frozen_weights(self, begun, train):
        model = new_model()
        shift(model)
        self.refused("weights: .*allow_changed='weights'", model, begun, train)

    def test_other_images(self, begun, photos):
        other = interruptions.images(photos)[1]
        match = r"data: train\.fingerprint: .*and \d+ more.*allow_changed='data'"
        self.refused(match, new_model(), begun, other)

    def test_another_batch_size(self, begun, photos):
        size = interruptions.SIZE
        other = tl.image_folder(photos / "train", image_size=size, batch_size=4)
        match = r"recipe: fit\.steps_per_epoch.*data: train\.batch_size: 8 in the state"
        self.refused(match, new_model(), begun, other)

    def test_other_versions(self, begun, train, monkeypatch):
        monkeypatch.setattr(conditions, "arithmetic", lambda: {"numpy": "0.1"})
        match = "versions: .*allow_changed='versions'"
        self.refused(match, new_model(), begun, train)

    @pytest.mark.matrix
    def test_fewer_epochs(self, begun, train):
        tl.resume(new_model(), begun, train, epochs=3, callbacks=stops(), **QUIET)
        match = r"epochs=2 for a state after epoch 3\. Give more epochs"
        self.refused(match, new_model(), begun, train)

    def test_a_callback_that_had_a_memory_is_missing(self, begun, train):
        match = "none of EarlyStopping, which has something to remember"
        self.refused(match, new_model(), begun, train, callbacks=[])

    def test_a_word_that_is_none(self, begun, train):
        match = "allow_changed must be one of: versions, data, weights"
        self.refused(match, new_model(), begun, train, allow_changed="seed")

    def test_no_state(self, train, tmp_path):
        with pytest.raises(ValueError, match="which holds none"):
            resumed(new_model(), tmp_path / "nothing", train)

    def test_a_new_training_in_a_folder_with_states(self, begun, train):
        with pytest.raises(ValueError, match=r"Go on from it with tl\.resume"):
            tl.feature_extract(new_model(), train, state=begun, **QUIET)

    def test_a_file_as_the_folder(self, train, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(ValueError, match="state must be a folder"):
            tl.feature_extract(new_model(), train, state=tmp_path / "file", **QUIET)

    @pytest.mark.parametrize("freq", [0, -1, 1.5, "step"])
    def test_a_frequency_that_is_none(self, freq, train, tmp_path):
        with pytest.raises(ValueError, match="state_freq must be a whole number"):
            tl.feature_extract(new_model(), train, state=tmp_path, state_freq=freq)

    def test_a_frequency_without_a_folder(self, train):
        with pytest.raises(ValueError, match="without state"):
            tl.feature_extract(new_model(), train, state_freq=3)

    def test_keras_own_way_beside_it(self, train, tmp_path):
        backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
        options = {"callbacks": [backup], "state": tmp_path / "state"}
        with pytest.raises(ValueError, match="BackupAndRestore beside state"):
            tl.feature_extract(new_model(), train, **options)

    def test_the_state_of_a_model_that_is_not_compiled(self, tmp_path):
        with pytest.raises(ValueError, match="not compiled. Train it first"):
            tl.save_state(new_model(), tmp_path)


def stops():
    return [keras.callbacks.EarlyStopping("loss", patience=5)]


def unfrozen():
    model = new_model()
    tl.unfreeze(model, last=3)
    model.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
    return model


def shift(model):
    """Change a frozen weight."""
    weight = variables.frozen_weights(model)[0]
    weight.assign(weight + 1)


@pytest.mark.matrix
class TestAllowed:
    def test_other_weights_take_those_kept_with_the_state(self, begun, train):
        expected, model = new_model(), new_model()
        resumed(expected, begun, train)
        for path in begun.glob("epoch-000002*"):
            path.unlink()
        shift(model)
        resumed(model, begun, train, allow_changed="weights")
        assert same(model, expected)

    def test_other_versions_go_on_and_are_named(self, begun, train, monkeypatch):
        monkeypatch.setattr(conditions, "arithmetic", lambda: {"numpy": "0.1"})
        said = []
        resumed(new_model(), begun, train, allow_changed="versions", say=said.append)
        assert said[0].startswith("allowed, so figures may differ: versions: ")

    def test_a_fresh_optimizer_for_other_layers(self, begun, train):
        model = unfrozen()
        history = resumed(model, begun, train, fresh_optimizer=True)
        assert history.epoch == [0, 1]
        assert int(model.optimizer.iterations) == len(train)

    def test_a_damaged_state_gives_way_to_the_one_before(self, begun, train):
        expected = new_model()
        resumed(expected, begun, train)
        newest = StateFolder(begun).files()[-1]
        newest.write_bytes(newest.read_bytes()[:-1])
        said, model = [], new_model(seed=3)
        resumed(model, begun, train, say=said.append)
        assert said[0].startswith("damaged, so an older state is taken")
        assert same(model, expected)


@pytest.mark.matrix
class TestMore:
    def test_more_epochs_are_those_asked_for_from_the_start(self, begun, train):
        longer, model = new_model(), new_model(seed=2)
        history = tl.feature_extract(longer, train, epochs=3, **QUIET)
        again = resumed(model, begun, train, epochs=3)
        assert again.history == history.history
        assert same(model, longer)

    def test_a_state_written_after_a_fit(self, train, tmp_path):
        longer, first, model = new_model(), new_model(), new_model(seed=2)
        history = tl.feature_extract(longer, train, epochs=3, **QUIET)
        tl.feature_extract(first, train, epochs=1, **QUIET)
        tl.save_state(first, tmp_path)
        again = tl.resume(model, tmp_path, train, epochs=3, **QUIET)
        assert again.history == history.history
        assert same(model, longer)

    @pytest.mark.tensorflow  # elsewhere Keras alone reads ahead of the order of epochs
    def test_a_training_by_keras_alone(self, train, tmp_path):
        first, model = new_model(), new_model(seed=2)
        tl.freeze(first)
        first.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
        data = train.dataset(reshuffle=True)
        first.fit(data, epochs=2, shuffle=False, **QUIET)
        tl.save_state(first, tmp_path)
        longer = new_model()
        tl.feature_extract(longer, train, epochs=3, **QUIET)
        history = tl.resume(model, tmp_path, train, epochs=3, **QUIET)
        assert history.epoch == [0, 1, 2]
        assert weights(model) == weights(longer)

    def test_a_log_goes_on_in_its_file(self, train, tmp_path):
        def log():
            return keras.callbacks.CSVLogger(tmp_path / "log.csv")

        first, broken = log(), interruptions.Breaker((2, "step", 1))
        options = {"epochs": 3, **QUIET}
        with pytest.raises(interruptions.BrokenError):
            tl.feature_extract(
                new_model(),
                train,
                callbacks=[first, broken],
                state=tmp_path / "state",
                **options,
            )
        first.on_train_end()  # closes its file, as the end of the process does
        tl.resume(new_model(), tmp_path / "state", train, callbacks=[log()], **options)
        lines = (tmp_path / "log.csv").read_text().splitlines()
        assert [line.split(",")[0] for line in lines] == ["epoch", "0", "1", "2"]

    def test_what_a_callback_cannot_keep_is_named(self, train, tmp_path):
        class Writer(keras.callbacks.Callback):
            def on_epoch_end(self, epoch, logs=None):
                self.file = object()

        said = []
        tl.feature_extract(
            new_model(),
            train,
            epochs=1,
            callbacks=[Writer()],
            state=tmp_path,
            say=said.append,
            **QUIET,
        )
        assert said[1:] == [
            "not kept for a resume: attribute file of Writer, of type object; give it "
            "state_dict() and load_state_dict(state)"
        ]


def numbers(photos):
    """Return the images as arrays."""
    parts = [
        [keras.ops.convert_to_numpy(part) for part in batch]
        for batch in interruptions.images(photos)[0].dataset()
    ]
    return [np.concatenate(part) for part in zip(*parts, strict=True)]


def slices(photos, seed=4):
    import tensorflow as tf

    data = tf.data.Dataset.from_tensor_slices(tuple(numbers(photos)))
    return data.shuffle(39, seed=seed).batch(8)


class Drawn(keras.utils.PyDataset):
    """Batches by their number."""

    def __init__(self, photos):
        super().__init__()
        self.parts = numbers(photos)

    def __len__(self):
        return 5

    def __getitem__(self, index):
        return tuple(part[8 * index : 8 * index + 8] for part in self.parts)


SOURCES = {
    "arrays": lambda photos: tl.image_arrays(*numbers(photos), batch_size=8),
    "dataset": slices,
    "PyDataset": Drawn,
    "list": lambda photos: list(Drawn(photos)),
}


def all_of(make):
    of_tensorflow = {"dataset": [pytest.mark.tensorflow]}
    return [pytest.param(name, marks=of_tensorflow.get(name, ())) for name in make]


@pytest.mark.matrix
@pytest.mark.parametrize("source", all_of(SOURCES))
@pytest.mark.parametrize("cache", ["auto", "off"])
@pytest.mark.parametrize(
    "moment", [(1, "step", 2), (2, "step", 4), (1, "test", 0), (2, "end", 0)]
)
def test_data_that_others_made(source, cache, moment, photos, tmp_path):
    def options():
        return {
            "validation": interruptions.images(photos)[1],
            "callbacks": [keras.callbacks.ReduceLROnPlateau("loss", patience=1)],
            "epochs": 4,
            "cache": cache,
            **QUIET,
        }

    make = SOURCES[source]
    # One model after the other: PyTorch has one state for all random numbers.
    expected = new_model(dropout=0.3)
    history = tl.feature_extract(expected, make(photos), **options())
    breaking = options()
    breaking["callbacks"].append(interruptions.Breaker(moment))
    broken = new_model(dropout=0.3)
    with pytest.raises(interruptions.BrokenError):
        tl.feature_extract(
            broken, make(photos), state=tmp_path, state_freq=2, **breaking
        )
    model = new_model(dropout=0.3)
    again = tl.resume(model, tmp_path, make(photos), **options())
    assert again.history == history.history
    assert same(model, expected)


@pytest.mark.matrix
@pytest.mark.tensorflow
def test_an_order_that_does_not_come_again_is_refused(photos, tmp_path):
    options = {"epochs": 1, **QUIET}
    tl.feature_extract(new_model(), slices(photos, None), state=tmp_path, **options)
    with pytest.raises(ValueError, match=r"data: train\.first: "):
        tl.resume(new_model(2), tmp_path, slices(photos, None), epochs=2, **QUIET)


@pytest.mark.matrix
def test_epochs_of_some_steps(photos, tmp_path):
    train = interruptions.images(photos)[0]
    options = {"epochs": 5, "steps_per_epoch": 3, "validation_freq": 2, **QUIET}
    validation = interruptions.images(photos)[1]
    expected = new_model(dropout=0.3)
    history = tl.feature_extract(expected, train, validation, **options)
    with pytest.raises(interruptions.BrokenError):
        tl.feature_extract(
            new_model(dropout=0.3),
            train,
            validation,
            callbacks=[interruptions.Breaker((3, "step", 1))],
            state=tmp_path,
            state_freq=1,
            **options,
        )
    model = new_model(dropout=0.3)
    again = tl.resume(model, tmp_path, train, validation, **options)
    assert again.history == history.history
    assert same(model, expected)


def assert_ends_the_same(make, train, folder, **options):
    """Check a training that is broken off within its second epoch, and goes on."""
    expected = make()
    tl.feature_extract(expected, train, epochs=3, **options, **QUIET)
    with pytest.raises(interruptions.BrokenError):
        tl.feature_extract(
            make(),
            train,
            epochs=3,
            callbacks=[interruptions.Breaker((1, "step", 3))],
            state=folder,
            state_freq=2,
            **options,
            **QUIET,
        )
    model = make()
    tl.resume(model, folder, train, epochs=3, **QUIET)
    assert same(model, expected)


@pytest.mark.matrix
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_in_mixed_precision(policy, train, tmp_path):
    def make():
        with precision(policy):
            return new_model(dropout=0.3)

    assert_ends_the_same(make, train, tmp_path)


@pytest.mark.matrix
def test_with_a_moving_average_of_the_weights(train, tmp_path):
    optimizer = keras.optimizers.Adam(0.01, use_ema=True, ema_momentum=0.5)
    assert_ends_the_same(new_model, train, tmp_path, optimizer=optimizer)


class Asked(BaseException):
    """What a signal ends the program with."""


class Signal:
    """A signal that comes in the middle of a step, and waits while it is held."""

    def __init__(self):
        self.asked, self.held = False, False

    def hold(self):
        self.held = True

    def release(self):
        self.held = False
        return Asked() if self.asked else None


class Comes(interruptions.Breaker):
    """Has the signal come at a moment."""

    def __init__(self, moment, signal):
        super().__init__(moment)
        self.signal = signal

    def at(self, *moment):
        if moment == self.moment:
            assert self.signal.held
            self.signal.asked = True


@pytest.mark.parametrize(
    ("moment", "state"),
    [
        ((1, "step", 1), (1, 2)),
        pytest.param((1, "step", 4), (1, 5), marks=pytest.mark.matrix),
        pytest.param((1, "test", 1), (1, 5), marks=pytest.mark.matrix),
        pytest.param((1, "end", 0), (2, 0), marks=pytest.mark.matrix),
        pytest.param((2, "test", 2), (2, 5), marks=pytest.mark.matrix),
    ],
)
def test_a_signal_waits_for_the_end_of_a_step(moment, state, photos, tmp_path):
    data, options = interruptions.images(photos), {"epochs": 3, **QUIET}
    expected = new_model(dropout=0.3)
    history = tl.feature_extract(expected, *data, **options)
    signal = Signal()
    keeping = Keeping(StateFolder(tmp_path), interruption=signal)
    comes = Comes(moment, signal)
    broken = new_model(dropout=0.3)
    with pytest.raises(Asked):
        tl.feature_extract(broken, *data, callbacks=[comes], state=keeping, **options)
    assert not signal.held
    newest = StateFolder(tmp_path).newest(pytest.fail)
    assert (newest.epoch, newest.step) == state
    model = new_model(dropout=0.3)
    again = tl.resume(model, tmp_path, *data, **options)
    assert again.history == history.history
    assert same(model, expected)


def test_a_signal_waits_for_nothing_once_training_is_over(train, tmp_path):
    signal = Signal()
    keeping = Keeping(StateFolder(tmp_path), interruption=signal)
    tl.feature_extract(new_model(), train, epochs=1, state=keeping, **QUIET)
    assert not signal.held
