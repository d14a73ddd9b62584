"""SavedModels: which function is called, with what, and what is refused."""

import re

import keras
import numpy as np
import pytest

from tlcore.hub import saved_models
from tlcore.hub.saved_models import Form, find_entry, load

tf = pytest.importorskip("tensorflow")
pytestmark = pytest.mark.tensorflow

IMAGES = np.zeros((2, 32, 32, 3), np.float32)


@pytest.fixture(scope="module")
def small(small_saved_model):
    return load(small_saved_model, "small")


class Pair(tf.train.Checkpoint):
    """Two inputs by name, two outputs by name; training is a tensor."""

    spec = tf.TensorSpec([None, 2], tf.float32)

    @tf.function(
        input_signature=[{"a": spec, "b": spec}, tf.TensorSpec([], tf.bool)],
    )
    def __call__(self, inputs, training):
        total = inputs["a"] + inputs["b"]
        return {"sum": tf.where(training, -total, total), "a": inputs["a"]}


class Uncalled(tf.train.Checkpoint):
    @tf.function(input_signature=[tf.TensorSpec(None, tf.float32)])
    def double(self, inputs):
        return 2 * inputs


def saved(folder, module, **signatures):
    tf.saved_model.save(module, str(folder), signatures=signatures or None)
    return load(folder, str(folder))


@pytest.mark.parametrize(
    ("form", "text"),
    [
        (Form((None, 224, None, 3), "float32"), "float32 of shape (n, 224, any, 3)"),
        (Form((None,), "string"), "string of shape (n)"),
        (Form((), "bool"), "bool of shape ()"),
        (Form(None, "int32"), "int32 of any shape"),
    ],
)
def test_a_form_is_described_in_words(form, text):
    assert str(form) == text


@pytest.mark.parametrize(
    ("form", "tensor", "takes"),
    [
        (Form((None, 2), "float32"), np.zeros((5, 2), np.uint8), True),
        (Form((None, 2), "float32"), np.zeros((5, 3)), False),
        (Form((None, 2), "float32"), np.zeros((5, 2, 1)), False),
        (Form((None, 2), "uint8"), np.zeros((5, 2), np.float32), False),
        (Form((None, 2), "int32"), np.zeros((5, 2), np.uint8), True),
        (Form((None,), "string"), np.array(["a", "b"]), True),
        (Form((None,), "string"), ["a", "b"], True),
        (Form((None,), "string"), np.zeros(2), False),
        (Form((None,), "float32"), np.array(["a"], object), False),
        (Form(None, "float32"), np.zeros((1, 2, 3)), True),
        (Form((4,), "float32"), tf.zeros(4), True),
        (Form((4,), "float32"), keras.KerasTensor((None,)), True),
    ],
)
def test_a_form_takes_what_has_its_shape_and_kind(form, tensor, takes):
    assert form.takes(tensor) is takes


def test_a_reusable_saved_model_is_called_itself(small):
    entry = find_entry(small, None, "small")
    assert entry.forms == (Form((None, 32, 32, 3), "float32"),)
    assert entry.modes == {False, True}
    assert entry.outputs == entry.names == ()
    again = entry.run(IMAGES, training=False)
    np.testing.assert_array_equal(again, small(IMAGES, training=False))
    assert len(entry.variables) == 12 + 2  # the states of Dropout


def test_numbers_of_another_type_are_converted(small):
    entry = find_entry(small, None, "small")
    pixels = np.arange(32 * 32 * 3).reshape(1, 32, 32, 3) % 2
    outputs = entry.run(pixels.astype(np.uint8), training=False)
    np.testing.assert_array_equal(
        outputs, entry.run(pixels.astype(np.float64), training=False)
    )


def test_inputs_that_it_does_not_take_are_refused_with_both_shapes(small):
    entry = find_entry(small, None, "small")
    with pytest.raises(
        ValueError,
        match=re.escape(
            "takes: float32 of shape (n, 32, 32, 3). Received: "
            "float32 of shape (1, 96, 96, 3), for 'small'. Resize"
        ),
    ):
        entry.run(np.zeros((1, 96, 96, 3), np.float32), training=False)
    with pytest.raises(ValueError, match=r"Received: string of shape \(1\)"):
        entry.run(np.array(["text"]), training=False)
    with pytest.raises(ValueError, match="Received: x: float32"):
        entry.run({"x": IMAGES}, training=False)


def test_a_mode_it_was_not_saved_for_is_refused(export, tmp_path):
    inputs = keras.Input((2,))
    network = keras.Model(inputs, keras.layers.Dense(1)(inputs))
    export(tmp_path / "inference", network, modes=(False,))
    entry = find_entry(load(tmp_path / "inference", "here"), None, "here")
    assert entry.run(np.ones((1, 2)), training=False).shape == (1, 1)
    with pytest.raises(
        ValueError,
        match="must be saved for training.*handle='here'.*inference only. Freeze",
    ):
        entry.run(np.ones((1, 2)), training=True)


class NoInput(tf.train.Checkpoint):
    @tf.function(input_signature=[])
    def __call__(self):
        return tf.zeros([1])


