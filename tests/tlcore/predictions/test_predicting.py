"""Predicting: every form of data, and outputs of every kind."""

import keras
import numpy as np
import pytest

import tlcore as tl
from tlcore.evaluation import evaluate
from tlcore.predictions.predicting import predictions_of

LOGITS = np.array([[2.0, 0.0, -1.0], [-3.0, 1.0, 1.5]])


@pytest.fixture
def model(tiny):
    keras.utils.set_random_seed(3)
    return tiny()


def test_a_folder_is_predicted_with_its_paths_and_truth(model, images):
    test = tl.image_folder(images / "test", image_size=32, batch_size=4)
    found = tl.predict(model, test)
    assert found.paths == tuple(test.paths)
    assert found.class_names == test.class_names
    np.testing.assert_array_equal(found.truth, test.labels)
    batches = [model.predict_on_batch(x) for x, _ in test.dataset()]
    np.testing.assert_allclose(found.probabilities, np.concatenate(batches), atol=1e-6)


def test_its_accuracy_is_that_of_evaluate(model, images):
    test = tl.image_folder(images / "test", image_size=32, batch_size=4)
    for cache in ("off", "auto"):
        accuracy = evaluate(model, test, cache=cache)["accuracy"]
        assert tl.predict(model, test, cache=cache).accuracy == accuracy


def test_batches_are_predicted_with_their_truth(model, noise):
    found = tl.predict(model, noise())
    assert found.paths is None
    assert found.class_names == ("class 0", "class 1", "class 2")
    assert found.accuracy == evaluate(model, noise())["accuracy"]


def test_arrays_with_labels_and_without_are_predicted_alike(model):
    pixels = np.random.default_rng(0).uniform(0, 255, (5, 32, 32, 3))
    pixels = pixels.astype("float32")
    labelled = tl.predict(model, (pixels, np.array([0, 1, 2, 0, 1])))
    bare = tl.predict(model, pixels, class_names=["x", "y", "z"])
    assert labelled.truth.tolist() == [0, 1, 2, 0, 1]
    assert (bare.truth, bare.paths) == (None, None)
    assert bare.class_names == ("x", "y", "z")
    np.testing.assert_array_equal(bare.probabilities, labelled.probabilities)


def test_files_are_predicted_as_in_their_folder(model, images):
    test = tl.image_folder(images / "test", image_size=32)
    files = tl.predict(model, list(test.paths))
    assert files.truth is None
    whole = tl.predict(model, test).probabilities
    np.testing.assert_allclose(files.probabilities, whole, atol=1e-6)


def test_a_model_of_one_output_has_two_classes(tiny):
    model = tiny(1)
    pixels = np.random.default_rng(0).uniform(0, 255, (4, 32, 32, 3)).astype("float32")
    found = tl.predict(model, (pixels, np.array([0, 1, 0, 1])))
    assert found.probabilities.shape == (4, 2)
    np.testing.assert_allclose(found.probabilities.sum(axis=1), 1)
    assert found.threshold == 0.5


def test_images_of_several_classes(tiny):
    model = tiny(3, multi_label=True)
    pixels = np.random.default_rng(0).uniform(0, 255, (4, 32, 32, 3)).astype("float32")
    truth = np.eye(3, dtype="float32")[[0, 1, 2, 0]]
    found = tl.predict(model, (pixels, truth))
    assert found.several
    assert found.truth.tolist() == (truth > 0.5).tolist()
    assert tl.predict(model, pixels).truth is None


def test_logits_become_probabilities(model):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss)
    found = predictions_of(model, LOGITS, None).probabilities
    np.testing.assert_allclose(found, np.asarray(keras.ops.softmax(LOGITS)), atol=1e-6)


def test_the_threshold_of_logits_becomes_a_probability(tiny):
    model = tiny(1)
    threshold = keras.metrics.BinaryAccuracy(threshold=1.0)
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    model.compile("adam", loss, metrics=[threshold])
    found = predictions_of(model, np.array([[0.9], [1.1]]), ("no", "yes"))
    assert found.threshold == pytest.approx(1 / (1 + np.exp(-1)))
    assert found.predicted.tolist() == [0, 1]


def test_outputs_that_are_no_probabilities_are_refused(model):
    with pytest.raises(ValueError, match=r"must return probabilities.*from -3 to 2"):
        predictions_of(model, LOGITS, None)
    rows = np.array([[0.2, 0.3, np.nan]])
    with pytest.raises(FloatingPointError, match=r"NaN for 1 of 1 images"):
        predictions_of(model, rows, None)


def test_every_class_needs_a_name(model):
    with pytest.raises(ValueError, match=r"every class of the model, 3.*2 names: a, b"):
        predictions_of(model, np.full((1, 3), 1 / 3), ("a", "b"))


def test_data_that_does_not_fit_is_refused(model, tmp_path):
    with pytest.raises(ValueError, match=r"must have the shape the model takes"):
        tl.predict(model, np.zeros((2, 16, 16, 3), np.float32))
    (tmp_path / "x.png").write_text("no image")
    with pytest.raises(ValueError, match=r"must be whole .* files.*x\.png"):
        tl.predict(model, [tmp_path / "x.png"])
