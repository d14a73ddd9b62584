"""Training: phases whose epochs are contiguous, and what `fit` does with its data."""

import functools
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest

from tlcore.callbacks import checkpoint_callback, early_stopping_callback
from tlcore.data.arrays import image_arrays
from tlcore.data.decoded import DecodedImages
from tlcore.data.image_folder import image_folder
from tlcore.data.image_table import image_table
from tlcore.data.images import read_image
from tlcore.data.sample_images import write_sample_images
from tlcore.evaluation import evaluate
from tlcore.freezing import freeze, frozen_fingerprint, unfreeze
from tlcore.models import create_model
from tlcore.training import feature_extract, fine_tune, fit


def tf():
    """Return TensorFlow, for the tests that are marked with its name."""
    return pytest.importorskip("tensorflow")


SHAPE = (32, 32, 3)
SIZE = SHAPE[:2]
QUIET = {"verbose": 0}


class TestPhases:
    def test_five_and_five_epochs_are_ten(self, tiny, train, held_out):
        # The tutorials' initial_epoch=history.epoch[-1] ran eleven.
        model = tiny()
        first = feature_extract(model, train, held_out, epochs=5, **QUIET)
        second = fine_tune(
            model, train, held_out, history=first, last=1, epochs=5, **QUIET
        )
        assert first.epoch + second.epoch == list(range(10))

    @pytest.mark.matrix
    def test_a_third_phase_goes_on_where_the_second_ended(self, tiny, train):
        model, history, epochs = tiny(), None, []
        for last in (1, 2, 3):
            history = fine_tune(
                model, train, history=history, last=last, epochs=2, **QUIET
            )
            epochs += history.epoch
        assert epochs == list(range(6))

    def test_feature_extraction_trains_the_head_alone(self, tiny, train):
        model = tiny()
        unfreeze(model, 2)
        frozen = model.get_layer("tiny").get_weights()
        head = model.get_layer("classifier").get_weights()
        feature_extract(model, train, epochs=2, **QUIET)
        for a, b in zip(frozen, model.get_layer("tiny").get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)
        assert not np.array_equal(head[0], model.get_layer("classifier").kernel)

    @pytest.mark.parametrize(
        "style", ["functional", pytest.param("sequential", marks=pytest.mark.matrix)]
    )
    def test_fine_tuning_moves_what_it_unfroze_and_no_statistic(
        self, tiny, train, style
    ):
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

    def test_fine_tuning_takes_a_tenth_of_the_learning_rate(self, tiny, train):
        model = tiny()
        feature_extract(model, train, epochs=1, **QUIET)
        assert float(model.optimizer.learning_rate) == np.float32(1e-3)
        fine_tune(model, train, last=1, epochs=1, **QUIET)
        assert float(model.optimizer.learning_rate) == np.float32(1e-4)

    def test_the_phases_need_a_backbone(self, tiny_network, train):
        for phase in (feature_extract, fine_tune):
            with pytest.raises(ValueError, match="needs a backbone.*Received: model='"):
                phase(tiny_network(), train)

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
            ({"epochs": 0}, "epochs must .* at least 1.* Received: epochs=0"),
            ({"epochs": None}, "Received: epochs=None"),
        ],
    )
    def test_a_wrong_option_is_refused(self, tiny, train, options, message):
        with pytest.raises(ValueError, match=message):
            feature_extract(tiny(), train, **options, **QUIET)
        with pytest.raises(ValueError, match=message):
            fine_tune(tiny(), train, last=1, **options, **QUIET)

    def test_a_history_that_is_only_its_values_is_refused(self, tiny, train):
        with pytest.raises(ValueError, match="a keras History. Received: .* type dict"):
            fine_tune(tiny(), train, history={"loss": [1.0]}, **QUIET)