class TwoInputs(tf.train.Checkpoint):
    @tf.function(input_signature=[tf.TensorSpec([None]), tf.TensorSpec([None])])
    def __call__(self, a, b):
        return a + b


class Nothing(tf.train.Checkpoint):
    @tf.function(input_signature=[tf.TensorSpec([None])])
    def __call__(self, inputs):
        tf.print(inputs)


class Untraced(tf.train.Checkpoint):
    @tf.function
    def __call__(self, inputs):
        return inputs


@pytest.mark.parametrize(
    ("module", "why"),
    [
        (NoInput, "called with nothing"),
        (TwoInputs, "called with a, b"),
        (Nothing, "which returns nothing"),
        (Untraced, "saved without having been called"),
    ],
)
def test_what_cannot_be_called_on_one_input_is_refused(module, why, tmp_path):
    model = saved(tmp_path, module())
    with pytest.raises(ValueError, match=f"callable on one input.*, {why}. Call it by"):
        find_entry(model, None, "here")


def test_outputs_of_unknown_rank_cannot_be_built_around(tmp_path):
    class Unranked(tf.train.Checkpoint):
        @tf.function(input_signature=[tf.TensorSpec(None), tf.TensorSpec([], tf.bool)])
        def __call__(self, inputs, training=False):
            return inputs

    entry = find_entry(saved(tmp_path, Unranked()), None, "here")
    with pytest.raises(
        ValueError, match="known number of dimensions.*handle='here'.*save the"
    ):
        entry.check_shapes()


def test_one_that_was_saved_for_training_only_is_refused(export, tmp_path):
    inputs = keras.Input((2,))
    network = keras.Model(inputs, keras.layers.Dense(1)(inputs))
    export(tmp_path, network, modes=(True,))
    with pytest.raises(
        ValueError, match="handle='here', saved for training only. Take another vari"
    ):
        find_entry(load(tmp_path, "here"), None, "here")


def test_a_text_model_takes_strings_and_no_numbers(text_saved_model):
    entry = find_entry(load(text_saved_model, "text"), None, "text")
    assert entry.modes is None
    given = entry.run(np.array(["a", "four"]), training=True)
    assert given.numpy().tolist() == [[1.0], [4.0]]
    with pytest.raises(ValueError, match=r"takes: string of shape \(n\). Received"):
        entry.run(np.zeros(2), training=False)


def test_several_inputs_go_in_by_name_and_training_may_be_a_tensor(tmp_path):
    entry = find_entry(saved(tmp_path, Pair()), None, "pair")
    assert entry.modes == frozenset()
    assert set(entry.outputs) == {"a", "sum"}
    both = {"a": np.ones((1, 2)), "b": np.ones((1, 2))}
    assert entry.run(both, training=False)["sum"].numpy().tolist() == [[2.0, 2.0]]
    assert entry.run(both, training=True)["sum"].numpy().tolist() == [[-2.0, -2.0]]
    with pytest.raises(ValueError, match=r"takes: a: float32 of shape \(n, 2\), b: "):
        entry.run(both["a"], training=False)


def test_a_signature_is_called_by_its_name(small):
    entry = find_entry(small, "serving_default", "small")
    assert entry.outputs == ("doubled", "features")
    assert len(entry.names) == 1
    features = find_entry(small, None, "small").run(IMAGES, training=False)
    for inputs in (IMAGES, {entry.names[0]: IMAGES}):
        given = entry.run(inputs, training=False)
        np.testing.assert_array_equal(given["features"], features)


def test_an_unknown_signature_is_answered_with_the_known_ones(small):
    with pytest.raises(
        ValueError,
        match="one of: serving_default. Received: signature='serving'.*Did you mean",
    ):
        find_entry(small, "serving", "small")


def test_what_cannot_be_called_itself_names_its_signatures(tmp_path):
    module = Uncalled()
    model = saved(tmp_path, module, twice=module.double)
    with pytest.raises(
        ValueError, match=r"the signatures: twice.*HubLayer\(handle, signature='twice'"
    ):
        find_entry(model, None, "here")
    assert find_entry(model, "twice", "here").run(3.0, training=False) == {
        "output_0": 6.0
    }


def test_an_unknown_output_is_answered_with_the_known_ones(small):
    entry = find_entry(small, "serving_default", "small")
    entry.check_output(None)
    entry.check_output("doubled")
    with pytest.raises(ValueError, match=r"one of: doubled, features.*'double'.*Did"):
        entry.check_output("double")
    with pytest.raises(
        ValueError,
        match="output_key must be one of: none.*Received: output_key='doubled'",
    ):
        find_entry(small, None, "small").check_output("doubled")


def test_a_saved_model_that_is_not_whole_is_refused(tmp_path, small_saved_model):
    graph = (small_saved_model / "saved_model.pb").read_bytes()
    for name, content in (("graph", graph), ("half", graph[: len(graph) // 2])):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "saved_model.pb").write_bytes(content)
        with pytest.raises(ValueError, match=f"whole. Received: handle='{name}', whi"):
            load(folder, name)


def test_another_backend_of_keras_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(saved_models.keras.backend, "backend", lambda: "jax")
    with pytest.raises(ValueError, match="backend='jax'. Set KERAS_BACKEND=tensorflow"):
        load(tmp_path, "here")
