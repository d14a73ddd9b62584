"""Evaluation: intervals that hold, and figures that agree with those of Keras."""

import math

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlcore.data.arrays import image_arrays
from tlcore.data.image_folder import image_folder
from tlcore.evaluation import (
    class_figures,
    decision_threshold,
    evaluate,
    mean,
    proportion,
)
from tlcore.training import feature_extract


def tf():
    """Return TensorFlow, for the tests that are marked with its name."""
    return pytest.importorskip("tensorflow")


SIZE = (32, 32)


@pytest.mark.parametrize(
    ("correct", "n", "low", "high"),
    [
        # scipy.stats.binomtest(correct, n).proportion_ci(method="wilson")
        (141, 150, 0.88991023, 0.96811596),
        (0, 10, 0.00000000, 0.27753280),
        (10, 10, 0.72246720, 1.00000000),
        (1, 2, 0.09453121, 0.90546879),
    ],
)
def test_the_interval_of_a_proportion_is_wilsons(correct, n, low, high):
    estimate = proportion(correct, n)
    assert estimate.value == correct / n
    assert estimate.n == n
    assert estimate.low == pytest.approx(low, abs=1e-8)
    assert estimate.high == pytest.approx(high, abs=1e-8)


@given(
    st.integers(1, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
)
def test_a_proportion_lies_within_its_interval(case):
    estimate = proportion(*case)
    assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1


def test_the_interval_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    for p in (0.5, 0.85, 0.95):
        drawn, times = np.unique(rng.binomial(150, p, 4000), return_counts=True)
        estimates = [proportion(int(correct), 150) for correct in drawn]
        covered = np.average([e.low <= p <= e.high for e in estimates], weights=times)
        assert 0.93 <= covered <= 0.97


@pytest.mark.parametrize(("correct", "n"), [(0, 0), (3, 2), (-1, 2)])
def test_an_impossible_proportion_is_refused(correct, n):
    with pytest.raises(ValueError, match=f"Received: correct={correct}, n={n}"):
        proportion(correct, n)


def test_a_mean_has_its_normal_interval():
    estimate = mean([1.0, 2.0, 3.0])
    assert estimate.value == 2.0
    assert estimate.high - 2.0 == pytest.approx(1.959964 / math.sqrt(3))
    assert str(estimate).startswith("2.0000 (n=3, 95 % ")
    assert estimate.as_dict()["n"] == 3


def test_the_interval_of_one_value_is_unbounded():
    estimate = mean([2.0])
    assert (estimate.low, estimate.high) == (-math.inf, math.inf)


def test_the_mean_of_nothing_is_refused():
    with pytest.raises(ValueError, match=r"at least one value. Received: values=\[\]"):
        mean([])


def logits_head(outputs, **compiled):
    """Return a model whose head gives logits, many of them between 0 and 0.5."""
    keras.utils.set_random_seed(5)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Rescaling(1 / 255),
            layers.Flatten(),
            layers.Dense(outputs, kernel_initializer="zeros"),
        ]
    )
    kernel = np.random.default_rng(1).normal(0, 0.05, (192, outputs))
    model.layers[-1].set_weights([kernel - kernel.mean(axis=0), np.full(outputs, 0.2)])
    model.compile("sgd", **compiled)
    return model


PIXELS = np.random.default_rng(3).uniform(0, 255, (40, 8, 8, 3)).astype("float32")
CLASSES = np.arange(40) % 3
LOSSES = keras.losses


