"""Training: phases, contiguous epochs, and what is refused before the first step."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tlcore.callbacks import checkpoint_callback, early_stopping_callback
from tlcore.datasets import image_folder
from tlcore.freezing import freeze, frozen_fingerprint, unfreeze
from tlcore.models import create_model
from tlcore.sample_images import write_sample_images
from tlcore.training import evaluate, feature_extract, fine_tune, fit

SHAPE = (32, 32, 3)
SIZE = SHAPE[:2]
QUIET = {"verbose": 0}


def network():
    keras.utils.set_random_seed(7)
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input(SHAPE),
            layers.Rescaling(1 / 255),
            layers.Conv2D(6, 3, strides=2, activation="relu", name="first"),
            layers.BatchNormalization(name="bn"),
            layers.Dropout(0.3, name="drop"),
            layers.Conv2D(8, 3, strides=2, activation="relu", name="second"),
        ],
        name="tiny",
    )


def tiny(num_classes=3, **options):
    return create_model(network(), num_classes, input_shape=SHAPE, **options)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    directory = tmp_path_factory.mktemp("images")
    for name in ("train", "test"):
        write_sample_images(
            directory / name, classes=3, per_class=6, size=32, seed=len(name)
        )
    return directory


@pytest.fixture
def train(images):
    return image_folder(images / "train", image_size=SIZE, batch_size=4)


@pytest.fixture
def held_out(images):
    return image_folder(images / "train", image_size=SIZE).split_off(50)[1]


class TestPhases:
    def test_five_and_five_epochs_are_ten(self, train, held_out):
        # FINDINGS A8: the tutorials' idiom ran eleven.
        model = tiny()
        first = feature_extract(model, train, held_out, epochs=5, **QUIET)
        second = fine_tune(
            model, train, held_out, history=first, last=1, epochs=5, **QUIET
        )
        assert first.epoch + second.epoch == list(range(10))

    def test_feature_extraction_trains_the_head_alone(self, train):
        model = tiny()
        unfreeze(model, 2)
        frozen = model.get_layer("tiny").get_weights()
        head = model.get_layer("classifier").get_weights()
        feature_extract(model, train, epochs=2, **QUIET)
        for a, b in zip(frozen, model.get_layer("tiny").get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)
        assert not np.array_equal(head[0], model.get_layer("classifier").kernel)

    @pytest.mark.parametrize("style", ["functional", "sequential"])
    def test_fine_tuning_moves_what_it_unfroze_and_no_statistic(self, train, style):
        # FINDINGS A2: the statistics of unfrozen layers move in plain Keras.
        model = tiny(style=style, augmentation="photometric")
        bn = model.get_layer("tiny").network.get_layer("bn")
        before = [np.array(v) for v in bn.weights]
        feature_extract(model, train, epochs=1, **QUIET)
        frozen = frozen_fingerprint(model)
        fine_tune(model, train, last=5, epochs=2, learning_rate=1e-2, **QUIET)
        gamma, beta, mean, variance = (np.array(v) for v in bn.weights)
        assert not np.array_equal(gamma, before[0])
        assert not np.array_equal(beta, before[1])
        np.testing.assert_array_equal(mean, before[2])
        np.testing.assert_array_equal(variance, before[3])
        freeze(model)
        assert frozen_fingerprint(model) != frozen

    def test_fine_tuning_takes_a_tenth_of_the_learning_rate(self, train):
        model = tiny()
        feature_extract(model, train, epochs=1, **QUIET)
        assert float(model.optimizer.learning_rate) == np.float32(1e-3)
        fine_tune(model, train, last=1, epochs=1, **QUIET)
        assert float(model.optimizer.learning_rate) == np.float32(1e-4)

    def test_the_phases_need_a_backbone(self, train):
        with pytest.raises(ValueError, match="without a backbone layer. Build it with"):
            feature_extract(network(), train)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (
                {"optimizer": "adan"},
                r"adam, rmsprop, sgd. Received.*Did you mean 'adam'",
            ),
            ({"learning_rate": 0.0}, "positive number. Received: learning_rate=0.0"),
            ({"learning_rate": float("nan")}, "must be a positive number"),
            ({"epochs": 0}, "at least one epoch"),
        ],
    )
    def test_a_wrong_option_is_refused(self, train, options, message):
        with pytest.raises(ValueError, match=message):
            feature_extract(tiny(), train, **options, **QUIET)
        with pytest.raises(ValueError, match=message):
            fine_tune(tiny(), train, last=1, **options, **QUIET)


class TestLabels:
    @pytest.mark.parametrize(
        ("label_mode", "num_classes", "loss"),
        [
            ("categorical", 3, "categorical_crossentropy"),
            ("int", 3, "sparse_categorical_crossentropy"),
        ],
    )
    def test_the_loss_follows_the_labels(self, images, label_mode, num_classes, loss):
        train = image_folder(images / "train", image_size=SIZE, label_mode=label_mode)
        model = tiny(num_classes)
        feature_extract(model, train, epochs=1, **QUIET)
        assert model.loss == loss

    def test_two_classes_can_be_one_output(self, tmp_path):
        write_sample_images(tmp_path / "two", classes=2, per_class=4, size=32)
        train = image_folder(tmp_path / "two", image_size=SIZE, label_mode="binary")
        model = tiny(1)
        history = feature_extract(model, train, train, epochs=1, **QUIET)
        assert model.loss == "binary_crossentropy"
        scores = evaluate(model, train)
        assert scores["accuracy"].value == pytest.approx(
            history.history["val_accuracy"][-1]
        )

    @pytest.mark.parametrize(
        ("label_mode", "num_classes", "message"),
        [
            ("categorical", 4, "one column per output, 4. Received: labels with 3"),
            ("int", 4, "train of 3 classes for 4 outputs"),
            ("int", 1, 'Use label_mode="binary" for one output'),
        ],
    )
    def test_labels_and_outputs_that_disagree_are_refused(
        self, images, label_mode, num_classes, message
    ):
        train = image_folder(images / "train", image_size=SIZE, label_mode=label_mode)
        with pytest.raises(ValueError, match=message):
            feature_extract(tiny(num_classes), train, **QUIET)

    def test_images_of_another_size_are_refused(self, images):
        train = image_folder(images / "train", image_size=(48, 32))
        with pytest.raises(ValueError, match=r"takes, \(32, 32, 3\). Received: .*48"):
            feature_extract(tiny(), train, **QUIET)

    def test_what_is_no_dataset_is_refused(self):
        with pytest.raises(ValueError, match="Received: list"):
            feature_extract(tiny(), [1, 2, 3], **QUIET)


class TestRefusals:
    def test_an_uncompiled_model_is_refused(self, train):
        with pytest.raises(ValueError, match="must be compiled before"):
            fit(tiny(), train, epochs=1)

    def test_flags_toggled_since_compile_are_refused_before_the_first_step(self, train):
        # FINDINGS A4.
        model = tiny()
        feature_extract(model, train, epochs=1, **QUIET)
        unfreeze(model, 1)
        weights = model.get_weights()
        with pytest.raises(ValueError, match="changed after compile"):
            fit(model, train, epochs=1, **QUIET)
        for a, b in zip(weights, model.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)

    def test_contradicting_flags_are_refused(self, train):
        # FINDINGS A7.
        model = tiny()
        model.get_layer("tiny").network.get_layer("second").trainable = True
        model.compile("adam", "categorical_crossentropy")
        with pytest.raises(ValueError, match=r"tiny\.trainable=False around second"):
            fit(model, train, epochs=1)

    def test_a_model_of_which_nothing_trains_is_refused(self, train):
        model = tiny()
        model.trainable = False
        model.compile("adam", "categorical_crossentropy")
        with pytest.raises(ValueError, match="frozen throughout"):
            fit(model, train, epochs=1)

    def test_a_monitor_that_does_not_exist_is_refused_before_epoch_1(
        self, train, held_out
    ):
        # FINDINGS A9.
        stopping = early_stopping_callback("val_acc")
        with pytest.raises(ValueError, match=r"Received: monitor='val_acc'"):
            feature_extract(tiny(), train, held_out, callbacks=[stopping], **QUIET)

    def test_a_validation_metric_without_validation_is_refused(self, train):
        stopping = early_stopping_callback("val_loss")
        with pytest.raises(ValueError, match="EarlyStopping must monitor one of: acc"):
            feature_extract(tiny(), train, callbacks=[stopping], **QUIET)

    def test_a_monitor_that_exists_is_accepted(self, train, held_out):
        stopping = early_stopping_callback("val_accuracy")
        history = feature_extract(
            tiny(), train, held_out, epochs=1, callbacks=[stopping], **QUIET
        )
        assert history.epoch == [0]

    @pytest.mark.parametrize(
        "callback",
        [
            early_stopping_callback("val_loss"),
            checkpoint_callback("best.weights.h5", monitor="val_accuracy"),
        ],
    )
    def test_nothing_is_selected_on_test_data(self, images, train, callback):
        test = image_folder(images / "test", image_size=SIZE)
        with pytest.raises(ValueError, match=r"train.split_off\(percent=10\)"):
            feature_extract(tiny(), train, test, callbacks=[callback], **QUIET)

    def test_every_epoch_may_be_validated_and_saved_on_test_data(
        self, images, train, tmp_path
    ):
        test = image_folder(images / "test", image_size=SIZE)
        every = checkpoint_callback(tmp_path / "every.weights.h5")
        history = feature_extract(
            tiny(), train, test, epochs=1, callbacks=[every], **QUIET
        )
        assert "val_accuracy" in history.history

    @pytest.mark.parametrize(
        "epochs", [{"epochs": 2, "initial_epoch": 2}, {"epochs": 0}, {"epochs": 1.5}]
    )
    def test_a_fit_of_no_epoch_is_refused(self, train, epochs):
        model = tiny()
        model.compile("adam", "categorical_crossentropy")
        with pytest.raises(ValueError, match="index of|index after"):
            fit(model, train, **epochs)

    def test_a_loss_that_is_no_number_stops_training(self, train, tmp_path):
        path = tmp_path / "last.weights.h5"
        model = tiny()
        feature_extract(
            model, train, epochs=1, callbacks=[checkpoint_callback(path)], **QUIET
        )
        good = path.read_bytes()
        head = model.get_layer("classifier")
        head.kernel.assign(np.full(head.kernel.shape, np.nan))
        with pytest.raises(FloatingPointError, match="learning_rate=0.0001"):
            fine_tune(
                model, train, last=1, callbacks=[checkpoint_callback(path)], **QUIET
            )
        assert path.read_bytes() == good


class TestDatasets:
    def dataset(self, batches=3):
        rng = np.random.default_rng(0)
        images = rng.uniform(0, 255, (4 * batches, *SHAPE)).astype("float32")
        labels = np.eye(3, dtype="float32")[rng.integers(0, 3, 4 * batches)]
        return tf.data.Dataset.from_tensor_slices((images, labels)).batch(4)

    def test_a_tf_dataset_trains_and_validates(self):
        history = feature_extract(
            tiny(), self.dataset(), self.dataset(), epochs=2, **QUIET
        )
        assert set(history.history) == {"loss", "accuracy", "val_loss", "val_accuracy"}

    def test_a_py_dataset_trains(self):
        class Batches(keras.utils.PyDataset):
            def __len__(self):
                return 2

            def __getitem__(self, index):
                return np.zeros((4, *SHAPE), "float32"), np.eye(3)[[0, 1, 2, 0]]

        assert feature_extract(tiny(), Batches(), epochs=1, **QUIET).epoch == [0]

    def test_the_order_of_a_folder_is_a_function_of_seed_and_epoch(self, train):
        # Two runs of 1 + 1 epochs see what one run of 2 sees.
        whole, halves = tiny(), tiny()
        for model in (whole, halves):
            model.compile(keras.optimizers.SGD(0.1), "categorical_crossentropy")
        halves.set_weights(whole.get_weights())
        fit(whole, train, epochs=2, **QUIET)
        fit(halves, train, epochs=1, **QUIET)
        fit(halves, train, epochs=2, initial_epoch=1, **QUIET)
        for a, b in zip(whole.get_weights(), halves.get_weights(), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-6)

    def test_steps_per_epoch_go_through_the_folder_again_and_again(self, train):
        model = tiny()
        seen = []
        count = keras.callbacks.LambdaCallback(
            on_train_batch_end=lambda step, logs: seen.append(step)
        )
        feature_extract(
            model, train, epochs=2, steps_per_epoch=7, callbacks=[count], **QUIET
        )
        assert seen == [*range(7), *range(7)]

    def test_a_fit_after_backup_and_restore_starts_where_it_is_told(
        self, train, tmp_path
    ):
        # FINDINGS A6.
        model = tiny()
        model.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
        model._initial_epoch = 5  # what a restore leaves behind
        assert fit(model, train, epochs=2, **QUIET).epoch == [0, 1]


class TestEvaluate:
    def test_it_agrees_with_keras_on_the_whole_set(self, images, train):
        model = tiny()
        feature_extract(model, train, epochs=2, **QUIET)
        test = image_folder(images / "test", image_size=SIZE, batch_size=7)
        ours = evaluate(model, test)
        keras_says = model.evaluate(
            test.unshuffled().dataset(), return_dict=True, verbose=0
        )
        assert ours["accuracy"].n == ours["loss"].n == 18
        assert ours["accuracy"].value == pytest.approx(keras_says["accuracy"])
        assert ours["loss"].value == pytest.approx(keras_says["loss"], rel=1e-5)
        assert ours["accuracy"].low < ours["accuracy"].value < ours["accuracy"].high

    def test_integer_labels_give_the_same_figures(self, images):
        model = tiny()
        scores = [
            evaluate(
                model,
                image_folder(images / "test", image_size=SIZE, label_mode=mode),
            )
            for mode in ("categorical", "int")
        ]
        assert scores[0]["accuracy"] == scores[1]["accuracy"]
        assert scores[0]["loss"].value == pytest.approx(scores[1]["loss"].value)

    def test_no_data_is_refused(self):
        empty = TestDatasets().dataset().take(0)
        with pytest.raises(ValueError, match="a dataset without a batch"):
            evaluate(tiny(), empty)