class TestOptimizersOfKeras:
    def test_each_phase_trains_with_a_copy(self, tiny, train):
        model, given = tiny(), keras.optimizers.SGD(0.01, momentum=0.9)
        first = feature_extract(model, train, epochs=1, optimizer=given, **QUIET)
        assert isinstance(model.optimizer, keras.optimizers.SGD)
        assert model.optimizer is not given
        assert model.optimizer.momentum == 0.9
        assert int(given.iterations) == 0
        fine_tune(
            model, train, history=first, last=1, epochs=1, optimizer=given, **QUIET
        )
        assert int(model.optimizer.iterations) == len(train)
        assert float(model.optimizer.learning_rate) == np.float32(0.01)

    def test_schedules_and_adamw_are_taken(self, tiny, train):
        schedule = keras.optimizers.schedules.CosineDecay(0.1, decay_steps=10)
        model = tiny()
        options = {"learning_rate": schedule, "optimizer": "adamw"}
        feature_extract(model, train, epochs=1, **options, **QUIET)
        assert isinstance(model.optimizer, keras.optimizers.AdamW)
        assert float(model.optimizer.learning_rate) < 0.1
        optimizer = keras.optimizers.Adam(schedule)
        fine_tune(model, train, last=1, epochs=1, optimizer=optimizer, **QUIET)
        assert float(model.optimizer.learning_rate) < 0.1

    def test_an_optimizer_and_a_learning_rate_are_refused(self, tiny, train):
        message = r"rate of its own.*Adam\(...\) and learning_rate=0.1. Leave learning"
        options = {"optimizer": keras.optimizers.Adam(), "learning_rate": 0.1}
        for phase in (feature_extract, fine_tune):
            with pytest.raises(ValueError, match=message):
                phase(tiny(), train, **options, **QUIET)

    def test_loss_and_metrics_are_those_asked_for(self, tiny, train):
        loss = keras.losses.CategoricalCrossentropy(label_smoothing=0.1)
        top = keras.metrics.TopKCategoricalAccuracy(2, name="top")
        history = feature_extract(
            tiny(), train, epochs=1, loss=loss, metrics=["accuracy", top], **QUIET
        )
        assert sorted(history.history) == ["accuracy", "loss", "top"]


class TestBalancedClasses:
    def trained(self, tiny, data, weights):
        keras.utils.set_random_seed(3)
        model = tiny()
        feature_extract(model, data, epochs=1, class_weight=weights, **QUIET)
        return [np.array(v) for v in model.trainable_variables]

    def test_they_weigh_the_same(self, tiny, train):
        few = train.unshuffled().taken(np.arange(8))
        assert few.labels.tolist() == [0] * 6 + [1] * 2
        factors = {0: 8 / 12, 1: 8 / 4}
        two = replace(few, class_names=few.class_names[:2])
        build = functools.partial(tiny, 2)
        ours = self.trained(build, two, "balanced")
        for a, b in zip(ours, self.trained(build, two, factors), strict=True):
            np.testing.assert_array_equal(a, b)
        with pytest.raises(ValueError, match="image of every class.*class 2. Write"):
            self.trained(tiny, few, "balanced")

    def test_of_data_that_is_not_known_are_refused(self, tiny, noise):
        with pytest.raises(ValueError, match=r"one class for each .*with a dataset"):
            self.trained(tiny, noise(), "balanced")
        with pytest.raises(ValueError, match="class_weight must be a dict or .*bal"):
            self.trained(tiny, noise(), "balnced")