@pytest.mark.matrix
@pytest.mark.parametrize(
    ("outputs", "labels", "loss", "metrics"),
    [
        (
            1,
            CLASSES % 2,
            LOSSES.BinaryCrossentropy(from_logits=True),
            [keras.metrics.BinaryAccuracy("accuracy", threshold=0.0)],
        ),
        (
            1,
            (CLASSES % 2)[:, None].astype("float32"),
            LOSSES.BinaryCrossentropy(from_logits=True, label_smoothing=0.2),
            ["accuracy"],
        ),
        (
            3,
            CLASSES,
            LOSSES.SparseCategoricalCrossentropy(from_logits=True),
            ["accuracy"],
        ),
        (
            3,
            np.eye(3, dtype="float32")[CLASSES],
            LOSSES.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1),
            ["accuracy"],
        ),
        (3, np.eye(3, dtype="float32")[CLASSES], LOSSES.MeanSquaredError(), ["acc"]),
        (
            3,
            np.eye(3, dtype="float32")[CLASSES],
            lambda y, p: keras.ops.max(keras.ops.abs(y - p), axis=-1),
            ["accuracy"],
        ),
    ],
    ids=["binary", "smoothed", "sparse", "categorical", "squares", "function"],
)
def test_a_head_is_scored_with_its_own_loss_and_threshold(
    outputs, labels, loss, metrics
):
    model = logits_head(outputs, loss=loss, metrics=metrics)
    keras_says = model.evaluate(PIXELS, labels, return_dict=True, verbose=0)
    ours = evaluate(model, (PIXELS, labels), cache="off")
    assert ours["loss"].value == pytest.approx(keras_says["loss"], rel=1e-5)
    correct = keras_says.get("accuracy", keras_says.get("acc"))
    assert ours["accuracy"].value == pytest.approx(correct)
    if outputs == 1:
        at = [model.predict(PIXELS, verbose=0).ravel() > t for t in (0.0, 0.5)]
        truth = labels.ravel() > 0.5
        assert np.mean(at[0] == truth) != np.mean(at[1] == truth)


def test_logits_without_a_metric_are_asked_at_a_probability_of_one_half():
    loss = LOSSES.BinaryCrossentropy(from_logits=True)
    model = logits_head(1, loss=loss)
    assert decision_threshold(model) == 0.0
    truth = (model.predict(PIXELS, verbose=0)[:, 0] > 0).astype(int)
    assert evaluate(model, (PIXELS, truth), cache="off")["accuracy"].value == 1


def test_logits_of_a_model_that_is_not_compiled_are_refused():
    model = logits_head(3)
    model.compiled = False
    message = r"must return probabilities.*logits.*from_logits=True"
    with pytest.raises(ValueError, match=message):
        evaluate(model, (PIXELS, CLASSES), cache="off")


def test_a_loss_without_a_value_for_each_image_is_refused():
    model = logits_head(1, loss=lambda y, p: keras.ops.mean(p))
    with pytest.raises(ValueError, match=r"value for each image.*of shape \(\)"):
        evaluate(model, (PIXELS, CLASSES % 2), cache="off")


class TestMultiLabel:
    ROWS = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 0], [1, 0, 1]], "float32")

    def test_each_class_has_its_figures(self):
        right = np.array([[1, 1, 1], [1, 0, 1], [0, 1, 1], [1, 1, 1]], bool)
        figures = class_figures(right, self.ROWS > 0, ("a", "b", "c"))
        shown = {name: (f.value, f.n) for name, f in figures.items()}
        assert shown == {
            "accuracy of a": (0.75, 4),
            "precision of a": (0.75, 4),
            "recall of a": (1.0, 3),
            "accuracy of b": (0.75, 4),
            "recall of b": (0.0, 1),
            "accuracy of c": (1.0, 4),
            "precision of c": (1.0, 1),
            "recall of c": (1.0, 1),
        }
        assert figures["recall of a"] == proportion(3, 3)

    def test_a_multi_label_model_trains_and_is_scored_as_by_keras(self, tiny):
        images = np.random.default_rng(0).uniform(0, 255, (16, 32, 32, 3))
        labels = np.tile(self.ROWS, (4, 1))
        data = image_arrays(images, labels, class_names=("a", "b", "c"))
        model = tiny(multi_label=True)
        history = feature_extract(model, data, data, epochs=2, verbose=0)
        assert model.loss == "binary_crossentropy"
        scores = evaluate(model, data)
        keras_says = model.evaluate(images, labels, return_dict=True, verbose=0)
        assert scores["loss"].value == pytest.approx(keras_says["loss"], rel=1e-5)
        assert scores["accuracy"].value == pytest.approx(keras_says["accuracy"])
        assert history.history["val_accuracy"][-1] == pytest.approx(
            keras_says["accuracy"]
        )
        assert scores["recall of a"].n == 12

    def test_rows_of_several_classes_need_a_model_for_them(self, tiny):
        images = np.random.default_rng(0).uniform(0, 255, (4, 32, 32, 3))
        message = r"sum to 1.*\[1.0, 1.0, 0.0\].*create_model\(..., multi_label=True\)"
        with pytest.raises(ValueError, match=message):
            feature_extract(tiny(), (images, self.ROWS), epochs=1, verbose=0)
        soft = np.full((4, 3), 1 / 3)
        feature_extract(tiny(), (images, soft), epochs=1, verbose=0)


