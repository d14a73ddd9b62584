"""Checks: what is refused before the first step, and what a dataset is asked."""

import shutil

import keras
import numpy as np
import pytest

from tlcore.callbacks import EpochClock, checkpoint_callback, early_stopping_callback
from tlcore.checks import (
    DataSpec,
    check_compiled,
    check_flags,
    check_monitors,
    check_selection,
    monitored,
)
from tlcore.data.image_folder import image_folder
from tlcore.data.sample_images import write_sample_images
from tlcore.evaluation import evaluate
from tlcore.freezing import freeze, unfreeze
from tlcore.training import feature_extract, fit


def tf():
    """Return TensorFlow, for the tests that are marked with its name."""
    return pytest.importorskip("tensorflow")


SHAPE = (32, 32, 3)
SIZE = SHAPE[:2]
QUIET = {"verbose": 0}
LOGS = ("loss", "accuracy", "val_loss", "val_accuracy", "learning_rate")


class Batches(keras.utils.PyDataset):
    """Two batches of black images; remembers which it was asked for."""

    def __init__(self):
        super().__init__()
        self.asked = []

    def __len__(self):
        return 2

    def __getitem__(self, index):
        self.asked.append(index)
        labels = np.eye(3, dtype="float32")[[0, 1, 2, 0]]
        return np.zeros((4, *SHAPE), "float32"), labels


class TestDataSpec:
    @pytest.mark.parametrize(
        ("label_mode", "label_shape"), [("categorical", (3,)), ("int", ())]
    )
    def test_a_folder_knows_all_of_it(self, train, label_mode, label_shape):
        folder = train.relabelled(label_mode)
        spec = DataSpec.of(folder, "train")
        assert (spec.data, spec.folder, spec.name) == (folder, folder, "train")
        assert (spec.image_shape, spec.label_shape) == (SHAPE, label_shape)
        assert (spec.batches, spec.unbounded) == (len(folder), False)
        assert spec.class_names == folder.class_names

    def test_binary_labels_are_one_column(self, tmp_path):
        write_sample_images(tmp_path, classes=2, per_class=1, size=32)
        folder = image_folder(tmp_path, image_size=SIZE, label_mode="binary")
        assert DataSpec.of(folder, "train").label_shape == (1,)

    @pytest.mark.parametrize(
        ("change", "batches", "unbounded"),
        [
            (lambda data: data, 3, False),
            (lambda data: data.repeat(), None, True),
            (lambda data: data.filter(lambda *_: True), None, False),
            (lambda data: data.take(0), 0, False),
        ],
        ids=["known", "repeated", "unknown", "empty"],
    )
    @pytest.mark.tensorflow
    def test_a_dataset_knows_its_shapes_and_perhaps_its_length(
        self, noise, change, batches, unbounded
    ):
        spec = DataSpec.of(change(noise()), "train")
        assert (spec.image_shape, spec.label_shape) == (SHAPE, (3,))
        assert (spec.batches, spec.unbounded) == (batches, unbounded)
        assert (spec.folder, spec.class_names) == (None, None)

    def test_a_spec_is_returned_as_it_is(self, train):
        spec = DataSpec.of(train, "train")
        assert DataSpec.of(spec, "validation") is spec

    def test_a_py_dataset_is_asked_for_its_first_batch_alone(self):
        data = Batches()
        spec = DataSpec.of(data, "train")
        assert data.asked == [0]
        assert (spec.image_shape, spec.label_shape) == (SHAPE, (3,))

    def test_a_phase_asks_once(self, tiny, monkeypatch):
        # Compiling needs the labels' shape, and `fit` checks all shapes.
        data, asked = Batches(), []
        monkeypatch.setattr(
            keras.Model, "fit", lambda *_, **__: asked.extend(data.asked)
        )
        feature_extract(tiny(), data, epochs=1, **QUIET)
        assert asked == [0]

    def test_what_is_no_dataset_is_refused(self, tiny):
        with pytest.raises(ValueError, match="Data must be .*Received: list"):
            feature_extract(tiny(), [1, 2, 3], **QUIET)

    @pytest.mark.tensorflow
    def test_images_in_a_mapping_are_refused(self, tiny, noise):
        data = noise().map(lambda images, labels: ({"image": images}, labels))
        with pytest.raises(ValueError, match=r"batches \(images, labels\). Received"):
            feature_extract(tiny(), data, **QUIET)