class TestDataThatIsNoFolder:
    @pytest.mark.parametrize("wrap", [list, tuple])
    def test_it_is_weighted_once(self, tiny, wrap):
        images = np.random.default_rng(0).uniform(0, 255, (4, 32, 32, 3))
        weighted = images, np.array([0, 1, 2, 0]), np.ones(4)
        data = weighted if wrap is tuple else [weighted]
        for other in (
            {"class_weight": dict.fromkeys(range(3), 1.0)},
            {"sample_weight": np.ones(4)},
        ):
            with pytest.raises(ValueError, match="weights of its own takes no others"):
                feature_extract(tiny(), data, epochs=1, **other, **QUIET)

    @pytest.mark.parametrize("change", ["unit", "signed"])
    def test_images_in_another_range_are_refused_unless_that_is_meant(
        self, tiny, noise, change
    ):
        scale = {"unit": lambda x: x / 255, "signed": lambda x: x / 127.5 - 1}[change]
        data = noise().map(lambda x, y: (scale(x), y))
        for arguments in ((data,), (noise(), data)):
            with pytest.raises(ValueError, match=r"in \[0, 255\].*first batch is in"):
                feature_extract(tiny(), *arguments, epochs=1, **QUIET)
        with pytest.raises(ValueError, match=r"Received: data, whose first batch"):
            evaluate(tiny(), data)
        feature_extract(tiny(), data, epochs=1, value_range="as is", **QUIET)
        assert evaluate(tiny(), data, value_range="as is")["loss"].n == 12

    @pytest.mark.matrix
    def test_a_model_without_a_backbone_takes_any_range(self, noise):
        layers = [keras.Input((32, 32, 3)), keras.layers.Flatten()]
        model = keras.Sequential([*layers, keras.layers.Dense(3, "softmax")])
        model.compile("sgd", "categorical_crossentropy")
        fit(model, noise().map(lambda x, y: (x / 255, y)), epochs=1, **QUIET)

    def test_arrays_have_an_order_that_is_a_function_of_seed_and_epoch(self, tiny):
        images = np.random.default_rng(0).uniform(0, 255, (12, 32, 32, 3))
        losses = []
        for epochs in ([4], [2, 4]):
            keras.utils.set_random_seed(3)
            model, first, lost = tiny(), 0, []
            model.compile("sgd", "sparse_categorical_crossentropy")
            for last in epochs:
                data = image_arrays(images, np.arange(12) % 3, batch_size=5)
                history = fit(model, data, epochs=last, initial_epoch=first, **QUIET)
                lost += history.history["loss"]
                first = last
            losses.append(lost)
        assert losses[0] == losses[1]

    def test_images_of_several_classes_need_a_model_for_them(self, tiny, train):
        names = train.class_names
        table = {
            path: f"{names[label]}|{names[(label + at) % 3]}"
            for at, (path, label) in enumerate(
                zip(train.paths, train.labels.tolist(), strict=True)
            )
        }
        folder = image_table(
            table, label_mode="multi", image_size=SIZE, batch_size=train.batch_size
        )
        assert folder.class_names == names
        with pytest.raises(ValueError, match=r'label_mode="multi" for .*multi_label=T'):
            feature_extract(tiny(), folder, **QUIET)
        model = tiny(multi_label=True)
        feature_extract(model, folder, folder, epochs=1, **QUIET)
        assert model.loss == "binary_crossentropy"
        assert "recall of dotted_crescent" in evaluate(model, folder)
        for weights in ("balanced", {0: 1, 1: 2, 2: 1}):
            with pytest.raises(ValueError, match="one class .*each.*Give a weight"):
                fit(model, folder, epochs=1, class_weight=weights, **QUIET)

    @pytest.mark.matrix
    def test_the_probe_of_the_logs_has_the_size_of_the_data(self):
        # Of 64 pixels the last kernel, of 12, would find 11: InceptionV3 in small.
        conv = keras.layers.Conv2D
        deep = [conv(4, 9, strides=3), conv(4, 9), conv(4, 12)]
        network = keras.Sequential([keras.Input((None, None, 3)), *deep], name="deep")
        model = create_model(network, 3, input_shape=(None, None, 3))
        images = np.random.default_rng(0).uniform(0, 255, (6, 96, 96, 3))
        labels = np.arange(6) % 3
        batches = tf().data.Dataset.from_tensor_slices((images, labels)).batch(3)
        for data in ((images, labels), batches):
            stop = keras.callbacks.EarlyStopping("val_loss")
            feature_extract(model, data, data, epochs=1, callbacks=[stop], **QUIET)


class TestLoss:
    @pytest.mark.parametrize(
        ("label_mode", "num_classes", "loss"),
        [
            ("categorical", 3, "categorical_crossentropy"),
            ("int", 3, "sparse_categorical_crossentropy"),
        ],
    )
    def test_it_follows_the_labels(self, tiny, train, label_mode, num_classes, loss):
        model = tiny(num_classes)
        feature_extract(model, train.relabelled(label_mode), epochs=1, **QUIET)
        assert model.loss == loss

    def test_two_classes_can_be_one_output(self, tiny, tmp_path):
        write_sample_images(tmp_path / "two", classes=2, per_class=4, size=32)
        train = image_folder(tmp_path / "two", image_size=SIZE, label_mode="binary")
        model = tiny(1)
        history = feature_extract(model, train, train, epochs=1, **QUIET)
        assert model.loss == "binary_crossentropy"
        scores = evaluate(model, train)
        assert scores["accuracy"].value == pytest.approx(
            history.history["val_accuracy"][-1]
        )

    def test_one_that_is_no_number_stops_training(self, tiny, train, tmp_path):
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

    def test_weights_that_the_last_step_broke_are_not_saved(
        self, tiny, train, tmp_path
    ):
        # The loss of the only step belongs to the weights before it.
        path = tmp_path / "last.weights.h5"
        model = tiny()
        model.compile("sgd", "categorical_crossentropy")
        model.optimizer.learning_rate = float("inf")
        options = {"epochs": 1, "steps_per_epoch": 1, **QUIET}
        with pytest.raises(FloatingPointError, match="NaN or infinite values at epoch"):
            fit(model, train, callbacks=[checkpoint_callback(path)], **options)
        assert not path.exists()