class TestEvaluate:
    def test_it_agrees_with_keras_on_the_whole_set(self, tiny, images, train):
        model = tiny()
        feature_extract(model, train, epochs=2, verbose=0)
        test = image_folder(images / "test", image_size=SIZE, batch_size=7)
        ours = evaluate(model, test)
        keras_says = model.evaluate(
            test.unshuffled().dataset(), return_dict=True, verbose=0
        )
        assert ours["accuracy"].n == ours["loss"].n == 18
        assert ours["accuracy"].value == pytest.approx(keras_says["accuracy"])
        assert ours["loss"].value == pytest.approx(keras_says["loss"], rel=1e-5)
        assert ours["accuracy"].low < ours["accuracy"].value < ours["accuracy"].high

    @pytest.mark.matrix
    @pytest.mark.parametrize(
        "num_classes", [pytest.param(1, marks=pytest.mark.matrix), 3]
    )
    @pytest.mark.tensorflow
    def test_it_agrees_with_keras_where_the_model_is_sure_and_wrong(
        self, tiny, images, num_classes
    ):
        # Taken from probabilities alone, the loss of an image ends at 16.
        mode = "categorical" if num_classes == 3 else "int"
        data = image_folder(images / "test", image_size=SIZE, label_mode=mode).dataset()
        if num_classes == 1:
            data = data.map(lambda x, y: (x, tf().cast(y[:, None] > 0, tf().float32)))
        model = tiny(num_classes)
        feature_extract(model, data, epochs=1, verbose=0)
        model.get_layer("classifier").bias.assign([300.0, *[0.0] * (num_classes - 1)])
        keras_says = model.evaluate(data, return_dict=True, verbose=0)
        assert keras_says["loss"] > 50
        assert evaluate(model, data)["loss"].value == pytest.approx(keras_says["loss"])

    def test_a_model_that_gives_no_numbers_is_not_scored(self, tiny, noise):
        model = tiny()
        head = model.get_layer("classifier")
        head.bias.assign(np.full(head.bias.shape, np.nan))
        with pytest.raises(FloatingPointError, match="infinite on 12 of 12 images. Tr"):
            evaluate(model, noise())

    def test_integer_labels_give_the_same_figures(self, tiny, images):
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

    def test_sample_weights_train_and_are_ignored_here(self, tiny, noise):
        def weighted(images, labels):
            return images, labels, labels[:, 0] * 3

        model, plain = tiny(), noise()
        feature_extract(model, plain.map(weighted), epochs=1, verbose=0)
        assert evaluate(model, plain.map(weighted)) == evaluate(model, plain)

    def test_no_data_is_refused(self, tiny, noise):
        with pytest.raises(ValueError, match="Received: data, a dataset without a bat"):
            evaluate(tiny(), noise().take(0))

    @pytest.mark.tensorflow
    def test_a_dataset_that_turns_out_empty_is_refused(self, tiny, noise):
        nothing = noise().filter(lambda *_: False)
        with pytest.raises(ValueError, match="a dataset without a batch"):
            evaluate(tiny(), nothing)
