"""Training: phases, contiguous epochs, and what is refused before the first step."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tlcore.callbacks import checkpoint_callback, early_stopping_callback
from tlcore.data.image_folder import image_folder
from tlcore.data.sample_images import write_sample_images
from tlcore.evaluation import evaluate
from tlcore.freezing import freeze, frozen_fingerprint, unfreeze
from tlcore.models import create_model
from tlcore.training import feature_extract, fine_tune, fit

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
        # The tutorials' initial_epoch=history.epoch[-1] ran eleven.
        model = tiny()
        first = feature_extract(model, train, held_out, epochs=5, **QUIET)
        second = fine_tune(
            model, train, held_out, history=first, last=1, epochs=5, **QUIET
        )
        assert first.epoch + second.epoch == list(range(10))

    def test_a_third_phase_goes_on_where_the_second_ended(self, train):
        model, history, epochs = tiny(), None, []
        for last in (1, 2, 3):
            history = fine_tune(
                model, train, history=history, last=last, epochs=2, **QUIET
            )
            epochs += history.epoch
        assert epochs == list(range(6))

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
        # The statistics of unfrozen layers move in plain Keras.
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
            (
                {"learning_rate": "0.1"},
                "positive number. Received: learning_rate='0.1'",
            ),
            ({"epochs": 0}, "at least 1, the index after .* Received: epochs=0"),
            ({"epochs": None}, "Received: epochs=None"),
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
        model = tiny()
        feature_extract(model, train, epochs=1, **QUIET)
        unfreeze(model, 1)
        weights = model.get_weights()
        with pytest.raises(ValueError, match="changed after compile"):
            fit(model, train, epochs=1, **QUIET)
        for a, b in zip(weights, model.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)

    def test_contradicting_flags_are_refused(self, train):
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
        stopping = early_stopping_callback("val_acc")
        with pytest.raises(ValueError, match=r"Received: monitor='val_acc'"):
            feature_extract(tiny(), train, held_out, callbacks=[stopping], **QUIET)

    def test_a_validation_metric_without_validation_is_refused(self, train):
        stopping = early_stopping_callback("val_loss")
        with pytest.raises(ValueError, match="EarlyStopping must monitor one of: acc"):
            feature_extract(tiny(), train, callbacks=[stopping], **QUIET)

    def test_validation_of_other_classes_is_refused(self, train, tmp_path):
        write_sample_images(tmp_path / "x", classes=3, per_class=2, size=32)
        (tmp_path / "x" / train.class_names[1]).rename(tmp_path / "x" / "zebra")
        other = image_folder(tmp_path / "x", image_size=SIZE)
        with pytest.raises(ValueError, match="the same classes. Received: .* zebra in"):
            feature_extract(tiny(), train, other, **QUIET)

    def test_validation_with_labels_of_another_form_is_refused(self, train, held_out):
        with pytest.raises(ValueError, match=r"shape \(3,\) in train and \(\) in"):
            feature_extract(tiny(), train, held_out.relabelled("int"), **QUIET)

    @pytest.mark.parametrize(
        "weights",
        [
            {},
            {0: 1.0},
            {0: 1, 1: 1, 7: 2},
            dict.fromkeys(range(3), 0),
            dict.fromkeys(range(3), -1),
            dict.fromkeys(range(3), float("nan")),
            [1, 2, 3],
        ],
    )
    def test_class_weights_that_are_none_are_refused(self, train, weights):
        with pytest.raises(ValueError, match="every class, 0 to 2, to a factor"):
            feature_extract(tiny(), train, class_weight=weights, **QUIET)

    def test_a_callback_outside_a_list_is_refused(self, train):
        callback = keras.callbacks.TerminateOnNaN()
        with pytest.raises(ValueError, match=r"Write \[callback\]"):
            feature_extract(tiny(), train, callbacks=callback, **QUIET)

    def test_a_history_that_is_only_its_values_is_refused(self, train):
        with pytest.raises(ValueError, match="Received: history of type dict"):
            fine_tune(tiny(), train, history={"loss": [1.0]}, **QUIET)

    def test_a_model_of_two_inputs_is_refused(self, train):
        inputs = [keras.Input(SHAPE), keras.Input(SHAPE)]
        pooled = keras.layers.GlobalAveragePooling2D()(keras.layers.Add()(inputs))
        model = keras.Model(inputs, keras.layers.Dense(3)(pooled))
        model.compile("adam", "categorical_crossentropy")
        with pytest.raises(ValueError, match="must have one input"):
            fit(model, train, epochs=1)

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

    @pytest.mark.parametrize("steps", [0, -3, 1.5, True])
    def test_an_epoch_without_a_step_is_refused(self, train, steps):
        with pytest.raises(ValueError, match=f"Received: steps_per_epoch={steps}"):
            feature_extract(tiny(), train, steps_per_epoch=steps, **QUIET)

    def test_a_callback_says_what_it_adds_to_the_logs(self, train, held_out):
        class AddsF1(keras.callbacks.Callback):
            def on_epoch_end(self, epoch, logs=None):
                logs["val_f1"] = float(epoch)

        adds, stopping = AddsF1(), early_stopping_callback("val_f1", mode="min")
        callbacks = [adds, stopping]
        with pytest.raises(ValueError, match=r"log_names = \('val_f1',\)"):
            feature_extract(tiny(), train, held_out, callbacks=callbacks, **QUIET)
        adds.log_names = ("val_f1",)
        history = feature_extract(
            tiny(), train, held_out, epochs=6, callbacks=callbacks, **QUIET
        )
        assert history.epoch == [0, 1, 2, 3]

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

    def test_class_weights_weigh_the_loss(self):
        data = self.dataset()
        losses = {
            weight: feature_extract(
                tiny(),
                data,
                epochs=1,
                learning_rate=1e-9,
                class_weight=dict.fromkeys(range(3), weight),
                **QUIET,
            ).history["loss"][0]
            for weight in (1.0, 3.0)
        }
        assert losses[3.0] == pytest.approx(3 * losses[1.0], rel=1e-4)

    def test_a_column_of_indices_is_answered_with_the_form_needed(self):
        images, _ = next(iter(self.dataset()))
        labels = np.zeros((len(images), 1), "float32")
        data = tf.data.Dataset.from_tensor_slices((images, labels)).batch(4)
        with pytest.raises(ValueError, match=r"Use labels of shape \(n,\)"):
            feature_extract(tiny(), data, epochs=1)

    def test_data_without_a_batch_is_refused(self):
        empty = self.dataset().take(0)
        for arguments in ((empty,), (self.dataset(), empty)):
            with pytest.raises(ValueError, match="a dataset without a batch"):
                feature_extract(tiny(), *arguments, **QUIET)

    def test_data_without_an_end_is_refused(self):
        data = self.dataset()
        with pytest.raises(ValueError, match=r"train, endless\..*or give steps_per"):
            feature_extract(tiny(), data.repeat(), **QUIET)
        with pytest.raises(ValueError, match=r"validation, endless\. Leave out"):
            feature_extract(tiny(), data, data.repeat(), **QUIET)
        with pytest.raises(ValueError, match=r"data, endless\. Leave out"):
            evaluate(tiny(), data.repeat())
        history = feature_extract(
            tiny(), data.repeat(), epochs=1, steps_per_epoch=np.int64(2), **QUIET
        )
        assert history.epoch == [0]

    def test_images_in_a_mapping_are_refused(self):
        data = self.dataset().map(lambda images, labels: ({"image": images}, labels))
        with pytest.raises(ValueError, match="batches \\(images, labels\\)"):
            feature_extract(tiny(), data, **QUIET)

    def test_a_py_dataset_trains(self):
        class Batches(keras.utils.PyDataset):
            def __len__(self):
                return 2

            def __getitem__(self, index):
                return np.zeros((4, *SHAPE), "float32"), np.eye(3)[[0, 1, 2, 0]]

        assert feature_extract(tiny(), Batches(), epochs=1, **QUIET).epoch == [0]

    def test_sample_weights_train_and_are_left_aside_by_evaluate(self):
        def weighted(images, labels):
            return images, labels, labels[:, 0] * 3

        model, plain = tiny(), self.dataset()
        feature_extract(model, plain.map(weighted), epochs=1, **QUIET)
        assert evaluate(model, plain.map(weighted)) == evaluate(model, plain)

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

    @pytest.mark.parametrize("num_classes", [1, 3])
    def test_it_agrees_with_keras_where_the_model_is_sure_and_wrong(
        self, images, num_classes
    ):
        # Taken from probabilities alone, the loss of an image ends at 16.
        mode = "categorical" if num_classes == 3 else "int"
        data = image_folder(images / "test", image_size=SIZE, label_mode=mode).dataset()
        if num_classes == 1:
            data = data.map(lambda x, y: (x, tf.cast(y[:, None] > 0, tf.float32)))
        model = tiny(num_classes)
        feature_extract(model, data, epochs=1, **QUIET)
        model.get_layer("classifier").bias.assign([300.0, *[0.0] * (num_classes - 1)])
        keras_says = model.evaluate(data, return_dict=True, verbose=0)
        assert keras_says["loss"] > 50
        assert evaluate(model, data)["loss"].value == pytest.approx(keras_says["loss"])

    def test_a_model_that_gives_no_numbers_is_not_scored(self):
        model = tiny()
        head = model.get_layer("classifier")
        head.bias.assign(np.full(head.bias.shape, np.nan))
        with pytest.raises(FloatingPointError, match="none on 12 of 12 images"):
            evaluate(model, TestDatasets().dataset())

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


class TestSampleWeights:
    def test_an_image_without_weight_is_not_learnt_from(self, train):
        def weights_after(factors):
            model = tiny()
            feature_extract(model, train, epochs=1, sample_weight=factors, **QUIET)
            return model.get_layer("classifier").get_weights()

        labels = train.labels
        alone = np.where(labels == 0, 1.0, 0.0)
        assert not np.array_equal(weights_after(alone)[0], weights_after(None)[0])
        ones = weights_after(np.ones(train.num_images))
        for a, b in zip(ones, weights_after(None), strict=True):
            np.testing.assert_array_equal(a, b)

    @pytest.mark.parametrize(
        ("factors", "message"),
        [
            ([1.0], "for each of the 18 images, one of them above. Received"),
            ([-1.0] * 18, "of at least 0"),
            ([0.0] * 18, "one of them above"),
            ([float("nan")] * 18, "of at least 0"),
            (["1"] * 18, "of at least 0"),
        ],
    )
    def test_factors_that_are_none_are_refused(self, train, factors, message):
        with pytest.raises(ValueError, match=message):
            feature_extract(tiny(), train, epochs=1, sample_weight=factors, **QUIET)

    def test_they_do_not_go_with_class_weights_or_a_dataset(self, train):
        ones = [1.0] * train.num_images
        with pytest.raises(ValueError, match="and no class_weight beside it"):
            feature_extract(
                tiny(),
                train,
                epochs=1,
                sample_weight=ones,
                class_weight={0: 1.0, 1: 1.0, 2: 1.0},
                **QUIET,
            )
        with pytest.raises(ValueError, match="gives its weights behind its labels"):
            feature_extract(
                tiny(), train.dataset(), epochs=1, sample_weight=ones, **QUIET
            )