class TestDatasets:
    def test_a_tf_dataset_trains_and_validates(self, tiny, noise):
        history = feature_extract(tiny(), noise(), noise(), epochs=2, **QUIET)
        assert set(history.history) == {"loss", "accuracy", "val_loss", "val_accuracy"}

    @pytest.mark.tensorflow
    def test_data_without_an_end_trains_by_the_step(self, tiny, noise):
        history = feature_extract(
            tiny(), noise().repeat(), epochs=1, steps_per_epoch=np.int64(2), **QUIET
        )
        assert history.epoch == [0]

    def test_a_py_dataset_trains(self, tiny):
        class Batches(keras.utils.PyDataset):
            def __len__(self):
                return 2

            def __getitem__(self, index):
                return np.zeros((4, *SHAPE), "float32"), np.eye(3)[[0, 1, 2, 0]]

        assert feature_extract(tiny(), Batches(), epochs=1, **QUIET).epoch == [0]

    def test_the_order_of_a_folder_is_a_function_of_seed_and_epoch(self, tiny, train):
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

    def test_steps_per_epoch_go_through_the_folder_again_and_again(self, tiny, train):
        seen = []
        count = keras.callbacks.LambdaCallback(
            on_train_batch_end=lambda step, logs: seen.append(step)
        )
        feature_extract(
            tiny(), train, epochs=2, steps_per_epoch=7, callbacks=[count], **QUIET
        )
        assert seen == [*range(7), *range(7)]

    def test_a_fit_after_backup_and_restore_starts_at_its_initial_epoch(
        self, tiny, train
    ):
        model = tiny()
        model.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
        model._initial_epoch = 5  # what a restore leaves behind
        assert fit(model, train, epochs=2, **QUIET).epoch == [0, 1]


class TestWeights:
    @pytest.mark.matrix
    def test_class_weights_multiply_the_loss(self, tiny, noise):
        losses = {
            weight: feature_extract(
                tiny(),
                noise(),
                epochs=1,
                learning_rate=1e-9,
                class_weight=dict.fromkeys(range(3), weight),
                **QUIET,
            ).history["loss"][0]
            for weight in (1.0, 3.0)
        }
        assert losses[3.0] == pytest.approx(3 * losses[1.0], rel=1e-4)

    def test_an_image_with_weight_0_is_not_learnt_from(self, tiny, train):
        def weights_after(factors):
            model = tiny()
            feature_extract(model, train, epochs=1, sample_weight=factors, **QUIET)
            return model.get_layer("classifier").get_weights()

        plain = weights_after(None)
        alone = np.where(train.labels == 0, 1.0, 0.0)
        assert not np.array_equal(weights_after(alone)[0], plain[0])
        for a, b in zip(weights_after(np.ones(train.num_images)), plain, strict=True):
            np.testing.assert_array_equal(a, b)


class TestCallbacks:
    @pytest.mark.matrix
    def test_a_monitor_that_exists_is_accepted(self, tiny, train, held_out):
        stopping = early_stopping_callback("val_accuracy")
        history = feature_extract(
            tiny(), train, held_out, epochs=1, callbacks=[stopping], **QUIET
        )
        assert history.epoch == [0]

    @pytest.mark.matrix
    def test_one_that_declares_a_log_can_be_monitored(self, tiny, train, held_out):
        class AddsF1(keras.callbacks.Callback):
            log_names = ("val_f1",)

            def on_epoch_end(self, epoch, logs=None):
                logs["val_f1"] = float(epoch)

        callbacks = [AddsF1(), early_stopping_callback("val_f1", mode="min")]
        history = feature_extract(
            tiny(), train, held_out, epochs=6, callbacks=callbacks, **QUIET
        )
        assert history.epoch == [0, 1, 2, 3]

    def test_every_epoch_may_be_validated_and_saved_on_test_data(
        self, tiny, images, train, tmp_path
    ):
        test = image_folder(images / "test", image_size=SIZE)
        every = checkpoint_callback(tmp_path / "every.weights.h5")
        history = feature_extract(
            tiny(), train, test, epochs=1, callbacks=[every], **QUIET
        )
        assert "val_accuracy" in history.history