class TestData:
    @pytest.mark.parametrize(
        ("label_mode", "num_classes", "message"),
        [
            ("categorical", 4, "one column per output, 4. Received: labels with 3"),
            ("int", 4, "train of 3 classes for 4 outputs"),
            ("int", 1, 'Use label_mode="binary" for one output'),
        ],
    )
    def test_labels_and_outputs_that_disagree_are_refused(
        self, tiny, train, label_mode, num_classes, message
    ):
        with pytest.raises(ValueError, match=message):
            feature_extract(tiny(num_classes), train.relabelled(label_mode), **QUIET)

    def test_images_of_another_size_are_refused(self, tiny, images):
        train = image_folder(images / "train", image_size=(48, 32))
        with pytest.raises(ValueError, match=r"takes, \(32, 32, 3\). Received: .*48"):
            feature_extract(tiny(), train, **QUIET)

    def test_a_column_of_indices_is_answered_with_the_form_needed(self, tiny, noise):
        images, _ = next(iter(noise()))
        labels = np.zeros((len(images), 1), "float32")
        data = tf().data.Dataset.from_tensor_slices((images, labels)).batch(4)
        with pytest.raises(ValueError, match=r"Use labels of shape \(n,\)"):
            feature_extract(tiny(), data, epochs=1)

    def test_data_without_a_batch_is_refused(self, tiny, noise):
        empty = noise().take(0)
        for arguments in ((empty,), (noise(), empty)):
            with pytest.raises(ValueError, match="a dataset without a batch"):
                feature_extract(tiny(), *arguments, **QUIET)

    @pytest.mark.tensorflow
    def test_data_without_an_end_is_refused(self, tiny, noise):
        model, data = tiny(), noise()
        with pytest.raises(ValueError, match=r"train, which repeats\..*or give steps"):
            feature_extract(model, data.repeat(), **QUIET)
        with pytest.raises(ValueError, match="validation, which repeats. Leave out"):
            feature_extract(model, data, data.repeat(), **QUIET)
        with pytest.raises(ValueError, match="data, which repeats. Leave out"):
            evaluate(model, data.repeat())

    def test_a_model_of_two_inputs_is_refused(self, train):
        inputs = [keras.Input(SHAPE), keras.Input(SHAPE)]
        pooled = keras.layers.GlobalAveragePooling2D()(keras.layers.Add()(inputs))
        model = keras.Model(inputs, keras.layers.Dense(3)(pooled))
        model.compile("adam", "categorical_crossentropy")
        with pytest.raises(ValueError, match="must have one input.*Received: .*with 2"):
            fit(model, train, epochs=1)

    def test_validation_of_other_classes_is_refused(self, tiny, train, tmp_path):
        write_sample_images(tmp_path / "x", classes=3, per_class=2, size=32)
        (tmp_path / "x" / train.class_names[1]).rename(tmp_path / "x" / "zebra")
        other = image_folder(tmp_path / "x", image_size=SIZE)
        with pytest.raises(ValueError, match="the same classes. Received: .* zebra in"):
            feature_extract(tiny(), train, other, **QUIET)

    def test_validation_with_labels_of_another_form_is_refused(
        self, tiny, train, held_out
    ):
        with pytest.raises(ValueError, match=r"shape \(3,\) in train and \(\) in"):
            feature_extract(tiny(), train, held_out.relabelled("int"), **QUIET)


class TestModels:
    def test_an_uncompiled_model_is_refused(self, tiny, train):
        with pytest.raises(ValueError, match="must be compiled before"):
            fit(tiny(), train, epochs=1)

    def test_flags_toggled_since_compile_are_refused_before_the_first_step(
        self, tiny, train
    ):
        model = tiny()
        feature_extract(model, train, epochs=1, **QUIET)
        unfreeze(model, 1)
        weights = model.get_weights()
        with pytest.raises(ValueError, match="changed after compile"):
            fit(model, train, epochs=1, **QUIET)
        for a, b in zip(weights, model.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)

    def test_contradicting_flags_are_refused(self, tiny, train):
        model = tiny()
        model.get_layer("tiny").network.get_layer("second").trainable = True
        model.compile("adam", "categorical_crossentropy")
        with pytest.raises(ValueError, match=r"tiny\.trainable=False around second"):
            fit(model, train, epochs=1)

    def test_a_model_of_which_nothing_trains_is_refused(self, tiny, train):
        model = tiny()
        model.trainable = False
        model.compile("adam", "categorical_crossentropy")
        with pytest.raises(ValueError, match="Received: .*frozen throughout. Unfreeze"):
            fit(model, train, epochs=1)


