"""Rate search: what a curve suggests, and that a search changes nothing."""

from functools import partial

import keras
import numpy as np
import pytest

import tlcore as tl
from tlcore.checkpoints import variables
from tlcore.data.image_folder import image_folder
from tlcore.data.sample_images import write_sample_images

QUIET = {"verbose": 0}
SHORT = {"steps": 12, **QUIET}


def everything(model):
    """Return all that a training changes, as bytes."""
    arrays = {**variables.values(model), **variables.frozen(model)}
    return {name: array.tobytes() for name, array in arrays.items()}


@pytest.fixture(scope="module")
def classifier(tiny):
    """Return the function that builds a small model, the same one each time."""
    return partial(tiny, dropout=0.3)


@pytest.fixture(scope="module")
def begun(classifier, train):
    """Return the function that builds it and trains it for an epoch."""

    def build(**options):
        model = classifier(**options)
        tl.feature_extract(model, train, epochs=1, **QUIET)
        return model

    return build


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Return a folder of 60 training images in three classes."""
    directory = tmp_path_factory.mktemp("photos")
    write_sample_images(directory, classes=3, per_class=20, size=32)
    return directory


def go_on(model, train):
    """Train a model for two more epochs, and return everything."""
    history = tl.fit(model, train, epochs=3, initial_epoch=1, **QUIET)
    return everything(model), history.history


class TestIsAsIfItHadNotBeen:
    @pytest.mark.parametrize(
        "steps",
        [3 * 5 + 2, pytest.param(10, marks=pytest.mark.matrix)],
        ids=["several epochs", "two epochs"],
    )
    def test_training_goes_on_with_the_same_bits(self, begun, train, steps):
        expected = go_on(begun(), train)
        model = begun()
        before, attributes = everything(model), dict(vars(model))
        numbers = variables.random_numbers()["python"]
        search = tl.find_learning_rate(model, train, steps=steps, **QUIET)
        assert len(search.losses) > 5
        assert everything(model) == before
        assert vars(model).keys() == attributes.keys()
        assert all(vars(model)[name] is value for name, value in attributes.items())
        assert variables.random_numbers()["python"] == numbers
        assert go_on(model, train) == expected

    def test_a_model_that_is_not_compiled_is_not_compiled_after_it(
        self, classifier, train
    ):
        model = classifier()
        before, attributes = everything(model), set(vars(model))
        search = tl.find_learning_rate(model, train, **SHORT)
        assert len(search.losses) > 5
        assert not model.compiled
        assert set(vars(model)) == attributes
        assert everything(model) == before
        searched = tl.feature_extract(model, train, epochs=1, **QUIET).history
        plain = classifier()
        assert searched == tl.feature_extract(plain, train, epochs=1, **QUIET).history
        assert everything(model) == everything(plain)

    @pytest.mark.matrix
    @pytest.mark.parametrize(
        "options",
        [
            {"augmentation": "photometric"},
            {"augmentation": "tutorial"},
            {"style": "sequential"},
        ],
        ids=str,
    )
    def test_whatever_the_model_draws(self, begun, train, options):
        expected = go_on(begun(**options), train)
        model = begun(**options)
        tl.find_learning_rate(model, train, **SHORT)
        assert go_on(model, train) == expected

    @pytest.mark.matrix
    @pytest.mark.parametrize("last", [2, 5])
    def test_fine_tuning(self, begun, train, last):
        def tuned(*, search):
            model = begun()
            tl.fine_tune(model, train, last=last, epochs=1, **QUIET)
            if search:
                tl.find_learning_rate(model, train, **SHORT)
            return go_on(model, train)

        assert tuned(search=True) == tuned(search=False)

    @pytest.mark.matrix
    @pytest.mark.parametrize("name", ["sgd", "rmsprop", "ema", "own"])
    def test_each_optimizer(self, classifier, train, name):
        def compiled():
            model = classifier()
            made = {
                "ema": lambda: keras.optimizers.Adam(1e-3, use_ema=True),
                "own": lambda: keras.optimizers.SGD(1e-2, momentum=0.9),
            }.get(name, lambda: name)
            model.compile(made(), "categorical_crossentropy", metrics=["accuracy"])
            return model

        expected = go_on(compiled(), train)
        model = compiled()
        tl.find_learning_rate(model, train, **SHORT)
        assert go_on(model, train) == expected

    @pytest.mark.matrix
    def test_the_metrics_of_an_evaluation(self, classifier, train, held_out):
        model = classifier()
        model.compile("sgd", "categorical_crossentropy", metrics=["accuracy"])
        model.evaluate(held_out.dataset(), verbose=0)
        assert any(total.any() for total in variables.sums(model).values())
        before = {name: x.tobytes() for name, x in variables.sums(model).items()}
        tl.find_learning_rate(model, train, **SHORT)
        after = variables.sums(model)
        assert {name: after[name].tobytes() for name in before} == before

    @pytest.mark.matrix
    def test_several_steps_in_one_execution(self, classifier, train):
        if keras.backend.backend() == "torch":
            pytest.skip("PyTorch has one step in an execution")
        model = classifier()
        model.compile("adam", "categorical_crossentropy", steps_per_execution=3)
        assert len(tl.find_learning_rate(model, train, **SHORT).losses) == 12
        assert model.steps_per_execution == 3

    def test_an_error_in_the_middle(self, begun, train):
        model = begun()
        before = everything(model)

        def interrupt(name, done, total):
            if (name, done) == ("steps", 4):
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            tl.find_learning_rate(model, train, progress=interrupt, **SHORT)
        assert everything(model) == before
        assert model.compiled


class TestData:
    def test_rates_and_losses_are_those_of_training_with_them(self, classifier, train):
        losses = []

        class Losses(keras.callbacks.Callback):
            def on_train_batch_begin(self, batch, logs=None):
                self.model.reset_metrics()

            def on_train_batch_end(self, batch, logs=None):
                losses.append(float(logs["loss"]))

        model = classifier(dropout=0)
        model.compile(keras.optimizers.SGD(0.5), "categorical_crossentropy")
        edge = {"lowest": 0.01, "highest": 0.01 * (1 + 1e-9), "steps": 12}
        search = tl.find_learning_rate(model, train, **edge, **QUIET)
        assert float(model.optimizer.learning_rate) == 0.5
        model.optimizer.learning_rate = 0.01
        tl.fit(model, train, epochs=3, callbacks=[Losses()], **QUIET)
        assert search.losses == pytest.approx(losses[:12], rel=1e-6)
        assert len(set(search.losses)) == 12

    @pytest.mark.matrix
    def test_features_are_computed_once(self, classifier, train, tmp_path):
        said = []
        options = {"cache": tmp_path / "features", "say": said.append, **SHORT}
        for _ in range(2):
            tl.find_learning_rate(classifier(), train, **options)
        assert "cached at pool" in said[0]
        assert "(found)" in said[1]

    @pytest.mark.matrix
    def test_cached_and_end_to_end_are_the_same(self, classifier, train):
        both = [
            tl.find_learning_rate(classifier(), train, cache=cache, **SHORT)
            for cache in ("auto", "off")
        ]
        assert both[0] == both[1]

    @pytest.mark.matrix
    @pytest.mark.parametrize("batches", [1, 3])
    def test_batches_are_repeated(self, classifier, noise, batches):
        search = tl.find_learning_rate(classifier(), noise(batches), **SHORT)
        assert len(search.losses) == 12

    @pytest.mark.matrix
    def test_a_folder_of_one_batch_is_repeated(self, classifier, images):
        train = image_folder(images / "train", image_size=32, batch_size=32)
        assert len(tl.find_learning_rate(classifier(), train, **SHORT).losses) == 12

    @pytest.mark.matrix
    @pytest.mark.tensorflow
    def test_data_that_never_ends(self, classifier, noise):
        data = noise(3).repeat()
        assert len(tl.find_learning_rate(classifier(), data, **SHORT).losses) == 12

    @pytest.mark.matrix
    @pytest.mark.tensorflow
    def test_data_of_unknown_length(self, classifier, noise):
        data = noise(3).filter(lambda x, y: True)
        assert len(tl.find_learning_rate(classifier(), data, **SHORT).losses) == 12


class TestFinds:
    @pytest.mark.matrix
    def test_a_rate_with_which_training_does_well(self, photos):
        train = image_folder(photos, image_size=32, batch_size=16)

        def new():
            keras.utils.set_random_seed(1)
            return tl.create_model("sample_net", 3, input_shape=(32, 32, 3))

        search = tl.find_learning_rate(new(), train, **QUIET)
        assert 1e-4 < search.suggestion < 0.1
        assert search.suggestion < (search.diverged_at or 10)
        rates = np.array(search.rates)
        assert rates[1:] / rates[:-1] == pytest.approx(1e8 ** (1 / 99))
        ends = [
            tl.feature_extract(new(), train, learning_rate=rate, **QUIET).history
            for rate in (1e-5, search.suggestion)
        ]
        assert ends[1]["loss"][-1] < 0.85 * ends[0]["loss"][-1]

    @pytest.mark.matrix
    @pytest.mark.tensorflow
    def test_mixed_precision_scales_the_loss(self, begun, train, mixed_float16):
        model = begun()
        before = everything(model)
        assert tl.find_learning_rate(model, train, **SHORT).losses
        assert everything(model) == before


class TestRefuses:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"lowest": 1, "highest": 1}, "must rise.*lowest=1, highest=1.*Leave both"),
            ({"lowest": 2, "highest": 0.1}, "lowest=2, highest=0.1"),
            ({"lowest": 0}, "lowest must be a positive number. Received: lowest=0"),
            ({"lowest": -1e-3}, "positive number. Received: lowest=-0.001"),
            ({"highest": float("inf")}, "positive number. Received: highest=inf"),
            ({"highest": "1"}, "positive number. Received: highest='1'"),
            ({"steps": 9}, "at least 10 and at most 10,000, enough .* steps=9"),
            ({"steps": 10**8}, "at most 10,000, enough for a curve and no more"),
            ({"steps": 10.0}, "whole number.*Received: steps=10.0"),
            ({"cache": ""}, 'cache must be "auto"'),
            ({"optimizer": "adamm"}, "Did you mean 'adam'"),
        ],
    )
    def test_options_that_are_wrong(self, classifier, train, options, message):
        model = classifier()
        with pytest.raises(ValueError, match=message):
            tl.find_learning_rate(model, train, **options)
        assert not model.compiled

    def test_a_schedule(self, classifier, train):
        schedule = keras.optimizers.schedules.CosineDecay(1e-3, 10)
        optimizer = keras.optimizers.Adam(schedule)
        message = "must be a number. Received: optimizer='adam.*', .*Compile with"
        with pytest.raises(ValueError, match=message):
            tl.find_learning_rate(classifier(), train, optimizer=optimizer)
        model = classifier()
        model.compile(optimizer, "categorical_crossentropy")
        with pytest.raises(ValueError, match=message):
            tl.find_learning_rate(model, train)

    @pytest.mark.parametrize("option", ["optimizer", "loss"])
    def test_what_a_compiled_model_has(self, classifier, train, option):
        model = classifier()
        model.compile("adam", "categorical_crossentropy")
        message = f"its own {option}. Received: {option}='sgd'.*Leave {option} out"
        with pytest.raises(ValueError, match=message):
            tl.find_learning_rate(model, train, **{option: "sgd"})

    @pytest.mark.parametrize("compiled", [True, False])
    def test_a_model_of_which_nothing_trains(self, classifier, train, compiled):
        model = classifier()
        model.trainable = False
        if compiled:
            model.compile("adam", "categorical_crossentropy")
        with pytest.raises(ValueError, match="must have a weight that trains"):
            tl.find_learning_rate(model, train)

    def test_a_loss_that_is_no_number_from_the_start(self, classifier, train):
        model = classifier()
        kernel = model.get_layer("classifier").kernel
        kernel.assign(np.full(kernel.shape, np.nan))
        message = (
            "before anything is trained. Received: a loss that is NaN.*1e-07.*look"
        )
        with pytest.raises(FloatingPointError, match=message):
            tl.find_learning_rate(model, train, **QUIET)
        assert not model.compiled

    def test_a_loss_that_becomes_no_number_is_where_it_diverged(
        self, classifier, train
    ):
        model = classifier()
        kernel = model.get_layer("classifier").kernel

        def steep(truth, predicted):
            penalty = 1e30 * keras.ops.mean(keras.ops.square(kernel))
            return penalty + keras.ops.mean(predicted, axis=-1)

        options = {"optimizer": "sgd", "loss": steep, "lowest": 0.1, **SHORT}
        search = tl.find_learning_rate(model, train, **options)
        assert len(search.losses) < 3
        assert 0.1 < search.diverged_at < 1
        assert search.suggestion is None
        assert "before it diverged" in search.sentence
        assert np.isfinite(search.losses).all()
        assert np.isfinite(model.get_weights()[-1]).all()