class TestImagesThatChange:
    """What is trained on, and kept, is of the bytes that were checked."""

    @pytest.fixture
    def folder(self, tmp_path):
        write_sample_images(tmp_path / "photos", classes=3, per_class=3, size=32)
        return image_folder(tmp_path / "photos", image_size=SIZE, batch_size=4)

    @pytest.mark.parametrize("cache", ["off", "folder"])
    def test_since_the_folder_was_opened_are_refused(
        self, tiny, folder, tmp_path, cache
    ):
        cache = cache if cache == "off" else tmp_path / "features"
        path = Path(folder.paths[4])
        path.write_bytes(Path(folder.paths[0]).read_bytes())
        message = rf"as it was when .*path='{path}' \(its bytes have changed\)"
        with pytest.raises(ValueError, match=message) as raised:
            feature_extract(tiny(), folder, epochs=1, cache=cache, **QUIET)
        assert "Traceback" not in str(raised.value)

    @pytest.mark.matrix
    def test_leave_no_features_behind(self, tiny, folder, tmp_path):
        path, other = Path(folder.paths[4]), Path(folder.paths[0])
        before = path.read_bytes()
        path.write_bytes(other.read_bytes())
        with pytest.raises(ValueError, match="its bytes have changed"):
            feature_extract(tiny(), folder, epochs=1, cache=tmp_path / "c", **QUIET)
        path.write_bytes(before)
        losses = [self.loss(tiny(), folder, cache) for cache in ("off", tmp_path / "c")]
        assert losses[0] == pytest.approx(losses[1], abs=1e-6)

    def loss(self, model, folder, cache):
        keras.utils.set_random_seed(1)
        options = {"epochs": 2, "cache": cache, **QUIET}
        return feature_extract(model, folder, **options).history["loss"][-1]

    def test_or_vanish_while_training_are_named(self, tiny, folder):
        gone = keras.callbacks.LambdaCallback(
            on_epoch_end=lambda *_: Path(folder.paths[2]).unlink(missing_ok=True)
        )
        folder = replace(folder, decoded=DecodedImages(0))  # as of many images
        options = {"epochs": 200, "cache": "off", "callbacks": [gone], **QUIET}
        message = rf"path='{folder.paths[2]}' \(cannot be read: No such file"
        with pytest.raises(ValueError, match=message):
            feature_extract(tiny(), folder, **options)

    def test_are_refused_by_evaluate_too(self, tiny, folder):
        Path(folder.paths[0]).unlink()
        with pytest.raises(ValueError, match="as it was when its folder was opened"):
            evaluate(tiny(), folder, cache="off")


def test_predictions_of_keras_are_in_the_order_of_paths_and_labels(tiny, images):
    opened = image_folder(images / "test", image_size=SIZE, batch_size=4)
    model = tiny()
    files = np.stack([read_image(path, SIZE) for path in opened.paths])
    expected = model.predict(files.astype("float32"), verbose=0)
    for _ in range(2):
        found = model.predict(opened.dataset(), verbose=0)
        np.testing.assert_allclose(found, expected, atol=1e-6)
    model.compile(loss="categorical_crossentropy", metrics=["accuracy"])
    accuracy = float((found.argmax(axis=1) == opened.labels).mean())
    assert accuracy == pytest.approx(evaluate(model, opened)["accuracy"].value)
    assert opened.labels.tolist() != sorted(opened.labels)


@pytest.mark.tensorflow
def test_a_step_is_traced_once(tiny, train, held_out, monkeypatch):
    # A function that creates variables is traced once more by TensorFlow.
    traced, compute_loss = [], keras.Model.compute_loss

    def counted(self, *arguments, **options):
        traced.append(self)
        return compute_loss(self, *arguments, **options)

    monkeypatch.setattr(keras.Model, "compute_loss", counted)
    model, quick = tiny(), {"epochs": 1, "verbose": 0, "cache": "off"}
    history = feature_extract(model, train, held_out, **quick)
    assert len(traced) == 2  # a training step and a test step
    fine_tune(model, train, held_out, history=history, last=2, **quick)
    assert len(traced) == 4


@pytest.mark.skipif(
    keras.backend.backend() != "jax", reason="only JAX compiles a whole step"
)
def test_a_layer_that_keras_keeps_from_xla_is_compiled_with_the_others(train):
    calls = []

    class Zoom(keras.layers.RandomZoom):
        def call(self, images, training=True):
            calls.append(training)
            return super().call(images, training=training)

    assert not Zoom(0.1).supports_jit
    model = create_model(
        "sample_net", 3, input_shape=(32, 32, 3), augmentation=Zoom(0.1)
    )
    calls.clear()
    feature_extract(model, train, epochs=4, **QUIET)
    assert 1 <= len(calls) < 4 * len(train)