class TestFlags:
    def test_a_layer_unfrozen_under_a_frozen_parent_is_refused(self, tiny):
        model = tiny()
        model.get_layer("tiny").network.get_layer("second").trainable = True
        assert model.get_layer("tiny").trainable_variables == []
        with pytest.raises(ValueError, match=r"tiny\.trainable=False around second"):
            check_flags(model)

    def test_what_freeze_and_unfreeze_set_is_accepted(self, tiny):
        model = tiny()
        check_flags(model)
        unfreeze(model, 2)
        check_flags(model)
        unfreeze(model, 2, batch_norm=False)
        check_flags(model)


class TestCompiled:
    @pytest.fixture
    def fitted(self, tiny):
        """Return a function that fits a model with some layers unfrozen."""

        def build(last):
            model = tiny()
            unfreeze(model, last)
            model.compile("adam", "sparse_categorical_crossentropy")
            model.fit(np.zeros((4, *SHAPE)), np.zeros(4), verbose=0)
            return model

        return build

    def test_an_uncompiled_model_is_refused(self, tiny):
        with pytest.raises(ValueError, match="Received: .*not compiled. Call"):
            check_compiled(tiny())

    def test_flags_toggled_after_a_first_fit_are_refused_until_compile(self, fitted):
        model = fitted(0)
        check_compiled(model)
        unfreeze(model, 2)
        with pytest.raises(ValueError, match="changed after compile. Call"):
            check_compiled(model)
        model.compile("adam", "sparse_categorical_crossentropy")
        check_compiled(model)

    def test_a_layer_frozen_after_a_first_fit_is_refused(self, fitted):
        model = fitted(4)
        freeze(model)
        with pytest.raises(ValueError, match="changed after compile"):
            check_compiled(model)

    def test_flags_toggled_before_a_first_fit_are_refused_where_keras_keeps_them(
        self, tiny
    ):
        model = tiny()
        model.compile("adam", "sparse_categorical_crossentropy")
        if not hasattr(model, "_compiled_trainable_state"):
            pytest.skip("this Keras keeps no flags at compile; they act in its fit")
        unfreeze(model, 2)
        with pytest.raises(ValueError, match="changed after compile"):
            check_compiled(model)


class TestEpochs:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"epochs": 2, "initial_epoch": 2}, "at least 3, .* Received: epochs=2"),
            ({"epochs": 0}, "epochs must .* at least 1.* Received: epochs=0"),
            ({"epochs": 1.5}, "Received: epochs=1.5"),
            ({"epochs": 1, "initial_epoch": -1}, "Received: initial_epoch=-1"),
            ({"epochs": 1, "validation_freq": 0}, "Received: validation_freq=0"),
        ],
    )
    def test_a_fit_of_no_epoch_is_refused(self, tiny, train, options, message):
        with pytest.raises(ValueError, match=message):
            fit(tiny(), train, **options)

    @pytest.mark.parametrize("steps", [0, -3, 1.5, True])
    def test_an_epoch_without_a_step_is_refused(self, tiny, train, steps):
        with pytest.raises(ValueError, match=f"Received: steps_per_epoch={steps}"):
            feature_extract(tiny(), train, steps_per_epoch=steps, **QUIET)


class TestClassWeights:
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
    def test_what_is_not_one_factor_per_class_is_refused(self, tiny, train, weights):
        with pytest.raises(
            ValueError, match="class, 0 to 2, to a factor.*Received: class_weight="
        ):
            feature_extract(tiny(), train, class_weight=weights, **QUIET)


class TestSampleWeights:
    @pytest.mark.parametrize(
        ("factors", "message"),
        [
            ([1.0], r"for each of the 18 images.*Received: .*shape \(1,\)"),
            ([-1.0] * 18, "of at least 0"),
            ([0.0] * 18, "at least one above 0"),
            ([float("nan")] * 18, "of at least 0"),
            (["1"] * 18, "of at least 0"),
        ],
    )
    def test_what_is_not_one_factor_per_image_is_refused(
        self, tiny, train, factors, message
    ):
        with pytest.raises(ValueError, match=message):
            feature_extract(tiny(), train, epochs=1, sample_weight=factors, **QUIET)

    def test_they_do_not_go_with_class_weights_or_a_dataset(self, tiny, train):
        options = {"epochs": 1, "sample_weight": [1.0] * train.num_images, **QUIET}
        ones = dict.fromkeys(range(3), 1.0)
        with pytest.raises(ValueError, match="no class_weight.*Received: .*{0: 1.0"):
            feature_extract(tiny(), train, class_weight=ones, **options)
        with pytest.raises(ValueError, match="needs an image folder.*weights after"):
            feature_extract(tiny(), train.dataset(), **options)


class TestMonitors:
    def test_a_name_that_exists_is_accepted(self):
        check_monitors([early_stopping_callback(m) for m in LOGS], LOGS)

    @pytest.mark.parametrize("name", ["val_acc", "acc", "val_los"])
    def test_a_name_that_does_not_is_answered_with_those_that_do(self, name):
        with pytest.raises(
            ValueError, match=rf"val_accuracy.*Received: monitor='{name}'. Did you mean"
        ):
            check_monitors([early_stopping_callback(name)], LOGS)

    def test_a_checkpoint_of_every_epoch_monitors_nothing(self):
        every = checkpoint_callback("a.weights.h5")
        best = checkpoint_callback("a.weights.h5", monitor="val_acc")
        assert monitored(every) is None
        check_monitors([every, EpochClock()], LOGS)
        with pytest.raises(ValueError, match="WholeCheckpoint must monitor"):
            check_monitors([best], LOGS)

    def test_a_callback_whose_monitor_is_not_a_name_is_left_alone(self):
        callback = keras.callbacks.Callback()
        callback.monitor = object()
        assert monitored(callback) is None
        check_monitors([callback], LOGS)

    def test_other_callbacks_of_keras_are_checked_too(self):
        callback = keras.callbacks.ReduceLROnPlateau(monitor="val_acc")
        with pytest.raises(ValueError, match="ReduceLROnPlateau must monitor one of"):
            check_monitors([callback], LOGS)

    def test_one_that_does_not_exist_is_refused_before_epoch_1(
        self, tiny, train, held_out
    ):
        stopping = early_stopping_callback("val_acc")
        with pytest.raises(ValueError, match="Received: monitor='val_acc'"):
            feature_extract(tiny(), train, held_out, callbacks=[stopping], **QUIET)

    def test_a_validation_metric_without_validation_is_refused(self, tiny, train):
        stopping = early_stopping_callback("val_loss")
        with pytest.raises(ValueError, match="EarlyStopping must monitor one of: acc"):
            feature_extract(tiny(), train, callbacks=[stopping], **QUIET)

    def test_a_log_that_no_callback_declares_is_answered_with_how_to(
        self, tiny, train, held_out
    ):
        stopping = early_stopping_callback("val_f1", mode="min")
        with pytest.raises(ValueError, match=r"log_names = \('val_f1',\)"):
            feature_extract(tiny(), train, held_out, callbacks=[stopping], **QUIET)


class TestCallbacks:
    def test_one_outside_a_list_is_refused(self, tiny, train):
        callback = keras.callbacks.TerminateOnNaN()
        with pytest.raises(ValueError, match=r"must be a list.*Write \[callback\]"):
            feature_extract(tiny(), train, callbacks=callback, **QUIET)

    @pytest.mark.parametrize(
        "callback",
        [
            early_stopping_callback("val_loss"),
            checkpoint_callback("best.weights.h5", monitor="val_accuracy"),
        ],
    )
    def test_nothing_is_selected_on_test_data(self, tiny, images, train, callback):
        test = image_folder(images / "test", image_size=SIZE)
        with pytest.raises(ValueError, match=r"train.split_off\(percent=10\)"):
            feature_extract(tiny(), train, test, callbacks=[callback], **QUIET)

    @pytest.mark.parametrize("name", ["Test", "testing", "test_set", "copy"])
    def test_under_no_spelling_and_not_on_a_copy(self, images, tmp_path, name):
        shutil.copytree(images / "test", tmp_path / "data" / name)
        if name == "copy":
            shutil.copytree(images / "test", tmp_path / "data" / "Test")
        folder = image_folder(tmp_path / "data" / name, image_size=SIZE)
        spec = DataSpec.of(folder, "validation")
        check_selection([early_stopping_callback("loss")], spec)
        why = ", of which an image is in '.*/Test/.*" if name == "copy" else ""
        with pytest.raises(
            ValueError, match=rf"with validation='.*/{name}'{why}\. Hold"
        ):
            check_selection([early_stopping_callback("val_loss")], spec)
